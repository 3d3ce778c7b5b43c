//! A provider's status page, read beside a run: what it says is judged, and whatever becomes of it
//! holds nothing up.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use pusher_canary::model::{Clock, ClusterRole};
use pusher_canary::scenario::file::{self, Surroundings};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::util::{Clusters, Folder, Outcome, Report, canary, deserted, turn};

const OPERATIONAL: &str = include_str!("../fixtures/status_page/operational.json");
const INCIDENT: &str = include_str!("../fixtures/status_page/incident.json");
const INCIDENTS: &str = include_str!("../fixtures/status_page/incidents.json");

/// How a provider answers.
#[derive(Clone, Debug)]
pub enum Says {
    /// Its summary, and its list of incidents.
    Pages(String, String),
    /// This status, with a web page.
    Status(u16),
    /// Nothing, for as long as it is asked.
    Nothing,
}

impl Says {
    /// That all is well.
    pub fn well() -> Self {
        Self::Pages(OPERATIONAL.to_owned(), INCIDENTS.to_owned())
    }

    /// That the REST API is slow.
    pub fn ill() -> Self {
        Self::Pages(INCIDENT.to_owned(), INCIDENTS.to_owned())
    }
}

/// A status page.
pub struct Provider {
    pub address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    pub fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let says = Arc::new(Mutex::new(says));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (said, heard) = (Arc::clone(&says), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (says, heard) = (said.lock().unwrap().clone(), Arc::clone(&heard));
                thread::spawn(move || answer(&stream.unwrap(), &says, &heard));
            }
        });
        Self { address, says, asked }
    }

    /// From now on it says something else.
    pub fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// Every path that was asked for.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub fn url(&self) -> String {
        format!("http://{}/status", self.address)
    }
}

/// Answers one request.
fn answer(mut stream: &TcpStream, says: &Says, heard: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or_default() == 0 {
            return;
        }
    }
    let path = head.split(' ').nth(1).unwrap().to_owned();
    heard.lock().unwrap().push(path.clone());
    let (status, body) = match says {
        Says::Pages(summary, _) if path == "/status/api/v2/summary.json" => (200, summary.clone()),
        Says::Pages(_, all) if path == "/status/api/v2/incidents.json" => (200, all.clone()),
        Says::Pages(..) => (404, String::new()),
        Says::Status(status) => (*status, "<html>It works!</html>".to_owned()),
        Says::Nothing => {
            // Until whoever asked has gone.
            let _ = reader.read_line(&mut head);
            return;
        }
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n");
    // Whoever asked may have gone.
    let _ = stream.write_all((head + &body).as_bytes());
}

/// A section of a scenario.
pub fn section(cluster: &str, url: &str, more: &str) -> String {
    format!("\n[status_page.{cluster}]\nurl = \"{url}\"\n{more}\n")
}

/// A run against clusters that do nothing wrong.
struct Bench {
    folder: Folder,
    clusters: Clusters,
}

impl Bench {
    fn new() -> Self {
        Self { folder: Folder::new(), clusters: Clusters::start() }
    }

    /// Runs with these sections; `happen` is called once canary events are delivered.
    fn run(&self, sections: &str, more: &[&str], happen: impl FnOnce()) -> Outcome {
        let text = self.clusters.scenario(&[]) + sections;
        let path = self.folder.write("scenario.toml", &text);
        let args = ["run", path.to_str().unwrap(), "--report-json", "-", "--listen", "127.0.0.1:0"];
        let _turn = turn();
        let canary = canary(args.iter().chain(more)).envs(self.clusters.variables());
        let mut running = canary.within(self.folder.path()).start();
        running.deliveries();
        happen();
        running.finish()
    }
}

fn finding<'a>(report: &'a Report, cluster: &str) -> &'a Value {
    let is_it = |f: &&Value| f["name"] == "status-page" && f["cluster"] == cluster;
    report.0["checks"].as_array().unwrap().iter().find(is_it).unwrap()
}

#[test]
fn a_page_on_which_all_is_well_passes_and_is_asked_for_nothing_but_what_it_says() {
    let (bench, page) = (Bench::new(), Provider::start(Says::well()));
    // With a slash or without.
    let outcome = bench.run(&section("new", &(page.url() + "/"), ""), &[], || {});
    let report = outcome.judged();
    assert_eq!((report.verdict(), report.status("status-page", "new")), ("GO", "pass"));
    let found = finding(&report, "new");
    let detail = format!("{}: no incident, and 5 components operational; 2 readings", page.url());
    assert_eq!((&found["detail"], &found["required"]), (&json!(detail), &json!(true)));
    let summary = "/status/api/v2/summary.json";
    assert_eq!(page.asked(), [summary, summary, "/status/api/v2/incidents.json"]);
    assert!(report.0["providers"]["old"].is_null());
    let spans = report.0["providers"]["new"]["spans"].as_array().unwrap();
    assert!(spans.iter().all(|span| span["counts"] == false), "{spans:?}");
}

