//! Every published vector in `fixtures/wire/vectors.json`, section by section.
//!
//! Each section has a function that walks all of its entries and says how many it held; the last
//! test compares these numbers with the file's own count, so that none is passed over.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use pusher_canary::model::{AppId, AppKey, ChannelName, RunTime, Secret, SocketId};
use pusher_canary::pusher::close::{self, CloseCode, Retry};
use pusher_canary::pusher::encrypt::{KEY_BYTES, SharedSecret};
use pusher_canary::pusher::frame::{self, Data, ServerFrame};
use pusher_canary::pusher::rest::{self, Signer};
use pusher_canary::pusher::session::{Action, Cause, Config, Disconnect, Event, Session};
use pusher_canary::pusher::{auth, socket_target, webhook};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../fixtures/wire/vectors.json")).unwrap()
}

/// Holds every entry of a list; a failing test shows the last one's name.
fn each(list: &Value, hold: impl Fn(&Value)) -> usize {
    let entries = list.as_array().unwrap();
    for entry in entries {
        println!("vector {}", entry["id"]);
        hold(entry);
    }
    entries.len()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no string"))
}

fn secret(inputs: &Value) -> Secret {
    Secret::new(text(&inputs["secret"]))
}

fn key(inputs: &Value) -> AppKey {
    AppKey::new(text(&inputs["key"])).unwrap()
}

fn socket_id(inputs: &Value) -> SocketId {
    SocketId::new(text(&inputs["socket_id"])).unwrap()
}

fn hold_auth(vector: &Value, string_to_sign: &str, auth: &str) {
    let (inputs, expected) = (&vector["inputs"], &vector["expected"]);
    assert_eq!(string_to_sign, expected["string_to_sign"]);
    let signature = auth::hmac_hex(&secret(inputs), string_to_sign.as_bytes());
    assert_eq!(signature, expected["signature"]);
    assert_eq!(auth, expected["auth"]);
    assert!(auth::verify_hex(&secret(inputs), string_to_sign.as_bytes(), &signature));
}

/// Private and presence channels: the latter have `channel_data`.
fn channel_auth(section: &str) -> usize {
    each(&vectors()[section], |vector| {
        let inputs = &vector["inputs"];
        let (channel, data) = (text(&inputs["channel"]), inputs["channel_data"].as_str());
        let socket_id = socket_id(inputs);
        let auth = auth::channel(&key(inputs), &secret(inputs), &socket_id, channel, data);
        hold_auth(vector, &auth::channel_string(&socket_id, channel, data), &auth);
        let kind = ChannelName::new(channel).unwrap().kind();
        assert_eq!((kind.needs_auth(), kind.is_presence()), (true, data.is_some()));
    })
}

fn user_auth() -> usize {
    each(&vectors()["user_auth"], |vector| {
        let inputs = &vector["inputs"];
        let (socket_id, data) = (socket_id(inputs), text(&inputs["user_data"]));
        let auth = auth::user(&key(inputs), &secret(inputs), &socket_id, data);
        hold_auth(vector, &auth::user_string(&socket_id, data), &auth);
    })
}

