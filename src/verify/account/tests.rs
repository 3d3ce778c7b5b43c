//! What is added up, in whatever order it comes.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::model::{ChannelKind, Seq};
use crate::verify::fact::{
    ConnectionFact, Fact, PublicationFailure, Publications, PublisherReport, WitnessReport,
};
use crate::verify::gather::INCIDENTS_MAX;
use crate::verify::taint::TaintReason;
use crate::verify::tally::{
    Beside, Epoch, Incident, IncidentKind, Obligations, Route, Stratum, Tally,
};
use crate::verify::testing::Story;

use ClusterRole::{New, Old};

const STRATUM: Stratum =
    Stratum { kind: ChannelKind::Private, route: Route::Trigger, epoch: Epoch::First };

fn account() -> Story {
    Story::new(&ClusterRole::ALL, Vec::new())
}

fn begun() -> Story {
    let mut account = account();
    account.apply(Fact::Begun(RunTime::from_millis(5_500)));
    account
}

fn report(witness: u32, tally: Tally) -> Fact {
    let witness = WitnessIx(witness);
    Fact::Witness(New, Box::new(WitnessReport { witness, tally, ..WitnessReport::default() }))
}

fn duplicates(second: u64, duplicates: u64) -> Tally {
    let beside = BTreeMap::from([(second, Beside { duplicates, ..Beside::default() })]);
    let late = BTreeMap::from([(second, duplicates)]);
    Tally { beside, late, ..Tally::default() }
}

fn lost(at: u64, seq: u64) -> Incident {
    let at = RunTime::from_millis(at);
    let (kind, stream) = (IncidentKind::Lost, Some(StreamIx(0)));
    Incident { at, kind, stream, seq: Some(Seq(seq)), cause: None }
}

fn with_incidents(incidents: Vec<Incident>) -> Tally {
    Tally { incidents, ..Tally::default() }
}

/// All figures of the new cluster that a fact can change.
fn figures(story: &Story) -> String {
    let (account, new) = (&story.account, story.figures(New));
    let latencies = &new.latencies;
    format!(
        "{:?} {:?} {:?} {} {} {:?} {} {:?} {:?} {:?} {:?} {}",
        new.obligations_total(),
        new.beside,
        new.publications_total(),
        new.obligations_opened,
        new.in_flight(),
        new.windows,
        latencies.count(),
        latencies.max_ms(),
        new.excused,
        account.tainted,
        new.closed_by_code,
        account.figures.lapped,
    )
}

fn all(story: &Story) -> &Figures {
    story.account.figures()
}

fn random_fact(rng: &mut SmallRng) -> Fact {
    let second = rng.random_range(6..12);
    match rng.random_range(0..4) {
        0 => {
            let mut tally = duplicates(second, rng.random_range(0..4));
            let (obligations, latencies) = tally.strata.entry(STRATUM).or_default();
            obligations.total = rng.random_range(0..9);
            obligations.delivered = 1;
            latencies.record(Duration::from_micros(rng.random_range(1..9_000_000)));
            tally.missed.insert((second, BlindCause::Close), rng.random_range(0..3));
            tally.lapped = rng.random_range(0..2);
            report(rng.random_range(0..3), tally)
        }
        1 => {
            let (sent, accepted) = (rng.random_range(2..9), rng.random_range(0..3));
            let publications = Publications { sent, accepted, ..Publications::default() };
            Fact::Publisher(
                New,
                Box::new(PublisherReport {
                    publications: BTreeMap::from([(Route::Trigger, publications)]),
                    obligations_opened: 2 * sent,
                    unaccepted: [(second, rng.random_range(0..3))].into(),
                    ..PublisherReport::default()
                }),
            )
        }
        2 => {
            let at = RunTime::from_millis(rng.random_range(6_000..9_000));
            let since = RunTime::from_millis(rng.random_range(5_000..6_000));
            let cause = BlindCause::ALL[rng.random_range(0..4)];
            let sight =
                Sight { witness: WitnessIx(0), since, cause, change: SightChange::Restored };
            Fact::Connection(New, at, ConnectionFact::Sight(sight))
        }
        _ => Fact::Taint(second, TaintReason::RuntimeStall),
    }
}

