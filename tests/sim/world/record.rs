//! What links handed over, in order: all that the oracle knows.

use std::collections::HashMap;

use pusher_canary::model::{RunTime, Seq};
use serde_json::Value;

/// What a published text is, by the text itself: nobody reads an envelope here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// An event of this stream of the cluster.
    Event(usize, Seq),
    /// One of another run.
    Foreign,
}

/// What was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The subscription to this channel was confirmed.
    Confirmed(String),
    /// A canary event on this channel; `None` if it is not what anybody published.
    Canary(String, Option<Known>),
    /// A frame that says nothing about deliveries, a close frame too.
    Other,
    /// A frame that is no JSON.
    Malformed,
    /// The connection is gone for the agent: it was told so, or left by itself.
    Gone,
    /// A connection, or a try to have one, ended by the agent's own wish or by something else.
    Blame { is_ours: bool },
}

/// One line of the record.
#[derive(Clone, Debug)]
pub struct Line {
    /// The place in the order of all that happened in the world.
    pub order: u64,
    pub at: RunTime,
    pub what: What,
}

/// A publication, as its publisher knows it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub stream: usize,
    pub seq: Seq,
    /// When it was put into the book.
    pub order: u64,
    pub at: RunTime,
    pub end: End,
    /// The place and the instant of its answer, if one came.
    pub answered: Option<(u64, RunTime)>,
}

/// How a publication ended for its publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Accepted,
    Rejected,
    /// No answer.
    Unknown,
    /// Never sent.
    Unsent,
}

/// What a frame is for the record.
pub fn read(text: &str, published: &HashMap<String, Known>) -> What {
    let Ok(frame) = serde_json::from_str::<Value>(text) else { return What::Malformed };
    let channel = || frame["channel"].as_str().unwrap_or_default().to_owned();
    match frame["event"].as_str() {
        Some("pusher_internal:subscription_succeeded") => What::Confirmed(channel()),
        Some("pc-canary") => {
            let data = frame["data"].as_str().unwrap_or_default();
            What::Canary(channel(), published.get(data).copied())
        }
        _ => What::Other,
    }
}
