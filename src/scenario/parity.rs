//! `[parity]`: in what the two apps must behave alike.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use crate::verify::checks::Phase;
use crate::verify::parity::{ParityBegin, Probe, Row};

use super::file::describe_excluded;
use super::form;
use super::reader::Section;

/// `[parity]`.
#[derive(Clone, Debug, Serialize)]
pub struct Parity {
    /// What is tried.
    pub probes: Vec<Probe>,
    /// Differences that are wanted, and why.
    pub accept: BTreeMap<Row, String>,
}

impl Parity {
    /// What is looked at.
    pub(super) fn begin(&self) -> ParityBegin {
        let rows = self.probes.iter().flat_map(|probe| probe.rows()).copied();
        ParityBegin { rows: rows.collect(), accept: self.accept.clone() }
    }
}

/// Reads the section, if it is there.
pub(super) fn read(section: &mut Section<'_>, phase: Phase) -> Option<Parity> {
    if !section.is_present() {
        return None;
    }
    describe_excluded(section, "parity", excluded);
    if excluded(phase) {
        let message = "two apps are compared where a run is on both: preflight, dual-publish or \
                       cutover alone; remove [parity]";
        section.problem("probes", message);
    }
    Some(Parity { probes: read_probes(section), accept: read_accept(section) })
}

/// Whether nothing can be compared in a phase.
const fn excluded(phase: Phase) -> bool {
    matches!(phase, Phase::Drain | Phase::Steady)
}

/// Those that are named; else those that take no minutes.
fn read_probes(section: &mut Section<'_>) -> Vec<Probe> {
    let names = Probe::ALL.map(Probe::as_str);
    let usual: Vec<_> = Probe::ALL.into_iter().filter(|probe| !probe.is_slow()).collect();
    let defaults: Vec<_> = usual.iter().map(|probe| probe.as_str()).collect();
    let form = || form::texts(&json!({ "enum": names }), 1, &defaults);
    let Some(given) = section.texts("probes", form) else { return usual };
    let mut probes = Vec::new();
    for name in &given {
        match Probe::ALL.into_iter().find(|probe| probe.as_str() == name) {
            Some(probe) if !probes.contains(&probe) => probes.push(probe),
            Some(_) => {}
            None => {
                let message = format!("{name:?} is no probe; use {}", names.join(", "));
                section.problem("probes", message);
            }
        }
    }
    if given.is_empty() {
        let message = format!("must name at least one of {}", names.join(", "));
        section.problem("probes", message);
    }
    probes
}

fn read_accept(section: &mut Section<'_>) -> BTreeMap<Row, String> {
    let names = Row::ALL.map(Row::as_str);
    let pattern = format!("^({}): .*\\S", names.join("|"));
    let form = || form::texts(&json!({ "type": "string", "pattern": pattern }), 0, &[]);
    let mut accept = BTreeMap::new();
    for text in section.texts("accept", form).unwrap_or_default() {
        let split = text.split_once(": ").map(|(row, why)| (row, why.trim()));
        let known = |name: &str| Row::ALL.into_iter().find(|row| row.as_str() == name);
        match split.and_then(|(row, why)| Some((known(row)?, why))) {
            Some((row, why)) if !why.is_empty() && !why.chars().any(char::is_control) => {
                accept.insert(row, why.to_owned());
            }
            _ => {
                let message = format!(
                    "{text:?} is not of the form \"row: why\", with one of {}",
                    names.join(", ")
                );
                section.problem("accept", message);
            }
        }
    }
    accept
}
