//! Reads from a cluster's HTTP API which channels are occupied, again and again. It subscribes to
//! nothing, so it appears in nothing that it reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinError;

use crate::model::channel::{PRESENCE_PREFIX, kind_of};
use crate::model::{ChannelKind, ChannelName, RunTime};
use crate::net::http::{self, Connection, RequestError, Response};
use crate::pusher::rest::{self, Listed, Request};
use crate::scenario::plan::is_of_a_canary;
use crate::verify::fact::{Control, ControlStatus, Fact};
use crate::verify::occupancy::{Occupancy, Reading};
use crate::verify::webhook::Moment;

use super::keeper::Keeper;
use super::publisher::{Wire, quote};
use super::{CONNECT_TIMEOUT, Phases};

/// Longest wait for a list of channels.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a list that are read: that of a cluster with a few hundred thousand channels.
const LIST_BYTES_MAX: usize = 16 << 20;

/// See the module's documentation.
pub(super) struct Reader {
    /// How to ask the API.
    pub(super) wire: Arc<Wire>,
    /// From one reading to the next.
    pub(super) refresh: Duration,
    /// A channel to which the run itself is subscribed on this cluster: finding it proves the
    /// reader's eyes. `None` where the run subscribes to nothing.
    pub(super) known: Option<ChannelName>,
    /// Whether the readings themselves are wanted.
    pub(super) is_shown: bool,
    /// Who holds webhooks against them.
    pub(super) keeper: Option<Arc<Keeper>>,
    /// Where facts go.
    pub(super) facts: mpsc::Sender<Fact>,
}

impl Reader {
    /// Reads from the beginning of publishing to its end: at once, again and again, and once more
    /// at the end.
    pub(super) async fn run(self, phases: Phases) {
        let Self { wire, refresh, .. } = &self;
        phases.publishing.cancelled().await;
        let mut due = wire.clock.now();
        loop {
            let is_last = phases.published.is_cancelled();
            self.read().await;
            if is_last {
                return;
            }
            // An answer that was waited for moves nothing: the next one is due when it was.
            due = due.after(*refresh).max(wire.clock.now());
            tokio::select! {
                () = phases.published.cancelled() => {}
                () = phases.leave.cancelled() => return,
                () = tokio::time::sleep_until(wire.clock.instant(due).into()) => {}
            }
        }
    }

    async fn read(&self) {
        let Self { wire, known, is_shown, keeper, facts, .. } = self;
        let read = list(wire, *is_shown).await;
        let at: RunTime = wire.clock.now();
        if let (Ok((all, _)), Some(known)) = (&read, known)
            && all.iter().any(|listed| listed.name == known.as_str())
        {
            let seen = Fact::Control(wire.role, Control::SeesOccupancy, ControlStatus::Pass);
            // The collector outlives this; if it is gone, the run has failed already.
            let _ = facts.send(seen).await;
        }
        let read = match keeper {
            Some(keeper) => match self.hold(keeper, read, at).await {
                Some(read) => read,
                None => return,
            },
            None => read,
        };
        if !is_shown {
            return;
        }
        let reading = match read {
            Ok((all, presence)) => Reading::Seen(occupancy(&all, presence.as_deref())),
            Err(why) => Reading::Failed(why),
        };
        let _ = facts.send(Fact::Occupancy(wire.role, at, reading)).await;
    }

    /// Has webhooks held against an answer; `None` if the program ends.
    async fn hold(&self, keeper: &Arc<Keeper>, read: Answer, at: RunTime) -> Option<Answer> {
        let Self { wire, facts, .. } = self;
        let role = wire.role;
        let wall_ms = u64::try_from(wire.clock.wall_now().as_millis()).unwrap_or(u64::MAX);
        let read = match read {
            Ok((all, members)) => {
                let keeper = Arc::clone(keeper);
                // A list may be long, and must be no stall of the runtime.
                let held = tokio::task::spawn_blocking(move || {
                    keeper.list(role, &all, Moment { at, wall_ms });
                    all
                });
                match held.await.map_err(JoinError::try_into_panic) {
                    Ok(all) => Ok((all, members)),
                    // Its panic is that of this task, which the run finds.
                    Err(Ok(panic)) => std::panic::resume_unwind(panic),
                    Err(Err(_)) => return None,
                }
            }
            Err(why) => {
                keeper.note_unread(role, &why);
                Err(why)
            }
        };
        if let Ok(place) = facts.reserve().await {
            keeper.tell(role, at, place);
        }
        Some(read)
    }
}

/// Every occupied channel, with the members where they are known; or why there is no answer.
type Answer = Result<(Vec<Listed>, Option<Vec<Listed>>), String>;

/// Every occupied channel, and where there is a presence channel among them, those with their
/// members, if the API says it and they are wanted.
async fn list(wire: &Wire, with_members: bool) -> Answer {
    let now = || wire.clock.wall_now().as_secs();
    let mut connection = None;
    let all = ask(wire, &mut connection, wire.signer.all_channels(now())).await?;
    if !with_members || !all.iter().any(|listed| kind_of(&listed.name).is_presence()) {
        return Ok((all, Some(Vec::new())));
    }
    // Whether anybody is there is known; who it is, is not worth a failed reading.
    let presence =
        ask(wire, &mut connection, wire.signer.presence_channels(PRESENCE_PREFIX, now())).await;
    Ok((all, presence.ok()))
}

