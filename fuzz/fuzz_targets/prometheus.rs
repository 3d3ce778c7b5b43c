#![no_main]
//! Answers of Prometheus: the agents that they show, judged together as `gate --prometheus` does.
//!
//! The input stands for both answers: which agents there are, and what each of them had.

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pusher_canary::metrics::prometheus::{self, Series};
use pusher_canary::metrics::{agents, table};
use pusher_canary::model::RunId;
use pusher_canary::report::Pool;
use pusher_canary::verify::fleet::{Agent, Rules};
use pusher_canary_fuzz::check_pool;
use uuid::Uuid;

/// When agents are judged: since the Unix epoch, an hour after those of the seeds ended.
const NOW: Duration = Duration::from_secs(1_795_500_000);
const AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Agents of an answer that are looked at: each of them is looked for in all of it.
const AGENTS_MAX: usize = 8;

fuzz_target!(|input: &[u8]| {
    let Ok(all) = prometheus::read(&String::from_utf8_lossy(input)) else { return };
    let (mut each, mut together) = (Vec::new(), Vec::new());
    for info in all.iter().filter(|of| is_of(of, table::RUN_INFO.name)).take(AGENTS_MAX) {
        agents::has_others(info);
        let of_target = of_target(info, &all);
        if let Ok(mut agent) = agents::read(info, &of_target) {
            assert_eq!(agents::run_of(info), Some(agent.run));
            agent.restarts = Some(0);
            each.push(agent);
        }
        together.extend(agents::read(info, &all));
    }
    for found in [each, together] {
        judge(&found);
    }
});

fn is_of(series: &Series, name: &str) -> bool {
    series.labels.get("__name__").is_some_and(|of| *of == format!("{}{name}", table::PREFIX))
}

/// What Prometheus has of the target that one of its series is of.
fn of_target(info: &Series, all: &[Series]) -> Vec<Series> {
    let own: Vec<_> = table::ALL.iter().flat_map(|metric| metric.labels).copied().collect();
    let target = info.target(&own);
    assert!(!target.contains_key("__name__"));
    for asked in [
        prometheus::ask_target(table::PREFIX, &target, info.at),
        prometheus::ask_changes(table::RUN_STARTED.name, &target, (info.since, info.at)),
        prometheus::ask_range(table::RUN_INFO.name, AGE_MAX, info.at),
    ] {
        // A request's first line has room for nothing else.
        assert!(asked.bytes().all(|byte| byte.is_ascii_graphic()), "{asked}");
    }
    all.iter().filter(|of| of.target(&own) == target).cloned().collect()
}

/// Judges agents that are all there, and the same with another run of their scenario beside them.
fn judge(found: &[Agent]) {
    let other = [(RunId(Uuid::from_u128(7)), false)];
    for others in [&other[..0], &other[..]] {
        let rules = Rules {
            now: NOW,
            max_age: AGE_MAX,
            agents: found.len(),
            rehearsals_count: true,
            others,
        };
        match Pool::of_fleet(found, &rules, Vec::new()) {
            Ok(pool) => check_pool(&pool),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}
