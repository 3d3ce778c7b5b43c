//! In what two apps behave alike and in what not, as probes found it from outside.

mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ClusterRole;

pub use row::{Probe, Row};

/// A time that one cluster takes may be so many times the other's, see [`Row::slack`].
const TIME_RATIO_MAX: f64 = 2.0;

/// What is left for longer than so many days is left for long.
const DAYS_MIN: i64 = 21;
/// Clocks may differ by so many seconds more: what is told of them are whole ones.
const SKEW_SLACK_S: u64 = 3;
/// Characters of a reading. What is longer is a server's, and is cut.
const READING_CHARS_MAX: usize = 300;

/// How long each step of connecting takes, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectTime {
    /// Name to addresses.
    pub resolve_ms: u64,
    /// TCP.
    pub connect_ms: u64,
    /// TLS.
    pub tls_ms: u64,
    /// The WebSocket upgrade.
    pub upgrade_ms: u64,
    /// From there until the cluster says that the connection is established.
    pub established_ms: u64,
}

impl ConnectTime {
    /// One after the other.
    const fn steps(&self) -> [u64; 5] {
        let Self { resolve_ms, connect_ms, tls_ms, upgrade_ms, established_ms } = *self;
        [resolve_ms, connect_ms, tls_ms, upgrade_ms, established_ms]
    }

    /// All of them together.
    fn total_ms(&self) -> u64 {
        self.steps().into_iter().fold(0, u64::saturating_add)
    }
}

/// What a probe found on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// This.
    Value(String),
    /// This took so long, in milliseconds.
    Millis(u64),
    /// A clock is ahead by so many seconds, or behind if they are negative.
    Skew(i64),
    /// So many days are left, or are over if they are negative.
    Days(i64),
    /// How long connecting takes.
    ConnectTime(ConnectTime),
    /// It took longer than this, in milliseconds: nobody waited any longer.
    Longer(u64),
    /// The cluster refuses it, in these words.
    Unsupported(String),
    /// It came to nothing, for this reason. Where it does so on both, the reason may be ours.
    Failed(String),
    /// There is nothing of it to compare, for this reason.
    NotApplicable(String),
    /// Nothing, for this reason.
    NotTested(String),
}

impl Reading {
    /// For people.
    pub fn shown(&self) -> String {
        match self {
            Self::Value(value) => value.clone(),
            Self::Millis(millis) if *millis < 10_000 => format!("{millis} ms"),
            Self::Millis(millis) => format!("{} s", millis / 1_000),
            Self::Skew(0) => "right".to_owned(),
            Self::Skew(seconds @ ..0) => format!("{} s behind", seconds.unsigned_abs()),
            Self::Skew(seconds) => format!("{seconds} s ahead"),
            Self::Days(days) if *days < 0 => format!("expired {} days ago", days.unsigned_abs()),
            Self::Days(1) => "1 day".to_owned(),
            Self::Days(days) => format!("{days} days"),
            Self::ConnectTime(time) => {
                let ConnectTime { resolve_ms, connect_ms, tls_ms, upgrade_ms, established_ms } =
                    time;
                format!(
                    "{} ms (DNS {resolve_ms}, TCP {connect_ms}, TLS {tls_ms}, upgrade \
                     {upgrade_ms}, established {established_ms})",
                    time.total_ms()
                )
            }
            Self::Longer(millis) => format!("not within {} s", millis / 1_000),
            Self::Unsupported(why) => format!("unsupported ({why})"),
            Self::Failed(why) => format!("failed ({why})"),
            Self::NotApplicable(why) => format!("not applicable ({why})"),
            Self::NotTested(why) => format!("not tested ({why})"),
        }
    }

    /// The same, with no more text than is shown.
    fn bounded(&self) -> Self {
        let cut = |text: &str| match text.char_indices().nth(READING_CHARS_MAX) {
            // What is cut off must not make two of them the same.
            Some((end, _)) => {
                let kept = text.get(..end).unwrap_or_default();
                format!("{kept}… (#{:08x})", crc32fast::hash(text.as_bytes()))
            }
            None => text.to_owned(),
        };
        match self {
            Self::Value(text) => Self::Value(cut(text)),
            Self::Unsupported(text) => Self::Unsupported(cut(text)),
            Self::Failed(text) => Self::Failed(cut(text)),
            Self::NotApplicable(text) => Self::NotApplicable(cut(text)),
            Self::NotTested(text) => Self::NotTested(cut(text)),
            Self::Millis(_)
            | Self::Skew(_)
            | Self::Days(_)
            | Self::ConnectTime(_)
            | Self::Longer(_) => self.clone(),
        }
    }

