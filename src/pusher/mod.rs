//! The Pusher Channels protocol (protocol 7, HTTP API 1.0) without I/O: bytes and instants in,
//! bytes and facts out. Knows `model` only.

pub mod auth;
pub mod close;
pub mod encrypt;
pub mod endpoint;
pub mod frame;
pub mod rest;
pub mod session;
pub mod webhook;

use crate::model::AppKey;

/// Path and query to open a WebSocket with (Channels docs: protocol, connection). The client names
/// itself: operators of a cluster can tell its connections from their users'.
pub fn socket_target(key: &AppKey) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("/app/{key}?protocol=7&client=pusher-canary&version={version}")
}
