//! Clients that move from old to new: from figures to the report, and back.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::verify::handover::{HandoverFigures, Moves, Projection, Ramp, Way, WayFigures};

use super::Summary;
use super::figures::BrokenHistogram;
use super::text::{grouped, millis};

/// Virtual clients that moved from old to new while events were published to both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HandoverReport {
    /// How the moves were planned.
    pub moves: Moves,
    /// What they came to, by way.
    pub ways: BTreeMap<Way, WayReport>,
}

/// What the moves of one way came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WayReport {
    /// Clients that were to move so.
    pub planned: u64,
    /// Those that did. Tainted moves are left out, here and below.
    pub moved: u64,
    /// Those that never were subscribed on new.
    pub stranded: u64,
    /// Moves in tainted seconds.
    pub unattributed: u64,
    /// Why a client did not arrive, the last time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_failure: String,
    /// For how long a client was subscribed on neither cluster.
    pub blind_ms: Summary,
    /// From the beginning of the move to the last confirmation on new.
    pub took_ms: Summary,
    /// Events around the moves.
    pub events: u64,
    /// Those of them that came from neither cluster.
    pub missed: u64,
    /// Those of the missed for which the moves are not to blame: a cluster lost them while the
    /// client was subscribed to it throughout, or had cut it off before it moved.
    pub lost: u64,
    /// Those of the missed of which a copy came from old when the client had left already.
    pub on_the_way: u64,
    /// Events that came from both.
    pub twice: u64,
    /// Events that came from old alone though the client was subscribed on new.
    #[serde(default)]
    pub only_on_old: u64,
    /// For how long old had to be kept so that nothing was missed; of clients that missed nothing.
    pub overlap_needed_ms: Summary,
    /// What a whole fleet would meet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Projection>,
}

impl HandoverReport {
    pub(super) fn of(figures: &HandoverFigures, confidence: f64) -> Self {
        let way = |(way, of): (&Way, &WayFigures)| {
            let report = WayReport {
                planned: of.planned,
                moved: of.moved,
                stranded: of.stranded,
                unattributed: of.unattributed,
                last_failure: of.last_failure.clone(),
                blind_ms: Summary::of(&of.blind),
                took_ms: Summary::of(&of.took),
                events: of.events,
                missed: of.missed,
                lost: of.lost,
                on_the_way: of.on_the_way,
                twice: of.twice,
                only_on_old: of.only_on_old,
                overlap_needed_ms: Summary::of(&of.overlap_needed),
                fleet: figures.projected(*way, confidence),
            };
            (*way, report)
        };
        Self { moves: figures.moves.clone(), ways: figures.ways.iter().map(way).collect() }
    }

    /// The figures that it was made of.
    pub(super) fn figures(&self) -> Result<HandoverFigures, BrokenHistogram> {
        let ways = self.ways.iter().map(|(way, of)| Ok((*way, of.figures()?)));
        Ok(HandoverFigures { moves: self.moves.clone(), ways: ways.collect::<Result<_, _>>()? })
    }

    /// What was done, and what came of it, in a few sentences.
    pub(super) fn sentences(&self) -> Vec<String> {
        let Moves { clients, channels, events_per_second, ramp, over, .. } = &self.moves;
        let all = clients.values().sum::<u64>();
        let over = humantime::format_duration(*over);
        let how = match ramp {
            Ramp::AtOnce => "all at once".to_owned(),
            Ramp::Linear => format!("one after the other, over {over}"),
            Ramp::Steps(steps) => format!("in {steps} steps, over {over}"),
        };
        let mut said = vec![format!(
            "{} clients on {} each, with about {events_per_second:.1} events a second: {how}",
            grouped(all),
            counted(*channels, "channel")
        )];
        said.extend(self.ways.iter().map(|(way, of)| of.sentence(*way)));
        said.extend(self.overlap_sentence());
        said.extend(self.fleet_sentences());
        said
    }

    /// The shortest overlap that misses nothing.
    fn overlap_sentence(&self) -> Option<String> {
        let of = self.ways.get(&Way::Overlap).filter(|of| of.moved > 0)?;
        let kept = humantime::format_duration(self.moves.overlap);
        let needed = &of.overlap_needed_ms;
        if of.only_on_old > 0 {
            return Some(format!(
                "{} came from old alone though new was subscribed: no overlap is known to suffice",
                counted(of.only_on_old, "event")
            ));
        }
        Some(match needed.max {
            Some(_) if needed.count < of.moved => format!(
                "with an overlap of {kept}, {} of {} clients missed events all the same",
                grouped(of.moved - needed.count),
                grouped(of.moved)
            ),
            None => format!("with an overlap of {kept} every client missed events all the same"),
            Some(0.0) => format!(
                "shortest overlap that misses nothing: 0 ms, old may be left as soon as new is \
                 subscribed ({kept} tried)"
            ),
            Some(most) => format!(
                "shortest overlap that misses nothing: {} after new is subscribed ({kept} tried)",
                millis(Some(most))
            ),
        })
    }

