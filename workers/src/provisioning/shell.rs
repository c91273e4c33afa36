//! The running worker.
