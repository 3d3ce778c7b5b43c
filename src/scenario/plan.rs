//! The plan: everything decided before the first connection. After it, no defaults and no
//! environment.

mod bill;
mod channels;
mod handover;
mod load;
mod memory;
mod meter;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha2::{Digest, Sha256};
use url::Url;

use crate::model::channel::kind_of;
use crate::model::{
    ChannelKind, ChannelName, ClusterRole, MasterKey, Member, MemberRole, RunId, RunTime, Secret,
    Shard, StreamIx, WitnessIx,
};
use crate::pusher;
use crate::pusher::rest::Signer;
use crate::verify::checks::{Looks, Phase, Requirements};
use crate::verify::endpoint::{EndpointBegin, EndpointKind, EndpointTrial};
use crate::verify::fact::Control;
use crate::verify::occupancy::Watching;
use crate::verify::published::MirrorEvidence;
use crate::verify::record::Begin;
use crate::verify::tally::{Epoch, Route, Stratum};
use crate::verify::{marker, mirror};

use super::endpoint::Endpoint;
use super::file::{Budget, InstrumentLimits, Scenario};
use super::parity::Parity;
use super::sample::Sampling;
use super::settings;
use super::status_page::StatusPage;
use super::webhooks::Webhooks;

use channels::{
    plan_channels, plan_controls, plan_markers, plan_senders, plan_streams, plan_witnesses,
};
use memory::book_events;

pub use bill::{Bill, OverBudget};
pub use handover::{HandoverPlan, MoverPlan};
pub use load::{ClientPlan, LoadPlan};
pub use memory::Memory;
pub use meter::Meter;
pub use schedule::{Due, Schedule};

/// Longest wait for the answer to a publish request.
const PUBLISH_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// Copies and ids of real events that are kept in mind at most: about 60 MB, enough for two
/// thousand events a second.
const EVENTS_KEPT_MAX: usize = 200_000;
/// Publishing time of a run without an end: longer than anybody watches, and short enough to be
/// reckoned with.
const ENDLESS: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);
/// Prefix of every canary channel, after that of its kind: a webhook receiver can filter by it.
pub const CHANNEL_PREFIX: &str = "pc-";

/// Whether a channel is one of a canary's, of whichever run: the prefix of its kind, then that of
/// every canary channel, the run's eight hexadecimal digits and a hyphen. The prefix alone may be
/// somebody's own.
pub fn is_of_a_canary(name: &str) -> bool {
    let tail = name.strip_prefix(kind_of(name).prefix()).unwrap_or(name);
    let run = tail.strip_prefix(CHANNEL_PREFIX).and_then(|tail| tail.split_once('-'));
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    run.is_some_and(|(run, _)| run.len() == 8 && run.chars().all(is_digit))
}

/// Where a cluster is, and how to sign for its app.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    /// Old or new.
    pub role: ClusterRole,
    /// The URL of WebSocket connections, `/app/KEY` and query included.
    pub socket_url: Url,
    /// The base URL of the HTTP API.
    pub http_url: Url,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_pem: Option<String>,
    /// The app's identity.
    pub signer: Signer,
    /// The key of encrypted channels.
    pub master_key: MasterKey,
    /// Whether it is the application's own.
    pub knows_master_key: bool,
    /// The application's auth endpoints.
    pub endpoints: BTreeMap<EndpointKind, Endpoint>,
}

impl ClusterPlan {
    /// Whether there is a way to the keys of the application's encrypted channels.
    pub fn opens_encrypted(&self) -> bool {
        self.knows_master_key || self.endpoints.contains_key(&EndpointKind::AuthEndpoint)
    }
}

/// How real channels are watched.
#[derive(Clone, Debug)]
pub struct SamplePlan {
    /// As the scenario has it.
    pub sampling: Sampling,
    /// Connections to each cluster.
    pub connections: usize,
    /// How events are matched.
    pub rules: mirror::Rules,
}

