//! Agents that did a run together, and what keeps them from being evidence.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::*;
use crate::verify::coverage::{ClusterTrials, Events, Pairs, UncoveredCause};
use crate::verify::figures::ClusterFigures;
use crate::verify::tally::{Epoch, Obligations, Route, Stratum};

const NOW: Duration = Duration::from_secs(1_764_000_000);
const RULES: Rules<'_> = Rules {
    now: NOW,
    max_age: Duration::from_secs(3_600),
    agents: 2,
    rehearsals_count: false,
    others: &[],
};

fn checked(name: &str, cluster: Option<ClusterRole>, limit: f64) -> Checked {
    let (name, observed) = (name.to_owned(), Some(0.0));
    Checked { name, cluster, required: true, status: Status::Pass, observed, limit: Some(limit) }
}

/// A shard with 2,000 good trials on each cluster, of which 0.1 % may be lost.
fn agent(index: u32, of: u32) -> Agent {
    const TRIALS: u64 = 2_000;
    let stratum = Stratum {
        kind: crate::model::ChannelKind::Public,
        route: Route::Trigger,
        epoch: Epoch::First,
    };
    let obligations = Obligations { total: TRIALS, delivered: TRIALS, ..Obligations::default() };
    let cluster = ClusterFigures {
        trials: ClusterTrials { trials: TRIALS, ..ClusterTrials::default() },
        obligations: BTreeMap::from([(stratum, obligations)]),
        ..ClusterFigures::default()
    };
    let events = Events {
        covered: TRIALS,
        trials: TRIALS,
        pairs: Pairs { trials: TRIALS, ..Pairs::default() },
        ..Events::default()
    };
    let clusters = ClusterRole::ALL.map(|role| (role, cluster.clone()));
    let each = ClusterRole::ALL.into_iter().flat_map(|role| {
        let limits = [("loss", 1e-3), ("duplicates", 1.0), ("order", 0.0), ("late", 1e-3)];
        limits.map(|(name, limit)| checked(name, Some(role), limit))
    });
    Agent {
        instance: format!("10.0.0.{index}:9184"),
        member: Member { shard: Shard { index, of }, ..Member::default() },
        run: RunId(Uuid::from_u128(7)),
        scenario: "test".to_owned(),
        scenario_digest: "abc".to_owned(),
        phase: Phase::DualPublish,
        scraped: NOW - Duration::from_secs(50),
        ended: Some(NOW - Duration::from_secs(60)),
        restarts: Some(0),
        has_failed: false,
        is_watch: false,
        is_rehearsed: false,
        verdict: Verdict::Go,
        confidence: 0.95,
        checks: each.chain([checked("instrument", None, 0.05)]).collect(),
        figures: Figures { clusters: clusters.into(), events, ..Figures::default() },
        observed: Duration::from_secs(60),
    }
}

fn two() -> [Agent; 2] {
    [agent(0, 2), agent(1, 2)]
}

fn find<'a>(together: &'a Together, name: &str, role: Option<ClusterRole>) -> &'a Finding {
    together.findings.iter().find(|f| f.name == name && f.cluster == role).unwrap()
}

#[test]
fn the_sum_proves_what_no_part_of_it_does() {
    let together = judge(&two(), &RULES).unwrap();
    assert_eq!(Verdict::of(&together.findings), Verdict::Go, "{:?}", together.findings);
    assert_eq!(together.unfit, Vec::<String>::new());
    let loss = find(&together, "loss", Some(ClusterRole::New));
    assert_eq!((loss.evidence, loss.status), (4_000, Status::Pass));
    assert_eq!(find(&together, "coverage", None).evidence, 4_000);
    // Side by side, and not one after the other.
    assert_eq!(together.figures.observed(), Duration::from_secs(60));
    let alone = judge(&[agent(0, 1)], &Rules { agents: 1, ..RULES }).unwrap();
    assert_eq!(Verdict::of(&alone.findings), Verdict::Inconclusive, "2,000 are too few");
}

#[test]
fn what_several_did_a_little_of_each_is_held_against_their_sum() {
    let mut agents = two();
    for agent in &mut agents {
        let new = agent.figures.clusters.get_mut(&ClusterRole::New).unwrap();
        // One further copy is allowed.
        new.beside.duplicates = 1;
        new.trials.publications_lost = 8;
        let events = &mut agent.figures.events;
        events.failures.insert(UncoveredCause::Lost, 8);
        events.pairs.only_new = 8;
    }
    let together = judge(&agents, &RULES).unwrap();
    for name in ["duplicates", "loss"] {
        assert_eq!(find(&together, name, Some(ClusterRole::New)).status, Status::Fail, "{name}");
        assert_eq!(find(&together, name, Some(ClusterRole::Old)).status, Status::Pass, "{name}");
    }
    assert_eq!(find(&together, "coverage", None).status, Status::Fail);
    assert_eq!(find(&together, "loss-new-vs-old", None).status, Status::Fail);
}

