//! Negative controls: what is done to the agent's own deliveries between socket and ledger, and
//! what the ledger must find of it. Pure.
//!
//! A round is a handful of events on a stream of its own, published one after the other. Each is
//! tampered with by its place in the round. They reach a ledger that nothing else reaches, so they
//! never enter the figures.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{RunTime, Seq, StreamIx};

use super::envelope::Envelope;
use super::fact::Control;
use super::tally::{Incident, IncidentKind};

/// The event name of control events.
pub const EVENT: &str = "pc-control";
/// The stream of control events, on each cluster.
pub const STREAM: StreamIx = StreamIx(u32::MAX);
/// Events of one round.
pub const ROUND_EVENTS: u64 = 7;

/// Most rounds: what did not fire for a passing reason is tried again.
pub const ROUNDS_MAX: u64 = 3;

/// Places in a round. That of the first is left alone.
const WITHHELD: u64 = 1;
const REPEATED: u64 = 2;
const SWAPPED: u64 = 3;
const SWAPPED_WITH: u64 = 4;
const DAMAGED: u64 = 5;
const HELD_BACK: u64 = 6;

/// A delivery to hand to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The envelope as text.
    pub text: String,
    /// When it counts as received.
    pub at: RunTime,
}

/// Tampers with deliveries.
#[derive(Debug)]
pub struct Tamper {
    /// For how long a delivery is held back: past the deadline, and not to the horizon.
    hold: Duration,
    /// Deliveries that wait for the one after them, each with its seq.
    swapped: Vec<(Seq, String)>,
    /// Deliveries that are held back until an instant.
    held: Vec<(RunTime, String)>,
}

impl Tamper {
    /// Tampers with deliveries that have this deadline and this horizon.
    pub fn new(deadline: Duration, horizon: Duration) -> Self {
        let margin = (horizon.saturating_sub(deadline) / 2).min(Duration::from_secs(1));
        Self { hold: deadline + margin, swapped: Vec::new(), held: Vec::new() }
    }

