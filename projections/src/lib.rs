//! What can be asked: one file a read model, and their runner.
//!
//! Read models are folds of the journal in PostgreSQL. All of it can be thrown away and filled again, and is the same afterwards. Read in this order:
//!
//! 1. [`model`]: what a read model is, and the list of all; then one of them, e.g. [`grants`].
//! 2. [`snapshot`]: how they are asked: one consistent view that knows the position it shows. The questions stand beside the tables they are
//!    answered from, as methods of [`snapshot::Snapshot`].
//! 3. [`positions`]: waiting until they have reached a position.
//! 4. [`build`]: the one transaction that moves rows and checkpoints together; [`runner`]: who calls it, and when.
//! 5. [`builds`]: filling a model anew beside the live one, and comparing the two by their [`digest`].

pub mod build;
pub mod builds;
mod columns;
pub mod commit;
pub mod database;
pub mod digest;
pub mod grants;
pub mod history;
pub mod identity;
pub mod model;
pub mod open_work;
pub mod operations;
pub mod page;
pub mod platform;
pub mod positions;
pub mod quota;
pub mod resources;
pub mod runner;
pub mod running;
pub mod snapshot;
mod source;
pub mod tenants;