#[test]
fn all_else_each_must_pass_and_who_did_not_is_named() {
    let mut agents = two();
    let mut fails = |status, observed| {
        let late = &mut agents[1].checks;
        let late = late.iter_mut().find(|c| c.name == "late").unwrap();
        (late.status, late.observed) = (status, Some(observed));
        agents[1].verdict = Verdict::NoGo;
        judge(&agents, &RULES).unwrap()
    };
    let together = fails(Status::Fail, 0.012_34);
    let late = find(&together, "late", Some(ClusterRole::Old));
    assert_eq!((late.status, late.required, late.evidence), (Status::Fail, true, 2));
    assert_eq!(late.detail, "fail on shard 1/2 (10.0.0.1:9184): 0.01234, limit 0.001");
    assert_eq!(Verdict::of(&together.findings), Verdict::NoGo);
    let late = find(&together, "late", Some(ClusterRole::New));
    assert_eq!((late.status, &*late.detail), (Status::Pass, "passed by each of 2"));
    let together = fails(Status::Inconclusive, 0.0);
    assert_eq!(Verdict::of(&together.findings), Verdict::Inconclusive);
    let late = find(&together, "late", Some(ClusterRole::Old));
    assert_eq!(late.detail, "inconclusive on shard 1/2 (10.0.0.1:9184): 0, limit 0.001");
    // A figure that somebody did not come to the end of says nothing.
    agents[1].ended = None;
    let together = judge(&agents, &RULES).unwrap();
    let late = find(&together, "late", Some(ClusterRole::Old));
    let said = "inconclusive on shard 1/2 (10.0.0.1:9184), which was not seen to end";
    assert_eq!(late.detail, said);
}

#[test]
fn what_keeps_agents_from_being_evidence_is_named() {
    type Change = fn(&mut Vec<Agent>);
    let changes: [(Change, &str); 17] = [
        (|all| all.truncate(1), "1 agent is known where --agents says 2; shard 1/2 is missing"),
        (|all| all[1].ended = None, "shard 1/2 (10.0.0.1:9184) was not seen to end"),
        (|all| all[1].ended = Some(NOW - Duration::from_secs(3_601)), "is stale: it ended more"),
        (|all| all[1].ended = Some(NOW + Duration::from_secs(301)), "a time that has not come"),
        (|all| all[1].member.shard.index = 0, "done by several: 10.0.0.0:9184, 10.0.0.1:9184"),
        (|all| all[1].member.shard.of = 3, "shards of 2 and of 3 do not make one run"),
        (|all| all.push(agent(1, 2)), "3 agents are known where --agents says 2"),
        (|all| all[0].is_watch = true, "shard 0/2 (10.0.0.0:9184) watches without an end"),
        (|all| all[0].is_rehearsed = true, "was rehearsed"),
        (|all| all[0].restarts = Some(1), "was started again in the course of the run"),
        (|all| all[0].restarts = None, "nothing tells whether shard 0/2"),
        (|all| all[0].has_failed = true, "shard 0/2 (10.0.0.0:9184) itself failed"),
        (|all| all[1].checks.retain(|of| of.name != "late"), "says nothing of late"),
        (
            |all| drop(all[1].figures.clusters.remove(&ClusterRole::Old)),
            "shard 1/2 (10.0.0.1:9184) and shard 0/2 (10.0.0.0:9184) tell of other clusters",
        ),
        (
            |all| {
                let new = all[1].figures.clusters.get_mut(&ClusterRole::New).unwrap();
                new.trials.trials = 0;
            },
            "shard 1/2 (10.0.0.1:9184) tried nothing on new",
        ),
        (|all| all[0].verdict = Verdict::Inconclusive, "ended in INCONCLUSIVE for none of its"),
        (
            |all| all[0].member.region = "eu".to_owned(),
            // Where it is changes nothing.
            "",
        ),
    ];
    for (change, expected) in changes {
        let mut agents = two().to_vec();
        change(&mut agents);
        let unfit = judge(&agents, &RULES).unwrap().unfit.join("; ");
        assert!(unfit.contains(expected), "{expected}: {unfit}");
        assert_eq!(unfit.is_empty(), expected.is_empty(), "{unfit}");
    }
    let mut agents = two();
    agents[0].is_rehearsed = true;
    let rules = Rules { rehearsals_count: true, ..RULES };
    assert_eq!(judge(&agents, &rules).unwrap().unfit, Vec::<String>::new());
    assert!(judge(&[], &RULES).is_none());
    let alone = judge(&[agent(0, 1)], &Rules { agents: 1, ..RULES }).unwrap();
    assert!(alone.unfit.concat().contains("did its run alone"), "{:?}", alone.unfit);
}

