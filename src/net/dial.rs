//! Dialling: resolve, connect, TLS, WebSocket upgrade; each phase timed apart, all of them bounded.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use rustix::io::Errno;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::{HeaderValue, ORIGIN};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use url::Url;

use crate::model::{Clock, RunTime};

use super::head::Head;

/// Longest message that is taken from a cluster: a hundred times the largest event.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes read from a socket at once: so few at least, and so many at most.
const READ_BYTES: std::ops::RangeInclusive<usize> = (1 << 10)..=(128 << 10);
/// What all sockets of a process may have together beyond the least.
const READ_BYTES_TOGETHER: usize = 8 << 20;

/// A place to dial, with its TLS configuration where the scheme asks for TLS.
#[derive(Clone, Debug)]
pub struct Target {
    url: Url,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    /// The page that a browser would name.
    origin: Option<HeaderValue>,
    /// The only kind of address that is dialled.
    family: Option<Family>,
    /// Bytes that a WebSocket reads at once.
    read_bytes: usize,
}

/// A kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    const fn is(self, address: &SocketAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// What was being done when a dial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Name to addresses.
    Resolve,
    /// TCP.
    Connect,
    /// TLS.
    Tls,
    /// The WebSocket upgrade.
    Upgrade,
}

/// Why a dial failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DialError {
    /// The phase that failed.
    pub phase: Phase,
    /// Whether the same dial may succeed later.
    pub may_pass: bool,
    /// Whether nothing was heard in time.
    pub is_late: bool,
    /// Whether this machine was the reason, whoever is at the other end: it has no file descriptor,
    /// port, memory or route left, or its clock was stepped, by which it judges certificates.
    pub is_own: bool,
    /// Cause and cure.
    pub message: String,
}

impl DialError {
    /// What the peer, or what is between, is the reason of.
    pub const fn new(phase: Phase, may_pass: bool, message: String) -> Self {
        Self { phase, may_pass, is_late: false, is_own: false, message }
    }
}

/// Whether it is for this machine's own lack that something failed.
fn is_own(error: &io::Error) -> bool {
    let lacks = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
        Errno::NETUNREACH,
        Errno::NETDOWN,
    ];
    Errno::from_io_error(error).is_some_and(|errno| lacks.contains(&errno))
}

/// How long each phase took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Name to addresses.
    pub resolve: Duration,
    /// TCP.
    pub connect: Duration,
    /// TLS; zero without it.
    pub tls: Duration,
    /// The WebSocket upgrade; zero for HTTP.
    pub upgrade: Duration,
}

impl Target {
    /// The same for one of so many connections of this process. The fewer there are, the more each
    /// reads at once: that is what makes it fast, and what takes memory.
    #[must_use]
    pub fn shared_by(self, connections: u64) -> Self {
        let each = READ_BYTES_TOGETHER / usize::try_from(connections.max(1)).unwrap_or(usize::MAX);
        Self { read_bytes: each.clamp(*READ_BYTES.start(), *READ_BYTES.end()), ..self }
    }

    /// Takes a URL with a host and one of the schemes `ws`, `wss`, `http`, `https`.
    pub fn new(url: Url, tls: &Arc<ClientConfig>) -> Self {
        let secure = matches!(url.scheme(), "wss" | "https");
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(if secure { 443 } else { 80 });
        let tls = secure.then(|| Arc::clone(tls));
        let read_bytes = *READ_BYTES.start();
        Self { host, port, tls, url, origin: None, family: None, read_bytes }
    }