/// One of the run's channels.
#[derive(Clone, Debug)]
pub struct ChannelPlan {
    /// Its name, the same on both clusters.
    pub name: ChannelName,
    /// Its kind.
    pub kind: ChannelKind,
    /// Whether it carries client events. Where HTTP routes are asked for as well, those have
    /// channels of their own: a sender must subscribe to what it sends on, and would receive, and
    /// be billed for, every event that is published there over HTTP.
    pub for_client_events: bool,
}

/// One stream; its index is its place in [`Plan::streams`].
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// Its channel's place in [`Plan::channels`].
    pub channel: usize,
    /// Its route.
    pub route: Route,
    /// Events that its books remember.
    pub book_events: usize,
}

/// One witness, on each cluster.
#[derive(Clone, Debug)]
pub struct WitnessPlan {
    /// Its index.
    pub witness: WitnessIx,
    /// Its channels' places in [`Plan::channels`].
    pub channels: Vec<usize>,
    /// Which of each channel's witnesses it is, counted from 0.
    pub replica: u32,
}

/// One connection that sends client events, on each cluster. It is no witness.
#[derive(Clone, Debug)]
pub struct SenderPlan {
    /// Its channels' places in [`Plan::channels`].
    pub channels: Vec<usize>,
    /// The streams that it sends.
    pub streams: Vec<StreamIx>,
}

/// The channels of the negative controls, on each cluster.
#[derive(Clone, Debug)]
pub struct ControlPlan {
    /// Where deliveries are tampered with.
    pub channel: ChannelName,
    /// Where nothing is published.
    pub guard: ChannelName,
    /// To which a subscription must be refused.
    pub refused: ChannelName,
}

/// How the processes of a run tell each other what became of publications.
#[derive(Clone, Debug)]
pub struct MarkerPlan {
    /// Where markers go, on each cluster.
    pub channel: ChannelName,
    /// What they are signed with. It is made of the secrets of both apps: neither cluster alone can
    /// make one.
    pub key: Secret,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The run's identity.
    pub run: RunId,
    /// Which part of it is this process's.
    pub member: Member,
    /// The seed of everything random.
    pub seed: u64,
    /// The scenario's name.
    pub name: String,
    /// What the findings are judged by.
    pub requirements: Requirements,
    /// The clusters, old first.
    pub clusters: Vec<ClusterPlan>,
    /// The status page of each cluster that has one.
    pub status_pages: BTreeMap<ClusterRole, StatusPage>,
    /// The run's channels, those of other processes too: every process numbers them alike.
    pub channels: Vec<ChannelPlan>,
    /// The run's streams, as well.
    pub streams: Vec<StreamPlan>,
    /// The witnesses of each cluster.
    pub witnesses: Vec<WitnessPlan>,
    /// The senders of client events of each cluster.
    pub senders: Vec<SenderPlan>,
    /// The negative controls of each cluster.
    pub controls: ControlPlan,
    /// How it is told what became of publications, where others witness them.
    pub markers: Option<MarkerPlan>,
    /// When which stream publishes.
    pub schedule: Schedule,
    /// Bytes of an event's data before encryption.
    pub payload_bytes: usize,
    /// First copies within it are delivered.
    pub deadline: Duration,
    /// First copies within it are late.
    pub horizon: Duration,
    /// Longest wait for a publish request's answer.
    pub publish_timeout: Duration,
    /// From one reconnect on purpose to the next.
    pub recycle: Option<Duration>,
    /// New connections per second and cluster; as many more are the simulated clients'.
    pub connect_rate: f64,
    /// Most open publish requests per cluster.
    pub open_requests_max: usize,
    /// Whether a 429 pauses the schedule.
    pub slow_down: bool,
    /// How real channels are watched, where they are.
    pub sample: Option<SamplePlan>,
    /// Who moves from old to new, where somebody does.
    pub handover: Option<HandoverPlan>,
    /// The simulated clients, where there are some.
    pub load: Option<LoadPlan>,
    /// In what the apps must behave alike, where that is asked.
    pub parity: Option<Parity>,
    /// What an earlier run saw of the application, where that is asked.
    pub published: Option<MirrorEvidence>,
    /// Where webhooks arrive, where they are received.
    pub webhooks: Option<Webhooks>,
    /// How it is read who is on the clusters, where it is.
    pub watching: Option<Watching>,
    /// Bounds on the instrument's vital signs.
    pub instrument: InstrumentLimits,
    /// What may be billed, in a run without an end in each UTC day.
    pub budget: Budget,
    /// The window on which the verdict rests in a run without an end; `None` where it has one.
    pub window: Option<Duration>,
    /// The scenario with every default filled in, but for its secrets.
    pub settings: serde_json::Value,
}

