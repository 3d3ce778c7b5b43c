//! What an open connection of a witness takes.

use tokio::sync::mpsc;

use crate::agent::Phases;
use crate::agent::start::Started;
use crate::agent::witness::Witness;
use crate::model::{Clock, ClusterRole, WitnessIx};

use super::machine::resident_bytes;
use super::peer::Place;
use super::receive::{self, Parts};
use super::{BenchError, Order};

/// Connections that are opened before anything is measured: what all share is there by then.
/// `benches/compare` reckons with them.
const WARM: u32 = 100;

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
    let phases = Phases::default();
    let (facts, mut stated) = mpsc::channel(1_024);
    let (started, mut ready) = mpsc::channel(1_024);
    let drain = tokio::spawn(async move { while stated.recv().await.is_some() {} });
    let mut open = async |from: u32, until: u32| {
        for index in from..until {
            let parts = receive::witness(clock, order, &target, WitnessIx(index))?;
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
            tokio::spawn(witness.run(started.clone(), phases.clone()));
        }
        for _ in from..until {
            match ready.recv().await {
                Some(Started::Ready(_)) => {}
                Some(Started::Failed(..)) | None => return Err(BenchError::Peer),
            }
        }
        Ok(resident_bytes())
    };
    let before = open(0, WARM).await?;
    let begun = clock.now();
    let after = open(WARM, WARM + connections).await?;
    let took = clock.now().since(begun).as_secs_f64();
    phases.leave.cancel();
    drop((facts, started));
    // Its end is that of the last witness.
    let _ = drain.await;
    let opened = f64::from(connections);
    let grown = before.zip(after).map(|(before, after)| after.saturating_sub(before) as f64);
    Ok(grown.map(|bytes| (bytes / opened, opened / took)))
}