    /// Whether it is dialled with TLS.
    pub const fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// The same with this configuration, where it is dialled with TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: &Arc<ClientConfig>) -> Self {
        self.tls = self.tls.map(|_| Arc::clone(tls));
        self
    }

    /// The same without TLS: at the usual port, or at the one that it names.
    #[must_use]
    pub fn plain(mut self) -> Self {
        let scheme = if self.url.scheme().starts_with("ws") { "ws" } else { "http" };
        // Between these schemes it can be set.
        let _ = self.url.set_scheme(scheme);
        self.port = self.url.port_or_known_default().unwrap_or(80);
        self.tls = None;
        self
    }

    /// The same, as if a page of this origin dialled; `None` if that can be no header.
    pub fn with_origin(&self, origin: &str) -> Option<Self> {
        Some(Self { origin: Some(HeaderValue::from_str(origin).ok()?), ..self.clone() })
    }

    /// The same over addresses of one kind alone.
    #[must_use]
    pub fn over(&self, family: Family) -> Self {
        Self { family: Some(family), ..self.clone() }
    }

    /// The same place with another path and query, behind what comes before `/app`.
    #[must_use]
    pub fn at(&self, path_and_query: &str) -> Self {
        let before = self.url.path().split("/app/").next().unwrap_or_default();
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let mut target = self.clone();
        target.url.set_path(&format!("{}{path}", before.trim_end_matches('/')));
        target.url.set_query(query);
        target
    }

    /// `host:port`, as in a `Host` header.
    pub fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The path before `/apps` and `/app`, without a slash at its end.
    pub fn path_prefix(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }
}

/// When bytes were read from a socket, and how many it carried. Shared with whoever reads through
/// layers above it.
#[derive(Debug, Default)]
pub struct ReadStamps {
    last_read: AtomicU64,
    burst_start: AtomicU64,
    drained: AtomicBool,
    backlog_max: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

impl ReadStamps {
    /// The instant of the last read that gave bytes.
    pub fn last_read(&self) -> RunTime {
        RunTime(self.last_read.load(Ordering::Relaxed))
    }

    /// The longest time since the last call for which the socket has had bytes to read whenever it
    /// was asked: an upper bound on how long any of them had waited.
    pub fn take_backlog(&self) -> Duration {
        Duration::from_nanos(self.backlog_max.swap(0, Ordering::Relaxed))
    }

    /// Bytes read and bytes written since the last call.
    pub fn take_bytes(&self) -> (u64, u64) {
        (self.received.swap(0, Ordering::Relaxed), self.sent.swap(0, Ordering::Relaxed))
    }

    /// The socket had nothing to read.
    fn note_drained(&self) {
        self.drained.store(true, Ordering::Relaxed);
    }

    /// The socket gave bytes at `now`.
    fn note_read(&self, now: RunTime) {
        if self.drained.swap(false, Ordering::Relaxed) {
            self.burst_start.store(now.0, Ordering::Relaxed);
        }
        self.last_read.store(now.0, Ordering::Relaxed);
        let burst = now.0.saturating_sub(self.burst_start.load(Ordering::Relaxed));
        self.backlog_max.fetch_max(burst, Ordering::Relaxed);
    }
}

/// A TCP stream that notes when bytes were read.
#[derive(Debug)]
pub struct Stamped {
    tcp: TcpStream,
    clock: Clock,
    stamps: Arc<ReadStamps>,
}

impl AsyncRead for Stamped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.tcp).poll_read(cx, buf);
        let bytes = buf.filled().len() - before;
        self.stamps.received.fetch_add(bytes as u64, Ordering::Relaxed);
        match &polled {
            Poll::Pending => self.stamps.note_drained(),
            Poll::Ready(_) => self.stamps.note_read(self.clock.now()),
        }
        polled
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.tcp).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.stamps.sent.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// A connected stream, with TLS or without.
#[derive(Debug)]
pub enum Transport {
    /// Without TLS.
    Plain(Stamped),
    /// With TLS.
    Tls(Box<TlsStream<Stamped>>),
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Transport {
    /// The server's certificate, and those that it sent with it; none without TLS.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::Plain(_) => &[],
            Self::Tls(stream) => stream.get_ref().1.peer_certificates().unwrap_or_default(),
        }
    }
}

/// An open WebSocket.
pub type Socket = WebSocketStream<Transport>;

/// The first address of a target.
///
/// # Errors
/// The name is not resolved.
pub async fn address(target: &Target) -> io::Result<Option<SocketAddr>> {
    let mut addresses = lookup_host((target.host.as_str(), target.port)).await?;
    Ok(addresses.find(|address| target.family.is_none_or(|family| family.is(address))))
}

/// Opens a byte stream within `bound`.
///
/// # Errors
/// See [`DialError`].
pub async fn stream(
    target: &Target,
    clock: Clock,
    bound: Duration,
) -> Result<(Transport, Arc<ReadStamps>, Phases), DialError> {
    open(&Attempt { target, clock, end: clock.now().after(bound), bound }).await
}

