//! What was asked → what will be done: the written form ([`mod@file`]) becomes a [`plan`].

pub mod file;
pub mod plan;
mod reader;
pub mod settings;
pub mod status_page;

pub use reader::{Problem, Problems};
