//! Cards that are not published, with the place that is named.

use crate::till::*;
use domain::{rating::*, refusal::Refusal};
use serde_json::{Value, json};

/// Publishes a card and gives the place and the reason why not.
fn refused(card: Card, offer: &Offer) -> (String, String) {
    match Tariff::publish(card, offer) {
        Err(Refusal::BadField { pointer, problem }) => (pointer, problem),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("published"),
    }
}

fn unit() -> Value {
    json!({ "type": "unit", "price": "1" })
}

#[test]
fn a_price_line_that_makes_no_sense_is_refused_with_its_place() {
    let tiers = |tiers: Value| json!({ "type": "graduated", "tiers": tiers });
    let cases = [
        (unit(), json!({ "meter": "smoke" }), "#/prices/0/meter"),
        (unit(), json!({ "unit": { "name": "Units", "size": "0" } }), "#/prices/0/unit/size"),
        (unit(), json!({ "unit": { "name": "Months", "size": "period" } }), "#/prices/0/unit/size"),
        (json!({ "type": "unit", "price": "0.0000000001" }), json!({}), "#/prices/0/model/price"),
        (json!({ "type": "unit", "price": "-1" }), json!({}), "#/prices/0/model/price"),
        (unit(), json!({ "discount": "100.1" }), "#/prices/0/discount"),
        (unit(), json!({ "discount": "-1" }), "#/prices/0/discount"),
        (unit(), json!({ "included": "0.0000000000001" }), "#/prices/0/included"),
        (unit(), json!({ "minimum": "2", "maximum": "1" }), "#/prices/0/maximum"),
        (unit(), json!({ "minimum": "0.0000000001" }), "#/prices/0/minimum"),
        (json!({ "type": "unit", "price": "0.123456789" }), json!({ "discount": "0.123456" }), "#/prices/0"),
        (tiers(json!([])), json!({}), "#/prices/0/model/tiers"),
        (tiers(json!([{ "up_to": "5" }])), json!({}), "#/prices/0/model/tiers/0"),
        (tiers(json!([{ "up_to": "0" }, {}])), json!({}), "#/prices/0/model/tiers/0/up_to"),
        (tiers(json!([{ "up_to": "5" }, { "up_to": "5" }, {}])), json!({}), "#/prices/0/model/tiers/1/up_to"),
        (tiers(json!([{ "up_to": "5" }, { "up_to": "4" }, {}])), json!({}), "#/prices/0/model/tiers/1/up_to"),
        (tiers(json!([{ "up_to": "5" }, { "from": "6" }])), json!({}), "#/prices/0/model/tiers/1/from"),
        (tiers(json!([{ "up_to": "5" }, { "from": "4" }])), json!({}), "#/prices/0/model/tiers/1/from"),
        (tiers(json!([{}, {}])), json!({}), "#/prices/0/model/tiers/1"),
        (tiers(json!([{ "up_to": "5", "flat": "0.0000000001" }, {}])), json!({}), "#/prices/0/model/tiers/0/flat"),
        (json!({ "type": "package", "size": "0", "price": "1" }), json!({}), "#/prices/0/model/size"),
        (
            json!({ "type": "blocks", "charge": "all_tiers", "tiers": [{ "block": "1", "max_blocks": 0, "price": "1" }, { "block": "1", "price": "1" }] }),
            json!({}),
            "#/prices/0/model/tiers/0/max_blocks",
        ),
        (
            json!({ "type": "blocks", "charge": "top_tier", "tiers": [{ "block": "1", "max_blocks": 9, "price": "1" }] }),
            json!({}),
            "#/prices/0/model/tiers/0",
        ),
        (json!({ "type": "percentage", "percent": "0.00000001" }), json!({}), "#/prices/0/model/percent"),
        (json!({ "type": "percentage", "percent": "1" }), json!({ "included": "5" }), "#/prices/0/included"),
        (
            json!({ "type": "percentage", "percent": "1", "event_minimum": "2", "event_maximum": "1" }),
            json!({}),
            "#/prices/0/model/event_maximum",
        ),
        (json!({ "type": "one_time", "price": "1" }), json!({ "meter": "time" }), "#/prices/0/model"),
        (json!({ "type": "recurring", "price": "1" }), json!({ "meter": "time" }), "#/prices/0/unit/size"),
        (unit(), json!({ "adjustments": [{ "change": { "type": "factor", "factor": "-1" } }] }), "#/prices/0/adjustments/0/change/factor"),
        (
            unit(),
            json!({ "adjustments": [{ "when": { "quantity": { "from": "2", "below": "2" } }, "change": { "type": "factor", "factor": "1" } }] }),
            "#/prices/0/adjustments/0/when/quantity",
        ),
        (
            json!({ "type": "volume", "tiers": [{ "unit": "1" }] }),
            json!({ "adjustments": [{ "when": { "scope": { "region": "eu" } }, "change": { "type": "factor", "factor": "1" } }] }),
            "#/prices/0/adjustments/0",
        ),
    ];
    for (model, with, pointer) in cases {
        assert_eq!(refused(card(vec![line("a", model.clone(), with.clone())]), &offer()).0, pointer, "{model} {with}");
    }
}

#[test]
fn a_card_that_is_valid_for_no_time_or_in_gold_is_refused() {
    let mut late = card(vec![]);
    late.valid_to = Some(late.valid_from);
    assert_eq!(refused(late, &offer()).0, "#/valid_to");
    let mut gold = card(vec![]);
    gold.currency = Currency::XAU;
    assert_eq!(refused(gold, &offer()).0, "#/currency");
}

