//! Metrics: declared once in [`table`], filled from an account in [`registry`]; and the way back,
//! from what [`prometheus`] answers to [`agents`].

pub mod agents;
pub mod prometheus;
pub mod registry;
pub mod table;
