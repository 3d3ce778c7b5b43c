//! What an app's webhooks said: from figures to the report, and back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::verify::webhook::WebhookFigures;

use super::build::seconds;
use super::figures::duration;

/// What the webhooks of one cluster's app said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WebhooksReport {
    /// Webhooks that were signed by it.
    pub received: u64,
    /// Events that a channel was occupied, but for those of canaries.
    pub occupied: u64,
    /// Events that one was vacated.
    pub vacated: u64,
    /// Events about channels of canaries.
    pub own: u64,
    /// Events of other kinds.
    pub others: u64,
    /// Channels that are occupied, as far as they told of any.
    pub open: u64,
    /// For how long none has been.
    pub empty_seconds: f64,
}

impl WebhooksReport {
    pub(super) fn of(figures: &WebhookFigures) -> Self {
        Self {
            received: figures.genuine,
            occupied: figures.occupied,
            vacated: figures.vacated,
            own: figures.own,
            others: figures.others,
            open: figures.open,
            empty_seconds: seconds(figures.empty_for),
        }
    }

    /// The figures that it was made of.
    pub(super) fn figures(&self) -> WebhookFigures {
        WebhookFigures {
            genuine: self.received,
            occupied: self.occupied,
            vacated: self.vacated,
            own: self.own,
            others: self.others,
            open: self.open,
            empty_for: duration(self.empty_seconds),
            ..WebhookFigures::default()
        }
    }
}
