//! The application's own events on both clusters: from the account to the report, and back to
//! figures.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ChannelKind, ClusterRole, RunTime};
use crate::verify::account::Account;
use crate::verify::mirror::{Defect, MirrorFigures, Outcome};
use crate::verify::presence::Presence;
use crate::verify::sample::{Caches, LeftOut, SampleFigures, SampleReading, Size, StratumReading};

use super::build::rfc3339;
use super::figures::{BrokenHistogram, duration};
use super::text::{grouped, millis};
use super::{Report, Summary, form};

/// The application's own events on the channels that were watched on both clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RealEventsReport {
    /// Which channels were watched.
    pub sample: SampleReport,
    /// Events by outcome.
    pub events: BTreeMap<Outcome, u64>,
    /// Events of which enough was seen to say whether both clusters carried the same.
    pub observed: u64,
    /// From the copy on old to that on new, where new was later.
    pub new_later_ms: Summary,
    /// From the copy on new to that on old, where old was later.
    pub old_later_ms: Summary,
    /// Channels on which one cluster alone carried anything, and which it was.
    pub one_sided: BTreeMap<String, ClusterRole>,
    /// Where something went wrong.
    pub defects: Vec<DefectReport>,
    /// Events that went wrong where there was no room to say where.
    pub defects_dropped: u64,
    /// Channels on which both clusters carried something, of those that were watched last or are
    /// named above.
    pub carried: Vec<String>,
    /// Who was on presence channels over time, thinned out evenly where it was read often.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub presence: Vec<PresencePoint>,
    /// Copies that were not looked at, for want of room.
    pub left_out: u64,
    /// Events that clients sent. They reach no other cluster, and are not compared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub client_events: BTreeMap<ClusterRole, u64>,
    /// Encrypted events that `encryption_master_key` does not open.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<ClusterRole, u64>,
}

/// Who was on presence channels at one time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PresencePoint {
    /// Seconds since publishing began.
    pub second: f64,
    /// Who.
    #[serde(flatten)]
    pub members: Presence,
    /// Members on either cluster.
    pub union: u64,
}

/// Events of one name on one channel with which the same went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DefectReport {
    /// The channel's name.
    pub channel: String,
    /// The event's name.
    pub event: String,
    /// What went wrong.
    pub outcome: Outcome,
    /// The cluster that missed them, or had them twice; null where it is no matter of one.
    pub cluster: Option<ClusterRole>,
    /// When the first of them arrived: RFC 3339.
    #[schemars(with = "form::Instant")]
    pub first: String,
    /// The same in seconds since publishing began.
    pub second: f64,
    /// How many there were.
    pub count: u64,
}

/// Which of the application's channels were watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SampleReport {
    /// Times at which the sample was chosen anew.
    pub refreshes: u64,
    /// Times at which a cluster did not list its channels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<ClusterRole, u64>,
    /// Why, the last time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_failure: String,
    /// Subscriptions that a cluster refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<ClusterRole, u64>,
    /// Why, the last time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_refusal: String,
    /// Channels on which somebody but the canary was at the last refresh, by cluster.
    pub occupied: BTreeMap<ClusterRole, u64>,
    /// Channels that were watched, and of which a cluster did not say whether anybody else was
    /// there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unsaid: BTreeMap<ClusterRole, u64>,
    /// Channels of both clusters together that can be watched, at the last refresh.
    pub channels: u64,
    /// Those of them that were watched.
    pub watched: u64,
    /// Those of them on which both clusters carried something.
    pub seen: u64,
    /// Of all channels, at most so many are published to one cluster only, at the gate's
    /// confidence; null where such a channel was found.
    pub one_sided_at_most: Option<u64>,
    /// Channels that cannot be watched, by the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<LeftOut, u64>,
    /// Channels that the canary left because nobody else was there.
    pub vacated: u64,
    /// Channels that it left for one refresh, to see whether anybody else was there.
    pub rested: u64,
    /// The channels by kind and size.
    pub strata: Vec<SampleStratum>,
    /// Who was on presence channels, the last time that it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
    /// What the watched cache channels kept, the last time that it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caches: Option<Caches>,
}

/// Occupied channels of one kind and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SampleStratum {
    /// Their kind.
    pub kind: ChannelKind,
    /// How many subscriptions each has, by order of magnitude.
    pub size: Size,
    /// How many channels there are.
    pub channels: u64,
    /// Names of those that were watched.
    pub watched: Vec<String>,
}

