//! An agent as its metrics show it: the way back from series to figures.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{ChannelKind, ClusterRole, Member, MemberRole, RunId, Shard};
use crate::verify::checks::Phase;
use crate::verify::coverage::UncoveredCause;
use crate::verify::fact::Publications;
use crate::verify::figures::{ClusterFigures, Figures};
use crate::verify::fleet::{Agent, Checked};
use crate::verify::tally::{BlindCause, Epoch, Route, Stratum};
use crate::verify::verdict::{Status, Verdict};

use super::prometheus::Series;
use super::table::{self, Metric, PREFIX};

/// The stratum under which obligations are added up: they are not told apart by it.
const ANY: Stratum =
    Stratum { kind: ChannelKind::Public, route: Route::Trigger, epoch: Epoch::First };

/// The run of an agent, of which `info` says which it is; `None` if it does not.
pub fn run_of(info: &Series) -> Option<RunId> {
    info.label("run")?.parse().ok().map(RunId)
}

/// Whether it is a part of a run that several do.
pub fn has_others(info: &Series) -> bool {
    let is_shard = info.label("shards").is_some_and(|shards| shards != "1");
    is_shard || info.label("role").is_some_and(|role| role != MemberRole::Both.as_str())
}

/// The agent that had these series at its last scrape. `info` is the one that says which it is.
/// Whether it was started again in the course of its run, they do not say.
///
/// # Errors
/// A series is missing that every agent has: which.
pub fn read(info: &Series, series: &[Series]) -> Result<Agent, String> {
    let page = Page(series);
    page.is_of_one(info)?;
    let label = |name: &str| info.label(name).ok_or_else(|| format!("run_info has no {name}"));
    let number = |name: &str| {
        label(name)?.parse::<u32>().map_err(|_| format!("run_info has no such {name}"))
    };
    let phase = label("phase")?;
    let phase = Phase::ALL.into_iter().find(|of| of.as_str() == phase);
    let checks = page.checks();
    if !checks.iter().any(|of| of.name == "instrument") {
        return Err("its checks are missing".to_owned());
    }
    let verdict = Verdict::ALL
        .into_iter()
        .find(|of| page.find(table::VERDICT, &[of.as_str()]).is_some_and(|value| value == 1.0));
    Ok(Agent {
        instance: info.labels.get("instance").cloned().unwrap_or_default(),
        member: Member {
            shard: Shard::new(number("shard")?, number("shards")?)?,
            role: label("role")?.parse()?,
            // Prometheus knows no empty label.
            region: info.label("region").unwrap_or_default().to_owned(),
        },
        run: run_of(info).ok_or("run_info has no run")?,
        scenario: label("scenario")?.to_owned(),
        scenario_digest: label("scenario_digest")?.to_owned(),
        phase: phase.ok_or("run_info has no such phase")?,
        scraped: info.at,
        ended: page.find(table::RUN_ENDED, &[]).and_then(|at| Duration::try_from_secs_f64(at).ok()),
        restarts: None,
        has_failed: page.value(table::RUN_FAILED, &[])? != 0.0,
        is_watch: page.find(table::WINDOW, &[]).is_some(),
        is_rehearsed: page.value(table::REHEARSED, &[])? != 0.0,
        verdict: verdict.ok_or("its verdict is missing")?,
        confidence: page.value(table::CONFIDENCE, &[])?,
        figures: page.figures(&checks, phase.is_some_and(Phase::publishes))?,
        checks,
        observed: Duration::try_from_secs_f64(page.value(table::OBSERVED, &[])?)
            .unwrap_or_default(),
    })
}

/// What one agent had at one scrape.
struct Page<'a>(&'a [Series]);

impl<'a> Page<'a> {
    fn of(&self, metric: Metric) -> impl Iterator<Item = &'a Series> + use<'a> {
        let name = format!("{PREFIX}{}", metric.name);
        self.0.iter().filter(move |of| of.labels.get("__name__") == Some(&name))
    }