/// Opens a WebSocket within `bound`.
///
/// # Errors
/// See [`DialError`].
pub async fn websocket(
    target: &Target,
    clock: Clock,
    bound: Duration,
) -> Result<(Socket, Arc<ReadStamps>, Phases), DialError> {
    let attempt = Attempt { target, clock, end: clock.now().after(bound), bound };
    let (transport, stamps, mut phases) = open(&attempt).await?;
    let start = clock.now();
    let config = WebSocketConfig::default()
        .read_buffer_size(target.read_bytes)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let mut request =
        target.url.as_str().into_client_request().map_err(|error| upgrade_error(target, &error))?;
    if let Some(origin) = &target.origin {
        request.headers_mut().insert(ORIGIN, origin.clone());
    }
    // As a WebSocket it would keep the buffer in which the answer is read: 4 KiB.
    let head = Head::new(transport);
    let upgrade = tokio_tungstenite::client_async_with_config(request, head, Some(config));
    let (upgraded, _) = attempt
        .within(Phase::Upgrade, upgrade)
        .await?
        .map_err(|error| upgrade_error(target, &error))?;
    phases.upgrade = clock.now().since(start);
    let (transport, frames) = upgraded.into_inner().into_parts();
    let socket = Socket::from_partially_read(transport, frames, Role::Client, Some(config)).await;
    Ok((socket, stamps, phases))
}

/// One dial, and when it must be over.
struct Attempt<'a> {
    target: &'a Target,
    clock: Clock,
    end: RunTime,
    bound: Duration,
}

impl Attempt<'_> {
    /// It is no `async fn`, which would keep room for the step twice.
    fn within<T>(
        &self,
        phase: Phase,
        step: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, DialError>> {
        let end = self.clock.instant(self.end).into();
        let is_late = move |_| {
            let doing = match phase {
                Phase::Resolve => "the name was not resolved",
                Phase::Connect => "the TCP connection was not answered",
                Phase::Tls => "the TLS handshake was not finished",
                Phase::Upgrade => "the WebSocket upgrade was not answered",
            };
            let message = format!(
                "{doing} by {} within {}; check host, port and firewall",
                self.target.authority(),
                humantime::format_duration(self.bound)
            );
            DialError { is_late: true, ..DialError::new(phase, true, message) }
        };
        tokio::time::timeout_at(end, step).map(move |step| step.map_err(is_late))
    }
}

async fn open(attempt: &Attempt<'_>) -> Result<(Transport, Arc<ReadStamps>, Phases), DialError> {
    let Attempt { target, clock, .. } = attempt;
    let mut phases = Phases::default();
    let start = clock.now();
    let lookup = lookup_host((target.host.as_str(), target.port));
    let resolve_error = |error: io::Error| {
        let message =
            format!("DNS does not resolve {} ({error}); check the host name", target.host);
        DialError { is_own: is_own(&error), ..DialError::new(Phase::Resolve, true, message) }
    };
    let addresses = attempt.within(Phase::Resolve, lookup).await?.map_err(resolve_error)?;
    let resolved = clock.now();
    phases.resolve = resolved.since(start);
    let family = target.family;
    let is_meant = |address: &SocketAddr| family.is_none_or(|family| family.is(address));
    let addresses: Vec<_> = addresses.filter(is_meant).collect();
    if let (true, Some(family)) = (addresses.is_empty(), family) {
        let message = format!("{} has no {} address", target.host, family.as_str());
        return Err(DialError::new(Phase::Resolve, false, message));
    }
    let each = attempt.end.since(resolved) / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let tcp = attempt.within(Phase::Connect, connect(target, &addresses, each)).await??;
    let connected = clock.now();
    phases.connect = connected.since(resolved);
    // Nagle's algorithm would hold small frames back and be measured as latency.
    let _ = tcp.set_nodelay(true);
    let stamps = Arc::new(ReadStamps::default());
    stamps.note_drained();
    let stamped = Stamped { tcp, clock: *clock, stamps: Arc::clone(&stamps) };
    let Some(config) = &target.tls else {
        return Ok((Transport::Plain(stamped), stamps, phases));
    };
    let name = ServerName::try_from(target.host.clone()).map_err(|_| {
        let message = format!("{} is no host name that a certificate can name", target.host);
        DialError::new(Phase::Tls, false, message)
    })?;
    let handshake = TlsConnector::from(Arc::clone(config)).connect(name, stamped);
    let tls = attempt.within(Phase::Tls, handshake).await?;
    let tls = tls.map_err(|error| tls_error(target, &error, clock.is_stepped()))?;
    phases.tls = clock.now().since(connected);
    Ok((Transport::Tls(Box::new(tls)), stamps, phases))
}