impl RealEventsReport {
    /// What was seen of real events; `None` where nobody looked.
    pub(super) fn of(account: &Account) -> Option<Self> {
        let (sample, mirror) = account.figures().mirror.as_ref()?;
        let start = account.publishing().map_or(RunTime::ZERO, |(first, _)| first);
        let confidence = account.begin().requirements.limits.confidence;
        let defect = |defect: &Defect| DefectReport {
            channel: defect.channel.clone(),
            event: defect.event.clone(),
            outcome: defect.outcome,
            cluster: defect.cluster,
            first: rfc3339(account.begin(), defect.first),
            second: (defect.first.0 as f64 - start.0 as f64) / 1e9,
            count: defect.count,
        };
        let mut defects: Vec<_> = mirror.defects.iter().map(defect).collect();
        defects.sort_by(|a, b| a.second.total_cmp(&b.second));
        let side = |outcome| match outcome {
            Outcome::OnlyOnOld => ClusterRole::Old,
            _ => ClusterRole::New,
        };
        let one_sided = mirror.one_sided().into_iter();
        let point = |(at, members): &(RunTime, Presence)| PresencePoint {
            second: (at.0 as f64 - start.0 as f64) / 1e9,
            members: *members,
            union: members.union(),
        };
        Some(Self {
            sample: SampleReport::of(sample, mirror, confidence),
            events: Outcome::ALL.map(|outcome| (outcome, mirror.count(outcome))).into(),
            observed: mirror.observed(),
            new_later_ms: Summary::of(&mirror.new_later),
            old_later_ms: Summary::of(&mirror.old_later),
            one_sided: one_sided.map(|(channel, only)| (channel, side(only))).collect(),
            defects,
            defects_dropped: mirror.defects_dropped,
            carried: mirror.carried.iter().cloned().collect(),
            presence: account.presence().iter().map(point).collect(),
            left_out: mirror.left_out,
            client_events: mirror.client_events.clone(),
            unreadable: mirror.unreadable.clone(),
        })
    }

    /// The figures that it was made of.
    pub(super) fn figures(&self) -> Result<(SampleFigures, MirrorFigures), BrokenHistogram> {
        let defect = |defect: &DefectReport| Defect {
            channel: defect.channel.clone(),
            event: defect.event.clone(),
            outcome: defect.outcome,
            cluster: defect.cluster,
            first: RunTime::ZERO.after(duration(defect.second)),
            count: defect.count,
        };
        let counts = self.events.iter().filter(|(_, count)| **count > 0);
        let mirror = MirrorFigures {
            counts: counts.map(|(outcome, count)| (*outcome, *count)).collect(),
            new_later: self.new_later_ms.latencies("mirror.new_later_ms")?,
            old_later: self.old_later_ms.latencies("mirror.old_later_ms")?,
            defects: self.defects.iter().map(defect).collect(),
            defects_dropped: self.defects_dropped,
            carried: self.carried.iter().cloned().collect(),
            left_out: self.left_out,
            client_events: self.client_events.clone(),
            unreadable: self.unreadable.clone(),
        };
        Ok((self.sample.figures(), mirror))
    }

