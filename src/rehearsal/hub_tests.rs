use super::*;

/// An app, its hub, and clients that see frames as text.
struct World {
    hub: Hub,
    now: RunTime,
}

impl World {
    fn new() -> Self {
        let app = App {
            id: AppId::new("1000001").unwrap(),
            key: AppKey::new("0123456789abcdef0123").unwrap(),
            secret: Secret::new("fedcba98765432100123"),
        };
        Self { hub: Hub::new(app, 7), now: RunTime::ZERO }
    }

    fn connect(&mut self) -> Conn {
        self.hub.handle_connected().0
    }

    /// What each connection gets after `conn` sent this frame, in order.
    fn send(&mut self, conn: Conn, text: &str) -> Vec<(Conn, String)> {
        frames(self.hub.handle_text(self.now, conn, text))
    }

    fn publish(&mut self, channel: &str, data: &str, except: Option<Conn>) -> Vec<(Conn, String)> {
        let except = except.map(|conn| self.hub.socket_id(conn).unwrap().to_string());
        let (event, channel) = ("canary".to_owned(), channel.to_owned());
        let publication = Publication { event, channel, data: data.to_owned(), except };
        frames(self.hub.publish(self.now, publication))
    }

    fn auth(&self, conn: Conn, channel: &str, data: Option<&str>) -> String {
        let App { key, secret, .. } = self.hub.app();
        auth::channel(key, secret, self.hub.socket_id(conn).unwrap(), channel, data)
    }

