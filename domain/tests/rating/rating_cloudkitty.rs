//! The hashmap of CloudKitty as a rate card, against the prices that CloudKitty itself gave.

use crate::till::*;
use domain::{
    rating::{
        cloudkitty::{Head, Measured, Rule, import},
        *,
    },
    refusal::Refusal,
};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn head() -> Head {
    Head { name: "hashmap".parse().unwrap(), currency: Currency::EUR, valid_from: "2026-01-01T00:00:00Z".parse().unwrap() }
}

fn measured() -> BTreeMap<String, Measured> {
    let unit = |name: &str| PricingUnit { name: name.into(), size: Size::Of(q("1")) };
    let of = |name: &str| Measured { meter: meter("units"), unit: unit(name) };
    BTreeMap::from([("compute", "instance"), ("volume.size", "GiB"), ("network.outgoing", "GiB")].map(|(s, u)| (s.to_owned(), of(u))))
}

fn imported(rules: &Value, tenant: Option<&str>) -> Result<Card, Refusal> {
    let rules: Vec<Rule> = serde_json::from_value(rules.clone()).unwrap();
    import(&rules, tenant, &measured(), head())
}

fn subject(service: &str, labels: &Value) -> Subject {
    serde_json::from_value(json!({ "service": service, "labels": labels })).unwrap()
}

/// What CloudKitty would charge for one point, which it rates by itself.
fn price(till: &mut Till, service: &str, labels: Value, quantity: &str) -> String {
    let lines = rate(&till.tariff, &Usage::new(&subject(service, &labels), &meter("units"), q(quantity)), &mut till.period).unwrap();
    total(&lines)
}

#[test]
fn every_point_costs_what_cloudkitty_charges_for_it_to_the_last_digit() {
    let cards = data("cloudkitty_hashmap_vectors.jsonl");
    let mut points = 0;
    for card in &cards {
        let mut till = Till::of(imported(&card["rules"], card["tenant"].as_str()).unwrap(), None);
        for point in card["points"].as_array().unwrap() {
            let price = price(&mut till, point["service"].as_str().unwrap(), point["desc"].clone(), point["qty"].as_str().unwrap());
            let exact: Amount = point["exact_decimal_price"].as_str().unwrap().parse().unwrap();
            assert_eq!(price.parse::<Amount>().unwrap(), exact, "card {}, {point}", card["card"]);
            let eight = exact.decimal().round_dp(8);
            assert_eq!(eight, Decimal::from_str_exact(point["expected_price_8dp"].as_str().unwrap()).unwrap(), "{point}");
            points += 1;
        }
    }
    assert!(cards.len() >= 20 && points >= 500, "only {points} points of {} cards", cards.len());
}

#[test]
fn of_flat_mappings_the_largest_counts_and_all_rates_multiply_it() {
    let rules = json!([
        { "service": "compute", "group": "g", "type": "flat", "cost": "0.5" },
        { "service": "compute", "group": "g", "field": "flavor", "value": "small", "type": "flat", "cost": "0.3" },
        { "service": "compute", "group": "g", "field": "flavor", "value": "large", "type": "flat", "cost": "0.7" },
        { "service": "compute", "group": "g", "field": "region", "value": "b", "type": "rate", "cost": "1.1" },
        { "service": "compute", "group": "g", "field": "os", "value": "x", "type": "rate", "cost": "2" },
    ]);
    let mut till = Till::of(imported(&rules, None).unwrap(), None);
    assert_eq!(price(&mut till, "compute", json!({ "flavor": "small" }), "2"), "1");
    assert_eq!(price(&mut till, "compute", json!({ "flavor": "large", "region": "b" }), "2"), "1.54");
    assert_eq!(price(&mut till, "compute", json!({ "flavor": "large", "region": "b", "os": "x" }), "1"), "1.54");
}

#[test]
fn of_all_thresholds_of_a_group_only_the_one_with_the_highest_level_counts() {
    let rules = json!([
        { "service": "compute", "type": "flat", "cost": "1" },
        { "service": "compute", "threshold": 10, "type": "flat", "cost": "5" },
        { "service": "compute", "threshold": "30.5", "type": "rate", "cost": "0.5" },
        { "service": "compute", "field": "ram", "threshold": 20, "type": "flat", "cost": "0.25" },
        { "service": "compute", "field": "ram", "threshold": 40, "type": "rate", "cost": "3" },
        { "service": "compute", "field": "cpus", "threshold": 20, "type": "flat", "cost": "100" },
    ]);
    let mut till = Till::of(imported(&rules, None).unwrap(), None);
    let mut is = |labels, quantity| price(&mut till, "compute", labels, quantity);
    assert_eq!(is(json!({}), "9.9"), "9.9", "none is reached");
    assert_eq!(is(json!({}), "10"), "15", "the service's, added to the amount");
    assert_eq!(is(json!({ "ram": "20" }), "10"), "12.5", "the field's, added to the unit price, is higher");
    assert_eq!(is(json!({ "ram": "20" }), "31"), "15.5", "the service's second is higher still");
    assert_eq!(is(json!({ "ram": "64" }), "31"), "93", "the field's second is the highest");
    assert_eq!(is(json!({ "ram": "20", "cpus": "20" }), "1"), "101", "of equal levels one counts");
    assert_eq!(is(json!({ "ram": "plenty" }), "1"), "1", "what is no number reaches nothing");
}

#[test]
fn the_rules_of_a_tenant_take_the_place_of_those_for_all() {
    let rules = json!([
        { "service": "compute", "field": "flavor", "value": "a", "type": "flat", "cost": "1", "tenant": "t1" },
        { "service": "compute", "field": "flavor", "value": "a", "type": "flat", "cost": "2" },
        { "service": "compute", "field": "flavor", "value": "a", "type": "flat", "cost": "9", "tenant": "t2" },
    ]);
    for (tenant, expected) in [(Some("t1"), "1"), (Some("t2"), "9"), (Some("t3"), "2"), (None, "2")] {
        let mut till = Till::of(imported(&rules, tenant).unwrap(), None);
        assert_eq!(price(&mut till, "compute", json!({ "flavor": "a" }), "1"), expected, "{tenant:?}");
    }
}

#[test]
fn groups_add_up_and_what_matches_nothing_costs_nothing() {
    let rules = json!([
        { "service": "compute", "group": "vm", "field": "flavor", "value": "a", "type": "flat", "cost": "1" },
        { "service": "compute", "group": "Licence (Windows)", "field": "os", "value": "w", "type": "flat", "cost": "0.1" },
    ]);
    let mut till = Till::of(imported(&rules, None).unwrap(), None);
    assert_eq!(price(&mut till, "compute", json!({ "flavor": "a", "os": "w" }), "1"), "1.1");
    assert_eq!(price(&mut till, "compute", json!({ "flavor": "b", "os": "l" }), "1"), "0");
}

#[test]
fn a_rule_that_cannot_be_read_is_refused_with_its_place() {
    for (rule, pointer) in [
        (json!({ "service": "dns", "type": "flat", "cost": "1" }), "#/0/service"),
        (json!({ "service": "compute", "type": "flat", "cost": "a lot" }), "#/0/cost"),
        (json!({ "service": "compute", "field": "flavor", "type": "flat", "cost": "1" }), "#/0/value"),
    ] {
        match imported(&json!([rule]), None) {
            Err(Refusal::BadField { pointer: is, .. }) => assert_eq!(is, pointer),
            other => panic!("{other:?}"),
        }
    }
}
