//! `check`: what a scenario will do, prove and cost.

use std::fmt::Write;
use std::time::Duration;

use crate::agent::{self, vitals};
pub(super) use crate::cli::CheckArgs as Args;
use crate::exit::Exit;
use crate::model::{ChannelKind, Clock, Member};
use crate::scenario::file::Clusters;
use crate::scenario::plan::{HandoverPlan, Memory, MoverPlan, Plan, SamplePlan};
use crate::verify::checks::{Looks, Phase, Requirements, percent};
use crate::verify::occupancy::Watching;

use super::live::runtime;
use super::{Stop, complain, make_plan, new_run, print, read_scenario};

pub(super) fn execute(args: &Args) -> Result<Exit, Stop> {
    let scenario = read_scenario(&args.scenario, Clusters::Read)?;
    let plan = make_plan(&scenario, &args.overrides, (new_run(), Member::default()))?;
    agent::check_receiver(&plan).map_err(|error| Stop::new(Exit::from(&error), error))?;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = describe(&plan, &mut text);
    print(&text)?;
    vitals::raise_descriptors();
    for lack in agent::lacks(&plan) {
        complain(&format!("warning: here {lack}"));
    }
    if args.connect {
        let one = plan.with_one_connection();
        let runtime = runtime()?;
        let tried = runtime.block_on(async {
            agent::connect(&one, Clock::start()).await?;
            agent::try_receiver(&plan).await
        });
        // Not held up by a name that is still being resolved.
        runtime.shutdown_background();
        tried.map_err(|error| Stop::new(Exit::from(&error), error))?;
        let names: Vec<_> = plan.clusters.iter().map(|c| c.role.as_str()).collect();
        print(&format!("tried          {}: reached and authorised\n", names.join(" and ")))?;
    }
    Ok(Exit::Go)
}

fn describe_pages(plan: &Plan, out: &mut String) -> std::fmt::Result {
    for (role, page) in &plan.status_pages {
        let what = match page.components.as_slice() {
            [] => "all of the page".to_owned(),
            named => named.join(", "),
        };
        let every = humantime::format_duration(page.refresh);
        writeln!(out, "status page    {role}: {}, every {every}: {what}", page.address())?;
    }
    Ok(())
}

fn describe_endpoints(plan: &Plan, out: &mut String) -> std::fmt::Result {
    for cluster in &plan.clusters {
        for (kind, endpoint) in &cluster.endpoints {
            let kind = kind.as_str().replace('-', " ");
            let of = endpoint.channel.as_ref().map_or(String::new(), |c| format!(", for {c}"));
            writeln!(out, "{kind:<14} {}: {}{of}", cluster.role, endpoint.url)?;
        }
    }
    Ok(())
}

/// What is watched of the application's own channels, and what that does to them.
fn describe_sample(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let Some(SamplePlan { sampling, connections, .. }) = &plan.sample else { return Ok(()) };
    let show = humantime::format_duration;
    let prefixes = sampling.prefixes.iter().map(|prefix| match prefix.as_str() {
        "" => "any name".to_owned(),
        prefix => format!("{prefix}…"),
    });
    let prefixes = prefixes.collect::<Vec<_>>().join(", ");
    writeln!(out, "real channels  at most {} of {prefixes}", sampling.channels)?;
    writeln!(
        out,
        "               chosen every {}, with at most {} requests a second to each API",
        show(sampling.refresh),
        sampling.requests_per_second
    )?;
    writeln!(
        out,
        "               watched over {connections} of the connections below: that keeps them \
         occupied,"
    )?;
    writeln!(out, "               and each of their events is billed once more to each app")?;
    let known = match &sampling.id_pointer {
        Some(pointer) => format!("the id at {pointer}"),
        None => "their content".to_owned(),
    };
    writeln!(out, "real events    known by {known}, compared within {}", show(sampling.window))?;
    let no_key = plan.clusters.iter().filter(|c| !c.opens_encrypted()).map(|c| c.role.as_str());
    let no_key: Vec<_> = no_key.collect();
    if !no_key.is_empty() {
        let of = no_key.join(" and ");
        writeln!(out, "               encrypted channels left out: {of} without a master key")?;
    }
    Ok(())
}

