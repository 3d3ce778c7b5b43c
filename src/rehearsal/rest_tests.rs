use super::*;
use crate::model::{AppId, AppKey, ClusterRole, Secret};
use crate::rehearsal::core::Setup;
use crate::rehearsal::hub::Conn;

/// The app of the documentation's worked example, at its time.
fn docs_app() -> App {
    App {
        id: AppId::new("3").unwrap(),
        key: AppKey::new("278d425bdf160c739803").unwrap(),
        secret: Secret::new("7ad3773142a6692b25b8"),
    }
}

const DOCS_TIME: u64 = 1_353_088_179;
const DOCS_QUERY: &str = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";
const DOCS_BODY: &str = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;

fn docs_parts() -> Parts<'static> {
    let (method, path) = ("POST", "/apps/3/events");
    Parts { method, path, query: DOCS_QUERY, body: DOCS_BODY.as_bytes() }
}

struct World {
    core: Core,
    app: App,
}

impl World {
    fn new(faults: &[&str]) -> Self {
        let faults = faults.iter().map(|text| text.parse().unwrap()).collect();
        let app = docs_app();
        let role = ClusterRole::New;
        let setup = Setup {
            role,
            app: app.clone(),
            seed: 1,
            habits: Default::default(),
            faults,
            has_webhooks: false,
            peek_key: None,
        };
        Self { core: Core::new(setup), app }
    }

    fn subscriber(&mut self, frames: &[&str]) -> Conn {
        let (conn, _) = self.core.handle_connected(RunTime::ZERO);
        for frame in frames {
            self.core.handle_text(RunTime::ZERO, conn, frame);
        }
        conn
    }

