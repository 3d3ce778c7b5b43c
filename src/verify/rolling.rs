//! What of a run without an end lies within a window that slides.
//!
//! The window is a row of parts. It covers at least the time that was asked for, and at most a
//! tenth more; what leaves it leaves a part at a time. Its verdict is an alarm, and no proof: it is
//! looked at again and again.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::RunTime;

use super::account::Account;
use super::checks::Requirements;
use super::record::{Begin, Second};

/// Parts of a window.
const PARTS: u32 = 10;
/// For how long a part that has ended learns of taints and witnesses that come to light later.
const LEARNS_FOR: Duration = Duration::from_secs(10);

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Rolling {
    window: Duration,
    /// The parts that have ended, in order.
    ended: VecDeque<Account>,
    /// Those of them that learn nothing any more, as one, and how many they are.
    settled: Option<Account>,
    settled_parts: usize,
    current: Account,
    /// When the current one began.
    since: RunTime,
}

impl Rolling {
    /// A window of this length over a run that begins so.
    pub fn new(begin: Begin, window: Duration) -> Self {
        let (ended, settled, current) = (VecDeque::new(), None, Account::new(begin));
        Self { window, ended, settled, settled_parts: 0, current, since: RunTime::ZERO }
    }

    /// Adds a second.
    pub fn apply(&mut self, second: &Second) {
        for part in self.ended.iter_mut().skip(self.settled_parts) {
            part.learn(second);
        }
        self.current.apply(second);
        self.current.forget_incidents();
        if let Some(begun) = second.begun {
            self.since = begun;
        }
        let is_publishing = self.current.publishing().is_some();
        if is_publishing && second.at.since(self.since) >= self.window / PARTS {
            self.close(second.at);
        }
    }

    /// What lies within the window, as the account of a run that began and ends with it.
    pub fn account(&self) -> Account {
        let recent = self.ended.iter().skip(self.settled_parts);
        let mut parts = self.settled.iter().chain(recent).chain([&self.current]);
        let mut joined = parts.next().unwrap_or(&self.current).clone();
        parts.for_each(|part| joined.join(part));
        joined
    }

    /// How long the window is, at least.
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// Judges by other requirements from now on, those of these settings.
    pub fn require(&mut self, asked: &Requirements, settings: &serde_json::Value) {
        let ended = self.settled.iter_mut().chain(&mut self.ended);
        for part in ended.chain([&mut self.current]) {
            part.require(asked.clone(), settings.clone());
        }
    }

    /// Ends the current part at `now`.
    fn close(&mut self, now: RunTime) {
        self.since = now;
        let next = self.current.next();
        self.ended.push_back(std::mem::replace(&mut self.current, next));
        let covers = |part: Option<&Account>| {
            let begun = part.and_then(Account::publishing).map(|(first, _)| first);
            begun.is_some_and(|begun| now.since(begun) >= self.window)
        };
        while covers(self.ended.get(1)) {
            self.ended.pop_front();
        }
        let learns = |part: &&Account| now.since(part.at()) < LEARNS_FOR;
        self.settled_parts = self.ended.iter().take_while(|part| !learns(part)).count();
        let mut settled = self.ended.iter().take(self.settled_parts);
        self.settled = settled.next().cloned().map(|mut joined| {
            settled.for_each(|part| joined.join(part));
            joined
        });
    }
}

#[cfg(test)]
mod tests;
