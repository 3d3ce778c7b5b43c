//! Availability of each cluster by component and day, from what runs counted.

mod page;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use time::{Date, OffsetDateTime};

use crate::model::{ClusterRole, WebhookKind};
use crate::verify::tally::BlindCause;

use super::{ClusterReport, Report};

/// Samples without which a share is unknown: one failure more or less would move it by over 1 %.
pub const SAMPLES_MIN: u64 = 100;
/// Seconds of a day.
const DAY_SECONDS: u64 = 24 * 3_600;

/// A part of a cluster that can be available by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// Taking publications.
    Publish,
    /// Delivering what was taken.
    Deliver,
    /// Letting clients connect.
    Connect,
    /// Confirming signed subscriptions.
    Auth,
    /// Telling of channels by webhooks, where they are received.
    Webhooks,
}

impl Component {
    /// Every component, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Publish, Self::Deliver, Self::Connect, Self::Auth, Self::Webhooks];

    /// The component's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Deliver => "deliver",
            Self::Connect => "connect",
            Self::Auth => "auth",
            Self::Webhooks => "webhooks",
        }
    }

    /// What a sample of it is, and when it is a good one.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Publish => {
                "publications accepted or recovered, of all that ended or were not sent"
            }
            Self::Deliver => "obligations delivered or late, of all that were owed and settled",
            Self::Connect => "connections that became ready, of all that were tried",
            Self::Auth => "signed subscriptions confirmed, of all that were answered",
            Self::Webhooks => "channels that came or went and were told of, of those that were due",
        }
    }
}

/// How often a component did what it is for, and how often it did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples in which it did.
    pub good: u64,
    /// Samples in which it did not.
    pub bad: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.good += other.good;
        self.bad += other.bad;
    }
}

impl Counts {
    /// How many samples there are.
    pub const fn samples(self) -> u64 {
        self.good + self.bad
    }

    /// How good that is.
    pub fn level(self) -> Level {
        let (bad, samples) = (u128::from(self.bad), u128::from(self.samples()));
        match () {
            () if self.samples() < SAMPLES_MIN => Level::Unknown,
            () if bad == 0 => Level::Full,
            () if bad * 1_000 <= samples => Level::High,
            () if bad * 100 <= samples => Level::Fair,
            () => Level::Low,
        }
    }

    /// The share of good samples in percent, rounded down; `unknown` below [`SAMPLES_MIN`]. It is
    /// `100 %` only where nothing was bad.
    pub fn percent(self) -> String {
        if self.level() == Level::Unknown {
            return "unknown".to_owned();
        }
        if self.bad == 0 {
            return "100 %".to_owned();
        }
        // In thousandths of a percent.
        let share = u128::from(self.good) * 100_000 / u128::from(self.samples());
        format!("{}.{:03} %", share / 1_000, share % 1_000)
    }
}

/// How good a share is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// There are too few samples to tell.
    Unknown,
    /// Below 99 %.
    Low,
    /// 99 % or more.
    Fair,
    /// 99.9 % or more.
    High,
    /// Nothing was bad.
    Full,
}

impl Level {
    /// Every level, the best first.
    pub const ALL: [Self; 5] = [Self::Full, Self::High, Self::Fair, Self::Low, Self::Unknown];

    /// What it says, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Full => "nothing failed",
            Self::High => "99.9 % or more",
            Self::Fair => "99 % or more",
            Self::Low => "below 99 %",
            Self::Unknown => "unknown: fewer than 100 samples",
        }
    }
}

/// A day in UTC, as days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

impl Day {
    /// The day of an instant, which is given as the time since the Unix epoch.
    pub fn of(instant: Duration) -> Self {
        Self(i64::try_from(instant.as_secs() / DAY_SECONDS).unwrap_or(i64::MAX))
    }

    /// The day so many days before this one.
    #[must_use]
    pub fn before(self, days: u16) -> Self {
        Self(self.0.saturating_sub(i64::from(days)))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = OffsetDateTime::UNIX_EPOCH.date();
        let date = epoch.checked_add(time::Duration::days(self.0)).unwrap_or(Date::MAX);
        let (year, month, day) = date.to_calendar_date();
        f.pad(&format!("{year:04}-{:02}-{day:02}", u8::from(month)))
    }
}

/// The time since the Unix epoch of an instant in RFC 3339.
fn instant(text: &str) -> Option<Duration> {
    let at = humantime::parse_rfc3339(text).ok()?;
    at.duration_since(std::time::UNIX_EPOCH).ok()
}

impl Report {
    /// When the run began, as the time since the Unix epoch: its first event or, where there was
    /// none, its end. Zero where neither can be read.
    pub fn started(&self) -> Duration {
        instant(&self.started_at).or_else(|| instant(&self.ended_at)).unwrap_or_default()
    }

    /// When the run ended, as the time since the Unix epoch. Zero where it cannot be read.
    pub fn ended(&self) -> Duration {
        instant(&self.ended_at).unwrap_or_default()
    }
}

