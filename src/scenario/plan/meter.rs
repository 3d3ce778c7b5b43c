//! What a day may cost: counts what is billed in each UTC day, and says when the next event may be
//! published.

use std::time::Duration;

use crate::verify::figures::BudgetUsed;

/// Share of a day's budget from which on what is left is spread over the rest of the day.
const SPARING_FROM: f64 = 0.9;
/// The length of a UTC day.
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// See the module's documentation. Times are times of day since the Unix epoch.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Messages that may be billed to each app in a day.
    per_app_max: u64,
    /// Messages that may be billed to all of them together.
    together_max: u64,
    /// How many apps there are.
    apps: u64,
    /// Messages billed to each app for one event.
    per_event: u64,
    /// The day that is counted, from the Unix epoch.
    day: u64,
    /// Messages billed to each app in it.
    used: u64,
    /// When something was last published, and how long it takes until the next event may be.
    last: Duration,
    spared: Duration,
}

impl Meter {
    /// Nothing is used up yet.
    pub const fn new(per_app_max: u64, together_max: u64, apps: u64, per_event: u64) -> Self {
        let (day, used, last, spared) = (0, 0, Duration::ZERO, Duration::ZERO);
        Self { per_app_max, together_max, apps, per_event, day, used, last, spared }
    }

    /// This one, of which so much is used up already as of `earlier`.
    #[must_use]
    pub const fn after(self, earlier: &Self) -> Self {
        let Self { day, used, last, spared, .. } = *earlier;
        Self { day, used, last, spared, ..self }
    }

    /// Counts `messages` that are billed to each app beside events.
    pub fn add(&mut self, messages: u64, now: Duration) {
        self.turn(now);
        self.used = self.used.saturating_add(messages);
    }

    /// Counts events that are published at `now`.
    pub fn publish(&mut self, events: u64, now: Duration) {
        self.add(events.saturating_mul(self.per_event), now);
        (self.last, self.spared) = (now, Duration::ZERO);
        if self.used().most() >= SPARING_FROM && self.left() > 0 {
            // As many as are left, evenly; those that were published together have waited together.
            let (rest, share) = (self.rest(now), (events * self.per_event) as f64);
            self.spared = rest.mul_f64(share / self.left() as f64).min(rest);
        }
    }

    /// How long it takes until the next event may be published.
    pub fn wait(&mut self, now: Duration) -> Duration {
        self.turn(now);
        if self.left() < self.per_event {
            return self.rest(now);
        }
        // A clock that was set back makes nobody wait for as long as that.
        (self.last + self.spared).saturating_sub(now).min(self.spared)
    }

    /// How much is used up.
    pub fn used(&self) -> BudgetUsed {
        let share = |used: u64, max: u64| if max == 0 { 1.0 } else { used as f64 / max as f64 };
        // Where there is no room for one more event, there is none for any.
        let is_up = self.left() < self.per_event;
        let per_app = share(self.used, self.per_app_max);
        let together = share(self.used.saturating_mul(self.apps), self.together_max);
        match is_up {
            true if per_app >= together => BudgetUsed { per_app: per_app.max(1.0), together },
            true => BudgetUsed { per_app, together: together.max(1.0) },
            false => BudgetUsed { per_app, together },
        }
    }

    /// Messages that may yet be billed to each app, by whichever limit is the nearer one.
    fn left(&self) -> u64 {
        self.per_app_max.min(self.together_max / self.apps.max(1)).saturating_sub(self.used)
    }

    /// What is left of the day.
    fn rest(&self, now: Duration) -> Duration {
        let end = DAY * u32::try_from(self.day + 1).unwrap_or(u32::MAX);
        end.saturating_sub(now)
    }

    fn turn(&mut self, now: Duration) {
        let day = now.as_secs() / DAY.as_secs();
        if day != self.day {
            (self.day, self.used) = (day, 0);
            self.spared = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Duration = Duration::from_secs(12 * 3_600);

    /// Publishes whenever it may, at most once a second: how many events until midnight, and when
    /// the pace slowed down and publishing ended.
    fn publish(meter: &mut Meter, from: Duration) -> (u64, Option<Duration>, Option<Duration>) {
        let (mut now, mut events, mut slow, mut last) = (from, 0, None, None);
        while now < DAY {
            let wait = meter.wait(now);
            if wait > Duration::ZERO {
                slow = slow.or(Some(now));
                now += wait;
                continue;
            }
            meter.publish(1, now);
            (events, last) = (events + 1, Some(now));
            now += Duration::from_secs(1);
        }
        (events, slow, last)
    }

    #[test]
    fn what_is_left_from_nine_tenths_on_is_spread_over_the_rest_of_the_day() {
        let mut meter = Meter::new(3_000, u64::MAX, 2, 3);
        let (events, slow, last) = publish(&mut meter, NOON);
        assert!((999..=1_000).contains(&events), "{events}");
        assert_eq!(slow, Some(NOON + Duration::from_secs(900)));
        let last = last.unwrap();
        assert!(last > DAY - Duration::from_secs(1_800), "the last of them came at {last:?}");
        assert!(meter.used().most() > 0.99);
    }

    #[test]
    fn what_is_used_up_is_there_again_the_next_day() {
        // The account's limit is the nearer one: 50 for each app.
        let mut meter = Meter::new(1_000, 100, 2, 5);
        meter.publish(10, NOON);
        assert_eq!(meter.used(), BudgetUsed { per_app: 0.05, together: 1.0 });
        assert_eq!(meter.wait(NOON), DAY / 2);
        assert_eq!(meter.wait(DAY), Duration::ZERO);
        assert_eq!(meter.used(), BudgetUsed::default());
        meter.publish(1, DAY);
        assert_eq!(meter.used(), BudgetUsed { per_app: 0.005, together: 0.1 });
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up_and_another_plan_starts_with_what_is_used() {
        let mut meter = Meter::new(1_000, u64::MAX, 1, 1);
        meter.publish(100, NOON);
        assert_eq!(meter.wait(NOON - Duration::from_secs(1_800)), Duration::ZERO);
        meter.publish(850, NOON);
        let spared = meter.wait(NOON);
        assert!(spared > Duration::ZERO);
        assert_eq!(meter.wait(NOON - Duration::from_secs(1_800)), spared);
        let other = Meter::new(2_000, u64::MAX, 1, 1).after(&meter);
        assert_eq!(other.used().most(), 0.475);
    }

    #[test]
    fn a_rest_that_is_too_little_for_one_event_is_none() {
        let mut meter = Meter::new(10, 10, 1, 4);
        meter.publish(2, NOON);
        assert_eq!(meter.used().most(), 1.0);
        assert_eq!(meter.wait(NOON), DAY / 2);
        let mut nothing = Meter::new(0, 0, 2, 4);
        nothing.add(0, NOON);
        assert_eq!(nothing.used().most(), 1.0);
        assert_eq!(nothing.wait(NOON), DAY / 2, "before the first event, too");
    }
}
