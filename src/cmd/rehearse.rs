//! `rehearse`: the whole main job against an embedded pair of clusters.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use url::Url;

use crate::agent::vitals;
pub(super) use crate::cli::RehearseArgs as Args;
use crate::exit::Exit;
use crate::model::fault;
use crate::model::{ClusterRole, MasterKey, Member};
use crate::rehearsal::endpoint::MASTER_KEY;
use crate::rehearsal::webhooks::Address;
use crate::rehearsal::{Endpoint, Pair, PairConfig};
use crate::scenario::file::{Cluster, Clusters, Scenario};
use crate::scenario::plan::own_master_key;
use crate::scenario::webhooks::Webhooks;

use super::live::{Live, Outputs, RehearsalCounts, runtime};
use super::web::Web;
use super::{Machine, Stop, make_plan, new_run, open_sink, print, read_scenario, read_source};

/// The scenario of a rehearsal that names none.
const BUILT_IN: &str = include_str!("../../scenarios/rehearsal.toml");

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    let mut scenario = match &args.scenario {
        Some(path) => read_scenario(path, Clusters::Ignored)?,
        None => {
            let machine = Machine { folder: Path::new(".") };
            read_source("the built-in scenario", BUILT_IN, Clusters::Ignored, &machine)?
        }
    };
    let mut faults = std::mem::take(&mut scenario.faults);
    faults.extend(&args.fault);
    fault::check_sums(&faults).map_err(|error| Stop::new(Exit::Usage, error))?;
    if args.ca_file.is_some() && !args.hold {
        let message = "--ca-file needs --hold: nobody else dials the pair";
        return Err(Stop::new(Exit::Usage, message));
    }
    let run = new_run();
    // The seed is the plan's; what it costs does not depend on where the clusters are.
    let plan = make_plan(&scenario, &args.overrides, (run, Member::default()))?;
    let seed = plan.seed;
    let others =
        [("--fault-log", args.fault_log.as_deref()), ("--ca-file", args.ca_file.as_deref())];
    let read: Vec<_> = args.scenario.as_deref().into_iter().collect();
    let outputs = Outputs::open(&args.output, &others, &read)?;
    let fault_log = args.fault_log.as_deref().map(open_sink).transpose()?;
    let mut overrides = args.overrides.clone();
    overrides.seed = Some(seed);
    let application = scenario.application;
    // The run's encrypted canaries are sealed with the application's key, where there is one.
    let master_key = application.map(|_| MasterKey::new(MASTER_KEY));
    let peek_key = Some(*master_key.clone().unwrap_or_else(|| own_master_key(run)).expose());
    let habits = std::mem::take(&mut scenario.habits);
    let webhooks = scenario.webhooks.as_mut().map(receiver).transpose()?.unwrap_or_default();
    let config = PairConfig { seed, faults, fault_log, habits, webhooks, peek_key, application };
    let mut pair = Pair::start(config).map_err(failed)?;
    if args.hold {
        return hold(&mut pair, args.ca_file.as_deref());
    }
    put_clusters(&mut scenario, &pair, master_key.as_ref())?;
    let plan = make_plan(&scenario, &overrides, (run, Member::default()))?;
    let listen = args.output.listen.map(|at| Web::new(at, &args.output.web)).transpose()?;
    let live = Live {
        plan: &plan,
        outputs,
        history: None,
        listen,
        leave: None,
        linger: None,
        clusters_within: true,
        sabotage: args.panic_in,
    };
    live.execute(|| {
        pair.stop().map_err(failed)?;
        counts(&pair).map(Some)
    })
}

/// Where the pair posts webhooks to: a port that is free now, where the scenario leaves it open. It
/// posts them without TLS.
fn receiver(webhooks: &mut Webhooks) -> Result<BTreeMap<ClusterRole, Address>, Stop> {
    webhooks.tls = None;
    if webhooks.listen.port() == 0 {
        let listener = std::net::TcpListener::bind(webhooks.listen).map_err(failed)?;
        webhooks.listen = listener.local_addr().map_err(failed)?;
    }
    let at = |path: &String| Address { authority: webhooks.listen, path: path.clone() };
    Ok(webhooks.paths.iter().map(|(role, path)| (*role, at(path))).collect())
}

fn failed(error: impl std::fmt::Display) -> Stop {
    Stop::new(Exit::Failed, format!("the rehearsal clusters failed: {error}"))
}

/// Puts the pair where the scenario's own clusters would be.
fn put_clusters(
    scenario: &mut Scenario,
    pair: &Pair,
    master_key: Option<&MasterKey>,
) -> Result<(), Stop> {
    for role in ClusterRole::ALL {
        let Endpoint { wss_url, https_url, app_id, key, secret, .. } = pair.endpoint(role);
        let cluster = Cluster {
            ws_url: Url::parse(&wss_url).map_err(failed)?,
            http_url: Url::parse(&https_url).map_err(failed)?,
            app_id,
            key,
            secret,
            ca_pem: Some(pair.ca_pem().to_owned()),
            master_key: master_key.cloned(),
            auth_endpoint: None,
            user_auth_endpoint: None,
        };
        scenario.clusters.insert(role, cluster);
    }
    scenario.clusters_are_embedded = true;
    Ok(())
}

/// What the clusters themselves counted.
fn counts(pair: &Pair) -> Result<RehearsalCounts, Stop> {
    let count = |role: ClusterRole| {
        let value = serde_json::to_value(pair.counts(role)).map_err(failed)?;
        let mut counts: BTreeMap<_, _> = serde_json::from_value(value).map_err(failed)?;
        if let Some(application) = pair.application_counts(role) {
            let value = serde_json::to_value(application).map_err(failed)?;
            counts.extend(serde_json::from_value::<BTreeMap<_, _>>(value).map_err(failed)?);
        }
        Ok((role, counts))
    };
    ClusterRole::ALL.into_iter().map(count).collect()
}

/// Keeps the pair up until a signal.
fn hold(pair: &mut Pair, ca_file: Option<&Path>) -> Result<Exit, Stop> {
    vitals::raise_descriptors();
    if let Some(path) = ca_file {
        let mut sink = open_sink(path)?;
        let written = sink.write_all(pair.ca_pem().as_bytes()).and_then(|()| sink.flush());
        written.map_err(|error| Stop::new(Exit::Failed, format!("--ca-file: {error}")))?;
    }
    let mut text = String::from("# Two clusters, until a signal. For a shell:\n");
    for role in ClusterRole::ALL {
        let name = role.as_str().to_uppercase();
        let e = pair.endpoint(role);
        for (what, value) in [
            ("WS_URL", e.ws_url.as_str()),
            ("WSS_URL", &e.wss_url),
            ("HTTP_URL", &e.http_url),
            ("HTTPS_URL", &e.https_url),
            ("APP_ID", e.app_id.as_str()),
            ("APP_KEY", e.key.as_str()),
            ("APP_SECRET", e.secret.expose()),
        ] {
            text.push_str(&format!("export {name}_{what}={value}\n"));
        }
    }
    runtime()?.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        // Whoever reads this may send the signal at once.
        print(&text)?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })?;
    pair.stop().map_err(failed)?;
    Ok(Exit::Go)
}
