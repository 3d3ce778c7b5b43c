//! Heartbeats in both dialects, silence, and when the connection was last alive.

use super::*;

#[test]
fn a_servers_ping_is_answered() {
    let mut driver = Driver::opened(&[]);
    driver.frame(r#"{"event":"pusher:ping"}"#);
    driver.frame(r#"{"event":"pusher:ping","data":"{}"}"#);
    assert_eq!(driver.sent, [frame::PONG, frame::PONG]);
    assert_eq!(driver.events, []);
}

#[test]
fn silence_makes_a_ping_after_the_shorter_of_both_timeouts() {
    for (ours, theirs, after) in [
        (120_000, r#",\"activity_timeout\":30"#, 30_000),
        (20_000, r#",\"activity_timeout\":120"#, 20_000),
        (20_000, "", 20_000),
        (20_000, r#",\"activity_timeout\":0"#, 20_000),
        (20_000, r#",\"activity_timeout\":null"#, 20_000),
    ] {
        let mut driver = Driver::with(&[], ours);
        driver.established(SOCKET, theirs);
        driver.pass(after - 1);
        assert_eq!(driver.sent, [""; 0], "{ours} {theirs}");
        driver.pass(1);
        assert_eq!(driver.sent, [frame::PING], "{ours} {theirs}");
        // An answer begins the silence anew.
        driver.pass(5);
        driver.frame(r#"{"event":"pusher:pong"}"#);
        driver.pass(after - 1);
        assert_eq!(driver.sent.len(), 1);
        driver.pass(1);
        assert_eq!(driver.sent.len(), 2);
    }
}

#[test]
fn a_shorter_timeout_is_not_kept_for_the_next_connection() {
    let mut driver = Driver::with(&[], 20_000);
    driver.established(SOCKET, r#",\"activity_timeout\":5"#);
    driver.closed(CloseCode::Code(4200));
    driver.pass(0);
    driver.established("2.2", "");
    driver.pass(19_999);
    assert_eq!(driver.sent, [""; 0]);
}

#[test]
fn no_answer_to_a_ping_proves_the_connection_dead() {
    let mut driver = Driver::opened(&["a"]);
    driver.pass(3_000);
    driver.frame(r#"{"event":"canary","channel":"a","data":"x"}"#);
    let heard = driver.now;
    driver.pass(120_000 + PONG_TIMEOUT - 1);
    assert!(driver.session.is_open() && driver.sent == [frame::PING]);
    driver.pass(1);
    let lost = driver.lost();
    let expected = Disconnect { cause: Cause::Silent, last_heard: Some(heard), gave_up: false };
    assert_eq!(lost, expected);
    assert!(!driver.socket);
    assert_eq!(driver.session.last_heard(), heard);
}

#[test]
fn a_heartbeat_of_the_websocket_counts_as_life() {
    let mut driver = Driver::opened(&[]);
    driver.pass(119_999);
    driver.session.handle_heartbeat(driver.now);
    driver.pass(119_999);
    assert_eq!(driver.sent, [""; 0]);
    driver.pass(1 + PONG_TIMEOUT - 1);
    driver.session.handle_heartbeat(driver.now);
    driver.pass(1);
    assert!(driver.session.is_open());
    assert_eq!(driver.session.last_heard().after(Duration::from_millis(1)), driver.now);
}

#[test]
fn a_close_frame_is_life_and_a_cut_is_not() {
    for (code, alive) in [(CloseCode::Code(1001), true), (CloseCode::Dropped, false)] {
        let mut driver = Driver::opened(&[]);
        let heard = driver.now;
        driver.pass(2_000);
        driver.closed(code);
        let last_heard = Some(if alive { driver.now } else { heard });
        let cause = Cause::Closed(code);
        assert_eq!(driver.lost(), Disconnect { cause, last_heard, gave_up: false });
    }
}

#[test]
fn ping_numbers_are_those_of_their_pongs() {
    let mut driver = Driver::opened(&[]);
    let pong = r#"{"event":"pusher:pong","data":{}}"#;
    driver.frame(pong);
    assert_eq!(driver.events, [], "an answer to nothing");
    assert_eq!([driver.session.ping(driver.now), driver.session.ping(driver.now)], [0, 1]);
    driver.frame(pong);
    assert_eq!(driver.session.ping(driver.now), 2);
    driver.frame(pong);
    driver.frame(pong);
    driver.frame(pong);
    assert_eq!(driver.events, [0, 1, 2].map(Event::Pong));
    // The session's own pings count along.
    driver.forget();
    driver.pass(120_000);
    driver.frame(pong);
    assert_eq!(driver.events, [Event::Pong(3)]);
    // Every connection counts from 0, and without one nothing is sent or counted.
    driver.session.ping(driver.now);
    driver.closed(CloseCode::Dropped);
    driver.session.ping(driver.now);
    driver.redial();
    driver.session.ping(driver.now);
    driver.open();
    assert_eq!(driver.session.ping(driver.now), 0);
    driver.drive();
    driver.frame(pong);
    assert_eq!(
        (&*driver.events, &*driver.sent),
        (&[Event::Pong(0)][..], &[frame::PING.into()][..])
    );
}

#[test]
fn a_second_ping_does_not_put_off_the_proof_of_death() {
    let mut driver = Driver::opened(&[]);
    driver.session.ping(driver.now);
    driver.pass(PONG_TIMEOUT - 1);
    driver.session.ping(driver.now);
    driver.pass(1);
    assert_eq!(driver.lost().cause, Cause::Silent);
}

#[test]
fn frames_and_pings_leave_in_the_order_in_which_they_were_asked_for() {
    let mut driver = Driver::opened(&["a"]);
    // The pong to a ping answers for what was sent before it, and for nothing else.
    for number in 0..2 {
        driver.session.send(format!("event {number}"));
        assert_eq!(driver.session.ping(driver.now), number);
    }
    driver.drive();
    assert_eq!(driver.sent, ["event 0", frame::PING, "event 1", frame::PING]);
    // Without a connection nothing is sent, now or later.
    driver.closed(CloseCode::Dropped);
    driver.session.send("event 2".to_owned());
    driver.redial();
    driver.open();
    assert!(!driver.sent.contains(&"event 2".to_owned()));
}
