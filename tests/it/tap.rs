//! Stands before a cluster's WebSockets and keeps what passes: who was there, and which canary events
//! the cluster sent to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::Value;

/// A canary event: stream and seq.
pub type Canary = (u64, u64);

/// The chunks with canary events that taps have carried to clients: a clock that only traffic moves.
#[derive(Default)]
pub struct Traffic {
    chunks: Mutex<u64>,
    more: Condvar,
}

impl Traffic {
    fn carried(&self) {
        *self.chunks.lock().unwrap() += 1;
        self.more.notify_all();
    }

    /// Until `more` chunks have passed. Before the first one there is nothing to wait for.
    fn wait(&self, more: u64) {
        let chunks = self.chunks.lock().unwrap();
        let until = if *chunks == 0 { 0 } else { *chunks + more };
        drop(self.more.wait_while(chunks, |chunks| *chunks < until).unwrap());
    }
}

/// See the module's documentation.
pub struct Tap {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Passed>>>,
}

/// What a connection carried, as bytes.
#[derive(Clone, Default)]
struct Passed {
    up: Arc<Mutex<Vec<u8>>>,
    down: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    /// One before `target`, an authority, which is so far away that `away` chunks of `traffic` pass
    /// before a client is connected.
    pub fn before(target: &str, traffic: &Arc<Traffic>, away: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (shared, target) = (Arc::clone(&connections), target.to_owned());
        let traffic = Arc::clone(traffic);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, target) = (client.unwrap(), target.clone());
                let passed = Passed::default();
                shared.lock().unwrap().push(passed.clone());
                let traffic = Arc::clone(&traffic);
                thread::spawn(move || {
                    traffic.wait(away);
                    let server = TcpStream::connect(&target).unwrap();
                    let both = (client.try_clone().unwrap(), server.try_clone().unwrap());
                    carry(both.0, both.1, passed.up, None);
                    carry(server, client, passed.down, Some(traffic));
                });
            }
        });
        Self { address, connections }
    }

    /// Where it is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The canary events that were sent to each user of a presence channel, on whichever connection.
    pub fn sent(&self) -> BTreeMap<String, BTreeSet<Canary>> {
        let mut sent: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for passed in self.connections.lock().unwrap().iter() {
            let up = texts(&passed.up.lock().unwrap());
            let down = texts(&passed.down.lock().unwrap());
            if let Some(user) = up.iter().find_map(user) {
                sent.entry(user).or_default().extend(down.iter().filter_map(canary));
            }
        }
        sent
    }
}

fn carry(
    mut from: TcpStream,
    mut to: TcpStream,
    kept: Arc<Mutex<Vec<u8>>>,
    traffic: Option<Arc<Traffic>>,
) {
    thread::spawn(move || {
        let mut bytes = [0; 65_536];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            // Kept before it is handed on: whoever has seen it finds it here.
            kept.lock().unwrap().extend_from_slice(&bytes[..read]);
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
            let is_canary = |at: &[u8]| at == b"pc-canary";
            if let Some(traffic) = &traffic
                && bytes[..read].windows(9).any(is_canary)
            {
                traffic.carried();
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// The text messages behind an HTTP head, of either side (RFC 6455), none of them in fragments.
fn texts(bytes: &[u8]) -> Vec<Value> {
    let head = bytes.windows(4).position(|at| at == b"\r\n\r\n");
    let mut rest = head.map_or(&[][..], |head| &bytes[head + 4..]);
    let mut texts = Vec::new();
    while let [first, second, ..] = *rest {
        let (extended, short) = match second & 0x7F {
            126 => (2, 0),
            127 => (8, 0),
            short => (0, usize::from(short)),
        };
        let masked = usize::from(second & 0x80 != 0) * 4;
        let Some(lengths) = rest.get(2..2 + extended) else { break };
        let length = lengths.iter().fold(short, |sum, byte| sum << 8 | usize::from(*byte));
        let begin = 2 + extended + masked;
        let Some(payload) = rest.get(begin..begin + length) else { break };
        let mask = &rest[begin - masked..begin];
        let unmasked = payload.iter().enumerate();
        let unmasked =
            unmasked.map(|(at, byte)| if masked > 0 { byte ^ mask[at % 4] } else { *byte });
        if first & 0x0F == 1 {
            texts.push(serde_json::from_slice(&unmasked.collect::<Vec<_>>()).unwrap());
        }
        rest = &rest[begin + length..];
    }
    texts
}

/// As whom a subscription was asked for.
fn user(frame: &Value) -> Option<String> {
    let data = frame["data"]["channel_data"].as_str()?;
    let data: Value = serde_json::from_str(data).unwrap();
    Some(data["user_id"].as_str()?.to_owned())
}

fn canary(frame: &Value) -> Option<Canary> {
    (frame["event"] == "pc-canary").then_some(())?;
    let envelope: Value = serde_json::from_str(frame["data"].as_str()?).unwrap();
    Some((envelope["stream"].as_u64()?, envelope["seq"].as_u64()?))
}
