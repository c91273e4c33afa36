//! What can be asked: one file a read model, and their runner.
