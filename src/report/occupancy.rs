//! Who is still on a cluster: from the account to the report, and back to figures.

use crate::model::RunTime;
use crate::verify::account::Account;
use crate::verify::occupancy::{Occupancy, OccupancyFigures, Point, Readings};

use super::build::{rfc3339, seconds};
use super::figures::duration;
use super::{OccupancyPoint, OccupancyReport};

impl OccupancyReport {
    /// What the readings of one cluster come to.
    pub(super) fn of(account: &Account, readings: &Readings, figures: &OccupancyFigures) -> Self {
        let start = account.publishing().map_or(RunTime::ZERO, |(first, _)| first);
        let at = |at: RunTime| rfc3339(account.begin(), at);
        let empty_at =
            readings.last_at().zip(figures.empty_in).map(|(last, left)| last.after(left));
        let point = |point: &Point| OccupancyPoint {
            second: (point.at.0 as f64 - start.0 as f64) / 1e9,
            channels: point.channels,
            members: point.members,
            subscriptions: point.subscriptions,
        };
        Self {
            refresh_seconds: seconds(readings.refresh()),
            readings: figures.readings,
            failed: figures.failed,
            last_failure: figures.last_failure.clone(),
            channels: (figures.readings > 0).then(|| figures.last.total()),
            channels_by_kind: figures.last.channels.clone(),
            subscriptions: figures.last.subscriptions,
            members: figures.last.members,
            own_channels: figures.last.own,
            peak_channels: figures.peak,
            has_shown: figures.has_shown,
            empty_seconds: seconds(figures.empty_for),
            empty_since: readings.empty_since().map(at),
            age_seconds: seconds(figures.age),
            gap_seconds_max: seconds(figures.gap_max),
            empty_in_seconds: figures.empty_in.map(seconds),
            empty_at: empty_at.map(at),
            points: readings.points().iter().map(point).collect(),
        }
    }

    /// The figures that it was made of.
    pub(super) fn figures(&self) -> OccupancyFigures {
        OccupancyFigures {
            readings: self.readings,
            failed: self.failed,
            last_failure: self.last_failure.clone(),
            last: Occupancy {
                channels: self.channels_by_kind.clone(),
                subscriptions: self.subscriptions,
                members: self.members,
                own: self.own_channels,
            },
            peak: self.peak_channels,
            has_shown: self.has_shown,
            empty_for: duration(self.empty_seconds),
            age: duration(self.age_seconds),
            gap_max: duration(self.gap_seconds_max),
            empty_in: self.empty_in_seconds.map(duration),
        }
    }
}
