//! Sends an app's webhooks, each as soon as something happened.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::model::Clock;
use crate::pusher::webhook;

use super::hub::{App, Vacancy};

/// Webhooks that may wait; one more is not sent.
pub const QUEUE_MAX: usize = 10_000;
/// Longest wait for an answer (Channels docs: webhooks).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Tries of each webhook, and the pause before the second one, which doubles.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(250);

/// Where webhooks are posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Who listens.
    pub authority: SocketAddr,
    /// The path.
    pub path: String,
}

/// Sends what comes out of the queue until nobody can put anything in.
pub async fn run(
    address: Address,
    app: App,
    clock: Clock,
    mut queue: mpsc::Receiver<Vec<Vacancy>>,
) {
    while let Some(vacancies) = queue.recv().await {
        let event = |vacancy: &Vacancy| -> Value {
            let name = if vacancy.is_occupied { "channel_occupied" } else { "channel_vacated" };
            json!({ "name": name, "channel": vacancy.channel })
        };
        let events: Vec<_> = vacancies.iter().map(event).collect();
        let time_ms = u64::try_from(clock.wall_now().as_millis()).unwrap_or(u64::MAX);
        let body = json!({ "time_ms": time_ms, "events": events }).to_string();
        let mut pause = PAUSE;
        for _ in 0..TRIES {
            if let Ok(Some(true)) = timeout(ANSWER_TIMEOUT, post(&address, &app, &body)).await {
                break;
            }
            sleep(pause).await;
            pause *= 2;
        }
    }
}

/// Whether it was taken; `None` if nobody answered.
async fn post(address: &Address, app: &App, body: &str) -> Option<bool> {
    let Address { authority, path } = address;
    let (key, signature) = (&app.key, webhook::sign(&app.secret, body.as_bytes()));
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n\
         X-Pusher-Key: {key}\r\nX-Pusher-Signature: {signature}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(authority).await.ok()?;
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer.starts_with("HTTP/1.1 2"))
}