/// What the command line changes in a scenario.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Publishing time.
    pub duration: Option<Duration>,
    /// Canary events per second over HTTP routes.
    pub rate: Option<f64>,
    /// The seed.
    pub seed: Option<u64>,
    /// When the bounds are looked at.
    pub looks: Looks,
    /// The window of a run without an end. It publishes as long as it goes on; clients that move
    /// once, and probes that are tried once, have no place in it.
    pub window: Option<Duration>,
    /// Which part of the run is this process's. What is not of the run's own channels (real events,
    /// clients that move, probes, webhooks) is the first shard's alone.
    pub member: Member,
}

impl Plan {
    /// Decides everything. `run` and `fallback_seed` are the run's two random things.
    ///
    /// # Errors
    /// The plan costs more than the scenario's budget allows.
    pub fn new(
        scenario: &Scenario,
        overrides: Overrides,
        run: RunId,
        fallback_seed: u64,
    ) -> Result<Self, OverBudget> {
        // All shards have one budget, and so have those that publish and one witness of each.
        let Member { shard: Shard { index, of }, role, .. } = overrides.member;
        let roles: &[_] = match role {
            MemberRole::Both => &[MemberRole::Both],
            MemberRole::Publish | MemberRole::Witness => {
                &[MemberRole::Publish, MemberRole::Witness]
            }
        };
        let bill_of = |(index, role)| {
            let member = Member { shard: Shard { index, of }, role, region: String::new() };
            let other = Overrides { member, ..overrides.clone() };
            Self::unbilled(scenario, other, run, fallback_seed).bill()
        };
        let all = (0..of).flat_map(|index| roles.iter().map(move |role| (index, *role)));
        let others: Vec<_> = all.filter(|other| *other != (index, role)).map(bill_of).collect();
        let plan = Self::unbilled(scenario, overrides, run, fallback_seed);
        let mut bill = plan.bill();
        others.iter().for_each(|other| bill.add(other));
        if plan.window.is_some() {
            // What is billed each day is counted as it goes, and spared in time.
            bill.messages = 0;
        }
        bill.check(&scenario.budget, plan.clusters.len(), bill::CURES)?;
        Ok(plan)
    }

