//! Sockets: dialling with every phase timed and bounded, TLS, and HTTP/1.1 with keep-alive.

pub mod dial;
mod head;
pub mod http;
pub mod tls;
