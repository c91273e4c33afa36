//! How it is asked for: HTTP, one file a noun.
//!
//! Read in this order:
//!
//! 1. [`router`]: every route. A noun's file ([`tenants`], [`resources`], ...) holds its requests, its answers and its handlers.
//! 2. [`command`]: the one way of every write; [`answer`]: what a commit says to its caller; [`refusals`]: what a refusal looks like.
//! 3. [`view`]: the one way of every read; [`standing`]: who may see what.
//! 4. [`auth`], [`idempotency`], [`position`], [`seal`], [`limits`], [`problem`]: what stands at the door.
//! 5. [`serve`]: the running process.

pub mod advice;
pub mod answer;
pub mod asked;
pub mod auth;
pub mod catalogue;
pub mod cells;
pub mod command;
pub mod config;
pub mod deciders;
pub mod health;
pub mod history;
pub mod idempotency;
pub mod key_file;
pub mod limits;
pub mod me;
pub mod members;
pub mod observe;
pub mod openapi;
pub mod operations;
pub mod personal;
pub mod platform;
pub mod position;
pub mod problem;
pub mod quota;
pub mod refusals;
pub mod resources;
pub mod router;
pub mod seal;
pub mod serve;
pub mod spec;
pub mod standing;
pub mod state;
pub mod tail;
pub mod tenants;
pub mod view;

pub use config::ApiConfig;
pub use serve::{Ground, ServeError, serve, serve_on};