    /// The same, of which only a part will be done: what it costs is not looked at.
    pub fn unbilled(
        scenario: &Scenario,
        overrides: Overrides,
        run: RunId,
        fallback_seed: u64,
    ) -> Self {
        let is_endless = overrides.window.is_some();
        let mut canary = scenario.canary.clone();
        if scenario.load.is_some() && !is_endless {
            // The other half is the simulated clients': nobody waits behind thousands of them.
            canary.connect_rate /= 2.0;
        }
        let canary = &canary;
        let duration = match is_endless {
            true => ENDLESS,
            false => overrides.duration.unwrap_or(scenario.duration),
        };
        let seed = overrides.seed.or(scenario.seed).unwrap_or(fallback_seed);
        let (publishes, member) = (scenario.phase.publishes(), overrides.member);
        let (shard, role) = (member.shard, member.role);
        let channels = if publishes { plan_channels(scenario, run, shard) } else { Vec::new() };
        let mut streams = plan_streams(scenario, &channels);
        let rate = overrides.rate.unwrap_or(canary.rate);
        let schedule = Schedule::new(&streams, shard, rate, canary.client_rate, duration);
        let publish_timeout = canary.horizon.min(PUBLISH_TIMEOUT_MAX);
        for (ix, stream) in (0..).zip(&mut streams) {
            // What a client missed that overlaps is reckoned when it has left old.
            let overlap = scenario.handover.as_ref().map(|of| of.overlap + canary.deadline);
            // What another process publishes is known later, by what it takes to hear of it.
            let told = if role.publishes() { Duration::ZERO } else { marker::PATIENCE };
            let times = [canary.horizon * 3, publish_timeout, overlap.unwrap_or_default(), told];
            stream.book_events = book_events(&schedule, StreamIx(ix), times.iter().sum());
        }
        let mut witnesses = plan_witnesses(scenario, channels.len(), shard);
        witnesses.retain(|_| role.witnesses());
        let mut senders = plan_senders(scenario, &streams, shard);
        senders.retain(|_| role.publishes());
        let is_first = shard.index == 0 && role.publishes();
        let sampling = scenario.sampling.clone().filter(|_| is_first);
        let sample = sampling.map(|sampling| SamplePlan {
            connections: sampling.channels.div_ceil(canary.channels_per_connection),
            rules: mirror::Rules { window: sampling.window, kept_max: EVENTS_KEPT_MAX },
            sampling,
        });
        let handover =
            scenario.handover.as_ref().filter(|_| !is_endless && is_first).map(|handover| {
                HandoverPlan::new(handover, canary, (&channels, &streams), &schedule)
            });
        let load = scenario.load.as_ref().filter(|_| !is_endless && role.witnesses());
        let connect_rate = canary.connect_rate / f64::from(shard.of);
        let at_rate = (shard, connect_rate);
        let load = load.map(|load| LoadPlan::new(load, &channels, &schedule, at_rate));
        Self {
            run,
            controls: plan_controls(run, &member),
            markers: (role != MemberRole::Both).then(|| plan_markers(scenario, run, shard)),
            member,
            seed,
            name: scenario.name.clone(),
            requirements: Requirements {
                phase: scenario.phase,
                role,
                looks: if is_endless { Looks::Rolling } else { overrides.looks },
                limits: scenario.limits.clone(),
            },
            clusters: plan_clusters(scenario, run),
            status_pages: scenario.status_pages.clone(),
            channels,
            streams,
            witnesses,
            senders,
            schedule,
            payload_bytes: canary.payload_bytes,
            deadline: canary.deadline,
            horizon: canary.horizon,
            publish_timeout,
            recycle: canary.recycle,
            // All shards together connect no faster than one process would.
            connect_rate,
            open_requests_max: canary.open_requests_max,
            slow_down: canary.slow_down,
            sample,
            handover,
            load,
            parity: scenario.parity.clone().filter(|_| !is_endless && is_first),
            published: None,
            webhooks: scenario.webhooks.clone().filter(|_| is_first),
            watching: (!publishes).then_some(Watching { refresh: scenario.refresh }),
            instrument: scenario.instrument,
            budget: scenario.budget,
            window: overrides.window,
            settings: settings::of(scenario, overrides.window.unwrap_or(duration), rate, seed),
        }
    }

    /// Trials without a failure that the asked proof needs.
    pub fn trials_needed(&self) -> u64 {
        match self.requirements.phase {
            Phase::Preflight => self.own_streams().count() as u64,
            _ => self.requirements.trials_needed(),
        }
    }

    /// Events that a verdict rests on: all of them, or those of a window.
    pub fn events_judged(&self) -> u64 {
        let in_window = |window: Duration| (self.schedule.rate() * window.as_secs_f64()) as u64;
        self.window.map_or_else(|| self.schedule.events(), in_window)
    }