/// Tries the addresses in the resolver's order, each for an equal share of the time: one that does
/// not answer must not keep the others from being tried.
async fn connect(
    target: &Target,
    addresses: &[SocketAddr],
    each: Duration,
) -> Result<TcpStream, DialError> {
    let mut errors = Vec::new();
    for (left, address) in (0..addresses.len()).rev().zip(addresses) {
        let connecting = TcpStream::connect(address);
        // The last one has all the time that is left, which the caller bounds.
        let connected = match left {
            0 => connecting.await,
            _ => tokio::time::timeout(each, connecting).await.unwrap_or_else(|e| Err(e.into())),
        };
        match connected {
            Ok(tcp) => return Ok(tcp),
            Err(error) => errors.push(error),
        }
    }
    Err(connect_error(target, &errors))
}

/// What the failures at all addresses come to. A machine that cannot reach one of them at all, such
/// as one without IPv6, is no reason that another of them refuses.
fn connect_error(target: &Target, errors: &[io::Error]) -> DialError {
    let by_others = errors.iter().rfind(|error| !is_own(error));
    let is_own = by_others.is_none() && !errors.is_empty();
    let why = by_others.or(errors.last());
    let why = why.map_or("no address".to_owned(), ToString::to_string);
    let cure = if is_own { "this machine lacks it" } else { "check that the server runs there" };
    let message = format!("{} cannot be reached ({why}); {cure}", target.authority());
    DialError { is_own, ..DialError::new(Phase::Connect, true, message) }
}

fn tls_error(target: &Target, error: &io::Error, is_stepped: bool) -> DialError {
    let certificate = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .filter(|error| matches!(error, rustls::Error::InvalidCertificate(_)));
    let message = match certificate {
        Some(why) => format!(
            "the certificate of {} is refused ({why}); set tls.ca_file to the CA that signed it, \
             or renew it",
            target.authority()
        ),
        None => format!(
            "TLS with {} failed ({error}); check that the port speaks TLS, or use ws:// and http:// \
             with plaintext = true",
            target.authority()
        ),
    };
    let is_own = is_stepped && certificate.is_some();
    DialError { is_own, ..DialError::new(Phase::Tls, certificate.is_none(), message) }
}

fn upgrade_error(target: &Target, error: &WsError) -> DialError {
    let message = match error {
        WsError::Http(response) => format!(
            "{} answered the WebSocket upgrade with HTTP {}; check ws_url, its path included",
            target.authority(),
            response.status().as_u16()
        ),
        other => format!(
            "{} did not upgrade to a WebSocket ({other}); check that ws_url is a Pusher server's",
            target.authority()
        ),
    };
    DialError::new(Phase::Upgrade, true, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_the_reason_only_where_no_address_refuses() {
        let tls = super::super::tls::client_config(None).unwrap();
        let target = Target::new(Url::parse("ws://h:6001").unwrap(), &tls);
        let failed = |numbers: &[Errno]| {
            let errors: Vec<_> = numbers.iter().map(|errno| io::Error::from(*errno)).collect();
            connect_error(&target, &errors)
        };
        assert!(
            failed(&[Errno::MFILE]).is_own && failed(&[Errno::MFILE, Errno::NETUNREACH]).is_own
        );
        assert!(failed(&[Errno::NETUNREACH]).message.ends_with("; this machine lacks it"));
        for others in [
            &[Errno::CONNREFUSED][..],
            &[Errno::CONNREFUSED, Errno::NETUNREACH],
            &[Errno::NETUNREACH, Errno::CONNREFUSED],
            &[Errno::HOSTUNREACH],
            &[],
        ] {
            let error = failed(others);
            assert!(!error.is_own, "{others:?}");
            assert!(error.message.ends_with("check that the server runs there"), "{error}");
        }
        assert!(failed(&[Errno::CONNREFUSED, Errno::NETUNREACH]).message.contains("refused"));
    }
}
