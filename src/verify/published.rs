//! What an earlier run saw of the application: whether anything was published to new only, while
//! somebody may still have been on old.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::time::human;

/// What the mirror of an earlier run says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MirrorEvidence {
    /// The run.
    pub run: String,
    /// How long ago it ended, when this one began.
    #[serde(with = "human")]
    #[schemars(with = "human::Text")]
    pub age: Duration,
    /// How long ago it may have.
    #[serde(with = "human")]
    #[schemars(with = "human::Text")]
    pub age_max: Duration,
    /// Real events of which enough was seen to say whether both clusters carried them.
    pub observed: u64,
    /// Those of them that new alone carried.
    pub only_on_new: u64,
    /// Why it says nothing of these clusters; empty if it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}
