//! A watch over days of virtual time: it does not grow, and it says GO falsely as rarely as is
//! documented.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pusher_canary::metrics::registry::{self, Scrape, Watch};
use pusher_canary::model::{ChannelName, ClusterRole, RunTime, Seq, StreamIx, WitnessIx};
use pusher_canary::report::live::Course;
use pusher_canary::verify::account::Account;
use pusher_canary::verify::book::{Book, Outcome};
use pusher_canary::verify::checks::{self, Looks};
use pusher_canary::verify::coverage::{SideSpec, StreamInfo};
use pusher_canary::verify::fact::{
    ConnectionFact, Fact, PublicationFailure, PublisherReport, Shortfall, Sight, SightChange,
    WitnessReport,
};
use pusher_canary::verify::gather::Gatherer;
use pusher_canary::verify::latency::Sparse;
use pusher_canary::verify::rolling::Rolling;
use pusher_canary::verify::stats;
use pusher_canary::verify::taint::TaintReason;
use pusher_canary::verify::tally::{
    Beside, BlindCause, Epoch, Incident, IncidentKind, Obligations, Route, Stratum, Tally,
};
use pusher_canary::verify::verdict::Verdict;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::run::{begin, settle_down};

use ClusterRole::{New, Old};

const WINDOW: Duration = Duration::from_secs(600);

/// A watch that is told of everything that goes wrong, every now and then.
struct World {
    rng: SmallRng,
    books: BTreeMap<ClusterRole, Arc<Book>>,
    stratum: Stratum,
    gatherer: Gatherer,
    total: Account,
    rolling: Rolling,
    course: Course,
    blind: Option<RunTime>,
}

impl World {
    fn new() -> Self {
        let channel = ChannelName::new("private-a").unwrap();
        let stratum = Stratum { kind: channel.kind(), route: Route::Trigger, epoch: Epoch::First };
        let books: BTreeMap<_, _> =
            ClusterRole::ALL.map(|role| (role, Arc::new(Book::new(64)))).into_iter().collect();
        let side = |(role, book): (&ClusterRole, &Arc<Book>)| SideSpec {
            role: *role,
            book: Arc::clone(book),
            witnesses: vec![WitnessIx(0)],
        };
        let sides = books.iter().map(side).collect();
        let stream = StreamInfo { channel: channel.clone(), route: Route::Trigger, sides };
        let begin = begin(Looks::Rolling, channel, stratum);
        let mut gatherer = Gatherer::new(&ClusterRole::ALL, vec![stream], 1).endless(true);
        gatherer.handle(Fact::Begun(RunTime::ZERO));
        for role in ClusterRole::ALL {
            settle_down(&mut gatherer, role);
        }
        Self {
            rng: SmallRng::seed_from_u64(1),
            books,
            stratum,
            gatherer,
            total: Account::new(begin.clone()),
            rolling: Rolling::new(begin, WINDOW),
            course: Course::default(),
            blind: None,
        }
    }

    /// An event that may come to anything.
    fn second(&mut self, second: u64) {
        for role in ClusterRole::ALL {
            let book = Arc::clone(&self.books[&role]);
            let (mut counts, mut latencies) = (Obligations::default(), Sparse::default());
            let mut report = WitnessReport { owed_from: vec![], ..WitnessReport::default() };
            if second == 0 {
                report.owed_from.push((StreamIx(0), Seq(0)));
            }
            let mut published = PublisherReport::default();
            let of = published.publications.entry(Route::Trigger).or_default();
            let mut tally = Tally::default();
            for index in [second] {
                let at = RunTime::from_millis(1_000 * second + 100);
                let seq = book.reserve(index, at, false);
                let incident = |kind| Incident {
                    at,
                    kind,
                    stream: Some(StreamIx(0)),
                    seq: Some(seq),
                    cause: None,
                };
                counts.total += 1;
                of.sent += 1;
                if self.rng.random_bool(0.01) {
                    book.settle(seq, Outcome::Rejected, Some(at));
                    of.rejected += 1;
                    counts.void += 1;
                    published.failures.push(PublicationFailure {
                        at,
                        stream: StreamIx(0),
                        seq,
                        kind: IncidentKind::Rejected,
                        why: "HTTP 503".to_owned(),
                    });
                    continue;
                }
                book.settle(seq, Outcome::Accepted, Some(at));
                of.accepted += 1;
                if self.rng.random_bool(0.05) {
                    counts.lost += 1;
                    tally.incidents.push(incident(IncidentKind::Lost));
                    report.shortfalls.push((StreamIx(0), seq, Shortfall::Lost));
                } else {
                    counts.delivered += 1;
                    latencies.record(Duration::from_micros(self.rng.random_range(300..90_000)));
                }
                if self.rng.random_bool(0.01) {
                    tally.incidents.push(incident(IncidentKind::Duplicate));
                    let beside = Beside { duplicates: 1, ..Beside::default() };
                    tally.beside.insert(second, beside);
                }
            }
            tally.strata = [(self.stratum, (counts, latencies))].into();
            report.settled_below.push((StreamIx(0), Seq(second + 1)));
            report.tally = tally;
            published.obligations_opened = 1;
            self.gatherer.handle(Fact::Witness(role, Box::new(report)));
            self.gatherer.handle(Fact::Publisher(role, Box::new(published)));
        }
        let now = RunTime::from_millis(1_000 * second + 999);
        if self.rng.random_bool(0.1) {
            let (change, since) = match self.blind.take() {
                Some(since) => (SightChange::Restored, since),
                None => (SightChange::Lost, *self.blind.insert(now)),
            };
            let (witness, cause) = (WitnessIx(0), BlindCause::Network);
            let sight = Sight { witness, since, cause, change };
            let fact = ConnectionFact::Sight(sight);
            self.gatherer.handle(Fact::Connection(New, now, fact));
        }
        if self.rng.random_bool(0.01) {
            self.gatherer.handle(Fact::Taint(second, TaintReason::RuntimeStall));
        }
        self.gatherer.handle(Fact::Vouched(now, Duration::ZERO));
        let closed = self.gatherer.close(now, false);
        self.total.apply(&closed);
        self.total.forget();
        self.rolling.apply(&closed);
        if second.is_multiple_of(60) {
            let window = self.rolling.account();
            let findings = checks::judge(window.figures(), &window.begin().requirements);
            self.course.note(&closed, &window, Verdict::of(&findings));
        }
    }

