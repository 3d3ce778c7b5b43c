//! Receives the apps' webhooks, and believes those that are signed.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::model::{AppKey, Clock, ClusterRole, RunTime, Secret};
use crate::net::tls;
use crate::probes::webhooks::{Arrived, Signature};
use crate::pusher::webhook::{self, Webhook};
use crate::scenario::plan::{Plan, is_of_a_canary};
use crate::scenario::webhooks::Webhooks;
use crate::verify::fact::Fact;
use crate::verify::webhook::{Moment, Refusal, Told};

use super::RunError;
use super::comparison::sacrificial_tail;
use super::keeper::Keeper;

/// Most connections at once, most of which may be kept and silent; a further one waits.
const CONNECTIONS_MAX: usize = 1_024;
/// Most bodies that are read at once; a further one waits.
const BODIES_MAX: usize = 64;
/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for a TLS handshake, for a request's head, and for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a webhook: that of a hundred client events of the largest size, which a sockudo
/// puts into one.
const BODY_BYTES_MAX: usize = 2 << 20;
/// A webhook is tried again for five minutes; what is older is a repetition, or sent by a clock
/// that is far from ours, as is what comes from so far ahead.
const AGE_MAX: Duration = Duration::from_secs(600);
/// Webhooks that are kept in mind, so that one that comes again is known.
const REMEMBERED_MAX: usize = 100_000;
/// Webhooks that tell of sacrificial channels and may wait, and events of one of them.
const ARRIVED_MAX: usize = 1_000;
const ARRIVED_EVENTS_MAX: usize = 100;

/// One of the apps whose webhooks are believed.
struct App {
    role: ClusterRole,
    key: AppKey,
    secret: Secret,
    path: String,
    /// What the names of this run's sacrificial channels on its cluster have in them.
    sacrificial: String,
    /// Where those go that tell of them.
    arrived: mpsc::Sender<Arrived>,
}

/// What a run makes of webhooks.
#[derive(Clone)]
pub(super) struct Books {
    /// Which channels are occupied.
    pub(super) keeper: Arc<Keeper>,
    /// Where facts go.
    pub(super) facts: mpsc::Sender<Fact>,
}

impl Books {
    /// Nobody is held up by a collector that is: what finds no place is told with what comes next.
    fn tell(&self, role: ClusterRole, at: RunTime) {
        if let Ok(place) = self.facts.try_reserve() {
            self.keeper.tell(role, at, place);
        }
    }
}

/// What one request brings.
struct Post {
    path: String,
    key: String,
    signature: String,
    body: Bytes,
}

/// See the module's documentation.
pub(super) struct Receiver {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    apps: Vec<App>,
    clock: Clock,
    books: Option<Books>,
    remembered: Mutex<Remembered>,
    bodies: Semaphore,
}

/// Signatures of webhooks that were taken, which no two of them share.
#[derive(Default)]
struct Remembered {
    by_signature: HashMap<String, RunTime>,
    in_order: VecDeque<String>,
}

impl Remembered {
    /// Whether it is new. It is remembered from now on.
    fn is_new(&mut self, signature: &str, now: RunTime) -> bool {
        let is_old = |at: &RunTime| now.since(*at) > AGE_MAX;
        while let Some(first) = self.in_order.front()
            && (self.in_order.len() >= REMEMBERED_MAX
                || self.by_signature.get(first).is_none_or(is_old))
        {
            self.by_signature.remove(first);
            self.in_order.pop_front();
        }
        if self.by_signature.contains_key(signature) {
            return false;
        }
        self.by_signature.insert(signature.to_owned(), now);
        self.in_order.push_back(signature.to_owned());
        true
    }
}

/// Looks at the certificate and the key with which a plan receives webhooks, if it does.
///
/// # Errors
/// They are of no use.
pub fn check_receiver(plan: &Plan) -> Result<(), RunError> {
    plan.webhooks.as_ref().map_or(Ok(()), |webhooks| identity(webhooks).map(drop))
}

/// Listens for a moment where a plan receives webhooks, if it does.
///
/// # Errors
/// Nobody can listen there.
pub async fn try_receiver(plan: &Plan) -> Result<(), RunError> {
    match &plan.webhooks {
        Some(webhooks) => listen(webhooks).await.map(drop),
        None => Ok(()),
    }
}

/// What proves who receives, where that is TLS.
fn identity(webhooks: &Webhooks) -> Result<Option<Arc<ServerConfig>>, RunError> {
    let config = webhooks.tls.as_ref().map(|of| tls::server_config(&of.chain, &of.key));
    config.transpose().map_err(RunError::ReceiverTls)
}

/// Listens where the scenario says.
async fn listen(webhooks: &Webhooks) -> Result<TcpListener, RunError> {
    let listener = TcpListener::bind(webhooks.listen).await;
    listener.map_err(|error| RunError::Listen(webhooks.listen, error))
}

