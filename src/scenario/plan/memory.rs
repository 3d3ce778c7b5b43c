//! What a run keeps in memory at most. It follows from the plan, and not from how long it goes on.

use std::time::Duration;

use crate::model::StreamIx;
use crate::verify::account;
use crate::verify::book::Book;
use crate::verify::ledger::Ledger;

use super::{Plan, Schedule};

/// A connection with its buffers, over `wss` and rounded up: `bench` measures what it is.
const CONNECTION_BYTES: u64 = 60 << 10;
/// What few connections to a cluster may take beside that for reading more at a time, all together.
const READ_BUFFERS_BYTES: u64 = 8 << 20;
/// A connection for requests.
const REQUEST_BYTES: u64 = 24 << 10;
/// Accounts that a watch keeps: the parts of its window, the one that grows, and their sum.
const WATCH_ACCOUNTS: u64 = 12;
/// Real events that are kept in mind, where they are matched.
const MIRROR_BYTES: u64 = 60 << 20;

/// How many events of a stream may be published until the last obligation of one of them has ended:
/// past the horizon a connection must first prove alive or dead, which takes no longer than another
/// deadline and horizon; unknown publications wait one tally more.
pub(super) fn book_events(schedule: &Schedule, stream: StreamIx, times: Duration) -> usize {
    let span = times + Duration::from_secs(10);
    // Half as much again, for what a paused schedule may catch up.
    (schedule.rate_of(stream) * span.as_secs_f64() * 1.5).ceil() as usize + 64
}

/// Most bytes, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Publications, until the last obligation of each has ended.
    pub books: u64,
    /// What each witness and simulated client knows of them.
    pub ledgers: u64,
    /// Latencies of the account.
    pub histograms: u64,
    /// Connections, with their buffers.
    pub connections: u64,
    /// Real events without a match.
    pub mirror: u64,
}

impl Memory {
    /// All of it.
    pub const fn total(&self) -> u64 {
        self.books + self.ledgers + self.histograms + self.connections + self.mirror
    }
}

impl Plan {
    /// What it keeps in memory at most.
    pub fn memory(&self) -> Memory {
        let clusters = self.clusters.len() as u64;
        let books = self.streams.iter().map(|stream| Book::bytes(stream.book_events));
        let of_channel = |channel: usize| {
            let streams = self.streams.iter().filter(|stream| stream.channel == channel);
            streams.map(|stream| Ledger::bytes(stream.book_events)).sum::<u64>()
        };
        let of_channels: Vec<_> = (0..self.channels.len()).map(of_channel).collect();
        let clients = self.load.iter().flat_map(|load| &load.clients).map(|client| client.channel);
        let watched = self.witnesses.iter().flat_map(|witness| witness.channels.iter().copied());
        let ledgers = watched.chain(clients).filter_map(|channel| of_channels.get(channel));
        let requests = (self.open_requests_max + self.open_requests_max / 4) as u64 * REQUEST_BYTES;
        let connections = self.bill().connections * CONNECTION_BYTES + requests;
        let accounts = if self.window.is_some() { WATCH_ACCOUNTS } else { 1 };
        let histograms = account::bytes_max(self.strata().len() as u64, self.horizon) * accounts;
        Memory {
            books: books.sum::<u64>() * clusters,
            ledgers: ledgers.sum::<u64>() * clusters,
            histograms: histograms * clusters,
            connections: (connections + READ_BUFFERS_BYTES) * clusters,
            mirror: self.sample.as_ref().map_or(0, |_| MIRROR_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::latency::Latencies;

    /// What making it allocates at most.
    fn allocated<T>(make: impl FnOnce() -> T) -> u64 {
        let mut kept = None;
        let counted = allocation_counter::measure(|| kept = Some(make()));
        counted.bytes_max
    }

    #[test]
    fn a_book_and_a_histogram_take_what_is_reckoned() {
        for publications in [1, 100, 1_000] {
            assert_eq!(allocated(|| Book::new(publications)), Book::bytes(publications));
        }
        for longest in [Duration::from_millis(3), Duration::from_secs(30)] {
            let reckoned = Latencies::bytes_max(longest);
            let mut full = Latencies::default();
            full.record(longest);
            assert_eq!(allocated(|| full.clone()), reckoned);
        }
        // However long somebody waits: an hour is the most that is kept apart.
        assert!(Latencies::bytes_max(Duration::from_secs(36_000)) < 200 << 10);
    }
}