#[test]
fn facts_add_up_in_any_order() {
    let mut rng = SmallRng::seed_from_u64(2);
    for _ in 0..200 {
        let mut facts: Vec<_> = (0..20).map(|_| random_fact(&mut rng)).collect();
        let mut seen = Vec::new();
        for _ in 0..2 {
            let mut account = begun();
            for fact in &facts {
                account.apply(fact.clone());
                if rng.random_bool(0.2) {
                    account.advance(RunTime::from_millis(13_000), false);
                }
            }
            account.advance(RunTime::from_millis(14_000), true);
            seen.push(figures(&account));
            facts.shuffle(&mut rng);
        }
        assert_eq!(seen[0], seen[1]);
    }
}

#[test]
fn what_is_in_flight_is_what_is_sent_and_has_not_ended() {
    let mut account = begun();
    let part = |sent, accepted, rejected, unknown| {
        let counts = Publications { sent, accepted, rejected, unknown, ..Publications::default() };
        let publications = BTreeMap::from([(Route::Trigger, counts)]);
        // Several publishers report, each of what itself has in flight.
        let report = PublisherReport { publications, ..PublisherReport::default() };
        Fact::Publisher(New, Box::new(report))
    };
    account.apply(part(10, 3, 1, 1));
    assert_eq!(account.figures(New).in_flight(), 5);
    account.apply(part(2, 1, 0, 0));
    assert_eq!(account.figures(New).in_flight(), 6);
    account.apply(part(0, 6, 0, 0));
    assert_eq!(account.figures(New).in_flight(), 0);
    account.apply(part(0, 1, 0, 0));
    assert_eq!(account.figures(New).in_flight(), 0, "and never less than nothing");
}

#[test]
fn a_taint_excuses_the_anomalies_of_its_second_whichever_comes_first() {
    for taint_first in [true, false] {
        let mut account = begun();
        let taint = Fact::Taint(7, TaintReason::ClockStep);
        let anomalies = report(0, duplicates(7, 3));
        let (first, second) = if taint_first { (taint, anomalies) } else { (anomalies, taint) };
        account.apply(first);
        account.advance(RunTime::from_millis(8_000), false);
        account.apply(second);
        account.apply(report(0, duplicates(8, 5)));
        for (now, is_end) in [(9_000, false), (30_000, false), (31_000, true)] {
            account.advance(RunTime::from_millis(now), is_end);
            let new = account.figures(New);
            let excused = new.excused;
            assert_eq!((excused.beside.duplicates, excused.late), (3, 3), "at {now}");
            assert_eq!(new.beside.duplicates, 8, "shown all the same");
        }
    }
}

#[test]
fn publications_that_were_not_sent_taint_their_second_and_excuse_nothing_in_it() {
    for (reasons, excused) in [
        (&[TaintReason::Unsent][..], 0),
        (&[TaintReason::RuntimeStall], 3),
        (&[TaintReason::Unsent, TaintReason::RuntimeStall], 3),
    ] {
        let mut account = begun();
        account.apply(report(0, duplicates(7, 3)));
        for reason in reasons {
            account.apply(Fact::Taint(7, *reason));
        }
        account.advance(RunTime::from_millis(9_000), false);
        for is_end in [false, true] {
            account.advance(RunTime::from_millis(9_000), is_end);
            let of = account.figures(New).excused;
            assert_eq!((of.beside.duplicates, of.late), (excused, excused), "{reasons:?}");
            assert_eq!(all(&account).tainted_seconds, 1);
        }
    }
}

#[test]
fn anomalies_of_a_second_long_past_are_excused_too() {
    let mut account = begun();
    account.apply(Fact::Taint(7, TaintReason::ClockStep));
    account.advance(RunTime::from_millis(60_000), false);
    // A copy that was held until its publication was answered.
    account.apply(report(0, duplicates(7, 1)));
    account.advance(RunTime::from_millis(61_000), false);
    let excused = account.figures(New).excused;
    assert_eq!(excused.beside.duplicates, 1);
}