/// What is told of each app's sacrificial channels.
pub(super) type Arrivals = HashMap<ClusterRole, mpsc::Receiver<Arrived>>;

impl Receiver {
    /// Listens where the scenario says.
    ///
    /// # Errors
    /// Nobody can listen there, or certificate and key are of no use.
    pub(super) async fn open(
        webhooks: &Webhooks,
        plan: &Plan,
        clock: Clock,
        books: Option<Books>,
    ) -> Result<(Self, Arrivals), RunError> {
        let paths = &webhooks.paths;
        let config = identity(webhooks)?;
        let listener = listen(webhooks).await?;
        let mut arrivals = HashMap::new();
        let apps = plan.clusters.iter().map(|cluster| {
            let (arrived, arrivals_in) = mpsc::channel(ARRIVED_MAX);
            arrivals.insert(cluster.role, arrivals_in);
            App {
                role: cluster.role,
                key: cluster.signer.key.clone(),
                secret: cluster.signer.secret.clone(),
                path: paths.get(&cluster.role).cloned().unwrap_or_default(),
                sacrificial: sacrificial_tail(plan, cluster.role),
                arrived,
            }
        });
        let apps = apps.collect();
        let acceptor = config.map(TlsAcceptor::from);
        let (remembered, bodies) = (Mutex::default(), Semaphore::new(BODIES_MAX));
        Ok((Self { listener, acceptor, apps, clock, books, remembered, bodies }, arrivals))
    }

