//! Tests from outside: one binary, one module per concern.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected has failed"
)]

// What befalls the agent and what is around it.
mod around;
// Scripts that complete the command line.
mod bench;
mod completions;
// Who is still on old, and whether publishing to it may stop.
mod drain;
mod endpoints;
// How it ends: exit codes, signals, clusters that die, tasks that panic.
mod exits;
// Each kind of fault alone moves its own figure, to the unit.
mod faults;
// Several processes that do one run, and what is said of them together.
mod fleet;
// Finished runs, judged together.
mod gate;
// Clients that move from old to new.
mod handover;
// A run's record: killed, changed, judged again.
mod journal;
// Servers that mean harm.
mod hostile;
// Servers that misbehave as servers do.
mod known_bad;
// Stands between the agent and a cluster, and lies.
mod liar;
// Simulated clients, and what clusters do to them.
mod load;
// The page is complete, declared, and ends as the report says.
mod metrics;
// Two apps compared: outcome, forms, drift.
mod matrix;
mod mirror;
// Runs that are kept, listed, shown and added up by day.
mod history;
// Many faults at once, against an account that shares no code with the ledger.
mod oracle;
// A cluster that takes publications while its witnesses cannot reach it.
mod outages;
// In what two apps behave alike.
mod parity;
// What is printed, and where.
mod output;
// Publishers and witnesses in processes of their own.
mod roles;
// Each mistake in a scenario with its text; the project's own scenarios.
mod scenarios;
// Schemas, held to all that is written and read.
mod schemas;
// No output holds a secret.
mod secrets;
// What a provider says of its cluster, beside a run.
mod status_page;
// What passes between clients and a cluster, kept as it was.
mod tap;
mod transport;
// The binary, its outcome, clusters to run against.
mod util;
mod webhooks;
// A scenario without an end: what it serves, what it survives, and how it is told of changes.
mod watch;
// The protocol without I/O, held to vectors that official SDKs made.
mod wire;
