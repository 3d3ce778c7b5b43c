//! The Pusher Channels protocol (protocol 7, HTTP API 1.0) without I/O: bytes and instants in,
//! bytes and facts out. Knows `model` only.

pub mod auth;
pub mod close;
pub mod encrypt;
pub mod frame;
pub mod rest;
pub mod session;
pub mod webhook;
