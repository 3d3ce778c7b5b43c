//! The start of a run: every connection ready, or one sentence that says what must be changed.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{ChannelName, Clock, ClusterRole, known};
use crate::net::dial::{self, DialError};
use crate::pusher::close::CloseCode;
use crate::pusher::session::Cause;

use super::witness::describe;

/// Tries of each connection, where a failure may pass.
const TRIES: u32 = 2;
/// Longest wait for every connection, beside what their own rate takes.
pub const START_TIMEOUT: Duration = Duration::from_secs(12);

/// What a connection says before publishing begins.
#[derive(Debug)]
pub enum Started {
    /// Every channel is confirmed, after so many tries that failed.
    Ready(u32),
    /// A try failed, the connection's so-many-th.
    Failed(StartFailure, u32),
}

/// Why a try failed.
#[derive(Debug)]
pub enum StartFailure {
    /// The dial.
    Dial {
        /// The cluster.
        role: ClusterRole,
        /// Cause and cure.
        error: DialError,
    },
    /// A subscription was refused.
    Subscription {
        /// The cluster.
        role: ClusterRole,
        /// The channel, where the cluster named it.
        channel: Option<ChannelName>,
        /// What the cluster said.
        why: String,
    },
    /// The connection was lost before it was ready.
    Closed {
        /// The cluster.
        role: ClusterRole,
        /// How.
        cause: Cause,
        /// Whether the protocol forbids another try.
        gave_up: bool,
        /// What the cluster said before.
        why: Option<String>,
    },
}

/// Why a run did not start. Nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The user must change something: a key, a secret, a setting.
    #[error("{role} cluster: {message}")]
    Refused {
        /// The cluster.
        role: ClusterRole,
        /// Cause and cure.
        message: String,
    },
    /// The cluster cannot be reached, or not be trusted.
    #[error("{role} cluster: {message}")]
    Unreachable {
        /// The cluster.
        role: ClusterRole,
        /// Cause and cure.
        message: String,
    },
    /// Connections are still missing when they should all be ready.
    #[error(
        "{missing} of {all} connections were not ready within {}; check the clusters' load and \
         limits",
        humantime::format_duration(*.within)
    )]
    Timeout {
        /// How many are missing.
        missing: usize,
        /// How many there are.
        all: usize,
        /// How long they had.
        within: Duration,
    },
    /// Nobody listens to what would be published.
    #[error(
        "{role} cluster: no witness was ready within {}; start one with --role witness and the same \
         scenario, --run and --shard",
        humantime::format_duration(*.within)
    )]
    Unheard {
        /// The cluster.
        role: ClusterRole,
        /// How long it was waited for.
        within: Duration,
    },
    /// Nobody publishes what would be witnessed.
    #[error(
        "the publisher was not heard within {}; start one with --role publish and the same \
         scenario, --run and --shard; nothing was measured",
        humantime::format_duration(*.within)
    )]
    Silent {
        /// How long it was waited for.
        within: Duration,
    },
    /// A signal came before publishing began.
    #[error("stopped before publishing began; nothing was measured")]
    Stopped,
}

impl StartError {
    /// Whether it may be different later, and nothing need be changed for it.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. })
    }
}

impl StartFailure {
    /// The error that ends the start now; `None` where another try may help.
    fn fatal(&self, last: bool) -> Option<StartError> {
        match self {
            Self::Dial { role, error } => (last || !error.may_pass).then(|| {
                let phase = match error.phase {
                    dial::Phase::Resolve | dial::Phase::Connect => "",
                    dial::Phase::Tls => "TLS: ",
                    dial::Phase::Upgrade => "upgrade: ",
                };
                let message = format!("{phase}{error}");
                StartError::Unreachable { role: *role, message }
            }),
            Self::Subscription { role, channel, why } => {
                let channel = channel.as_ref().map_or(String::new(), |c| format!(" to {c}"));
                let cause =
                    known::of_text(why).map_or(String::new(), |k| format!(" ({})", k.cause));
                let message = format!(
                    "a subscription{channel} was refused: {why}{cause}; check that \
                     clusters.{role}.key and .secret belong together and to this cluster"
                );
                Some(StartError::Refused { role: *role, message })
            }
            Self::Closed { role, cause, gave_up, why } => {
                closed(*role, cause, *gave_up, why.clone(), last)
            }
        }
    }
}

fn closed(
    role: ClusterRole,
    cause: &Cause,
    gave_up: bool,
    why: Option<String>,
    last: bool,
) -> Option<StartError> {
    if gave_up {
        let known = match cause {
            Cause::Closed(CloseCode::Code(code)) => known::of_code(*code),
            _ => None,
        };
        let advice = match known {
            // It is our own scenario that says so, and here the key has a name.
            Some(known) if known.name == "4001" => {
                format!(
                    " ({}); check clusters.{role}.key, and the cluster's name or host",
                    known.cause
                )
            }
            Some(known) => format!(" ({}); what helps: {}", known.cause, known.cure),
            None => "; check the app's settings".to_owned(),
        };
        let message = format!("{}{advice}", describe(cause, why));
        return Some(StartError::Refused { role, message });
    }
    // What a dial met is told by its own failure.
    if !last || matches!(cause, Cause::Dial(_)) {
        return None;
    }
    let cure = match cause {
        Cause::Closed(CloseCode::Dropped) => {
            "some servers cut the connection so where they do not know the key; check it"
        }
        _ => "check the server's log",
    };
    let message = format!("{}; {cure}", describe(cause, why));
    Some(StartError::Unreachable { role, message })
}

/// Waits until `all` connections are ready, at most for `within`.
///
/// # Errors
/// See [`StartError`].
pub async fn wait(
    started: &mut mpsc::Receiver<Started>,
    all: usize,
    within: Duration,
    clock: Clock,
) -> Result<(), StartError> {
    let mut ready = 0;
    // Connections that failed and are not ready since, and what was wrong with the last of them.
    let (mut failing, mut known) = (0_usize, None);
    let begun = clock.now();
    while ready < all {
        // What fails is named in time, even if its second try takes longer.
        let patience = if failing > 0 { START_TIMEOUT } else { within };
        let until = clock.instant(begun.after(patience)).into();
        match tokio::time::timeout_at(until, started.recv()).await {
            Ok(Some(Started::Ready(failed))) => {
                ready += 1;
                failing -= usize::from(failed > 0).min(failing);
            }
            Ok(Some(Started::Failed(failure, tries))) => {
                if let Some(error) = failure.fatal(tries >= TRIES) {
                    return Err(error);
                }
                // A dial that failed is told twice; the second time it says nothing new.
                if let Some(error) = failure.fatal(true) {
                    failing += usize::from(tries == 1);
                    known = Some(error);
                }
            }
            // Nobody can be ready any more: their tasks ended, by a fault.
            Ok(None) | Err(_) => {
                let missing = all - ready;
                let known = known.filter(|_| failing > 0);
                return Err(known.unwrap_or(StartError::Timeout { missing, all, within }));
            }
        }
    }
    Ok(())
}
