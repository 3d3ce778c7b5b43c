//! Serves metrics, and who is on which channel, over HTTP. Nothing can be changed over it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Most connections at once; a further one waits.
const CONNECTIONS_MAX: usize = 64;
/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for a request's head, so that a slow one holds no place for ever.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The channels whose names start so, as JSON.
pub type Occupancy = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// What is served.
#[derive(Clone)]
pub struct Pages {
    /// `/metrics`: the latest page.
    pub metrics: watch::Receiver<Arc<str>>,
    /// `/api/occupancy`, where anybody knows.
    pub occupancy: Option<Occupancy>,
}

/// Serves the latest pages until `stop`.
pub async fn run(listener: TcpListener, pages: Pages, stop: CancellationToken) {
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
        let pages = pages.clone();
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, pages.clone()));
            // A scraper that goes away early is its own affair.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// What is said where there is no page.
const OTHERS: &str = "see /metrics, and /api/occupancy where webhooks are received\n";

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, place))
}

async fn answer(
    request: Request<Incoming>,
    pages: Pages,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let Pages { metrics: mut page, occupancy } = pages;
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/api/occupancy") if let Some(occupancy) = occupancy => {
            let query = request.uri().query().unwrap_or_default();
            let query = url::form_urlencoded::parse(query.as_bytes()).into_owned();
            let (of_prefix, others): (Vec<_>, Vec<_>) =
                query.partition(|(name, _)| name == "prefix");
            let prefix = of_prefix.into_iter().next().map_or(String::new(), |(_, prefix)| prefix);
            // It may wait for a list of the API that is being looked through.
            match tokio::task::spawn_blocking(move || occupancy(&prefix)).await {
                _ if !others.is_empty() => {
                    let body = "the one parameter is prefix\n".to_owned();
                    (StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", body)
                }
                Ok(page) => (StatusCode::OK, "application/json", page),
                Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", String::new()),
            }
        }
        (&Method::GET | &Method::HEAD, "/metrics") => {
            // The first page is there a moment after the listener. An empty one would be taken for
            // the truth, and every series for gone.
            let page = page.wait_for(|page| !page.is_empty()).await.map(|page| page.to_string());
            match page {
                Ok(page) => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page),
                Err(_) => {
                    let body = "the run ended before it began\n".to_owned();
                    (StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", body)
                }
            }
        }
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, "text/plain; charset=utf-8", OTHERS.to_owned())
        }
        _ => {
            let body = "only GET is answered\n".to_owned();
            (StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", body)
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}
