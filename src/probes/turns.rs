//! Lets requests and connections through one after the other, so many per second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::{Clock, RunTime};

/// See the module's documentation.
#[derive(Debug)]
pub struct Turns {
    clock: Clock,
    every: Duration,
    free: Mutex<RunTime>,
}

impl Turns {
    /// So many per second, from now on.
    pub fn new(clock: Clock, per_second: f64) -> Self {
        let every = Duration::try_from_secs_f64(per_second.recip()).unwrap_or_default();
        Self { clock, every, free: Mutex::new(clock.now()) }
    }

    /// Waits for its turn.
    pub(super) async fn next(&self) {
        let mine = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = (*free).max(self.clock.now());
            *free = mine.after(self.every);
            mine
        };
        tokio::time::sleep_until(self.clock.instant(mine).into()).await;
    }
}
