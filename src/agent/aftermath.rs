//! After a run: waits until the cluster's API shows that nothing of it is left.

use std::time::Duration;

use crate::model::{ChannelKind, RunTime};
use crate::net::http;
use crate::pusher::rest;

use super::CONNECT_TIMEOUT;
use super::publisher::Wire;

/// From one question to the next, at first and at last.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];
/// Longest wait for an API that does not answer.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How many of the channels that begin with these prefixes the API still shows as occupied, after
/// waiting up to `within` for there to be none. `None` if it gave no answer.
pub(super) async fn left_behind(wire: &Wire, prefixes: &[String], within: Duration) -> Option<u64> {
    let begun = wire.clock.now();
    let (mut left, mut answered) = (None, begun);
    let [mut pause, pause_max] = PAUSES;
    loop {
        let asked = tokio::time::timeout(CONNECT_TIMEOUT, occupied(wire, prefixes)).await;
        let now = wire.clock.now();
        if let Ok(Some(occupied)) = asked {
            (left, answered) = (Some(occupied), now);
        }
        let is_silent = now.since(answered) >= SILENCE_MAX.min(within);
        let is_late = now.since(begun) >= within;
        if left == Some(0) || is_late || is_silent {
            // What was seen before it fell silent says nothing of now.
            return if is_silent { None } else { left };
        }
        tokio::time::sleep_until(wire.clock.instant(now.after(pause)).into()).await;
        pause = (pause * 2).min(pause_max).min(left_of(begun, within, wire.clock.now()));
    }
}

/// What is left of the time, but at least a moment.
fn left_of(begun: RunTime, within: Duration, now: RunTime) -> Duration {
    begun.after(within).since(now).max(Duration::from_millis(1))
}

/// Occupied channels that begin with one of these prefixes.
pub(super) async fn occupied(wire: &Wire, prefixes: &[String]) -> Option<u64> {
    let mut connection = None;
    let mut sum = 0;
    for prefix in prefixes {
        let open = match connection.take() {
            Some(open) => open,
            None => {
                http::connect(&wire.target, wire.clock, CONNECT_TIMEOUT, &wire.tasks).await.ok()?
            }
        };
        let request = wire.signer.channels(prefix, wire.clock.wall_now().as_secs());
        let (answer, idle) = open.send(&wire.target, &request, CONNECT_TIMEOUT).await;
        let answer = answer.ok()?;
        connection = idle;
        sum += rest::listed(answer.status, &answer.body)?.len() as u64;
    }
    Some(sum)
}

/// The beginnings of a run's channel names, one for each kind.
pub(super) fn prefixes(kinds: impl IntoIterator<Item = ChannelKind>, tail: &str) -> Vec<String> {
    let mut prefixes: Vec<_> =
        kinds.into_iter().map(|kind| format!("{}{tail}", kind.prefix())).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}
