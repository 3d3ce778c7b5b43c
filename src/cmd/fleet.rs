//! Which part of a run is this process's, where several do it together.

use crate::cli::{FleetArgs, RunArgs};
use crate::exit::Exit;
use crate::model::{Member, MemberRole, RunId, Shard};
use crate::scenario::file::Scenario;
use crate::scenario::plan::Plan;

use super::{Stop, new_run};

/// As Kubernetes tells the pods of an Indexed Job apart.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// The run, and this process's part in it.
///
/// # Errors
/// There is no such part, or nothing says which run it is a part of.
pub(super) fn part(args: &RunArgs) -> Result<(RunId, Member), Stop> {
    let usage = |message: &str| Stop::new(Exit::Usage, message);
    let member = Member { role: args.role, ..member(&args.fleet)? };
    if !member.has_others() {
        return match args.run {
            None => Ok((new_run(), member)),
            Some(_) => Err(usage(
                "--run: only the parts of a run need its id; leave it out, and PUSHER_CANARY_RUN",
            )),
        };
    }
    if args.overrides.until_proven {
        return Err(usage(
            "--until-proven: a part of a run does not know when all have proven enough; leave it out",
        ));
    }
    if args.keep.history.is_some() {
        return Err(usage("--history: a part of a run is kept in none; leave it out"));
    }
    let run = args.run.ok_or_else(|| {
        usage(
            "--shard, --role: the processes of one run need its id: give each the same --run UUID, \
             as uuidgen makes it",
        )
    })?;
    // The end of others is the machine, or the time: channels of two runs would have one name.
    if !matches!(run.get_version_num(), 4 | 7) {
        return Err(usage("--run: must be a random UUID, of version 4 or 7, as uuidgen makes it"));
    }
    Ok((RunId(run), member))
}

/// This process's part in whatever run it is.
///
/// # Errors
/// There is no such part.
pub(super) fn member(args: &FleetArgs) -> Result<Member, Stop> {
    let usage = |message: String| Stop::new(Exit::Usage, message);
    let shard = match (args.shard, args.shards) {
        (Some(shard), _) => shard,
        (None, None) => Shard::WHOLE,
        (None, Some(of)) => {
            let index = std::env::var(INDEX_VARIABLE).ok().and_then(|text| text.parse().ok());
            let index = index.ok_or_else(|| {
                usage(format!(
                    "--shards: {INDEX_VARIABLE} must say which of them this process is, from 0 on, \
                     as in a pod of an Indexed Job; elsewhere use --shard 0/{of}"
                ))
            })?;
            Shard::new(index, of)
                .map_err(|why| usage(format!("{INDEX_VARIABLE}={index}: {why}")))?
        }
    };
    Ok(Member { shard, region: args.region.clone(), ..Member::default() })
}

/// Looks whether a part has anything in it.
///
/// # Errors
/// It has not.
pub(super) fn check(plan: &Plan, scenario: &Scenario) -> Result<(), Stop> {
    let shard = plan.member.shard;
    if plan.member.has_others() && plan.window.is_none() && scenario.handover.is_some() {
        // Clients move with channels of all kinds, and the events of all of them.
        let message =
            format!("--shard {shard}: a run with [handover] cannot be shared out; run it whole");
        return Err(Stop::new(Exit::Usage, message));
    }
    if plan.member.role != MemberRole::Both && scenario.load.is_some() {
        // What they are owed begins with their confirmation, and nobody knows in time what another
        // process had published by then.
        let role = plan.member.role.as_str();
        let message = format!(
            "--role {role}: the clients of [load] must be where events are published; run it \
             without roles, or remove [load]"
        );
        return Err(Stop::new(Exit::Usage, message));
    }
    if !plan.member.has_others() || plan.own_streams().next().is_some() {
        return Ok(());
    }
    let message = match plan.channels.len() {
        0 => format!(
            "--shard {shard}: the phase {} publishes nothing that could be shared out; run it whole",
            plan.requirements.phase.as_str()
        ),
        channels => format!(
            "--shard {shard}: there are {channels} channels to share out; plan more of them \
             (canary.channels), or fewer shards"
        ),
    };
    Err(Stop::new(Exit::Usage, message))
}