impl ClusterReport {
    /// What the run counted of a component; `None` of one that it does not measure.
    ///
    /// It is counted as the checks count. What the agent did to itself on purpose is no sample, and
    /// an anomaly of a tainted second accuses nobody. A recovered publication is a good one, for
    /// its event arrived. Of a publication that was lost in a tainted second, one obligation is
    /// left out: how many of its witnesses lost it is not told apart.
    pub fn counts(&self, component: Component) -> Option<Counts> {
        Some(match component {
            Component::Publish => {
                let p = self.publications;
                // Those that were recovered are among the unaccepted, and already no failures.
                let excused = self.excused.unaccepted.saturating_sub(p.recovered);
                let unaccepted = (p.rejected + p.void).saturating_sub(excused);
                let unsent = p.unsent.saturating_sub(self.excused.unsent);
                Counts { good: p.accepted + p.recovered, bad: unaccepted + unsent }
            }
            Component::Deliver => {
                let all = self.obligations.counted;
                let own = self.blind.missed_by_cause.get(&BlindCause::Agent);
                let own = own.copied().unwrap_or_default();
                let missed = all.missed_offline.saturating_sub(own + self.excused.missed);
                let lost = all.lost.saturating_sub(self.unattributed_losses);
                Counts { good: all.delivered + all.late, bad: lost + missed }
            }
            Component::Connect => {
                Counts { good: self.connections.opened, bad: self.connections.failed }
            }
            Component::Auth => {
                Counts { good: self.authorised.confirmed, bad: self.authorised.refused }
            }
            Component::Webhooks => {
                let webhooks = self.webhooks.as_ref()?;
                let told = |kind| webhooks.events.get(&kind).copied().unwrap_or_default();
                Counts {
                    good: told(WebhookKind::ChannelOccupied) + told(WebhookKind::ChannelVacated),
                    bad: webhooks.lost.values().sum(),
                }
            }
        })
    }
}

/// One component of one cluster over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    days: BTreeMap<Day, Counts>,
}

impl Row {
    fn on(&self, day: Day) -> Counts {
        self.days.get(&day).copied().unwrap_or_default()
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.days.values().for_each(|counts| total += *counts);
        total
    }

    /// Days on which it is known.
    fn days_known(&self) -> usize {
        self.days.values().filter(|counts| counts.level() != Level::Unknown).count()
    }

    /// What the row says over all days, in a few words.
    fn figures(&self, component: Component, days: u16) -> String {
        let (total, known) = (self.total(), self.days_known());
        match total.samples() {
            0 if component == Component::Webhooks => "none were received".to_owned(),
            0 => "nothing was counted".to_owned(),
            samples => {
                let samples = super::text::grouped(samples);
                format!("{samples} samples, known on {known} of {days} days")
            }
        }
    }
}

/// Availability over a number of days. Every cluster that was seen has every component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Availability {
    scenario: Option<String>,
    first: Day,
    days: u16,
    rows: BTreeMap<(ClusterRole, Component), Row>,
}

impl Availability {
    /// Nothing yet, over so many days (1 or more) that end with `last`; of one scenario, by its
    /// name, or of all.
    pub fn new(scenario: Option<&str>, last: Day, days: u16) -> Self {
        let days = days.max(1);
        let scenario = scenario.map(str::to_owned);
        Self { scenario, first: last.before(days - 1), days, rows: BTreeMap::new() }
    }

    /// The first day that is shown.
    pub const fn first(&self) -> Day {
        self.first
    }

    /// Adds what was counted on a day. Other days than those that are shown are left out.
    pub fn add(&mut self, day: Day, cluster: ClusterRole, component: Component, counts: Counts) {
        if !(self.first..=self.last()).contains(&day) {
            return;
        }
        for every in Component::ALL {
            self.rows.entry((cluster, every)).or_default();
        }
        *self.rows.entry((cluster, component)).or_default().days.entry(day).or_default() += counts;
    }

    /// Every day that is shown, the first one first.
    fn calendar(&self) -> impl DoubleEndedIterator<Item = Day> + use<> {
        let first = self.first.0;
        (first..first + i64::from(self.days)).map(Day)
    }

    fn last(&self) -> Day {
        Day(self.first.0 + i64::from(self.days) - 1)
    }

    /// What is shown, in words.
    fn title(&self) -> String {
        let of = self.scenario.as_ref().map_or(String::new(), |name| format!(" of {name}"));
        format!("availability{of} by day, {} to {} (UTC)", self.first, self.last())
    }

    /// Days that are known and on which something failed, the newest first.
    fn days_with_failures(&self) -> Vec<(Day, ClusterRole, Component, Counts)> {
        let mut found = Vec::new();
        for day in self.calendar().rev() {
            for ((cluster, component), row) in &self.rows {
                let counts = row.on(day);
                if !matches!(counts.level(), Level::Unknown | Level::Full) {
                    found.push((day, *cluster, *component, counts));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
