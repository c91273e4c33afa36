//! Provisioning: what is wanted becomes what is there.
//!
//! A worker serves one availability zone, or what belongs to the region, and needs nothing of another zone. Its inbox is the open work of its
//! place: steps of the log that are not ended. It is level-triggered: a wake-up only means "look again", and a lost one costs latency.
//!
//! One round for one step:
//!
//! 1. *look* at the provider for what carries the step's name;
//! 2. [`plan`]: pure; desired and observed in, the next thing to do out;
//! 3. before a call is made, it is announced (`Pending`) and the announcement read back, so that at most one worker calls at a time;
//! 4. one call, within its deadline; a time-out is *unknown*, and unknown means: look again once the call can no longer take effect;
//! 5. a report, which the decider may refuse: then the step is not this worker's any more.
//!
//! - A call *may be under way* if and only if the step is announced and now is before the announced deadline plus the settle time of the provider.
//! - Absence is believed only when no call may be under way, and is as old as the question, not as the answer.
//! - An announcement counts up from the last one that its worker knew of. If there was a later one, the worker has looked too early, and is refused.
//! - Names are `cirrus-<intent that made it>` and never used again, so a late delete harms nothing.

pub mod inbox;
pub mod paced;
pub mod plan;
pub mod reporter;
pub mod round;
pub mod shell;
pub mod sweep;
