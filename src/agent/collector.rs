//! Adds up what everyone states, and shows the sum to whoever observes the run.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::model::{Clock, RunTime};
use crate::verify::account::Account;
use crate::verify::fact::Fact;

/// How often the sum is joined and shown.
const PERIOD: Duration = Duration::from_millis(250);
/// Facts that may wait. Whoever states one more waits, which shows as a stall or a backlog.
pub const FACTS_QUEUED_MAX: usize = 4_096;

/// What the end of a run is decided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Obligations open on all clusters.
    pub pending: u64,
    /// When this was reckoned.
    pub at: RunTime,
}

/// Takes in facts until nobody can state one any more; returns the account.
pub async fn run(
    clock: Clock,
    mut account: Account,
    mut facts: mpsc::Receiver<Fact>,
    standing: watch::Sender<Standing>,
    mut observe: impl FnMut(&Account, RunTime),
) -> Account {
    // The first page shows every count at 0, so that whoever reckons increases misses none.
    observe(&account, clock.now());
    let mut next = clock.now().after(PERIOD);
    loop {
        let tick = tokio::time::sleep_until(clock.instant(next).into());
        tokio::select! {
            fact = facts.recv() => match fact {
                Some(fact) => account.apply(fact),
                None => break,
            },
            () = tick => {
                let now = clock.now();
                next = now.after(PERIOD);
                account.advance(now, false);
                let pending = account.clusters().values().map(|c| c.pending()).sum();
                standing.send_replace(Standing { pending, at: now });
                observe(&account, now);
            }
        }
    }
    account.advance(clock.now(), true);
    observe(&account, clock.now());
    account
}
