//! One cluster on sockets: a plain and a TLS listener, each serving WebSockets and the HTTP API
//! on one port.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;

use crate::model::habit::Habit;
use crate::model::{Clock, RunTime};

use super::core::{Core, Effect};
use super::endpoint;
use super::faults::{Done, FaultCounts};
use super::hooks::Hook;
use super::hub::{App, Conn, Publication};
use super::rest::{self, Reply};
use super::socket::{self, End, Item, Patience};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4_096;
/// Most connections at once; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 32_768;
/// How long a client may take over the TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an orderly stop waits for its clients.
const STOP_GRACE: Duration = Duration::from_millis(2500);
/// How long a connection may ask for nothing, where that is a habit.
const TALK_WITHIN: Duration = Duration::from_secs(1);
/// How long an upgrade takes, where it is a habit that it takes long.
const UPGRADE_AFTER: Duration = Duration::from_secs(1);
/// Whose pages may connect, where no others may.
const OWN_ORIGIN: &str = "https://app.example.com";
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// How long to wait after a failed accept: descriptors have run out, or a client left early.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Where done faults are written, if anywhere. Called with a cluster's lock held.
pub type Log = Arc<dyn Fn(&[Done]) + Send + Sync>;

/// How a cluster is told to end.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Orderly: WebSockets are closed with 4200.
    pub stop: CancellationToken,
    /// As when the process dies.
    pub kill: CancellationToken,
}

/// One cluster, shared by its tasks.
pub struct Cluster {
    app: App,
    habits: BTreeSet<Habit>,
    clock: Clock,
    log: Option<Log>,
    webhooks: Option<mpsc::Sender<(RunTime, Vec<Hook>)>>,
    state: Mutex<State>,
    /// The next deadline came nearer.
    sooner: Notify,
}

/// Where a cluster is reached.
pub struct Listeners {
    /// Without TLS.
    pub plain: TcpListener,
    /// The same at another address, if there is one.
    pub v6: Option<TcpListener>,
    /// With TLS.
    pub tls: TcpListener,
    /// Does TLS.
    pub acceptor: TlsAcceptor,
}

/// Behind the lock, which is never held across an await: every call into it only computes.
struct State {
    core: Core,
    links: HashMap<Conn, Link>,
    /// The deadline that the timer's task waits for.
    armed: RunTime,
}

struct Link {
    queue: mpsc::Sender<Item>,
    overflow: CancellationToken,
}

/// A WebSocket that a request asked for, to be served when its answer is out.
struct Upgrade {
    on: OnUpgrade,
    admission: Result<(), (u16, String)>,
}

/// The service's error: cut the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut on purpose")]
struct Cut;

type Answer = Result<Response<Full<Bytes>>, Cut>;

impl Cluster {
    /// A cluster around a core. `clock` is the pair's, so that both logs tell one time.
    pub fn new(
        core: Core,
        clock: Clock,
        log: Option<Log>,
        webhooks: Option<mpsc::Sender<(RunTime, Vec<Hook>)>>,
    ) -> Arc<Self> {
        let (app, habits) = (core.hub().app().clone(), core.hub().habits().clone());
        let state = State { core, links: HashMap::new(), armed: RunTime::NEVER };
        let (state, sooner) = (Mutex::new(state), Notify::new());
        Arc::new(Self { app, habits, clock, log, webhooks, state, sooner })
    }

    /// What was done on purpose so far.
    pub fn counts(&self) -> FaultCounts {
        self.lock().core.counts()
    }

    /// Seats a user of the application on a channel; `user` is who it is on a presence channel.
    pub fn seat(&self, channel: &str, user: Option<&str>) {
        self.drive(|core, now| {
            core.seat(now, channel, user);
            ((), Vec::new())
        });
    }

    /// Publishes an event of the application.
    pub fn publish_for_application(&self, event: Publication) {
        self.drive(|core, now| ((), core.publish_for_application(now, event)));
    }

    /// A panic with the lock held shows elsewhere: its task's end is an error of the pair's.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thing that happened: told to the core at this instant, and its effects carried out.
    fn drive<R>(&self, happened: impl FnOnce(&mut Core, RunTime) -> (R, Vec<Effect>)) -> R {
        let mut state = self.lock();
        let now = self.clock.now();
        let (result, effects) = happened(&mut state.core, now);
        state.carry(now, effects);
        self.finish(state);
        result
    }

    fn finish(&self, mut state: MutexGuard<'_, State>) {
        if let Some(webhooks) = &self.webhooks {
            let now = self.clock.now();
            let hooks = state.core.take_hooks(now);
            if !hooks.is_empty() {
                // A queue that is full loses them, as a service does that gives up.
                let _ = webhooks.try_send((now, hooks));
            }
        }
        let done = state.core.take_done();
        if let Some(log) = &self.log
            && !done.is_empty()
        {
            log(&done);
        }
        if state.core.next_deadline() < state.armed {
            self.sooner.notify_one();
        }
    }

