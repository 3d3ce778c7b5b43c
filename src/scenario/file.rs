//! The written form of a scenario. Alone knows the file format and the defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeTable;

use crate::model::application::Behaviour;
use crate::model::fault::{self, Fault, FaultKind};
use crate::model::habit::{Habit, HabitOf};
use crate::model::time::human;
use crate::model::{ChannelKind, ClusterRole};
use crate::verify::checks::{Limits, Phase};
use crate::verify::tally::Route;

use super::clusters::read_clusters;
use super::context::Context;
use super::form;
use super::handover::{self, Handover};
use super::load::{self, Load};
use super::parity::{self, Parity};
use super::reader::Section;
use super::sample::{self, Sampling};
use super::status_page::{self, StatusPage};
use super::webhooks::{self, Webhooks};
use super::{Problem, Problems};

pub use super::clusters::Cluster;
pub use super::context::Surroundings;

/// Client events per second that one sender connection carries at most. The hosted limit is ten;
/// half of it leaves room for bursts that a network makes.
pub(super) const CLIENT_EVENTS_PER_SENDER: f64 = 5.0;
/// Channels of each kind, where a scenario names none.
const DEFAULT_CHANNELS: [(ChannelKind, u64); 5] = [
    (ChannelKind::Public, 4),
    (ChannelKind::Private, 4),
    (ChannelKind::Presence, 1),
    (ChannelKind::Encrypted, 1),
    (ChannelKind::Cache, 1),
];
/// Most subscriptions of a run's witnesses to one cluster: what they are takes memory.
const SUBSCRIPTIONS_MAX: u64 = 1_000_000;
/// Without control characters.
const ONE_LINE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// The same, and not blank.
const ONE_LINE_SAID: &str =
    r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";
/// `[canary]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Canary {
    /// Channels by kind.
    pub channels: BTreeMap<ChannelKind, u32>,
    /// Canary events per second over HTTP routes, all channels together.
    pub rate: f64,
    /// Client events per second, all channels together.
    pub client_rate: f64,
    /// Bytes of an event's data.
    pub payload_bytes: usize,
    /// Distinct connections per channel and cluster.
    pub witnesses: u32,
    /// Most channels on one connection.
    pub channels_per_connection: usize,
    /// New connections per second and cluster.
    pub connect_rate: f64,
    /// How events are published.
    pub routes: Vec<Route>,
    /// First copies within it are delivered.
    #[serde(with = "human")]
    pub deadline: Duration,
    /// First copies within it are late; nothing by then is a shortfall.
    #[serde(with = "human")]
    pub horizon: Duration,
    /// Time from one reconnect on purpose to the next; `None`: never.
    #[serde(with = "human::option")]
    pub recycle: Option<Duration>,
    /// Most open publish requests per cluster.
    pub open_requests_max: usize,
    /// Whether a 429 pauses the schedule for as long as `Retry-After` says.
    pub slow_down: bool,
}

/// `[instrument]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct InstrumentLimits {
    /// From the scheduled instant to taking a publication up.
    #[serde(with = "human")]
    pub schedule_lag_max: Duration,
    /// Time for which a due task may wait.
    #[serde(with = "human")]
    pub runtime_stall_max: Duration,
    /// Time for which received bytes may wait to be read.
    #[serde(with = "human")]
    pub receive_backlog_max: Duration,
    /// Share of the file descriptors that may be in use.
    pub file_descriptors_max: f64,
    /// Difference that may arise between the wall clock and the monotonic one within a second.
    #[serde(with = "human")]
    pub clock_step_max: Duration,
}

/// `[budget]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// Messages billed to each app.
    pub messages_max: u64,
    /// Messages billed to both apps together.
    pub account_messages_max: u64,
    /// Connections to each app.
    pub connections_max: u64,
}

/// The report of an earlier run.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorSource {
    /// Its name.
    pub path: String,
    /// What it says.
    pub text: String,
    /// How long ago the run may have ended.
    pub age_max: Duration,
}

