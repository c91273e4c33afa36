//! A provider's price list as a card.

use crate::till::*;
use domain::rating::*;
use serde_json::json;

#[test]
fn every_offer_of_a_real_price_list_is_found_by_flavor_and_zone_at_its_own_price() {
    let list = text("prices_scaleway_2026-07_eur.csv");
    let mut offer = offer();
    let mut expected = Vec::new();
    let mut prices = Vec::new();
    for row in list.lines().skip(1) {
        let [sku, product, zone, .., price, unit, size, _, _, _] = *row.split(',').collect::<Vec<_>>() else { panic!("{row}") };
        let (name, us, an_hour) = match (unit, size) {
            ("hour", "1") => ("Hours", 3_600_000_000u64, 1),
            ("minute", "1") => ("Minutes", 60_000_000, 60),
            _ => panic!("{row}"),
        };
        let (id, flavor) = (sku.trim_matches('/').replace('/', "."), product.to_lowercase());
        let with = json!({
            "meter": "time", "unit": { "name": name, "size": us.to_string() }, "scope": { "service": "server", "flavor": flavor, "zone": zone },
        });
        prices.push(line(&id, json!({ "type": "unit", "price": price }), with));
        let subject: Subject = serde_json::from_value(json!({ "service": "server", "flavor": flavor, "zone": zone })).unwrap();
        offer.skus.push((subject.clone(), meter("time")));
        expected.push((subject, price.parse::<Price>().unwrap().decimal() * rust_decimal::Decimal::from(an_hour)));
    }
    assert_eq!(prices.len(), 243);
    let tariff = Tariff::publish(card(prices), &offer).unwrap();
    for (subject, price) in expected {
        let mut period = Period::open(MONTH, None);
        let lines = rate(&tariff, &Usage::new(&subject, &meter("time"), Quantity(3_600_000_000)), &mut period).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].amount.decimal(), price, "{subject:?}");
    }
}
