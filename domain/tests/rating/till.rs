//! A till: a card with sensible defaults, a tenant's period, and the lines that come out.

use domain::rating::*;
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

/// A decimal quantity as base units of the meter `units`, of which 10^12 make one.
pub fn q(units: &str) -> Quantity {
    let (sign, digits) = units.strip_prefix('-').map_or((1, units), |rest| (-1, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    assert!(part.len() <= 12, "{units} has more than 12 decimals");
    Quantity(sign * format!("{whole}{part:0<12}").parse::<i128>().unwrap())
}

/// What is measured: `units` count in 10^-12, `things` in whole ones, `time` and `seats` measure time.
pub fn offer() -> Offer {
    let meters = [
        ("units", BaseUnit::Counts),
        ("things", BaseUnit::Counts),
        ("time", BaseUnit::Microseconds),
        ("seats", BaseUnit::CountMicroseconds),
    ];
    Offer { meters: meters.map(|(name, unit)| (meter(name), unit)).into(), skus: Vec::new() }
}

pub fn meter(name: &str) -> MeterName {
    name.parse().unwrap()
}

/// A price line of the meter `units`, with what is given in its place.
pub fn line(id: &str, model: Value, with: Value) -> PriceLine {
    let mut line = json!({ "id": id, "meter": "units", "unit": { "name": "Units", "size": "1000000000000" }, "model": model });
    line.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    serde_json::from_value(line).unwrap()
}

/// A card in euros.
pub fn card(prices: Vec<PriceLine>) -> Card {
    let mut card: Card = serde_json::from_value(json!({
        "name": "list", "currency": "EUR", "valid_from": "2026-01-01T00:00:00Z", "prices": []
    }))
    .unwrap();
    card.prices = prices;
    card
}

/// A server without anything special.
pub fn server() -> Subject {
    serde_json::from_value(json!({ "service": "server" })).unwrap()
}

/// A tenant that uses things and pays.
pub struct Till {
    pub tariff: Tariff,
    pub period: Period,
    pub lines: Vec<Line>,
}

/// A period of 30 days.
pub const MONTH: Quantity = Quantity(30 * 86_400_000_000);

impl Till {
    pub fn new(prices: Vec<PriceLine>) -> Self {
        Self::of(card(prices), None)
    }

    pub fn one(model: Value, with: Value) -> Self {
        Self::new(vec![line("price", model, with)])
    }

    pub fn of(card: Card, contract: Option<&str>) -> Self {
        let tariff = Tariff::publish(card, &offer()).unwrap();
        let period = Period::open(MONTH, contract.map(|c| c.parse().unwrap()));
        Self { tariff, period, lines: Vec::new() }
    }

    pub fn rates(&mut self, usage: Usage<'_>) -> Vec<Line> {
        let lines = rate(&self.tariff, &usage, &mut self.period).unwrap();
        self.lines.extend(lines.clone());
        lines
    }

    /// So many units of a server.
    pub fn uses(&mut self, units: &str) -> Vec<Line> {
        self.rates(Usage::new(&server(), &meter("units"), q(units)))
    }

    pub fn estimate(&self) -> Vec<Line> {
        estimate(&self.tariff, &self.period).unwrap()
    }

    pub fn closes(&mut self) -> Vec<Line> {
        let lines = close(&self.tariff, &mut self.period).unwrap();
        self.lines.extend(lines.clone());
        lines
    }

    /// All lines so far.
    pub fn total(&self) -> String {
        total(&self.lines)
    }
}

pub fn total(lines: &[Line]) -> String {
    for line in lines {
        let list = line.quantity.decimal() * line.unit_price.decimal();
        let taken = line.discounted.decimal() + line.capped.decimal() + line.covered.decimal();
        assert_eq!(list - taken, line.amount.decimal(), "{line:?} does not add up");
    }
    Amount::sum(lines.iter().map(|l| l.amount)).unwrap().to_string()
}

/// Rule, quantity and amount of each line.
pub fn said(lines: &[Line]) -> Vec<String> {
    let rule = |line: &Line| {
        let rule = serde_json::to_value(&line.rule).unwrap();
        let tier = rule.get("tier").map(|t| format!(" {t}")).unwrap_or_default();
        format!("{}{tier}", rule["type"].as_str().unwrap())
    };
    lines.iter().map(|l| format!("{}: {} x {} = {}", rule(l), l.quantity, l.unit_price, l.amount)).collect()
}

/// The lines of a file of JSON values.
pub fn data(name: &str) -> Vec<Value> {
    text(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A file of other people's data.
pub fn text(name: &str) -> String {
    let directory = std::env::var_os("CIRRUS_DATA").map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").into());
    let path = directory.join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{} (say where the data lie with CIRRUS_DATA): {e}", path.display()))
}
