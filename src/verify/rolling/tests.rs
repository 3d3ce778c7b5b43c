//! A window over parts: whole, what lies in it is what one account says; what has left it is gone.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::model::{ChannelKind, ClusterRole, Seq, StreamIx, WitnessIx};
use crate::verify::checks::{self, Looks};
use crate::verify::fact::{
    ConnectionFact, Control, ControlStatus, Fact, Publications, PublisherReport, Sight,
    SightChange, Traffic, WitnessReport,
};
use crate::verify::figures::Figures;
use crate::verify::gather::Gatherer;
use crate::verify::latency::Sparse;
use crate::verify::record::IncidentNote;
use crate::verify::taint::TaintReason;
use crate::verify::tally::{
    Beside, BlindCause, Epoch, Incident, IncidentKind, Obligations, Route, Stratum, Tally,
};
use crate::verify::testing::begin;
use crate::verify::verdict::Status;

use ClusterRole::{New, Old};

const STRATUM: Stratum =
    Stratum { kind: ChannelKind::Private, route: Route::Trigger, epoch: Epoch::First };

/// A run that is told to one account as a whole, and to a window.
struct Told {
    rng: SmallRng,
    gatherer: Gatherer,
    whole: Account,
    rolling: Rolling,
    /// Obligations that are open on each cluster, as the witness knows them.
    open: BTreeMap<ClusterRole, u64>,
    /// The sums that the gatherer would make of streams.
    sums: BTreeMap<ClusterRole, u64>,
    blind: bool,
    second: u64,
}

impl Told {
    fn new(window: u64, seed: u64) -> Self {
        let mut begin = begin(&ClusterRole::ALL, &[]);
        begin.requirements.looks = Looks::Rolling;
        begin.strata = vec![STRATUM];
        begin.webhooks_refresh = Some(Duration::from_secs(30));
        let mut gatherer = Gatherer::new(&ClusterRole::ALL, Vec::new(), 1).endless(true);
        gatherer.handle(Fact::Begun(RunTime::from_millis(300)));
        Self {
            rng: SmallRng::seed_from_u64(seed),
            gatherer,
            whole: Account::new(begin.clone()),
            rolling: Rolling::new(begin, Duration::from_secs(window)),
            open: BTreeMap::new(),
            sums: BTreeMap::new(),
            blind: false,
            second: 0,
        }
    }

    fn at(&self, ms: u64) -> RunTime {
        RunTime::from_millis(self.second * 1_000 + ms)
    }

    /// Tells whatever may happen in a second.
    fn anything(&mut self) {
        // Controls fire one after the other.
        let control = Control::OF_DELIVERY.get(self.second as usize / 4);
        for control in control.into_iter().copied() {
            self.gatherer.handle(Fact::Control(New, control, ControlStatus::Pass));
        }
        let role = if self.rng.random_bool(0.5) { New } else { Old };
        let (sent, accepted) = (self.rng.random_range(0..9), self.rng.random_range(0..9));
        let counts = Publications { sent, accepted: accepted.min(sent), ..Default::default() };
        let mut published = PublisherReport {
            obligations_opened: sent,
            rate_limit_used: Some(self.rng.random_range(0.0..1.0)),
            ..PublisherReport::default()
        };
        published.publications.insert(Route::Trigger, counts);
        published.durations.record(Duration::from_micros(self.rng.random_range(1..9_000)));
        published.responses.insert(200, accepted);
        self.gatherer.handle(Fact::Publisher(role, Box::new(published)));
        let open = self.open.entry(role).or_default();
        *open += sent;
        let settled = self.rng.random_range(0..=*open);
        *open -= settled;
        let (pending, overdue) = (*open, *open / 3);
        let lost = settled / 5;
        let obligations =
            Obligations { total: sent, delivered: settled - lost, lost, ..Obligations::default() };
        let mut latencies = Sparse::default();
        latencies.record(Duration::from_micros(self.rng.random_range(1..9_000_000)));
        // What is told of a second may be told a little later.
        let of = self.second.saturating_sub(self.rng.random_range(0..2));
        let duplicates = self.rng.random_range(0..3);
        let incident = Incident {
            at: self.at(0),
            kind: IncidentKind::Lost,
            stream: Some(StreamIx(0)),
            seq: Some(Seq(self.second)),
            cause: None,
        };
        let tally = Tally {
            strata: [(STRATUM, (obligations, latencies))].into(),
            beside: [(of, Beside { duplicates, ..Beside::default() })].into(),
            late: [(of, self.rng.random_range(0..3))].into(),
            missed: [((of, BlindCause::Close), self.rng.random_range(0..3))].into(),
            incidents: vec![incident],
            ..Tally::default()
        };
        for witness in [0, 1] {
            let first = witness == 0;
            let report = WitnessReport {
                witness: WitnessIx(witness),
                tally: if first { tally.clone() } else { Tally::default() },
                pending: if first { pending } else { 0 },
                overdue: if first { overdue } else { 0 },
                traffic: Traffic { received: 100, sent: 3 },
                ..WitnessReport::default()
            };
            self.gatherer.handle(Fact::Witness(role, Box::new(report)));
        }
        if self.rng.random_bool(0.2) {
            let change = if self.blind { SightChange::Restored } else { SightChange::Lost };
            self.blind = !self.blind;
            let since = match change {
                SightChange::Lost => self.since().max(self.at(100)),
                _ => self.since(),
            };
            self.sums.insert(Old, since.0);
            let (witness, cause) = (WitnessIx(0), BlindCause::Network);
            let sight = Sight { witness, since, cause, change };
            let fact = ConnectionFact::Sight(sight);
            self.gatherer.handle(Fact::Connection(New, self.at(400), fact));
        }
        if self.rng.random_bool(0.3) {
            let of = self.second.saturating_sub(self.rng.random_range(0..3));
            self.gatherer.handle(Fact::Taint(of, TaintReason::RuntimeStall));
        }
    }

