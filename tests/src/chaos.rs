//! Faults while people work: a whole platform of real processes, clients that write down all that they ask and are told, and one checker
//! that afterwards holds the journal, the read models and the provider against what was written down.
//!
//! Read in this order: [`history`], what a client knows; [`load`], what clients do; [`evidence`], what is left behind; [`check`], the rules;
//! [`field`], a running platform under load; [`scenarios`], the stories. Beside them, [`watch`] writes down what the processes hold, and [`flat`] says
//! whether that stays level.

pub mod check;
pub mod evidence;
pub mod field;
pub mod flat;
pub mod history;
pub mod load;
pub mod plot;
pub mod proxy;
pub mod scenarios;
pub mod watch;
