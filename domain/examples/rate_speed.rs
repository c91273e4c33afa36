//! How many pieces of usage one core rates in a second: `cargo run -p domain --release --example rate_speed`.
//!
//! A price list of 1,000 flavors in four regions, and hourly usage of 10,000 servers and of their traffic, which is in tiers with a discount.
#![allow(clippy::disallowed_methods, reason = "an example that measures needs a clock")]

use domain::rating::{BaseUnit, Card, Currency, MeterName, Offer, Period, PriceLine, Quantity, Subject, Tariff, Usage, rate_into};
use serde_json::json;
use std::hint::black_box;

const HOUR: i128 = 3_600_000_000;
const POINTS: usize = 3_000_000;

/// What this process got of a core so far, as Linux counts it: other work on the machine does not matter.
fn seconds_of_core() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    let nanoseconds: f64 = stat.split(' ').next().and_then(|n| n.parse().ok()).expect("nanoseconds on a core");
    nanoseconds / 1e9
}

fn main() {
    let (time, traffic): (MeterName, MeterName) = ("server.time".parse().expect("a name"), "traffic.egress".parse().expect("a name"));
    let regions = ["dus", "fra", "ber", "ham"];
    let flavor = |n: usize| format!("scs-{n}");
    let line = |value| serde_json::from_value::<PriceLine>(value).expect("a price line");
    let mut prices = Vec::new();
    for n in 0..4000 {
        prices.push(line(json!({
            "id": format!("server-{n}"), "meter": time, "unit": { "name": "Hours", "size": HOUR.to_string() },
            "scope": { "service": "server", "flavor": flavor(n / 4), "region": regions[n % 4] },
            "model": { "type": "unit", "price": format!("0.{:04}", n + 1) },
        })));
    }
    prices.push(line(json!({
        "id": "egress", "meter": traffic, "unit": { "name": "GB", "size": "1000000000" }, "included": "100", "discount": "12.5",
        "model": { "type": "graduated", "tiers": [{ "up_to": "10000", "unit": "0.09" }, { "up_to": "50000", "unit": "0.07" }, { "unit": "0.05" }] },
    })));
    let valid_from = "2026-01-01T00:00:00Z".parse().expect("a time");
    let card = Card {
        name: "list".parse().expect("a name"),
        currency: Currency::EUR,
        valid_from,
        valid_to: None,
        prices,
        commitments: Vec::new(),
    };
    let meters = [(time.clone(), BaseUnit::Microseconds), (traffic.clone(), BaseUnit::Bytes)].into();
    let tariff = Tariff::publish(card, &Offer { meters, skus: Vec::new() }).expect("a sound card");
    let servers: Vec<Subject> = (0..10_000)
        .map(|n| {
            let subject = json!({ "service": "server", "flavor": flavor(n % 1000), "region": regions[n % 4], "zone": "one" });
            serde_json::from_value(subject).expect("a subject")
        })
        .collect();
    for (what, meter, quantity) in [("server hours", &time, HOUR), ("traffic, tiered and discounted", &traffic, 123_456_789)] {
        let mut period = Period::open(Quantity(730 * HOUR), None);
        let mut lines = Vec::with_capacity(16);
        let begin = seconds_of_core();
        for subject in servers.iter().cycle().take(POINTS) {
            lines.clear();
            rate_into(&tariff, &Usage::new(subject, meter, Quantity(quantity)), &mut period, &mut lines).expect("a price");
            black_box(&lines);
        }
        let seconds = seconds_of_core() - begin;
        println!("{what}: {:.2} million a second of a core", POINTS as f64 / seconds / 1e6);
    }
}
