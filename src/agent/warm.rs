//! Whether everything that a run needs answers, and its first connections for publishing.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::mpsc;

use crate::model::Clock;
use crate::net::http::{self, Connection};
use crate::pusher::rest::{self, Probe};
use crate::scenario::plan::{CHANNEL_PREFIX, Plan};

use super::aftermath;
use super::build::ClusterParts;
use super::publisher::{self, Wire};
use super::start::{self, StartError, Started};
use super::{CONNECT_TIMEOUT, MEMBERS_WAIT};

/// From one look whether somebody listens to the next.
const LISTENERS_PERIOD: Duration = Duration::from_millis(500);
/// Connections that are opened for publishing before the first event, at most.
const WARM_MAX: usize = 64;

/// Whether every connection is ready and the HTTP API answers; opens connections for publishing.
pub(super) async fn ready(
    plan: &Plan,
    parts: &[ClusterParts],
    started: &mut mpsc::Receiver<Started>,
    connections: usize,
    clock: Clock,
) -> Result<Vec<Vec<Connection>>, StartError> {
    let warm = parts.iter().map(|part| warm_up(plan, &part.wire));
    let endpoints = parts.iter().flat_map(|part| &part.endpoints);
    let checked = endpoints.map(|endpoint| endpoint.check());
    let dials = Duration::from_secs_f64(connections as f64 / plan.connect_rate);
    let within = start::START_TIMEOUT + dials;
    let waited = start::wait(started, connections, within, clock);
    if plan.window.is_none() {
        let api = async {
            let warm = try_join_all(warm).await?;
            try_join_all(checked).await?;
            Ok(warm)
        };
        return tokio::try_join!(api, waited).map(|(warm, ())| warm);
    }
    // A watch starts though one cluster is down: that must not hide that the other refuses its
    // secret.
    let (warm, checked, waited) = tokio::join!(join_all(warm), join_all(checked), waited);
    let failed = checked.into_iter().chain([waited]).filter_map(Result::err);
    let (warm, unwarmed): (Vec<_>, Vec<_>) = warm.into_iter().partition(Result::is_ok);
    let unwarmed = unwarmed.into_iter().filter_map(Result::err);
    let mut failed: Vec<_> = unwarmed.chain(failed).collect();
    failed.sort_by_key(StartError::may_pass);
    match failed.into_iter().next() {
        Some(error) => Err(error),
        None => warm.into_iter().collect(),
    }
}

/// Waits until somebody listens to the markers of this publisher, on every cluster.
pub(super) async fn heard(
    plan: &Plan,
    parts: &[ClusterParts],
    clock: Clock,
) -> Result<(), StartError> {
    let markers = plan.markers.as_ref().filter(|_| plan.member.role.publishes());
    let Some(markers) = markers else { return Ok(()) };
    let channel = [markers.channel.as_str().to_owned()];
    let ends = clock.now().after(MEMBERS_WAIT);
    for ClusterParts { wire, .. } in parts {
        loop {
            let asked = aftermath::occupied(wire, &channel);
            let listening = tokio::time::timeout(CONNECT_TIMEOUT, asked).await;
            if let Ok(Some(1..)) = listening {
                break;
            }
            let next = clock.now().after(LISTENERS_PERIOD);
            if next > ends {
                return Err(StartError::Unheard { role: wire.role, within: MEMBERS_WAIT });
            }
            tokio::time::sleep_until(clock.instant(next).into()).await;
        }
    }
    Ok(())
}

/// Asks the HTTP API a question that needs the secret, and opens connections for publishing.
async fn warm_up(plan: &Plan, wire: &Wire) -> Result<Vec<Connection>, StartError> {
    let role = wire.role;
    let unreachable = |message: String| StartError::Unreachable { role, message };
    let dial = || http::connect(&wire.target, wire.clock, CONNECT_TIMEOUT, &wire.tasks);
    let connection = dial().await.map_err(|e| unreachable(format!("HTTP API: {e}")))?;
    let begun = wire.clock.now();
    let request = wire.signer.channels(CHANNEL_PREFIX, wire.clock.wall_now().as_secs());
    let (answer, idle) = connection.send(&wire.target, &request, CONNECT_TIMEOUT).await;
    let response = answer.map_err(|error| {
        let authority = wire.target.authority();
        unreachable(format!(
            "HTTP API: {authority} did not answer GET /channels ({error}); check http_url, its \
             scheme and port included"
        ))
    })?;
    let took = wire.clock.now().since(begun) + Duration::from_millis(10);
    let said = publisher::quote(&response.body);
    match (response.status, rest::probe(response.status, &response.body)) {
        (_, Probe::Sound) => {}
        (status, Probe::Refused) => {
            let message = format!(
                "the HTTP API refused GET /channels with HTTP {status}: {said}; check that \
                 clusters.{role}.app_id, .key and .secret belong together and to this cluster"
            );
            return Err(StartError::Refused { role, message });
        }
        (status, Probe::NoApi) => {
            let message = format!(
                "{} answered GET /channels with HTTP {status} and no list of channels: {said}; \
                 check clusters.{role}.http_url",
                wire.target.authority()
            );
            return Err(StartError::Refused { role, message });
        }
        (status, Probe::Passing) => {
            let message = format!(
                "the HTTP API answered GET /channels with HTTP {status}: {said}; try again"
            );
            return Err(unreachable(message));
        }
    }
    // Enough for the requests of the time that an answer and a dial take.
    let wanted = plan.schedule.rate() * took.as_secs_f64() * 2.0 + 4.0;
    let mut warm: Vec<_> = idle.into_iter().collect();
    while warm.len() < (wanted.ceil() as usize).min(WARM_MAX) {
        warm.push(dial().await.map_err(|e| unreachable(format!("HTTP API: {e}")))?);
    }
    Ok(warm)
}