/// A scenario, every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub phase: Phase,
    /// Publishing time.
    pub duration: Duration,
    /// The seed, where the scenario fixes one.
    pub seed: Option<u64>,
    /// The clusters; empty when they are ignored.
    pub clusters: BTreeMap<ClusterRole, Cluster>,
    /// The status page of each cluster that has one; empty when the clusters are ignored.
    pub status_pages: BTreeMap<ClusterRole, StatusPage>,
    /// Whether they are a rehearsal's own.
    pub clusters_are_embedded: bool,
    /// `[canary]`.
    pub canary: Canary,
    /// `[gate]`.
    pub limits: Limits,
    /// `[instrument]`.
    pub instrument: InstrumentLimits,
    /// `[budget]`.
    pub budget: Budget,
    /// `[sample]`, where it is written.
    pub sampling: Option<Sampling>,
    /// `[handover]`, where it is written.
    pub handover: Option<Handover>,
    /// `[load]`, where it is written.
    pub load: Option<Load>,
    /// `[parity]`, where it is written.
    pub parity: Option<Parity>,
    /// `[webhooks]`, where it is written.
    pub webhooks: Option<Webhooks>,
    /// The report of an earlier run that a drain rests on, where one is named.
    pub mirror_source: Option<MirrorSource>,
    /// `drain.refresh`: from one reading of who is on the clusters to the next.
    pub refresh: Duration,
    /// Faults of the rehearsal clusters.
    pub faults: Vec<Fault>,
    /// What the rehearsal clusters do otherwise than documented.
    pub habits: Vec<HabitOf>,
    /// The rehearsal's application, where it is written.
    pub application: Option<Behaviour>,
    /// What is sound, but should be changed.
    pub warnings: Vec<Problem>,
}

impl Scenario {
    /// Whether it has what a probe needs.
    pub fn has(&self, needed: &str) -> bool {
        has(needed, self.webhooks.is_some(), &self.clusters, self.parity.as_ref())
    }
}

fn has(
    needed: &str,
    has_webhooks: bool,
    clusters: &BTreeMap<ClusterRole, Cluster>,
    parity: Option<&Parity>,
) -> bool {
    match needed {
        "webhooks" => has_webhooks,
        "auth_endpoint" => clusters
            .values()
            .any(|of| of.auth_endpoint.is_some() || of.user_auth_endpoint.is_some()),
        _ => parity.is_some_and(|parity| !parity.origins.is_empty()),
    }
}

/// Whether `[clusters]` is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clusters {
    /// It is, with all its variables.
    Read,
    /// It is not: a rehearsal brings clusters of its own.
    Ignored,
}

/// Reads a scenario.
///
/// # Errors
/// Every problem of the file at once, `path` before each.
pub fn read(
    path: &str,
    source: &str,
    clusters: Clusters,
    surroundings: &dyn Surroundings,
) -> Result<Scenario, Problems> {
    let context = Context::new(source, surroundings);
    let (table, errors) = DeTable::parse_recoverable(source);
    if !errors.is_empty() {
        for error in errors {
            context.problem(error.span().unwrap_or_default(), "", error.message());
        }
        return Err(Problems { path: path.to_owned(), list: context.finish() });
    }
    let mut root = Section::root(&context, &table);
    let mut warnings = Vec::new();
    let scenario = read_root(&mut root, clusters, &mut warnings);
    root.finish();
    let list = context.finish();
    if list.is_empty() { Ok(scenario) } else { Err(Problems { path: path.to_owned(), list }) }
}

/// The form of a scenario: what [`read`] asks for, as a JSON Schema.
pub(super) fn form() -> Value {
    let (context, empty) = (Context::describing(&Nowhere), Spanned::new(0..0, DeTable::new()));
    read_root(&mut Section::root(&context, &empty), Clusters::Read, &mut Vec::new());
    context.into_schema()
}