    /// Whether all of it was one agent's: several that are behind one target, by way of files or a
    /// gateway, cannot be told apart.
    fn is_of_one(&self, info: &Series) -> Result<(), String> {
        let own = |metric: &Metric, of: &Series| -> Vec<Option<String>> {
            metric.labels.iter().map(|name| of.label(name).map(str::to_owned)).collect()
        };
        for metric in table::ALL {
            let mut known = BTreeSet::new();
            for of in self.of(*metric) {
                let is_other =
                    metric.name == table::RUN_INFO.name && own(metric, of) != own(metric, info);
                let is_bucket = of.labels.contains_key("le");
                if is_other || !is_bucket && !known.insert(own(metric, of)) {
                    return Err("several agents are behind one target, and cannot be told apart: \
                                scrape each by itself"
                        .to_owned());
                }
            }
        }
        Ok(())
    }

    /// The value of the series with these labels, in the metric's order.
    fn find(&self, metric: Metric, labels: &[&str]) -> Option<f64> {
        let is_it = |of: &&Series| {
            metric.labels.iter().zip(labels).all(|(name, value)| of.label(name) == Some(value))
        };
        self.of(metric).find(is_it).map(|of| of.value)
    }

    fn value(&self, metric: Metric, labels: &[&str]) -> Result<f64, String> {
        self.find(metric, labels).ok_or_else(|| {
            let of = labels.join(", ");
            format!(
                "{}{} is missing",
                metric.name,
                if of.is_empty() { of } else { format!(" of {of}") }
            )
        })
    }

    /// A count, which Prometheus keeps exactly up to 2^53.
    fn count(&self, metric: Metric, labels: &[&str]) -> Result<u64, String> {
        exact(self.value(metric, labels)?).ok_or_else(|| format!("{} is no count", metric.name))
    }

