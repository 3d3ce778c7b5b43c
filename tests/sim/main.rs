//! Simulated runs: how often a verdict is wrong where it may be, held to what was promised.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected has failed"
)]

// Every outcome of every obligation.
mod outcomes;
// A run whose only trouble is independent loss, from its facts to its verdict.
mod run;
// Rates of GO over thousands of runs.
mod verdicts;
// Days of a watch.
mod watch;
// Clusters, links and the agent's pure parts on virtual time.
mod world;
