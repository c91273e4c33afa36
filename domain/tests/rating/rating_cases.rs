//! Prices and usage with the amounts that OpenMeter, Lago and Kill Bill give for them.

use crate::till::*;
use domain::rating::*;
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Map, Value, json};

#[test]
fn what_other_billing_systems_charge_is_charged_here() {
    let cases = data("rating_cases.jsonl");
    assert!(cases.len() >= 55, "only {} cases", cases.len());
    let failed: Vec<String> = cases.iter().filter_map(|case| check(case).err().map(|e| format!("{}: {e}", case["id"]))).collect();
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

/// Fields of an object; each must have been asked for in the end, so that none is passed over.
struct Fields {
    left: Map<String, Value>,
}

impl Fields {
    fn of(value: &Value) -> Self {
        Self { left: value.as_object().unwrap().clone() }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name).filter(|v| !v.is_null())
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|v| text(&v))
    }

    fn must(&mut self, name: &str) -> Result<String, String> {
        self.text(name).ok_or(format!("no field {name}"))
    }

    fn list(&mut self, name: &str) -> Vec<Value> {
        self.take(name).map(|v| v.as_array().unwrap().clone()).unwrap_or_default()
    }

    fn done(self) -> Result<(), String> {
        if self.left.is_empty() { Ok(()) } else { Err(format!("not understood: {:?}", self.left)) }
    }
}

/// A number, given as one or as a text.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn decimal(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap()
}

fn check(case: &Value) -> Result<(), String> {
    let mut params = Fields::of(&case["params"]);
    let mut usage = Fields::of(&case["usage"]);
    let prices = prices(case["model"].as_str().unwrap(), &mut params)?;
    params.done()?;
    let mut till = Till::new(prices);
    if let Some(before) = usage.text("already_billed_qty") {
        till.uses(&before);
        let billed = usage.text("already_billed_amount").map(|a| decimal(&a));
        if billed.is_some_and(|billed| billed != decimal(&till.total())) {
            return Err(format!("billed before: {}, not {billed:?}", till.total()));
        }
        till.lines.clear();
    }
    let open = usage.text("line").is_some_and(|line| line == "mid");
    // What these say is already in the events.
    usage.take("period");
    usage.take("cancelled_same_day");
    uses(&mut till, &mut usage)?;
    usage.done()?;
    if !open {
        till.closes();
    }
    compare(&till, &mut Fields::of(&case["expect"]))
}

fn prices(model: &str, params: &mut Fields) -> Result<Vec<PriceLine>, String> {
    params.take("currency");
    let with = json!({
        "minimum": params.text("min_amount"),
        "maximum": params.text("max_amount"),
        "discount": params.text("percent_discount").unwrap_or("0".into()),
        "included": params.text("free_units").unwrap_or("0".into()),
    });
    let charge = if model.contains("top_tier") { "top_tier" } else { "all_tiers" };
    let model = match model {
        "per_unit" => json!({ "type": "unit", "price": params.must("unit")? }),
        // Lago charges no flat amount for no units, unless they are prorated.
        "graduated" | "graduated_prorated" | "volume" | "volume_prorated" => {
            let base_fee = model != "graduated" || params.left.contains_key("tiers");
            let kind = model.trim_end_matches("_prorated");
            json!({ "type": kind, "tiers": tiers(params), "base_fee": base_fee })
        }
        "package" | "package_count" => {
            let price = params.text("package_price").unwrap_or("1".into());
            json!({ "type": "package", "size": params.must("package_size")?, "price": price })
        }
        "percentage" => json!({
            "type": "percentage",
            "percent": params.must("rate")?,
            "per_event": params.text("fixed_per_event").unwrap_or("0".into()),
            "free_events": params.take("free_events").map_or(0, |n| n.as_u64().unwrap()),
            "free_value": params.text("free_total").unwrap_or("0".into()),
        }),
        "blocks_all_tiers" | "blocks_top_tier" | "invoice_blocks_all_tiers" | "invoice_blocks_top_tier" => {
            blocks(params.list("tiers"), charge)
        }
        "blocks_multi_unit" => {
            let units = Fields::of(&params.take("units").unwrap()).left;
            let line = |(unit, tiers): (String, Value)| {
                let tiers = tiers.as_array().cloned().unwrap_or_else(|| vec![tiers]);
                line(&unit, blocks(tiers, charge), json!({ "scope": { "labels": { "unit": unit } }, "component": unit }))
            };
            return Ok(units.into_iter().map(line).collect());
        }
        other => return Err(format!("unknown model {other}")),
    };
    Ok(vec![line("price", model, with)])
}

/// Tiers by their upper bounds, or ranges by both; those of whole units begin one above the end of the one before.
fn tiers(params: &mut Fields) -> Vec<Value> {
    let (tiers, ranges) = (params.list("tiers"), params.list("ranges"));
    let number = |v: &Value| (!v.is_null()).then(|| text(v));
    let tier = |t: &Value, end: &str| json!({ "up_to": number(&t[end]), "unit": number(&t["unit"]), "flat": number(&t["flat"]) });
    tiers.iter().map(|t| tier(t, "up_to")).chain(ranges.iter().map(|r| tier(r, "to"))).collect()
}