#[test]
fn before_publishing_begins_nothing_is_tainted_and_no_second_counts() {
    let mut account = account();
    account.apply(Fact::Taint(7, TaintReason::RuntimeStall));
    let vouched = |ms| Fact::Vouched(RunTime::from_millis(ms), Duration::from_secs(1));
    account.apply(vouched(7_500));
    account.advance(RunTime::from_millis(8_000), false);
    assert_eq!((all(&account).tainted_seconds, all(&account).seconds), (0, 0));
    account.apply(Fact::Begun(RunTime::from_millis(8_500)));
    account.apply(Fact::Taint(7, TaintReason::RuntimeStall));
    assert_eq!((all(&account).tainted_seconds, all(&account).seconds), (0, 1));
    assert_eq!(all(&account).stall_max, Duration::ZERO);
    account.apply(Fact::Taint(8, TaintReason::RuntimeStall));
    account.apply(Fact::Taint(8, TaintReason::ClockStep));
    account.apply(Fact::Taint(8, TaintReason::ClockStep));
    account.apply(vouched(9_000));
    account.advance(RunTime::from_millis(10_600), false);
    account.advance(RunTime::from_millis(9_000), false);
    assert_eq!((all(&account).tainted_seconds, all(&account).seconds), (1, 3));
    assert_eq!(all(&account).observed(), Duration::from_millis(1_100));
    // What is only waited makes no tainted second look small.
    account.apply(Fact::Published(RunTime::from_millis(11_500)));
    account.apply(Fact::Taint(40, TaintReason::RuntimeStall));
    account.advance(RunTime::from_millis(60_000), false);
    assert_eq!((all(&account).seconds, all(&account).tainted_seconds), (4, 1));
    assert_eq!(all(&account).observed(), Duration::from_secs(2));
    assert_eq!(all(&account).stall_max, Duration::from_secs(1));
    let reasons: Vec<_> = all(&account).taint_reasons.clone().into_iter().collect();
    assert_eq!(reasons, [(TaintReason::RuntimeStall, 1), (TaintReason::ClockStep, 1)]);
}

#[test]
fn incidents_of_one_event_at_several_witnesses_become_one() {
    let mut account = begun();
    account.apply(report(0, with_incidents(vec![lost(100, 1), lost(200, 2)])));
    account.apply(report(1, with_incidents(vec![lost(100, 1)])));
    // The same witness again says nothing new, as with a third copy of one event.
    account.apply(report(1, with_incidents(vec![lost(100, 1)])));
    // Another cluster, another kind: another incident.
    let late = Incident { kind: IncidentKind::Late, ..lost(100, 1) };
    account.apply(report(1, with_incidents(vec![late])));
    let old = WitnessReport { tally: with_incidents(vec![lost(100, 1)]), ..Default::default() };
    account.apply(Fact::Witness(Old, Box::new(old)));
    let (incidents, dropped) = account.account.incidents();
    let shown: Vec<_> =
        incidents.iter().map(|i| (i.cluster, i.kind, i.seq.unwrap().0, i.witnesses)).collect();
    let (lost, late) = (IncidentKind::Lost, IncidentKind::Late);
    assert_eq!(shown, [(New, lost, 1, 2), (New, lost, 2, 1), (New, late, 1, 1), (Old, lost, 1, 1)]);
    assert_eq!(dropped, 0);
    // What has no event of its own stays by itself.
    let corrupt = Incident { stream: None, seq: None, kind: IncidentKind::Corrupt, ..late_of(3) };
    account.apply(report(0, with_incidents(vec![corrupt, corrupt])));
    assert_eq!(account.account.incidents().0.len(), 6);
}

fn late_of(seq: u64) -> Incident {
    Incident { kind: IncidentKind::Late, ..lost(300, seq) }
}

#[test]
fn the_first_incidents_are_kept_and_the_rest_is_counted() {
    let mut account = begun();
    let many = |from: u64| (from..from + 600).map(|seq| lost(seq, seq)).collect();
    account.apply(report(0, with_incidents(many(0))));
    account.apply(report(0, Tally { incidents_dropped: 5, ..with_incidents(many(600)) }));
    let failure = PublicationFailure {
        at: RunTime::ZERO,
        stream: StreamIx(0),
        seq: Seq(0),
        kind: IncidentKind::Rejected,
        why: "HTTP 413".to_owned(),
    };
    let failures = vec![failure];
    let rejected = PublisherReport { failures, failures_dropped: 7, ..PublisherReport::default() };
    account.apply(Fact::Publisher(New, Box::new(rejected)));
    let (incidents, dropped) = account.account.incidents();
    assert_eq!((incidents.len(), dropped), (INCIDENTS_MAX, 200 + 5 + 1 + 7));
    assert_eq!(incidents[999].seq, Some(Seq(999)));
    // One that is known gains a witness all the same.
    account.apply(report(1, with_incidents(vec![lost(0, 0)])));
    assert_eq!(account.account.incidents().0[0].witnesses, 2);
}

