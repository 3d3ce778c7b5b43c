//! `[parity]`: in what the two apps must behave alike.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use url::Url;

use crate::verify::checks::Phase;
use crate::verify::parity::{ParityBegin, Probe, Row};

use super::context::Problem;
use super::file::describe_excluded;
use super::form;
use super::reader::{Section, closest};

/// The key with the origins that are tried.
const ORIGINS: &str = "parity.origins";
/// A scheme, a host, and a port that is not the usual one.
const ORIGIN: &str = r"^https?://[a-z0-9.:\[\]-]+$";

/// `[parity]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parity {
    /// What is tried.
    pub probes: Vec<Probe>,
    /// Differences that are wanted, and why.
    pub accept: BTreeMap<Row, String>,
    /// Origins of pages that may connect, or may not.
    pub origins: Vec<String>,
}

impl Parity {
    /// What is looked at.
    pub(super) fn begin(&self) -> ParityBegin {
        let rows = self.probes.iter().flat_map(|probe| probe.rows()).copied();
        ParityBegin { rows: rows.collect(), accept: self.accept.clone() }
    }
}

/// Reads the section, if it is there. `is_given` says whether the scenario has what a probe needs.
pub(super) fn read(
    section: &mut Section<'_>,
    phase: Phase,
    is_given: impl Fn(&str) -> bool,
    warnings: &mut Vec<Problem>,
) -> Option<Parity> {
    if !section.is_present() {
        return None;
    }
    describe_excluded(section, "parity", excluded);
    if excluded(phase) {
        let message = "two apps are compared where a run is on both: preflight, dual-publish or \
                       cutover alone; remove [parity]";
        section.problem_as_a_whole(message);
    }
    let known = Probe::ALL.map(|probe| (probe.as_str(), probe));
    let origins = read_origins(section);
    let can_be = |probe: &Probe| match probe.needs() {
        Some(ORIGINS) => !origins.is_empty(),
        needed => needed.is_none_or(&is_given),
    };
    let chosen = section.choices("probes", "probe", &known, None);
    if let Some(probe) = chosen.iter().flatten().find(|probe| !can_be(probe)) {
        let needed = probe.needs().unwrap_or_default();
        let message = format!("names {:?}, which needs {needed}", probe.as_str());
        section.problem("probes", message);
    }
    let probes = chosen.unwrap_or_else(|| Probe::brief().filter(can_be).collect());
    let accept = read_accept(section);
    for row in accept.keys() {
        if let Some(probe) = Probe::ALL.into_iter().find(|probe| probe.rows().contains(row))
            && !probes.contains(&probe)
        {
            let message = format!(
                "names {}, which nothing here tries; add {:?} to parity.probes, or remove it",
                row.as_str(),
                probe.as_str()
            );
            warnings.push(Problem { line: 0, key: section.key("accept"), message });
        }
    }
    Some(Parity { probes, accept, origins })
}

/// Whether nothing can be compared in a phase.
const fn excluded(phase: Phase) -> bool {
    matches!(phase, Phase::Drain | Phase::Steady)
}

fn read_origins(section: &mut Section<'_>) -> Vec<String> {
    let form = || form::texts(&json!({ "type": "string", "pattern": ORIGIN }), 0, Some(&[]));
    let origins = section.texts("origins", form).unwrap_or_default();
    for text in &origins {
        let is_origin = Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == *text
        });
        if !is_origin {
            let message = format!("{text:?} is no origin; write \"https://app.example.com\"");
            section.problem("origins", message);
        }
    }
    origins
}

fn read_accept(section: &mut Section<'_>) -> BTreeMap<Row, String> {
    let names = Row::ALL.map(Row::as_str);
    let pattern = format!("^({}): .*\\S", names.join("|"));
    let form = || form::texts(&json!({ "type": "string", "pattern": pattern }), 0, Some(&[]));
    let mut accept = BTreeMap::new();
    for text in section.texts("accept", form).unwrap_or_default() {
        let (name, why) = text.split_once(':').unwrap_or((&text, ""));
        let row = Row::ALL.into_iter().find(|row| row.as_str() == name);
        let why = why.strip_prefix(' ').map(str::trim).filter(|why| !why.is_empty());
        let problem = match (row, why) {
            (Some(row), Some(_)) if accept.contains_key(&row) => {
                format!("is the second of {}; give one reason", row.as_str())
            }
            (Some(row), Some(why)) if !why.chars().any(char::is_control) => {
                accept.insert(row, why.to_owned());
                continue;
            }
            (Some(row), _) => {
                format!("gives no reason in one line; write \"{}: why\"", row.as_str())
            }
            (None, _) => match closest(&names, name) {
                Some(meant) => format!("names no row; did you mean {meant}?"),
                None => "names no row; docs/parity.md lists them".to_owned(),
            },
        };
        section.problem("accept", format!("{text:?} {problem}"));
    }
    accept
}
