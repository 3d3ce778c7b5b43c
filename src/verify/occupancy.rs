//! Who is still on a cluster: what its API says of occupied channels, reading by reading.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::time::nanos;
use crate::model::{ChannelKind, RunTime};

use super::stats;
use super::thinned::Thinned;

/// Readings that the trend is taken from, the last ones.
const TREND_READINGS: usize = 60;
/// Fewer of them say nothing of a trend.
const TREND_READINGS_MIN: usize = 5;
/// An end that lies farther off is none.
const PROJECTED_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Longest time that answers may take beyond the time between two readings.
const GAP_SLACK: Duration = Duration::from_secs(10);

/// What a cluster's API says of its occupied channels. The canary's own are left out of all but
/// `own`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Occupancy {
    /// Occupied channels by kind; kinds without one are left out.
    pub channels: BTreeMap<ChannelKind, u64>,
    /// Subscriptions to all of them; `None` where the server does not list them.
    pub subscriptions: Option<u64>,
    /// Members of all presence channels, one in two of them counted twice; `None` where the API
    /// did not say.
    pub members: Option<u64>,
    /// Channels of canaries, of whichever run.
    pub own: u64,
}

impl Occupancy {
    /// Occupied channels of every kind.
    pub fn total(&self) -> u64 {
        self.channels.values().sum()
    }
}

/// One reading: what the API said, or why it said nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// It answered.
    Seen(Occupancy),
    /// It did not, or not with a list of channels: in a few words.
    Failed(String),
}

/// A reading of which only what is drawn is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// When the API answered.
    pub at: RunTime,
    /// Occupied channels.
    pub channels: u64,
    /// Members of presence channels.
    pub members: Option<u64>,
    /// Subscriptions.
    pub subscriptions: Option<u64>,
}

/// What a drain is judged by, at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OccupancyFigures {
    /// Readings that were answered.
    pub readings: u64,
    /// Readings that were not.
    pub failed: u64,
    /// Why the last of those failed; empty if none did.
    pub last_failure: String,
    /// The last answer.
    pub last: Occupancy,
    /// Most occupied channels at a time.
    pub peak: u64,
    /// Whether any channel was ever listed, be it a canary's: only then is it known that the API
    /// shows who is there.
    pub has_shown: bool,
    /// For how long no channel was occupied, without a gap between readings, up to the last answer.
    pub empty_for: Duration,
    /// How long ago the last answer is.
    pub age: Duration,
    /// The longest that may lie between two answers, for what is between them to count as seen.
    pub gap_max: Duration,
    /// From the last answer to the instant at which the last channel empties, if it goes on as in
    /// the last readings; `None` where they do not become fewer.
    pub empty_in: Option<Duration>,
}

impl OccupancyFigures {
    /// Whether the last answer is recent enough to speak of now.
    pub fn is_current(&self) -> bool {
        self.readings > 0 && self.age <= self.gap_max
    }

    /// Adds those of a run that ended later: who was there earlier does not matter, but that it was
    /// seen.
    pub fn merge(&mut self, later: &Self) {
        *self = Self {
            readings: self.readings + later.readings,
            failed: self.failed + later.failed,
            peak: self.peak.max(later.peak),
            has_shown: self.has_shown || later.has_shown,
            ..later.clone()
        };
    }
}

/// The readings of one cluster, in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    refresh: Duration,
    figures: OccupancyFigures,
    last_at: Option<RunTime>,
    empty_since: Option<RunTime>,
    recent: VecDeque<(RunTime, u64)>,
    points: Thinned<Point>,
}

impl Readings {
    /// None yet, of a cluster that is read so often, to see whether it is empty for so long.
    pub fn new(refresh: Duration, drained_for: Duration) -> Self {
        let gap_max = gap_max(refresh, drained_for);
        let figures = OccupancyFigures { gap_max, ..OccupancyFigures::default() };
        Self { refresh, figures, ..Self::default() }
    }

    /// Takes in a reading. `at` is the instant of the answer.
    pub fn note(&mut self, at: RunTime, reading: &Reading) {
        let seen = match reading {
            Reading::Failed(why) => {
                self.figures.failed += 1;
                self.figures.last_failure.clone_from(why);
                return;
            }
            Reading::Seen(seen) => seen,
        };
        let channels = seen.total();
        // Nobody knows what was there while nobody looked.
        let is_gap = self.last_at.is_some_and(|last| at.since(last) > self.figures.gap_max);
        if channels > 0 || is_gap {
            self.empty_since = None;
        }
        if channels == 0 {
            self.empty_since = self.empty_since.or(Some(at));
        }
        self.last_at = Some(at);
        self.points.push(Point {
            at,
            channels,
            members: seen.members,
            subscriptions: seen.subscriptions,
        });
        self.recent.push_back((at, channels));
        if self.recent.len() > TREND_READINGS {
            self.recent.pop_front();
        }
        let figures = &mut self.figures;
        figures.readings += 1;
        figures.peak = figures.peak.max(channels);
        figures.has_shown |= channels + seen.own > 0;
        figures.empty_for = self.empty_since.map_or(Duration::ZERO, |since| at.since(since));
        figures.last = seen.clone();
        figures.empty_in = projected(&self.recent);
    }

    /// What they come to at `now`.
    pub fn figures(&self, now: RunTime) -> OccupancyFigures {
        let age = self.last_at.map_or(Duration::ZERO, |at| now.since(at));
        OccupancyFigures { age, ..self.figures.clone() }
    }

    /// How often the cluster is read.
    pub const fn refresh(&self) -> Duration {
        self.refresh
    }

