//! Literal accounts that make each check pass, fail and stay open; whole findings are compared.

mod conduct;
mod drain;
mod endpoint;
mod findings;
mod handover;
mod latencies;
mod load;
mod mirror;
mod status_page;
mod verdicts;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::model::{ChannelKind, ChannelName, RunTime, Seq, StreamIx, WitnessIx};
use crate::verify::book::{Book, Outcome};
use crate::verify::coverage::{SideSpec, StreamInfo};
use crate::verify::fact::{
    ConnectPhases, ConnectionFact, Control, ControlStatus, Fact, Publications, PublisherReport,
    Shortfall, Sight, SightChange, WitnessReport,
};
use crate::verify::latency::Sparse;
use crate::verify::taint::TaintReason;
use crate::verify::tally::{Beside, BlindCause, Epoch, Obligations, Route, Stratum, Tally};
use crate::verify::testing::{Story, limits};
use crate::verify::verdict::Verdict;

use ClusterRole::{New, Old};
use Status::{Fail, Inconclusive, Pass};

const STRATUM: Stratum =
    Stratum { kind: ChannelKind::Private, route: Route::Trigger, epoch: Epoch::First };

fn asked(phase: Phase) -> Requirements {
    Requirements { phase, role: MemberRole::Both, looks: Looks::Once, limits: limits() }
}

/// A run of one witness on each cluster, from second 0 on, a hundred seconds long.
struct Run {
    story: Story,
    roles: Vec<ClusterRole>,
    books: BTreeMap<(usize, ClusterRole), Arc<Book>>,
    witnesses: u32,
}

impl Run {
    fn on(roles: &[ClusterRole], streams: &[(&str, Route)], witnesses: u32) -> Self {
        let mut books = BTreeMap::new();
        let mut stream = |(at, (channel, route)): (usize, &(&str, Route))| StreamInfo {
            channel: ChannelName::new(*channel).unwrap(),
            route: *route,
            sides: roles
                .iter()
                .map(|role| {
                    let book = Arc::new(Book::new(1 << 12));
                    books.insert((at, *role), Arc::clone(&book));
                    let witnesses = (0..witnesses).map(WitnessIx).collect();
                    SideSpec { role: *role, book, witnesses }
                })
                .collect(),
        };
        let streams = streams.iter().enumerate().map(&mut stream).collect();
        let mut story = Story::new(roles, streams);
        story.apply(Fact::Begun(RunTime::ZERO));
        Self { story, roles: roles.to_vec(), books, witnesses }
    }

    fn new() -> Self {
        Self::on(&ClusterRole::ALL, &[("private-a", Route::Trigger)], 1)
    }

    fn end(&mut self) -> &mut Self {
        self.story.advance(RunTime::from_millis(99_999), true);
        self
    }

    fn tally(&mut self, role: ClusterRole, tally: Tally) {
        self.report(role, WitnessReport { tally, ..WitnessReport::default() });
    }

    fn report(&mut self, role: ClusterRole, report: WitnessReport) {
        self.story.apply(Fact::Witness(role, Box::new(report)));
    }

    fn obligations(&mut self, role: ClusterRole, obligations: Obligations) {
        let strata = BTreeMap::from([(STRATUM, (obligations, Sparse::default()))]);
        self.tally(role, Tally { strata, ..Tally::default() });
    }

    fn delivered(&mut self, role: ClusterRole, delivered: u64) {
        self.obligations(role, Obligations { total: delivered, delivered, ..Default::default() });
    }

    fn beside(&mut self, role: ClusterRole, second: u64, beside: Beside) {
        let beside = BTreeMap::from([(second, beside)]);
        self.tally(role, Tally { beside, ..Tally::default() });
    }

    /// So many deliveries, the first of them after one millisecond, each of the others after
    /// `step` more.
    fn latencies(&mut self, role: ClusterRole, count: u64, step: Duration) {
        let mut latencies = Sparse::default();
        for n in 0..count {
            latencies.record(Duration::from_millis(1) + step * u32::try_from(n).unwrap());
        }
        let strata = BTreeMap::from([(STRATUM, (Obligations::default(), latencies))]);
        self.tally(role, Tally { strata, ..Tally::default() });
    }

    fn publications(&mut self, role: ClusterRole, counts: Publications, obligations_opened: u64) {
        let publications = BTreeMap::from([(Route::Trigger, counts)]);
        let report = PublisherReport { publications, obligations_opened, ..Default::default() };
        self.story.apply(Fact::Publisher(role, Box::new(report)));
    }

    fn connection(&mut self, role: ClusterRole, fact: ConnectionFact) {
        self.story.apply(Fact::Connection(role, RunTime::from_millis(1), fact));
    }

    fn taint(&mut self, seconds: std::ops::Range<u64>) {
        for second in seconds {
            self.story.apply(Fact::Taint(second, TaintReason::RuntimeStall));
        }
    }