    /// The values of one label among a cluster's series, none of which may be missing.
    fn values_of(
        &self,
        metric: Metric,
        role: &str,
        label: &str,
    ) -> Result<BTreeSet<&'a str>, String> {
        let of_cluster = self.of(metric).filter(|of| of.label("cluster") == Some(role));
        let values: BTreeSet<_> = of_cluster.filter_map(|of| of.label(label)).collect();
        if values.is_empty() {
            Err(format!("{} of {role} is missing", metric.name))
        } else {
            Ok(values)
        }
    }

    fn checks(&self) -> Vec<Checked> {
        let checked = |of: &Series| {
            let (name, cluster) = (of.label("check")?, of.label("cluster")?);
            let figure = |metric| self.find(metric, &[name, cluster]);
            Some(Checked {
                name: name.to_owned(),
                cluster: cluster.parse().ok(),
                required: figure(table::CHECK_REQUIRED)? != 0.0,
                status: match of.value {
                    0.0 => Status::Pass,
                    2.0 => Status::Fail,
                    _ => Status::Inconclusive,
                },
                observed: figure(table::CHECK_OBSERVED).filter(|value| !value.is_nan()),
                limit: figure(table::CHECK_LIMIT).filter(|value| !value.is_nan()),
            })
        };
        self.of(table::CHECK_STATUS).filter_map(checked).collect()
    }

    /// What is part of a sum.
    fn figures(&self, checks: &[Checked], publishes: bool) -> Result<Figures, String> {
        let mut figures = Figures::default();
        for role in ClusterRole::ALL {
            let is_there = checks.iter().any(|of| of.cluster == Some(role))
                || self.find(table::OBLIGATIONS_PENDING, &[role.as_str()]).is_some();
            if is_there && publishes {
                figures.clusters.insert(role, self.cluster(role, checks)?);
                let unwatched = self.count(table::UNWATCHED_STREAMS, &[role.as_str()])?;
                figures.unwatched.insert(role, unwatched);
            }
        }
        let events = &mut figures.events;
        events.covered = self.count(table::EVENTS, &["covered"])?;
        events.trials = self.count(table::EVENT_TRIALS, &["covered"])?;
        for cause in UncoveredCause::ALL {
            let (uncovered, failed) = (
                self.count(table::EVENTS, &[cause.as_str()])?,
                self.count(table::EVENT_TRIALS, &[cause.as_str()])?,
            );
            events.trials += failed;
            if uncovered > 0 {
                events.uncovered.insert(cause, uncovered);
            }
            if failed > 0 {
                events.failures.insert(cause, failed);
            }
        }
        let pairs = &mut events.pairs;
        pairs.only_old = self.count(table::EVENT_PAIRS, &["old"])?;
        pairs.only_new = self.count(table::EVENT_PAIRS, &["new"])?;
        pairs.both = self.count(table::EVENT_PAIRS, &["both"])?;
        let neither = self.count(table::EVENT_PAIRS, &["neither"])?;
        pairs.trials = neither + pairs.only_old + pairs.only_new + pairs.both;
        Ok(figures)
    }

    fn cluster(&self, role: ClusterRole, checks: &[Checked]) -> Result<ClusterFigures, String> {
        let role_name = role.as_str();
        let mut cluster = ClusterFigures {
            pending: self.count(table::OBLIGATIONS_PENDING, &[role_name])?,
            overdue: self.count(table::OVERDUE, &[role_name])?,
            ..ClusterFigures::default()
        };
        for route in self.values_of(table::PUBLICATIONS, role_name, "route")? {
            let of = |outcome| self.count(table::PUBLICATIONS, &[role_name, route, outcome]);
            let route: Route =
                route.parse().map_err(|()| "publications_total has another route".to_owned())?;
            let publications = Publications {
                sent: of("sent")?,
                accepted: of("accepted")?,
                rejected: of("rejected")?,
                unknown: of("unknown")?,
                recovered: of("recovered")?,
                void: of("void")?,
                unsent: of("unsent")?,
            };
            cluster.publications.insert(route, publications);
        }
        let obligations = cluster.obligations.entry(ANY).or_default();
        for kind in self.values_of(table::OBLIGATIONS, role_name, "kind")? {
            let of = |outcome| self.count(table::OBLIGATIONS, &[role_name, kind, outcome]);
            obligations.delivered += of("delivered")?;
            obligations.late += of("late")?;
            obligations.lost += of("lost")?;
            obligations.missed_offline += of("missed_offline")?;
            obligations.void += of("void")?;
        }
        obligations.total = obligations.settled() + cluster.pending;
        let trials = |outcome| self.count(table::TRIALS, &[role_name, outcome]);
        let of = &mut cluster.trials;
        of.publications_lost = trials("lost")?;
        of.publications_partially_lost = trials("partially_lost")?;
        of.trials = trials("delivered")? + of.failures();
        of.incidents = self.count(table::LOSS_INCIDENTS, &[role_name])?;
        let blind = self.count(table::BLIND_WITNESSES, &[role_name])?;
        if blind > 0 {
            cluster.blind.insert(BlindCause::Network, blind);
        }
        // Those of tainted seconds accuse nobody: what is left of them is what the checks say.
        let seen = |name: &str| {
            let of = checks.iter().find(|of| of.name == name && of.cluster == Some(role));
            of.and_then(|of| of.observed).and_then(exact)
        };
        if seen("evidence").is_some_and(|trials| trials != cluster.trials.trials) {
            return Err("its trials are not those of its check evidence".to_owned());
        }
        let counted = |metric| self.count(metric, &[role_name]);
        cluster.beside.duplicates =
            seen("duplicates").map_or_else(|| counted(table::DUPLICATES), Ok)?;
        cluster.beside.reordered = seen("order").map_or_else(|| counted(table::REORDERED), Ok)?;
        Ok(cluster)
    }
}

