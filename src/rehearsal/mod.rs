//! Two embedded Pusher-compatible clusters on loopback, with faults as data.
//!
//! They let anybody see the main job work without an account, and give every test a truth to
//! compare with: each fault done is counted by the cluster that did it. Official SDKs hold them to
//! the protocol (`tests/interop`).
//!
//! From the inside out, each layer knowing only those before it:
//!
//! - [`wire`]: server frames encoded, client frames decoded.
//! - [`hub`] with [`channel`], [`users`] and [`hooks`]: one app, as the hosted service documents
//!   it. Pure.
//! - [`faults`] with [`canary`]: what is done wrong on purpose, and counted. Pure.
//! - [`application`]: a backend that publishes to both clusters, with mistakes. Pure.
//! - [`endpoint`]: its auth endpoints, with mistakes. Pure.
//! - [`core`]: hub and faults as one cluster without sockets. [`rest`]: its HTTP API. Pure.
//! - [`webhooks`]: sends what happened on channels.
//! - [`socket`], [`cluster`]: tokio, hyper, TLS and WebSockets around one core.
//! - [`pair`]: two clusters on a thread and a runtime of their own. What others use.

pub mod alter;
pub mod application;
pub mod canary;
pub mod certs;
pub mod channel;
pub mod cluster;
pub mod core;
pub mod endpoint;
pub mod faults;
pub mod hooks;
pub mod hub;
pub mod pair;
pub mod rest;
pub mod socket;
pub mod users;
pub mod webhooks;
pub mod wire;

pub use faults::FaultCounts;
pub use hub::App;
pub use pair::{Endpoint, Pair, PairConfig};
