//! Metrics: declared once in [`table`], filled from an account in [`registry`].

pub mod registry;
pub mod table;