/// Who moves, how and when.
fn describe_handover(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let Some(HandoverPlan { moves, movers, .. }) = &plan.handover else { return Ok(()) };
    let show = humantime::format_duration;
    let ways = moves.clients.iter().map(|(way, n)| format!("{n} by {}", way.as_str()));
    writeln!(
        out,
        "handover       {} clients move from old to new: {}",
        movers.len(),
        ways.collect::<Vec<_>>().join(", ")
    )?;
    let after = |mover: Option<&MoverPlan>| {
        let tenths = mover.map_or(0, |mover| mover.after.as_millis() as u64 / 100);
        Duration::from_millis(tenths * 100)
    };
    let (begin, last) = (after(movers.first()), after(movers.last()));
    writeln!(
        out,
        "               on {} channels each, from {} to {} after the first event; an overlap lasts {}",
        moves.channels,
        show(begin),
        show(last),
        show(moves.overlap)
    )?;
    match plan.cannot_move() {
        Some(why) => writeln!(out, "               {why}: the verdict CANNOT be GO"),
        None => Ok(()),
    }
}

/// How many simulated clients come, and when.
fn describe_load(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let Some(load) = &plan.load else { return Ok(()) };
    let (clients, ramp) = (load.clients.len(), humantime::format_duration(load.load.ramp));
    writeln!(
        out,
        "load           {clients} simulated clients on each cluster, all of them within {ramp}"
    )?;
    if let Some(how) = plan.ramps_otherwise() {
        writeln!(out, "               {how}")?;
    }
    match plan.cannot_come() {
        Some(why) => writeln!(out, "               {why}: the verdict CANNOT be GO"),
        None => Ok(()),
    }
}

/// In what the apps are compared, and where their webhooks arrive.
fn describe_apps(plan: &Plan, out: &mut String) -> std::fmt::Result {
    if let Some(parity) = &plan.parity {
        let probes: Vec<_> = parity.probes.iter().map(|probe| probe.as_str()).collect();
        writeln!(out, "parity         both apps are tried: {}", probes.join(", "))?;
        if let Some(why) = plan.cannot_probe() {
            writeln!(out, "               {why}")?;
        }
        for (row, why) in &parity.accept {
            writeln!(out, "               {} may differ: {why}", row.as_str())?;
        }
    }
    if let Some(webhooks) = &plan.webhooks {
        let mut paths: Vec<_> = webhooks.paths.values().collect();
        paths.dedup();
        let scheme = if webhooks.tls.is_some() { "https" } else { "http" };
        let at = paths.iter().map(|path| match webhooks.listen.ip().is_unspecified() {
            true => format!("{scheme}://(this host):{}{path}", webhooks.listen.port()),
            false => format!("{scheme}://{}{path}", webhooks.listen),
        });
        let at = at.collect::<Vec<_>>().join(" and ");
        writeln!(out, "webhooks       arrive at {at}")?;
        if let Some(why) = plan.cannot_lose() {
            writeln!(out, "               {why}")?;
        }
    }
    Ok(())
}

fn describe(plan: &Plan, out: &mut String) -> std::fmt::Result {
    writeln!(out, "scenario       {} ({})", plan.name, plan.requirements.phase.as_str())?;
    for cluster in &plan.clusters {
        let host = |url: &url::Url| {
            let port = url.port().map_or(String::new(), |port| format!(":{port}"));
            format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
        };
        writeln!(
            out,
            "{:<14} {} and {}, app {}",
            cluster.role.as_str(),
            host(&cluster.socket_url),
            host(&cluster.http_url),
            cluster.signer.app_id
        )?;
    }
    describe_endpoints(plan, out)?;
    describe_pages(plan, out)?;
    describe_sample(plan, out)?;
    describe_handover(plan, out)?;
    describe_load(plan, out)?;
    describe_apps(plan, out)?;
    match plan.watching {
        Some(watching) => describe_drain(plan, watching, out),
        None => {
            describe_bill(plan, out)?;
            describe_proof(plan, out)
        }
    }
}