/// Surroundings in which there is nothing.
struct Nowhere;

impl Surroundings for Nowhere {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("there are no files here".to_owned())
    }
}

fn read_root(root: &mut Section<'_>, which: Clusters, warnings: &mut Vec<Problem>) -> Scenario {
    let mut head = root.section("scenario");
    let name = head.text_like("name", ONE_LINE, Some("unnamed"));
    let name = name.unwrap_or_else(|| "unnamed".to_owned());
    if name.chars().any(char::is_control) {
        head.problem("name", "must be one line of readable characters: it heads the report");
    }
    let phase = read_phase(&mut head);
    let duration = bounded(&mut head, "duration", "15m", SECOND_MS..7 * DAY_MS);
    let seed = head.integer_if_given("seed", 0..u64::MAX);
    head.finish();
    let mut section = root.section("clusters");
    let mut pages = root.section("status_page");
    let (mut clusters, mut status_pages) = (BTreeMap::new(), BTreeMap::new());
    if which == Clusters::Read {
        clusters = read_clusters(&mut section, phase, warnings);
        let is_written = |role: &ClusterRole| section.has(role.as_str());
        let written: Vec<_> = ClusterRole::ALL.into_iter().filter(is_written).collect();
        section.finish();
        status_pages = status_page::read(&mut pages, &written);
        pages.finish();
    }
    let canary = read_canary(root.section("canary"));
    let mut sample = root.section("sample");
    let sampling = sample::read(&mut sample, phase);
    sample.finish();
    let mut moves = root.section("handover");
    let handover = handover::read(&mut moves, phase, &canary);
    moves.finish();
    let mut crowd = root.section("load");
    let load = load::read(&mut crowd, phase, &canary);
    crowd.finish();
    let mut hooks = root.section("webhooks");
    let webhooks = webhooks::read(&mut hooks);
    let mut keys = clusters.values().map(|cluster| &cluster.key);
    let is_ambiguous = webhooks.as_ref().is_some_and(|of| !of.has_two_paths());
    if is_ambiguous && keys.next().is_some_and(|key| keys.any(|other| other == key)) {
        let message = "both apps have one key, so that nobody can tell whose a webhook is; give \
                       each a path of its own: path_old and path_new";
        hooks.problem("listen", message);
    }
    if which == Clusters::Read && webhooks.as_ref().is_some_and(|of| of.listen.port() == 0) {
        let message = "port 0 is whichever is free, and no app could be told of it; name a port";
        hooks.problem("listen", message);
    }
    hooks.finish();
    let mut alike = root.section("parity");
    let is_given = |needed: &str| has(needed, webhooks.is_some(), &clusters, None);
    let parity = parity::read(&mut alike, phase, is_given, warnings);
    alike.finish();
    let rests = which == Clusters::Read && phase == Phase::Drain;
    let (refresh, mirror_source) = read_drain(root.section("drain"), rests);
    let limits = read_gate(root.section("gate"), refresh);
    let instrument = read_instrument(root.section("instrument"));
    let budget = read_budget(root.section("budget"));
    let (faults, habits, application) = read_rehearsal(root.section("rehearsal"));
    let warnings = std::mem::take(warnings);
    Scenario {
        name,
        phase,
        duration,
        seed,
        clusters,
        status_pages,
        clusters_are_embedded: false,
        canary,
        limits,
        instrument,
        budget,
        sampling,
        handover,
        load,
        parity,
        webhooks,
        mirror_source,
        refresh,
        faults,
        habits,
        application,
        warnings,
    }
}

pub(super) const SECOND_MS: u64 = 1_000;
pub(super) const HOUR_MS: u64 = 3_600 * SECOND_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A duration within a range of milliseconds, or the default.
pub(super) fn bounded(
    section: &mut Section<'_>,
    key: &'static str,
    default: &str,
    range_ms: std::ops::Range<u64>,
) -> Duration {
    let duration = section.duration(key, default);
    check_bounds(section, key, duration, range_ms);
    duration
}

