//! The application's real events, as both clusters carried them: matched, and what finds no match
//! accused, where both witnesses saw enough to say so.
//!
//! Copies are laid side by side on each channel by the event's name and its id, or else its
//! content: each to the nearest in time on the other cluster, at most a window away. Nothing is
//! decided before every copy that might lie nearer must have come, which is two windows after its
//! own. What is left over is judged only if both witnesses were subscribed for a window before it
//! and, on the other cluster, for one behind it, with a connection that has proved alive since, and
//! if no second of that time is tainted. All else is unobservable.
//!
//! Whoever drives it hands over a connection's copies before its signs of life, and its breaks
//! before the next subscription.

mod figures;
pub mod identity;
mod report;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::time::nanos;
use crate::model::{ClusterRole, RunTime};

use super::taint::Tainted;
use identity::{Digest, Identity};

pub use figures::MirrorFigures;
pub use report::{Defect, MirrorReport, Outcome};

/// Pairs of a channel that the order of later ones is compared with.
const ORDERED_MAX: usize = 64;
/// Events closer than this have no order: an application that publishes from several processes
/// makes none.
const ORDER_GAP: Duration = Duration::from_millis(250);
/// Windows for which an id is remembered after its last pair or accusation: a copy that comes
/// within them is a further one, and no event of its own.
const REMEMBERED_WINDOWS: u32 = 6;

/// Contents of one id that are remembered on each cluster.
const CONTENTS_MAX: usize = 16;

/// What a matcher goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// How far apart the two copies of one event may arrive, in nanoseconds.
    #[serde(with = "nanos")]
    pub window: Duration,
    /// Copies and ids that are kept in mind at most, of all channels together.
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

/// When one cluster's witness of a channel saw.
#[derive(Clone, Debug, Default)]
struct Sight {
    /// Since when it has been subscribed without a break; `None` while it is not.
    since: Option<RunTime>,
    /// The last instant at which its connection proved alive.
    alive: RunTime,
    /// From when to when it saw before its last break.
    before: Option<(RunTime, RunTime)>,
}

impl Sight {
    /// Whether it saw from a window before `at` until `until`; `None` if that is not known yet.
    fn saw(&self, at: RunTime, window: Duration, until: RunTime) -> Option<bool> {
        let begins = |since: RunTime| since.after(window) <= at;
        if self.before.is_some_and(|(since, last)| begins(since) && last >= until) {
            return Some(true);
        }
        match self.since {
            Some(since) if begins(since) => (self.alive >= until).then_some(true),
            _ => Some(false),
        }
    }
}

/// A copy without a match yet: which of all it is, when it came, and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    number: u64,
    at: RunTime,
    content: Digest,
}

/// The copies of what may be one event, or of several that look alike.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Copies without a match, in the order of their coming.
    open: Both<VecDeque<Open>>,
    /// When the last copy came that was paired or accused.
    settled: Option<RunTime>,
    /// What each cluster carried in those, lately.
    carried: Both<VecDeque<Digest>>,
}

impl Known {
    /// The copy of `role` that lies nearest to another one of the other cluster, at most a window
    /// away: the same content before another, which only an id can have.
    fn nearest(&self, role: ClusterRole, to: Open, window: Duration) -> Option<Open> {
        let away = |open: &Open| (open.content != to.content, distance(open.at, to.at), open.at);
        let near = self.open.get(role).iter().filter(|open| distance(open.at, to.at) <= window);
        near.min_by_key(|open| away(open)).copied()
    }

    /// A copy that is open still.
    fn find(&self, role: ClusterRole, number: u64) -> Option<Open> {
        self.open.get(role).iter().find(|open| open.number == number).copied()
    }

    /// Finds a copy's match, and those that must find theirs first because they lie nearer; says
    /// whether it has one.
    fn pair_up(
        &mut self,
        role: ClusterRole,
        this: Open,
        window: Duration,
    ) -> (Vec<Both<Open>>, bool) {
        let mut pairs = Vec::new();
        loop {
            let Some((mine, other)) = mutually_nearest(self, role, this, window) else {
                return (pairs, false);
            };
            self.remove(role, mine);
            self.remove(role.other(), other);
            let mut pair = Both { old: other, new: other };
            *pair.of(role) = mine;
            pairs.push(pair);
            if mine.number == this.number {
                return (pairs, true);
            }
        }
    }

    fn remove(&mut self, role: ClusterRole, open: Open) {
        self.open.of(role).retain(|other| other.number != open.number);
    }

