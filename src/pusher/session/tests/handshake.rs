//! From the dial to the first confirmation, and the deliberate end.

use super::*;

#[test]
fn a_session_dials_subscribes_and_is_ready() {
    let mut driver = Driver::new(&MIXED);
    assert_eq!(driver.dials, [RunTime::ZERO]);
    driver.established(SOCKET, r#",\"activity_timeout\":120"#);
    assert!(driver.session.is_open() && !driver.session.is_ready());
    assert_eq!(driver.session.socket_id().map(SocketId::as_str), Some(SOCKET));
    assert_eq!(driver.asked, [(1, SOCKET.to_owned()), (2, SOCKET.to_owned())]);
    driver.authorized(1, Ok(("k:s1", None)));
    driver.authorized(2, Ok(("k:s2", Some(r#"{"user_id":"u"}"#))));
    let expected = [
        r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"open"}}"#,
        r#"{"event":"pusher:subscribe","data":{"auth":"k:s1","channel":"private-a"}}"#,
        concat!(
            r#"{"event":"pusher:subscribe","data":{"auth":"k:s2","#,
            r#""channel_data":"{\"user_id\":\"u\"}","channel":"presence-b"}}"#
        ),
    ];
    assert_eq!(driver.sent, expected);
    // Without data (soketi), with a string, with an object; and in any order.
    let event = "pusher_internal:subscription_succeeded";
    driver.frame(&format!(r#"{{"event":"{event}","channel":"private-a"}}"#));
    driver.frame(&format!(r#"{{"event":"{event}","channel":"open","data":{{}}}}"#));
    assert!(!driver.session.is_ready());
    let members = r#"{\"presence\":{\"ids\":[\"u\"],\"hash\":{\"u\":null},\"count\":1}}"#;
    driver.frame(&format!(r#"{{"event":"{event}","channel":"presence-b","data":"{members}"}}"#));
    assert!(driver.session.is_ready());
    let established = Event::Established(SocketId::new(SOCKET).unwrap());
    let subscribed = [1, 0, 2].map(Event::Subscribed);
    assert_eq!(driver.events, [vec![established], subscribed.to_vec()].concat());
    // Confirmed twice, or for a channel that nobody asked for: nothing new.
    driver.forget();
    driver.confirmed("open");
    driver.confirmed("other");
    assert_eq!(driver.events, []);
}

#[test]
fn what_was_queued_for_a_lost_socket_is_not_sent_on_the_next() {
    let mut driver = Driver::opened(&[]);
    driver.session.ping(driver.now);
    let ping = ServerFrame::parse(r#"{"event":"pusher:ping"}"#).unwrap();
    driver.session.handle_frame(&ping, driver.now);
    driver.session.handle_closed(CloseCode::Code(4200), driver.now);
    // A late frame of the lost socket is answered on none, and is no life of the next.
    let heard = driver.session.last_heard();
    let late = driver.now.after(Duration::from_millis(5));
    driver.session.handle_frame(&ping, late);
    driver.session.handle_heartbeat(late);
    driver.socket = false;
    driver.drive();
    assert_eq!(driver.session.last_heard(), heard);
    driver.redial();
    driver.connected();
    assert_eq!(driver.sent, [""; 0]);
    // The session's own close of a socket is done before anything else.
    let mut driver = Driver::opened(&["a"]);
    driver.session.ping(driver.now);
    driver.session.recycle(driver.now);
    driver.session.handle_heartbeat(driver.now);
    driver.session.handle_timeout(driver.now);
    assert_eq!(driver.session.poll_action(), Some(Action::Close));
    assert_eq!(driver.session.poll_action(), Some(Action::Connect));
    assert_eq!(driver.session.poll_action(), None);
}

#[test]
fn a_stop_is_for_good_in_every_state() {
    let waiting = |driver: &mut Driver| driver.closed(CloseCode::Dropped);
    let steps: [fn(&mut Driver); 4] =
        [|_| {}, Driver::connected, |driver| driver.established(SOCKET, ""), waiting];
    for step in steps {
        let mut driver = Driver::new(&["a"]);
        step(&mut driver);
        driver.forget();
        driver.session.stop(driver.now);
        driver.drive();
        let lost = driver.lost();
        assert_eq!((lost.cause, lost.gave_up, driver.socket), (Cause::Agent, true, false));
        driver.session.stop(driver.now);
        driver.pass(3_600_000);
        assert_eq!((driver.dials.len(), driver.events.len()), (1, 0));
    }
}

#[test]
fn a_dial_has_its_time_and_may_fail() {
    let mut driver = Driver::new(&[]);
    driver.pass(4_999);
    assert_eq!(driver.events, []);
    driver.pass(1);
    let lost = driver.lost();
    assert!(matches!(lost.cause, Cause::Dial(_)) && lost.last_heard.is_none() && !lost.gave_up);
    // The abandoned dial succeeds after all: it is forgotten.
    driver.session.handle_connected(driver.now);
    assert!((1000..1500).contains(&driver.wait_millis()));
    driver.redial();
    driver.session.handle_connect_failed("refused".to_owned(), driver.now);
    driver.drive();
    assert_eq!(driver.lost().cause, Cause::Dial("refused".to_owned()));
    assert!((2000..3000).contains(&driver.wait_millis()));
}

#[test]
fn the_handshake_shares_the_time_of_the_dial() {
    let mut driver = Driver::new(&[]);
    driver.pass(3_000);
    driver.connected();
    driver.session.handle_heartbeat(driver.now);
    driver.pass(1_999);
    assert_eq!(driver.events, []);
    driver.pass(1);
    let lost = driver.lost();
    assert!(matches!(lost.cause, Cause::Handshake(_)) && lost.last_heard.is_none());
    assert!(!driver.socket);
}

#[test]
fn anything_else_as_first_frame_fails_the_handshake() {
    let hello = |data: &str| format!(r#"{{"event":"pusher:connection_established"{data}}}"#);
    for frame in [
        r#"{"event":"pusher:ping"}"#,
        r#"{"event":"canary","channel":"a","data":"x"}"#,
        r#"{"event":"pusher_internal:subscription_succeeded","channel":"a"}"#,
        &hello(""),
        &hello(r#","data":"{}""#),
        &hello(r#","data":{"socket_id":"not one","activity_timeout":30}"#),
    ] {
        let mut driver = Driver::new(&["a"]);
        driver.connected();
        driver.frame(frame);
        let lost = driver.lost();
        assert!(matches!(lost.cause, Cause::Handshake(_)), "{frame}: {lost:?}");
        assert!(!driver.socket && driver.sent.is_empty());
    }
    // An object where a string is documented is no fault.
    let mut driver = Driver::new(&[]);
    driver.connected();
    driver.frame(&hello(r#","data":{"socket_id":"1.1","activity_timeout":30}"#));
    assert!(driver.session.is_ready());
}

#[test]
fn an_error_as_first_frame_stands_for_the_close_unless_it_has_no_code() {
    let mut driver = Driver::new(&["a"]);
    driver.connected();
    driver.frame(r#"{"event":"pusher:error","data":"{\"code\":4001,\"message\":\"no app\"}"}"#);
    assert_eq!(driver.events[0], Event::Error(error(Some(4001), "no app")));
    let lost = driver.lost();
    assert_eq!((lost.cause, lost.gave_up), (Cause::Closed(CloseCode::Code(4001)), true));

    // poxa gives the code with the close only.
    let mut driver = Driver::new(&["a"]);
    driver.connected();
    driver.frame(&error_frame("null", "no app"));
    assert!(driver.socket);
    driver.closed(CloseCode::Code(4001));
    assert!(driver.lost().gave_up);
}