    /// Subscribes with a sound signature.
    fn subscribe(&mut self, conn: Conn, channel: &str, data: Option<&str>) -> Vec<(Conn, String)> {
        let auth = self.auth(conn, channel, data);
        let data = match data {
            Some(data) => format!(r#","channel_data":{}"#, serde_json::to_string(data).unwrap()),
            None => String::new(),
        };
        let frame = format!(
            r#"{{"event":"pusher:subscribe","data":{{"auth":"{auth}"{data},"channel":"{channel}"}}}}"#
        );
        self.send(conn, &frame)
    }

    fn sign_in(&mut self, conn: Conn, user_data: &str) -> Vec<(Conn, String)> {
        let App { key, secret, .. } = self.hub.app();
        let auth = auth::user(key, secret, self.hub.socket_id(conn).unwrap(), user_data);
        let user_data = serde_json::to_string(user_data).unwrap();
        let frame = format!(
            r#"{{"event":"pusher:signin","data":{{"auth":"{auth}","user_data":{user_data}}}}}"#
        );
        self.send(conn, &frame)
    }
}

fn frames(outputs: Vec<Output>) -> Vec<(Conn, String)> {
    let mut all = Vec::new();
    for output in outputs {
        match output {
            Output::Send(conn, frame) => all.push((conn, frame.to_string())),
            Output::Deliver(to, message) => {
                all.extend(to.into_iter().map(|conn| (conn, message.frame.to_string())));
            }
            Output::Close(conn, code, _) => all.push((conn, format!("closed with {code}"))),
        }
    }
    all
}

fn to(conn: Conn, text: &str) -> (Conn, String) {
    (conn, text.to_owned())
}

fn error(message: &str) -> String {
    format!(r#"{{"event":"pusher:error","data":{{"message":"{message}","code":null}}}}"#)
}

#[test]
fn a_connection_is_established_with_a_new_socket_id_and_answered_pings() {
    let mut world = World::new();
    let (a, out) = world.hub.handle_connected();
    let id = world.hub.socket_id(a).unwrap().clone();
    assert_eq!(
        frames(out),
        [to(
            a,
            &format!(
                r#"{{"event":"pusher:connection_established","data":"{{\"socket_id\":\"{id}\",\"activity_timeout\":120}}"}}"#
            )
        )]
    );
    let b = world.connect();
    assert_ne!(world.hub.socket_id(b).unwrap(), &id);
    let pong = to(a, r#"{"event":"pusher:pong","data":"{}"}"#);
    assert_eq!(world.send(a, r#"{"event":"pusher:ping","data":{}}"#), [pong]);
    assert_eq!(world.send(a, r#"{"event":"pusher:pong","data":{}}"#), []);
    let malformed = error("the message is not JSON with an event name");
    assert_eq!(world.send(a, "nonsense"), [to(a, &malformed)]);
}

#[test]
fn a_public_channel_carries_events_to_all_but_the_excluded() {
    let mut world = World::new();
    let (a, b) = (world.connect(), world.connect());
    let subscribe = r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"canary-1"}}"#;
    let succeeded =
        r#"{"event":"pusher_internal:subscription_succeeded","channel":"canary-1","data":"{}"}"#;
    assert_eq!(world.send(a, subscribe), [to(a, succeeded)]);
    assert_eq!(world.send(b, subscribe), [to(b, succeeded)]);
    let event = r#"{"event":"canary","channel":"canary-1","data":"{\"seq\":0}"}"#;
    assert_eq!(world.publish("canary-1", r#"{"seq":0}"#, None), [to(a, event), to(b, event)]);
    assert_eq!(world.publish("canary-1", r#"{"seq":0}"#, Some(a)), [to(b, event)]);
    assert_eq!(world.publish("canary-2", "x", None), []);
    let again = error("existing subscription to channel canary-1");
    assert_eq!(world.send(a, subscribe), [to(a, &again)]);
    let unsubscribe = r#"{"event":"pusher:unsubscribe","data":{"channel":"canary-1"}}"#;
    assert_eq!(world.send(a, unsubscribe), []);
    assert_eq!(world.publish("canary-1", r#"{"seq":0}"#, None), [to(b, event)]);
    world.hub.handle_closed(b);
    assert!(world.hub.channel("canary-1").is_none());
}

#[test]
fn subscriptions_are_refused_in_the_hosted_form_and_the_connection_stays() {
    let mut world = World::new();
    let a = world.connect();
    let id = world.hub.socket_id(a).unwrap().to_string();
    let good = world.auth(a, "private-a", None);
    let signature = good.split_once(':').unwrap().1.to_owned();
    let subscribe = |channel: &str, auth: &str| {
        format!(
            r#"{{"event":"pusher:subscribe","data":{{"auth":"{auth}","channel":"{channel}"}}}}"#
        )
    };
    let mut refused = |channel: &str, auth: &str, message: &str| {
        assert_eq!(world.send(a, &subscribe(channel, auth)), [to(a, &error(message))], "{channel}");
    };
    refused("private-a", "", "auth info required, of the form key:signature");
    let other_key = format!("other:{signature}");
    refused("private-a", &other_key, "invalid key in subscription auth: other");
    let expected = format!("invalid signature: expected HMAC SHA256 hex digest of {id}:private-b");
    refused("private-b", &good, &expected);
    refused("a b", "", "a channel name has only letters, digits and _ - = @ , . ;");
    refused(&"x".repeat(165), "", "a channel name has 1 to 164 characters");
    let presence = world.auth(a, "presence-a", None);
    assert_eq!(
        world.send(a, &subscribe("presence-a", &presence)),
        [to(a, &error("channel_data is required to subscribe to presence-a"))]
    );
    let user = "the connection has not signed in as the user of #server-to-user-1";
    assert_eq!(world.send(a, &subscribe("#server-to-user-1", "")), [to(a, &error(user))]);
    assert_eq!(world.send(a, &subscribe("private-a", &good)).len(), 1);
    assert!(world.hub.channel("private-a").is_some_and(|channel| channel.has(a)));
}

#[test]
fn members_come_and_go_once_per_user() {
    let mut world = World::new();
    let (a, b, c) = (world.connect(), world.connect(), world.connect());
    let room = "presence-room-7";
    let succeeded = |data: &str| {
        format!(
            r#"{{"event":"pusher_internal:subscription_succeeded","channel":"presence-room-7","data":"{data}"}}"#
        )
    };
    assert_eq!(
        world.subscribe(a, room, Some(r#"{"user_id":"agent-1","user_info":{"role":"probe"}}"#)),
        [to(
            a,
            &succeeded(
                r#"{\"presence\":{\"ids\":[\"agent-1\"],\"hash\":{\"agent-1\":{\"role\":\"probe\"}},\"count\":1}}"#
            )
        )]
    );
    let both = succeeded(
        r#"{\"presence\":{\"ids\":[\"agent-1\",\"agent-3\"],\"hash\":{\"agent-1\":{\"role\":\"probe\"},\"agent-3\":{\"role\":\"x\"}},\"count\":2}}"#,
    );
    let added = r#"{"event":"pusher_internal:member_added","channel":"presence-room-7","data":"{\"user_id\":\"agent-3\",\"user_info\":{\"role\":\"x\"}}"}"#;
    let agent_3 = Some(r#"{"user_id":"agent-3","user_info":{"role":"x"}}"#);
    assert_eq!(world.subscribe(b, room, agent_3), [to(b, &both), to(a, added)]);
    assert_eq!(world.subscribe(c, room, agent_3), [to(c, &both)]);
    assert_eq!(
        world.send(b, r#"{"event":"pusher:unsubscribe","data":{"channel":"presence-room-7"}}"#),
        []
    );
    let removed = r#"{"event":"pusher_internal:member_removed","channel":"presence-room-7","data":"{\"user_id\":\"agent-3\"}"}"#;
    assert_eq!(frames(world.hub.handle_closed(c)), [to(a, removed)]);
    assert_eq!(frames(world.hub.handle_closed(c)), []);
}

#[test]
fn a_presence_channel_has_room_for_a_hundred_users() {
    let mut world = World::new();
    for i in 0..100 {
        let conn = world.connect();
        world.subscribe(conn, "presence-a", Some(&format!(r#"{{"user_id":"{i}"}}"#)));
    }
    let late = world.connect();
    let full = error("presence channel presence-a has as many members as it may have");
    assert_eq!(world.subscribe(late, "presence-a", Some(r#"{"user_id":"x"}"#)), [to(late, &full)]);
    assert_eq!(world.subscribe(late, "presence-a", Some(r#"{"user_id":"7"}"#)).len(), 1);
    assert_eq!(world.hub.channel("presence-a").unwrap().user_count(), 100);
}

#[test]
fn a_cache_channel_replays_what_was_published_last() {
    let mut world = World::new();
    let (a, b) = (world.connect(), world.connect());
    for channel in ["cache-r", "private-cache-r", "presence-cache-r", "private-encrypted-cache-r"] {
        let data = channel.starts_with("presence").then_some(r#"{"user_id":"1"}"#);
        let miss =
            format!(r#"{{"event":"pusher:cache_miss","channel":"{channel}","data":"{{}}"}}"#);
        assert_eq!(world.subscribe(a, channel, data)[1], (a, miss));
        let event = format!(r#"{{"event":"canary","channel":"{channel}","data":"1"}}"#);
        assert_eq!(world.publish(channel, "1", None), [(a, event.clone())]);
        assert_eq!(world.subscribe(b, channel, data)[1], (b, event));
        assert_eq!(world.hub.cached(world.now, channel).unwrap().0, "1");
    }
    // A client event is not kept.
    let text = r#"{"event":"client-x","data":"2","channel":"private-cache-r"}"#;
    assert_eq!(world.send(a, text).len(), 1);
    assert_eq!(world.hub.cached(world.now, "private-cache-r").unwrap().0, "1");
    assert_eq!(world.hub.cached(RunTime::from_millis(1_800_000), "cache-r"), None);
}

#[test]
fn client_events_reach_the_others_as_the_sender_wrote_them() {
    let mut world = World::new();
    let (a, b) = (world.connect(), world.connect());
    for (conn, id) in [(a, "agent-1"), (b, "agent-2")] {
        world.subscribe(conn, "private-a", None);
        world.subscribe(conn, "presence-a", Some(&format!(r#"{{"user_id":"{id}"}}"#)));
        world.subscribe(conn, "canary-1", None);
    }
    assert_eq!(
        world.send(a, r#"{"event":"client-canary","data":{"seq": 1},"channel":"private-a"}"#),
        [to(b, r#"{"event":"client-canary","channel":"private-a","data":{"seq": 1}}"#)]
    );
    assert_eq!(
        world.send(a, r#"{"event":"client-canary","data":"text","channel":"presence-a"}"#),
        [to(
            b,
            r#"{"event":"client-canary","channel":"presence-a","data":"text","user_id":"agent-1"}"#
        )]
    );
    let public = error("client event rejected: only private and presence channels take them");
    let sent = r#"{"event":"client-canary","data":1,"channel":"canary-1"}"#;
    assert_eq!(world.send(a, sent), [to(a, &public)]);
    let elsewhere = error("client event rejected: not subscribed to private-b");
    let sent = r#"{"event":"client-canary","data":1,"channel":"private-b"}"#;
    assert_eq!(world.send(a, sent), [to(a, &elsewhere)]);
    let unnamed = error("client event rejected: its name must begin with client-");
    let sent = r#"{"event":"canary","data":1,"channel":"private-a"}"#;
    assert_eq!(world.send(a, sent), [to(a, &unnamed)]);
}

#[test]
fn the_eleventh_client_event_within_a_second_is_dropped() {
    let mut world = World::new();
    let (a, b) = (world.connect(), world.connect());
    world.subscribe(a, "private-a", None);
    world.subscribe(b, "private-a", None);
    let text = r#"{"event":"client-x","data":1,"channel":"private-a"}"#;
    for i in 0..10 {
        world.now = RunTime::from_millis(i * 10);
        assert_eq!(world.send(a, text)[0].0, b);
    }
    let limit = r#"{"event":"pusher:error","data":{"message":"client event rejected: more than 10 within a second","code":4301}}"#;
    world.now = RunTime::from_millis(999);
    assert_eq!(world.send(a, text), [to(a, limit)]);
    assert_eq!(world.send(b, text)[0].0, a);
    world.now = RunTime::from_millis(1000);
    assert_eq!(world.send(a, text)[0].0, b);
    assert_eq!(world.send(a, text), [to(a, limit)]);
}

#[test]
fn a_signed_in_user_gets_messages_is_watched_and_can_be_terminated() {
    let mut world = World::new();
    let (a, b) = (world.connect(), world.connect());
    let watchlist = |name: &str, id: &str| {
        format!(
            r#"{{"event":"pusher_internal:watchlist_events","data":"{{\"events\":[{{\"name\":\"{name}\",\"user_ids\":[\"{id}\"]}}]}}"}}"#
        )
    };
    assert_eq!(
        world.sign_in(a, r#"{"id":"agent-1","watchlist":["agent-2"]}"#),
        [
            to(
                a,
                r#"{"event":"pusher:signin_success","data":{"user_data":"{\"id\":\"agent-1\",\"watchlist\":[\"agent-2\"]}"}}"#
            ),
            to(a, &watchlist("offline", "agent-2")),
        ]
    );
    let success =
        r#"{"event":"pusher:signin_success","data":{"user_data":"{\"id\":\"agent-2\"}"}}"#;
    let agent_2 = r#"{"id":"agent-2"}"#;
    assert_eq!(world.sign_in(b, agent_2), [to(b, success), to(a, &watchlist("online", "agent-2"))]);
    assert_eq!(world.sign_in(b, agent_2), [to(b, success)]);
    let other = error("sign-in rejected: the connection is another user's already");
    assert_eq!(world.sign_in(b, r#"{"id":"agent-1"}"#), [to(b, &other)]);
    let subscribe =
        r##"{"event":"pusher:subscribe","data":{"auth":"","channel":"#server-to-user-agent-2"}}"##;
    assert_eq!(world.send(b, subscribe).len(), 1);
    assert_eq!(world.publish("#server-to-user-agent-2", "x", None).len(), 1);
    // No channel_data is needed any more.
    assert_eq!(world.subscribe(b, "presence-a", None).len(), 1);
    assert_eq!(world.hub.channel("presence-a").unwrap().members().next().unwrap().0, "agent-2");
    assert_eq!(
        frames(world.hub.terminate("agent-2")),
        [to(b, "closed with 4009"), to(a, &watchlist("offline", "agent-2"))]
    );
    assert_eq!(frames(world.hub.terminate("agent-2")), []);
    assert_eq!(world.send(b, r#"{"event":"pusher:ping"}"#), []);
}

#[test]
fn a_sign_in_with_another_signature_is_refused() {
    let mut world = World::new();
    let a = world.connect();
    let id = world.hub.socket_id(a).unwrap().to_string();
    let frame =
        r#"{"event":"pusher:signin","data":{"auth":"0123456789abcdef0123:00","user_data":"{}"}}"#;
    let refused =
        error(&format!("invalid signature: expected HMAC SHA256 hex digest of {id}::user::{{}}"));
    assert_eq!(world.send(a, frame), [to(a, &refused)]);
}