    /// Remembers a pair.
    fn note_pair(&mut self, pair: &Both<Open>) {
        ClusterRole::ALL.into_iter().for_each(|role| self.note_carried(role, *pair.get(role)));
    }

    /// Remembers what a cluster carried.
    fn note_carried(&mut self, role: ClusterRole, open: Open) {
        self.settled = Some(open.at.max(self.settled.unwrap_or_default()));
        let carried = self.carried.of(role);
        carried.push_back(open.content);
        if carried.len() > CONTENTS_MAX {
            carried.pop_front();
        }
    }

    fn has_open(&self) -> bool {
        !self.open.old.is_empty() || !self.open.new.is_empty()
    }
}

fn distance(one: RunTime, other: RunTime) -> Duration {
    one.since(other).max(other.since(one))
}

/// An event's name with its id or its content: the first part says which.
type Key = (bool, Digest, Arc<str>);

#[derive(Debug, Default)]
struct Channel {
    sight: Both<Sight>,
    /// The time of the latest events that could not be opened.
    unreadable: Both<Option<(RunTime, RunTime)>>,
    known: BTreeMap<Key, Known>,
    /// The latest pairs: when each copy came.
    pairs: VecDeque<Both<RunTime>>,
    /// Whether a pair was ever found.
    carries_both: bool,
}