fn check_bounds(
    section: &Section<'_>,
    key: &str,
    duration: Duration,
    range_ms: std::ops::Range<u64>,
) {
    let (least, most) =
        (Duration::from_millis(range_ms.start), Duration::from_millis(range_ms.end));
    if duration < least || duration > most {
        let show = humantime::format_duration;
        section.problem(key, format!("must be between {} and {}", show(least), show(most)));
    }
}

/// Describes that there can be no such section in some phases.
pub(super) fn describe_excluded(
    section: &Section<'_>,
    name: &str,
    excludes: impl Fn(Phase) -> bool,
) {
    let Some(forms) = section.context.forms() else { return };
    let phases = Phase::ALL.into_iter().filter(|phase| excludes(*phase));
    let phases: Vec<_> = phases.map(Phase::as_str).collect();
    let phase = json!({ "required": ["phase"], "properties": { "phase": { "enum": phases } } });
    let rule = json!({
        "if": { "required": ["scenario"], "properties": { "scenario": phase } },
        "then": { "properties": { name: false } },
    });
    forms.add("", "allOf", rule);
}

fn read_phase(head: &mut Section<'_>) -> Phase {
    let (default, known) = (Phase::DualPublish, Phase::ALL.map(Phase::as_str));
    let Some(text) = head.word("phase", default.as_str(), &known) else { return default };
    if let Some(phase) = Phase::ALL.into_iter().find(|p| p.as_str() == text) {
        return phase;
    }
    head.problem("phase", format!("{text:?} is no phase; use one of {}", known.join(", ")));
    default
}

fn read_channels(table: &mut Section<'_>) -> BTreeMap<ChannelKind, u32> {
    let defaults: BTreeMap<_, u64> = DEFAULT_CHANNELS.into();
    let mut kinds = table.section("channels");
    kinds.describe_default(|| json!(defaults));
    let (mut channels, mut kinds_are_sound) = (BTreeMap::new(), true);
    for kind in ChannelKind::ALL {
        let default = if kinds.is_present() { None } else { defaults.get(&kind) };
        let given = kinds.integer_if_given(kind.as_str(), 0..10_000);
        kinds_are_sound &= given.is_some() || !kinds.has(kind.as_str());
        let count = given.or(default.copied()).unwrap_or_default();
        channels.insert(kind, u32::try_from(count).unwrap_or(u32::MAX));
    }
    kinds.finish();
    if channels.values().all(|n| *n == 0) && kinds_are_sound {
        table.problem("channels", "must name at least one channel, such as { public = 1 }");
    }
    channels
}

fn read_canary(mut table: Section<'_>) -> Canary {
    let channels = read_channels(&mut table);
    let witnesses = table.integer("witnesses", 2, 1..10_000) as u32;
    let deadline = bounded(&mut table, "deadline", "5s", 50..10 * 60 * SECOND_MS);
    let canary = Canary {
        channels,
        rate: table.number("rate", 50.0, 0.01..100_000.0),
        client_rate: table.number("client_rate", 2.0, 0.01..1_000.0),
        payload_bytes: table.integer("payload_bytes", 256, 192..10_240) as usize,
        witnesses,
        channels_per_connection: table.integer("channels_per_connection", 50, 1..1_000) as usize,
        connect_rate: table.number("connect_rate", 100.0, 0.1..100_000.0),
        routes: read_routes(&mut table),
        deadline,
        horizon: bounded(&mut table, "horizon", "30s", 100..60 * 60 * SECOND_MS),
        recycle: read_recycle(&mut table, witnesses, deadline),
        open_requests_max: table.integer("open_requests_max", 256, 1..10_000) as usize,
        slow_down: table.boolean("slow_down", false),
    };
    check_canary(&table, &canary);
    table.finish();
    canary
}

