//! Parity: whether the two apps behave alike where it was tried, but for what is wanted so.

use crate::model::ClusterRole;
use crate::verify::parity::{Likeness, ParityFigures, Row, RowFigures};
use crate::verify::verdict::Status;

use super::Seen;

/// Rows that are told of one by one: the report has all of them.
const TOLD_MAX: usize = 4;

pub(super) fn check(parity: &ParityFigures) -> Seen {
    let [same, accepted, open, differ] =
        [Likeness::Same, Likeness::Accepted, Likeness::NotTested, Likeness::Differs]
            .map(|likeness| parity.count(likeness));
    let status = if differ > 0 {
        Status::Fail
    } else if open > 0 || parity.rows.is_empty() {
        Status::Inconclusive
    } else {
        Status::Pass
    };
    let all = parity.rows.len();
    let mut said = match same {
        same if same == all as u64 => format!("both behave alike in all of {all} rows"),
        same => format!("both behave alike in {same} of {all} rows"),
    };
    if accepted > 0 {
        let wanted = parity.rows.iter().filter(|(_, row)| row.likeness == Likeness::Accepted);
        let wanted: Vec<_> = wanted.map(|(row, _)| row.as_str()).collect();
        said += &format!("; wanted to differ: {}", wanted.join(", "));
    }
    let telling = parity.rows.iter().filter(|(_, row)| row.likeness > Likeness::Accepted);
    let mut telling: Vec<_> = telling.collect();
    // What differs is worse than what nobody knows.
    telling.sort_by_key(|(_, row)| std::cmp::Reverse(row.likeness));
    for (row, figures) in telling.iter().take(TOLD_MAX) {
        said += &format!("; {}", describe(**row, figures));
    }
    match telling.len().saturating_sub(TOLD_MAX) {
        0 => {}
        1 => said += "; and 1 row more",
        n => said += &format!("; and {n} rows more"),
    }
    Seen {
        status,
        observed: Some(differ as f64),
        limit: Some(0.0),
        unit: "rows",
        evidence: same + accepted + differ,
        detail: said,
        ..Seen::default()
    }
}

fn describe(row: Row, figures: &RowFigures) -> String {
    let of = |role| figures.readings.get(&role).map_or("not tested".to_owned(), |r| r.shown());
    let (old, new) = (of(ClusterRole::Old), of(ClusterRole::New));
    match figures.likeness {
        Likeness::Differs => {
            format!("{} differs: {old} on old, {new} on new", row.as_str())
        }
        _ => format!("{} was not tested on both: {old} on old, {new} on new", row.as_str()),
    }
}
