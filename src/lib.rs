//! Proves that a live migration between two realtime clusters loses no message.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod agent;
pub mod bench;
pub mod cli;
pub mod cmd;
pub mod exit;
pub mod history;
pub mod journal;
pub mod metrics;
pub mod model;
pub mod net;
pub mod probes;
pub mod provider;
pub mod pusher;
pub mod rehearsal;
pub mod report;
pub mod scenario;
pub mod serve;
pub mod verify;
