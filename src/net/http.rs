//! HTTP/1.1 with keep-alive: one connection, one request at a time. Alone knows the HTTP crate.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    CONNECTION, CONTENT_TYPE, DATE, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request as HttpRequest};
use hyper_util::rt::TokioIo;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio_util::task::TaskTracker;

use crate::model::Clock;
use crate::pusher::rest::Request;

use super::dial::{self, DialError, Phases, Target};

/// Most bytes of an answer's body that are read.
const BODY_BYTES_MAX: usize = 1 << 20;

/// An idle keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// How long each phase of its dial took.
    pub phases: Phases,
}

/// An answer, read to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// `Retry-After`, where it is given in seconds.
    pub retry_after: Option<Duration>,
    /// How much of a rate limit is used up (ratio), where headers tell of one.
    pub rate_limit_used: Option<f64>,
    /// The server's time of day, since 1970 in UTC, to the second.
    pub date: Option<Duration>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is certain that not a byte of it was written.
    #[error("the connection was closed before the request was sent")]
    NotSent,
    /// Bytes were written, and the answer did not come.
    #[error("{0}")]
    Lost(String),
}

/// Opens a connection within `bound`; its driver runs on `tasks` until either side closes it.
///
/// # Errors
/// See [`DialError`].
pub async fn connect(
    target: &Target,
    clock: Clock,
    bound: Duration,
    tasks: &TaskTracker,
) -> Result<Connection, DialError> {
    let (transport, _, phases) = dial::stream(target, clock, bound).await?;
    let (sender, driver) = http1::handshake(TokioIo::new(transport)).await.map_err(|error| {
        let message = format!("{} closed the connection ({error})", target.authority());
        DialError::new(dial::Phase::Connect, true, message)
    })?;
    // What ends a connection is told by the request on it, or by `is_usable`.
    tasks.spawn(async move { drop(driver.await) });
    Ok(Connection { sender, phases })
}

impl Connection {
    /// Whether it is open, as far as is known.
    pub fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request and reads the answer within `bound`. Gives the connection back where it can
    /// be used again.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn send(
        self,
        target: &Target,
        request: &Request,
        bound: Duration,
    ) -> (Result<Response, RequestError>, Option<Self>) {
        self.send_for(target, request, bound, BODY_BYTES_MAX).await
    }

    /// The same for an answer whose body may have so many bytes.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn send_for(
        mut self,
        target: &Target,
        request: &Request,
        bound: Duration,
        bytes_max: usize,
    ) -> (Result<Response, RequestError>, Option<Self>) {
        let exchange = self.exchange(target, request, bytes_max);
        match tokio::time::timeout(bound, exchange).await {
            Ok(Ok((response, closes))) => {
                let usable = !closes && self.is_usable();
                (Ok(response), usable.then_some(self))
            }
            Ok(Err(error)) => (Err(error), None),
            Err(_) => {
                let bound = humantime::format_duration(bound);
                (Err(RequestError::Lost(format!("no answer within {bound}"))), None)
            }
        }
    }

    /// The answer, and whether the server closes the connection behind it.
    async fn exchange(
        &mut self,
        target: &Target,
        request: &Request,
        bytes_max: usize,
    ) -> Result<(Response, bool), RequestError> {
        let lost = |error: &dyn std::fmt::Display| RequestError::Lost(error.to_string());
        self.sender.ready().await.map_err(|_| RequestError::NotSent)?;
        let message = http_request(target, request).map_err(|e| lost(&e))?;
        let response = match self.sender.try_send_request(message).await {
            Ok(response) => response,
            Err(mut error) => {
                return Err(match error.take_message() {
                    Some(_) => RequestError::NotSent,
                    None => lost(&describe(error.error())),
                });
            }
        };
        let (head, body) = response.into_parts();
        let text = |name| head.headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let retry_after = text(RETRY_AFTER).and_then(|v| v.trim().parse().ok());
        let date = text(DATE).and_then(|v| OffsetDateTime::parse(v, &Rfc2822).ok());
        let date = date.and_then(|at| u64::try_from(at.unix_timestamp()).ok());
        let body = Limited::new(body, bytes_max).collect().await;
        let body = body.map_err(|error| lost(&format!("the answer broke off: {error}")))?;
        let closes = head
            .headers
            .get(CONNECTION)
            .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"close"));
        let response = Response {
            status: head.status.as_u16(),
            body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            retry_after: retry_after.map(Duration::from_secs),
            rate_limit_used: rate_limit_used(text),
            date: date.map(Duration::from_secs),
        };
        Ok((response, closes))
    }
}

/// What `X-RateLimit-Limit` and `X-RateLimit-Remaining` say, as soketi sends them, or the same
/// without the prefix.
fn rate_limit_used<'a>(header: impl Fn(HeaderName) -> Option<&'a str>) -> Option<f64> {
    let number = |name: &'static str| {
        let value = header(HeaderName::from_static(name))?;
        value.trim().parse::<f64>().ok().filter(|number| number.is_finite())
    };
    let limit = number("x-ratelimit-limit").or_else(|| number("ratelimit-limit"))?;
    let left = number("x-ratelimit-remaining").or_else(|| number("ratelimit-remaining"))?;
    (limit > 0.0).then(|| (1.0 - left / limit).clamp(0.0, 1.0))
}

fn describe(error: &hyper::Error) -> String {
    let why = std::error::Error::source(error).map_or(String::new(), |s| format!(": {s}"));
    // rustls adds the address of its manual, which is for programmers.
    let why = why.split(": https://").next().unwrap_or_default();
    format!("{error}{why}")
}

fn http_request(
    target: &Target,
    request: &Request,
) -> Result<HttpRequest<Full<Bytes>>, hyper::http::Error> {
    let agent = concat!("pusher-canary/", env!("CARGO_PKG_VERSION"));
    let method = Method::from_bytes(request.method.as_bytes())?;
    let mut message = HttpRequest::builder()
        .method(method)
        .uri(format!("{}{}", target.path_prefix(), request.target))
        .header(HOST, target.authority())
        .header(USER_AGENT, agent)
        .header("x-pusher-library", agent.replace('/', " "));
    if !request.body.is_empty() {
        message = message.header(CONTENT_TYPE, HeaderValue::from_static(request.content_type));
    }
    for (name, value) in &request.headers {
        message = message.header(name, value.expose());
    }
    message.body(Full::new(Bytes::from(request.body.clone())))
}
