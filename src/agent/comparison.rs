//! Finds out how the apps of a plan behave, without a run.

use futures_util::StreamExt;
use futures_util::stream::{self, SelectAll};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::{Clock, ClusterRole, RunId};
use crate::net::dial::Target;
use crate::net::tls;
use crate::probes::webhooks::{self, Arrived};
use crate::probes::{self, Site};
use crate::scenario::plan::{CHANNEL_PREFIX, ClusterPlan, Plan};
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
        let (receiver, of) = Receiver::open(webhooks, &plan.clusters, clock, None).await?;
        tokio::spawn(receiver.run(leave));
        arrivals = of;
    }
    let site = |cluster: &ClusterPlan| {
        let tls = tls::client_config(cluster.ca_pem.as_deref());
        let tls = tls.map_err(|error| RunError::Tls(cluster.role, error))?;
        let socket = Target::new(cluster.socket_url.clone(), &tls);
        let api = Target::new(cluster.http_url.clone(), &tls);
        let arrivals = arrivals.remove(&cluster.role);
        Ok((cluster.role, self::site(cluster, (socket, api), plan.run, clock, &tracker, arrivals)))
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
pub(super) fn site(
    cluster: &ClusterPlan,
    (socket, api): (Target, Target),
    run: RunId,
    clock: Clock,
    tracker: &TaskTracker,
    arrivals: Option<mpsc::Receiver<Arrived>>,
) -> Site {
    Site {
        socket,
        api,
        signer: cluster.signer.clone(),
        clock,
        tasks: tracker.clone(),
        news_within: probes::NEWS_WITHIN,
        idle_for: probes::IDLE_FOR,
        arrivals: arrivals.map(Mutex::new),
        told_within: webhooks::TOLD_WITHIN,
        turns: probes::Turns::new(clock, probes::TURNS_PER_SECOND),
        tail: format!("{CHANNEL_PREFIX}{}-parity", run.short()),
    }
}