    fn fleet_sentences(&self) -> Vec<String> {
        let Some(fleet) = self.moves.fleet else { return Vec::new() };
        let mut said = Vec::new();
        let projected = self.ways.iter().filter_map(|(way, of)| Some((*way, of.fleet?)));
        let projected: Vec<_> = projected.collect();
        if let Some((_, any)) = projected.first() {
            let when = match self.moves.ramp {
                Ramp::Linear => "a second",
                Ramp::AtOnce | Ramp::Steps(_) => "at once",
            };
            let over = match self.moves.ramp {
                Ramp::AtOnce => String::new(),
                _ => format!(" over {}", humantime::format_duration(fleet.over)),
            };
            said.push(format!(
                "{} real clients{over}: {} new connections {when}, {} subscriptions, {} signatures",
                grouped(fleet.clients),
                amount(any.connects_per_second),
                amount(any.subscriptions_per_second),
                amount(any.signatures_per_second)
            ));
        }
        said.extend(projected.iter().map(|(way, of)| {
            let both = match of.connections_on_both {
                0.0 => String::new(),
                both => format!("; up to {} clients on both at once", grouped(both.ceil() as u64)),
            };
            format!(
                "  by {}: about {} events missed, below {}{both}",
                way.as_str(),
                amount(of.events_missed),
                amount(of.events_missed_upper_bound.ceil())
            )
        }));
        said
    }
}

impl WayReport {
    fn figures(&self) -> Result<WayFigures, BrokenHistogram> {
        Ok(WayFigures {
            planned: self.planned,
            moved: self.moved,
            stranded: self.stranded,
            unattributed: self.unattributed,
            last_failure: self.last_failure.clone(),
            blind: self.blind_ms.latencies("handover.blind_ms")?,
            took: self.took_ms.latencies("handover.took_ms")?,
            events: self.events,
            missed: self.missed,
            lost: self.lost,
            on_the_way: self.on_the_way,
            twice: self.twice,
            only_on_old: self.only_on_old,
            overlap_needed: self.overlap_needed_ms.latencies("handover.overlap_needed_ms")?,
        })
    }

    fn sentence(&self, way: Way) -> String {
        let mut said =
            format!("{}: {} of {} moved", way.as_str(), grouped(self.moved), grouped(self.planned));
        if self.stranded > 0 {
            said += &format!(", {} never arrived: {}", grouped(self.stranded), self.last_failure);
        }
        if self.unattributed > 0 {
            said += &format!(", {} in tainted seconds", grouped(self.unattributed));
        }
        if self.moved == 0 {
            return said;
        }
        if way != Way::Overlap {
            let most = millis(self.blind_ms.max);
            said += &match self.blind_ms.p50 {
                Some(_) => format!("; blind for {}, at most {most}", millis(self.blind_ms.p50)),
                None => format!("; blind for at most {most}"),
            };
        }
        said += &match self.missed {
            0 => "; no event missed".to_owned(),
            missed => format!("; {} missed", counted(missed, "event")),
        };
        if self.lost > 0 {
            said += &format!(" ({} by no fault of the moves)", grouped(self.lost));
        }
        if self.on_the_way > 0 {
            said += &format!(" ({} came when it had left)", grouped(self.on_the_way));
        }
        if self.twice > 0 {
            said += &format!("; {} seen twice", grouped(self.twice));
        }
        said
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// An amount of which two digits tell enough.
fn amount(amount: f64) -> String {
    if amount >= 10.0 || amount == 0.0 {
        grouped(amount.round() as u64)
    } else {
        format!("{amount:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn what_is_judged_again_is_what_was_judged() {
        let report = testing::handover("closed with 4001");
        let figures = report.figures().unwrap();
        assert_eq!(HandoverReport::of(&figures, 0.95).figures().unwrap(), figures);
        assert_eq!(HandoverReport::of(&figures, 0.95).sentences(), report.sentences());
        let mut broken = report;
        broken.ways.get_mut(&Way::Reload).unwrap().blind_ms.count = 7;
        assert!(broken.figures().is_err());
    }

    #[test]
    fn it_says_what_each_way_costs_and_what_a_fleet_would_meet() {
        let said = testing::handover("closed with 4001").sentences();
        assert_eq!(
            said,
            [
                "12 clients on 4 channels each, with about 20.0 events a second: one after the \
                 other, over 1m",
                "reload: 2 of 4 moved, 1 never arrived: closed with 4001, 1 in tainted seconds; \
                 blind for at most 300.0 ms; 7 events missed (1 by no fault of the \
                 moves) (2 came when it had left)",
                "switch: 0 of 4 moved",
                "overlap: 1 of 4 moved; no event missed; 1,234 seen twice",
                "shortest overlap that misses nothing: 45.0 ms after new is subscribed (5s tried)",
                "100,000 real clients over 1h: 28 new connections a second, 111 subscriptions, 56 \
                 signatures",
                "  by reload: about 300,000 events missed, below 592,120",
                "  by overlap: about 0 events missed, below 299,574; up to 139 clients on both at once",
            ]
        );
    }
}