#[test]
fn whoever_ran_it_before_says_why_that_does_not_count_and_has_looked_all_the_same() {
    let other = RunId(Uuid::from_u128(9));
    let others = [(other, false)];
    let together = judge(&two(), &Rules { others: &others, ..RULES }).unwrap();
    assert!(together.unfit.concat().contains("is of the same scenario"), "{:?}", together.unfit);
    let others = [(other, true)];
    let together = judge(&two(), &Rules { others: &others, ..RULES }).unwrap();
    assert_eq!((together.unfit.len(), together.asked.looks), (0, Looks::Anytime));
}

#[test]
fn where_some_are_held_to_a_check_the_others_do_not_decide_it() {
    let mut agents = two();
    let page = |status, required| Checked { required, status, ..checked("status-page", None, 0.0) };
    agents[0].checks.push(page(Status::Pass, true));
    agents[1].checks.push(page(Status::Inconclusive, false));
    let together = judge(&agents, &RULES).unwrap();
    let page = find(&together, "status-page", None);
    assert_eq!((page.status, page.required), (Status::Pass, true));
}

#[test]
fn a_limit_that_is_not_known_is_kept_by_nothing() {
    let mut agents = two();
    agents.iter_mut().for_each(|a| a.checks.retain(|of| of.name != "loss"));
    let together = judge(&agents, &RULES).unwrap();
    assert_ne!(Verdict::of(&together.findings), Verdict::Go);
}

#[test]
fn figures_are_shown_to_four_digits() {
    for (value, shown) in
        [(0.0, "0"), (0.012_345, "0.01235"), (1.0, "1"), (1_234.5, "1234"), (12.345, "12.35")]
    {
        assert_eq!(short(value), shown);
    }
}

/// Publishers of two shards, and witnesses of both in each of these regions.
fn roles(regions: &[&str]) -> Vec<Agent> {
    let member = |mut agent: Agent, role, region: &str| {
        agent.member.role = role;
        agent.member.region = region.to_owned();
        agent.instance = format!("{region}-{}", agent.instance);
        agent
    };
    let publisher = |index| {
        let mut agent = member(agent(index, 2), MemberRole::Publish, "eu");
        agent.checks.retain(|of| of.name == "instrument");
        agent.checks.push(checked("publish", Some(ClusterRole::New), 0.99));
        for cluster in agent.figures.clusters.values_mut() {
            cluster.trials.trials = 0;
        }
        agent.figures.events = Default::default();
        agent.figures.unwatched = [(ClusterRole::New, 4)].into();
        agent
    };
    let witness = |(index, region): (u32, &&str)| {
        let mut agent = member(agent(index, 2), MemberRole::Witness, region);
        agent.checks.retain(|of| of.name != "late");
        agent
    };
    let witnesses = regions.iter().flat_map(|region| (0..2).map(move |index| (index, region)));
    (0..2).map(publisher).chain(witnesses.map(witness)).collect()
}

fn judged(agents: &[Agent]) -> Together {
    judge(agents, &Rules { agents: agents.len(), ..RULES }).unwrap()
}

#[test]
fn what_some_publish_and_others_witness_is_judged_by_those_who_see_it() {
    let together = judged(&roles(&["eu"]));
    assert_eq!(Verdict::of(&together.findings), Verdict::Go, "{:?}", together.findings);
    assert_eq!((together.unfit, together.views), (Vec::<String>::new(), 1));
    let loss = together.findings.iter().find(|f| f.name == "loss").unwrap();
    assert_eq!(loss.evidence, 4_000, "of two witnesses, and of no publisher");
    assert!(together.findings.iter().any(|f| f.name == "publish" && f.status == Status::Pass));
}

