//! Tests from outside: one binary, one module per concern.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected has failed"
)]

// The protocol without I/O, held to vectors that official SDKs made.
mod wire;
