//! Receives the apps' webhooks, and believes those that are signed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::model::{AppKey, Clock, ClusterRole, Secret};
use crate::pusher::webhook::{self, Event};
use crate::scenario::plan::is_of_a_canary;
use crate::verify::fact::Fact;
use crate::verify::webhook::{Refusal, Vacancy, WebhookFact};

use super::Phases;

/// Most connections at once; a further one waits.
const CONNECTIONS_MAX: usize = 64;
/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for a request's head, and for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a webhook: a hosted one has at most twenty events.
const BODY_BYTES_MAX: usize = 1 << 20;
/// A webhook is tried again for five minutes; what is older is a repetition.
const AGE_MAX: Duration = Duration::from_secs(600);

/// One of the apps whose webhooks are believed.
pub(super) struct App {
    pub(super) role: ClusterRole,
    pub(super) key: AppKey,
    pub(super) secret: Secret,
}

/// See the module's documentation.
pub(super) struct Receiver {
    pub(super) listener: TcpListener,
    pub(super) path: String,
    pub(super) apps: Vec<App>,
    pub(super) clock: Clock,
    pub(super) facts: mpsc::Sender<Fact>,
}

impl Receiver {
    /// Receives until `phases.leave`.
    pub(super) async fn run(self, phases: Phases) {
        let receiver = Arc::new(self);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = phases.leave.cancelled() => return,
                accepted = receiver.accept(&places) => accepted,
            };
            // An accept fails when descriptors run out, which vital signs tell.
            let Some((stream, place)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let receiver = Arc::clone(&receiver);
            connections.spawn(async move {
                let service = service_fn(|request| receiver.answer(request));
                // A sender that goes away early is its own affair.
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(READ_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                drop(place);
            });
            while connections.try_join_next().is_some() {}
        }
    }

    async fn accept(&self, places: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        let (stream, _) = self.listener.accept().await.ok()?;
        Some((stream, place))
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let status = match (request.method(), request.uri().path()) {
            (&Method::POST, path) if path == self.path => self.receive(request).await,
            (_, path) if path == self.path => StatusCode::METHOD_NOT_ALLOWED,
            _ => StatusCode::NOT_FOUND,
        };
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = status;
        Ok(response)
    }

    async fn receive(&self, request: Request<Incoming>) -> StatusCode {
        let header = |name: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (key, signature) = (header("x-pusher-key"), header("x-pusher-signature"));
        let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
        let body = match tokio::time::timeout(READ_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE,
            Err(_) => return StatusCode::REQUEST_TIMEOUT,
        };
        let (fact, status) = self.judge(&key, &signature, &body);
        // The collector outlives this; if it is gone, the run has failed already.
        let _ = self.facts.send(Fact::Webhook(self.clock.now(), fact)).await;
        status
    }

    fn judge(&self, key: &str, signature: &str, body: &[u8]) -> (WebhookFact, StatusCode) {
        let refused = |refusal, status| (WebhookFact::Refused(refusal), status);
        let apps: Vec<_> = self.apps.iter().map(|app| (&app.key, &app.secret)).collect();
        let verified = webhook::verify(&apps, key, signature, body);
        let Some(app) = verified.and_then(|at| self.apps.get(at)) else {
            return refused(Refusal::Forged, StatusCode::UNAUTHORIZED);
        };
        let Some(read) = webhook::read(body) else {
            return refused(Refusal::Unreadable, StatusCode::BAD_REQUEST);
        };
        let age = self.clock.wall_now().saturating_sub(Duration::from_millis(read.time_ms));
        if age > AGE_MAX {
            // Whoever repeats it shall not go on: it was taken once.
            return refused(Refusal::Stale, StatusCode::OK);
        }
        let (mut vacancies, mut alive, mut own, mut others) = (Vec::new(), 0, 0, 0);
        for event in read.events {
            let (channel, is_occupied) = match event {
                Event::Occupied(channel) => (channel, true),
                Event::Vacated(channel) => (channel, false),
                Event::Alive(channel) if is_of_a_canary(&channel) => {
                    own += 1;
                    continue;
                }
                Event::Alive(_) => {
                    alive += 1;
                    continue;
                }
                Event::Other => {
                    others += 1;
                    continue;
                }
            };
            match is_of_a_canary(&channel) {
                true => own += 1,
                false => vacancies.push(Vacancy { channel, is_occupied }),
            }
        }
        let (role, sent_ms) = (app.role, read.time_ms);
        (WebhookFact::Genuine { role, sent_ms, vacancies, alive, own, others }, StatusCode::OK)
    }
}