    /// When the window that is open, or was last, began.
    fn since(&self) -> RunTime {
        RunTime(self.sums.get(&Old).copied().unwrap_or_default())
    }

    fn close(&mut self) {
        let now = self.at(1_000);
        self.second += 1;
        self.gatherer.handle(Fact::Vouched(now, Duration::from_millis(self.second % 7)));
        let mut second = self.gatherer.close(now, false);
        // Sums, as they are where there are streams.
        let events = self.second * 3;
        second.events.covered = events;
        second.events.trials = events;
        second.events.covered_until = Some(now);
        second.events.covered_since = (!self.second.is_multiple_of(4)).then_some(now);
        for role in ClusterRole::ALL {
            let cluster = second.clusters.entry(role).or_default();
            cluster.trials.trials = events;
            cluster.trials.publications_lost = self.second / 3;
        }
        self.whole.apply(&second);
        self.rolling.apply(&second);
    }
}

/// Figures that are sums or states, and do not depend on where parts begin.
fn comparable(figures: &Figures) -> Figures {
    let mut figures = figures.clone();
    for cluster in figures.clusters.values_mut() {
        // Slots begin with each part.
        cluster.opening_latencies = Default::default();
        cluster.closing_latencies = Default::default();
        // Two bursts at most are one too many where a part ends within one.
        cluster.trials.incidents = 0;
    }
    figures
}

#[test]
fn a_window_as_long_as_the_run_comes_to_what_the_run_comes_to() {
    // Parts of ten seconds, and of one, within which not even a taint comes to light.
    for (seed, window, seconds) in (0..40).flat_map(|seed| [(seed, 100, 95), (seed, 10, 9)]) {
        let mut told = Told::new(window, seed);
        for second in 0..seconds {
            told.anything();
            told.close();
            let (window, whole) = (told.rolling.account(), &told.whole);
            assert_eq!(
                comparable(window.figures()),
                comparable(whole.figures()),
                "seed {seed}, second {second}"
            );
            assert_eq!(window.incidents(), whole.incidents());
            assert_eq!((window.at(), window.publishing()), (whole.at(), whole.publishing()));
            for ((_, figures, part), (_, _, all)) in window.clusters().zip(whole.clusters()) {
                assert_eq!(part.windows, all.windows, "seed {seed}, second {second}");
                assert_eq!(part.open_windows(), all.open_windows());
                let now = whole.at();
                assert_eq!(part.lengths(figures, now), all.lengths(figures, now));
            }
        }
    }
}

#[test]
fn the_books_of_a_window_balance_wherever_it_begins() {
    for seed in 0..10 {
        let mut told = Told::new(20, seed);
        for second in 0..200 {
            told.anything();
            told.close();
            let window = told.rolling.account();
            for (role, cluster, _) in window.clusters() {
                assert!(cluster.is_balanced(), "{role}, second {second}: {cluster:?}");
                assert_eq!(cluster.pending, told.whole.figures().clusters[&role].pending);
                let in_flight = told.whole.figures().clusters[&role].in_flight();
                assert_eq!(cluster.in_flight(), in_flight, "{role}, second {second}");
            }
            let (first, last) = window.publishing().unwrap();
            let length = last.since(first);
            let (least, most) = (Duration::from_secs(20), Duration::from_secs(22));
            assert!(second < 22 || (least..=most).contains(&length), "{length:?}");
            let seconds = window.figures().seconds;
            let about = length.as_secs()..=length.as_secs() + 2;
            assert!(about.contains(&seconds), "{seconds} of {length:?}");
            assert_eq!(window.figures().events.trials, 3 * seconds.min(second + 1));
        }
    }
}