/// What is opened, published and billed.
fn describe_bill(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let kinds: Vec<_> = ChannelKind::ALL
        .iter()
        .map(|kind| (kind, plan.channels.iter().filter(|c| c.kind == *kind).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    writeln!(out, "channels       {}", kinds.join(", "))?;
    let bill = plan.bill();
    writeln!(
        out,
        "connections    {} to each app, of which the negative controls have one, and one more for a \
         moment",
        bill.connections
    )?;
    writeln!(
        out,
        "events         {} in {}, {:.1} per second, to each cluster",
        bill.events,
        humantime::format_duration(plan.schedule.duration()),
        plan.schedule.rate()
    )?;
    writeln!(
        out,
        "messages       {} billed to each app, {} together; at most {} of each for controls",
        bill.messages,
        bill.messages * plan.clusters.len() as u64,
        bill.control_messages
    )?;
    let Memory { books, ledgers, histograms, connections, mirror } = plan.memory();
    let parts = [
        (books, "publications"),
        (ledgers, "what witnesses are owed"),
        (histograms, "latencies"),
        (connections, "connections"),
        (mirror, "real events"),
    ];
    let parts = parts.iter().filter(|(bytes, _)| *bytes > 0);
    let parts: Vec<_> =
        parts.map(|(bytes, what)| format!("{} for {what}", mebibytes(*bytes))).collect();
    // Each is rounded up, and what is shown adds up.
    let total: u64 =
        [books, ledgers, histograms, connections, mirror].map(mebibytes).into_iter().sum();
    writeln!(out, "memory         {total} MiB at most: {}", parts.join(", "))
}

/// Whole mebibytes, and never less than it is.
const fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// What the asked proof takes, and whether the run has it.
fn describe_proof(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let (limits, bill) = (&plan.requirements.limits, plan.bill());
    if plan.requirements.phase == Phase::Preflight {
        return writeln!(out, "proof          none asked: a preflight shows that all works once");
    }
    writeln!(
        out,
        "proof          a loss rate below {} at {} confidence, if nothing is lost, takes",
        percent(limits.loss_rate_max),
        percent(limits.confidence)
    )?;
    for (looks, what) in
        [(Looks::Once, "this run as planned:"), (Looks::Anytime, "--until-proven:")]
    {
        let asked = Requirements { looks, ..plan.requirements.clone() };
        let needed = asked.trials_needed();
        let rate = plan.schedule.rate();
        let time = Duration::from_secs_f64((needed as f64 / rate).ceil());
        // Without a planned length it also waits for a witness of each kind that reconnected.
        let waits = plan.reconnects_after().filter(|wait| looks == Looks::Anytime && *wait > time);
        let events = waits.map_or(needed, |wait| (wait.as_secs_f64() * rate).ceil() as u64);
        let time = waits.unwrap_or(time);
        let messages = plan.messages(events, time);
        let time = humantime::format_duration(time);
        let reach = if bill.events >= needed {
            "the duration suffices".to_owned()
        } else {
            format!("the duration gives {}: the verdict CANNOT be GO", bill.events)
        };
        writeln!(
            out,
            "  {what:<20} {events} events, {messages} messages to each app, {time}; {reach}"
        )?;
    }
    Ok(())
}

/// A drain publishes nothing but controls on new, and reads.
fn describe_drain(plan: &Plan, watching: Watching, out: &mut String) -> std::fmt::Result {
    let show = humantime::format_duration;
    let (duration, asked) = (plan.schedule.duration(), plan.requirements.limits.drained_for);
    writeln!(out, "old            is read through its HTTP API; nothing is published to it, and")?;
    writeln!(out, "               nothing subscribed to")?;
    writeln!(
        out,
        "new            is read likewise; one connection and at most {} messages for controls",
        plan.bill().control_messages
    )?;
    writeln!(
        out,
        "readings       every {} for {}, two requests each at most",
        show(watching.refresh),
        show(duration)
    )?;
    let reach = if plan.reaches_proof() {
        "the duration suffices"
    } else {
        "the duration is shorter: the verdict CANNOT be GO"
    };
    writeln!(out, "proof          no channel of old occupied for {}; {reach}", show(asked))
}
