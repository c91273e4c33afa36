//! What a refusal of the decider looks like over HTTP: one table that cannot forget a refusal.
//!
//! The fields of the refusal become members of the problem (`level`, `dimension`, `limit`, `used`, `asked`, ...), beside `reason`, its name
//! for programs, and `retryable`: whether the same request with the same key may succeed later.

use crate::problem::{Problem, ProblemType};
use domain::refusal::Refusal;
use serde_json::Value;
use std::time::Duration;

/// The problem type, and with it the status, of a refusal.
pub fn kind_of(refusal: &Refusal) -> ProblemType {
    use ProblemType as P;
    use Refusal as R;
    match refusal {
        R::KeyReused => P::IdempotencyKeyReused,
        R::Forbidden { .. } | R::OperatorsOnly | R::WorkersOnly => P::Forbidden,
        // The API chose the chain, so the caller cannot have been wrong about it.
        R::WrongChain => P::Internal,
        R::PlatformStale => P::Overloaded,
        R::NoSuchTenant { .. } | R::NoSuchCell { .. } | R::NoSuchResource { .. } => P::NotFound,
        R::ReferenceTaken { .. } => P::AlreadyExists,
        R::QuotaExceeded { .. } => P::QuotaExceeded,
        R::InUse { .. } => P::InUse,
        R::GenerationMismatch { .. } => P::PreconditionFailed,
        R::BadField { .. } => P::InvalidBody,
        R::TenantSuspended
        | R::TenantClosing
        | R::TenantClosed
        | R::NotEmpty { .. }
        | R::CellClosed { .. }
        | R::LastSuperAdministrator
        | R::LastOperator
        | R::ZoneNotOpen { .. }
        | R::ServiceNotOrderable { .. }
        | R::CatalogueMoved { .. }
        | R::ServiceVersion { .. }
        | R::WrongPhase { .. }
        | R::Busy { .. }
        | R::StepNotOpen { .. }
        | R::StepTaken { .. }
        | R::DeadlineAhead { .. }
        | R::AtBeforeLast { .. }
        | R::FormatOutOfOrder { .. }
        | R::FormatNotRead { .. } => P::StateConflict,
        R::CellsDoNotNest
        | R::AboveTenantLimit { .. }
        | R::UnknownDimension { .. }
        | R::RoleLevel { .. }
        | R::NoSuchRegion { .. }
        | R::NoSuchZone { .. }
        | R::ZoneMismatch { .. }
        | R::NoSuchService { .. }
        | R::NoSuchFlavor { .. }
        | R::WrongLevel { .. }
        | R::BadReference { .. }
        | R::NoSuchAction { .. }
        | R::AtAhead { .. }
        | R::ClockIsNotEffective => P::Refused,
    }
}

/// The refusal as a problem.
pub fn problem(refusal: &Refusal) -> Problem {
    let mut problem = Problem::new(kind_of(refusal)).detail(sentence(&refusal.to_string())).with("retryable", refusal.is_worth_retrying());
    let fields = serde_json::to_value(refusal).expect("ids, texts and numbers are always JSON");
    if let Value::Object(fields) = fields {
        // A field of the request is named the way all faults of a body are.
        let named = fields.get("pointer").and_then(Value::as_str).zip(fields.get("problem").and_then(Value::as_str));
        if let Some((pointer, fault)) = named {
            problem = problem.field(pointer, sentence(fault));
        }
        for (name, value) in fields.iter().filter(|(name, _)| !["pointer", "problem"].contains(&name.as_str())) {
            problem = problem.with(name, value.clone());
        }
    }
    match refusal {
        Refusal::PlatformStale | Refusal::CatalogueMoved { .. } => problem.retry_after(Duration::from_secs(1)),
        _ => problem,
    }
}

/// A phrase as a sentence.
pub(crate) fn sentence(phrase: &str) -> String {
    let mut letters = phrase.trim_end_matches('.').chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

#[cfg(test)]
mod tests;