    /// Presence needs a signature, made by the same rules as anywhere else.
    fn member(&mut self, channel: &str, user: &str) -> Conn {
        let conn = self.subscriber(&[]);
        let data = format!(r#"{{"user_id":"{user}"}}"#);
        let socket = self.core.hub().socket_id(conn).unwrap();
        let auth = auth::channel(&self.app.key, &self.app.secret, socket, channel, Some(&data));
        let data = serde_json::to_string(&data).unwrap();
        let frame = format!(
            r#"{{"event":"pusher:subscribe","data":{{"auth":"{auth}","channel_data":{data},"channel":"{channel}"}}}}"#
        );
        self.core.handle_text(RunTime::ZERO, conn, &frame);
        conn
    }

    fn signed(&self, method: &str, path: &str, extra: &[(&str, &str)], body: &str) -> String {
        let App { id, key, secret } = self.app.clone();
        let signer = rest::Signer { app_id: id, key, secret };
        signer.query(method, path, extra, body.as_bytes(), DOCS_TIME)
    }

    fn ask(
        &mut self,
        method: &str,
        tail: &str,
        extra: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        let path = format!("/apps/3/{tail}");
        let query = self.signed(method, &path, extra, body);
        let parts = Parts { method, path: &path, query: &query, body: body.as_bytes() };
        let reply = match parse(&self.app, &BTreeSet::new(), DOCS_TIME, parts) {
            Ok(call) => {
                let request = self.core.request_arrived();
                apply(&mut self.core, RunTime::ZERO, call, &request).0
            }
            Err(reply) => Some(reply),
        };
        reply.map_or((0, String::new()), |reply| (reply.status, reply.body))
    }
}

fn subscribe(channel: &str) -> String {
    format!(r#"{{"event":"pusher:subscribe","data":{{"auth":"","channel":"{channel}"}}}}"#)
}

#[test]
fn the_documented_example_is_accepted() {
    let event = Publication {
        event: "foo".to_owned(),
        channel: "project-3".to_owned(),
        data: r#"{"some":"data"}"#.to_owned(),
        except: None,
    };
    let call = Call::Publish(vec![event], Info::default());
    assert_eq!(parse(&docs_app(), &BTreeSet::new(), DOCS_TIME, docs_parts()), Ok(call.clone()));
    assert_eq!(parse(&docs_app(), &BTreeSet::new(), DOCS_TIME + 600, docs_parts()), Ok(call));
}

#[test]
fn whoever_signed_otherwise_is_refused() {
    let refused =
        |unix_s, parts: Parts<'_>| parse(&docs_app(), &BTreeSet::new(), unix_s, parts).unwrap_err();
    let late = refused(DOCS_TIME + 601, docs_parts());
    assert_eq!(late.status, 401);
    assert!(late.body.contains("1353088179") && late.body.contains("1353088780"), "{}", late.body);
    assert_eq!(refused(DOCS_TIME - 601, docs_parts()).status, 401);
    let body = br#"{"name":"foo"}"#;
    assert_eq!(refused(DOCS_TIME, Parts { body, ..docs_parts() }).status, 401);
    let path = "/apps/3/batch_events";
    assert_eq!(refused(DOCS_TIME, Parts { path, ..docs_parts() }).status, 401);
    for (from, to) in [
        ("278d425bdf160c739803", "378d425bdf160c739803"),
        ("auth_version=1.0", "auth_version=2.0"),
        ("auth_timestamp=1353088179", "auth_timestamp=soon"),
        ("auth_signature=da45", "auth_signature=ea45"),
        ("auth_signature=", "other="),
    ] {
        let query = DOCS_QUERY.replace(from, to);
        assert_eq!(refused(DOCS_TIME, Parts { query: &query, ..docs_parts() }).status, 401, "{to}");
    }
    for path in ["/", "/apps", "/apps/4/events"] {
        assert_eq!(refused(DOCS_TIME, Parts { path, ..docs_parts() }).status, 404, "{path}");
    }
}

#[test]
fn a_get_may_bring_the_hash_of_its_empty_body() {
    let mut world = World::new(&[]);
    let empty = [("body_md5", "d41d8cd98f00b204e9800998ecf8427e")];
    assert_eq!(world.ask("GET", "channels", &empty, ""), (200, r#"{"channels":{}}"#.to_owned()));
    let other = [("body_md5", "d41d8cd98f00b204e9800998ecf8427f")];
    assert_eq!(world.ask("GET", "channels", &other, "").0, 401);
    assert_eq!(world.ask("GET", "nothing", &[], "").0, 404);
}

#[test]
fn events_beyond_the_limits_are_refused() {
    let mut world = World::new(&[]);
    let event = |name: &str, channel: &str, data: &str| json!({ "name": name, "channel": channel, "data": data });
    let mut status = |body: &Value| world.ask("POST", "events", &[], &body.to_string()).0;
    let (long, longer) = ("x".repeat(10_240), "x".repeat(10_241));
    assert_eq!(status(&event("e", "a", &long)), 200);
    assert_eq!(status(&event("e", "a", &longer)), 413);
    assert_eq!(status(&event(&"e".repeat(200), &"c".repeat(164), "")), 200);
    assert_eq!(status(&event(&"e".repeat(201), "a", "")), 400);
    assert_eq!(status(&event("", "a", "")), 400);
    assert_eq!(status(&event("pusher:e", "a", "")), 400);
    assert_eq!(status(&event("e", &"c".repeat(165), "")), 400);
    assert_eq!(status(&event("e", "a b", "")), 400);
    assert_eq!(status(&event("e", "#server-to-user-1", "")), 200);
    assert_eq!(status(&json!({ "name": "e", "channel": "a", "data": {} })), 400);
    assert_eq!(status(&json!({ "name": "e", "data": "" })), 400);
    assert_eq!(status(&json!({ "name": "e", "channels": [], "data": "" })), 400);
    let channels = |n| json!({ "name": "e", "channels": vec!["a"; n], "data": "" });
    assert_eq!(status(&channels(100)), 200);
    assert_eq!(status(&channels(101)), 400);
    let socket = json!({ "name": "e", "channel": "a", "data": "", "socket_id": "1:2" });
    assert_eq!(status(&socket), 400);
    let batch = |n| json!({ "batch": vec![event("e", "a", ""); n] }).to_string();
    assert_eq!(world.ask("POST", "batch_events", &[], &batch(10)), (200, "{}".to_owned()));
    assert_eq!(world.ask("POST", "batch_events", &[], &batch(11)).0, 400);
    let long = json!({ "batch": [event("e", "a", &longer)] }).to_string();
    assert_eq!(world.ask("POST", "batch_events", &[], &long).0, 413);
}

#[test]
fn state_is_told_as_documented() {
    let mut world = World::new(&[]);
    world.subscriber(&[&subscribe("canary-1"), &subscribe("cache-r")]);
    world.subscriber(&[&subscribe("canary-1")]);
    world.member("presence-a", "u1");
    world.member("presence-a", "u2");
    world.member("presence-a", "u2");
    let event = r#"{"name":"e","channels":["cache-r","presence-a"],"data":"1","info":"user_count,subscription_count"}"#;
    let batch = r#"{"batch":[{"name":"e","channel":"canary-1","data":"","info":"subscription_count"},{"name":"e","channel":"x","data":""}]}"#;
    let info = |text| [("info", text)];
    let prefix = [("filter_by_prefix", "presence-"), ("info", "user_count")];
    for (method, tail, extra, body, answer) in [
        (
            "POST",
            "events",
            &[][..],
            event,
            r#"{"channels":{"cache-r":{"subscription_count":1},"presence-a":{"user_count":2}}}"#,
        ),
        ("POST", "batch_events", &[], batch, r#"{"batch":[{"subscription_count":2},{}]}"#),
        (
            "GET",
            "channels",
            &[],
            "",
            r#"{"channels":{"cache-r":{},"canary-1":{},"presence-a":{}}}"#,
        ),
        ("GET", "channels", &prefix, "", r#"{"channels":{"presence-a":{"user_count":2}}}"#),
        ("GET", "channels/canary-1", &[], "", r#"{"occupied":true}"#),
        ("GET", "channels/canary-2", &[], "", r#"{"occupied":false}"#),
        (
            "GET",
            "channels/presence-a",
            &info("user_count,subscription_count"),
            "",
            r#"{"occupied":true,"subscription_count":3,"user_count":2}"#,
        ),
        (
            "GET",
            "channels/cache-r",
            &info("cache"),
            "",
            r#"{"cache":{"data":"1","ttl":1800},"occupied":true}"#,
        ),
        ("GET", "channels/cache-x", &info("cache"), "", r#"{"cache":null,"occupied":false}"#),
        ("GET", "channels/presence-a/users", &[], "", r#"{"users":[{"id":"u1"},{"id":"u2"}]}"#),
        ("POST", "users/u1/terminate_connections", &[], "{}", "{}"),
    ] {
        assert_eq!(world.ask(method, tail, extra, body), (200, answer.to_owned()), "{tail}");
    }
    for (tail, extra) in [
        ("channels", &info("user_count")),
        ("channels/canary-1", &info("user_count")),
        ("channels/canary-1", &info("cache")),
        ("channels/canary-1", &info("colour")),
        ("channels/canary-1/users", &info("")),
    ] {
        assert_eq!(world.ask("GET", tail, extra, "").0, 400, "{tail}");
    }
}

#[test]
fn publish_faults_strike_canaries_alone() {
    let canary = r#"{"name":"pc-canary","channel":"canary-1","data":"{\"stream\":1,\"seq\":2}"}"#;
    let other = r#"{"name":"other","channel":"canary-1","data":"{}"}"#;
    for (fault, status, taken) in
        [("new:refuse=1", 400, 0), ("new:lose-answer=1", 0, 1), ("new:error-after=1", 503, 1)]
    {
        let mut world = World::new(&[fault, "new:drop=1"]);
        world.subscriber(&[&subscribe("canary-1")]);
        assert_eq!(world.ask("POST", "events", &[], other), (200, "{}".to_owned()));
        assert_eq!(world.core.counts().dropped, 0);
        assert_eq!(world.ask("POST", "events", &[], canary).0, status, "{fault}");
        assert_eq!(world.core.counts().dropped, taken, "{fault}");
    }
}
