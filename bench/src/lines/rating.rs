//! How many pieces of usage one core rates in a second.
//!
//! A price list of 1,000 flavors in four regions, and hourly usage of 10,000 servers and of their traffic, which is in tiers with a discount.

use super::Line;
use crate::measure::{Goal, Row, Scale, rate_of_core};
use anyhow::Context;
use domain::rating::{BaseUnit, Card, Currency, MeterName, Offer, Period, PriceLine, Quantity, Subject, Tariff, Usage, rate_into};
use serde_json::json;
use std::{hint::black_box, path::Path};

/// See the module.
pub const LINE: Line = Line { name: "rating", about: "pieces of usage rated by a price list of 4,001 lines, one core", run };

/// An hour in microseconds.
const HOUR: i128 = 3_600_000_000;

const REGIONS: [&str; 4] = ["dus", "fra", "ber", "ham"];

fn run(scale: &Scale, _: &Path) -> anyhow::Result<Vec<Row>> {
    let (time, traffic): (MeterName, MeterName) = ("server.time".parse()?, "traffic.egress".parse()?);
    let tariff = tariff(&time, &traffic)?;
    let servers = (0..10_000).map(server).collect::<anyhow::Result<Vec<Subject>>>()?;
    let points = scale.amount(3_000_000, 500_000);
    let mut rows = Vec::new();
    for (what, meter, quantity) in [("server hours", &time, HOUR), ("traffic, in tiers, discounted", &traffic, 123_456_789)] {
        let mut rates = Vec::new();
        for _ in 0..scale.runs {
            let mut period = Period::open(Quantity(730 * HOUR), None);
            let mut lines = Vec::with_capacity(16);
            rates.push(rate_of_core(points, || {
                for subject in servers.iter().cycle().take(points) {
                    lines.clear();
                    rate_into(&tariff, &Usage::new(subject, meter, Quantity(quantity)), &mut period, &mut lines)?;
                    black_box(&lines);
                }
                Ok(())
            })?);
        }
        let goal = vec![1e6; rates.len()];
        rows.push(Row::beside(format!("rate {what}, one core"), "1/s", &rates, "the goal", &goal, Some(Goal::AtLeast(1.0))));
    }
    Ok(rows)
}

fn tariff(time: &MeterName, traffic: &MeterName) -> anyhow::Result<Tariff> {
    let mut prices = (0..4_000).map(|n| price(n, time)).collect::<anyhow::Result<Vec<PriceLine>>>()?;
    prices.push(serde_json::from_value(json!({
        "id": "egress", "meter": traffic, "unit": {"name": "GB", "size": "1000000000"}, "included": "100", "discount": "12.5",
        "model": {"type": "graduated", "tiers": [{"up_to": "10000", "unit": "0.09"}, {"up_to": "50000", "unit": "0.07"}, {"unit": "0.05"}]},
    }))?);
    let card = Card {
        name: "list".parse()?,
        currency: Currency::EUR,
        valid_from: "2026-01-01T00:00:00Z".parse()?,
        valid_to: None,
        prices,
        commitments: Vec::new(),
    };
    let meters = [(time.clone(), BaseUnit::Microseconds), (traffic.clone(), BaseUnit::Bytes)].into();
    Tariff::publish(card, &Offer { meters, skus: Vec::new() }).context("the price list is not sound")
}

/// Of a flavor in a region.
fn price(n: usize, meter: &MeterName) -> anyhow::Result<PriceLine> {
    Ok(serde_json::from_value(json!({
        "id": format!("server-{n}"), "meter": meter, "unit": {"name": "Hours", "size": HOUR.to_string()},
        "scope": {"service": "server", "flavor": format!("scs-{}", n / 4), "region": REGIONS[n % 4]},
        "model": {"type": "unit", "price": format!("0.{:04}", n + 1)},
    }))?)
}

fn server(n: usize) -> anyhow::Result<Subject> {
    let flavor = format!("scs-{}", n % 1_000);
    Ok(serde_json::from_value(json!({"service": "server", "flavor": flavor, "region": REGIONS[n % 4], "zone": "one"}))?)
}
