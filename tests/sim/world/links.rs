//! The links between witnesses and clusters, and what befalls them.

use std::time::Duration;

use pusher_canary::model::{RunId, RunTime, Seq};
use pusher_canary::rehearsal::core::Effect;
use pusher_canary::rehearsal::hub::Conn;
use rand::Rng;
use rand::rngs::SmallRng;

use super::options::millis;
use super::record::Known;
use super::{Happening, TROUBLE, World};

/// Close codes after which a client comes again.
const CODES: [u16; 5] = [1001, 1011, 4100, 4200, 4201];

/// What comes down a link.
pub enum Item {
    Text(String),
    Close(u16),
    Cut,
}

/// A connection between a witness and the cluster.
pub struct Link {
    pub number: u64,
    pub conn: Conn,
    /// When the last frame in each direction arrives: they keep their order.
    pub down: RunTime,
    pub up: RunTime,
    /// From when on nothing arrives any more, in either direction.
    pub dead_from: RunTime,
    /// Whether the cluster said its last word on it.
    pub is_over: bool,
}

impl World {
    pub fn carry(&mut self, side: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(conn, text) => {
                    if let Some((witness, link)) = self.clusters[side].owners.get(&conn).copied() {
                        self.send(witness, link, text.as_str());
                    }
                }
                Effect::Close(conn, code, _) => {
                    if let Some((witness, link)) = self.clusters[side].owners.remove(&conn) {
                        self.put(witness, link, Item::Close(code));
                        self.end_link(witness, link);
                    }
                }
                Effect::Mute(_) | Effect::Unmute(_) => {}
            }
        }
    }

    /// The link of a witness, if it is still this one.
    pub fn link(&mut self, witness: usize, number: u64) -> Option<&mut Link> {
        self.witnesses[witness].link.as_mut().filter(|link| link.number == number)
    }

    fn end_link(&mut self, witness: usize, number: u64) {
        if let Some(link) = self.link(witness, number) {
            link.is_over = true;
        }
    }

    /// A frame goes down a link, and trouble befalls deliveries.
    fn send(&mut self, witness: usize, link: u64, text: &str) {
        if !text.contains(r#""event":"pc-canary""#) {
            self.put(witness, link, Item::Text(text.to_owned()));
            return;
        }
        let side = self.witnesses[witness].side;
        let chances = self.clusters[side].chances.clone();
        if self.strikes(chances.foreign) {
            let (stream, seq) = (0, Seq(self.rng.random_range(0..99)));
            let at_us = self.rng.random_range(0..1 << 50);
            let other = RunId(uuid::Uuid::from_u128(9));
            let data = self.data((other, side), stream, seq, at_us);
            self.clusters[side].published.insert(data.clone(), Known::Foreign);
            let channel = self.streams[stream].clone();
            let frame =
                serde_json::json!({ "event": "pc-canary", "channel": channel, "data": data });
            self.put(witness, link, Item::Text(frame.to_string()));
        }
        if self.strikes(chances.malformed) {
            self.put(witness, link, Item::Text(text[..text.len() - 1].to_owned()));
            return;
        }
        if self.strikes(chances.drop) {
            return;
        }
        let mut text = text.to_owned();
        if self.strikes(chances.corrupt) {
            text = corrupted(&text, &mut self.rng);
        }
        if self.strikes(chances.misroute) {
            let from = self.rng.random_range(0..self.options.channels.len());
            let to = self.rng.random_range(0..self.options.channels.len());
            let named = |at: usize| format!(r#""channel":"{}""#, self.options.channels[at]);
            text = text.replace(&named(from), &named(to));
        }
        let copies = if self.strikes(chances.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            if self.strikes(chances.delay) {
                // Others overtake it.
                let horizon = u64::try_from(self.options.horizon.as_millis()).unwrap();
                let late = millis(&mut self.rng, 1..horizon * 3 / 2);
                let item = Item::Text(text.clone());
                self.queue(late, Happening::Down { witness, link, item });
            } else {
                self.put(witness, link, Item::Text(text.clone()));
            }
        }
    }

    /// Something goes down a link, behind what is under way.
    fn put(&mut self, witness: usize, number: u64, item: Item) {
        let at = self.now.after(self.way());
        let Some(link) = self.link(witness, number) else { return };
        link.down = link.down.max(at);
        let at = link.down;
        self.queue_at(at, Happening::Down { witness, link: number, item });
    }

    pub fn up(&mut self, witness: usize, number: u64, text: &str) {
        let now = self.now;
        let Some(conn) = self.link(witness, number).filter(|l| now < l.dead_from).map(|l| l.conn)
        else {
            return;
        };
        let side = self.witnesses[witness].side;
        let effects = self.clusters[side].core.handle_text(self.now, conn, text);
        self.carry(side, effects);
    }

    /// Trouble of connections and of the cluster.
    pub fn trouble(&mut self) {
        let within = |a_second: f64| a_second * TROUBLE.as_secs_f64();
        for side in 0..self.clusters.len() {
            if self.strikes(within(self.clusters[side].chances.restart)) {
                let effects = self.clusters[side].core.close_all();
                self.carry(side, effects);
            }
        }
        for witness in 0..self.witnesses.len() {
            let Some((number, conn)) = self.witnesses[witness]
                .link
                .as_ref()
                .filter(|link| !link.is_over)
                .map(|link| (link.number, link.conn))
            else {
                continue;
            };
            let side = self.witnesses[witness].side;
            let chances = self.clusters[side].chances.clone();
            if self.strikes(within(chances.recycle)) {
                self.witnesses[witness].session.recycle(self.now);
                self.act(witness);
            }
            if self.strikes(within(chances.stall)) {
                let stalled = self.now.after(millis(&mut self.rng, 1..4_000));
                if let Some(link) = self.link(witness, number) {
                    link.down = link.down.max(stalled);
                }
            }
            let (now, way) = (self.now, self.way());
            if self.strikes(within(chances.half_open)) {
                if let Some(link) = self.link(witness, number) {
                    link.dead_from = link.dead_from.min(now);
                }
            } else if self.strikes(within(chances.close)) {
                let code = CODES[self.rng.random_range(0..CODES.len())];
                self.put(witness, number, Item::Close(code));
                self.end_link(witness, number);
                self.clusters[side].owners.remove(&conn);
                self.queue(Duration::ZERO, Happening::Left { side, conn });
            } else if self.strikes(within(chances.cut)) {
                // What is under way is lost, however much of it had come.
                let cut = now.after(way);
                if let Some(link) = self.link(witness, number) {
                    link.dead_from = link.dead_from.min(cut);
                }
                self.queue_at(cut, Happening::Down { witness, link: number, item: Item::Cut });
                self.clusters[side].owners.remove(&conn);
                self.queue(way, Happening::Left { side, conn });
            }
        }
    }
}

/// The frame with one character of its data changed.
fn corrupted(text: &str, rng: &mut SmallRng) -> String {
    let mut frame: serde_json::Value = serde_json::from_str(text).unwrap();
    let data = frame["data"].as_str().unwrap().to_owned();
    let at = rng.random_range(0..data.len());
    let other = if data.as_bytes()[at] == b'x' { 'y' } else { 'x' };
    let changed: String =
        data.char_indices().map(|(place, c)| if place == at { other } else { c }).collect();
    frame["data"] = changed.into();
    frame.to_string()
}
