//! Gathers what everyone states into seconds, adds them up, and shows each to whoever observes the
//! run.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::model::{Clock, RunTime};
use crate::verify::account::Account;
use crate::verify::fact::Fact;
use crate::verify::gather::Gatherer;
use crate::verify::record::Second;

/// How often it is looked whether the run can end.
const STANDING_PERIOD: Duration = Duration::from_millis(250);
/// How often a second is closed: at least once in each, with room for a timer that is late.
const SECOND_PERIOD: Duration = Duration::from_millis(900);
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
    mut gatherer: Gatherer,
    (mut account, is_endless): (Account, bool),
    mut facts: mpsc::Receiver<Fact>,
    standing: watch::Sender<Standing>,
    mut observe: impl FnMut(&Account, Option<&Second>),
) -> Account {
    // The first page shows every count at 0, so that whoever reckons increases misses none.
    observe(&account, None);
    let mut next = clock.now().after(STANDING_PERIOD);
    let mut next_second = clock.now().after(SECOND_PERIOD);
    loop {
        let tick = tokio::time::sleep_until(clock.instant(next).into());
        tokio::select! {
            fact = facts.recv() => match fact {
                Some(fact) => gatherer.handle(fact),
                None => break,
            },
            () = tick => {
                let now = clock.now();
                if now >= next_second {
                    next_second = now.after(SECOND_PERIOD);
                    let second = gatherer.close(now, false);
                    account.apply(&second);
                    if is_endless {
                        account.forget();
                    }
                    observe(&account, Some(&second));
                }
                next = now.after(STANDING_PERIOD).min(next_second);
                standing.send_replace(Standing { pending: gatherer.pending(), at: now });
            }
        }
    }
    let second = gatherer.close(clock.now(), true);
    account.apply(&second);
    observe(&account, Some(&second));
    account
}
