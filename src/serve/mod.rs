//! Serves metrics, a watch's verdict, report and page, and who is on which channel, over HTTP.
//! Nothing can be changed over it.

pub mod web_config;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use web_config::WebConfig;

/// Most connections at once; a further one waits.
const CONNECTIONS_MAX: usize = 64;
/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for a TLS handshake and for a request's head, so that a slow one holds no place for
/// ever.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The page of a watch. It asks for `api/live` and for nothing else.
const PAGE: &str = include_str!("../live/page.html");
/// What the page may do.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// The channels whose names start so, as JSON.
pub type Occupancy = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Something as JSON, as it is now; `None` while there is nothing yet.
pub type Now = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// What is served.
#[derive(Clone)]
pub struct Pages {
    /// `/metrics`: the latest page.
    pub metrics: watch::Receiver<Arc<str>>,
    /// `/api/occupancy`, where anybody knows.
    pub occupancy: Option<Occupancy>,
    /// What a watch serves beside these.
    pub watch: Option<WatchPages>,
}

/// What a watch serves.
#[derive(Clone)]
pub struct WatchPages {
    /// `/-/ready`: whether it publishes.
    pub is_ready: Arc<dyn Fn() -> bool + Send + Sync>,
    /// `/api/verdict`.
    pub verdict: Now,
    /// `/api/report`.
    pub report: Now,
    /// `/api/live`.
    pub live: Now,
}

/// Serves the latest pages until `stop`, to whom `config` admits as it is when they connect.
pub async fn run(
    listener: TcpListener,
    pages: Pages,
    config: watch::Receiver<Arc<WebConfig>>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        // An accept fails when descriptors run out, which vital signs tell. Trying again at once
        // would only take the time of whoever could give some back.
        let Some((stream, place)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (pages, config) = (pages.clone(), Arc::clone(&config.borrow()));
        let acceptor = config.tls.clone().map(TlsAcceptor::from);
        connections.spawn(async move {
            match acceptor {
                None => serve(stream, pages, config).await,
                Some(acceptor) => {
                    let shaken = tokio::time::timeout(HEADER_TIMEOUT, acceptor.accept(stream));
                    if let Ok(Ok(stream)) = shaken.await {
                        serve(stream, pages, config).await;
                    }
                }
            }
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, pages: Pages, config: Arc<WebConfig>) {
    let service = service_fn(|request| answer(request, pages.clone(), Arc::clone(&config)));
    // A scraper that goes away early is its own affair.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, place))
}

/// An answer in the making.
struct Answer {
    status: StatusCode,
    kind: &'static str,
    body: Bytes,
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

impl Answer {
    fn new(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, kind, body: body.into() }
    }

    fn text(status: StatusCode, text: &'static str) -> Self {
        Self::new(status, TEXT, text)
    }
}

async fn answer(
    request: Request<Incoming>,
    pages: Pages,
    config: Arc<WebConfig>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let is_page = path == "/";
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let asks = config.asks_for_password();
    let Answer { status, kind, body } = if !admits(&request, &config).await {
        Answer::text(StatusCode::UNAUTHORIZED, "a user and a password are asked for\n")
    } else if is_read {
        page(&path, request.uri().query().unwrap_or_default(), pages).await
    } else {
        Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n")
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_page {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    }
    if asks && status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
    }
    for (name, value) in &config.headers {
        headers.insert(name.clone(), value.clone());
    }
    Ok(response)
}

/// Whether whoever asks may read.
async fn admits(request: &Request<Incoming>, config: &Arc<WebConfig>) -> bool {
    let said = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (said, config) = (said.map(str::to_owned), Arc::clone(config));
    // Checking a password takes its time on purpose.
    let checked = tokio::task::spawn_blocking(move || config.admits(said.as_deref()));
    checked.await.unwrap_or(false)
}

async fn page(path: &str, query: &str, pages: Pages) -> Answer {
    match (path, pages.watch, pages.occupancy) {
        ("/metrics", ..) => metrics(pages.metrics).await,
        ("/api/occupancy", _, Some(occupancy)) => of_prefix(occupancy, query).await,
        ("/-/healthy", Some(_), _) => Answer::text(StatusCode::OK, "healthy\n"),
        ("/-/ready", Some(watch), _) => match (watch.is_ready)() {
            true => Answer::text(StatusCode::OK, "ready\n"),
            false => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "does not publish yet\n"),
        },
        ("/api/verdict", Some(watch), _) => now(watch.verdict).await,
        ("/api/report", Some(watch), _) => now(watch.report).await,
        ("/api/live", Some(watch), _) => now(watch.live).await,
        ("/", Some(_), _) => Answer::new(StatusCode::OK, "text/html; charset=utf-8", PAGE),
        (_, Some(_), _) => Answer::text(StatusCode::NOT_FOUND, OTHERS_OF_WATCH),
        _ => Answer::text(StatusCode::NOT_FOUND, OTHERS),
    }
}

async fn metrics(mut page: watch::Receiver<Arc<str>>) -> Answer {
    // The first page is there a moment after the listener. An empty one would be taken for the
    // truth, and every series for gone.
    let page = page.wait_for(|page| !page.is_empty()).await.map(|page| page.to_string());
    match page {
        Ok(page) => Answer::new(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page),
        Err(_) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "the run ended before it began\n"),
    }
}

async fn now(what: Now) -> Answer {
    match tokio::task::spawn_blocking(move || what()).await {
        Ok(Some(json)) => Answer::new(StatusCode::OK, JSON, json),
        Ok(None) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "nothing is known yet\n"),
        Err(_) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, ""),
    }
}

async fn of_prefix(occupancy: Occupancy, query: &str) -> Answer {
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned();
    let (of_prefix, others): (Vec<_>, Vec<_>) = query.partition(|(name, _)| name == "prefix");
    if !others.is_empty() {
        return Answer::text(StatusCode::BAD_REQUEST, "the one parameter is prefix\n");
    }
    let prefix = of_prefix.into_iter().next().map_or(String::new(), |(_, prefix)| prefix);
    // It may wait for a list of the API that is being looked through.
    match tokio::task::spawn_blocking(move || occupancy(&prefix)).await {
        Ok(page) => Answer::new(StatusCode::OK, JSON, page),
        Err(_) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, ""),
    }
}

/// What is said where there is no page.
const OTHERS: &str = "see /metrics, and /api/occupancy where webhooks are received\n";
const OTHERS_OF_WATCH: &str = "see /, /metrics, /api/verdict, /api/report, /api/live, /-/healthy, \
     /-/ready, and /api/occupancy where webhooks are received\n";
