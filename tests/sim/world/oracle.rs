//! What should have been found, from the links' record alone. It shares nothing with the ledgers: it
//! looks at everything at the end, and decides each obligation by its definition.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pusher_canary::model::{RunTime, Seq};
use pusher_canary::verify::fact::Publications;
use pusher_canary::verify::tally::Beside;

use super::TALLY;
use super::options::ENCRYPTED;
use super::record::{End, Known, Line, Sent, What};

/// What a witness should have found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    pub total: u64,
    pub delivered: u64,
    pub late: u64,
    pub void: u64,
    /// Which were delivered or late; a ledger only counts them.
    pub arrived: BTreeSet<(usize, Seq)>,
    pub lost: BTreeSet<(usize, Seq)>,
    /// By whether the agent alone is to blame.
    pub missed: BTreeMap<(usize, Seq), bool>,
    pub beside: Beside,
}

/// What one cluster should have come to, joined over its witnesses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterJoint {
    pub publications: Publications,
    pub opened: u64,
    pub total: u64,
    pub trials: u64,
    pub lost: u64,
    pub partially_lost: u64,
}

/// What both clusters should have come to together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Joint {
    pub covered: u64,
    /// By cause.
    pub uncovered: BTreeMap<&'static str, u64>,
    pub unsent: u64,
    /// All that were tried on both, lost on old alone, on new alone, on both.
    pub pairs: [u64; 4],
    pub covered_since: Option<RunTime>,
    pub covered_until: Option<RunTime>,
    pub clusters: Vec<ClusterJoint>,
}

impl Account {
    fn got(&self, which: (usize, Seq)) -> bool {
        self.arrived.contains(&which)
    }

    /// Each count by its name.
    pub fn counts(&self) -> [(&'static str, u64); 15] {
        let Beside {
            duplicates,
            replayed,
            reordered,
            unordered,
            corrupt,
            misrouted,
            unexpected,
            foreign,
            after_horizon,
        } = self.beside;
        [
            ("total", self.total),
            ("delivered", self.delivered),
            ("late", self.late),
            ("void", self.void),
            ("lost", self.lost.len() as u64),
            ("missed offline", self.missed.len() as u64),
            ("duplicates", duplicates),
            ("replayed", replayed),
            ("reordered", reordered),
            ("unordered", unordered),
            ("corrupt", corrupt),
            ("misrouted", misrouted),
            ("unexpected", unexpected),
            ("foreign", foreign),
            ("after the horizon", after_horizon),
        ]
    }
}

/// How two accounts differ: names, what was expected and what was found.
pub fn differing(expected: &Account, found: &Account) -> Vec<String> {
    let counts = expected.counts().into_iter().zip(found.counts());
    let counts = counts.filter(|((_, expected), (_, found))| expected != found);
    let counts =
        counts.map(|((name, expected), (_, found))| format!("{name} {expected} not {found}"));
    let lost =
        expected.lost.symmetric_difference(&found.lost).map(|which| format!("lost {which:?}"));
    let all: BTreeSet<_> = expected.missed.keys().chain(found.missed.keys()).collect();
    let missed = all.into_iter().filter_map(|which| {
        let (expected, found) = (expected.missed.get(which), found.missed.get(which));
        (expected != found).then(|| format!("missed {which:?} by us: {expected:?} not {found:?}"))
    });
    counts.chain(lost).chain(missed).collect()
}

/// What is the same for all of a cluster's witnesses.
pub struct Setting<'a> {
    /// The channel of each stream.
    pub channels: &'a [String],
    pub deadline: Duration,
    pub horizon: Duration,
    pub sent: &'a [Sent],
}

/// A time in which a witness saw nothing of a channel.
struct Window {
    from: RunTime,
    until: RunTime,
    /// Whether nobody but the agent wished it.
    is_ours: bool,
}

/// What one witness got.
#[derive(Default)]
struct Got {
    beside: Beside,
    /// First copies by the horizon.
    first: BTreeMap<(usize, Seq), RunTime>,
    /// The place of each channel's first confirmation.
    since: BTreeMap<String, u64>,
    blind: BTreeMap<String, Vec<Window>>,
}

/// The accounts of a cluster's witnesses, from the record of each.
pub fn accounts(setting: &Setting<'_>, records: &[&[Line]]) -> Vec<Account> {
    let got: Vec<_> = records.iter().map(|record| follow(setting, record)).collect();
    let seen: BTreeSet<_> = got.iter().flat_map(|got| got.first.keys().copied()).collect();
    got.iter().map(|got| judge(setting, got, &seen)).collect()
}

