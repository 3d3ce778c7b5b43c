//! Waits for an instant more finely than the runtime's timers do, which go by milliseconds: a
//! schedule of thousands of events a second would lag by one behind itself.

use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{Clock, RunTime};

/// What is left to the thread: more than the runtime's timers may be late.
const FINE: Duration = Duration::from_millis(3);

/// A thread that sleeps, and says when it wakes.
pub(super) struct Metronome {
    clock: Clock,
    /// `None` where the system has no thread left: then its timers must do.
    thread: Option<(std_mpsc::Sender<RunTime>, mpsc::Receiver<RunTime>)>,
}

impl Metronome {
    /// Starts the thread. It ends soon after its owner.
    pub(super) fn start(clock: Clock) -> Self {
        let (ask, asked) = std_mpsc::channel::<RunTime>();
        let (strike, struck) = mpsc::channel(1);
        let run = move || {
            for at in asked {
                thread::sleep(at.since(clock.now()));
                if strike.blocking_send(at).is_err() {
                    return;
                }
            }
        };
        let spawned = thread::Builder::new().name("pace".to_owned()).spawn(run);
        Self { clock, thread: spawned.is_ok().then_some((ask, struck)) }
    }

    /// Waits until then. Cancel-safe, if later instants alone are asked for after it.
    pub(super) async fn until(&mut self, at: RunTime) {
        let coarse = RunTime(at.0.saturating_sub(FINE.as_nanos() as u64));
        if coarse > self.clock.now() {
            tokio::time::sleep_until(self.clock.instant(coarse).into()).await;
        }
        if at <= self.clock.now() {
            return;
        }
        if let Some((ask, struck)) = &mut self.thread
            && ask.send(at).is_ok()
        {
            // One that nobody waited for may come first.
            while let Some(of) = struck.recv().await {
                if of >= at {
                    return;
                }
            }
        }
        tokio::time::sleep_until(self.clock.instant(at).into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_instant_that_is_waited_for_has_come_and_one_that_was_given_up_delays_no_other() {
        let clock = Clock::start();
        let mut metronome = Metronome::start(clock);
        for micros in [0, 1, 300, 2_000, 7_000] {
            let at = clock.now().after(Duration::from_micros(micros));
            metronome.until(at).await;
            assert!(clock.now() >= at);
        }
        // So near that the thread is asked at once; on a busy machine it may have come already.
        let given_up = clock.now().after(Duration::from_millis(2));
        tokio::select! {
            biased;
            () = metronome.until(given_up) => {}
            () = std::future::ready(()) => {}
        }
        let at = given_up.after(Duration::from_micros(500));
        metronome.until(at).await;
        assert!(clock.now() >= at);
    }
}