    /// When the last channel was found to be gone; `None` while one is there.
    pub const fn empty_since(&self) -> Option<RunTime> {
        self.empty_since
    }

    /// When the API answered last.
    pub const fn last_at(&self) -> Option<RunTime> {
        self.last_at
    }

    /// What is drawn.
    pub fn points(&self) -> &[Point] {
        self.points.points()
    }
}

/// One reading may fail, and the time between those beside it still counts as seen; but never half
/// of what is to be seen.
fn gap_max(refresh: Duration, drained_for: Duration) -> Duration {
    (refresh.saturating_mul(5) / 2).saturating_add(GAP_SLACK).min(drained_for / 2)
}

/// How long it takes until nothing is left, if it goes on like this.
fn projected(recent: &VecDeque<(RunTime, u64)>) -> Option<Duration> {
    let ((first, _), (_, left)) = (recent.front()?, recent.back()?);
    if recent.len() < TREND_READINGS_MIN || *left == 0 {
        return None;
    }
    let points: Vec<_> =
        recent.iter().map(|(at, n)| (at.since(*first).as_secs_f64(), *n as f64)).collect();
    let per_second = stats::theil_sen_slope(&points)?;
    let seconds = *left as f64 / -per_second;
    let projected = Duration::try_from_secs_f64(seconds).ok()?;
    (per_second < 0.0 && projected <= PROJECTED_MAX).then_some(projected)
}

/// How a cluster's occupancy is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watching {
    /// From one reading to the next, in nanoseconds.
    #[serde(with = "nanos")]
    pub refresh: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(10);
    const DRAINED_FOR: Duration = Duration::from_secs(100);

    fn seen(channels: u64) -> Reading {
        let channels = (channels > 0).then_some((ChannelKind::Private, channels));
        Reading::Seen(Occupancy {
            channels: channels.into_iter().collect(),
            ..Occupancy::default()
        })
    }

    /// Readings that came every ten seconds; `None`: one that failed.
    fn told(story: &[Option<u64>]) -> (Readings, RunTime) {
        let mut readings = Readings::new(REFRESH, DRAINED_FOR);
        let mut at = RunTime::ZERO;
        for channels in story {
            at = at.after(REFRESH);
            let failed = || Reading::Failed("HTTP 503".to_owned());
            readings.note(at, &channels.map_or_else(failed, seen));
        }
        (readings, at)
    }

    #[test]
    fn a_cluster_is_empty_from_the_first_reading_that_shows_nobody() {
        for (story, empty_seconds) in [
            (&[][..], 0),
            (&[Some(3)], 0),
            (&[Some(0)], 0),
            (&[Some(0), Some(0), Some(0)], 20),
            (&[Some(3), Some(0), Some(0)], 10),
            // Whoever comes back starts it anew.
            (&[Some(0), Some(0), Some(1), Some(0), Some(0)], 10),
            (&[Some(0), Some(0), Some(1)], 0),
            // One reading may fail.
            (&[Some(0), None, Some(0)], 20),
            (&[Some(0), Some(0), None], 10),
        ] {
            let (readings, at) = told(story);
            let figures = readings.figures(at);
            assert_eq!(figures.empty_for, Duration::from_secs(empty_seconds), "{story:?}");
        }
    }

    #[test]
    fn what_nobody_looked_at_was_not_empty() {
        // Twenty-five seconds and the slack may lie between two answers.
        let mut story = vec![Some(0), Some(0)];
        story.extend([None; 3]);
        story.extend([Some(0), Some(0)]);
        let (readings, at) = told(&story);
        assert_eq!(readings.figures(at).empty_for, Duration::from_secs(10));
        assert_eq!(readings.figures(at).failed, 3);
        story.drain(2..3);
        let (readings, at) = told(&story);
        assert_eq!(readings.figures(at).empty_for, Duration::from_secs(50));
    }

    #[test]
    fn an_answer_speaks_for_as_long_as_a_reading_may_be_missing() {
        let (readings, at) = told(&[Some(4)]);
        let gap_max = readings.figures(at).gap_max;
        assert_eq!(gap_max, Duration::from_secs(35));
        assert!(readings.figures(at.after(gap_max)).is_current());
        let later = at.after(gap_max + Duration::from_nanos(1));
        assert!(!readings.figures(later).is_current());
        assert!(!Readings::new(REFRESH, DRAINED_FOR).figures(RunTime::ZERO).is_current());
        // Two looks at the beginning and at the end are none at what lies between.
        let seldom = Readings::new(Duration::from_secs(3_600), Duration::from_secs(600));
        assert_eq!(seldom.figures(RunTime::ZERO).gap_max, Duration::from_secs(300));
    }

    #[test]
    fn an_end_is_projected_where_channels_become_fewer() {
        let ends = |story: &[u64]| {
            let story: Vec<_> = story.iter().copied().map(Some).collect();
            let (readings, at) = told(&story);
            readings.figures(at).empty_in.map(|left| left.as_secs())
        };
        // Two channels every ten seconds.
        assert_eq!(ends(&[20, 18, 16, 14, 12]), Some(60));
        // One reading out of line changes nothing.
        assert_eq!(ends(&[20, 18, 60, 14, 12]), Some(60));
        assert_eq!(ends(&[20, 18, 16, 14]), None, "too few readings");
        assert_eq!(ends(&[7, 7, 7, 7, 7]), None, "nobody leaves");
        assert_eq!(ends(&[1, 2, 3, 4, 5]), None, "they become more");
        assert_eq!(ends(&[4, 3, 2, 1, 0]), None, "nothing is left");
    }
}