fn judge(setting: &Setting<'_>, got: &Got, seen: &BTreeSet<(usize, Seq)>) -> Account {
    let mut account = Account { beside: got.beside, ..Account::default() };
    for sent in setting.sent.iter().filter(|sent| sent.end != End::Unsent) {
        let channel = &setting.channels[sent.stream];
        // What was published before the first confirmation is owed to nobody.
        if got.since.get(channel).is_none_or(|since| sent.order < *since) {
            continue;
        }
        let which = (sent.stream, sent.seq);
        let due = sent.at.after(setting.deadline);
        account.total += 1;
        if sent.end == End::Rejected || (sent.end == End::Unknown && !seen.contains(&which)) {
            account.void += 1;
        } else if let Some(at) = got.first.get(&which) {
            let in_time = at.since(sent.at) <= setting.deadline;
            account.delivered += u64::from(in_time);
            account.late += u64::from(!in_time);
            account.arrived.insert(which);
        } else {
            let windows = got.blind.get(channel).into_iter().flatten();
            let mut beside =
                windows.filter(|window| window.from < due && window.until > sent.at).peekable();
            if beside.peek().is_none() {
                account.lost.insert(which);
                continue;
            }
            // It is decided at the first tally behind the horizon. Had it been let, it would have
            // been back by then.
            let tally = u64::try_from(TALLY.as_nanos()).unwrap();
            let horizon = sent.at.after(setting.horizon);
            let decided = RunTime((horizon.0 / tally + 1) * tally);
            let is_ours = beside.all(|window| window.is_ours && window.until <= decided);
            account.missed.insert(which, is_ours);
        }
    }
    account
}