    /// A control event came at `now`: what of it reaches the ledger at once.
    pub fn handle_delivery(&mut self, text: &str, now: RunTime) -> Vec<Delivery> {
        let deliver = |text: &str| Delivery { text: text.to_owned(), at: now };
        let Some(envelope) = Envelope::decode(text) else { return vec![deliver(text)] };
        let Seq(seq) = envelope.seq;
        match seq % ROUND_EVENTS {
            WITHHELD => Vec::new(),
            REPEATED => vec![deliver(text), deliver(text)],
            SWAPPED => {
                self.swapped.push((envelope.seq, text.to_owned()));
                Vec::new()
            }
            SWAPPED_WITH => {
                let first = self.swapped.iter().position(|(waiting, _)| waiting.0 + 1 == seq);
                let first = first.map(|at| self.swapped.swap_remove(at).1);
                std::iter::once(deliver(text)).chain(first.as_deref().map(deliver)).collect()
            }
            DAMAGED => vec![deliver(&text.replacen(r#""at":"#, r#""at":1"#, 1))],
            HELD_BACK => {
                self.held.push((now.after(self.hold), text.to_owned()));
                Vec::new()
            }
            _ => vec![deliver(text)],
        }
    }

    /// What was held back for long enough.
    pub fn release(&mut self, now: RunTime) -> Vec<Delivery> {
        let (due, held) = self.held.drain(..).partition(|(until, _)| *until <= now);
        self.held = held;
        let due: Vec<(RunTime, String)> = due;
        due.into_iter().map(|(_, text)| Delivery { text, at: now }).collect()
    }
}

/// Which controls fired, by what the ledger found.
#[derive(Debug, Default)]
pub struct Proofs {
    fired: BTreeSet<Control>,
}

impl Proofs {
    /// The ledger found this: the control that it proves, if it is the first time.
    pub fn handle_incident(&mut self, incident: &Incident) -> Option<Control> {
        let place = incident.seq.map(|seq| seq.0 % ROUND_EVENTS);
        let control = match (incident.kind, place) {
            (IncidentKind::Lost, Some(WITHHELD)) => Control::SeesLoss,
            (IncidentKind::Duplicate, Some(REPEATED)) => Control::SeesDuplicate,
            (IncidentKind::Reordered, Some(SWAPPED)) => Control::SeesReordering,
            // What is damaged tells no seq.
            (IncidentKind::Corrupt, None) => Control::SeesCorruption,
            (IncidentKind::Late, Some(HELD_BACK)) => Control::SeesLateness,
            _ => return None,
        };
        self.fired.insert(control).then_some(control)
    }

    /// Whether all that a ledger can prove is proven.
    pub fn is_complete(&self) -> bool {
        let by_others = [Control::SeesRefusal, Control::HearsNothing];
        Control::OF_DELIVERY.iter().all(|c| by_others.contains(c) || self.fired.contains(c))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::model::{ChannelKind, ClusterRole, RunId, WitnessIx};
    use crate::verify::book::{Book, Outcome};
    use crate::verify::ledger::{Config, Ledger, StreamSpec};
    use crate::verify::tally::Route;

    const RUN: RunId = RunId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00ab));
    const DEADLINE: Duration = Duration::from_secs(1);
    const HORIZON: Duration = Duration::from_secs(3);

    /// Every event of a round, delivered by the cluster after a millisecond but for `lost`.
    fn round(lost: Option<u64>, tampers: bool) -> BTreeSet<Control> {
        let book = Arc::new(Book::new(16));
        let config = Config {
            run: RUN,
            cluster: ClusterRole::New,
            witness: WitnessIx(0),
            deadline: DEADLINE,
            horizon: HORIZON,
            follows: false,
        };
        let spec =
            StreamSpec { stream: STREAM, channel: 0, route: Route::Trigger, book: book.clone() };
        let mut ledger = Ledger::new(config, &[ChannelKind::Public], vec![spec]);
        let mut tamper = Tamper::new(DEADLINE, HORIZON);
        let mut proofs = Proofs::default();
        let ms = RunTime::from_millis;
        ledger.handle_subscribed(0, ms(0));
        for n in 0..ROUND_EVENTS {
            let sent = ms(10 * n + 10);
            let seq = book.reserve(n, sent, false);
            book.stamp_sent(seq, sent, false);
            book.settle(seq, Outcome::Accepted, Some(ms(10 * n + 12)));
            let envelope =
                Envelope { run: RUN, cluster: ClusterRole::New, stream: STREAM, seq, at_us: 1 };
            let text = envelope.encode(200);
            let came = ms(10 * n + 11);
            let deliveries = match (lost == Some(n), tampers) {
                (true, _) => Vec::new(),
                (false, true) => tamper.handle_delivery(&text, came),
                (false, false) => vec![Delivery { text, at: came }],
            };
            for Delivery { text, at } in deliveries {
                ledger.handle_delivery(0, Some(&text), at);
            }
        }
        let mut fired = BTreeSet::new();
        for now in (0..=60).map(|n| ms(100 * n)) {
            for Delivery { text, at } in tamper.release(now) {
                ledger.handle_delivery(0, Some(&text), at);
            }
            ledger.handle_heard(now);
            ledger.advance(now);
            let report = ledger.take_report();
            fired.extend(report.tally.incidents.iter().filter_map(|i| proofs.handle_incident(i)));
        }
        assert_eq!(ledger.pending(), 0);
        assert_eq!(proofs.is_complete(), fired.len() == 5);
        fired
    }

    #[test]
    fn each_thing_done_to_a_delivery_is_found_as_what_it_is() {
        let all = [
            Control::SeesLoss,
            Control::SeesLateness,
            Control::SeesDuplicate,
            Control::SeesReordering,
            Control::SeesCorruption,
        ];
        assert_eq!(round(None, true), all.into());
    }

    #[test]
    fn where_nothing_is_done_no_control_fires() {
        assert_eq!(round(None, false), BTreeSet::new());
    }

    #[test]
    fn what_the_cluster_itself_loses_proves_nothing() {
        for (lost, control) in [
            (REPEATED, Control::SeesDuplicate),
            (SWAPPED, Control::SeesReordering),
            (DAMAGED, Control::SeesCorruption),
            (HELD_BACK, Control::SeesLateness),
        ] {
            let fired = round(Some(lost), true);
            assert_eq!(fired.len(), 4, "{control:?}");
            assert!(!fired.contains(&control), "{control:?}");
        }
    }
}
