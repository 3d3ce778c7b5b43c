//! Experiments on sacrificial channels that find out how an app behaves. One file each; each leaves
//! nothing behind, and gives a reading for every one of its rows, whatever happens.

mod cache;
mod client;
mod client_events;
mod presence;
mod publication;

use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::model::secret::without_signatures;
use crate::model::{ChannelKind, ChannelName, Clock};
use crate::net::dial::Target;
use crate::net::http;
use crate::pusher::rest::{self, Answer, Publication, Signer};
use crate::verify::parity::{Probe, Reading, Row};

use client::Fault;

/// Longest wait for what must come.
const WAIT: Duration = Duration::from_secs(5);
/// Longest time of a probe that is not slow.
const PROBE_MAX: Duration = Duration::from_secs(45);
/// Longest time of a slow one.
const SLOW_MAX: Duration = Duration::from_secs(300);

/// A hosted cluster holds the news of a leaving member back for three seconds.
pub const NEWS_WITHIN: Duration = Duration::from_secs(4);

/// The event that ends an experiment: what was sent before it has come when it comes.
const FENCE: &str = "pc-fence";

/// The app that is probed.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where WebSockets are.
    pub socket: Target,
    /// Where the HTTP API is.
    pub api: Target,
    /// How to sign.
    pub signer: Signer,
    /// The process's clock.
    pub clock: Clock,
    /// What drives HTTP connections.
    pub tasks: TaskTracker,
    /// For how long a cluster may hold back the news that a member has left.
    pub news_within: Duration,
    /// What every channel's name has behind the prefix of its kind.
    pub tail: String,
}

impl Site {
    /// A sacrificial channel.
    fn channel(&self, kind: ChannelKind, what: &str) -> Result<ChannelName, Fault> {
        let name = format!("{}{}-{what}", kind.prefix(), self.tail);
        ChannelName::new(name).map_err(|error| Fault::Lost(error.to_string()))
    }

    /// Publishes; returns the answer's body. One that is refused says why.
    async fn publish(&self, publication: &Publication<'_>) -> Result<String, Fault> {
        let lost = |why: String| Fault::Lost(format!("HTTP API: {why}"));
        let connection = http::connect(&self.api, self.clock, WAIT, &self.tasks).await;
        let connection = connection.map_err(|error| lost(error.to_string()))?;
        let request = self.signer.publish(publication, self.clock.wall_now().as_secs());
        let (answer, _) = connection.send(&self.api, &request, WAIT).await;
        let answer = answer.map_err(|error| lost(error.to_string()))?;
        let said: String = without_signatures(&answer.body).chars().take(120).collect();
        // Too much of it, or not by us: that says nothing of what was tried.
        let is_barred = rest::is_throttled(answer.status, &answer.body)
            || matches!(answer.status, 401 | 403 | 429);
        match rest::classify(answer.status, &answer.body) {
            Answer::Accepted => Ok(answer.body),
            Answer::Rejected if is_barred => {
                Err(Fault::Barred(format!("HTTP {}: {said}", answer.status)))
            }
            Answer::Rejected => Err(Fault::Refused(format!("HTTP {}: {said}", answer.status))),
            Answer::Unknown => Err(lost(format!("HTTP {}: {said}", answer.status))),
        }
    }

    /// Publishes the event that ends an experiment on a channel.
    async fn fence(&self, channel: &ChannelName) -> Result<(), Fault> {
        let channels = &[channel.as_str()];
        self.publish(&Publication { name: FENCE, channels, data: "{}", ..Publication::default() })
            .await
            .map(|_| ())
    }
}

/// What an experiment found, or why it found nothing more.
type Found = Vec<(Row, Reading)>;

/// Makes an experiment, in a bounded time.
pub async fn probe(site: &Site, probe: Probe) -> Found {
    let mut found = Vec::new();
    let bound = if probe.is_slow() { SLOW_MAX } else { PROBE_MAX };
    let experiment = async {
        match probe {
            Probe::Presence => presence::probe(site, &mut found).await,
            Probe::PresenceSilent => presence::probe_silent(site, &mut found).await,
            Probe::Cache => cache::probe(site, &mut found).await,
            Probe::ClientEvents => client_events::probe(site, &mut found).await,
            Probe::Publication => publication::probe(site, &mut found).await,
        }
    };
    let rest = match tokio::time::timeout(bound, experiment).await {
        Ok(Ok(())) => Reading::NotTested("the experiment ended early".to_owned()),
        Ok(Err(fault)) => fault.reading(),
        Err(_) => {
            let bound = humantime::format_duration(bound);
            Reading::NotTested(format!("not done within {bound}"))
        }
    };
    let known: Vec<_> = found.iter().map(|(row, _)| *row).collect();
    let missing = probe.rows().iter().filter(|row| !known.contains(row));
    found.extend(missing.map(|row| (*row, rest.clone())));
    found
}
