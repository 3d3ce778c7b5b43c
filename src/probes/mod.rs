//! Experiments on sacrificial channels that find out how an app behaves. One file each; each leaves
//! nothing behind, and gives a reading for every one of its rows, whatever happens.

mod addresses;
mod batches;
mod cache;
mod client;
mod client_events;
mod clock;
mod counts;
mod data;
pub mod endpoints;
mod heartbeat;
mod heartbeats;
mod idle;
mod kinds;
mod largest;
mod members;
mod names;
mod origins;
mod presence;
mod publication;
mod refusals;
mod sizes;
mod transport;
mod turns;
mod users;
pub mod webhooks;

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::secret::without_signatures;
use crate::model::{ChannelKind, ChannelName, Clock};
use crate::net::dial::Target;
use crate::net::http::{self, Connection, Response};
use crate::pusher::rest::{self, Answer, Publication, Request, Signer};
use crate::verify::parity::{Probe, Reading, Row};

use client::Fault;

pub use turns::Turns;

/// Longest wait for what must come.
const WAIT: Duration = Duration::from_secs(5);
/// Longest time of a probe that is not slow.
const PROBE_MAX: Duration = Duration::from_secs(60);
/// Longest time of a slow one: two and a half times the usual timeout of a connection, and more.
const SLOW_MAX: Duration = Duration::from_secs(400);

/// A hosted cluster holds the news of a leaving member back for three seconds.
pub const NEWS_WITHIN: Duration = Duration::from_secs(4);

/// A hosted cluster closes who does nothing after half a minute, where its app asks for that.
pub const IDLE_FOR: Duration = Duration::from_secs(40);

/// Requests and connections that experiments make of an app, per second.
pub const TURNS_PER_SECOND: f64 = 20.0;

/// Characters of what a cluster says that are shown.
const SHOWN_MAX: usize = 120;
/// What is said of a request that was not refused.
const ACCEPTED: &str = "accepted";
/// The event that ends an experiment: what was sent before it has come when it comes.
const FENCE: &str = "pc-fence";

