//! Bounds on what was not seen, and comparisons of two samples.
//!
//! Limits are one-sided, each at its own `confidence` (0 to 1). Those called *anytime* hold at all
//! times at once and may be looked at as often as one likes; the others hold once, at a number of
//! samples that was fixed beforehand.

mod arc;
mod binomial;
mod finite;
mod mcnemar;
mod noninferiority;
mod poisson;
mod quantile;
mod search;
mod sequence;
mod theil_sen;

#[cfg(test)]
mod simulation;

pub use binomial::{lower_bound, trials_needed, upper_bound};
pub use finite::{Sampled, defective_upper_bound};
pub use mcnemar::mcnemar;
pub use noninferiority::{Comparison, Interval, compare};
pub use poisson::poisson_upper_bound;
pub use quantile::{quantile_ranks, quantile_ranks_anytime};
pub use sequence::{lower_bound_anytime, trials_needed_anytime, upper_bound_anytime};
pub use theil_sen::theil_sen_slope;