/// A count as it is written, if it is one.
fn exact(value: f64) -> Option<u64> {
    let is_count = value >= 0.0 && value.fract() == 0.0 && value <= 9_007_199_254_740_992.0;
    is_count.then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::metrics::registry::{Ended, Scrape, render};
    use crate::model::{ChannelName, RunTime};
    use crate::verify::account::Account;
    use crate::verify::coverage::{ClusterTrials, Events, Pairs, StreamInfo};
    use crate::verify::fact::{Fact, PublisherReport};
    use crate::verify::gather::Gatherer;
    use crate::verify::record::{Begin, ClusterSecond, Second};
    use crate::verify::tally::{Beside, Obligations};
    use crate::verify::testing::begin;

    /// The page as Prometheus would have it, with the labels of a target on every series.
    fn scraped(page: &str) -> Vec<Series> {
        let series = |line: &str| {
            let (named, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = named.split_once('{').unwrap_or((named, "}"));
            let mut of: BTreeMap<String, String> = labels
                .trim_end_matches('}')
                .split_terminator(',')
                .map(|pair| pair.split_once('=').unwrap())
                .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
                .collect();
            // One of the target's own has the name of one of ours.
            if let Some(cluster) = of.insert("cluster".to_owned(), "k8s".to_owned()) {
                of.insert("exported_cluster".to_owned(), cluster);
            }
            of.retain(|_, value| !value.is_empty());
            of.insert("instance".to_owned(), "a:1".to_owned());
            of.insert("__name__".to_owned(), name.to_owned());
            let at = Duration::from_secs(1_000);
            Series { labels: of, value: value.parse().unwrap(), at, since: at }
        };
        page.lines().filter(|line| !line.starts_with('#')).map(series).collect()
    }

    fn info(series: &[Series]) -> &Series {
        let name = format!("{PREFIX}{}", table::RUN_INFO.name);
        series.iter().find(|of| of.labels["__name__"] == name).unwrap()
    }

    /// An account of one second with something of everything that is part of a sum.
    fn account(region: &str) -> Account {
        let channel = ChannelName::new("pc-1").unwrap();
        let stream = StreamInfo { channel, route: Route::Trigger, sides: Vec::new() };
        let member = Member {
            shard: Shard { index: 1, of: 4 },
            region: region.to_owned(),
            ..Member::default()
        };
        let mut account = Account::new(Begin { member, ..begin(&ClusterRole::ALL, &[stream]) });
        let mut gatherer = Gatherer::new(&ClusterRole::ALL, Vec::new(), 1);
        let mut report = PublisherReport::default();
        let publications = Publications {
            sent: 99,
            accepted: 90,
            rejected: 4,
            unknown: 5,
            recovered: 3,
            void: 2,
            unsent: 1,
        };
        report.publications.insert(Route::Trigger, publications);
        gatherer.handle(Fact::Begun(RunTime::ZERO));
        gatherer.handle(Fact::Publisher(ClusterRole::New, Box::new(report)));
        let mut second: Second = gatherer.close(RunTime::from_millis(1_500), true);
        let new: &mut ClusterSecond = second.clusters.entry(ClusterRole::New).or_default();
        let obligations =
            Obligations { total: 31, delivered: 10, late: 2, lost: 3, missed_offline: 4, void: 5 };
        new.obligations.insert(ANY, obligations);
        new.pending = 7;
        new.trials = ClusterTrials {
            trials: 20,
            publications_lost: 3,
            publications_partially_lost: 2,
            unattributed: 0,
            incidents: 2,
        };
        new.beside.insert(0, Beside { duplicates: 6, reordered: 8, ..Beside::default() });
        second.events = Events {
            covered: 11,
            uncovered: [(UncoveredCause::Lost, 5), (UncoveredCause::Void, 2)].into(),
            trials: 17,
            failures: [(UncoveredCause::Lost, 5), (UncoveredCause::Void, 1)].into(),
            pairs: Pairs { trials: 16, only_new: 4, only_old: 2, both: 1 },
            ..Events::default()
        };
        account.apply(&second);
        account
    }

    #[test]
    fn an_agent_is_read_as_its_account_was() {
        let account = account("eu");
        let (at, verdict) = (RunTime::from_millis(1_500), Verdict::Inconclusive);
        let ended = Ended { at, verdict, has_failed: true };
        let page = scraped(&render(Scrape::of_run(&account, Some(ended))));
        let agent = read(info(&page), &page).unwrap();
        let begin = account.begin();
        assert_eq!((&agent.member, agent.run), (&begin.member, begin.run));
        assert_eq!((agent.phase, agent.confidence), (Phase::DualPublish, 0.95));
        assert_eq!((agent.verdict, agent.is_watch), (Verdict::Inconclusive, false));
        assert!(agent.ended.is_some() && agent.has_failed && !agent.is_rehearsed);
        let (was, is) = (account.figures(), &agent.figures);
        assert_eq!(is.events.trials, was.events.trials);
        assert_eq!(is.events.failures, was.events.failures);
        assert_eq!(is.events.uncovered, was.events.uncovered);
        assert_eq!(is.events.pairs, was.events.pairs);
        assert_eq!(is.events.covered, was.events.covered);
        for role in ClusterRole::ALL {
            let (was, is) = (&was.clusters[&role], &is.clusters[&role]);
            assert_eq!(is.trials, was.trials);
            assert_eq!(is.obligations_total(), was.obligations_total());
            assert_eq!(is.publications_total(), was.publications_total());
            assert_eq!((is.pending, is.in_flight()), (was.pending, was.in_flight()));
            assert_eq!(is.beside.duplicates, was.beside.duplicates);
            assert_eq!(is.beside.reordered, was.beside.reordered);
        }
        // Every check is the one of the account.
        let findings = crate::verify::checks::judge(was, &begin.requirements);
        assert_eq!(agent.checks.len(), findings.len());
        for finding in findings {
            let same = |of: &&Checked| of.name == finding.name && of.cluster == finding.cluster;
            let checked = agent.checks.iter().find(same).unwrap();
            assert_eq!((checked.status, checked.required), (finding.status, finding.required));
            assert_eq!((checked.observed, checked.limit), (finding.observed, finding.limit));
        }
    }

    #[test]
    fn without_any_series_of_a_sum_there_is_no_agent() {
        let page = scraped(&render(Scrape::of_run(&account(""), None)));
        let whole = read(info(&page), &page).unwrap();
        assert_eq!((whole.ended, &*whole.member.region), (None, ""));
        for name in [
            "trials_total",
            "event_trials_total",
            "event_pairs_total",
            "blind_witnesses",
            "confidence_ratio",
            "check_status",
            "verdict",
            "observed_seconds",
            "rehearsed",
            "publications_total",
            "obligations_total",
            "run_failed",
        ] {
            let of = format!("{PREFIX}{name}");
            let less: Vec<_> =
                page.iter().filter(|s| s.labels["__name__"] != of).cloned().collect();
            assert!(read(info(&page), &less).is_err(), "{name}");
        }
        // Nor is there one where two are, or where figures are none.
        let mut other = info(&page).clone();
        other.labels.insert("shard".to_owned(), "2".to_owned());
        let two: Vec<_> = page.iter().cloned().chain([other]).collect();
        assert!(read(info(&page), &two).unwrap_err().contains("behind one target"));
        let twice: Vec<_> = page.iter().chain(&page[..1]).cloned().collect();
        assert!(read(info(&page), &twice).unwrap_err().contains("behind one target"));
        for value in [1e300, -1.0, 0.5, f64::NAN] {
            let mut odd = page.clone();
            let of = format!("{PREFIX}publications_total");
            odd.iter_mut().filter(|s| s.labels["__name__"] == of).for_each(|s| s.value = value);
            assert!(read(info(&page), &odd).unwrap_err().contains("is no count"), "{value}");
        }
    }
}