    /// What a day may cost: `None` where a run has an end, and was billed beforehand.
    pub fn meter(&self) -> Option<Meter> {
        self.window?;
        let Budget { messages_max, account_messages_max, .. } = self.own_budget();
        let (apps, per_event) = (self.clusters.len() as u64, 1 + self.witnesses_per_channel());
        Some(Meter::new(messages_max, account_messages_max, apps, per_event))
    }

    /// This shard's part of it.
    fn own_budget(&self) -> Budget {
        let of = u64::from(self.member.shard.of);
        let Budget { messages_max, account_messages_max, connections_max } = self.budget;
        let (messages_max, account_messages_max) = (messages_max / of, account_messages_max / of);
        Budget { messages_max, account_messages_max, connections_max }
    }

    /// How long a day's budget lasts at the planned rate, where it does not last the day.
    pub fn budget_lasts(&self) -> Option<Duration> {
        self.window?;
        let Budget { messages_max, account_messages_max, .. } = self.own_budget();
        let max = messages_max.min(account_messages_max / (self.clusters.len() as u64).max(1));
        let per_second = self.schedule.rate() * (1 + self.witnesses_per_channel()) as f64;
        let lasts = Duration::try_from_secs_f64(max as f64 / per_second).ok()?;
        (lasts < Duration::from_secs(24 * 3_600)).then(|| Duration::from_secs(lasts.as_secs()))
    }

    /// Whether the schedule has enough events for the asked proof, or time for the asked wait.
    pub fn reaches_proof(&self) -> bool {
        if self.requirements.phase.publishes() {
            self.events_judged() >= self.trials_needed()
        } else {
            self.schedule.duration >= self.requirements.limits.drained_for
        }
    }

    /// Why some of the virtual clients cannot move in time, if that is so.
    pub fn cannot_move(&self) -> Option<String> {
        let (show, duration) = (humantime::format_duration, self.schedule.duration());
        let needs = self.handover.as_ref().map(|handover| handover.needs);
        let needs = needs.filter(|needs| *needs > duration)?;
        let (needs, duration) = (show(needs), show(duration));
        Some(format!(
            "the clients of [handover] need {needs} to move, and publishing takes {duration}"
        ))
    }

    /// Why some of the probes cannot be done in time, if that is so.
    pub fn cannot_probe(&self) -> Option<String> {
        let (duration, show) = (self.schedule.duration(), humantime::format_duration);
        let needs: Duration = self.parity.as_ref()?.probes.iter().map(|probe| probe.takes()).sum();
        (duration < needs).then(|| {
            let (needs, duration) = (show(needs), show(duration));
            format!(
                "the probes of [parity] may take up to {needs}, and publishing takes {duration}"
            )
        })
    }

    /// Why a webhook that does not come cannot be found to be lost, if that is so.
    pub fn cannot_lose(&self) -> Option<String> {
        let (duration, show) = (self.schedule.duration(), humantime::format_duration);
        let lost_after = self.webhooks.as_ref()?.lost_after;
        (duration <= lost_after).then(|| {
            let (lost_after, duration) = (show(lost_after), show(duration));
            format!(
                "a webhook counts as lost after {lost_after} (webhooks.lost_after), and this run \
                 takes {duration}"
            )
        })
    }

    /// When the first witness reconnects on purpose, if that is in time for something to be
    /// published afterwards.
    pub fn reconnects_after(&self) -> Option<Duration> {
        self.recycle.filter(|every| *every + 2 * self.deadline < self.schedule.duration)
    }

    /// Every stratum that the schedule tries. Where witnesses reconnect on purpose, and in time for
    /// something to be published afterwards, those of a later connection are part of it.
    pub fn strata(&self) -> Vec<Stratum> {
        let tries_again = self.reconnects_after().is_some();
        let mut strata: Vec<_> = self
            .own_streams()
            .filter_map(|s| Some((self.channels.get(s.channel)?.kind, s.route)))
            .flat_map(|(kind, route)| {
                let of = |epoch| Stratum { kind, route, epoch };
                let again = tries_again.then(|| of(Epoch::Again));
                std::iter::once(of(Epoch::First)).chain(again)
            })
            .collect();
        strata.sort_unstable();
        strata.dedup();
        strata
    }