fn read_routes(table: &mut Section<'_>) -> Vec<Route> {
    let default = Route::Trigger;
    let known = Route::ALL.map(Route::as_str);
    let form = || form::texts(&json!({ "enum": known }), 1, Some(&[default.as_str()]));
    let Some(names) = table.texts("routes", form) else { return vec![default] };
    let mut routes = Vec::new();
    for name in names {
        match Route::ALL.into_iter().find(|r| r.as_str() == name) {
            Some(route) if !routes.contains(&route) => routes.push(route),
            Some(_) => {}
            None => {
                let message = format!("{name:?} is no route; use trigger, batch, client");
                table.problem("routes", message);
            }
        }
    }
    if routes.is_empty() && table.has("routes") {
        table.problem("routes", "must name at least one of trigger, batch, client");
    }
    routes
}

/// While a witness reconnects it can lose nothing, only miss it: of the time that an obligation
/// takes, at most a tenth may be so. And without another witness to see in its stead, every
/// reconnect would leave events uncovered.
fn read_recycle(table: &mut Section<'_>, witnesses: u32, deadline: Duration) -> Option<Duration> {
    let least = (deadline * 10 / witnesses).max(Duration::from_millis(SECOND_MS));
    let is_given = table.has("recycle");
    let recycle = table.duration_or("recycle", "off", "60s")?;
    check_bounds(table, "recycle", recycle, SECOND_MS..DAY_MS);
    if !is_given {
        return (witnesses > 1).then(|| least.max(recycle));
    }
    if witnesses == 1 {
        table.problem("recycle", "must be \"off\" with one witness: nobody sees in its stead");
    } else if recycle >= Duration::from_millis(SECOND_MS) && recycle < least {
        let least = humantime::format_duration(least);
        let message = format!(
            "must be at least {least} with this deadline and {witnesses} witnesses: what falls \
             beside a reconnect cannot be seen to be lost"
        );
        table.problem("recycle", message);
    }
    Some(recycle)
}

/// What holds between the keys of `[canary]`.
fn check_canary(table: &Section<'_>, canary: &Canary) {
    let count = |kind: ChannelKind| canary.channels.get(&kind).copied().unwrap_or_default();
    if canary.horizon <= canary.deadline {
        table.problem("horizon", "must be longer than the deadline");
    }
    let encrypted = count(ChannelKind::Encrypted) + count(ChannelKind::EncryptedCache);
    // Base64 and the secretbox make four thirds of it, and the limit is 10,240 bytes.
    if encrypted > 0 && canary.payload_bytes > 7_500 {
        table.problem("payload_bytes", "must be at most 7500 where channels are encrypted");
    }
    let members = count(ChannelKind::Presence) + count(ChannelKind::PresenceCache);
    if members > 0 && canary.witnesses > 99 {
        table.problem("witnesses", "must be at most 99 where channels are presence channels");
    }
    let channels: u32 = canary.channels.values().sum();
    let most = SUBSCRIPTIONS_MAX / u64::from(channels.max(1));
    if u64::from(canary.witnesses) > most {
        table.problem("witnesses", format!("must be at most {most} with {channels} channels"));
    }
    let has_client = canary.routes.contains(&Route::Client);
    let carries = ChannelKind::ALL.iter().any(|k| k.carries_client_events() && count(*k) > 0);
    if has_client && !carries {
        table.problem("routes", "client needs at least one private or presence channel");
    }
    // Beside HTTP routes, each kind has one channel for client events.
    let has_http = canary.routes.iter().any(|route| *route != Route::Client);
    let channels_of =
        |kind: &ChannelKind| if has_http { count(*kind).min(1) } else { count(*kind) };
    let carriers = ChannelKind::ALL.iter().filter(|kind| kind.carries_client_events());
    let channels: u32 = carriers.map(channels_of).sum();
    let rate_max = CLIENT_EVENTS_PER_SENDER * f64::from(channels);
    if has_client && carries && canary.client_rate > rate_max {
        let message = format!(
            "must be at most {rate_max}, which is {CLIENT_EVENTS_PER_SENDER} for each of the \
             {channels} channels that carry client events; a cluster allows a connection 10 per \
             second"
        );
        table.problem("client_rate", message);
    }
}