fn query_set(query: &str) -> BTreeSet<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn rest_signature() -> usize {
    each(&vectors()["rest_signature"], |vector| {
        let (inputs, expected) = (&vector["inputs"], &vector["expected"]);
        let signer = signer(inputs);
        let (method, path) = (text(&inputs["method"]), text(&inputs["path"]));
        let body = inputs["body"].as_str().unwrap_or_default();
        let timestamp = inputs["auth_timestamp"].as_u64().unwrap();
        let given = inputs["params"].as_object().unwrap();
        let given: Vec<_> = given.iter().map(|(k, v)| (k.as_str(), text(v))).collect();

        let (stamp, md5) = (timestamp.to_string(), rest::body_md5(body.as_bytes()));
        let mut params = given.clone();
        params.extend([("auth_version", text(&inputs["auth_version"]))]);
        params.extend([("auth_timestamp", &*stamp), ("auth_key", signer.key.as_str())]);
        if let Some(expected) = expected["body_md5"].as_str() {
            assert_eq!(md5, expected);
            params.push(("body_md5", &md5));
        }
        let params: Vec<_> = params.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        let string = rest::string_to_sign(method, path, &params);
        assert_eq!(string, expected["string_to_sign"]);
        let signature = auth::hmac_hex(&signer.secret, string.as_bytes());
        assert_eq!(signature, expected["auth_signature"]);

        // The Python SDK sends the MD5 of nothing; sockudo refuses that, and we leave it out.
        let ours = query_set(&signer.query(method, path, &given, body.as_bytes(), timestamp));
        if body.is_empty() && !expected["body_md5"].is_null() {
            assert!(ours.iter().all(|(name, _)| name != "body_md5"));
        } else {
            assert_eq!(ours, query_set(text(&expected["query_string"])));
        }
    })
}