    /// Witnesses that the first one of each channel is among: they come first.
    pub fn first_witnesses(&self) -> u32 {
        let first = self.witnesses.iter().filter(|w| w.replica == 0).count();
        u32::try_from(first).unwrap_or(u32::MAX)
    }

    /// The beginning of the run's record; `origin` is the time of day at the clock's origin.
    pub fn begin(&self, origin: Duration) -> Begin {
        let channel = |at: usize| self.channels.get(at).map(|c| c.name.clone());
        let is_watched = |s: &&StreamPlan| {
            self.member.role.publishes() && self.witnesses_of(s.channel).next().is_some()
        };
        let unwatched = self.own_streams().filter(|s| !is_watched(s)).count();
        let roles: Vec<_> = self.clusters.iter().map(|c| c.role).collect();
        let unwatched = roles.iter().filter(|_| unwatched > 0).map(|r| (*r, unwatched as u64));
        Begin {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: self.run,
            member: self.member.clone(),
            scenario: self.name.clone(),
            seed: self.seed,
            requirements: self.requirements.clone(),
            origin,
            publishing: self.window.unwrap_or(self.schedule.duration),
            unwatched: unwatched.collect(),
            clusters: roles,
            streams: self
                .streams
                .iter()
                .filter_map(|s| Some((channel(s.channel)?, s.route)))
                .collect(),
            strata: self.strata(),
            controls: self.controls_planned(),
            watching: self.watching,
            status_pages: self
                .status_pages
                .iter()
                .map(|(role, page)| (*role, page.address()))
                .collect(),
            endpoints: self.endpoints(),
            mirroring: self.sample.as_ref().map(|sample| sample.rules),
            handover: self.handover.as_ref().map(|handover| handover.moves.clone()),
            load: self.load.as_ref().map(|load| load.load),
            parity: self.parity.as_ref().map(Parity::begin),
            published: self.published.clone(),
            webhooks_refresh: self.webhooks.as_ref().map(|webhooks| {
                self.watching.map_or(webhooks.refresh, |watching| watching.refresh)
            }),
            settings: self.settings.clone(),
        }
    }

    /// What is tried on one of a cluster's auth endpoints. The other cluster need not refuse what
    /// it signs where both apps have one key and one secret, nor is it asked where the run must not
    /// subscribe.
    pub fn trials_of(&self, cluster: &ClusterPlan, kind: EndpointKind) -> BTreeSet<EndpointTrial> {
        let other = self.cluster(cluster.role.other());
        let is_crossed = other.is_some_and(|other| {
            let (one, other_app) = (&cluster.signer, &other.signer);
            let is_same = one.key == other_app.key && one.secret == other_app.secret;
            !is_same && self.requirements.phase.subscribes_on(other.role)
        });
        let endpoint = cluster.endpoints.get(&kind);
        endpoint.map_or_else(BTreeSet::new, |endpoint| endpoint.trials(kind, is_crossed))
    }

    /// How the application's auth endpoints are looked at.
    fn endpoints(&self) -> BTreeMap<ClusterRole, BTreeMap<EndpointKind, EndpointBegin>> {
        let begin =
            |cluster: &ClusterPlan, kind: EndpointKind, endpoint: &Endpoint| EndpointBegin {
                url: endpoint.url.to_string(),
                is_private: endpoint.is_private(),
                trials: self.trials_of(cluster, kind),
            };
        let of = |cluster: &ClusterPlan| {
            let endpoints = cluster.endpoints.iter();
            let endpoints: BTreeMap<_, _> =
                endpoints.map(|(kind, e)| (*kind, begin(cluster, *kind, e))).collect();
            (!endpoints.is_empty()).then_some((cluster.role, endpoints))
        };
        self.clusters.iter().filter_map(of).collect()
    }