/// What both clusters come to together, from the accounts of the witnesses of each.
pub fn joint(sides: &[(Setting<'_>, Vec<Account>)]) -> Joint {
    let mut joint = Joint { clusters: sides.iter().map(cluster).collect(), ..Joint::default() };
    for place in 0..sides[0].0.sent.len() {
        let of: Vec<_> =
            sides.iter().map(|(setting, all)| side(&setting.sent[place], all)).collect();
        let at = sides[0].0.sent[place].at;
        if let [Some(old), Some(new)] = [of[0].tried, of[1].tried] {
            joint.pairs[0] += 1;
            match (old, new) {
                (true, false) => joint.pairs[1] += 1,
                (false, true) => joint.pairs[2] += 1,
                (true, true) => joint.pairs[3] += 1,
                (false, false) => {}
            }
        }
        joint.covered_until = Some(at);
        // The first of these that befell it on either cluster is its cause.
        let causes = ["rejected", "void", "lost", "missed_offline"].into_iter();
        let mut causes = causes.filter(|cause| of.iter().any(|side| side.cause == Some(*cause)));
        if let Some(cause) = causes.next() {
            *joint.uncovered.entry(cause).or_default() += 1;
            joint.covered_since = None;
        } else if of.iter().any(|side| side.is_unsent) {
            joint.unsent += 1;
        } else {
            joint.covered += 1;
            joint.covered_since.get_or_insert(at);
        }
    }
    joint
}

/// How a publication came out on one cluster.
struct Side {
    is_unsent: bool,
    /// Why the event is uncovered there, if it is.
    cause: Option<&'static str>,
    /// Whether a witness lost it, where one could have.
    tried: Option<bool>,
}

fn side(sent: &Sent, witnesses: &[Account]) -> Side {
    let which = (sent.stream, sent.seq);
    let got = witnesses.iter().filter(|witness| witness.got(which)).count();
    let lost = witnesses.iter().filter(|witness| witness.lost.contains(&which)).count();
    let missed = |ours: bool| witnesses.iter().any(|w| w.missed.get(&which) == Some(&ours));
    let is_taken = match sent.end {
        End::Accepted => true,
        End::Unknown => witnesses.iter().any(|witness| witness.got(which)),
        End::Rejected | End::Unsent => false,
    };
    let cause = match sent.end {
        End::Unsent => None,
        End::Rejected => Some("rejected"),
        _ if !is_taken => Some("void"),
        _ if lost > 0 => Some("lost"),
        _ if missed(false) || got == 0 => Some("missed_offline"),
        _ => None,
    };
    let tried = (is_taken && got + lost > 0).then_some(lost > 0);
    Side { is_unsent: sent.end == End::Unsent, cause, tried }
}

fn cluster((setting, witnesses): &(Setting<'_>, Vec<Account>)) -> ClusterJoint {
    let mut joint = ClusterJoint::default();
    for sent in setting.sent {
        let which = (sent.stream, sent.seq);
        let is_seen = witnesses.iter().any(|witness| witness.got(which));
        let counts = &mut joint.publications;
        match sent.end {
            End::Unsent => {
                counts.unsent += 1;
                continue;
            }
            End::Accepted => counts.accepted += 1,
            End::Rejected => counts.rejected += 1,
            End::Unknown => {
                counts.unknown += 1;
                counts.recovered += u64::from(is_seen);
                counts.void += u64::from(!is_seen);
            }
        }
        counts.sent += 1;
        joint.opened += witnesses.len() as u64;
        let came_out = side(sent, witnesses);
        joint.trials += u64::from(came_out.tried.is_some());
        if came_out.tried == Some(true) {
            joint.lost += u64::from(!is_seen);
            joint.partially_lost += u64::from(is_seen);
        }
    }
    joint.total = witnesses.iter().map(|witness| witness.total).sum();
    joint
}

/// Goes through what a witness was handed.
fn follow(setting: &Setting<'_>, record: &[Line]) -> Got {
    let mut got = Got::default();
    let by_seq: BTreeMap<_, _> = setting.sent.iter().map(|s| ((s.stream, s.seq), s)).collect();
    let (mut heard, mut is_first) = (RunTime::ZERO, BTreeMap::<String, RunTime>::new());
    let mut confirmed = BTreeMap::<String, RunTime>::new();
    let mut came_late = BTreeSet::new();
    for Line { order, at, what } in record {
        if !matches!(what, What::Gone | What::Blame { .. }) {
            heard = *at;
        }
        match what {
            What::Other => {}
            What::Malformed => got.beside.corrupt += 1,
            What::Confirmed(channel) => {
                got.since.entry(channel.clone()).or_insert(*order);
                confirmed.insert(channel.clone(), *at);
                if channel.contains("cache-") {
                    is_first.insert(channel.clone(), *at);
                }
                if let Some(window) = got.blind.entry(channel.clone()).or_default().last_mut()
                    && window.until == RunTime::NEVER
                {
                    window.until = *at;
                }
            }
            What::Gone => {
                is_first.clear();
                for (channel, since) in &confirmed {
                    let windows = got.blind.entry(channel.clone()).or_default();
                    if windows.last().is_none_or(|window| window.until != RunTime::NEVER) {
                        let (from, until) = (heard.max(*since), RunTime::NEVER);
                        windows.push(Window { from, until, is_ours: true });
                    }
                }
            }
            What::Blame { is_ours } => {
                let open = got.blind.values_mut().filter_map(|windows| windows.last_mut());
                for window in open.filter(|window| window.until == RunTime::NEVER) {
                    window.is_ours &= is_ours;
                }
            }
            What::Canary(channel, known) => {
                let replayed_to = is_first.remove(channel);
                let (stream, seq) = match known {
                    None => {
                        got.beside.corrupt += 1;
                        continue;
                    }
                    Some(Known::Foreign) => {
                        got.beside.foreign += 1;
                        continue;
                    }
                    Some(Known::Event(stream, seq)) => (*stream, *seq),
                };
                // Sealed for one channel, or not at all, it cannot be read on another.
                let published_on = &setting.channels[stream];
                if (channel == ENCRYPTED) != (published_on == ENCRYPTED) {
                    got.beside.corrupt += 1;
                    continue;
                }
                if published_on != channel {
                    got.beside.misrouted += 1;
                    continue;
                }
                let sent = by_seq[&(stream, seq)];
                let was_owed = got.since.get(channel).is_some_and(|since| sent.order > *since);
                if matches!(sent.end, End::Rejected | End::Unsent) {
                    got.beside.unexpected += 1;
                } else if replayed_to.is_some_and(|confirmed| confirmed > sent.at) {
                    got.beside.replayed += 1;
                } else if !was_owed {
                    got.beside.after_horizon += 1;
                } else if got.first.contains_key(&(stream, seq)) || !came_late.insert((stream, seq))
                {
                    got.beside.duplicates += 1;
                } else if at.since(sent.at) > setting.horizon {
                    got.beside.after_horizon += 1;
                } else {
                    came_late.remove(&(stream, seq));
                    let later: Vec<_> = got
                        .first
                        .keys()
                        .filter(|(of, other)| *of == stream && *other > seq)
                        .map(|which| by_seq[which])
                        .collect();
                    let answered = sent.answered.filter(|(when, _)| when < order);
                    let overtakes =
                        |later: &&Sent| answered.is_some_and(|(_, answered)| later.at > answered);
                    if later.iter().any(overtakes) {
                        got.beside.reordered += 1;
                    } else if !later.is_empty() {
                        got.beside.unordered += 1;
                    }
                    got.first.insert((stream, seq), *at);
                }
            }
        }
    }
    got
}
