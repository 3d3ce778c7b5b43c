//! What a seed's world is like, and what goes wrong in it: most worlds have few kinds of trouble, so
//! that none hides another.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

/// What channels may be called: one of each kind that is told apart.
const CHANNELS: [&str; 6] =
    ["pc-a", "private-pc-b", "presence-pc-c", "cache-pc-d", "private-cache-pc-e", ENCRYPTED];
/// An encrypted one.
pub const ENCRYPTED: &str = "private-encrypted-pc-f";

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Options {
    pub channels: Vec<&'static str>,
    /// Streams of each channel.
    pub streams: usize,
    /// On each cluster.
    pub witnesses: usize,
    pub events: u64,
    pub period: Duration,
    pub deadline: Duration,
    pub horizon: Duration,
    pub pong_timeout: Duration,
    /// The longest way of a frame, or of a request, in one direction.
    pub way_max: Duration,
    /// Whether events begin before all witnesses are there.
    pub joins_late: bool,
}

/// How often each trouble happens. Of deliveries, publications and dials it is a share; of
/// connections and clusters, how often in a second.
#[derive(Clone, Debug)]
pub struct Chances {
    pub drop: f64,
    pub duplicate: f64,
    pub delay: f64,
    pub corrupt: f64,
    pub misroute: f64,
    pub foreign: f64,
    pub malformed: f64,
    pub reject: f64,
    /// Of those that are rejected, how many are delivered nevertheless.
    pub liar: f64,
    /// Requests without an answer, that are taken.
    pub unanswered: f64,
    /// Requests that get lost themselves.
    pub unheard: f64,
    pub unsent: f64,
    pub dial_fails: f64,
    /// Connections that are accepted and never established.
    pub mute: f64,
    pub cut: f64,
    pub close: f64,
    /// The other side is gone, and nobody says so.
    pub half_open: f64,
    pub stall: f64,
    pub recycle: f64,
    pub restart: f64,
}

impl Options {
    pub fn draw(rng: &mut SmallRng) -> Self {
        let all = CHANNELS.into_iter();
        let mut channels: Vec<_> = all.filter(|_| rng.random_bool(0.5)).collect();
        if channels.is_empty() {
            channels.push(CHANNELS[0]);
        }
        let deadline = millis(rng, 300..3_000);
        let horizon = deadline + millis(rng, 200..4_000);
        Self {
            channels,
            streams: rng.random_range(1..=2),
            witnesses: rng.random_range(1..=3),
            events: rng.random_range(50..300),
            period: millis(rng, 5..60),
            deadline,
            horizon,
            pong_timeout: horizon.min(millis(rng, 500..6_000)),
            way_max: millis(rng, 1..60),
            joins_late: rng.random_bool(0.3),
        }
    }
}

impl Chances {
    pub fn draw(rng: &mut SmallRng) -> Self {
        // Half of them never happen; the others anything from seldom to often.
        let mut up_to = |most: f64| match rng.random_bool(0.5) {
            true => 0.0,
            false => most * 10_f64.powf(-2.0 * rng.random::<f64>()),
        };
        Self {
            drop: up_to(0.5),
            duplicate: up_to(0.5),
            delay: up_to(0.5),
            corrupt: up_to(0.3),
            misroute: up_to(0.3),
            foreign: up_to(0.3),
            malformed: up_to(0.1),
            reject: up_to(0.5),
            liar: up_to(1.0),
            unanswered: up_to(0.5),
            unheard: up_to(0.5),
            unsent: up_to(0.3),
            dial_fails: up_to(0.8),
            mute: up_to(0.5),
            cut: up_to(1.0),
            close: up_to(1.0),
            half_open: up_to(0.5),
            stall: up_to(1.0),
            recycle: up_to(1.0),
            restart: up_to(0.3),
        }
    }
}

pub fn millis(rng: &mut SmallRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}
