//! The decider: what is asked becomes what is true.
//!
//! Every record of the commands and reports topics gets exactly one commit, in order for each topic and partition. A process folds all
//! partitions and leads some; whoever does not lead one follows it and can take over within seconds (hot standby).
//!
//! - [`engine`]: all partitions of one process as one step machine, `step(input, now) -> effects`: no I/O, clock or randomness.
//! - [`chain`]: one partition of it: the writer, the observed state, the speculative state, and the commands that wait.
//! - [`decision`]: one command record against one state, whatever it holds: a draft comes out, never a panic.
//! - [`snapshot`]: what saves folding everything at each start; a cache.
//! - [`tombstones`]: the outcomes of creates whose resource is gone, on disk.
//! - [`turning`]: a process without its thread: feeds the engine from the topics and carries out its effects.
//! - [`shell`]: the thread that turns it.

pub mod advice;
pub mod chain;
pub mod decision;
pub mod engine;
pub mod shell;
pub mod snapshot;
pub mod tombstones;
pub mod turning;
