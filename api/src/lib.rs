//! How it is asked for: HTTP, one file a noun.

pub mod auth;
pub mod idempotency;
pub mod key_file;
pub mod limits;
pub mod position;
pub mod problem;
pub mod seal;
