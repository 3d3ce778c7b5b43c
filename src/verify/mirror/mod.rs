//! The application's real events, as both clusters carried them: matched, and what finds no match
//! accused, where both witnesses saw enough to say so.
//!
//! Copies of one event are matched on each channel by the event's name and its id, or else its
//! content, within a window; copies without an id one by one, so that as many find no match as
//! there are more of them on one cluster. A copy without a match is judged when the window is over,
//! and only if the witness on the other cluster was subscribed all the while, began to be so well
//! before, and has proved alive since. All else is unobservable.

pub mod identity;
mod report;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{ClusterRole, RunTime};

use identity::{Digest, Identity};

pub use report::{Defect, MirrorReport, Outcome, Place};

/// Pairs of a channel that the order of later ones is compared with.
const ORDERED_MAX: usize = 64;
/// Events closer than this have no order: an application that publishes from several processes
/// makes none.
const ORDER_GAP: Duration = Duration::from_millis(250);

/// What a matcher goes by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How far apart the two copies of one event may arrive.
    pub window: Duration,
    /// How long before a copy the other witness must have been subscribed.
    pub guard: Duration,
    /// Copies that are kept in mind at most, of all channels together.
    pub kept_max: usize,
}

/// A copy of an event at the witness of one cluster.
#[derive(Clone, Copy, Debug)]
pub struct Copy<'a> {
    /// The cluster.
    pub role: ClusterRole,
    /// The channel's name.
    pub channel: &'a str,
    /// The event's name.
    pub event: &'a str,
    /// What the event is known by.
    pub identity: Identity,
    /// When it came.
    pub at: RunTime,
}

/// One value for each cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Both<T> {
    old: T,
    new: T,
}

impl<T> Both<T> {
    const fn of(&mut self, role: ClusterRole) -> &mut T {
        match role {
            ClusterRole::Old => &mut self.old,
            ClusterRole::New => &mut self.new,
        }
    }

    const fn get(&self, role: ClusterRole) -> &T {
        match role {
            ClusterRole::Old => &self.old,
            ClusterRole::New => &self.new,
        }
    }
}

/// How well one cluster's witness of a channel sees.
#[derive(Clone, Debug, Default)]
struct Sight {
    /// Since when it has been subscribed without a break; `None` while it is not.
    since: Option<RunTime>,
    /// The last instant at which its connection proved alive.
    alive: RunTime,
}

/// The copies of what may be one event, or of several that look alike.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Copies without a match, the oldest first, with their contents.
    open: Both<VecDeque<(RunTime, Digest)>>,
    /// Whether there was one at all.
    seen: Both<bool>,
    /// Until when copies may lack a match because a witness missed one that looks like them.
    doubtful_until: RunTime,
    /// When the last copy came.
    last: RunTime,
}

/// An event's name with its id or its content: the first part says which.
type Key = (bool, Digest, Arc<str>);

#[derive(Debug, Default)]
struct Channel {
    sight: Both<Sight>,
    known: BTreeMap<Key, Known>,
    /// The latest pairs: when each copy came.
    pairs: VecDeque<Both<RunTime>>,
    /// Whether a pair was ever found.
    carries_both: bool,
}

/// Something to look at when its time has come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// Whether this copy found a match.
    Open { channel: Arc<str>, key: Key, role: ClusterRole, at: RunTime },
    /// Whether the copies of this key can be forgotten.
    Forget { channel: Arc<str>, key: Key },
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Mirror {
    rules: Rules,
    channels: BTreeMap<Arc<str>, Channel>,
    /// What to look at, by time and by the order in which it was noted.
    due: BTreeMap<(RunTime, u64), Due>,
    noted: u64,
    /// Keys that are kept in mind.
    kept: usize,
    /// The last copy that found no room.
    left_out: Option<RunTime>,
    report: MirrorReport,
}