#[test]
fn the_books_balance_by_the_witnesses_own_count_of_what_is_pending() {
    let mut account = begun();
    let tally = |total, delivered| {
        let obligations = Obligations { total, delivered, ..Obligations::default() };
        let strata = BTreeMap::from([(STRATUM, (obligations, Default::default()))]);
        Tally { strata, ..Tally::default() }
    };
    let of = |witness, pending, overdue, tally| {
        let witness = WitnessIx(witness);
        let report = WitnessReport { witness, tally, pending, overdue, ..Default::default() };
        Fact::Witness(New, Box::new(report))
    };
    account.apply(of(0, 2, 1, tally(5, 3)));
    account.apply(of(1, 4, 4, tally(4, 0)));
    let new = account.figures(New);
    assert_eq!((new.pending, new.overdue, new.is_balanced()), (6, 5, true));
    account.apply(of(1, 0, 0, tally(0, 4)));
    let new = account.figures(New);
    assert_eq!((new.pending, new.overdue, new.is_balanced()), (2, 1, true));
    // Settled without being opened, or forgotten: it shows, and nothing overflows.
    account.apply(of(0, 0, 0, tally(0, 9)));
    let new = account.figures(New);
    assert_eq!((new.pending, new.is_balanced()), (0, false));
}

#[test]
fn blind_windows_are_added_up_by_cause() {
    let mut account = begun();
    let (cause, other, network) = (BlindCause::Close, BlindCause::Agent, BlindCause::Network);
    let at = RunTime::from_millis;
    use SightChange::{Lost, NotRestored, Restored};
    for (witness, now, since, cause, change) in [
        (0, 6_000, 6_000, cause, Lost),
        (0, 9_000, 6_000, cause, Restored),
        (0, 9_500, 9_500, cause, Lost),
        (0, 9_600, 9_500, cause, Restored),
        (0, 9_700, 9_700, other, Lost),
        (1, 9_700, 9_650, other, Lost),
        (1, 9_800, 9_650, network, NotRestored),
    ] {
        let (witness, since) = (WitnessIx(witness), at(since));
        let sight = Sight { witness, since, cause, change };
        account.apply(Fact::Connection(New, at(now), ConnectionFact::Sight(sight)));
    }
    let (figures, blind) = (account.figures(New), &account.account.clusters[&New]);
    let began = figures.windows.iter().map(|(cause, w)| (*cause, w.began));
    assert_eq!(began.collect::<BTreeMap<_, _>>(), [(cause, 2), (other, 1), (network, 1)].into());
    assert_eq!(figures.windows_total().ended, 2);
    assert_eq!(blind.open_windows(), 2);
    let ms = Duration::from_millis;
    let lengths = [(cause, ms(3_100)), (network, ms(150)), (other, ms(0))].into();
    assert_eq!(blind.lengths(figures, at(9_800)), lengths);
    let longest = |ms| blind.longest(figures, at(ms));
    assert_eq!((longest(9_800), longest(19_650)), (ms(3_000), ms(10_000)));
    let shown: Vec<_> = blind.windows.iter().map(|w| (w.witness.0, w.until, w.cause)).collect();
    assert_eq!(
        shown,
        [
            (0, Some(at(9_000)), cause),
            (0, Some(at(9_600)), cause),
            (0, None, other),
            (1, None, network)
        ]
    );
}

#[test]
fn losing_a_connection_is_an_incident_unless_the_agent_wished_it() {
    let mut account = begun();
    let lost = |code, cause| ConnectionFact::Lost {
        code,
        cause,
        why: "closed".to_owned(),
        of_witness: true,
    };
    let at = RunTime::from_millis(6_000);
    for fact in [
        lost(Some(4200), BlindCause::Close),
        lost(None, BlindCause::Network),
        lost(None, BlindCause::Agent),
    ] {
        account.apply(Fact::Connection(Old, at, fact));
    }
    let old = account.figures(Old);
    assert_eq!(old.closed_by_code, [(4200, 1)].into());
    assert_eq!((old.given_up, old.recycled), (1, 1));
    let kinds: Vec<_> = account.account.incidents().0.iter().map(|i| i.kind).collect();
    assert_eq!(kinds, [IncidentKind::Disconnected; 2]);
}