/// Asks the API for a list of channels. `connection` is one that is open, or none yet.
///
/// # Errors
/// Why there is no list, in a few words.
pub(super) async fn ask(
    wire: &Wire,
    connection: &mut Option<Connection>,
    request: Request,
) -> Result<Vec<Listed>, String> {
    let answer = send(wire, connection, &request).await?;
    // A list may be megabytes, and taking it apart must be no stall of the runtime.
    let parsing = tokio::task::spawn_blocking(move || {
        let status = answer.status;
        rest::listed(status, &answer.body).ok_or_else(|| {
            format!("HTTP {status} and no list of channels: {}", quote(&answer.body))
        })
    });
    parsing.await.unwrap_or_else(|_| Err("the list could not be taken apart".to_owned()))
}

/// Asks the API. `connection` is one that is open, or none yet.
///
/// # Errors
/// Why there is no answer, in a few words.
pub(super) async fn send(
    wire: &Wire,
    connection: &mut Option<Connection>,
    request: &Request,
) -> Result<Response, String> {
    loop {
        let kept = connection.take().filter(Connection::is_usable);
        let was_kept = kept.is_some();
        let open = match kept {
            Some(open) => open,
            None => http::connect(&wire.target, wire.clock, CONNECT_TIMEOUT, &wire.tasks)
                .await
                .map_err(|error| error.to_string())?,
        };
        let (answer, idle) =
            open.send_for(&wire.target, request, LIST_TIMEOUT, LIST_BYTES_MAX).await;
        *connection = idle;
        match answer {
            // One that was kept may have been closed meanwhile.
            Err(RequestError::NotSent) if was_kept => {}
            answer => return answer.map_err(|error| error.to_string()),
        }
    }
}

/// The sum of counts; `None` where one is not known, or the sum is none that can be.
fn total(counts: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    counts.into_iter().try_fold(0_u64, |sum, count| sum.checked_add(count?))
}

fn occupancy(all: &[Listed], presence: Option<&[Listed]>) -> Occupancy {
    let (own, others): (Vec<_>, Vec<_>) = all.iter().partition(|l| is_of_a_canary(&l.name));
    let mut channels: BTreeMap<ChannelKind, u64> = BTreeMap::new();
    for listed in &others {
        *channels.entry(kind_of(&listed.name)).or_default() += 1;
    }
    let members = presence.and_then(|presence| {
        let others = presence.iter().filter(|listed| !is_of_a_canary(&listed.name));
        total(others.map(|listed| listed.user_count))
    });
    Occupancy {
        channels,
        subscriptions: total(others.iter().map(|listed| listed.subscription_count)),
        members,
        own: own.len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, user_count: Option<u64>, subscription_count: Option<u64>) -> Listed {
        Listed { name: name.to_owned(), user_count, subscription_count }
    }

    #[test]
    fn the_canaries_own_channels_are_left_out_of_what_is_occupied() {
        let all = [
            listed("orders", None, Some(3)),
            listed("private-a", None, Some(2)),
            listed("private-b", None, Some(1)),
            listed("presence-room", None, Some(5)),
            listed("private-pc-82bb3eff-0", None, Some(2)),
            listed("presence-pc-82bb3eff-0", None, Some(2)),
            listed("pc-guards", None, Some(1)),
        ];
        let presence = [
            listed("presence-room", Some(4), None),
            listed("presence-pc-82bb3eff-0", Some(2), None),
        ];
        let expected = Occupancy {
            channels: BTreeMap::from([
                (ChannelKind::Public, 2),
                (ChannelKind::Private, 2),
                (ChannelKind::Presence, 1),
            ]),
            subscriptions: Some(12),
            members: Some(4),
            own: 2,
        };
        assert_eq!(occupancy(&all, Some(&presence)), expected);
        let unknown = occupancy(&all, None);
        assert_eq!(unknown, Occupancy { members: None, ..expected });
    }

    #[test]
    fn what_a_server_lists_for_some_channels_only_is_not_known() {
        let all = [listed("a", None, Some(3)), listed("b", None, None)];
        let presence = [listed("presence-a", Some(1), None), listed("presence-b", None, None)];
        let seen = occupancy(&all, Some(&presence));
        assert_eq!((seen.subscriptions, seen.members), (None, None));
    }

    #[test]
    fn counts_that_cannot_be_are_not_known() {
        let all = [listed("a", None, Some(u64::MAX)), listed("b", None, Some(1))];
        let presence = [listed("presence-a", Some(u64::MAX), None)];
        let seen = occupancy(&all, Some(&presence));
        assert_eq!((seen.subscriptions, seen.members), (None, Some(u64::MAX)));
    }

    #[test]
    fn an_empty_cluster_has_nothing_of_anything() {
        let expected =
            Occupancy { subscriptions: Some(0), members: Some(0), ..Occupancy::default() };
        assert_eq!(occupancy(&[], Some(&[])), expected);
    }
}
