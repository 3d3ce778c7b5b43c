//! Proves that a live migration between two realtime clusters loses no message.

#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod model;
pub mod pusher;
pub mod rehearsal;