    /// Events with this outcome.
    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.events.get(&outcome).copied().unwrap_or_default()
    }

    /// What was seen, and of how much, in a few sentences.
    pub(super) fn sentences(&self) -> Vec<String> {
        let sample = &self.sample;
        let (watched, channels) = (grouped(sample.watched), grouped(sample.channels));
        let occupied = sample.occupied.iter().map(|(role, n)| {
            let unsaid = match sample.unsaid.get(role) {
                Some(unsaid) => format!(" and perhaps {} more", grouped(*unsaid)),
                None => String::new(),
            };
            format!("{}{unsaid} on {role}", grouped(*n))
        });
        let occupied = match occupied.collect::<Vec<_>>() {
            none if none.is_empty() => String::new(),
            some => format!(" (occupied: {})", some.join(", ")),
        };
        let mut said = vec![format!("{watched} of {channels} channels watched{occupied}")];
        let counted = Outcome::ALL.into_iter().map(|outcome| (outcome, self.count(outcome)));
        let counted = counted.filter(|(o, n)| *n > 0 || *o == Outcome::Mirrored);
        let counted: Vec<_> =
            counted.map(|(outcome, n)| format!("{} {}", grouped(n), outcome.meaning())).collect();
        said.push(format!("events: {}", counted.join(", ")));
        for (later, role) in [(&self.new_later_ms, "new"), (&self.old_later_ms, "old")] {
            if later.count > 0 {
                let (median, most) = (millis(later.p50), millis(later.p99.or(later.max)));
                let count = grouped(later.count);
                said.push(format!("{role} came later {count} times: p50 {median}, p99 {most}"));
            }
        }
        if let Some(presence) = sample.presence.filter(|presence| presence.channels > 0) {
            let Presence { channels, old, new, both, split } = presence;
            let [channels, old, new, both, split] = [channels, old, new, both, split].map(grouped);
            said.push(format!(
                "members of {channels} presence channels: {old} on old, {new} on new, {both} of \
                 them on both; {split} do not see everybody in their channel"
            ));
        }
        if let Some(Caches { channels, old, new, cold }) = sample.caches {
            let [channels, old, new] = [channels, old, new].map(grouped);
            let cold = match cold {
                0 => String::new(),
                cold => format!("; {} would find it cold on new", grouped(cold)),
            };
            said.push(format!(
                "{channels} cache channels: an event is kept for {old} on old, {new} on new{cold}"
            ));
        }
        said.extend(self.asides());
        said
    }

    /// What was not compared, and what watching did.
    fn asides(&self) -> Vec<String> {
        let sample = &self.sample;
        let mut said = Vec::new();
        let each = |counts: &BTreeMap<ClusterRole, u64>| {
            let each = counts.iter().map(|(role, n)| format!("{} on {role}", grouped(*n)));
            each.collect::<Vec<_>>().join(", ")
        };
        if self.left_out > 0 {
            said.push(format!("{} copies not looked at, for want of room", grouped(self.left_out)));
        }
        if !self.client_events.is_empty() {
            let count = each(&self.client_events);
            said.push(format!("client events, which reach no other cluster: {count}"));
        }
        if !self.unreadable.is_empty() {
            let count = each(&self.unreadable);
            said.push(format!("not opened by encryption_master_key: {count}"));
        }
        for (why, count) in &sample.left_out {
            said.push(format!("channels left out: {} {}", grouped(*count), why.as_str()));
        }
        if !sample.refused.is_empty() {
            let (count, why) = (each(&sample.refused), &sample.last_refusal);
            said.push(format!("subscriptions refused: {count}; the last one: {why}"));
        }
        if !sample.failed.is_empty() {
            let (count, why) = (each(&sample.failed), &sample.last_failure);
            said.push(format!("channels not listed: {count} times; the last time: {why}"));
        }
        let (vacated, rested) = (grouped(sample.vacated), grouped(sample.rested));
        said.push(format!(
            "the canary's own subscriptions kept the watched channels occupied; it left {vacated} \
             where nobody else was, and {rested} for a while to see"
        ));
        said
    }
}

impl DefectReport {
    /// It, in a line.
    pub(super) fn line(&self) -> String {
        let time = self.first.get(11..23).unwrap_or(&self.first);
        let (count, what) = (grouped(self.count), self.outcome.meaning());
        let on = match self.outcome {
            Outcome::Duplicated => self.cluster.map_or(String::new(), |role| format!(" on {role}")),
            _ => String::new(),
        };
        format!("{time} {} {}: {count} {what}{on}", self.channel, self.event)
    }
}

impl SampleReport {
    fn of(sample: &SampleFigures, mirror: &MirrorFigures, confidence: f64) -> Self {
        let told = sample.ruled_out(mirror, confidence);
        let stratum = |stratum: &StratumReading| SampleStratum {
            kind: stratum.kind,
            size: stratum.size,
            channels: stratum.channels,
            watched: stratum.watched.clone(),
        };
        Self {
            refreshes: sample.refreshes,
            failed: sample.failed.clone(),
            last_failure: sample.last_failure.clone(),
            refused: sample.refused.clone(),
            last_refusal: sample.last_refusal.clone(),
            occupied: sample.last.occupied.clone(),
            unsaid: sample.last.unsaid.clone(),
            channels: told.channels,
            watched: sample.last.watched().count() as u64,
            seen: told.seen,
            one_sided_at_most: told.at_most,
            left_out: sample.last.left_out.clone(),
            vacated: sample.vacated,
            rested: sample.rested,
            strata: sample.last.strata.iter().map(stratum).collect(),
            presence: sample.presence,
            caches: sample.caches,
        }
    }

    fn figures(&self) -> SampleFigures {
        let stratum = |stratum: &SampleStratum| StratumReading {
            kind: stratum.kind,
            size: stratum.size,
            channels: stratum.channels,
            watched: stratum.watched.clone(),
        };
        SampleFigures {
            refreshes: self.refreshes,
            failed: self.failed.clone(),
            last_failure: self.last_failure.clone(),
            refused: self.refused.clone(),
            last_refusal: self.last_refusal.clone(),
            vacated: self.vacated,
            rested: self.rested,
            last: SampleReading {
                occupied: self.occupied.clone(),
                unsaid: self.unsaid.clone(),
                strata: self.strata.iter().map(stratum).collect(),
                left_out: self.left_out.clone(),
                ..SampleReading::default()
            },
            presence: self.presence,
            caches: self.caches,
        }
    }
}

