//! A cluster that takes publications while its witnesses cannot reach it.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use pusher_canary::model::ClusterRole;

use crate::util::{Clusters, Folder, Outcome, Report, canary, section, turn};

/// Stands before a cluster's WebSockets, and can be shut.
pub struct Door {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_shut: bool,
    /// Both ends of each connection that was let through.
    streams: Vec<TcpStream>,
}

impl State {
    fn throw_out(&mut self) {
        for stream in self.streams.drain(..) {
            // The peer may have left by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Door {
    /// An open one before `target`, an authority.
    pub fn before(target: String) -> Self {
        Self::for_so_many(target, usize::MAX)
    }

    /// One that lets so many through, who stay, and nobody after them.
    pub fn for_the_first(target: String, many: usize) -> Self {
        Self::counting(target, many, false)
    }

    /// One that lets so many through; at the next one, everybody is thrown out, and it is shut.
    pub fn for_so_many(target: String, many: usize) -> Self {
        Self::counting(target, many, true)
    }

    fn counting(target: String, many: usize, throws_out: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for (before, client) in listener.incoming().enumerate() {
                let (client, mut state) = (client.unwrap(), shared.lock().unwrap());
                if before == many {
                    state.is_shut = true;
                    if throws_out {
                        state.throw_out();
                    }
                }
                if state.is_shut {
                    continue;
                }
                let server = TcpStream::connect(&target).unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    carry(from.try_clone().unwrap(), to.try_clone().unwrap());
                }
                state.streams.extend([client, server]);
            }
        });
        Self { address, state }
    }

    /// Where it is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on whoever comes is turned away; who is inside stays.
    pub fn shut(&self) {
        self.state.lock().unwrap().is_shut = true;
    }

    /// Whoever is inside is thrown out.
    pub fn empty(&self) {
        self.state.lock().unwrap().throw_out();
    }

    /// From now on whoever comes is let in again.
    pub fn open(&self) {
        self.state.lock().unwrap().is_shut = false;
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // However one side ends, the other is to see its end.
        let _ = io::copy(&mut from, &mut to).and_then(|_| to.flush());
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// Runs against a pair whose new cluster has its WebSockets behind a door; `happen` is called once
/// canary events are delivered.
fn behind_a_door(changes: &[(&str, &str)], happen: impl FnOnce(&Door)) -> (Outcome, Report) {
    let (folder, clusters) = (Folder::new(), Clusters::start());
    let mut endpoint = clusters.pair.endpoint(ClusterRole::New);
    let door = Door::before(endpoint.ws_url.strip_prefix("ws://").unwrap().to_owned());
    endpoint.ws_url = format!("ws://{}", door.address);
    let text = clusters.scenario(changes);
    let text = text.replace(&clusters.sections[1], &section(ClusterRole::New, &endpoint, None));
    let path = folder.write("scenario.toml", &text);
    let args = ["run", path.to_str().unwrap(), "--report-json", "-", "--listen", "127.0.0.1:0"];
    let _turn = turn();
    let mut running = canary(args).envs(clusters.variables()).start();
    running.deliveries();
    happen(&door);
    let outcome = running.finish();
    let report = outcome.judged();
    (outcome, report)
}

/// Whatever new was sent it took, so that nothing is void, and what is missing was missed for this
/// cause, not lost.
fn assert_missed(outcome: &Outcome, report: &Report, windows: u64) {
    let missed = report.figure("new", "obligations.missed_offline");
    assert!(missed > 0, "nothing was published meanwhile");
    let sent = report.figure("new", "publications.sent");
    assert_eq!(report.figure("new", "publications.accepted"), sent);
    assert_eq!(report.figure("new", "obligations.lost"), 0);
    let blind = &report.0["clusters"]["new"]["blind"];
    assert_eq!(blind["windows_by_cause"]["network"], windows);
    assert_eq!(blind["missed_by_cause"], serde_json::json!({ "network": missed }));
    let incidents = report.incidents().iter().filter(|i| i["cluster"] == "new");
    for incident in incidents.filter(|i| i["kind"] == "missed_offline") {
        assert_eq!(incident["cause"], "network");
    }
    assert_eq!(report.status("blind", "new"), "fail");
    assert_eq!(report.verdict(), "NO-GO");
    outcome.assert_code(1);
    assert_eq!(report.status("blind", "old"), "pass");
}

#[test]
fn what_is_published_while_no_witness_can_connect_is_missed_not_lost() {
    let (outcome, report) = behind_a_door(&[], |door| {
        door.shut();
        door.empty();
    });
    assert_missed(&outcome, &report, 2);
    assert_eq!(report.figure("new", "blind.ended"), 0);
    assert!(report.figure("new", "connections.failed") >= 2, "they did not try again");
}

#[test]
fn what_is_published_until_witnesses_are_back_is_missed_not_lost() {
    let (outcome, report) = behind_a_door(&[], |door| {
        door.shut();
        door.empty();
        door.open();
    });
    assert_missed(&outcome, &report, 2);
    assert_eq!(report.figure("new", "blind.ended"), 2);
    // The connection of the negative controls was cut as well.
    assert_eq!(report.closed("new"), 3);
}

#[test]
fn a_reconnect_on_purpose_that_fails_is_held_against_the_cluster() {
    let changes = [("duration", "\"5s\""), ("deadline", "\"400ms\""), ("recycle", "\"2s\"")];
    // Witnesses take turns, two seconds apart: both have had theirs when publishing ends.
    let (outcome, report) = behind_a_door(&changes, Door::shut);
    assert_missed(&outcome, &report, 2);
    assert_eq!(report.figure("new", "blind.ended"), 0);
    assert!(report.0["clusters"]["new"]["blind"]["windows_by_cause"]["agent"].is_null());
}
