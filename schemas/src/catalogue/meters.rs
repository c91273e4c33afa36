//! What a service owes for its meters: by itself, and among all services.

use super::{
    check::property,
    rules::{is_required, kind_of},
    wording::{Violation, child},
};
use domain::{
    catalogue::Service,
    metering::{Evidence, Meter},
};
use std::collections::BTreeMap;

/// What is wrong with the meters of a service by itself.
pub(super) fn of(service: &Service) -> Vec<Violation> {
    let mut found = Vec::new();
    for (n, meter) in service.meters.iter().enumerate() {
        let at = format!("#/meters/{n}");
        let mut refuse = |wrong: bool, field: &str, problem: String| {
            if wrong {
                found.push(Violation::new(format!("{at}/{field}"), problem));
            }
        };
        for fault in meter.faults() {
            refuse(true, &fault.field, fault.problem);
        }
        let own = format!("{}.", service.name);
        refuse(!meter.name.as_str().starts_with(&own), "name", format!("must begin with {own}, so that it is the only one of its name"));
        refuse(service.meters[..n].iter().any(|m| m.name == meter.name), "name", "stands here twice".to_owned());
        if let Evidence::Existence(rule) = &meter.from {
            let pauses = "what has no power is never stopped".to_owned();
            refuse(!rule.while_stopped && !service.power, "from/existence/while_stopped", pauses);
            let Some(field) = &rule.field else { continue };
            let number = kind_of(service, field) == Some("integer") && is_required(service, field);
            let problem = match property(&service.spec, field) {
                None => format!("the spec has no field {field}"),
                Some(_) => format!("{field} must be a required whole number to be measured"),
            };
            refuse(!number, "from/existence/field", problem);
        }
    }
    found
}

/// A type of events is of one service: otherwise the readings of one resource would be measured by the meters of another service.
pub(super) fn across(services: &[&Service]) -> Vec<(usize, Violation)> {
    let mut found = Vec::new();
    let mut first: BTreeMap<&str, &Service> = BTreeMap::new();
    for (i, service) in services.iter().enumerate() {
        for (n, event_type) in service.meters.iter().enumerate().filter_map(|(n, meter)| Some((n, listens_to(meter)?))) {
            let owner = *first.entry(event_type).or_insert(service);
            if owner.name != service.name {
                let pointer = child(&format!("#/meters/{n}/from/readings"), "type");
                found.push((i, Violation::new(pointer, format!("{event_type} is measured in {}", owner.name))));
            }
        }
    }
    found
}

fn listens_to(meter: &Meter) -> Option<&str> {
    match &meter.from {
        Evidence::Readings(rule) => Some(&rule.event_type),
        Evidence::Existence(_) => None,
    }
}
