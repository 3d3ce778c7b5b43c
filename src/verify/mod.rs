//! What happened → what it means. Pure: no tokio, socket, clock, environment or file.
//!
//! Facts flow one way: envelopes and publication books into [`ledger`]s, their [`tally`]s into the
//! [`account`], the account into the [`checks`], their findings into the [`verdict`].

pub mod account;
pub mod book;
pub mod checks;
pub mod control;
pub mod coverage;
pub mod endpoint;
pub mod envelope;
pub mod fact;
pub mod figures;
pub mod fleet;
pub mod gather;
pub mod handover;
pub mod latency;
pub mod ledger;
pub mod load;
pub mod marker;
pub mod mirror;
pub mod occupancy;
pub mod parity;
pub mod presence;
pub mod published;
pub mod record;
pub mod rolling;
pub mod sample;
pub mod stats;
pub mod status_page;
pub mod taint;
pub mod tally;
#[cfg(test)]
pub(crate) mod testing;
pub mod thinned;
pub mod timeline;
pub mod verdict;
pub mod webhook;
