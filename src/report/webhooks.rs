//! What an app's webhooks said: from figures to the report, and back.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::WebhookKind;
use crate::verify::webhook::WebhookFigures;

use super::Summary;
use super::build::seconds;
use super::figures::{BrokenHistogram, duration};

/// What the webhooks of one cluster's app said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WebhooksReport {
    /// Webhooks that were signed by it, each counted once.
    pub received: u64,
    /// Webhooks that came again. Reports of the first versions lack it, and what follows.
    #[serde(default)]
    pub repeated: u64,
    /// Their events by kind, those about channels of canaries included.
    #[serde(default)]
    pub events: BTreeMap<WebhookKind, u64>,
    /// Events that a channel was occupied, but for those of canaries.
    pub occupied: u64,
    /// Events that one was vacated.
    pub vacated: u64,
    /// Events about channels of canaries.
    pub own: u64,
    /// Events of other kinds.
    pub others: u64,
    /// From when the app says that it sent them to their arrival: the difference of two clocks.
    #[serde(default = "Summary::none")]
    pub delay_ms: Summary,
    /// Readings of the API that they were held against.
    #[serde(default)]
    pub readings: u64,
    /// Most channels that the API listed in one of them, those of canaries included.
    #[serde(default)]
    pub listed: u64,
    /// Readings that came to nothing.
    #[serde(default)]
    pub failed_readings: u64,
    /// Why the last of those did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// The longest time without a reading, up to the end.
    #[serde(default)]
    pub unread_seconds: f64,
    /// How long that may be, for webhooks to count as held against the API.
    #[serde(default)]
    pub unread_seconds_max: f64,
    /// Webhooks that did not come, though the API shows for long that they were due, by what they
    /// ought to have told.
    #[serde(default)]
    pub lost: BTreeMap<WebhookKind, u64>,
    /// Those of which the agent itself may be the cause: they were due in a tainted second.
    #[serde(default)]
    pub unattributed: u64,
    /// Channels of which API and webhooks say different things, and webhooks that may yet come, and
    /// not for long enough yet.
    #[serde(default)]
    pub unsettled: u64,
    /// Channels that are occupied, as far as they told of any.
    pub open: u64,
    /// For how long none has been.
    pub empty_seconds: f64,
}

impl WebhooksReport {
    pub(super) fn of(figures: &WebhookFigures) -> Self {
        let known = figures.occupied + figures.vacated + figures.own;
        Self {
            received: figures.genuine,
            repeated: figures.repeated,
            events: figures.kinds.clone(),
            occupied: figures.occupied,
            vacated: figures.vacated,
            own: figures.own,
            others: figures.kinds.values().sum::<u64>().saturating_sub(known),
            delay_ms: Summary::of(&figures.delays),
            readings: figures.readings,
            listed: figures.listed,
            failed_readings: figures.failed,
            last_failure: Some(figures.last_failure.clone()).filter(|why| !why.is_empty()),
            unread_seconds: seconds(figures.unread_for),
            unread_seconds_max: seconds(figures.unread_max),
            lost: figures.lost.clone(),
            unattributed: figures.unattributed,
            unsettled: figures.unsettled,
            open: figures.open,
            empty_seconds: seconds(figures.empty_for),
        }
    }

    /// The figures that it was made of.
    pub(super) fn figures(&self) -> Result<WebhookFigures, BrokenHistogram> {
        Ok(WebhookFigures {
            genuine: self.received,
            repeated: self.repeated,
            kinds: self.events.clone(),
            occupied: self.occupied,
            vacated: self.vacated,
            own: self.own,
            delays: self.delay_ms.latencies("webhooks.delay_ms")?,
            readings: self.readings,
            listed: self.listed,
            failed: self.failed_readings,
            last_failure: self.last_failure.clone().unwrap_or_default(),
            unread_for: duration(self.unread_seconds),
            unread_max: duration(self.unread_seconds_max),
            lost: self.lost.clone(),
            unattributed: self.unattributed,
            unsettled: self.unsettled,
            open: self.open,
            empty_for: duration(self.empty_seconds),
            ..WebhookFigures::default()
        })
    }
}