#[test]
fn what_has_left_the_window_is_judged_no_more_and_what_lasts_still_is() {
    let mut told = Told::new(30, 1);
    let blind = |told: &Told, change| {
        let since = RunTime::from_millis(1_000);
        let sight = Sight { witness: WitnessIx(0), since, cause: BlindCause::Network, change };
        Fact::Connection(New, told.at(10), ConnectionFact::Sight(sight))
    };
    let corrupt = Tally {
        beside: [(2, Beside { corrupt: 1, ..Beside::default() })].into(),
        ..Tally::default()
    };
    let mut story = Vec::new();
    for second in 0..80 {
        match second {
            1 => told.gatherer.handle(blind(&told, SightChange::Lost)),
            2 => {
                let report = WitnessReport { tally: corrupt.clone(), ..WitnessReport::default() };
                told.gatherer.handle(Fact::Witness(New, Box::new(report)));
            }
            70 => told.gatherer.handle(blind(&told, SightChange::Restored)),
            _ => {}
        }
        told.close();
        let window = told.rolling.account();
        let findings = checks::judge(window.figures(), &window.begin().requirements);
        let of = |name: &str| {
            let is_it =
                |f: &&crate::verify::verdict::Finding| f.name == name && f.cluster == Some(New);
            findings.iter().find(is_it).unwrap()
        };
        let is_blind = of("evidence").detail.contains("witnesses cannot see");
        story.push((of("integrity").status == Status::Fail, is_blind));
    }
    let seen = |what: fn(&(bool, bool)) -> bool| {
        let seen: Vec<_> = (0..80).filter(|second| what(&story[*second])).collect();
        (*seen.first().unwrap(), *seen.last().unwrap(), seen.len())
    };
    let (first, last, count) = seen(|(is_corrupt, _)| *is_corrupt);
    assert_eq!(first, 2);
    assert!((31..=35).contains(&last) && count == last - 1, "{last}, {count}");
    // The window of blindness began long before that of judgement, and is seen all the same.
    assert_eq!(seen(|(_, is_blind)| *is_blind), (1, 69, 69));
}

#[test]
fn the_newest_incidents_are_kept_and_know_their_witnesses() {
    let mut told = Told::new(20, 1);
    for second in 0..60_u64 {
        let at = told.at(0);
        let incident = |seq| Incident {
            at,
            kind: IncidentKind::Lost,
            stream: Some(StreamIx(0)),
            seq: Some(Seq(seq)),
            cause: None,
        };
        // The other witness says so a second later, which may be in another part.
        for (witness, of) in [(0, second), (1, second.saturating_sub(1))] {
            let incidents = (0..40).map(|n| incident(of * 40 + n)).collect();
            let tally = Tally { incidents, ..Tally::default() };
            let witness = WitnessIx(witness);
            let report = WitnessReport { witness, tally, ..WitnessReport::default() };
            told.gatherer.handle(Fact::Witness(New, Box::new(report)));
        }
        told.close();
        told.whole.forget();
    }
    for account in [told.rolling.account(), told.whole.clone()] {
        let (incidents, _) = account.incidents();
        let seqs: Vec<_> = incidents.iter().map(|i| i.seq.unwrap().0).collect();
        assert!(seqs.len() <= 1_000 && seqs.len() >= 800, "{}", seqs.len());
        assert_eq!(seqs.last(), Some(&(60 * 40 - 1)));
        assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        let of_both = incidents.iter().filter(|i| i.witnesses == 2).count();
        assert_eq!(of_both, incidents.len() - 40, "all but those of the last second");
    }
    let (_, dropped) = told.whole.incidents();
    assert_eq!(dropped, 60 * 40 - 1_000);
}

#[test]
fn other_limits_judge_what_is_there_already() {
    let mut told = Told::new(60, 1);
    for _ in 0..30 {
        told.close();
    }
    let of = |rolling: &Rolling| {
        let window = rolling.account();
        let asked = &window.begin().requirements;
        let findings = checks::judge(window.figures(), asked);
        findings.into_iter().find(|f| f.name == "loss" && f.cluster == Some(New)).unwrap()
    };
    let mut asked = told.rolling.account().begin().requirements.clone();
    asked.limits.loss_rate_max = 0.001;
    told.rolling.require(&asked, &serde_json::Value::Null);
    let before = of(&told.rolling);
    asked.limits.loss_rate_max = 0.9;
    told.rolling.require(&asked, &serde_json::json!({"gate": 1}));
    let after = of(&told.rolling);
    assert_eq!((before.status, after.status), (Status::Fail, Status::Pass));
    assert_eq!(before.evidence, after.evidence, "nothing is counted anew");
    assert_eq!(told.rolling.account().begin().settings, serde_json::json!({"gate": 1}));
}

#[test]
fn notes_of_incidents_before_the_first_that_is_kept_change_none() {
    let mut told = Told::new(20, 1);
    told.close();
    let note = IncidentNote::Again { place: 3, witnesses: 9, cause: None };
    let second = Second { at: told.at(0), incidents: vec![note], ..Second::default() };
    told.rolling.apply(&second);
    assert_eq!(told.rolling.account().incidents(), (&[][..], 0));
}