fn signer(inputs: &Value) -> Signer {
    let app_id = AppId::new(text(&inputs["app_id"])).unwrap();
    Signer { app_id, key: key(inputs), secret: secret(inputs) }
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

fn rest_bodies() -> usize {
    let old = signer(&vectors()["apps"]["old"]);
    let trigger = |name, channel, data| {
        let request = old.trigger(&rest::Event { name, channel, data }, 1_753_600_000);
        assert_eq!(request.method, "POST");
        assert!(request.target.starts_with("/apps/1000001/events?"), "{}", request.target);
        parsed(&request.body)
    };
    each(&vectors()["rest_bodies"], |vector| {
        let expected = &vector["expected"];
        match text(&vector["id"]) {
            "trigger-string-node" => {
                assert_eq!(trigger("canary", "plain", "hello"), expected["body"]);
            }
            "trigger-object-node" => {
                assert_eq!(trigger("canary", "plain", r#"{"a":1}"#), expected["body"]);
            }
            "send-to-user-node" => {
                let ours = trigger("notice", "#server-to-user-agent-1", "{}");
                assert_eq!(ours, expected["body"]);
            }
            "trigger-python" => {
                let (path, body) = (text(&expected["path"]), text(&expected["body_text"]));
                assert_eq!(trigger("canary", "canary-1", r#"{"a": "é"}"#), parsed(body));
                let timestamp = vector["inputs"]["auth_timestamp"].as_u64().unwrap();
                let ours = old.query("POST", path, &[], body.as_bytes(), timestamp);
                assert_eq!(query_set(&ours), query_set(text(&expected["query_string"])));
            }
            "terminate-node" => {
                // We send no such request; its body is signed as any other.
                let (path, body) = (text(&expected["path"]), text(&expected["body_text"]));
                let ours = query_set(&old.query("POST", path, &[], body.as_bytes(), 1));
                assert!(ours.contains(&("body_md5".to_owned(), rest::body_md5(b"{}"))));
            }
            other => panic!("{other} is not held"),
        }
    })
}

fn webhooks() -> usize {
    let apps = vectors()["apps"].clone();
    each(&vectors()["webhook"], |vector| {
        let (inputs, headers) = (&vector["inputs"], &vector["expected"]["headers"]);
        let (body, valid) = (text(&inputs["body"]), vector["expected"]["valid"] == true);
        let key_header = text(&headers["X-Pusher-Key"]);
        let signature = text(&headers["X-Pusher-Signature"]);
        let (key, secret) = (key(inputs), secret(inputs));
        let ours = webhook::sign(&secret, body.as_bytes());
        assert_eq!(ours == signature, valid);
        let verify = |apps: &[_]| webhook::verify(apps, key_header, signature, body.as_bytes());
        assert_eq!(verify(&[(&key, &secret)]), valid.then_some(0));
        // Among several apps, the header chooses.
        let docs = (self::key(&apps["docs"]), self::secret(&apps["docs"]));
        assert_eq!(verify(&[(&docs.0, &docs.1), (&key, &secret)]), valid.then_some(1));
    })
}

fn encrypted() -> usize {
    each(&vectors()["encrypted"], |vector| {
        let (inputs, expected) = (&vector["inputs"], &vector["expected"]);
        let shared = shared_secret(inputs);
        let bytes = BASE64.decode(shared.to_base64()).unwrap();
        if let Some(hex) = expected["shared_secret_hex"].as_str() {
            assert_eq!(hex::encode(&bytes), hex);
        }
        if let Some(base64) = expected["shared_secret_base64"].as_str() {
            assert_eq!(shared.to_base64(), base64);
        }
        let event_data = [&inputs["event_data"], &expected["event_data"]];
        let event_data = event_data.into_iter().find_map(Value::as_str).unwrap();
        let decrypted = expected["decrypted"].as_str();
        assert_eq!(shared.open(event_data).as_deref(), decrypted);
        let sealed = parsed(event_data);
        if let Some(ciphertext) = expected["ciphertext_base64"].as_str() {
            assert_eq!(sealed["ciphertext"], ciphertext);
        }
        if let Some(plaintext) = decrypted {
            let nonce = BASE64.decode(text(&sealed["nonce"])).unwrap().try_into().unwrap();
            assert_eq!(shared.seal(plaintext, &nonce), event_data);
        }
        if let Some(answer) = expected["auth_response"].as_object() {
            let (channel, socket_id) = (text(&inputs["channel"]), socket_id(inputs));
            let auth = auth::channel(&key(inputs), &secret(inputs), &socket_id, channel, None);
            assert_eq!(answer["auth"], auth);
            assert_eq!(answer["shared_secret"], shared.to_base64());
        }
    })
}

fn shared_secret(inputs: &Value) -> SharedSecret {
    if let Some(base64) = inputs["shared_secret_base64"].as_str() {
        return SharedSecret::from_base64(base64).unwrap();
    }
    let channel = text(&inputs["channel"]);
    if let Some(master) = inputs["master_key_base64"].as_str() {
        let master: [u8; KEY_BYTES] = BASE64.decode(master).unwrap().try_into().unwrap();
        return SharedSecret::derive(channel, &master);
    }
    // A published master key of 33 bytes, which `derive` does not take.
    let hash = Sha256::digest([channel, text(&inputs["master_key_utf8"])].concat());
    SharedSecret::from_base64(&BASE64.encode(hash)).unwrap()
}

fn hmac_smoke() -> usize {
    each(&vectors()["hmac_smoke"], |vector| {
        let (inputs, expected) = (&vector["inputs"], &vector["expected"]);
        let message = text(&inputs["message"]).as_bytes();
        assert_eq!(auth::hmac_hex(&secret(inputs), message), expected["hmac_sha256_hex"]);
        assert_eq!(rest::body_md5(message), expected["md5_hex"]);
    })
}

fn negative_auth() -> usize {
    let new = secret(&vectors()["apps"]["new"]);
    each(&vectors()["negative_auth"], |vector| {
        let inputs = &vector["inputs"];
        let (secret, socket_id) = (secret(inputs), socket_id(inputs));
        let channel = inputs["channel"].as_str().unwrap_or_default();
        let string = match inputs["user_data"].as_str() {
            Some(data) => auth::user_string(&socket_id, data),
            None => auth::channel_string(&socket_id, channel, inputs["channel_data"].as_str()),
        };
        let wrong = text(&vector["must_not_equal"]);
        assert_ne!(auth::hmac_hex(&secret, string.as_bytes()), wrong);
        assert!(!auth::verify_hex(&secret, string.as_bytes(), wrong));
        // The mistake itself does give the wrong signature, or the vector would prove nothing.
        let mistake = match text(&vector["id"]) {
            "wrong-order" => auth::hmac_hex(&secret, format!("{channel}:{socket_id}").as_bytes()),
            "other-sides-secret" => auth::hmac_hex(&new, string.as_bytes()),
            "single-colon-user" => auth::hmac_hex(&secret, string.replace("::", ":").as_bytes()),
            "reserialised-channel-data" => {
                let spaced = string.replace("\":", "\": ").replace(",\"", ", \"");
                auth::hmac_hex(&secret, spaced.as_bytes())
            }
            other => panic!("{other} is not held"),
        };
        assert_eq!(mistake, wrong);
    })
}

fn decoded(vector: &Value, hold: impl Fn(&ServerFrame<'_>, &Data<'_>)) {
    let (inputs, expected) = (&vector["inputs"], &vector["expected"]);
    let frame = ServerFrame::parse(text(&inputs["frame"])).unwrap();
    let data = frame.data();
    assert_eq!(data.decoded(), expected["decoded_data"]);
    assert_eq!(frame.user_id.as_deref(), expected["user_id"].as_str());
    hold(&frame, &data);
}

fn decode_frames() -> usize {
    each(&vectors()["decode_frames"]["vectors"], |vector| {
        decoded(vector, |_, data| {
            assert_eq!(*data != Data::Absent, vector["expected"]["data_present"]);
        });
    })
}

fn server_frames() -> usize {
    each(&vectors()["server_frames"], |vector| {
        let expected = &vector["expected"];
        decoded(vector, |frame, data| {
            assert_eq!(frame.event, text(&expected["event"]));
            assert_eq!(frame.channel.as_deref(), expected["channel"].as_str());
            let kind = match data {
                Data::Absent => "absent",
                Data::Text(_) => "string",
                Data::Json(_) => "object",
            };
            assert_eq!(kind, expected["data_kind"]);

            let mut session = open_session();
            session.handle_frame(frame, NOW);
            assert_eq!(session.is_ready(), expected["pusher_js_stays_connected"] == true);
            assert_eq!(session.last_heard(), NOW);
            // pusher-js answers a sign-in that it asked for by a subscription; we never sign in.
            let answer = (frame.event != "pusher:signin_success")
                .then(|| expected["client_answer"].as_str())
                .flatten()
                .map(|answer| Action::Send(answer.to_owned()));
            assert_eq!(session.poll_action(), answer);
            assert_eq!(session.poll_action(), None);
            let told = matches!(session.poll_event(), Some(Event::Error(_)));
            let subscription_error = frame.event == "pusher:subscription_error";
            let error = expected["pusher_js_connection_error"] == true || subscription_error;
            assert_eq!(told, error);
        });
    })
}

const NOW: RunTime = RunTime::from_millis(5_000);

fn handshaking_session() -> Session {
    let config = Config {
        ping_after: Duration::from_secs(120),
        pong_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        tolerates_refusals: false,
        retries_refused_after: None,
        subscribe_timeout: Duration::from_secs(10),
        seed: 1,
    };
    let channels = ["canary-1", "cache-rates"].map(|name| ChannelName::new(name).unwrap());
    let mut session = Session::new(config, channels);
    session.start(RunTime::ZERO);
    assert_eq!(session.poll_action(), Some(Action::Connect));
    session.handle_connected(RunTime::ZERO);
    session
}

fn open_session() -> Session {
    let mut session = handshaking_session();
    let hello = json!({"socket_id": "5621.9034127", "activity_timeout": 120}).to_string();
    feed(&mut session, &json!({"event": "pusher:connection_established", "data": hello}));
    for channel in ["canary-1", "cache-rates"] {
        let event = "pusher_internal:subscription_succeeded";
        feed(&mut session, &json!({"event": event, "channel": channel, "data": "{}"}));
    }
    while session.poll_action().is_some() {}
    while session.poll_event().is_some() {}
    assert!(session.is_ready());
    session
}

fn feed(session: &mut Session, frame: &Value) {
    let text = frame.to_string();
    session.handle_frame(&ServerFrame::parse(&text).unwrap(), RunTime::ZERO);
}

fn client_reconnect() -> usize {
    each(&vectors()["client_reconnect"], |vector| {
        let (inputs, expected) = (&vector["inputs"], &vector["expected"]);
        let phase = text(&inputs["phase"]);
        let mut session = match phase {
            "connected" | "error_frame" => open_session(),
            "handshake" | "handshake_error_frame" => handshaking_session(),
            other => panic!("phase {other} is not held"),
        };
        let code = match &inputs["code"] {
            Value::String(word) if word == "drop" => CloseCode::Dropped,
            number => CloseCode::Code(number.as_u64().unwrap_or_default() as u16),
        };
        if phase.ends_with("error_frame") {
            let data = json!({"message": "", "code": inputs["code"]});
            let frame = json!({"event": "pusher:error", "data": data}).to_string();
            session.handle_frame(&ServerFrame::parse(&frame).unwrap(), NOW);
        } else {
            session.handle_closed(code, NOW);
        }
        hold_outcome(&mut session, code, expected);
    })
}

fn hold_outcome(session: &mut Session, code: CloseCode, expected: &Value) {
    let events: Vec<_> = std::iter::from_fn(|| session.poll_event()).collect();
    let lost = events.iter().find_map(|event| match event {
        Event::Disconnected(Disconnect { cause, gave_up, .. }) => Some((cause.clone(), *gave_up)),
        _ => None,
    });
    let action = text(&expected["action"]);
    if action == "stay" {
        assert!(session.is_ready() && matches!(events.as_slice(), [Event::Error(_)]));
        return;
    }
    let (cause, gave_up) = lost.expect("the connection is lost");
    assert_eq!(cause, Cause::Closed(code));
    let wait = session.next_deadline().map(|at| at.since(NOW));
    match (action, expected["delay_class_ms"].as_u64()) {
        ("refused", None) => assert_eq!((gave_up, close::retry(code)), (true, Retry::Never)),
        ("retry_with_tls", None) => {
            assert_eq!((gave_up, close::retry(code)), (true, Retry::WithTls));
        }
        ("reconnect", Some(0)) => assert_eq!(wait, Some(Duration::ZERO)),
        ("reconnect", Some(1000)) => {
            let class = Duration::from_secs(1)..Duration::from_secs(2);
            assert!(wait.is_some_and(|wait| class.contains(&wait)), "{wait:?}");
        }
        other => panic!("{other:?} is not held"),
    }
    assert_eq!(gave_up, wait.is_none());
    session.handle_timeout(NOW.after(wait.unwrap_or_default()));
    let dials = std::iter::from_fn(|| session.poll_action()).any(|a| a == Action::Connect);
    assert_eq!(dials, !gave_up);
}

#[test]
fn private_channels_are_signed_as_the_sdks_do() {
    channel_auth("private_auth");
}

#[test]
fn presence_channels_are_signed_as_the_sdks_do() {
    channel_auth("presence_auth");
}

#[test]
fn users_are_signed_in_as_the_sdks_do() {
    user_auth();
}

#[test]
fn requests_are_signed_as_the_sdks_do() {
    rest_signature();
}

#[test]
fn bodies_say_what_the_sdks_say() {
    rest_bodies();
}

#[test]
fn a_batch_says_what_the_sdks_say() {
    let vectors = vectors();
    let batch = |v: &Value| v["id"] == "rest-post-batch";
    let vector = vectors["rest_signature"].as_array().unwrap().iter().find(|v| batch(v)).unwrap();
    let mut expected = parsed(text(&vector["inputs"]["body"]));
    // We ask for no counts: asking makes a request cost twice.
    expected["batch"][1].as_object_mut().unwrap().remove("info").unwrap();
    let data = r#"{"seq":1}"#;
    let event = |channel| rest::Event { name: "canary", channel, data };
    let request = signer(&vector["inputs"]).batch(&[event("canary-1"), event("canary-2")], 1);
    assert_eq!(parsed(&request.body), expected);
    assert!(request.target.starts_with("/apps/1000002/batch_events?"), "{}", request.target);
}

#[test]
fn webhooks_are_verified_as_the_sdks_do() {
    webhooks();
}

#[test]
fn secretboxes_are_those_of_the_sdks() {
    encrypted();
}

#[test]
fn digests_are_those_published() {
    hmac_smoke();
}

#[test]
fn signatures_that_must_not_come_out_do_not() {
    negative_auth();
}

#[test]
fn our_frames_are_those_of_pusher_js_to_the_byte() {
    let vectors = vectors();
    let old = &vectors["apps"]["old"];
    let (key, secret) = (key(old), secret(old));
    let socket_id = SocketId::new("5621.9034127").unwrap();
    let subscribe = |channel: &str, data: Option<&str>| {
        let auth = auth::channel(&key, &secret, &socket_id, channel, data);
        frame::subscribe(channel, &auth, data)
    };
    let member = r#"{"user_id":"agent-1","user_info":{"role":"probe"}}"#;
    let user = r#"{"id":"agent-1","user_info":{"role":"probe"},"watchlist":["agent-2"]}"#;
    let event = "client-canary";
    let ours = [
        frame::subscribe("canary-1", "", None),
        frame::subscribe("cache-rates", "", None),
        subscribe("private-orders_42", None),
        subscribe("presence-room-7", Some(member)),
        subscribe("private-encrypted-vault", None),
        frame::signin(&auth::user(&key, &secret, &socket_id, user), user),
        frame::subscribe("#server-to-user-agent-1", "", None),
        frame::PONG.to_owned(),
        frame::client_event_value(event, "presence-room-7", &json!({"seq": 1})),
        frame::client_event(event, "presence-room-7", "text"),
        frame::client_event_value(event, "canary-1", &json!({"seq": 2})),
        frame::unsubscribe("canary-1"),
        frame::PING.to_owned(),
    ];
    let theirs = vectors["client_frames"]["frames"].as_array().unwrap();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn our_request_target_has_the_form_of_pusher_js() {
    let vectors = vectors();
    let theirs = text(&vectors["client_frames"]["request_target"]);
    let ours = socket_target(&key(&vectors["apps"]["old"]));
    let (their_path, their_query) = theirs.split_once('?').unwrap();
    let (our_path, our_query) = ours.split_once('?').unwrap();
    assert_eq!(our_path, their_path);
    let names = |query| query_set(query).into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>();
    // Flash is a transport of pusher-js alone.
    let theirs: BTreeSet<_> = names(their_query).into_iter().filter(|n| n != "flash").collect();
    assert_eq!(names(our_query), theirs);
    assert!(query_set(our_query).contains(&("protocol".to_owned(), "7".to_owned())));
}

#[test]
fn data_is_decoded_as_pusher_js_does() {
    decode_frames();
}

#[test]
fn frames_of_every_server_are_understood() {
    server_frames();
}

#[test]
fn closes_and_errors_are_followed_by_what_pusher_js_does() {
    client_reconnect();
}

#[test]
fn no_vector_is_passed_over() {
    let walked = json!({
        "private_auth": channel_auth("private_auth"),
        "presence_auth": channel_auth("presence_auth"),
        "user_auth": user_auth(),
        "rest_signature": rest_signature(),
        "rest_bodies": rest_bodies(),
        "webhook": webhooks(),
        "encrypted": encrypted(),
        "hmac_smoke": hmac_smoke(),
        "negative_auth": negative_auth(),
        "server_frames": server_frames(),
        "client_reconnect": client_reconnect(),
    });
    assert_eq!(walked, vectors()["counts"]);
    assert_eq!(decode_frames(), 8, "a section that the file does not count");
}