/// The app that is probed.
#[derive(Debug)]
pub struct Site {
    /// Where WebSockets are.
    pub socket: Target,
    /// Where the HTTP API is.
    pub api: Target,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_pem: Option<String>,
    /// How to sign.
    pub signer: Signer,
    /// Origins of pages that may connect, or may not.
    pub origins: Vec<String>,
    /// The application's auth endpoints for it.
    pub endpoints: endpoints::Endpoints,
    /// The process's clock.
    pub clock: Clock,
    /// What drives HTTP connections.
    pub tasks: TaskTracker,
    /// When the next request or connection may be made.
    pub turns: Turns,
    /// For how long a cluster may hold back the news that a member has left.
    pub news_within: Duration,
    /// For how long a connection is watched that does nothing.
    pub idle_for: Duration,
    /// Every so often a client pings that keeps a connection alive; `None`: as the cluster says.
    pub beat: Option<Duration>,
    /// Where the app's webhooks come from, if anybody receives them.
    pub arrivals: Option<webhooks::Arrivals>,
    /// How long to wait for one.
    pub told_within: Duration,
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
        let request = self.signer.publish(publication, self.clock.wall_now().as_secs());
        self.accepted(&request).await
    }

    /// The body of an answer to a publication. One that is refused says why.
    async fn accepted(&self, request: &Request) -> Result<String, Fault> {
        let Response { status, body, .. } = self.ask(request).await?;
        let said = shown(&body);
        // Not by us: that says nothing of what was tried.
        let is_barred = matches!(rest::error_in(&body), Some(401 | 403));
        match rest::classify(status, &body) {
            Answer::Accepted => Ok(body),
            // What stands before a server may refuse a large body in its own words.
            _ if status == 413 => Err(Fault::Refused(format!("HTTP {status}"))),
            Answer::Rejected if is_barred || matches!(status, 401 | 403) => {
                Err(Fault::Barred(format!("HTTP {status}: {said}")))
            }
            Answer::Rejected => Err(Fault::Refused(format!("HTTP {status}: {said}"))),
            Answer::Unknown => Err(Fault::Lost(format!("HTTP API: HTTP {status}: {said}"))),
        }
    }

    /// Whether a publication is taken.
    async fn takes(&self, request: &Request) -> Result<bool, Fault> {
        match self.accepted(request).await {
            Ok(_) => Ok(true),
            Err(Fault::Refused(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Asks the HTTP API. An answer that says nothing of what was asked is none: too much of it, a
    /// failure, or something that stands in between.
    async fn ask(&self, request: &Request) -> Result<Response, Fault> {
        self.ask_keeping(request).await.map(|(answer, _)| answer)
    }

    /// The same, with the connection where it can be used again.
    async fn ask_keeping(
        &self,
        request: &Request,
    ) -> Result<(Response, Option<Connection>), Fault> {
        let lost = |why: String| Fault::Lost(format!("HTTP API: {why}"));
        self.turns.next().await;
        let connection = http::connect(&self.api, self.clock, WAIT, &self.tasks).await;
        let connection = connection.map_err(|error| lost(error.to_string()))?;
        let (answer, kept) = connection.send(&self.api, request, WAIT).await;
        let answer = answer.map_err(|error| lost(error.to_string()))?;
        let Response { status, body, .. } = &answer;
        if rest::is_throttled(*status, body) {
            return Err(Fault::Barred(format!("HTTP {status}: it asks to slow down")));
        }
        let is_page = body.trim_start().starts_with('<') && *status != 413;
        let has_failed = |status: u64| matches!(status, 300..=399 | 407 | 408 | 500..);
        if is_page || has_failed(u64::from(*status)) || rest::error_in(body).is_some_and(has_failed)
        {
            return Err(lost(format!("HTTP {status}: {}", shown(body))));
        }
        Ok((answer, kept))
    }

    /// How it answers a request that it ought to refuse: its status, which some servers have in the
    /// body of a 200 alone.
    async fn status(&self, request: &Request) -> Result<String, Fault> {
        let Response { status, body, .. } = self.ask(request).await?;
        Ok(match rest::error_in(&body) {
            _ if !(200..300).contains(&status) => format!("HTTP {status}"),
            Some(code) => format!("HTTP {status} with an error {code} in its body"),
            None => ACCEPTED.to_owned(),
        })
    }

    /// For how long what belongs together may be apart: a twentieth of what news may take.
    fn soon(&self) -> Duration {
        self.news_within / 20
    }

    /// Seconds since 1970 in UTC.
    fn now(&self) -> u64 {
        self.clock.wall_now().as_secs()
    }

    /// Publishes the event that ends an experiment on a channel.
    async fn fence(&self, channel: &ChannelName) -> Result<(), Fault> {
        let channels = &[channel.as_str()];
        self.publish(&Publication { name: FENCE, channels, data: "{}", ..Publication::default() })
            .await
            .map(|_| ())
    }
}

/// What a cluster says, as far as it is shown.
fn shown(text: &str) -> String {
    without_signatures(text).chars().take(SHOWN_MAX).collect()
}

/// What an experiment found, or why it found nothing more.
type Found = Vec<(Row, Reading)>;

/// Makes these experiments, so many at once, and yields what they find. Those that `stop` overtakes
/// find that they were not made.
pub fn all<'a>(
    site: &'a Site,
    probes: &'a [Probe],
    at_once: usize,
    stop: &'a CancellationToken,
) -> impl Stream<Item = (Row, Reading)> + Send + 'a {
    let made = stream::iter(probes).map(async |of: &Probe| {
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                let ended = || Reading::NotTested("it was ended before".to_owned());
                of.rows().iter().map(|row| (*row, ended())).collect()
            }
            found = probe(site, *of) => found,
        }
    });
    made.buffer_unordered(at_once).flat_map(stream::iter)
}

/// Makes an experiment, in a bounded time.
pub async fn probe(site: &Site, probe: Probe) -> Found {
    let mut found = Vec::new();
    let bound = if probe.is_slow() { SLOW_MAX } else { PROBE_MAX };
    let experiment = async {
        match probe {
            Probe::Kinds => kinds::probe(site, &mut found).await,
            Probe::Data => data::probe(site, &mut found).await,
            Probe::Sizes => sizes::probe(site, &mut found).await,
            Probe::Batches => batches::probe(site, &mut found).await,
            Probe::Names => names::probe(site, &mut found).await,
            Probe::Refusals => refusals::probe(site, &mut found).await,
            Probe::Clock => clock::probe(site, &mut found).await,
            Probe::Heartbeat => heartbeat::probe(site, &mut found).await,
            Probe::Heartbeats => heartbeats::probe(site, &mut found).await,
            Probe::Idle => idle::probe(site, &mut found).await,
            Probe::Presence => presence::probe(site, &mut found).await,
            Probe::PresenceSilent => presence::probe_silent(site, &mut found).await,
            Probe::Cache => cache::probe(site, &mut found).await,
            Probe::ClientEvents => client_events::probe(site, &mut found).await,
            Probe::Publication => publication::probe(site, &mut found).await,
            Probe::Counts => counts::probe(site, &mut found).await,
            Probe::Users => users::probe(site, &mut found).await,
            Probe::Members => members::probe(site, &mut found).await,
            Probe::MemberLimit => members::probe_limit(site, &mut found).await,
            Probe::Transport => transport::probe(site, &mut found).await,
            Probe::Addresses => addresses::probe(site, &mut found).await,
            Probe::Origins => origins::probe(site, &mut found).await,
            Probe::Endpoints => endpoints::probe(site, &mut found).await,
            Probe::Webhooks => webhooks::probe(site, &mut found).await,
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
