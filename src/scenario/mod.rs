//! What was asked → what will be done: the written form ([`mod@file`]) becomes a [`plan`].

mod clusters;
mod context;
pub mod endpoint;
pub mod file;
mod form;
pub mod handover;
pub mod load;
pub mod parity;
pub mod plan;
mod reader;
pub mod sample;
pub mod schema;
pub mod settings;
pub mod status_page;
pub mod webhooks;

pub use context::{Problem, Problems};