/// Kill Bill bounds the last tier as well, and charges nothing, or the last price, beyond; no case gets there, and a card must price everything.
fn blocks(tiers: Vec<Value>, charge: &str) -> Value {
    let last = tiers.len() - 1;
    let tier = |(i, t): (usize, &Value)| json!({ "block": text(&t["block"]), "max_blocks": if i == last { &Value::Null } else { &t["max_blocks"] }, "price": text(&t["price"]) });
    json!({ "type": "blocks", "charge": charge, "tiers": tiers.iter().enumerate().map(tier).collect::<Vec<_>>() })
}

fn uses(till: &mut Till, usage: &mut Fields) -> Result<(), String> {
    let (server, meter) = (server(), meter("units"));
    let some = |quantity: &str| Usage::new(&server, &meter, q(quantity));
    if let Some(full) = usage.text("full_units") {
        till.rates(Usage { full: Some(q(&full)), ..some(&usage.must("prorated_units")?) });
        return Ok(());
    }
    let prorated = usage.list("prorated");
    let running: Vec<Decimal> = usage.list("running_total").iter().map(|v| decimal(&text(v))).collect();
    match (usage.take("events"), usage.text("qty")) {
        (Some(Value::Array(events)), None) if !prorated.is_empty() => {
            for (full, prorated) in events.iter().zip(prorated) {
                till.rates(Usage { full: Some(q(&text(full))), ..some(&text(&prorated)) });
            }
        }
        (Some(Value::Array(dated)), None) => {
            for event in dated {
                till.uses(&text(&event[1]));
            }
        }
        (Some(events), Some(quantity)) => {
            // The first events are known by their running total, the rest by what remains.
            let mut sum = Decimal::ZERO;
            let mut left = events.as_u64().unwrap();
            for total in running.into_iter().take(left as usize) {
                till.uses(&(total - sum).to_string());
                (sum, left) = (total, left - 1);
            }
            till.rates(Usage { events: left, ..some(&(decimal(&quantity) - sum).to_string()) });
        }
        (None, Some(quantity)) => drop(till.uses(&quantity)),
        _ => {
            for (unit, quantity) in std::mem::take(&mut usage.left) {
                let mut subject = server.clone();
                subject.labels.insert("unit".into(), unit);
                till.rates(Usage::new(&subject, &meter, q(&text(&quantity))));
            }
        }
    }
    Ok(())
}

fn compare(till: &Till, expect: &mut Fields) -> Result<(), String> {
    let same = |what: &str, is: Decimal, expected: &str| match is == decimal(expected) {
        true => Ok(()),
        false => Err(format!("{what} is {is}, expected {expected}; {:?}", said(&till.lines))),
    };
    let total = decimal(&till.total());
    let of = |field: fn(&Line) -> Amount| Amount::sum(till.lines.iter().map(field)).unwrap().decimal();
    let mut compared = 0;
    for (name, strategy) in [
        ("total", None),
        ("total_rounded_2", Some(RoundingStrategy::MidpointAwayFromZero)),
        ("total_ceil_2", Some(RoundingStrategy::ToPositiveInfinity)),
    ] {
        if let Some(expected) = expect.text(name) {
            same(name, strategy.map_or(total, |s| total.round_dp_with_strategy(2, s)), &expected)?;
            compared += 1;
        }
    }
    if let Some(expected) = expect.text("packages") {
        let packages = till.lines.iter().filter(|l| l.rule == Rule::Package).map(|l| l.quantity.decimal()).sum();
        same("packages", packages, &expected)?;
        compared += 1;
    }
    for (expected, is) in expect.list("discounts").iter().zip([of(|l| l.discounted), of(|l| l.capped)]) {
        same("discount", is, &text(expected))?;
    }
    if let Some(expected) = expect.take("lines") {
        let expected = expected.as_array().unwrap();
        if expected.len() != till.lines.len() {
            return Err(format!("{} lines, expected {}: {:?}", till.lines.len(), expected.len(), said(&till.lines)));
        }
        for (line, expected) in till.lines.iter().zip(expected) {
            compare_line(line, expected).map_err(|e| format!("{e}; {:?}", said(&till.lines)))?;
        }
    }
    if compared == 0 {
        return Err("nothing to compare".into());
    }
    std::mem::replace(expect, Fields { left: Map::new() }).done()
}

/// Name and amount, or name, unit price, quantity and amount, with what was taken off and what is left after it.
fn compare_line(line: &Line, expected: &Value) -> Result<(), String> {
    let expected: Vec<String> = expected.as_array().unwrap().iter().map(text).collect();
    // Only tiers have names that mean something; the others call everything differently.
    let name = match line.rule {
        Rule::Tier { tier } => format!("t{tier} usage"),
        Rule::TierFlat { tier } => format!("t{tier} flat"),
        Rule::Block { tier } => format!("t{tier}"),
        _ => expected[0].clone(),
    };
    let taken = line.discounted.decimal() + line.capped.decimal();
    let before = line.amount.decimal() + taken;
    let (numbers, is) = match expected.len() {
        2 => (&expected[1..], vec![line.amount.decimal()]),
        _ => (&expected[1..], vec![line.unit_price.decimal(), line.quantity.decimal(), before, taken, line.amount.decimal()]),
    };
    if name != expected[0] {
        return Err(format!("{name}, expected {}", expected[0]));
    }
    for (is, expected) in is.iter().zip(numbers) {
        if *is != decimal(expected.trim_start_matches("discount ")) {
            return Err(format!("{name}: {is}, expected {expected}"));
        }
    }
    Ok(())
}