impl Report {
    /// Defects that say most: the first of each kind, then others, in the order of time. Those of
    /// channels that one cluster alone carries are told by the channel.
    pub(super) fn telling_defects(&self, at_most: usize) -> Vec<&DefectReport> {
        let Some(mirror) = &self.mirror else { return Vec::new() };
        let others = mirror.defects.iter().filter(|d| !mirror.one_sided.contains_key(&d.channel));
        let mut kinds = BTreeSet::new();
        let (first, rest): (Vec<_>, Vec<_>) =
            others.partition(|defect| kinds.insert((defect.outcome, defect.cluster)));
        let mut telling: Vec<_> = first.into_iter().chain(rest).take(at_most).collect();
        telling.sort_by(|a, b| a.second.total_cmp(&b.second));
        telling
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::verify::mirror::{MirrorReport, Rules};
    use crate::verify::record::Second;
    use crate::verify::sample::SampleNote;
    use crate::verify::testing::begin;

    #[test]
    fn what_is_judged_again_is_what_was_judged() {
        let mut begin = begin(&ClusterRole::ALL, &[]);
        let window = std::time::Duration::from_secs(5);
        begin.mirroring = Some(Rules { window, kept_max: 100 });
        let mut account = Account::new(begin);
        let stratum = StratumReading {
            kind: ChannelKind::Private,
            size: Size::Few,
            channels: 7,
            watched: vec!["private-a".to_owned()],
        };
        let reading = SampleReading {
            occupied: BTreeMap::from([(ClusterRole::Old, 7)]),
            strata: vec![stratum],
            left_out: BTreeMap::from([(LeftOut::Name, 1)]),
            ..SampleReading::default()
        };
        let defect = Defect {
            channel: "private-a".to_owned(),
            event: "placed".to_owned(),
            outcome: Outcome::Duplicated,
            cluster: Some(ClusterRole::Old),
            first: RunTime::from_millis(2_500),
            count: 3,
        };
        let mut report = MirrorReport {
            counts: BTreeMap::from([(Outcome::Mirrored, 9), (Outcome::Duplicated, 3)]),
            defects: vec![defect],
            carried: vec!["private-a".to_owned()],
            left_out: 2,
            client_events: BTreeMap::from([(ClusterRole::New, 4)]),
            unreadable: BTreeMap::from([(ClusterRole::Old, 5)]),
            ..MirrorReport::default()
        };
        report.new_later.record(std::time::Duration::from_millis(3));
        let notes = [
            SampleNote::Refused(ClusterRole::New, "full".to_owned()),
            SampleNote::Failed(ClusterRole::Old, "HTTP 503".to_owned()),
            SampleNote::Refreshed(reading),
        ];
        account.apply(&Second {
            begun: Some(RunTime::ZERO),
            mirror: Some(Box::new(report)),
            sample: notes.map(|note| (RunTime::ZERO, note)).into(),
            ..Second::default()
        });
        let report = RealEventsReport::of(&account).unwrap();
        assert_eq!(report.figures().unwrap(), account.figures().mirror.clone().unwrap());
        // As written to a file and read again.
        let json = serde_json::to_string(&report).unwrap();
        let read: RealEventsReport = serde_json::from_str(&json).unwrap();
        assert_eq!(read.figures().unwrap(), account.figures().mirror.clone().unwrap());
    }

    #[test]
    fn every_form_names_what_went_wrong_and_of_how_much() {
        let mut report = testing::report();
        report.mirror = Some(testing::real_events("private-orders-7"));
        for (form, text) in [
            ("text", report.to_text()),
            ("Markdown", report.to_markdown().replace('\\', "").replace("&gt;", ">")),
            ("HTML", report.to_html()),
        ] {
            for said in
                ["4,560", "private-orders-7-forgotten", "on old only", "12:00:02.500", "1,234"]
            {
                assert!(text.contains(said), "{said} is missing in {form}: {text}");
            }
        }
        let text = report.to_text();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        for said in [
            "  1 of 1,234 channels watched (occupied: 1,234 on old, 0 and perhaps 1 more on",
            "  published to old only: private-orders-7-forgotten",
            "  12:00:02.500 private-orders-7 private-orders-7: 3 on old only",
            "  client events, which reach no other cluster: 1 on new",
        ] {
            assert!(lines.contains(&said), "{said:?} is missing in {text}");
        }
    }
}