    /// How much is held, as all of it written out: lists that grow make it longer.
    fn size(&self) -> usize {
        format!("{:?}{:?}{:?}{:?}", self.gatherer, self.total, self.rolling, self.course).len()
    }

    fn series(&self) -> usize {
        let watch = Watch { window: WINDOW, is_current: true, taken: Duration::ZERO };
        let judged = self.rolling.account();
        let (total, watch, ended) = (&self.total, Some(watch), None);
        let page = registry::render(Scrape { total, judged: &judged, watch, ended });
        // It is absent while the last event was uncovered.
        let is_steady = |line: &&str| !line.starts_with('#') && !line.contains("covered_since");
        page.lines().filter(is_steady).count()
    }
}

#[test]
fn a_watch_of_a_day_holds_no_more_than_one_of_some_hours() {
    let mut world = World::new();
    let (mut sizes, mut series) = (Vec::new(), Vec::new());
    for second in 0..24 * 3_600 {
        world.second(second);
        if (second + 1).is_multiple_of(3_600) {
            sizes.push(world.size());
            series.push(world.series());
        }
    }
    println!("held by the hour: {sizes:?}; series: {series:?}");
    // Lists are full by then: of taints for three hours, of the newest incidents and bursts of them.
    let settled = sizes[11];
    for (hour, size) in sizes.iter().enumerate().skip(12) {
        assert!(size.abs_diff(settled) < settled / 10, "hour {hour}: {size}, was {settled}");
    }
    assert!(series.iter().all(|count| *count == series[0]), "{series:?}");
    let window = world.rolling.account();
    assert!(window.figures().clusters[&Old].is_balanced());
    assert_eq!(window.figures().lapped, 0);
    let all = world.total.figures();
    assert_eq!(all.events.covered + all.events.uncovered_total(), 24 * 3_600 - 2);
}

/// A window as [`Rolling`] has it, of nothing but trials and failures, in parts of a tenth.
struct Sliding {
    parts: VecDeque<(u64, u64)>,
    current: (u64, u64),
    seconds: u64,
}

impl Sliding {
    /// Adds a second; what lies in the window with it.
    fn second(&mut self, trials: u64, failures: u64) -> (u64, u64) {
        self.current.0 += trials;
        self.current.1 += failures;
        self.seconds += 1;
        let all = self.parts.iter().chain([&self.current]);
        let sum = all.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        if self.seconds.is_multiple_of(WINDOW.as_secs() / 10) {
            self.parts.push_back(std::mem::take(&mut self.current));
            if self.parts.len() > 10 {
                self.parts.pop_front();
            }
        }
        sum
    }
}

/// Seconds until the next one in which something is lost, by chance.
fn until_loss(rng: &mut SmallRng, chance: f64) -> u64 {
    let uniform = rng.random_range(f64::MIN_POSITIVE..1.0_f64);
    (uniform.ln() / (1.0 - chance).ln()) as u64
}

/// Days of virtual time that each rate is watched for.
const DAYS: u64 = 20;

#[test]
fn the_alarm_is_falsely_go_as_rarely_as_is_documented() {
    const RATE: u64 = 50;
    let limit = 1e-4;
    let mut rng = SmallRng::seed_from_u64(2);
    let documented = std::fs::read_to_string("docs/statistics.md").unwrap();
    // The window holds between 30,000 and 33,000 trials, of which none may fail.
    let needed = stats::trials_needed(limit, 0.95);
    assert!(stats::upper_bound(1, 33_000, 0.95) > limit);
    let mut rows = Vec::new();
    for times in [1.0, 2.0, 3.0, 5.0] {
        let chance = 1.0 - (1.0 - times * limit).powi(50);
        let mut window = Sliding { parts: VecDeque::new(), current: (0, 0), seconds: 0 };
        let (mut spells, mut seconds, mut was_go) = (0_u64, 0_u64, false);
        let mut quiet = until_loss(&mut rng, chance);
        for _ in 0..DAYS * 24 * 3_600 {
            let lost = u64::from(quiet == 0);
            quiet = if lost > 0 { until_loss(&mut rng, chance) } else { quiet - 1 };
            let (trials, failures) = window.second(RATE, lost);
            let is_go = failures == 0 && trials >= needed;
            spells += u64::from(is_go && !was_go);
            seconds += u64::from(is_go);
            was_go = is_go;
        }
        let days = DAYS as f64;
        let share = seconds as f64 / (days * 86_400.0);
        let row = format!(
            "| {times} times the limit | {:.1} | {:.2} % |",
            spells as f64 / days,
            share * 100.0
        );
        println!("{row}");
        rows.push(row);
        // Each look by itself keeps what is promised of one look.
        let promised = 0.05_f64.powf(times);
        assert!(share <= promised * 1.5 + 1e-4, "{share} of {promised}");
    }
    rows.retain(|row| !documented.contains(row));
    assert!(rows.is_empty(), "docs/statistics.md lacks:\n{}", rows.join("\n"));
}
