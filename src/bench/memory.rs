//! What an open connection of a witness takes.

use std::ops::Range;

use tokio::sync::mpsc;

use crate::agent::Phases;
use crate::agent::start::Started;
use crate::agent::witness::Witness;
use crate::model::{Clock, ClusterRole, WitnessIx};

use super::machine::resident_bytes;
use super::peer::Place;
use super::receive::{self, Parts};
use super::{BenchError, Order};

/// Connections that are opened at once: a run spreads its own by `connect_rate`. So many are there
/// before anything is measured, and with them what all share. `benches/compare` reckons with both.
pub(super) const AT_ONCE: u32 = 100;

/// As many connections as the one that is measured is thought to be among.
const MANY: u64 = 10_000;

/// Resident bytes of one of so many connections, and how many were opened a second. `None` where
/// the system does not tell.
pub(super) async fn per_connection(
    clock: Clock,
    order: &Order,
    place: &Place,
    connections: u32,
) -> Result<Option<(f64, f64)>, BenchError> {
    let target = receive::target(clock, order, place, MANY)?;
    let shared = receive::Shared::new(order);
    let phases = Phases::default();
    let (facts, mut stated) = mpsc::channel(1_024);
    let (started, mut ready) = mpsc::channel(1_024);
    let drain = tokio::spawn(async move { while stated.recv().await.is_some() {} });
    let mut open = async |connections: Range<u32>| {
        for index in connections.clone() {
            let parts = receive::witness(clock, order, &target, &shared, WitnessIx(index))?;
            let Parts { link, ledger, channels } = parts;
            let witness = Witness {
                role: ClusterRole::New,
                clock,
                link,
                ledger,
                channels,
                recycle: None,
                backlog_max: receive::HORIZON,
                facts: facts.clone(),
            };
            tokio::spawn(Box::new(witness).run(started.clone(), phases.clone()));
        }
        for _ in connections {
            match ready.recv().await {
                Some(Started::Ready(_)) => {}
                Some(Started::Failed(..)) | None => return Err(BenchError::Peer),
            }
        }
        Ok(resident_bytes())
    };
    let before = open(0..AT_ONCE).await?;
    let begun = clock.now();
    let (mut after, until) = (before, AT_ONCE + connections);
    for from in (AT_ONCE..until).step_by(AT_ONCE as usize) {
        after = open(from..until.min(from + AT_ONCE)).await?;
    }
    let took = clock.now().since(begun).as_secs_f64();
    phases.leave.cancel();
    drop((facts, started));
    // Its end is that of the last witness.
    let _ = drain.await;
    let opened = f64::from(connections);
    let grown = before.zip(after).map(|(before, after)| after.saturating_sub(before) as f64);
    Ok(grown.map(|bytes| (bytes / opened, opened / took)))
}
