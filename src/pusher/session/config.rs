//! How long a session waits for what.

use std::time::Duration;

/// Bounds on every wait of a [`Session`](super::Session).
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Silence after which the session pings, if the cluster's `activity_timeout` is not shorter.
    pub ping_after: Duration,
    /// Silence after that ping which proves the connection dead.
    pub pong_timeout: Duration,
    /// From the dial to `pusher:connection_established`.
    pub connect_timeout: Duration,
    /// From a subscribe frame, or the request for its authorisation, to its confirmation.
    pub subscribe_timeout: Duration,
    /// Whether a refused subscription leaves the others alone, and is tried again on the next
    /// connection only. Otherwise it costs the connection.
    pub tolerates_refusals: bool,
    /// After how long it tries again what a cluster refused for good, as no client would; `None`:
    /// it gives up.
    pub retries_refused_after: Option<Duration>,
    /// Seed of the jitter on back-offs.
    pub seed: u64,
}