/// Something to look at when its time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Due {
    /// Whether this copy has found a match, or finds one now.
    Judge { channel: Arc<str>, key: Key, role: ClusterRole, number: u64 },
    /// Whether this id can be forgotten.
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
    /// Copies and ids that are kept in mind.
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
        let sight = channel.sight.of(role);
        (sight.since, sight.alive) = (Some(at), at);
    }

    /// The connection of this cluster's witness of the channel was alive at `at`.
    pub fn note_alive(&mut self, role: ClusterRole, channel: &str, at: RunTime) {
        if let Some(channel) = self.channels.get_mut(channel) {
            let alive = &mut channel.sight.of(role).alive;
            *alive = at.max(*alive);
        }
    }

    /// The witness of this cluster is not subscribed any more. Nobody knows what it has missed
    /// since its connection last proved alive.
    pub fn note_blind(&mut self, role: ClusterRole, channel: &str) {
        if let Some(channel) = self.channels.get_mut(channel) {
            let sight = channel.sight.of(role);
            if let Some(since) = sight.since.take() {
                sight.before = Some((since, sight.alive));
            }
        }
    }

    /// The channel is not watched any more, on neither cluster: what has come by now is all that
    /// will come.
    fn forget(&mut self, name: &Arc<str>) {
        self.pair_the_rest(name);
        let Some(channel) = self.channels.remove(name) else { return };
        for (key, known) in &channel.known {
            let open = known.open.old.len() + known.open.new.len();
            self.kept -= open + usize::from(key.0);
            self.report.add(Outcome::Unobservable, open as u64);
        }
    }

    /// An encrypted event came on this cluster that its key does not open: nobody can say which of
    /// the other cluster's it is.
    pub fn note_unreadable(&mut self, role: ClusterRole, channel: &str, at: RunTime) {
        let Some(channel) = self.channels.get_mut(channel) else { return };
        *self.report.unreadable.entry(role).or_default() += 1;
        let unreadable = channel.unreadable.of(role);
        let is_near = |until: RunTime| until.after(4 * self.rules.window) >= at;
        *unreadable = match *unreadable {
            Some((from, until)) if is_near(until) => Some((from, at.max(until))),
            _ => Some((at, at)),
        };
    }

    /// Matches what is open on a channel on which nothing will come any more.
    fn pair_the_rest(&mut self, name: &Arc<str>) {
        let Some(channel) = self.channels.get(name) else { return };
        let of = |(key, known): (&Key, &Known)| {
            let old = known.open.old.iter().map(|open| (open.at, key.clone(), open.number));
            old.collect::<Vec<_>>()
        };
        let mut open: Vec<_> = channel.known.iter().flat_map(of).collect();
        open.sort();
        for (_, key, number) in open {
            let Some(channel) = self.channels.get_mut(name) else { return };
            let Some(known) = channel.known.get_mut(&key) else { continue };
            let Some(this) = known.find(ClusterRole::Old, number) else { continue };
            let (pairs, _) = known.pair_up(ClusterRole::Old, this, self.rules.window);
            for pair in pairs {
                self.pair(name, &key, &pair);
            }
        }
    }

    /// A copy came.
    pub fn note_copy(&mut self, copy: &Copy<'_>) {
        let Copy { role, channel: name, event, identity, at } = *copy;
        let Some((name, _)) = self.channels.get_key_value(name) else { return };
        let name = Arc::clone(name);
        let Some(channel) = self.channels.get_mut(&name) else { return };
        // A whole one at most: an id to remember, and the copy.
        if self.kept + 2 > self.rules.kept_max {
            self.left_out = Some(at.max(self.left_out.unwrap_or_default()));
            self.report.left_out += 1;
            return;
        }
        let has_id = identity.id.is_some();
        let key: Key = (has_id, identity.id.unwrap_or(identity.content), event.into());
        let known = channel.known.entry(key.clone()).or_insert_with(|| {
            self.kept += usize::from(has_id);
            Known::default()
        });
        let number = self.noted;
        known.open.of(role).push_back(Open { number, at, content: identity.content });
        self.kept += 1;
        let judge = Due::Judge { channel: name, key, role, number };
        self.note_due(at.after(2 * self.rules.window), judge);
    }

    /// Time has passed: judges what is due. Whatever was tainted until `now` is known.
    pub fn advance(&mut self, now: RunTime, tainted: &Tainted) {
        while let Some(first) = self.due.first_entry()
            && first.key().0 < now
        {
            match first.remove() {
                Due::Judge { channel, key, role, number } => {
                    self.judge(&channel, &key, role, number, (now, tainted));
                }
                Due::Forget { channel, key } => self.forget_id(&channel, &key, now),
            }
        }
    }

    /// Nothing will come any more: what is open can be judged by nobody.
    pub fn finish(&mut self) {
        let names: Vec<_> = self.channels.keys().cloned().collect();
        for name in names {
            self.forget(&name);
        }
        self.due.clear();
    }

    /// Forgets every channel but these.
    pub fn retain(&mut self, watched: &BTreeSet<&str>) {
        let gone = self.channels.keys().filter(|name| !watched.contains(&***name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.forget(&name);
        }
    }

    /// Clients sent so many events on this cluster. They reach no other one, whatever the
    /// application does.
    pub fn note_client_events(&mut self, role: ClusterRole, count: u64) {
        *self.report.client_events.entry(role).or_default() += count;
    }

    /// What became known since the last time.
    pub fn take_report(&mut self) -> MirrorReport {
        self.report.kept = self.kept as u64;
        std::mem::take(&mut self.report)
    }

    fn note_due(&mut self, at: RunTime, what: Due) {
        self.due.insert((at, self.noted), what);
        self.noted += 1;
    }

    /// Matches a copy, and judges it if it has no match.
    fn judge(
        &mut self,
        name: &Arc<str>,
        key: &Key,
        role: ClusterRole,
        number: u64,
        (now, tainted): (RunTime, &Tainted),
    ) {
        let window = self.rules.window;
        let Some(channel) = self.channels.get_mut(name) else { return };
        let Some(known) = channel.known.get_mut(key) else { return };
        // It may be the nearest to one that was judged before it.
        let Some(this) = known.find(role, number) else { return };
        let (pairs, is_matched) = known.pair_up(role, this, window);
        for pair in pairs {
            self.pair(name, key, &pair);
        }
        if !is_matched {
            self.judge_lone(name, key, role, this, (now, tainted));
        }
        self.tidy(name, key);
    }

    /// Counts two copies of one event.
    fn pair(&mut self, name: &Arc<str>, key: &Key, pair: &Both<Open>) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let Some(known) = channel.known.get_mut(key) else { return };
        let later = pair.old.at.max(pair.new.at);
        self.kept -= 2;
        known.note_pair(pair);
        if !channel.carries_both {
            channel.carries_both = true;
            self.report.carried.push(name.as_ref().to_owned());
        }
        self.report.note_skew(pair.old.at, pair.new.at);
        if pair.old.content == pair.new.content {
            self.report.add(Outcome::Mirrored, 1);
        } else {
            self.report.note(name, &key.2, Outcome::Altered, None, later);
        }
        // Of events that look alike nobody knows which is which.
        if !key.0 {
            return;
        }
        let times = Both { old: pair.old.at, new: pair.new.at };
        if channel.pairs.iter().any(|other| is_reordered(&times, other)) {
            self.report.note(name, &key.2, Outcome::Reordered, None, later);
        }
        channel.pairs.push_back(times);
        if channel.pairs.len() > ORDERED_MAX {
            channel.pairs.pop_front();
        }
    }

    /// Judges a copy that has no match, if it can be known by now.
    fn judge_lone(
        &mut self,
        name: &Arc<str>,
        key: &Key,
        role: ClusterRole,
        this: Open,
        (now, tainted): (RunTime, &Tainted),
    ) {
        let window = self.rules.window;
        let Some(channel) = self.channels.get_mut(name) else { return };
        let (here, there) = (channel.sight.get(role), channel.sight.get(role.other()));
        let is_left_out = self.left_out.is_some_and(|last| last.after(window) >= this.at);
        let mut seconds = this.at.second()..=this.at.after(window).second();
        let is_left_out = is_left_out || seconds.any(|second| tainted.excuses(second));
        let is_near = |(from, until): (RunTime, RunTime)| {
            this.at.after(window) >= from && until.after(window) >= this.at
        };
        let is_left_out = is_left_out || channel.unreadable.get(role.other()).is_some_and(is_near);
        // After its own break, a cluster may repeat what it cached.
        let here = here.saw(this.at, window, this.at);
        let there = there.saw(this.at, window, this.at.after(window));
        let seen = if is_left_out { Some(false) } else { here.zip(there).map(|(a, b)| a && b) };
        let is_blind = here == Some(false) || there == Some(false);
        let Some(is_seen) = seen.or(is_blind.then_some(false)) else {
            // Nobody knows yet whether that connection is alive.
            let (channel, key, number) = (Arc::clone(name), key.clone(), this.number);
            self.note_due(now.after(window / 10), Due::Judge { channel, key, role, number });
            return;
        };
        let Some(known) = channel.known.get_mut(key) else { return };
        known.remove(role, this);
        self.kept -= 1;
        if !is_seen {
            self.report.add(Outcome::Unobservable, 1);
            return;
        }
        // Under one id, a cluster that has carried this very content carries it again.
        let is_further = key.0 && known.carried.get(role).contains(&this.content);
        let (outcome, cluster) = match role {
            _ if is_further => (Outcome::Duplicated, role),
            ClusterRole::Old => (Outcome::OnlyOnOld, ClusterRole::New),
            ClusterRole::New => (Outcome::OnlyOnNew, ClusterRole::Old),
        };
        known.note_carried(role, this);
        self.report.note(name, &key.2, outcome, Some(cluster), this.at);
    }

    /// Forgets a key of which nothing is open any more; an id only after a while.
    fn tidy(&mut self, name: &Arc<str>, key: &Key) {
        let remembered = REMEMBERED_WINDOWS * self.rules.window;
        let Some(channel) = self.channels.get_mut(name) else { return };
        let Some(known) = channel.known.get(key) else { return };
        if known.has_open() {
            return;
        }
        match known.settled.filter(|_| key.0) {
            Some(settled) => {
                let forget = Due::Forget { channel: Arc::clone(name), key: key.clone() };
                self.note_due(settled.after(remembered), forget);
            }
            None => {
                channel.known.remove(key);
                self.kept -= usize::from(key.0);
            }
        }
    }

    fn forget_id(&mut self, name: &str, key: &Key, now: RunTime) {
        let remembered = REMEMBERED_WINDOWS * self.rules.window;
        let Some(channel) = self.channels.get_mut(name) else { return };
        let Some(known) = channel.known.get(key) else { return };
        // Whatever is open, or was settled since, has noted when to look again.
        let is_over = known.settled.is_none_or(|settled| settled.after(remembered) < now);
        if !known.has_open() && is_over {
            channel.known.remove(key);
            self.kept -= 1;
        }
    }
}

/// Two copies of which each is the nearest to the other: found from one copy on, along those that
/// lie nearer and nearer. `None` where nothing lies near that copy.
fn mutually_nearest(
    known: &Known,
    role: ClusterRole,
    from: Open,
    window: Duration,
) -> Option<(Open, Open)> {
    let away = |one: Open, other: Open| (one.content != other.content, distance(one.at, other.at));
    let mut mine = from;
    let mut other = known.nearest(role.other(), mine, window)?;
    loop {
        // Each step is nearer than the one before, or the last.
        match known.nearest(role, other, window) {
            Some(nearer) if away(nearer, other) < away(mine, other) => mine = nearer,
            _ => return Some((mine, other)),
        }
        match known.nearest(role.other(), mine, window) {
            Some(nearer) if away(mine, nearer) < away(mine, other) => other = nearer,
            _ => return Some((mine, other)),
        }
    }
}

/// Whether two events came in one order on old, and in the other on new.
fn is_reordered(one: &Both<RunTime>, other: &Both<RunTime>) -> bool {
    let before = |a: RunTime, b: RunTime| a.after(ORDER_GAP) < b;
    (before(one.old, other.old) && before(other.new, one.new))
        || (before(other.old, one.old) && before(one.new, other.new))
}
