//! Sends an app's webhooks: what happened within a quarter of a second in one of them, as the
//! hosted service does.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until, timeout};

use crate::model::habit::Habit;
use crate::model::{Clock, RunTime, Secret, WebhookKind};
use crate::pusher::webhook;

use super::hooks::Hook;
use super::hub::App;

/// What happened at once, and when.
pub type Happened = (RunTime, Vec<Hook>);

/// Of these as many may wait; what comes then is not sent.
pub const QUEUE_MAX: usize = 10_000;
/// A webhook has what happened within this time, and at most so many events (Pusher support: batch
/// size and batch window).
const BATCH_WINDOW: Duration = Duration::from_millis(250);
const BATCH_MAX: usize = 20;
/// Longest wait for an answer (Channels docs: webhooks).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Tries of each webhook, and the pause before the second one, which doubles.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(250);
/// How late a webhook is, where that is a habit.
const LATE: Duration = Duration::from_secs(3);

/// Where webhooks are posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Who listens.
    pub authority: SocketAddr,
    /// The path.
    pub path: String,
}

/// See the module's documentation.
pub struct Sender {
    address: Address,
    app: App,
    clock: Clock,
    habits: BTreeSet<Habit>,
}

impl Sender {
    /// What sends the webhooks of this app.
    pub fn new(address: Address, app: App, clock: Clock, habits: &BTreeSet<Habit>) -> Self {
        Self { address, app, clock, habits: habits.clone() }
    }

    /// Sends what comes out of the queue until nobody can put anything in.
    pub async fn run(self, mut queue: mpsc::Receiver<Happened>) {
        let sender = Arc::new(self);
        while let Some((at, mut hooks)) = queue.recv().await {
            let end = sender.clock.instant(at.after(BATCH_WINDOW)).into();
            while hooks.len() < BATCH_MAX
                && !sender.has(Habit::SingleHooks)
                && let Ok(Some((_, more))) = tokio::time::timeout_at(end, queue.recv()).await
            {
                hooks.extend(more);
            }
            if sender.has(Habit::ShuffledHooks) {
                hooks.reverse();
            }
            let is_leaving = |hook: &Hook| {
                matches!(hook.kind, WebhookKind::ChannelVacated | WebhookKind::MemberRemoved)
            };
            let (leaving, others): (Vec<_>, Vec<_>) = hooks.into_iter().partition(is_leaving);
            let late = sender.clock.instant(at.after(LATE)).into();
            let late_leavings = sender.has(Habit::LateLeavings);
            let late_others = sender.has(Habit::LateHooks);
            let now = if late_leavings == late_others {
                vec![(late_others, [others, leaving].concat())]
            } else {
                vec![(late_others, others), (late_leavings, leaving)]
            };
            for (is_late, hooks) in now {
                let size = if sender.has(Habit::SingleHooks) { 1 } else { BATCH_MAX };
                for events in hooks.chunks(size).map(<[Hook]>::to_vec) {
                    if is_late {
                        let sender = Arc::clone(&sender);
                        tokio::spawn(async move {
                            sleep_until(late).await;
                            sender.send(events).await;
                        });
                    } else {
                        Arc::clone(&sender).send(events).await;
                    }
                }
            }
        }
    }

    fn has(&self, habit: Habit) -> bool {
        self.habits.contains(&habit)
    }

    /// Sends a webhook; one that is not taken is tried again, while others are sent.
    async fn send(self: Arc<Self>, events: Vec<Hook>) {
        if self.has(Habit::NoHooks) {
            return;
        }
        let events: Vec<Value> = events.into_iter().map(|hook| hook.event).collect();
        let time_ms = u64::try_from(self.clock.wall_now().as_millis()).unwrap_or(u64::MAX);
        let body = json!({ "time_ms": time_ms, "events": events }).to_string();
        if self.has(Habit::DoubledHooks) {
            self.try_once(&body).await;
        }
        if self.try_once(&body).await {
            return;
        }
        tokio::spawn(async move {
            let mut pause = PAUSE;
            for _ in 1..TRIES {
                sleep(pause).await;
                if self.try_once(&body).await {
                    return;
                }
                pause *= 2;
            }
        });
    }

    /// Whether it was taken.
    async fn try_once(&self, body: &str) -> bool {
        matches!(timeout(ANSWER_TIMEOUT, self.post(body)).await, Ok(Some(true)))
    }

    /// Whether it was taken; `None` if nobody answered.
    async fn post(&self, body: &str) -> Option<bool> {
        let Address { authority, path } = &self.address;
        let key = &self.app.key;
        let signature = match () {
            () if self.has(Habit::UnsignedHooks) => String::new(),
            () => {
                let other = Secret::new("pc-not-the-secret");
                let secret = if self.has(Habit::ForgedHooks) { &other } else { &self.app.secret };
                format!("X-Pusher-Signature: {}\r\n", webhook::sign(secret, body.as_bytes()))
            }
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n\
             X-Pusher-Key: {key}\r\n{signature}Content-Length: {}\r\nConnection: close\r\n\r\n\
             {body}",
            body.len()
        );
        let mut stream = TcpStream::connect(authority).await.ok()?;
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer.starts_with("HTTP/1.1 2"))
    }
}
