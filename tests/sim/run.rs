//! A run whose only trouble is independent loss, from its facts to its verdict.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pusher_canary::model::{
    ChannelName, ClusterRole, MemberRole, RunId, RunTime, Seq, StreamIx, WitnessIx,
};
use pusher_canary::verify::account::Account;
use pusher_canary::verify::book::{Book, Outcome};
use pusher_canary::verify::checks::{Limits, Looks, Phase, Requirements};
use pusher_canary::verify::coverage::{SideSpec, StreamInfo};
use pusher_canary::verify::fact::{
    ConnectPhases, ConnectionFact, Control, ControlStatus, Fact, Publications, PublisherReport,
    Shortfall, WitnessReport,
};
use pusher_canary::verify::gather::Gatherer;
use pusher_canary::verify::latency::Sparse;
use pusher_canary::verify::record::Begin;
use pusher_canary::verify::tally::{Epoch, Obligations, Route, Stratum, Tally};
use rand::Rng;
use rand::rngs::SmallRng;

/// The loss rate that is asked to be ruled out.
pub const LIMIT: f64 = 0.01;
/// And how surely.
pub const CONFIDENCE: f64 = 0.95;
/// Seconds of publishing.
const SECONDS: u64 = 9;

pub fn asked(looks: Looks) -> Requirements {
    let limits = Limits {
        loss_rate_max: LIMIT,
        confidence: CONFIDENCE,
        duplicates_max: 0,
        reordered_max: 0,
        missed_offline_ratio_max: 1e-3,
        late_ratio_max: 1e-3,
        latency_p99_ratio_max: 1.25,
        latency_trend_ratio_max: 1.5,
        latency_slack: Duration::from_millis(5),
        latency_p99_max: None,
        connect_p99_max: Duration::from_secs(1),
        publish_p99_max: Duration::from_secs(1),
        auth_success_min: 0.999,
        publish_success_min: 0.999,
        left_behind_within: Duration::from_secs(90),
        drained_for: Duration::from_secs(60),
        unseen: None,
        auth_endpoint_p99_max: Duration::from_secs(1),
        mirror_ratio_max: 0.0,
        handover_missed_max: None,
        load_connected_min: 0.999,
        load_delivered_min: 0.999,
        tainted_ratio_max: 0.05,
    };
    Requirements { phase: Phase::DualPublish, role: MemberRole::Both, looks, limits }
}

/// A run of two clusters, one stream and one witness on each.
pub struct World<'a> {
    rng: &'a mut SmallRng,
    /// Deliveries take this long at the median, in milliseconds.
    median_ms: f64,
}

impl<'a> World<'a> {
    pub fn new(rng: &'a mut SmallRng, median_ms: f64) -> Self {
        Self { rng, median_ms }
    }

    /// A latency, log-normal: 1 % take more than three times the median.
    fn latency(&mut self) -> Duration {
        let uniform = |rng: &mut SmallRng| rng.random_range(f64::MIN_POSITIVE..1.0);
        let (a, b) = (uniform(self.rng), uniform(self.rng));
        // Box and Muller's normal deviate.
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        Duration::from_secs_f64(self.median_ms * (0.5 * normal).exp() / 1e3)
    }

