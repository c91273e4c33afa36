//! What did happen: the journal read again by somebody who trusts nobody.
//!
//! [`source`] is where the records come from: Kafka, or a directory of dumped partitions on a machine without any server. [`verify`] applies the
//! rule and the fold to all of them, [`show`] tells one tenant's or resource's story, [`digest`] names what the whole log says in 32 bytes.
//!
//! Neither `workers` nor `api` is linked: reading history cannot start a machine, because nothing that could is here.

pub mod chain;
pub mod digest;
pub mod show;
pub mod source;
pub mod verify;
