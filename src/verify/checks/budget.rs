//! Budget: what may be billed today is not used up, for then nothing is published any more.

use crate::verify::figures::BudgetUsed;
use crate::verify::verdict::Status;

use super::{Seen, percent_below};

/// What is used up accuses no cluster: this check never fails.
pub(super) fn check(used: BudgetUsed) -> Seen {
    let most = used.most();
    let (status, what) = if most < 1.0 {
        (Status::Pass, "")
    } else {
        (Status::Inconclusive, "; nothing is published before midnight UTC")
    };
    Seen {
        status,
        observed: Some(most),
        limit: Some(1.0),
        unit: "ratio",
        evidence: 1,
        detail: format!("{} of what may be billed today is used up{what}", percent_below(most)),
        ..Seen::default()
    }
}
