//! From a report back to its figures, to be judged together with others.

use std::time::Duration;

use crate::verify::coverage::{ClusterTrials, Events};
use crate::verify::fact::{ControlStatus, Traffic};
use crate::verify::figures::{ClusterFigures, Figures, UnderWay, Windows};
use crate::verify::latency::Latencies;
use crate::verify::verdict::Status;

use super::handover::HandoverReport;
use super::load::LoadReport;
use super::mirror::RealEventsReport;
use super::parity::ParityRow;
use super::providers::ProviderReport;
use super::webhooks::WebhooksReport;
use super::{ClusterReport, OccupancyReport, Report, Summary};

/// Why a report cannot be judged: one of its histograms is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0} has a histogram that cannot be read, or that is not of its count")]
pub struct BrokenHistogram(String);

impl Summary {
    /// What it was made of; `what` names it where it cannot be read.
    pub(super) fn latencies(&self, what: &str) -> Result<Latencies, BrokenHistogram> {
        let broken = || BrokenHistogram(what.to_owned());
        let latencies = match &self.histogram {
            None => Latencies::default(),
            Some(encoded) => Latencies::decode(encoded).ok_or_else(broken)?,
        };
        if latencies.count() == self.count { Ok(latencies) } else { Err(broken()) }
    }
}

impl Report {
    /// The figures that the report was made of, but for the watermark.
    ///
    /// # Errors
    /// A histogram that cannot be read.
    pub fn figures(&self) -> Result<Figures, BrokenHistogram> {
        let mut figures = Figures {
            events: Events {
                covered: self.events.covered,
                uncovered: self.events.uncovered_by_cause.clone(),
                trials: self.events.trials,
                failures: self.events.failures_by_cause.clone(),
                unsent: self.events.unsent,
                pairs: self.events.pairs,
                covered_since: None,
                covered_until: None,
            },
            mirror: self.mirror.as_ref().map(RealEventsReport::figures).transpose()?,
            parity: (!self.parity.is_empty()).then(|| ParityRow::figures(&self.parity)),
            handover: self.handover.as_ref().map(HandoverReport::figures).transpose()?,
            controls: self.controls.iter().map(|control| control.name).collect(),
            unwatched: self.instrument.unwatched.clone(),
            seconds: self.instrument.seconds,
            tainted_seconds: self.instrument.tainted_seconds,
            taint_reasons: self
                .instrument
                .reasons
                .iter()
                .map(|taint| (taint.reason, taint.seconds))
                .collect(),
            published_for: duration(self.publishing_seconds),
            lag: self.instrument.schedule_lag_ms.latencies("instrument.schedule_lag_ms")?,
            stall_max: duration(self.instrument.runtime_stall_ms_max / 1e3),
            lapped: self.instrument.lapped,
            published: self.published.clone(),
            webhooks_refused: self.webhooks_refused.clone(),
            occupied: self.occupied_channels,
            is_ended: self.complete,
            ..Figures::default()
        };
        for (role, cluster) in &self.clusters {
            figures.strata.extend(cluster.strata.keys());
            let mut of_cluster = cluster.figures()?;
            for control in self.controls.iter().filter(|control| control.cluster == *role) {
                let status = match control.status {
                    Status::Pass => ControlStatus::Pass,
                    Status::Fail => ControlStatus::Fail,
                    Status::Inconclusive => continue,
                };
                of_cluster.controls.insert(control.name, status);
            }
            of_cluster.status_page = self.providers.get(role).map(ProviderReport::figures);
            figures.clusters.insert(*role, of_cluster);
        }
        Ok(figures)
    }
}

impl ClusterReport {
    fn figures(&self) -> Result<ClusterFigures, BrokenHistogram> {
        let steps = self.connect_steps_ms.iter();
        let steps = steps.map(|(step, took)| Ok((*step, took.latencies(step.as_str())?)));
        Ok(ClusterFigures {
            publications: self.publications_by_route.clone(),
            obligations_opened: self.obligations_opened,
            obligations: self.strata.iter().map(|(s, of)| (*s, of.obligations)).collect(),
            pending: self.obligations.pending,
            // That is known of a run that goes on.
            overdue: 0,
            unexplained: 0,
            under_way: UnderWay::default(),
            blind: self.blind.by_cause.iter().map(|(cause, of)| (*cause, open(of))).collect(),
            trials: ClusterTrials {
                trials: self.trials,
                publications_lost: self.publications_lost,
                publications_partially_lost: self.publications_partially_lost,
                unattributed: self.unattributed_losses,
                incidents: self.loss_incidents,
            },
            strata: self.strata.iter().map(|(s, of)| (*s, of.trials)).collect(),
            beside: self.beside,
            excused: self.excused,
            windows: self.blind.by_cause.clone(),
            longest_window: duration(self.blind.longest_ended_seconds),
            latencies: self.latency_ms.latencies("latency_ms")?,
            tainted_latencies: self.latency_tainted_ms.latencies("latency_tainted_ms")?,
            opening_latencies: self.latency_opening_ms.latencies("latency_opening_ms")?,
            closing_latencies: self.latency_closing_ms.latencies("latency_closing_ms")?,
            first_witness_latencies: self
                .latency_first_witness_ms
                .latencies("latency_first_witness_ms")?,
            publish: self.publish_ms.latencies("publish_ms")?,
            connect: self.connect_ms.latencies("connect_ms")?,
            connect_steps: steps.collect::<Result<_, _>>()?,
            is_slowest_connect_tainted: self.slowest_connect_tainted,
            auth: self.auth_ms.latencies("auth_ms")?,
            confirmed: self.authorised.confirmed,
            refused: self.authorised.refused,
            opened: self.connections.opened,
            failed: self.connections.failed,
            closed_by_code: self.connections.closed_by_code.clone(),
            given_up: self.connections.given_up,
            recycled: self.connections.recycled,
            responses: self.http_responses.clone(),
            throttled: self.throttled,
            rate_limit_used: None,
            traffic: Traffic::default(),
            certificate_expires: None,
            controls: std::collections::BTreeMap::new(),
            left_behind: self.left_behind,
            endpoints: self
                .endpoints
                .iter()
                .map(|(kind, endpoint)| Ok((*kind, endpoint.figures()?)))
                .collect::<Result<_, _>>()?,
            occupancy: self.occupancy.as_ref().map(OccupancyReport::figures),
            webhooks: self.webhooks.as_ref().map(WebhooksReport::figures).transpose()?,
            load: self.load.as_ref().map(LoadReport::figures).transpose()?,
            status_page: None,
        })
    }
}

/// Windows that had not ended.
const fn open(windows: &Windows) -> u64 {
    windows.began.saturating_sub(windows.ended)
}

/// Seconds as a duration; what is none is no time at all.
pub(super) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