    /// Whether negative controls are made on a cluster: where this process sees deliveries.
    pub fn has_controls_on(&self, role: ClusterRole) -> bool {
        self.member.role.witnesses() && self.requirements.phase.subscribes_on(role)
    }

    /// The negative controls of each cluster on which they are made.
    fn controls_planned(&self) -> Vec<Control> {
        if !self.member.role.witnesses() {
            return Vec::new();
        }
        let of_reading = self.watching.map(|_| Control::SeesOccupancy);
        Control::OF_DELIVERY.into_iter().chain(of_reading).collect()
    }

    /// The streams that are this process's.
    pub fn own_streams(&self) -> impl Iterator<Item = &StreamPlan> {
        self.streams.iter().filter(|stream| self.member.shard.has(stream.channel))
    }

    /// What the names of all channels begin with that are this process's, behind the prefix of
    /// their kind.
    pub fn channel_stem(&self) -> String {
        channels::stem(self.run, self.member.shard)
    }

    /// Witnesses of a channel.
    pub fn witnesses_of(&self, channel: usize) -> impl Iterator<Item = &WitnessPlan> {
        self.witnesses.iter().filter(move |w| w.channels.contains(&channel))
    }

    /// A cluster's part.
    pub fn cluster(&self, role: ClusterRole) -> Option<&ClusterPlan> {
        self.clusters.iter().find(|c| c.role == role)
    }

    /// The same without the application's auth endpoints.
    #[must_use]
    pub fn without_endpoints(mut self) -> Self {
        self.clusters.iter_mut().for_each(|cluster| cluster.endpoints.clear());
        self
    }

    /// The same clusters and credentials, tried by one witness each, and the control connection.
    #[must_use]
    pub fn with_one_connection(&self) -> Self {
        let mut plan = self.clone();
        plan.witnesses.truncate(1);
        plan.senders.clear();
        plan.status_pages.clear();
        plan.sample = None;
        plan.handover = None;
        plan.load = None;
        plan.parity = None;
        plan.webhooks = None;
        plan
    }

    /// The instant at which every obligation has ended if all goes well, for a schedule that ended
    /// at `end`.
    pub fn settled_at(&self, end: RunTime) -> RunTime {
        end.after(self.publish_timeout.max(self.horizon))
    }
}

/// The key of encrypted channels where a scenario names none. It need not be secret: the run's own
/// channels carry nothing but canaries.
pub fn own_master_key(run: RunId) -> MasterKey {
    MasterKey::new(Sha256::digest(format!("pusher-canary master key {run}")).into())
}

fn plan_clusters(scenario: &Scenario, run: RunId) -> Vec<ClusterPlan> {
    let plan = |(role, cluster): (&ClusterRole, &super::file::Cluster)| {
        let mut socket_url = cluster.ws_url.clone();
        let target = pusher::socket_target(&cluster.key);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let prefix = socket_url.path().trim_end_matches('/').to_owned();
        socket_url.set_path(&format!("{prefix}{path}"));
        socket_url.set_query(Some(query));
        ClusterPlan {
            role: *role,
            socket_url,
            http_url: cluster.http_url.clone(),
            ca_pem: cluster.ca_pem.clone(),
            signer: Signer {
                app_id: cluster.app_id.clone(),
                key: cluster.key.clone(),
                secret: cluster.secret.clone(),
            },
            knows_master_key: cluster.master_key.is_some(),
            endpoints: [
                (EndpointKind::AuthEndpoint, &cluster.auth_endpoint),
                (EndpointKind::UserAuthEndpoint, &cluster.user_auth_endpoint),
            ]
            .into_iter()
            // Nobody is kept from leaving a cluster by what signs for it.
            .filter(|_| scenario.phase.subscribes_on(*role))
            .filter_map(|(kind, endpoint)| Some((kind, endpoint.clone()?)))
            .collect(),
            master_key: cluster.master_key.clone().unwrap_or_else(|| own_master_key(run)),
        }
    };
    scenario.clusters.iter().map(plan).collect()
}

#[cfg(test)]
mod tests;
