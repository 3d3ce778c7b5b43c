//! Finds out how the apps of a plan behave, without a run.

use futures_util::StreamExt;
use futures_util::stream::{self, SelectAll};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::{Clock, ClusterRole};
use crate::net::dial::Target;
use crate::net::tls;
use crate::probes::endpoints::{Endpoint, Endpoints};
use crate::probes::webhooks::{self, Arrived};
use crate::probes::{self, Site};
use crate::scenario::plan::{ClusterPlan, Plan};
use crate::verify::endpoint::EndpointKind;
use crate::verify::parity::{Probe, Reading, Row};

use super::RunError;
use super::webhooks::{Arrivals, Receiver};

/// Experiments that are made on a cluster at a time.
pub const AT_ONCE: usize = 4;

/// Makes each experiment once on each cluster, and hands on what it finds. What `stop` keeps from
/// being tried is not tested.
///
/// # Errors
/// A cluster's certificates cannot be used, or nobody can receive webhooks.
pub async fn compare(
    plan: &Plan,
    clock: Clock,
    probes: &[Probe],
    stop: &CancellationToken,
    mut noted: impl FnMut(ClusterRole, Row, Reading),
) -> Result<(), RunError> {
    let tracker = TaskTracker::new();
    let leave = CancellationToken::new();
    let _leaving = leave.clone().drop_guard();
    let mut arrivals = Arrivals::new();
    let webhooks = plan.webhooks.as_ref().filter(|_| probes.contains(&Probe::Webhooks));
    if let Some(webhooks) = webhooks {
        let (receiver, of) = Receiver::open(webhooks, plan, clock, None).await?;
        tokio::spawn(receiver.run(leave));
        arrivals = of;
    }
    let site = |cluster: &ClusterPlan| {
        let tls = tls::client_config(cluster.ca_pem.as_deref());
        let tls = tls.map_err(|error| RunError::Tls(cluster.role, error))?;
        let socket = Target::new(cluster.socket_url.clone(), &tls);
        let api = Target::new(cluster.http_url.clone(), &tls);
        let arrivals = arrivals.remove(&cluster.role);
        let site = self::site(plan, cluster, (socket, api), clock, &tracker, arrivals)?;
        Ok((cluster.role, site))
    };
    let sites: Vec<_> = plan.clusters.iter().map(site).collect::<Result<_, RunError>>()?;
    let found = sites.iter().map(|(role, site)| {
        let found = probes::all(site, probes, AT_ONCE, stop);
        found.map(|(row, reading)| (*role, row, reading)).boxed()
    });
    let mut found: SelectAll<_> = stream::select_all(found);
    while let Some((role, row, reading)) = found.next().await {
        noted(role, row, reading);
    }
    Ok(())
}

/// An app as experiments see it.
///
/// # Errors
/// Certificates of an auth endpoint cannot be used.
pub(super) fn site(
    plan: &Plan,
    cluster: &ClusterPlan,
    (socket, api): (Target, Target),
    clock: Clock,
    tracker: &TaskTracker,
    arrivals: Option<mpsc::Receiver<Arrived>>,
) -> Result<Site, RunError> {
    let endpoint = |kind: EndpointKind| {
        let Some(config) = cluster.endpoints.get(&kind) else { return Ok::<_, RunError>(None) };
        let tls = tls::client_config(config.ca_pem.as_deref());
        let tls = tls.map_err(|error| RunError::Tls(cluster.role, error))?;
        Ok(Some(Endpoint {
            target: Target::new(config.url.clone(), &tls),
            form: config.form,
            headers: config.headers.clone(),
            params: config.params.clone(),
            channel: config.channel.clone(),
            forbidden: config.forbidden.clone(),
        }))
    };
    let endpoints = Endpoints {
        channels: endpoint(EndpointKind::AuthEndpoint)?,
        users: endpoint(EndpointKind::UserAuthEndpoint)?,
    };
    Ok(Site {
        socket,
        api,
        ca_pem: cluster.ca_pem.clone(),
        signer: cluster.signer.clone(),
        origins: plan.parity.as_ref().map_or_else(Vec::new, |parity| parity.origins.clone()),
        endpoints,
        clock,
        tasks: tracker.clone(),
        news_within: probes::NEWS_WITHIN,
        idle_for: probes::IDLE_FOR,
        beat: None,
        arrivals: arrivals.map(Mutex::new),
        told_within: webhooks::TOLD_WITHIN,
        turns: probes::Turns::new(clock, probes::TURNS_PER_SECOND),
        tail: sacrificial_tail(plan, cluster.role),
    })
}

/// What the names of a run's sacrificial channels on a cluster have behind the prefix of their
/// kind.
pub(super) fn sacrificial_tail(plan: &Plan, role: ClusterRole) -> String {
    format!("{}parity-{}", plan.channel_stem(), role.as_str())
}
