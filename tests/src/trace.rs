//! The trace player: real machines of a public cloud, played through the HTTP API as the tenants of this one.
//!
//! The input is a table of machines with the second of their creation and their lifetime. A *batch* of it is what one tenant started at one
//! time; tenant = batch mod 200, cell = (batch div 200) mod 4, zones alternate by machine. Tenants are opened with the effective clock, so
//! that everything happens at the time of the trace, with second 0 at 2026-01-01T00:00:00Z, however fast it is played.
//!
//! [`machines`] reads the table, [`schedule`] says what each tenant does in which order, [`play`] does it through [`client`], which sends
//! again whatever is undecided, [`figures`] counts, and [`compare`] holds what the platform shows at the end against what `dev/trace-expect`
//! computes from the table alone. Nothing here knows the platform otherwise than through HTTP.
//!
//! Names and idempotency keys follow from the length of the trace and the machine alone. So a run that died goes on where it was, a run that
//! was finished finds everything done, and traces of different lengths are different tenants, side by side.

pub mod client;
pub mod compare;
pub mod figures;
pub mod machines;
pub mod play;
pub mod schedule;

/// Cells of each tenant.
pub const CELLS: usize = 4;

/// Where the trace begins, in its own seconds.
pub const BEGIN_S: u64 = 1_800_000;

/// Where its observation ends.
pub const END_S: u64 = 2_591_400;

/// The second of the trace at which it stops after so many hours.
pub fn stop_s(hours: u64) -> u64 {
    hours.saturating_mul(3_600).saturating_add(BEGIN_S).min(END_S)
}
