//! `[sample]`: which of the application's own channels are watched on both clusters, and how.

mod choice;
mod refresh;

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::model::ChannelName;
use crate::model::time::human;
use crate::verify::checks::Phase;

use super::file::{SECOND_MS, bounded, describe_excluded};
use super::reader::Section;

pub use refresh::{Listing, Sampler};

/// What a channel's name may begin with; nothing: all of them.
const PREFIX: &str = "^[A-Za-z0-9_=@,.;-]{0,164}$";
/// Most prefixes.
const PREFIXES_MAX: usize = 20;
/// A JSON pointer (RFC 6901) to something within the payload.
const POINTER: &str = "^(/([^~/]|~[01])*)+$";

/// `[sample]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sampling {
    /// Prefixes of the channels' names.
    pub prefixes: Vec<String>,
    /// Most channels that are watched at a time.
    pub channels: usize,
    /// From one look at what is occupied to the next.
    #[serde(with = "human")]
    pub refresh: Duration,
    /// Where an event's id is in its payload; without it events are known by their content.
    pub id_pointer: Option<String>,
    /// How far apart the two copies of one event may arrive.
    #[serde(with = "human")]
    pub window: Duration,
    /// Most requests per second to each cluster's API.
    pub requests_per_second: f64,
    /// Whether names of channels and events are replaced in everything that is written.
    pub redact_channels: bool,
    /// Whether presence channels are joined, where everybody can see it.
    pub join_presence: bool,
}

/// Reads the section, if it is there.
pub(super) fn read(section: &mut Section<'_>, phase: Phase) -> Option<Sampling> {
    if !section.is_present() {
        return None;
    }
    describe_excluded(section, "sample", |phase| excluded(phase).is_some());
    if let Some(why) = excluded(phase) {
        section.problem_as_a_whole(format!("{why}; remove [sample]"));
    }
    if !section.requires("prefixes") {
        let message = "is missing; name what the channels begin with: [\"private-orders-\"], or \
                       [\"\"] for all of them";
        section.problem("prefixes", message);
    }
    Some(Sampling {
        prefixes: read_prefixes(section),
        channels: section.integer("channels", 50, 1..1_000) as usize,
        refresh: bounded(section, "refresh", "60s", SECOND_MS..60 * 60 * SECOND_MS),
        id_pointer: read_pointer(section),
        window: bounded(section, "window", "5s", 2 * SECOND_MS..60 * SECOND_MS),
        requests_per_second: section.number("requests_per_second", 5.0, 0.1..1_000.0),
        redact_channels: section.boolean("redact_channels", false),
        join_presence: section.boolean("join_presence", false),
    })
}

/// Why there can be no sample in a phase.
const fn excluded(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Drain => Some("a drain must not subscribe to the application's channels on old"),
        Phase::Steady => Some("real events are compared between two clusters, and steady has one"),
        Phase::Preflight | Phase::DualPublish | Phase::Cutover => None,
    }
}

fn read_prefixes(section: &mut Section<'_>) -> Vec<String> {
    let form = || {
        let prefix = json!({ "type": "string", "pattern": PREFIX });
        json!({ "type": "array", "items": prefix, "minItems": 1, "maxItems": PREFIXES_MAX })
    };
    let Some(prefixes) = section.texts("prefixes", form) else { return Vec::new() };
    if prefixes.is_empty() || prefixes.len() > PREFIXES_MAX {
        section.problem("prefixes", format!("must be 1 to {PREFIXES_MAX} of them"));
    }
    // What a name may begin with is, but for nothing at all, a name.
    let is_prefix = |prefix: &String| prefix.is_empty() || ChannelName::new(&**prefix).is_ok();
    if let Some(bad) = prefixes.iter().find(|prefix| !is_prefix(prefix)) {
        let message = format!("{bad:?}: a channel name has only letters, digits and _ - = @ , . ;");
        section.problem("prefixes", message);
    }
    prefixes
}

fn read_pointer(section: &mut Section<'_>) -> Option<String> {
    let pointer = section.text_like("id_pointer", POINTER, None)?;
    let is_escaped = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if !pointer.starts_with('/') || !is_escaped {
        let message = "must be a JSON pointer to the event's id, such as \"/id\" or \"/order/id\"";
        section.problem("id_pointer", message);
    }
    Some(pointer)
}
