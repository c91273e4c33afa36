//! The twin keeps the contract that Kafka keeps, see `tests/journal_kafka.rs` of the crate `tests`.

use std::sync::Arc;

use journal::contract::CASES;
use journal::twin::Twin;

#[test]
fn the_twin_keeps_every_promise_of_a_log() {
    for (promise, case) in CASES {
        println!("{promise}");
        case(Arc::new(Twin::new("contract", 4)));
    }
}