#[test]
fn two_lines_that_are_equally_exact_for_the_same_usage_are_refused() {
    let both = |a: Value, b: Value| card(vec![line("a", unit(), a), line("b", unit(), b)]);
    for (a, b) in [
        (json!({}), json!({})),
        (json!({ "scope": { "zone": "z" } }), json!({ "scope": { "zone": "z" } })),
        (json!({ "scope": { "labels": { "gold": "yes" } } }), json!({ "scope": { "labels": { "ssd": "yes" } } })),
    ] {
        let (pointer, problem) = refused(both(a, b), &offer());
        assert_eq!((pointer.as_str(), problem.as_str()), ("#/prices/1/scope", "b is as exact as a for the same usage"));
    }
    for (a, b) in [
        (json!({ "scope": { "zone": "z" } }), json!({ "scope": { "zone": "y" } })),
        (json!({ "scope": { "zone": "z" } }), json!({ "scope": { "region": "r" } })),
        (json!({ "scope": { "labels": { "gold": "yes" } } }), json!({ "scope": { "labels": { "gold": "no" } } })),
        (json!({ "scope": { "labels": { "gold": "yes" } } }), json!({})),
        (json!({ "meter": "things" }), json!({})),
        (json!({ "component": "licence" }), json!({})),
    ] {
        assert!(Tariff::publish(both(a.clone(), b.clone()), &offer()).is_ok(), "{a} {b}");
    }
    let twice = card(vec![line("a", unit(), json!({})), line("a", unit(), json!({ "meter": "things" }))]);
    assert_eq!(refused(twice, &offer()).0, "#/prices/1/id");
}

#[test]
fn what_is_sold_without_a_price_is_refused_unless_the_card_says_free() {
    let mut offer = offer();
    let of = |flavor: &str| Subject { flavor: Some(flavor.parse().unwrap()), ..server() };
    offer.skus = vec![(of("small"), meter("units")), (of("large"), meter("units"))];
    let small = line("small", unit(), json!({ "scope": { "flavor": "small" } }));
    let (pointer, problem) = refused(card(vec![small.clone()]), &offer);
    assert_eq!(pointer, "#/prices");
    assert_eq!(problem, "units of server of flavor large has no price; what costs nothing must say `free`");
    let contracted = line("large", unit(), json!({ "scope": { "flavor": "large", "contract": "acme" } }));
    assert_eq!(refused(card(vec![small.clone(), contracted]), &offer).0, "#/prices", "a price for some is none for all");
    let free = line("large", json!({ "type": "free" }), json!({ "scope": { "flavor": "large" } }));
    assert!(Tariff::publish(card(vec![small, free]), &offer).is_ok());
}

#[test]
fn a_commitment_that_cannot_cover_its_lines_is_refused() {
    let published = |prices: Vec<PriceLine>, commitments: Value| {
        let mut card = card(prices);
        card.commitments = serde_json::from_value(commitments).unwrap();
        refused(card, &offer()).0
    };
    let commitment =
        |name: &str, prices: Value, terms: Value| json!({ "name": name, "contract": "acme", "prices": prices, "terms": terms });
    let spend = json!({ "type": "spend", "amount": "10", "fee": "8" });
    let usage = json!({ "type": "usage", "quantity": "10", "fee": "8" });
    let a = || line("a", unit(), json!({}));
    assert_eq!(published(vec![a()], json!([commitment("c", json!(["b"]), spend.clone())])), "#/commitments/0/prices/0");
    let twice = json!([commitment("c", json!(["a"]), spend.clone()), commitment("d", json!(["a"]), spend.clone())]);
    assert_eq!(published(vec![a()], twice), "#/commitments/1/prices/0");
    let same = json!([commitment("c", json!([]), spend.clone()), commitment("c", json!([]), spend)]);
    assert_eq!(published(vec![a()], same), "#/commitments/1/name");
    let package = line("a", json!({ "type": "package", "size": "1", "price": "1" }), json!({}));
    assert_eq!(published(vec![package], json!([commitment("c", json!(["a"]), usage.clone())])), "#/commitments/0/prices/0");
    let things = line("b", unit(), json!({ "meter": "things", "unit": { "name": "Things", "size": "1" } }));
    assert_eq!(published(vec![a(), things], json!([commitment("c", json!(["a", "b"]), usage)])), "#/commitments/0/prices/1");
    let negative = json!([commitment("c", json!(["a"]), json!({ "type": "minimum", "amount": "-1" }))]);
    assert_eq!(published(vec![a()], negative), "#/commitments/0/terms/amount");
}

#[test]
fn a_card_with_a_field_that_nobody_knows_cannot_be_read() {
    for card in [
        json!({ "id": "a", "meter": "units", "unit": { "name": "U", "size": "1" }, "model": { "type": "unit", "price": "1" }, "dscount": "5" }),
        json!({ "id": "a", "meter": "units", "unit": { "name": "U", "size": "perod" }, "model": { "type": "unit", "price": "1" } }),
        json!({ "id": "a", "meter": "units", "unit": { "name": "U", "size": "1" }, "model": { "type": "unit", "price": 1.5 } }),
        json!({ "id": "a", "meter": "units", "unit": { "name": "U", "size": "1" }, "model": { "type": "unit", "price": "1", "flat": "1" } }),
    ] {
        assert!(serde_json::from_value::<PriceLine>(card.clone()).is_err(), "{card}");
    }
}
