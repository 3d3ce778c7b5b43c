//! Tests from outside: one binary, one module per concern.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected has failed"
)]

// Each kind of fault alone moves its own figure, to the unit.
mod faults;
// Many faults at once, against an account that shares no code with the ledger.
mod oracle;
// The binary, its outcome, clusters to run against.
mod util;
// The protocol without I/O, held to vectors that official SDKs made.
mod wire;