    /// Whether two clusters behave alike. A time may be twice the other's, and so much longer.
    pub fn compared(&self, other: &Self, slack: Duration) -> Likeness {
        let alike = |are: bool| if are { Likeness::Same } else { Likeness::Differs };
        let near = |millis: u64| millis as f64 * TIME_RATIO_MAX + slack.as_millis() as f64;
        match (self, other) {
            (Self::NotTested(_), _) | (_, Self::NotTested(_)) => Likeness::NotTested,
            (Self::NotApplicable(_), Self::NotApplicable(_)) => Likeness::Same,
            (Self::NotApplicable(_), _) | (_, Self::NotApplicable(_)) => Likeness::NotTested,
            (Self::Skew(one), Self::Skew(two)) => alike(one.abs_diff(*two) <= SKEW_SLACK_S),
            (Self::Days(one), Self::Days(two)) => {
                alike((*one >= DAYS_MIN && *two >= DAYS_MIN) || one.abs_diff(*two) <= 1)
            }
            (Self::Millis(one), Self::Millis(two)) => {
                alike(*one.max(two) as f64 <= near(*one.min(two)))
            }
            (Self::ConnectTime(one), Self::ConnectTime(two)) => {
                let steps = one.steps().into_iter().zip(two.steps());
                let mut all = steps.chain([(one.total_ms(), two.total_ms())]);
                alike(all.all(|(one, two)| one.max(two) as f64 <= near(one.min(two))))
            }
            // How much longer it takes nobody waited to see, and why it fails nobody knows.
            (Self::Longer(_), Self::Longer(_)) | (Self::Failed(_), Self::Failed(_)) => {
                Likeness::NotTested
            }
            (Self::Longer(waited), Self::Millis(took))
            | (Self::Millis(took), Self::Longer(waited)) => {
                if *waited as f64 > near(*took) {
                    Likeness::Differs
                } else {
                    Likeness::NotTested
                }
            }
            // In which words is each server's own affair.
            (Self::Unsupported(_), Self::Unsupported(_)) => Likeness::Same,
            (one, other) => alike(one == other),
        }
    }
}

/// What a row comes to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Likeness {
    /// Both behave alike.
    Same,
    /// They do not, and that is wanted.
    Accepted,
    /// Nobody knows.
    NotTested,
    /// They do not.
    Differs,
}

impl Likeness {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Accepted => "accepted",
            Self::NotTested => "not tested",
            Self::Differs => "differs",
        }
    }
}

/// What is probed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParityBegin {
    /// The rows that are looked at.
    pub rows: BTreeSet<Row>,
    /// Differences that are wanted, and why.
    pub accept: BTreeMap<Row, String>,
}

/// One row's readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFigures {
    /// What was found, by cluster.
    pub readings: BTreeMap<ClusterRole, Reading>,
    /// What it comes to.
    pub likeness: Likeness,
    /// Why a difference is wanted, if it is.
    pub accepted: Option<String>,
}

impl RowFigures {
    fn judge(&mut self, row: Row, told: &[Likeness]) {
        let of = |role| self.readings.get(&role);
        let Some((old, new)) = of(ClusterRole::Old).zip(of(ClusterRole::New)) else { return };
        let is_not = |of: &Reading| matches!(of, Reading::NotApplicable(_));
        let is_open = [old, new].into_iter().any(|of| matches!(of, Reading::NotTested(_)));
        let is_told_of =
            told.iter().any(|told| matches!(told, Likeness::Differs | Likeness::Accepted));
        self.likeness = match old.compared(new, row.slack()) {
            Likeness::Differs if self.accepted.is_some() => Likeness::Accepted,
            // What is not there cannot differ, where another row says that it is not there.
            _ if is_told_of && is_not(old) != is_not(new) && !is_open => Likeness::Same,
            // And where nobody knows whether it is there, nobody knows that either.
            Likeness::Same if is_not(old) && told.contains(&Likeness::NotTested) => {
                Likeness::NotTested
            }
            likeness => likeness,
        };
    }
}

/// What probes found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParityFigures {
    /// Row by row.
    pub rows: BTreeMap<Row, RowFigures>,
}

impl ParityFigures {
    /// Nothing was found yet.
    pub fn new(begin: &ParityBegin) -> Self {
        let row = |row: &Row| {
            let (readings, likeness) = (BTreeMap::new(), Likeness::NotTested);
            let accepted = begin.accept.get(row).cloned();
            (*row, RowFigures { readings, likeness, accepted })
        };
        Self { rows: begin.rows.iter().map(row).collect() }
    }

    /// Takes in a reading; the last one counts.
    pub fn note(&mut self, role: ClusterRole, row: Row, reading: &Reading) {
        if let Some(figures) = self.rows.get_mut(&row) {
            figures.readings.insert(role, reading.bounded());
        }
        let dependent = self.rows.keys().copied().filter(|of| of.rests_on().contains(&row));
        for row in std::iter::once(row).chain(dependent).collect::<Vec<_>>() {
            let told = row.rests_on().iter().filter_map(|told| self.rows.get(told));
            let told: Vec<_> = told.map(|told| told.likeness).collect();
            if let Some(figures) = self.rows.get_mut(&row) {
                figures.judge(row, &told);
            }
        }
    }

    /// How many rows came to this.
    pub fn count(&self, likeness: Likeness) -> u64 {
        self.rows.values().filter(|row| row.likeness == likeness).count() as u64
    }

    /// Adds those of a run that ended later. Where either has the worse, it stays.
    pub fn merge(&mut self, other: &Self) {
        for (row, figures) in &other.rows {
            match self.rows.get(row) {
                Some(mine) if mine.likeness > figures.likeness => {}
                _ => _ = self.rows.insert(*row, figures.clone()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