#[test]
fn one_publisher_and_one_witness_are_a_fleet() {
    let mut agents = roles(&["us"]);
    agents.retain(|of| of.member.shard.index == 0);
    for agent in &mut agents {
        agent.member.shard = Shard::WHOLE;
        for cluster in agent.figures.clusters.values_mut() {
            cluster.trials.trials *= 2;
        }
        agent.figures.events.covered *= 2;
        agent.figures.events.trials *= 2;
        agent.figures.events.pairs.trials *= 2;
    }
    let together = judged(&agents);
    assert_eq!(together.unfit, Vec::<String>::new());
    assert_eq!(Verdict::of(&together.findings), Verdict::Go, "{:?}", together.findings);
}

#[test]
fn each_region_must_see_everything_by_itself() {
    let mut agents = roles(&["eu", "us"]);
    let together = judged(&agents);
    assert_eq!(Verdict::of(&together.findings), Verdict::Go, "{:?}", together.findings);
    assert_eq!((together.unfit.clone(), together.views), (Vec::<String>::new(), 2));
    let of = |together: &Together| {
        let of = |f: &&Finding| f.name == "loss" && f.cluster == Some(ClusterRole::New);
        let found: Vec<_> = together.findings.iter().filter(of).cloned().collect();
        assert_eq!(found.len(), 1, "one finding for each check");
        found[0].clone()
    };
    assert_eq!(of(&together).evidence, 4_000, "what two saw is one publication and not two");
    // One region sees a loss that the other does not.
    let lossy = agents.iter_mut().find(|a| a.member.region == "us").unwrap();
    lossy.figures.clusters.get_mut(&ClusterRole::New).unwrap().trials.publications_lost = 20;
    let loss = of(&judged(&agents));
    assert_eq!(loss.status, Status::Fail);
    assert!(loss.detail.starts_with("from \"us\": 20 of 4000"), "{}", loss.detail);
    // The other sees it as well: nobody shall look for it on the way to one of them.
    let is_eu = |a: &&mut Agent| a.member.role == MemberRole::Witness && a.member.region == "eu";
    let lossy = agents.iter_mut().find(is_eu).unwrap();
    lossy.figures.clusters.get_mut(&ClusterRole::New).unwrap().trials.publications_lost = 20;
    let loss = of(&judged(&agents));
    assert!(
        loss.detail.starts_with("from \"eu\", of \"eu\", \"us\" alike: 20 of 4000"),
        "{}",
        loss.detail
    );
}

#[test]
fn a_shard_without_its_publisher_or_a_witness_of_each_region_is_named() {
    type Change = fn(&mut Vec<Agent>);
    let is = |role, region: &'static str| {
        move |a: &Agent| a.member.role == role && a.member.region == region
    };
    let changes: [(Change, &str); 6] = [
        (|all| drop(all.remove(1)), "publisher of shard 1/2 is missing"),
        (|all| drop(all.pop()), "witness of shard 1/2 in us is missing"),
        (|all| all.retain(|a| a.member.role == MemberRole::Publish), "witness of shard 0/2 is"),
        (|all| all[1].member.shard.index = 0, "publisher of shard 0/2 was done by several"),
        (|all| all[5].member.shard.index = 0, "witness of shard 0/2 in us was done by several"),
        (
            |all| all[0].member.role = MemberRole::Both,
            "nobody can witness what shard 0/2 in eu (eu-10.0.0.0:9184) published",
        ),
    ];
    for (change, expected) in changes {
        let mut agents = roles(&["eu", "us"]);
        change(&mut agents);
        let unfit = judged(&agents).unfit.join("; ");
        assert!(unfit.contains(expected), "{expected}: {unfit}");
    }
    let mut agents = roles(&["eu"]);
    let witness = agents.iter().position(is(MemberRole::Witness, "eu")).unwrap();
    let new = agents[witness].figures.clusters.get_mut(&ClusterRole::New).unwrap();
    new.trials.trials = 0;
    let unfit = judged(&agents).unfit.join("; ");
    assert!(unfit.contains("witness of shard 0/2 in eu (eu-10.0.0.0:9184) tried nothing on new"));
}

#[test]
fn what_a_publisher_did_not_tell_to_the_end_leaves_the_sum_open() {
    let mut agents = roles(&["eu"]);
    agents[3].figures.unwatched = [(ClusterRole::New, 1)].into();
    let together = judged(&agents);
    let evidence = find(&together, "evidence", Some(ClusterRole::New));
    assert_eq!(evidence.status, Status::Inconclusive);
    assert!(evidence.detail.contains("1 streams that were not followed"), "{}", evidence.detail);
}