#[test]
fn an_incident_that_opens_while_the_run_goes_on_is_no_go_and_is_recorded() {
    let (bench, page) = (Bench::new(), Provider::start(Says::well()));
    let watched = "components = [\"Channels REST API\", \"0q8vx6wrl5kn\"]";
    let files = ["--journal", "run.journal"];
    let outcome = bench.run(&section("new", &page.url(), watched), &files, || {
        page.says(Says::ill());
    });
    let report = outcome.judged();
    assert_eq!((report.verdict(), report.status("status-page", "new")), ("NO-GO", "fail"));
    let reason = format!(
        "status-page on new: {}: incident \"Delayed messages on the REST API\" (minor) of Channels \
         REST API; Channels REST API was degraded performance; 2 readings",
        page.url()
    );
    assert_eq!(report.0["reason"], reason);
    let said = &report.0["providers"]["new"];
    let component = |at: usize| {
        let component = &said["components"][at];
        (component["name"].as_str().unwrap(), component["worst"].as_str().unwrap())
    };
    assert_eq!(component(0), ("Channels REST API", "degraded_performance"));
    assert_eq!(component(1), ("Channels presence channels", "operational"));
    // The maintenance that is under way there is another component's.
    let [span] = said["spans"].as_array().unwrap().as_slice() else { panic!("{said}") };
    assert_eq!((&span["counts"], &span["until"]), (&json!(true), &Value::Null));
    assert_eq!(span["from"], "2026-02-03T03:59:00.000Z");
    assert!(span["from_second"].as_f64().unwrap() < 0.0);
    // It stands in the table too.
    let table = &outcome.stderr;
    assert!(
        table.contains("new provider: incident \"Delayed messages on the REST API\""),
        "{table}"
    );

    let again = canary(["report", "run.journal", "--report-json", "-"]).within(bench.folder.path());
    let again = again.run();
    again.assert_code(1);
    assert_eq!(again.stdout, outcome.stdout);
    let journal = bench.folder.read("run.journal");
    assert_eq!(journal.matches("Channels presence channels").count(), 1, "it did not change");
    // Judged together with itself it is one run, and its page counts.
    let gate = ["gate", "--no-history", "--report", "run.journal", "--report-json", "-"];
    let gate = canary(gate).within(bench.folder.path()).run();
    gate.assert_code(1);
    assert!(gate.report().0["reason"].as_str().unwrap().contains(&reason), "{}", gate.stdout);
}

/// The present time of day as a page writes it.
fn now() -> String {
    let seconds = i64::try_from(Clock::start().wall_now().as_secs()).unwrap();
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let ((year, month, day), (hour, minute, second)) = (at.to_calendar_date(), at.to_hms());
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.999Z")
}

#[test]
fn an_incident_that_is_over_and_posted_afterwards_counts_and_one_of_long_ago_does_not() {
    let (bench, page) = (Bench::new(), Provider::start(Says::well()));
    let outcome = bench.run(&section("new", &page.url(), ""), &[], || {
        let mut incidents: Value = serde_json::from_str(INCIDENTS).unwrap();
        incidents["incidents"][0]["resolved_at"] = json!(now());
        page.says(Says::Pages(OPERATIONAL.to_owned(), incidents.to_string()));
    });
    let report = outcome.judged();
    let found = finding(&report, "new");
    assert_eq!((report.verdict(), &found["status"]), ("NO-GO", &json!("fail")));
    let detail = found["detail"].as_str().unwrap();
    let named = "incident \"Connections closed in one region\" (major) of Channels - Channels \
                 WebSocket client API; 2 readings";
    assert!(detail.ends_with(named), "{detail}");
}

#[test]
fn a_page_that_cannot_be_read_changes_no_verdict_and_holds_nothing_up() {
    let bench = Bench::new();
    let (hung, absent) = (Provider::start(Says::Nothing), deserted());
    let (missing, web) = (Provider::start(Says::Status(404)), Provider::start(Says::Status(200)));
    let without = bench.run("", &[], || {});
    assert_eq!(without.judged().verdict(), "GO");
    let absent_url = format!("http://{absent}");
    for (old, new, why_old, why_new) in [
        (&hung.url(), &missing.url(), None, Some("HTTP 404: check url")),
        (&absent_url, &web.url(), Some("cannot be reached"), Some("the answer is no JSON")),
    ] {
        let outcome = bench.run(&(section("old", old, "") + &section("new", new, "")), &[], || {});
        let report = outcome.judged();
        assert_eq!(report.verdict(), "GO");
        assert!(outcome.took < without.took + Duration::from_secs(2), "it waited for a page");
        for (cluster, why) in [("old", why_old), ("new", why_new)] {
            let found = finding(&report, cluster);
            assert_eq!(
                (&found["status"], &found["required"], &found["evidence"]),
                (&json!("inconclusive"), &json!(false), &json!(0)),
                "{cluster}"
            );
            let detail = found["detail"].as_str().unwrap();
            assert!(detail.contains("could not be read"), "{detail}");
            assert!(detail.contains(why.unwrap_or_default()), "{detail}");
        }
    }
}

#[test]
fn tls_trusts_the_systems_roots_or_the_file_that_the_scenario_names() {
    let folder = Folder::new();
    let clusters = Clusters::start_tls(&folder);
    // They speak TLS, and have no status page.
    let [old, new] = ClusterRole::ALL.map(|role| clusters.pair.endpoint(role).https_url);
    let sections = section("old", &old, "tls.ca_file = \"ca.pem\"") + &section("new", &new, "");
    let path = folder.write("scenario.toml", &(clusters.scenario(&[]) + &sections));
    let args = ["run", path.to_str().unwrap(), "--report-json", "-"];
    let _turn = turn();
    let report = canary(args).envs(clusters.variables()).run().judged();
    assert_eq!(report.verdict(), "GO");
    let detail = |cluster| finding(&report, cluster)["detail"].as_str().unwrap();
    assert!(detail("old").contains("with HTTP 404"), "{}", detail("old"));
    assert!(detail("new").contains("certificate"), "{}", detail("new"));
}

struct Nothing;

impl Surroundings for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("there are no files here".to_owned())
    }
}

#[test]
fn rehearsals_ignore_the_section_as_they_ignore_the_clusters() {
    let text = section("old", "${NOT_SET}", "components = 7");
    let scenario = file::read("", &text, file::Clusters::Ignored, &Nothing).unwrap();
    assert!(scenario.status_pages.is_empty());
}
