//! How it is written down: records, events and their versions, JSON Schema, the catalogue.

pub mod catalogue;
pub mod cloudevents;
pub mod command;
pub mod event;
pub mod record;
pub mod schema;