/// `rests` says whether it is a drain, of clusters that are there, which rests on a report.
fn read_drain(mut table: Section<'_>, rests: bool) -> (Duration, Option<MirrorSource>) {
    let refresh = bounded(&mut table, "refresh", "15s", SECOND_MS..60 * 60 * SECOND_MS);
    let age_max = table.duration("mirror_age_max", "1day");
    let source = table.text("mirror_report").filter(|_| rests).and_then(|path| {
        let text = table.context.surroundings.file(&path);
        let text = text.map_err(|error| {
            table.problem("mirror_report", format!("cannot read {path}: {error}"));
        });
        text.ok().map(|text| MirrorSource { path, text, age_max })
    });
    table.finish();
    (refresh, source)
}

/// For how long old must have been empty. A few readings are needed to see that it was.
fn read_drained_for(table: &mut Section<'_>, refresh: Duration) -> Duration {
    let drained_for = bounded(table, "drained_for", "10m", SECOND_MS..7 * DAY_MS);
    if drained_for < refresh * 4 {
        let least = humantime::format_duration(refresh * 4);
        let message = format!("must be at least {least}, which is four times drain.refresh");
        table.problem("drained_for", message);
    }
    drained_for
}

fn read_gate(mut table: Section<'_>, refresh: Duration) -> Limits {
    let limits = Limits {
        loss_rate_max: table.number("loss_rate_max", 1e-4, 1e-9..0.5),
        confidence: table.number("confidence", 0.95, 0.5..0.999_999),
        duplicates_max: table.integer("duplicates_max", 0, 0..u64::MAX),
        reordered_max: table.integer("reordered_max", 0, 0..u64::MAX),
        missed_offline_ratio_max: ratio(&mut table, "missed_offline_ratio_max", 1e-3),
        late_ratio_max: ratio(&mut table, "late_ratio_max", 1e-3),
        latency_p99_ratio_max: table.number("latency_p99_ratio_max", 1.25, 0.01..1e6),
        latency_trend_ratio_max: table.number("latency_trend_ratio_max", 1.5, 0.01..1e6),
        latency_slack: table.duration("latency_slack", "5ms"),
        latency_p99_max: read_latency_max(&mut table),
        connect_p99_max: table.duration("connect_p99_max", "1s"),
        publish_p99_max: table.duration("publish_p99_max", "1s"),
        auth_success_min: ratio(&mut table, "auth_success_min", 0.999),
        publish_success_min: ratio(&mut table, "publish_success_min", 0.999),
        left_behind_within: bounded(
            &mut table,
            "left_behind_within",
            "90s",
            SECOND_MS..10 * 60 * SECOND_MS,
        ),
        drained_for: read_drained_for(&mut table, refresh),
        unseen: read_unseen(&mut table),
        auth_endpoint_p99_max: table.duration("auth_endpoint_p99_max", "1s"),
        mirror_ratio_max: ratio(&mut table, "mirror_ratio_max", 0.0),
        handover_missed_max: table.number_if_given("handover_missed_max", 0.0..1e9),
        load_connected_min: ratio(&mut table, "load_connected_min", 0.999),
        load_delivered_min: ratio(&mut table, "load_delivered_min", 0.999),
        tainted_ratio_max: 0.05,
    };
    table.finish();
    limits
}

fn read_unseen(table: &mut Section<'_>) -> Option<String> {
    let why = table.text_like("unseen", ONE_LINE_SAID, None)?;
    if why.trim().is_empty() || why.chars().any(char::is_control) {
        table.problem("unseen", "must say in one line how it is known");
    }
    Some(why)
}