    /// Serves until told to end; gives what panicked in the meantime.
    pub async fn run(self: Arc<Self>, listeners: Listeners, signals: Signals) -> Vec<String> {
        let Listeners { plain, v6, tls, acceptor } = listeners;
        let (mut tasks, mut panics) = (JoinSet::new(), Vec::new());
        tasks.spawn(Arc::clone(&self).keep_time(signals.clone()));
        loop {
            let room = tasks.len() <= CONNECTIONS_MAX;
            let (stream, acceptor) = tokio::select! {
                stream = plain.accept(), if room => (stream, None),
                stream = accept(v6.as_ref()), if room => (stream, None),
                stream = tls.accept(), if room => (stream, Some(acceptor.clone())),
                Some(ended) = tasks.join_next() => {
                    panics.extend(panic_of(ended));
                    continue;
                }
                () = signals.stop.cancelled() => break,
                () = signals.kill.cancelled() => break,
            };
            match stream {
                Ok((stream, _)) => {
                    tasks.spawn(Arc::clone(&self).serve(stream, acceptor, signals.stop.clone()));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
        drop((plain, v6, tls));
        if !signals.kill.is_cancelled() {
            self.drive(|core, _| ((), core.close_all()));
            let wait = async {
                while let Some(ended) = tasks.join_next().await {
                    panics.extend(panic_of(ended));
                }
            };
            tokio::select! {
                _ = timeout(STOP_GRACE, wait) => {}
                () = signals.kill.cancelled() => {}
            }
        }
        tasks.abort_all();
        while let Some(ended) = tasks.join_next().await {
            panics.extend(panic_of(ended));
        }
        panics
    }

    /// Calls the core when something is due.
    async fn keep_time(self: Arc<Self>, signals: Signals) {
        loop {
            let deadline = {
                let mut state = self.lock();
                state.armed = state.core.next_deadline();
                state.armed
            };
            tokio::select! {
                () = sleep_until(self.clock.instant(deadline).into()) => {}
                () = self.sooner.notified() => {}
                () = signals.stop.cancelled() => return,
                () = signals.kill.cancelled() => return,
            }
            self.drive(|core, now| ((), core.handle_timeout(now)));
        }
    }

    async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        acceptor: Option<TlsAcceptor>,
        stop: CancellationToken,
    ) {
        // Frames are small and each matters on its own. Failing to say so only makes them later.
        let _ = stream.set_nodelay(true);
        let takes_plain =
            [Habit::PlainToo, Habit::ForcesTls].iter().any(|habit| self.habits.contains(habit));
        let is_plain = match &acceptor {
            Some(_) if takes_plain => timeout(TLS_TIMEOUT, is_no_tls(&stream)).await == Ok(true),
            _ => false,
        };
        match acceptor.filter(|_| !is_plain) {
            None => {
                let is_refused = is_plain && self.habits.contains(&Habit::ForcesTls);
                self.serve_http(stream, is_refused, stop).await;
            }
            Some(acceptor) => {
                let handshake = timeout(TLS_TIMEOUT, acceptor.accept(stream));
                tokio::select! {
                    stream = handshake => if let Ok(Ok(stream)) = stream {
                        self.serve_http(stream, false, stop).await;
                    },
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// `is_refused`: whoever opens a WebSocket is told to use TLS.
    async fn serve_http<S>(self: Arc<Self>, stream: S, is_refused: bool, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let upgrade = Mutex::new(None);
        let service = service_fn(|request| self.answer(request, is_refused, &upgrade));
        let served = {
            let http = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let mut http = std::pin::pin!(http.with_upgrades());
            tokio::select! {
                served = http.as_mut() => served,
                () = stop.cancelled() => {
                    http.as_mut().graceful_shutdown();
                    http.await
                }
            }
        };
        let upgrade = upgrade.into_inner().unwrap_or_else(PoisonError::into_inner);
        // A broken connection is the client's affair, or was cut on purpose.
        if let (Ok(()), Some(upgrade)) = (served, upgrade) {
            self.serve_socket(upgrade).await;
        }
    }

    async fn serve_socket(&self, upgrade: Upgrade) {
        let Ok(upgraded) = upgrade.on.await else { return };
        let mut ws = socket::upgrade(TokioIo::new(upgraded)).await;
        if let Err((code, reason)) = upgrade.admission {
            if self.habits.contains(&Habit::WordlessStrangers) {
                return;
            }
            return socket::refuse(ws, code, &reason).await;
        }
        let (queue, frames) = mpsc::channel(socket::QUEUE_MAX);
        let overflow = CancellationToken::new();
        let link = Link { queue, overflow: overflow.clone() };
        let conn = {
            let mut state = self.lock();
            let now = self.clock.now();
            let (conn, effects) = state.core.handle_connected(now);
            state.links.insert(conn, link);
            state.carry(now, effects);
            self.finish(state);
            conn
        };
        let text = |text: &str| self.drive(|core, now| ((), core.handle_text(now, conn, text)));
        let timing = (self.clock, Patience::of(&self.habits));
        let serving = socket::run(&mut ws, frames, overflow, timing, text);
        let end = tokio::select! {
            end = serving => end,
            never = self.expect_talk(conn) => match never {},
        };
        // Forgotten first, so that nothing is counted as sent to it that no longer is.
        self.lock().links.remove(&conn);
        self.drive(|core, now| match end {
            End::Cut => ((), core.handle_cut(now, conn)),
            End::Gone | End::Close(..) => ((), core.handle_closed(now, conn)),
        });
        if let End::Close(code, reason) = end {
            socket::close(&mut ws, code, reason).await;
        }
    }

    /// Closes a connection that asks for nothing, where that is a habit.
    async fn expect_talk(&self, conn: Conn) -> Infallible {
        let within = match () {
            () if self.habits.contains(&Habit::Talkers) => Some(TALK_WITHIN),
            () if self.habits.contains(&Habit::PatientTalkers) => Some(TALK_WITHIN * 10),
            () => None,
        };
        if let Some(within) = within {
            sleep(within).await;
            self.drive(|core, now| ((), core.close_idle(now, conn)));
        }
        std::future::pending().await
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        is_refused: bool,
        upgrade: &Mutex<Option<Upgrade>>,
    ) -> Answer {
        if let Some(key) = websocket_key(&request) {
            let admission = match request.headers().get(header::ORIGIN) {
                _ if is_refused => Err((4000, "this app takes TLS alone".to_owned())),
                Some(origin)
                    if origin != OWN_ORIGIN && self.habits.contains(&Habit::OwnOrigins) =>
                {
                    Err((4009, "pages of this origin may not connect".to_owned()))
                }
                _ => admit(&self.app, request.uri().path(), request.uri().query()),
            };
            if self.habits.contains(&Habit::SlowUpgrade) {
                sleep(UPGRADE_AFTER).await;
            }
            let on = hyper::upgrade::on(&mut request);
            *upgrade.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Upgrade { on, admission });
            return Ok(switching_protocols(&key));
        }
        if endpoint::is_endpoint(request.uri().path()) {
            return Ok(respond(self.authorise(request).await));
        }
        let arrived = self.lock().core.request_arrived();
        // A request whose connection is cut has never been answered.
        let reply = self.call(request, &arrived).await.ok_or(Cut)?;
        self.lock().core.request_answered(&arrived);
        let mut response = respond(reply);
        if self.habits.contains(&Habit::ClosesHttp) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.habits.contains(&Habit::ClockAhead) {
            let date = HeaderValue::from_static("Thu, 01 Jan 2099 00:00:00 GMT");
            response.headers_mut().insert(header::DATE, date);
        }
        Ok(response)
    }

    /// An auth endpoint of the application.
    async fn authorise(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, rest::BODY_BYTES_MAX).collect().await else {
            return Reply { status: 413, body: "the body is too large\n".to_owned() };
        };
        let body = body.to_bytes();
        let header = |name| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
        let question = endpoint::Question {
            path: head.uri.path(),
            content_type: header(header::CONTENT_TYPE),
            authorization: header(header::AUTHORIZATION),
            cookie: header(header::COOKIE),
            body: &body,
        };
        let (reply, delay) = endpoint::answer(&self.app, question);
        sleep(delay).await;
        reply
    }

    async fn call(
        &self,
        request: Request<Incoming>,
        arrived: &super::faults::Request,
    ) -> Option<Reply> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, rest::BODY_BYTES_MAX).collect().await else {
            return Some(Reply { status: 413, body: "the body is too large\n".to_owned() });
        };
        let body = body.to_bytes();
        let parts = rest::Parts {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            body: &body,
        };
        match rest::parse(&self.app, &self.habits, self.clock.wall_now().as_secs(), parts) {
            Ok(call) => self.drive(|core, now| rest::apply(core, now, call, arrived)),
            Err(refusal) => Some(refusal),
        }
    }
}

impl State {
    /// Hands effects to the sockets' tasks. A queue that is full ends its connection, which may
    /// have effects on others.
    fn carry(&mut self, now: RunTime, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            let (conn, item) = match effect {
                Effect::Send(conn, frame) => (conn, Item::Frame(frame)),
                Effect::Close(conn, code, reason) => (conn, Item::Close(code, reason.to_owned())),
                Effect::Mute(conn) => (conn, Item::Mute),
                Effect::Unmute(conn) => (conn, Item::Unmute),
            };
            let Some(link) = self.links.get(&conn) else { continue };
            if link.queue.try_send(item).is_err() {
                link.overflow.cancel();
                self.links.remove(&conn);
                effects.extend(self.core.handle_closed(now, conn));
            }
        }
    }
}

fn panic_of(ended: Result<(), JoinError>) -> Option<String> {
    let error = ended.err().filter(JoinError::is_panic)?;
    let payload = error.into_panic();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    Some(text.unwrap_or_else(|| "a panic without a text".to_owned()))
}

/// The key of a WebSocket handshake; `None` if the request is none.
fn websocket_key(request: &Request<Incoming>) -> Option<HeaderValue> {
    let upgrade = request.headers().get(header::UPGRADE)?.to_str().ok()?;
    let websocket = upgrade.eq_ignore_ascii_case("websocket");
    if websocket { request.headers().get(header::SEC_WEBSOCKET_KEY).cloned() } else { None }
}

fn switching_protocols(key: &HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn respond(reply: Reply) -> Response<Full<Bytes>> {
    let kind = if reply.status == 200 { "application/json" } else { "text/plain" };
    let mut response = Response::new(Full::from(reply.body));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Whether a WebSocket may be served, or the close code and its sentence (Channels docs:
/// protocol).
fn admit(app: &App, path: &str, query: Option<&str>) -> Result<(), (u16, String)> {
    let Some(key) = path.strip_prefix("/app/").filter(|key| !key.contains('/')) else {
        return Err((4005, "path not found".to_owned()));
    };
    let mut params = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    match params.find(|(name, _)| name == "protocol").map(|(_, value)| value.parse::<u32>()) {
        None => return Err((4008, "no protocol version given".to_owned())),
        Some(Err(_)) => return Err((4006, "the protocol version is no number".to_owned())),
        Some(Ok(4..=7)) => {}
        Some(Ok(version)) => return Err((4007, format!("unsupported protocol version {version}"))),
    }
    if key == app.key.as_str() {
        Ok(())
    } else {
        let key: String = key.chars().take(40).collect();
        Err((4001, format!("app key {key} does not exist in this cluster")))
    }
}

/// Accepts a connection, if there is a listener.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Whether what a client begins with is no TLS.
async fn is_no_tls(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first != [TLS_HANDSHAKE]
}

/// Binds a listener on loopback, on a port of the system's choice.
///
/// # Errors
/// No port is left.
pub fn bind() -> io::Result<std::net::TcpListener> {
    bind_at((Ipv4Addr::LOCALHOST, 0).into())
}

/// Binds a listener there.
///
/// # Errors
/// The address is taken, or is none of this machine's.
pub fn bind_at(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    // Whoever finds no place among those that wait tries again a second later, and that is what a
    // client would measure.
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppId, AppKey, ClusterRole, Secret};
    use crate::rehearsal::core::Setup;

    #[test]
    fn a_full_queue_ends_its_connection_and_the_others_hear_of_it() {
        let app = App {
            id: AppId::new("1").unwrap(),
            key: AppKey::new("key").unwrap(),
            secret: Secret::new("secret"),
        };
        let (role, faults) = (ClusterRole::New, Vec::new());
        let core = Core::new(Setup {
            role,
            app,
            seed: 1,
            habits: Default::default(),
            faults,
            has_webhooks: false,
            peek_key: None,
        });
        let mut state = State { core, links: HashMap::new(), armed: RunTime::NEVER };
        let (conn, effects) = state.core.handle_connected(RunTime::ZERO);
        let (queue, mut frames) = mpsc::channel(1);
        let overflow = CancellationToken::new();
        state.links.insert(conn, Link { queue, overflow: overflow.clone() });
        state.carry(RunTime::ZERO, effects);
        assert!(!overflow.is_cancelled());
        let ping = r#"{"event":"pusher:ping"}"#;
        let effects = state.core.handle_text(RunTime::ZERO, conn, ping);
        state.carry(RunTime::ZERO, effects);
        assert!(overflow.is_cancelled());
        assert!(state.links.is_empty());
        assert_eq!(state.core.hub().connections().count(), 0);
        assert!(matches!(frames.try_recv(), Ok(Item::Frame(_))));
    }

    #[tokio::test]
    async fn a_panic_is_told_and_an_abort_is_none() {
        let mut tasks: JoinSet<()> = JoinSet::new();
        let text = 7;
        tasks.spawn(async move { panic!("broken {text}") });
        let ended = tasks.join_next().await.unwrap();
        assert_eq!(panic_of(ended).as_deref(), Some("broken 7"));
        tasks.spawn(std::future::pending());
        tasks.abort_all();
        assert_eq!(panic_of(tasks.join_next().await.unwrap()), None);
    }
}