impl Mirror {
    /// One that watches nothing yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            channels: BTreeMap::new(),
            due: BTreeMap::new(),
            noted: 0,
            kept: 0,
            left_out: None,
            report: MirrorReport::default(),
        }
    }

    /// The witness of this cluster is subscribed to the channel from `at` on.
    pub fn note_subscribed(&mut self, role: ClusterRole, channel: &str, at: RunTime) {
        let channel = match self.channels.get_mut(channel) {
            Some(known) => known,
            None => self.channels.entry(channel.into()).or_default(),
        };
        *channel.sight.of(role) = Sight { since: Some(at), alive: at };
    }

    /// The connection of this cluster's witness of the channel was alive at `at`.
    pub fn note_alive(&mut self, role: ClusterRole, channel: &str, at: RunTime) {
        if let Some(channel) = self.channels.get_mut(channel) {
            let alive = &mut channel.sight.of(role).alive;
            *alive = at.max(*alive);
        }
    }

    /// The witness of this cluster is not subscribed any more: it is known to have been until
    /// `last_alive`. Nobody knows what it missed since.
    pub fn note_blind(&mut self, role: ClusterRole, channel: &str, last_alive: RunTime) {
        let Rules { window, .. } = self.rules;
        let Some(channel) = self.channels.get_mut(channel) else { return };
        channel.sight.of(role).since = None;
        // What looks like a copy whose match may have been missed may be taken for it later.
        for known in channel.known.values_mut() {
            let latest = known.open.get(role.other()).back().map(|(at, _)| *at);
            if let Some(at) = latest.filter(|at| at.after(window) > last_alive) {
                known.doubtful_until = known.doubtful_until.max(at.after(2 * window));
            }
        }
    }

    /// The channel is not watched any more, on neither cluster.
    pub fn forget(&mut self, channel: &str) {
        let Some(channel) = self.channels.remove(channel) else { return };
        self.kept -= channel.known.len();
        for known in channel.known.values() {
            let open = known.open.old.len() + known.open.new.len();
            self.report.add(Outcome::Unobservable, open as u64);
        }
    }

    /// A copy came.
    pub fn note_copy(&mut self, copy: &Copy<'_>) {
        let Copy { role, channel: name, event, identity, at } = *copy;
        let Rules { window, guard, kept_max } = self.rules;
        let Some((name, channel)) = self.channels.get_key_value(name) else { return };
        let (name, carries_both) = (Arc::clone(name), channel.carries_both);
        let Some(channel) = self.channels.get_mut(&name) else { return };
        let digest = identity.id.unwrap_or(identity.content);
        let key: Key = (identity.id.is_some(), digest, event.into());
        if !channel.known.contains_key(&key) {
            if self.kept >= kept_max {
                self.left_out = Some(at.max(self.left_out.unwrap_or_default()));
                self.report.left_out += 1;
                return;
            }
            self.kept += 1;
            let forget = Due::Forget { channel: Arc::clone(&name), key: key.clone() };
            push(&mut self.due, &mut self.noted, at.after(3 * window), forget);
        }
        let known = channel.known.entry(key.clone()).or_default();
        known.last = at;
        let sees = |sight: &Sight| sight.since.is_some_and(|since| since.after(guard) <= at);
        let (is_seen_here, is_seen_there) =
            (sees(channel.sight.get(role)), sees(channel.sight.get(role.other())));
        if !is_seen_there {
            known.doubtful_until = known.doubtful_until.max(at.after(2 * window));
        }
        if identity.id.is_some() && std::mem::replace(known.seen.of(role), true) {
            // After a break a cluster may repeat what it cached.
            if is_seen_here {
                self.report.note(&name, event, Outcome::Duplicated, Some(role), at);
            } else {
                self.report.add(Outcome::Unobservable, 1);
            }
            return;
        }
        // Of several that look alike it is the latest: were it the oldest, one that was missed
        // would push all that come after it along for ever.
        let others = known.open.of(role.other());
        let is_ambiguous = others.len() > 1;
        let Some((before, content)) = others.pop_back() else {
            known.open.of(role).push_back((at, identity.content));
            let open = Due::Open { channel: name, key, role, at };
            push(&mut self.due, &mut self.noted, at.after(window), open);
            return;
        };
        channel.carries_both = true;
        if !carries_both {
            self.report.carried.push(Arc::clone(&name));
        }
        let mut pair = Both { old: before, new: before };
        *pair.of(role) = at;
        self.report.note_skew(pair.old, pair.new);
        if content == identity.content {
            self.report.add(Outcome::Mirrored, 1);
        } else {
            self.report.note(&name, event, Outcome::Altered, None, at);
        }
        if is_ambiguous {
            return;
        }
        let is_overtaken = channel.pairs.iter().any(|other| is_reordered(&pair, other));
        if is_overtaken {
            self.report.note(&name, event, Outcome::Reordered, None, at);
        }
        channel.pairs.push_back(pair);
        if channel.pairs.len() > ORDERED_MAX {
            channel.pairs.pop_front();
        }
    }

    /// Time has passed: judges what is due.
    pub fn advance(&mut self, now: RunTime) {
        while let Some(first) = self.due.first_entry()
            && first.key().0 < now
        {
            match first.remove() {
                Due::Open { channel, key, role, at } => self.judge(channel, key, role, at, now),
                Due::Forget { channel, key } => self.forget_key(channel, key, now),
            }
        }
    }

    /// What became known since the last time.
    pub fn take_report(&mut self) -> MirrorReport {
        self.report.kept = self.kept as u64;
        std::mem::take(&mut self.report)
    }

    /// Judges a copy whose window is over.
    fn judge(&mut self, name: Arc<str>, key: Key, role: ClusterRole, at: RunTime, now: RunTime) {
        let Rules { window, guard, .. } = self.rules;
        let Some(channel) = self.channels.get_mut(&name) else { return };
        let Some(known) = channel.known.get_mut(&key) else { return };
        let open = known.open.of(role);
        let Some(place) = open.iter().position(|(open, _)| *open == at) else { return };
        let sight = channel.sight.get(role.other());
        let sees = sight.since.is_some_and(|since| since.after(guard) <= at);
        let is_left_out = self.left_out.is_some_and(|last| last.after(window) >= at);
        let is_doubtful = !sees || at <= known.doubtful_until || is_left_out;
        if !is_doubtful && sight.alive < at.after(window) {
            // Nobody knows yet whether that connection is alive.
            let again = Due::Open { channel: name, key, role, at };
            push(&mut self.due, &mut self.noted, now.after(window / 10), again);
            return;
        }
        open.remove(place);
        let outcome = match role {
            _ if is_doubtful => Outcome::Unobservable,
            ClusterRole::Old => Outcome::OnlyOnOld,
            ClusterRole::New => Outcome::OnlyOnNew,
        };
        if is_doubtful {
            self.report.add(outcome, 1);
        } else {
            self.report.note(&name, &key.2, outcome, Some(role.other()), at);
        }
    }

    /// Forgets what has had no copy for so long that another one is another event.
    fn forget_key(&mut self, name: Arc<str>, key: Key, now: RunTime) {
        let window = self.rules.window;
        let Some(channel) = self.channels.get_mut(&name) else { return };
        let Some(known) = channel.known.get(&key) else { return };
        let until = known.last.after(3 * window).max(known.doubtful_until);
        let is_open = !known.open.old.is_empty() || !known.open.new.is_empty();
        if is_open || until > now {
            let forget = Due::Forget { channel: name, key };
            push(&mut self.due, &mut self.noted, until.max(now.after(window)), forget);
        } else {
            channel.known.remove(&key);
            self.kept -= 1;
        }
    }
}

fn push(due: &mut BTreeMap<(RunTime, u64), Due>, noted: &mut u64, at: RunTime, what: Due) {
    due.insert((at, *noted), what);
    *noted += 1;
}

/// Whether two events came in one order on old, and in the other on new.
fn is_reordered(one: &Both<RunTime>, other: &Both<RunTime>) -> bool {
    let before = |a: RunTime, b: RunTime| a.after(ORDER_GAP) < b;
    (before(one.old, other.old) && before(other.new, one.new))
        || (before(other.old, one.old) && before(one.new, other.new))
}