fn read_latency_max(table: &mut Section<'_>) -> Option<Duration> {
    let limit = table.duration_if_given("latency_p99_max")?;
    if limit.is_zero() {
        table.problem("latency_p99_max", "must be longer than nothing; leave it out for no limit");
    }
    Some(limit)
}

fn ratio(table: &mut Section<'_>, key: &'static str, default: f64) -> f64 {
    table.number(key, default, 0.0..1.0)
}

fn read_instrument(mut table: Section<'_>) -> InstrumentLimits {
    let limits = InstrumentLimits {
        schedule_lag_max: table.duration("schedule_lag_max", "10ms"),
        runtime_stall_max: table.duration("runtime_stall_max", "50ms"),
        receive_backlog_max: table.duration("receive_backlog_max", "100ms"),
        file_descriptors_max: table.number("file_descriptors_max", 0.9, 0.1..1.0),
        clock_step_max: table.duration("clock_step_max", "500ms"),
    };
    table.finish();
    limits
}

fn read_budget(mut table: Section<'_>) -> Budget {
    let budget = Budget {
        messages_max: table.integer("messages_max", 500_000, 1..u64::MAX),
        account_messages_max: table.integer("account_messages_max", 1_000_000, 1..u64::MAX),
        connections_max: table.integer("connections_max", 100, 1..u64::MAX),
    };
    table.finish();
    budget
}

fn fault_list() -> Value {
    let kinds = FaultKind::ALL.map(FaultKind::as_str).join("|");
    let pattern = format!("^(old|new):({kinds})(=[0-9.eE+-]+)?(@.+)?$");
    form::texts(&json!({ "type": "string", "pattern": pattern }), 0, Some(&[]))
}

fn read_rehearsal(mut table: Section<'_>) -> (Vec<Fault>, Vec<HabitOf>, Option<Behaviour>) {
    let faults = read_faults(&mut table);
    let habits = read_habits(&mut table);
    let application = read_application(table.section("application"));
    table.finish();
    (faults, habits, application)
}

fn read_application(mut table: Section<'_>) -> Option<Behaviour> {
    let is_present = table.is_present();
    let behaviour = Behaviour {
        channels: table.integer("channels", 20, 1..10_000) as u32,
        encrypted: table.integer("encrypted", 0, 0..10_000) as u32,
        rate: table.number("rate", 20.0, 0.1..10_000.0),
        skips: ratio(&mut table, "skips", 0.0),
        doubles: ratio(&mut table, "doubles", 0.0),
        alters: ratio(&mut table, "alters", 0.0),
        forgets: table.integer("forgets", 0, 0..10_000) as u32,
        rooms: table.integer("rooms", 0, 0..10_000) as u32,
        caches: table.integer("caches", 0, 0..4_000) as u32,
    };
    table.finish();
    is_present.then_some(behaviour)
}

fn habit_list() -> Value {
    let habits = Habit::ALL.map(Habit::as_str).join("|");
    let pattern = format!("^(old|new):({habits})$");
    form::texts(&json!({ "type": "string", "pattern": pattern }), 0, Some(&[]))
}

fn read_habits(table: &mut Section<'_>) -> Vec<HabitOf> {
    let mut habits = Vec::new();
    for text in table.texts("habits", habit_list).unwrap_or_default() {
        match text.parse() {
            Ok(habit) => habits.push(habit),
            Err(error) => table.problem("habits", format!("{text:?}: {error}")),
        }
    }
    habits
}

fn read_faults(table: &mut Section<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for text in table.texts("faults", fault_list).unwrap_or_default() {
        match text.parse() {
            Ok(fault) => faults.push(fault),
            Err(error) => table.problem("faults", format!("{text:?}: {error}")),
        }
    }
    if let Err(error) = fault::check_sums(&faults) {
        table.problem("faults", error.to_string());
    }
    faults
}