    /// Publishes so many events; each delivery is lost with a chance of `loss` on that cluster.
    pub fn run(&mut self, events: u64, loss: impl Fn(ClusterRole) -> f64, looks: Looks) -> Account {
        let channel = ChannelName::new("private-a").unwrap();
        let stratum = Stratum { kind: channel.kind(), route: Route::Trigger, epoch: Epoch::First };
        let books: BTreeMap<_, _> = ClusterRole::ALL
            .map(|role| (role, Arc::new(Book::new(events as usize))))
            .into_iter()
            .collect();
        let side = |(role, book): (&ClusterRole, &Arc<Book>)| SideSpec {
            role: *role,
            book: Arc::clone(book),
            witnesses: vec![WitnessIx(0)],
        };
        let sides = books.iter().map(side).collect();
        let stream = StreamInfo { channel: channel.clone(), route: Route::Trigger, sides };
        let mut account = Account::new(begin(looks, channel, stratum));
        let mut gatherer = Gatherer::new(&ClusterRole::ALL, vec![stream], 1);
        gatherer.handle(Fact::Begun(RunTime::ZERO));
        for role in ClusterRole::ALL {
            settle_down(&mut gatherer, role);
        }
        for second in 0..SECONDS {
            let (from, to) = (events * second / SECONDS, events * (second + 1) / SECONDS);
            for (role, book) in &books {
                let report = self.second(book, from..to, second, stratum, loss(*role));
                gatherer.handle(Fact::Witness(*role, Box::new(report)));
                let mut published = PublisherReport::default();
                let counts =
                    Publications { sent: to - from, accepted: to - from, ..Default::default() };
                published.publications.insert(Route::Trigger, counts);
                published.obligations_opened = to - from;
                published.durations.record(Duration::from_millis(3));
                gatherer.handle(Fact::Publisher(*role, Box::new(published)));
            }
            let now = RunTime::from_millis(1_000 * second + 999);
            gatherer.handle(Fact::Vouched(now, Duration::ZERO));
            let is_last = second + 1 == SECONDS;
            if is_last {
                gatherer.handle(Fact::Published(now));
            }
            account.apply(&gatherer.close(now, is_last));
        }
        account
    }

    fn second(
        &mut self,
        book: &Book,
        seqs: std::ops::Range<u64>,
        second: u64,
        stratum: Stratum,
        loss: f64,
    ) -> WitnessReport {
        let stream = StreamIx(0);
        let (mut counts, mut latencies) = (Obligations::default(), Sparse::default());
        let mut report = WitnessReport {
            owed_from: vec![(stream, Seq(0))],
            settled_below: vec![(stream, Seq(seqs.end))],
            ..WitnessReport::default()
        };
        for index in seqs {
            let at = RunTime::from_millis(1_000 * second);
            let seq = book.reserve(index, at, false);
            book.settle(seq, Outcome::Accepted, Some(at));
            counts.total += 1;
            if self.rng.random_bool(loss) {
                counts.lost += 1;
                report.shortfalls.push((stream, seq, Shortfall::Lost));
            } else {
                counts.delivered += 1;
                latencies.record(self.latency());
            }
        }
        report.tally =
            Tally { strata: [(stratum, (counts, latencies))].into(), ..Tally::default() };
        report
    }
}

/// How a run of two clusters with this one stream begins.
pub fn begin(looks: Looks, channel: ChannelName, stratum: Stratum) -> Begin {
    Begin {
        version: "0".to_owned(),
        run: RunId(uuid::Uuid::nil()),
        member: pusher_canary::model::Member::default(),
        scenario: "simulated".to_owned(),
        seed: 0,
        requirements: asked(looks),
        origin: Duration::ZERO,
        publishing: Duration::from_secs(SECONDS),
        clusters: ClusterRole::ALL.to_vec(),
        streams: vec![(channel, Route::Trigger)],
        strata: vec![stratum],
        controls: Control::OF_DELIVERY.to_vec(),
        watching: None,
        unwatched: BTreeMap::new(),
        status_pages: BTreeMap::new(),
        endpoints: BTreeMap::new(),
        mirroring: None,
        handover: None,
        load: None,
        parity: None,
        published: None,
        webhooks_refresh: None,
        settings: serde_json::Value::Null,
    }
}

/// What goes well in every run.
pub fn settle_down(gatherer: &mut Gatherer, role: ClusterRole) {
    for control in Control::OF_DELIVERY {
        gatherer.handle(Fact::Control(role, control, ControlStatus::Pass));
    }
    gatherer.handle(Fact::LeftBehind(role, Some(0)));
    let phases = ConnectPhases { connect: Duration::from_millis(9), ..Default::default() };
    let authorized = ConnectionFact::Authorized { took: Some(Duration::ZERO), confirmed: true };
    for fact in [ConnectionFact::Ready { phases: Some(phases), expires: None }, authorized] {
        gatherer.handle(Fact::Connection(role, RunTime::from_millis(9), fact));
    }
}
