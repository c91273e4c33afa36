//! What a decider answers when it is asked what would become of a command.

use crate::{event::WireEvent, record::Position};
use domain::refusal::Refusal;
use serde::{Deserialize, Serialize};

/// What would become of a command. Nothing is written, and nothing is promised.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Advice {
    /// The position of the command's chain at which it was considered.
    pub position: Position,
    /// What would happen.
    pub outcome: Foreseen,
}

/// The outcome that a decider foresees: `{"events": [...]}` or `{"refusal": {...}}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Foreseen {
    /// These events would be recorded.
    Events(Vec<WireEvent>),
    /// It would be refused.
    Refusal(Refusal),
}