    /// A whole life of one stream: so many events accepted everywhere, the first `lost` of them
    /// lost by every witness on `lossy`, the others delivered at once.
    fn live(&mut self, stream: usize, events: u64, lost: u64, lossy: ClusterRole) {
        for role in self.roles.clone() {
            let book = Arc::clone(&self.books[&(stream, role)]);
            for n in 0..events {
                let seq = book.reserve(n, RunTime::from_millis(n), false);
                book.settle(seq, Outcome::Accepted, Some(RunTime::from_millis(n + 1)));
            }
            let lost = if role == lossy { lost } else { 0 };
            let (channel, route) = self.stream(stream);
            let stratum = Stratum { kind: channel, route, epoch: Epoch::First };
            let ix = StreamIx(stream as u32);
            for witness in 0..self.witnesses {
                let delivered = events - lost;
                let counts = Obligations { total: events, delivered, lost, ..Default::default() };
                let strata = BTreeMap::from([(stratum, (counts, Sparse::default()))]);
                self.deliver_over_time(role, stratum, delivered);
                let report = WitnessReport {
                    witness: WitnessIx(witness),
                    tally: Tally { strata, ..Tally::default() },
                    settled_below: vec![(ix, Seq(events))],
                    shortfalls: (0..lost).map(|n| (ix, Seq(n), Shortfall::Lost)).collect(),
                    ..WitnessReport::default()
                };
                self.report(role, report);
            }
            let counts = Publications { sent: events, accepted: events, ..Default::default() };
            self.publications(role, counts, events * u64::from(self.witnesses));
            self.answers(role, events, Duration::from_millis(2));
        }
    }

    /// So many deliveries of 5 ms each, a tenth of them in every tenth of the run.
    fn deliver_over_time(&mut self, role: ClusterRole, stratum: Stratum, delivered: u64) {
        for tenth in 0..10 {
            let mut latencies = Sparse::default();
            let (from, to) = (delivered * tenth / 10, delivered * (tenth + 1) / 10);
            (from..to).for_each(|_| latencies.record(Duration::from_millis(5)));
            let strata = BTreeMap::from([(stratum, (Obligations::default(), latencies))]);
            self.story.advance(RunTime::from_millis(tenth * 10_000), false);
            self.tally(role, Tally { strata, ..Tally::default() });
        }
        self.story.advance(RunTime::ZERO, false);
    }

    /// So many publications were answered, each after `took`.
    fn answers(&mut self, role: ClusterRole, count: u64, took: Duration) {
        let mut report = PublisherReport::default();
        (0..count).for_each(|_| report.durations.record(took));
        self.story.apply(Fact::Publisher(role, Box::new(report)));
    }

    /// Every control fires, and after the run nothing is left behind.
    fn prove(&mut self) {
        for role in self.roles.clone() {
            for control in Control::OF_DELIVERY {
                self.story.apply(Fact::Control(role, control, ControlStatus::Pass));
            }
            self.story.apply(Fact::LeftBehind(role, Some(0)));
        }
    }

    fn sight_lost(&mut self, role: ClusterRole, witness: u32, since: RunTime, cause: BlindCause) {
        let (witness, change) = (WitnessIx(witness), SightChange::Lost);
        self.connection(role, ConnectionFact::Sight(Sight { witness, since, cause, change }));
    }

    fn stream(&self, stream: usize) -> (ChannelKind, Route) {
        let planned = self.story.account.channel(StreamIx(stream as u32)).unwrap().kind();
        (planned, if stream == 0 { Route::Trigger } else { Route::Batch })
    }

    fn connect(&mut self) {
        for role in self.roles.clone() {
            let phases = ConnectPhases { connect: Duration::from_millis(3), ..Default::default() };
            self.connection(role, ConnectionFact::Ready { phases: Some(phases), expires: None });
            let took = Duration::from_millis(1);
            self.connection(role, ConnectionFact::Authorized { took: Some(took), confirmed: true });
        }
        self.prove();
    }

    /// A run of which every check approves.
    fn good() -> Self {
        let mut run = Self::new();
        run.connect();
        run.live(0, 400, 0, New);
        run
    }

    fn judge(&mut self, phase: Phase) -> Vec<Finding> {
        self.end();
        judge(self.story.account.figures(), &asked(phase))
    }

    fn verdict(&mut self, phase: Phase) -> Verdict {
        Verdict::of(&self.judge(phase))
    }

    fn finding(&mut self, name: &str, cluster: Option<ClusterRole>) -> Finding {
        self.finding_by(name, cluster, &asked(Phase::DualPublish))
    }

    fn finding_by(
        &mut self,
        name: &str,
        cluster: Option<ClusterRole>,
        asked: &Requirements,
    ) -> Finding {
        self.end();
        let found = judge(self.story.account.figures(), asked);
        let mut found = found.into_iter().filter(|f| f.name == name && f.cluster == cluster);
        let finding = found.next().unwrap();
        assert_eq!(found.next(), None, "each check ends once");
        finding
    }
}

/// Every phase that publishes.
fn publishing() -> impl Iterator<Item = Phase> {
    Phase::ALL.into_iter().filter(|phase| phase.publishes())
}

fn default<T: Default>() -> T {
    T::default()
}

#[test]
fn percentages_are_rounded_so_that_what_is_said_of_them_stays_true() {
    for (ratio, below, near, above) in [
        (0.0, "0 %", "0 %", "0 %"),
        (0.000_656_747, "0.065 %", "0.066 %", "0.066 %"),
        (0.000_664, "0.066 %", "0.066 %", "0.067 %"),
        (0.000_1, "0.010 %", "0.010 %", "0.010 %"),
        (0.000_5, "0.050 %", "0.050 %", "0.050 %"),
        (0.049_99, "4.9 %", "5.0 %", "5.0 %"),
        (0.125, "12 %", "13 %", "13 %"),
        (0.2, "20 %", "20 %", "20 %"),
        (0.5, "50 %", "50 %", "50 %"),
        (0.95, "95 %", "95 %", "95 %"),
        (0.999, "99.9 %", "99.9 %", "99.9 %"),
        (0.998_54, "99.85 %", "99.85 %", "99.86 %"),
        (0.999_99, "99.999 %", "99.999 %", "99.999 %"),
        (1.0, "100 %", "100 %", "100 %"),
    ] {
        assert_eq!(
            (&*percent_below(ratio), &*percent(ratio), &*percent_above(ratio)),
            (below, near, above)
        );
    }
}
