//! Time as an argument. The one place that reads the machine's clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Nanoseconds on the process's monotonic clock since the run's clock was made.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RunTime(pub u64);

impl RunTime {
    /// The clock's origin.
    pub const ZERO: Self = Self(0);
    /// Later than any instant of a run.
    pub const NEVER: Self = Self(u64::MAX);

    /// The instant so many milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// The time from `earlier` to this instant; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant, later by `by`; at most [`RunTime::NEVER`].
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The whole second that this instant lies in.
    pub const fn second(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

/// The process's monotonic clock, and the wall-clock instant at which it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    wall_origin: Duration,
}

impl Clock {
    /// Starts a clock at this moment.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
            wall_origin: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }

    /// The present instant.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    pub fn now(&self) -> RunTime {
        RunTime::ZERO.after(Instant::now().saturating_duration_since(self.origin))
    }

    /// The present time of day: the time since the Unix epoch, by the wall clock, steps included.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    pub fn wall_now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// The time of day at `at`, reckoned from the start by the monotonic clock.
    pub fn wall(&self, at: RunTime) -> Duration {
        self.wall_origin + at.since(RunTime::ZERO)
    }

    /// The wall clock's lead over the time of day that the monotonic clock says it is, in
    /// nanoseconds; it changes where the wall clock is stepped.
    pub fn wall_lead(&self) -> i128 {
        let nanos = |d: Duration| i128::try_from(d.as_nanos()).unwrap_or(i128::MAX);
        nanos(self.wall_now()) - nanos(self.wall(self.now()))
    }

    /// Whether the wall clock was stepped since the start by more than clusters and certificates
    /// put up with.
    pub fn is_stepped(&self) -> bool {
        const PUT_UP_WITH: Duration = Duration::from_secs(60);
        self.wall_lead().unsigned_abs() > PUT_UP_WITH.as_nanos()
    }

    /// The instant at which a timer for `at` must fire.
    pub fn instant(&self, at: RunTime) -> Instant {
        // Of how far ahead is left to each system; nobody waits for a year at once.
        let now = self.now();
        let far = now.after(Duration::from_secs(365 * 24 * 3600));
        self.origin + at.min(far).since(RunTime::ZERO)
    }
}

/// Durations as whole nanoseconds, for `#[serde(with)]`.
pub mod nanos {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes it; what is longer than 584 years becomes that.
    ///
    /// # Errors
    /// Those of the serialiser.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Reads it.
    ///
    /// # Errors
    /// Anything but a whole number.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}

/// Durations as people write them, `"250ms"` or `"1m 30s"`, for `#[serde(with)]`.
pub mod human {
    use std::borrow::Cow;
    use std::time::Duration;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize, Deserializer, Serializer};

    /// What every duration that is read here matches, as a regular expression. It cannot tell that
    /// one is too long, or finer than a nanosecond.
    pub const PATTERN: &str = r"^(0|\s*([0-9][0-9\s]*(\.[0-9\s]*[0-9]\s*)?(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y)\s*)+)$";

    /// The text, for a schema.
    #[derive(Clone, Copy, Debug)]
    pub struct Text;

    impl JsonSchema for Text {
        fn schema_name() -> Cow<'static, str> {
            "Duration".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": "string", "pattern": PATTERN })
        }

        fn inline_schema() -> bool {
            true
        }
    }

    /// Writes it, to the nanosecond.
    ///
    /// # Errors
    /// Those of the serialiser.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    /// Reads it.
    ///
    /// # Errors
    /// Anything but a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(serde::de::Error::custom)
    }

    /// The same where there may be none.
    pub mod option {
        use std::time::Duration;

        use serde::{Deserialize, Deserializer, Serializer};

        /// Writes it, or null.
        ///
        /// # Errors
        /// Those of the serialiser.
        pub fn serialize<S: Serializer>(
            value: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// Reads it, or null.
        ///
        /// # Errors
        /// Anything but a duration or null.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            let text = Option::<String>::deserialize(deserializer)?;
            let parsed = text.map(|text| humantime::parse_duration(&text)).transpose();
            parsed.map_err(serde::de::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_never_go_below_zero_and_sums_never_past_never() {
        let (early, late) = (RunTime::from_millis(1), RunTime::from_millis(3));
        assert_eq!(late.since(early), Duration::from_millis(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(RunTime::NEVER.after(Duration::from_secs(1)), RunTime::NEVER);
        assert_eq!(RunTime::from_millis(1999).second(), 1);
    }
}
