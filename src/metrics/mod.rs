//! Metrics: declared once in [`table`], filled from an account in [`registry`], served in
//! [`serve`].

pub mod registry;
pub mod serve;
pub mod table;