    /// Receives until `leave`.
    pub(super) async fn run(self, leave: CancellationToken) {
        let receiver = Arc::new(self);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = leave.cancelled() => return,
                accepted = receiver.accept(&places) => accepted,
            };
            // An accept fails when descriptors run out, which vital signs tell.
            let Some((stream, place)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let receiver = Arc::clone(&receiver);
            connections.spawn(async move {
                match &receiver.acceptor {
                    None => Arc::clone(&receiver).serve(stream).await,
                    Some(acceptor) => {
                        let handshake = acceptor.accept(stream);
                        let shaken = tokio::time::timeout(READ_TIMEOUT, handshake).await;
                        match shaken {
                            Ok(Ok(stream)) => Arc::clone(&receiver).serve(stream).await,
                            // Whoever only looks whether somebody listens goes away like that.
                            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {}
                            Ok(Err(_)) | Err(_) => receiver.refuse(None, Refusal::Unheard),
                        }
                    }
                }
                drop(place);
            });
            while connections.try_join_next().is_some() {}
        }
    }

    async fn accept(&self, places: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let place = match Arc::clone(places).try_acquire_owned() {
            Ok(place) => place,
            // Who waits behind the others may not wait for long.
            Err(_) => {
                self.refuse(None, Refusal::Unheard);
                Arc::clone(places).acquire_owned().await.ok()?
            }
        };
        let (stream, _) = self.listener.accept().await.ok()?;
        Some((stream, place))
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(self: Arc<Self>, stream: S) {
        let service = service_fn(|request| Arc::clone(&self).answer(request));
        // A sender that goes away early is its own affair.
        let _ = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(READ_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let is_ours = self.apps.iter().any(|app| app.path == request.uri().path());
        let status = match (request.method(), is_ours) {
            (&Method::POST, true) => self.receive(request).await,
            (_, true) => StatusCode::METHOD_NOT_ALLOWED,
            (_, false) => StatusCode::NOT_FOUND,
        };
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = status;
        Ok(response)
    }

    async fn receive(self: Arc<Self>, request: Request<Incoming>) -> StatusCode {
        let header = |name: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (key, signature) = (header("x-pusher-key"), header("x-pusher-signature"));
        let path = request.uri().path().to_owned();
        let body = async {
            let _place = self.bodies.acquire().await;
            Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await
        };
        let refused = |refusal, status| {
            self.refuse(self.role_of(&key), refusal);
            status
        };
        let body = match tokio::time::timeout(READ_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return refused(Refusal::Large, StatusCode::PAYLOAD_TOO_LARGE);
            }
            // Who goes away in the middle has no use for an answer.
            Ok(Err(_)) => return refused(Refusal::Slow, StatusCode::BAD_REQUEST),
            Err(_) => return refused(Refusal::Slow, StatusCode::REQUEST_TIMEOUT),
        };
        let post = Post { path, key, signature, body };
        // It may wait for a list of the API that is being looked through.
        let taken = tokio::task::spawn_blocking(move || self.take(&post));
        match taken.await.map_err(JoinError::try_into_panic) {
            Ok(status) => status,
            // Its panic is that of this task, which the run finds.
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whose webhook it says that it is.
    fn role_of(&self, key: &str) -> Option<ClusterRole> {
        self.apps.iter().find(|app| app.key.as_str() == key).map(|app| app.role)
    }

    /// Counts what is no webhook that counts, from whomever it is.
    fn refuse(&self, role: Option<ClusterRole>, refusal: Refusal) {
        let first = self.apps.first().map(|app| app.role);
        if let (Some(books), Some(role)) = (&self.books, role.or(first)) {
            books.keeper.note_refused(role, refusal);
            books.tell(role, self.clock.now());
        }
    }

    /// What to answer to a webhook, which it takes in.
    fn take(&self, post: &Post) -> StatusCode {
        let Post { path, key, signature, body } = post;
        // Where both apps have one key, the path tells them apart.
        let mut apps: Vec<_> = self.apps.iter().filter(|app| app.key.as_str() == key).collect();
        apps.sort_by_key(|app| app.path != *path);
        let read = webhook::read(body);
        let Some(app) = apps.first() else {
            for app in &self.apps {
                self.tell_of_own(app, Signature::Another, read.as_ref(), body);
            }
            self.refuse(None, Refusal::Forged);
            return StatusCode::UNAUTHORIZED;
        };
        let is_genuine = webhook::verify(&[(&app.key, &app.secret)], key, signature, body);
        if is_genuine.is_none() {
            let of = if signature.is_empty() { Signature::Missing } else { Signature::Wrong };
            self.tell_of_own(app, of, read.as_ref(), body);
            self.refuse(Some(app.role), Refusal::Forged);
            return StatusCode::UNAUTHORIZED;
        }
        if app.path != *path {
            self.tell_of_own(app, Signature::Elsewhere, read.as_ref(), body);
            self.refuse(Some(app.role), Refusal::Misdirected);
            return StatusCode::NOT_FOUND;
        }
        let Some(read) = read else {
            self.refuse(Some(app.role), Refusal::Unreadable);
            return StatusCode::BAD_REQUEST;
        };
        let (wall, sent) = (self.clock.wall_now(), Duration::from_millis(read.time_ms));
        let age = wall.saturating_sub(sent);
        if wall.abs_diff(sent) > AGE_MAX {
            // Whoever repeats it shall not go on.
            self.tell_of_own(app, Signature::Stale, Some(&read), body);
            self.refuse(Some(app.role), Refusal::Stale);
            return StatusCode::OK;
        }
        self.tell_of_own(app, Signature::Right, Some(&read), body);
        if let Some(books) = &self.books {
            self.keep(app.role, signature, read, (wall, age), books);
        }
        StatusCode::OK
    }

    fn keep(
        &self,
        role: ClusterRole,
        signature: &str,
        read: Webhook,
        (wall, age): (Duration, Duration),
        books: &Books,
    ) {
        let at = self.clock.now();
        // Both apps may have one secret, and its digits may be written large or small.
        let id = format!("{role} {}", signature.to_ascii_lowercase());
        let is_new = {
            let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            remembered.is_new(&id, at)
        };
        if is_new {
            let told = read.events.into_iter().map(|event| Told {
                kind: event.kind,
                is_own: is_of_a_canary(&event.channel),
                channel: event.channel,
            });
            let told: Vec<_> = told.collect();
            let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
            books.keeper.note(role, read.time_ms, &told, Moment { at, wall_ms }, age);
        } else {
            books.keeper.note_repeated(role);
        }
        books.tell(role, at);
    }

    /// Whoever scripts something on sacrificial channels wants to know of every webhook that tells
    /// of them: nobody else knows their names, so even one with a wrong signature is the app's.
    fn tell_of_own(&self, app: &App, signature: Signature, read: Option<&Webhook>, body: &[u8]) {
        let events = read.into_iter().flat_map(|read| &read.events);
        let own = events.filter(|event| event.channel.contains(&app.sacrificial));
        let own: Vec<_> = own.take(ARRIVED_EVENTS_MAX).cloned().collect();
        if !own.is_empty() {
            let at = self.clock.now();
            let id = webhook::sign(&app.secret, body);
            // Nobody listens where nothing is scripted.
            let _ = app.arrived.try_send(Arrived { at, signature, id, events: own });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_comes_again_is_known_for_as_long_as_it_can_be_believed() {
        let mut remembered = Remembered::default();
        let at = |seconds: u64| RunTime::from_millis(seconds * 1_000);
        assert!(remembered.is_new("a", at(0)));
        assert!(!remembered.is_new("a", at(600)));
        assert!(remembered.is_new("b", at(1)));
        assert!(remembered.is_new("a", at(602)), "what is that old is stale by itself");
        for n in 0..REMEMBERED_MAX {
            assert!(remembered.is_new(&n.to_string(), at(603)));
        }
        assert!(remembered.is_new("a", at(603)), "the oldest makes room");
        assert_eq!(remembered.in_order.len(), REMEMBERED_MAX);
    }
}
