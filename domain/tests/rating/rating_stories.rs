//! Which price is chosen, and how what is taken off, added, and committed to comes together.

use crate::till::*;
use domain::rating::*;
use serde_json::{Value, json};

fn unit(price: &str) -> Value {
    json!({ "type": "unit", "price": price })
}

fn place(subject: Value) -> Subject {
    let mut all = json!({ "service": "server" });
    all.as_object_mut().unwrap().extend(subject.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

#[test]
fn the_most_exact_line_wins_by_contract_then_zone_then_region_then_flavor_then_service_then_labels() {
    let scopes = [
        ("all", json!({})),
        ("labels", json!({ "labels": { "tier": "gold" } })),
        ("service", json!({ "service": "server" })),
        ("flavor", json!({ "flavor": "small" })),
        ("flavor-service", json!({ "flavor": "small", "service": "server" })),
        ("region", json!({ "region": "eu" })),
        ("zone", json!({ "zone": "eu-1" })),
        ("zone-flavor", json!({ "zone": "eu-1", "flavor": "small" })),
        ("contract", json!({ "contract": "acme" })),
    ];
    let prices = scopes.iter().map(|(id, scope)| line(id, unit("1"), json!({ "scope": scope }))).collect();
    let till = Till::new(prices);
    let acme: ContractName = "acme".parse().unwrap();
    let chosen = |subject: Value, contract| {
        let found = till.tariff.prices(&place(subject), contract, &meter("units"));
        found.iter().map(|i| till.tariff.card().prices[*i].id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(chosen(json!({ "service": "volume" }), None), ["all"]);
    assert_eq!(chosen(json!({ "service": "volume", "labels": { "tier": "gold", "more": "" } }), None), ["labels"]);
    assert_eq!(chosen(json!({ "labels": { "tier": "gold" } }), None), ["service"], "the service is more exact than any label");
    assert_eq!(chosen(json!({ "service": "volume", "flavor": "small" }), None), ["flavor"]);
    assert_eq!(chosen(json!({ "flavor": "small" }), None), ["flavor-service"]);
    assert_eq!(chosen(json!({ "flavor": "small", "region": "eu" }), None), ["region"], "the region is more exact than flavor and service");
    assert_eq!(chosen(json!({ "flavor": "large", "region": "eu", "zone": "eu-1" }), None), ["zone"]);
    assert_eq!(chosen(json!({ "flavor": "small", "region": "eu", "zone": "eu-1" }), None), ["zone-flavor"]);
    assert_eq!(chosen(json!({ "flavor": "small", "zone": "eu-1" }), Some(&acme)), ["contract"], "the contract is more exact than all else");
    assert_eq!(chosen(json!({ "flavor": "large", "zone": "eu-2" }), None), ["service"]);
}

#[test]
fn components_add_up_and_each_chooses_its_own_line() {
    let mut till = Till::new(vec![
        line("vm", unit("1"), json!({})),
        line("vm-eu", unit("2"), json!({ "scope": { "region": "eu" } })),
        line("licence", unit("0.5"), json!({ "component": "licence" })),
    ]);
    let subject = place(json!({ "region": "eu" }));
    till.rates(Usage::new(&subject, &meter("units"), q("3")));
    assert_eq!(said(&till.lines), ["unit: 3 x 2 = 6", "unit: 3 x 0.5 = 1.5"]);
}

#[test]
fn usage_without_a_price_is_listed_and_stops_the_close() {
    let mut till = Till::one(unit("1"), json!({ "scope": { "service": "server" } }));
    let volume = place(json!({ "service": "volume" }));
    for _ in 0..2 {
        assert!(till.rates(Usage::new(&volume, &meter("units"), q("2"))).is_empty());
    }
    assert_eq!(till.period.unpriced(), [Unpriced { subject: volume, meter: meter("units"), quantity: q("4") }]);
    assert_eq!(close(&till.tariff, &mut till.period), Err(RatingError::Unpriced(1)));
}

#[test]
fn what_is_free_is_shown_and_costs_nothing() {
    let mut till = Till::one(json!({ "type": "free" }), json!({}));
    assert_eq!(said(&till.uses("7")), ["free: 7 x 0 = 0"]);
    assert!(till.closes().is_empty());
}

#[test]
fn included_units_come_first_and_tiers_begin_after_them() {
    let tiers = json!([{ "up_to": "10", "unit": "2" }, { "unit": "1", "flat": "5" }]);
    let mut till = Till::one(json!({ "type": "graduated", "tiers": tiers }), json!({ "included": "5" }));
    assert_eq!(said(&till.uses("4")), ["included: 4 x 0 = 0"]);
    assert_eq!(said(&till.uses("4")), ["included: 1 x 0 = 0", "tier 1: 3 x 2 = 6"]);
    assert_eq!(said(&till.uses("8")), ["tier 1: 7 x 2 = 14", "tier 2: 1 x 1 = 1", "tier_flat 2: 1 x 5 = 5"]);
    let mut packages = Till::one(json!({ "type": "package", "size": "10", "price": "3" }), json!({ "included": "5" }));
    assert_eq!(said(&packages.uses("5")), ["included: 5 x 0 = 0"]);
    assert_eq!(said(&packages.uses("0.1")), ["package: 1 x 3 = 3"]);
    assert!(packages.uses("9.9").is_empty());
    assert_eq!(said(&packages.uses("0.1")), ["package: 1 x 3 = 3"]);
    let mut volume =
        Till::one(json!({ "type": "volume", "tiers": [{ "up_to": "10", "unit": "2" }, { "unit": "1" }] }), json!({ "included": "5" }));
    volume.uses("15");
    assert_eq!(said(&volume.estimate()), ["included: 5 x 0 = 0", "tier 1: 10 x 2 = 20"]);
    volume.uses("0.5");
    assert_eq!(said(&volume.closes()), ["included: 5 x 0 = 0", "tier 2: 10.5 x 1 = 10.5"]);
}

#[test]
fn a_tier_holds_its_own_upper_bound_and_not_that_of_the_one_before() {
    let tiers = json!([{ "up_to": "5", "flat": "100" }, { "up_to": "10", "flat": "50" }, { "unit": "1" }]);
    let mut till = Till::one(json!({ "type": "graduated", "tiers": tiers }), json!({}));
    assert_eq!(said(&till.uses("5")), ["tier_flat 1: 1 x 100 = 100"]);
    assert_eq!(said(&till.uses("0.000000000001")), ["tier_flat 2: 1 x 50 = 50"]);
    assert!(till.uses("4.999999999999").is_empty());
    assert_eq!(said(&till.uses("1")), ["tier 3: 1 x 1 = 1"]);
}

#[test]
fn a_volume_price_is_an_estimate_until_the_close() {
    let tiers = json!([{ "up_to": "10", "unit": "2" }, { "unit": "1" }]);
    let mut till = Till::one(json!({ "type": "volume", "tiers": tiers }), json!({}));
    assert!(till.uses("10").is_empty());
    assert_eq!(said(&till.estimate()), ["tier 1: 10 x 2 = 20"]);
    assert!(till.estimate()[0].estimate);
    assert!(till.uses("1").is_empty());
    let closed = till.closes();
    assert_eq!(said(&closed), ["tier 2: 11 x 1 = 11"]);
    assert!(!closed[0].estimate);
}

#[test]
fn a_maximum_protects_at_once_and_a_minimum_is_owed_at_the_close_by_who_used_the_line() {
    let mut till = Till::one(unit("10"), json!({ "minimum": "50", "maximum": "100" }));
    assert!(till.estimate().is_empty(), "what was not used has no minimum");
    till.uses("3");
    assert_eq!(said(&till.estimate()), ["minimum: 1 x 20 = 20"]);
    let lines = till.uses("8");
    assert_eq!((said(&lines), lines[0].capped.to_string(), lines[0].estimate), (vec!["unit: 8 x 10 = 70".to_owned()], "10".into(), true));
    assert!(till.closes().is_empty());
    assert_eq!(till.period.amount(&"price".parse().unwrap()).to_string(), "100");

    let base = json!({ "type": "graduated", "tiers": [{ "flat": "7", "unit": "1" }] });
    let contracted = line("base", base, json!({ "scope": { "contract": "acme" }, "minimum": "10" }));
    assert_eq!(said(&Till::of(card(vec![contracted.clone()]), Some("acme")).closes()), ["tier_flat 1: 1 x 7 = 7", "minimum: 1 x 3 = 3"]);
    assert!(Till::of(card(vec![contracted]), Some("other")).closes().is_empty());
}

#[test]
fn additions_come_before_factors_and_the_discount_after_them_and_the_maximum_last() {
    let with = json!({
        "adjustments": [
            { "when": { "scope": { "region": "eu" } }, "change": { "type": "factor", "factor": "1.5" } },
            { "when": { "ranges": [{ "label": "ram", "range": { "from": "8", "below": "16" } }] }, "change": { "type": "per_unit", "price": "2" } },
            { "when": { "quantity": { "from": "10" } }, "change": { "type": "per_usage", "price": "5" } },
        ],
        "discount": "10", "maximum": "60",
    });
    let mut till = Till::one(unit("1"), with);
    let mut uses = |subject: Value, quantity| {
        let subject = place(subject);
        said(&till.rates(Usage::new(&subject, &meter("units"), q(quantity))))
    };
    assert_eq!(uses(json!({}), "1"), ["unit: 1 x 1 = 0.9"]);
    assert_eq!(uses(json!({ "region": "eu", "labels": { "ram": "8" } }), "2"), ["unit: 2 x 4.5 = 8.1"]);
    assert_eq!(uses(json!({ "labels": { "ram": "16" } }), "10"), ["unit: 10 x 1 = 9", "per_usage: 1 x 5 = 4.5"]);
    assert_eq!(uses(json!({}), "100"), ["unit: 100 x 1 = 37.5", "per_usage: 1 x 5 = 0"], "82.5 were owed, 60 is the most");
}

#[test]
fn a_recurring_price_is_paid_for_the_part_of_the_period_and_a_one_time_price_once() {
    let month = json!({ "meter": "time", "unit": { "name": "Months", "size": "period" } });
    let setup = json!({ "meter": "things", "unit": { "name": "Setups", "size": "1" } });
    let mut till = Till::new(vec![
        line("fee", json!({ "type": "recurring", "price": "9" }), month),
        line("setup", json!({ "type": "one_time", "price": "20" }), setup),
    ]);
    till.rates(Usage::new(&server(), &meter("things"), Quantity(2)));
    for days in [30, 10, 5] {
        till.rates(Usage::new(&server(), &meter("time"), Quantity(days * 86_400_000_000)));
    }
    assert_eq!(said(&till.lines)[0], "unit: 2 x 20 = 40");
    assert_eq!(till.total(), "53.5", "a whole month, a third and a sixth of one");
}

#[test]
fn seats_are_paid_by_the_day_and_their_number_decides_about_the_tier() {
    let day = MONTH.0 / 30;
    let tiers = json!([{ "up_to": "2", "unit": "30" }, { "unit": "15" }]);
    let seats = json!({ "meter": "seats", "unit": { "name": "Seats", "size": "period" } });
    let mut till = Till::new(vec![line("seats", json!({ "type": "graduated", "tiers": tiers }), seats)]);
    let mut change = |seats: i128, days: i128| {
        let full = Some(Quantity(seats * MONTH.0));
        said(&till.rates(Usage { full, ..Usage::new(&server(), &meter("seats"), Quantity(seats * days * day)) }))
    };
    assert_eq!(change(1, 30), ["tier 1: 1 x 30 = 30"]);
    assert_eq!(change(3, 10), ["tier 1: 0.333333333333 x 30 = 9.99999999999", "tier 2: 0.666666666667 x 15 = 10.000000000005"]);
    assert_eq!(change(-2, 5), ["tier 2: -0.333333333333 x 15 = -4.999999999995"]);
    assert!(change(5, 0).is_empty(), "what was there for no time enters no tier");
    assert_eq!(change(-1, 6), ["tier 1: -0.2 x 30 = -6"]);
}

#[test]
fn seats_that_stay_longer_than_was_thought_are_paid_once_in_the_tier_where_the_last_one_is() {
    let seats = json!({ "meter": "seats", "unit": { "name": "Seats", "size": "period" } });
    let tiers = json!([{ "up_to": "2", "unit": "30" }, { "unit": "15" }]);
    let mut till = Till::new(vec![line("seats", json!({ "type": "graduated", "tiers": tiers }), seats)]);
    let mut change = |full: i128, paid: i128| {
        let (server, meter) = (server(), meter("seats"));
        let usage = Usage { full: Some(Quantity(full)), ..Usage::new(&server, &meter, Quantity(paid)) };
        said(&till.rates(usage))
    };
    assert_eq!(change(2 * MONTH.0, MONTH.0), ["tier 1: 1 x 30 = 30"]);
    assert_eq!(change(0, MONTH.0), ["tier 1: 1 x 30 = 30"]);
    assert_eq!(change(MONTH.0, 0), Vec::<String>::new());
}

#[test]
fn a_period_that_comes_to_less_than_nothing_owes_nothing() {
    let mut till = Till::one(unit("10"), json!({}));
    till.uses("1");
    let lines = till.uses("-3");
    assert_eq!((till.total().as_str(), lines[0].capped.to_string()), ("0", "-20".into()));
    till.uses("3");
    assert_eq!(till.total(), "10", "what was not given back is not owed again");
}

#[test]
fn free_events_end_with_the_first_bound_that_is_reached() {
    let model = |count: u64, value: &str| json!({ "type": "percentage", "percent": "1", "per_event": "0.5", "free_events": count, "free_value": value });
    let mut by_count = Till::one(model(2, "100"), json!({}));
    by_count.uses("10");
    by_count.uses("20");
    assert_eq!(by_count.total(), "0");
    assert_eq!(said(&by_count.uses("30")), ["percentage: 30 x 0.01 = 0.3", "per_event: 1 x 0.5 = 0.5"]);
    let mut by_value = Till::one(model(9, "100"), json!({}));
    by_value.uses("90");
    assert_eq!(said(&by_value.uses("30")), ["included: 10 x 0 = 0", "percentage: 20 x 0.01 = 0.2", "per_event: 1 x 0.5 = 0.5"]);
    assert!(by_value.uses("0").is_empty(), "what has no value costs nothing");
    let mut together = Till::one(model(2, "0"), json!({}));
    let (subject, meter) = (server(), meter("units"));
    let two = Usage { events: 2, ..Usage::new(&subject, &meter, q("5")) };
    let before = together.period.clone();
    assert_eq!(rate(&together.tariff, &two, &mut together.period), Err(RatingError::EventsTogether("price".parse().unwrap())));
    assert_eq!(together.period, before);
}

#[test]
fn what_one_event_costs_can_be_bounded() {
    let model = json!({ "type": "percentage", "percent": "10", "per_event": "1", "event_minimum": "2", "event_maximum": "5" });
    let mut till = Till::one(model, json!({}));
    till.uses("1");
    assert_eq!(till.total(), "2");
    till.uses("20");
    assert_eq!(till.total(), "5");
    let last = till.uses("1000");
    assert_eq!(till.total(), "10");
    assert_eq!(said(&last)[2], "event_bound: 1 x -96 = -96");
}

fn committed(terms: Value, prices: Vec<PriceLine>) -> Till {
    let mut card = card(prices);
    let ids: Vec<_> = card.prices.iter().map(|p| p.id.clone()).collect();
    let commitment = json!({ "name": "c", "contract": "acme", "prices": ids, "terms": terms });
    card.commitments = vec![serde_json::from_value(commitment).unwrap()];
    assert!(Till::of(card.clone(), None).estimate().is_empty(), "only who has the contract has the commitment");
    Till::of(card, Some("acme"))
}

#[test]
fn committed_spend_pays_for_all_its_lines_until_it_is_used_up_and_the_rest_expires() {
    let prices = || vec![line("a", unit("1"), json!({})), line("b", unit("2"), json!({ "component": "b", "maximum": "100" }))];
    let mut till = committed(json!({ "type": "spend", "amount": "10", "fee": "8" }), prices());
    assert_eq!(said(&till.uses("2")), ["unit: 2 x 1 = 0", "unit: 2 x 2 = 0"]);
    assert_eq!(said(&till.estimate()), ["fee: 1 x 8 = 8", "unused: 4 x 0 = 0"]);
    let lines = till.uses("2");
    assert_eq!(said(&lines), ["unit: 2 x 1 = 0", "unit: 2 x 2 = 2"]);
    assert_eq!(lines[1].covered.to_string(), "2");
    assert_eq!(said(&till.closes()), ["fee: 1 x 8 = 8"]);
    assert_eq!(till.total(), "10");
}

#[test]
fn reserved_units_are_covered_at_their_price_and_the_rest_is_paid_as_usual() {
    let mut till =
        committed(json!({ "type": "usage", "quantity": "5", "fee": "3" }), vec![line("a", unit("1"), json!({ "discount": "50" }))]);
    assert_eq!(said(&till.uses("4")), ["unit: 4 x 1 = 0"]);
    assert_eq!(said(&till.estimate()), ["fee: 1 x 3 = 3", "unused: 1 x 0 = 0"]);
    assert_eq!(said(&till.uses("4")), ["unit: 4 x 1 = 1.5"]);
    assert_eq!(said(&till.closes()), ["fee: 1 x 3 = 3"]);
}

#[test]
fn a_minimum_of_a_contract_is_made_up_for_at_the_close_over_all_its_lines() {
    let prices = vec![line("a", unit("1"), json!({})), line("b", unit("2"), json!({ "component": "b", "minimum": "9" }))];
    let mut till = committed(json!({ "type": "minimum", "amount": "20" }), prices);
    assert_eq!(said(&till.uses("4")), ["unit: 4 x 1 = 4", "unit: 4 x 2 = 8"]);
    assert_eq!(said(&till.closes()), ["minimum: 1 x 1 = 1", "shortfall: 1 x 7 = 7"]);
    assert_eq!(till.total(), "20");
}

#[test]
fn usage_that_cannot_be_rated_exactly_changes_nothing() {
    let mut till = Till::new(vec![
        line("a", unit("1"), json!({})),
        line("b", unit("0.123456789"), json!({ "component": "b", "discount": "0.01234" })),
    ]);
    till.uses("1");
    let (period, mut lines) = (till.period.clone(), till.lines.clone());
    let (subject, meter) = (server(), meter("units"));
    for quantity in ["123456.123456789123", "9999999999999999999999"] {
        let usage = Usage::new(&subject, &meter, q(quantity));
        let error = rate_into(&till.tariff, &usage, &mut till.period, &mut lines).unwrap_err();
        assert!(matches!(error, RatingError::LostDigit(_) | RatingError::QuantityTooLarge(_)), "{error}");
        assert_eq!((&till.period, &lines), (&period, &till.lines), "{quantity}");
    }
}

#[test]
fn a_closed_period_stays_closed() {
    let mut till = Till::one(unit("1"), json!({ "minimum": "5" }));
    till.uses("1");
    assert_eq!(said(&till.closes()), ["minimum: 1 x 4 = 4"]);
    assert!(till.closes().is_empty(), "closed once");
    let (subject, meter) = (server(), meter("units"));
    let late = rate(&till.tariff, &Usage::new(&subject, &meter, q("1")), &mut till.period);
    assert_eq!(late, Err(RatingError::Closed("price".parse().unwrap())));
}

#[test]
fn a_price_that_goes_on_under_the_next_card_goes_on_counting() {
    let kept = |price| line("kept", unit(price), json!({ "maximum": "10" }));
    let dropped = line("dropped", unit("1"), json!({ "component": "extra", "minimum": "3" }));
    let mut till = Till::new(vec![kept("1"), dropped]);
    till.uses("2");
    let earlier = std::mem::replace(&mut till.tariff, Tariff::publish(card(vec![kept("5")]), &offer()).unwrap());
    assert_eq!(said(&till.uses("4")), ["unit: 4 x 5 = 8"], "2 of the most, which is 10, were owed before");
    assert!(till.closes().is_empty());
    assert_eq!(said(&close(&earlier, &mut till.period).unwrap()), ["minimum: 1 x 1 = 1"]);
}

#[test]
fn cards_periods_and_lines_survive_being_written_down() {
    let tiers = json!([{ "up_to": "5", "unit": "0.10", "flat": "1" }, { "unit": "0.05" }]);
    let mut till = Till::one(json!({ "type": "graduated", "tiers": tiers }), json!({ "minimum": "50.00" }));
    till.uses("7.5");
    let written = serde_json::to_string(till.tariff.card()).unwrap();
    assert!(written.contains(r#""minimum":"50""#) && written.contains(r#""unit":"0.1""#), "{written}");
    assert_eq!(serde_json::from_str::<Card>(&written).unwrap(), *till.tariff.card());
    let mut period: Period = serde_json::from_str(&serde_json::to_string(&till.period).unwrap()).unwrap();
    assert_eq!(period, till.period);
    let lines: Vec<Line> = serde_json::from_str(&serde_json::to_string(&till.lines).unwrap()).unwrap();
    assert_eq!(lines, till.lines);
    assert_eq!(close(&till.tariff, &mut period), Ok(till.closes()));
}
