use super::*;
use crate::rehearsal::wire::{self, Data};

const CONN: Conn = Conn(1);
const NOTHING: [u64; 0] = [];

/// One cluster's faults, one socket, and a stream of requests with one event each.
struct World {
    faults: Faults,
    now: RunTime,
}

impl World {
    fn new(faults: &[&str]) -> Self {
        let faults: Vec<Fault> = faults.iter().map(|text| text.parse().unwrap()).collect();
        let mut faults = Faults::new(ClusterRole::New, &faults, 1);
        faults.handle_connected(RunTime::ZERO, CONN, SocketId::new("1.2").unwrap());
        Self { faults, now: RunTime::ZERO }
    }

    /// The seqs of what is sent on the socket when this event is due.
    fn deliver(&mut self, seq: u64, request: &Request) -> Vec<u64> {
        self.deliver_of(3, seq, request)
    }

    fn deliver_of(&mut self, stream: u64, seq: u64, request: &Request) -> Vec<u64> {
        let message = Arc::new(message(stream, seq));
        let mark = Some(Mark { stream, seq });
        let actions = self.faults.handle_delivery(self.now, (0, CONN), &message, mark, request);
        seqs(&actions)
    }

    /// A request that has been answered before anything else arrives.
    fn answered(&mut self) -> Request {
        let request = self.faults.request_arrived();
        self.faults.request_answered(&request);
        request
    }

    fn one(&mut self, seq: u64) -> Vec<u64> {
        let request = self.answered();
        self.deliver(seq, &request)
    }

    fn at(&mut self, ms: u64) -> Vec<u64> {
        self.now = RunTime::from_millis(ms);
        seqs(&self.faults.handle_timeout(self.now))
    }

    fn log(&mut self) -> Vec<String> {
        let lines = self.faults.take_done();
        lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect()
    }
}

fn message(stream: u64, seq: u64) -> Message {
    // Twice, so that one replaced digit never makes it another event.
    let again = format!("{stream} {seq}");
    let data = Data::Text(format!(r#"{{"stream":{stream},"seq":{seq},"sum":"{again}"}}"#));
    let frame = wire::event("pc-canary", "a", &data, None);
    Message { event: "pc-canary".to_owned(), channel: "a".into(), data, user_id: None, frame }
}

fn seqs(actions: &[Action]) -> Vec<u64> {
    let seq = |action: &Action| match action {
        Action::Send(CONN, frame) => {
            let frame: serde_json::Value = serde_json::from_str(frame).unwrap();
            let data = frame["data"].as_str().unwrap();
            serde_json::from_str::<Mark>(data).unwrap().seq
        }
        other => panic!("{other:?}"),
    };
    actions.iter().map(seq).collect()
}

fn line(ms: u64, kind: &str, seq: u64) -> String {
    format!(
        r#"{{"ms":{ms},"cluster":"new","kind":"{kind}","socket":"1.2","channel":"a","stream":3,"seq":{seq}}}"#
    )
}

#[test]
fn without_faults_everything_passes_and_nothing_is_counted() {
    let mut world = World::new(&["old:drop=1"]);
    assert_eq!(world.one(1), [1]);
    assert_eq!(world.faults.counts(), FaultCounts::default());
    assert_eq!(world.faults.next_deadline(), RunTime::NEVER);
    assert_eq!(world.log(), Vec::<String>::new());
}

#[test]
fn drop_sends_nothing_and_duplicate_sends_twice() {
    let mut world = World::new(&["new:drop=1"]);
    assert_eq!(world.one(1), NOTHING);
    assert_eq!(world.faults.counts(), FaultCounts { dropped: 1, ..FaultCounts::default() });
    assert_eq!(world.log(), [line(0, "drop", 1)]);
    let mut world = World::new(&["new:duplicate=1"]);
    assert_eq!(world.one(1), [1, 1]);
    assert_eq!(world.faults.counts(), FaultCounts { duplicated: 1, ..FaultCounts::default() });
    assert_eq!(world.log(), [line(0, "duplicate", 1)]);
}

#[test]
fn corrupt_sends_something_else_of_the_same_length() {
    let mut world = World::new(&["new:corrupt=1"]);
    let (message, request) = (Arc::new(message(3, 1)), world.answered());
    let actions = world.faults.handle_delivery(world.now, (0, CONN), &message, None, &request);
    let [Action::Send(CONN, frame)] = &actions[..] else { panic!("{actions:?}") };
    assert_ne!(*frame, message.frame);
    assert_eq!(frame.len(), message.frame.len());
    assert_eq!(world.faults.counts(), FaultCounts { corrupted: 1, ..FaultCounts::default() });
}

#[test]
fn delay_counts_when_it_is_sent_and_as_reordered_only_if_overtaken() {
    let mut world = World::new(&["new:delay=1@100ms"]);
    assert_eq!(world.one(1), NOTHING);
    assert_eq!(world.faults.counts(), FaultCounts::default());
    assert_eq!(world.faults.next_deadline(), RunTime::from_millis(100));
    assert_eq!(world.at(99), NOTHING);
    assert_eq!(world.at(100), [1]);
    assert_eq!(world.faults.counts(), FaultCounts { delayed: 1, ..FaultCounts::default() });
    assert_eq!(world.log(), [line(100, "delay", 1)]);
    // Two delayed copies keep their order.
    world.one(2);
    world.one(3);
    assert_eq!(world.at(200), [2, 3]);
    assert_eq!(world.faults.counts().reordered, 0);
    // A delayed copy that one without a fault overtakes.
    world.one(4);
    world.faults.faults.clear();
    assert_eq!(world.one(5), [5]);
    assert_eq!(world.at(300), [4]);
    let counts = FaultCounts { delayed: 4, reordered: 1, ..FaultCounts::default() };
    assert_eq!(world.faults.counts(), counts);
    assert_eq!(world.log()[2..], [line(300, "delay", 4), line(300, "overtaken", 4)]);
}

#[test]
fn reorder_holds_a_copy_until_a_later_one_of_its_stream_was_sent() {
    let mut world = World::new(&["new:reorder=1"]);
    assert_eq!(world.one(1), NOTHING);
    world.faults.faults.clear();
    // Another stream, an earlier seq: neither overtakes.
    let request = world.answered();
    assert_eq!(world.deliver_of(4, 9, &request), [9]);
    assert_eq!(world.deliver(0, &request), [0]);
    assert_eq!(world.one(2), [2, 1]);
    assert_eq!(world.faults.counts(), FaultCounts { reordered: 1, ..FaultCounts::default() });
    assert_eq!(world.log(), [line(0, "reorder", 1), line(0, "overtaken", 1)]);
    assert_eq!(world.at(600), NOTHING);
}

#[test]
fn a_held_copy_is_sent_after_600_ms_and_may_overtake_others_then() {
    let mut world = World::new(&["new:reorder=1"]);
    assert_eq!(world.one(1), NOTHING);
    world.now = RunTime::from_millis(10);
    assert_eq!(world.one(2), NOTHING);
    assert_eq!(world.at(600), [1]);
    assert_eq!(world.at(610), [2]);
    assert_eq!(world.faults.counts().reordered, 0);
    assert_eq!(world.log(), [line(600, "reorder", 1), line(610, "reorder", 2)]);
    // A delayed one, overtaken by a held one that nothing overtook.
    let mut world = World::new(&["new:delay=1@700ms"]);
    world.one(1);
    world.faults.faults = vec!["new:reorder=1".parse().unwrap()];
    world.one(2);
    assert_eq!(world.at(600), [2]);
    assert_eq!(world.at(700), [1]);
    let counts = FaultCounts { delayed: 1, reordered: 1, ..FaultCounts::default() };
    assert_eq!(world.faults.counts(), counts);
}

#[test]
fn requests_that_overlap_and_members_of_one_batch_have_no_order() {
    let mut world = World::new(&["new:reorder=1"]);
    let first = world.faults.request_arrived();
    assert_eq!(world.deliver(1, &first), NOTHING);
    world.faults.faults.clear();
    assert_eq!(world.deliver(2, &first), [2], "of one batch");
    let second = world.faults.request_arrived();
    world.faults.request_answered(&first);
    assert_eq!(world.deliver(3, &second), [3], "arrived before the answer");
    assert_eq!(world.one(4), [4, 1]);
    assert_eq!(world.faults.counts().reordered, 1);
}

#[test]
fn several_held_copies_are_released_in_their_order() {
    let mut world = World::new(&["new:reorder=1"]);
    assert_eq!(world.one(2), NOTHING);
    assert_eq!(world.one(1), NOTHING);
    world.faults.faults.clear();
    assert_eq!(world.one(3), [3, 1, 2]);
    assert_eq!(world.faults.counts().reordered, 2);
}

#[test]
fn a_late_copy_whose_socket_is_gone_counts_as_nothing() {
    let mut world = World::new(&["new:delay=0.5", "new:reorder=0.5"]);
    for seq in 0..10 {
        world.one(seq);
    }
    let counts = world.faults.counts();
    world.faults.handle_closed(CONN);
    assert_eq!(world.at(5000), NOTHING);
    assert_eq!(world.faults.counts(), counts);
    assert_eq!(world.faults.next_deadline(), RunTime::NEVER);
}

#[test]
fn a_connection_is_closed_between_half_a_second_and_two_and_a_half() {
    let mut world = World::new(&["new:close@4100"]);
    let at = world.faults.next_deadline();
    assert!(RunTime::from_millis(500) <= at && at < RunTime::from_millis(2500), "{at:?}");
    assert_eq!(world.faults.handle_timeout(at), [Action::Close(CONN, 4100)]);
    assert_eq!(world.faults.counts(), FaultCounts { closed: 1, ..FaultCounts::default() });
    let ms = at.0 / 1_000_000;
    let line =
        format!(r#"{{"ms":{ms},"cluster":"new","kind":"close","socket":"1.2","code":4100}}"#);
    assert_eq!(world.log(), [line]);
}

#[test]
fn a_silent_connection_draws_no_other_fault_until_it_speaks_again() {
    let mut world = World::new(&["new:silent@5s", "new:drop=1"]);
    assert_eq!(world.one(1), NOTHING);
    let at = world.faults.next_deadline();
    world.now = at;
    assert_eq!(world.faults.handle_timeout(at), [Action::Mute(CONN)]);
    assert!(world.faults.is_muted(CONN));
    assert_eq!(world.one(2), NOTHING);
    let counts = FaultCounts { dropped: 1, silenced: 1, ..FaultCounts::default() };
    assert_eq!(world.faults.counts(), counts);
    let end = at.after(Duration::from_secs(5));
    assert_eq!(world.faults.next_deadline(), end);
    assert_eq!(world.faults.handle_timeout(end), [Action::Unmute(CONN)]);
    assert!(!world.faults.is_muted(CONN));
    world.one(3);
    assert_eq!(world.faults.counts().dropped, 2);
}

#[test]
fn what_waits_for_a_connection_that_is_closed_counts_as_nothing() {
    let mut world = World::new(&["new:close"]);
    let at = world.faults.next_deadline();
    world.faults.faults = vec![format!("new:delay=1@{}ns", at.0).parse().unwrap()];
    assert_eq!(world.one(1), NOTHING);
    assert_eq!(world.faults.handle_timeout(at), [Action::Close(CONN, 4200)]);
    assert_eq!(world.faults.counts(), FaultCounts { closed: 1, ..FaultCounts::default() });
}

#[test]
fn a_seed_does_the_same_whatever_the_order() {
    let faults = ["new:drop=0.3", "new:duplicate=0.3", "new:refuse=0.5", "new:close=0.5"];
    let faults: Vec<Fault> = faults.iter().map(|text| text.parse().unwrap()).collect();
    let done = |seed, order: &[u64]| {
        let mut faults = Faults::new(ClusterRole::New, &faults, seed);
        let mut done = BTreeMap::new();
        for seq in order {
            let conn = Conn(*seq);
            faults.handle_connected(RunTime::ZERO, conn, SocketId::new("1.2").unwrap());
            let strikes: Vec<_> = std::mem::take(&mut faults.timers).into_keys().collect();
            let (request, mark) = (faults.request_arrived(), Some(Mark { stream: 3, seq: *seq }));
            let message = Arc::new(message(3, *seq));
            let mut copy = |copy| {
                let to = (copy, conn);
                faults.handle_delivery(RunTime::ZERO, to, &message, mark, &request).len()
            };
            let copies = [copy(0), copy(1)];
            let strike = strikes.first().map(|(at, _)| *at);
            done.insert(*seq, (copies, faults.draw_publish(mark), strike));
        }
        done
    };
    let forwards: Vec<u64> = (0..200).collect();
    let backwards: Vec<u64> = forwards.iter().rev().copied().collect();
    assert_eq!(done(1, &forwards), done(1, &backwards));
    assert_ne!(done(1, &forwards), done(2, &forwards));
    let unlike = done(1, &forwards).values().filter(|(copies, ..)| copies[0] != copies[1]).count();
    assert!(unlike > 50, "the copies of one event are drawn for one by one: {unlike}");
}

#[test]
fn publish_faults_count_each_event_of_the_request() {
    for (fault, kind, field) in [
        ("new:refuse=1", "refuse", "refused"),
        ("new:lose-answer=1", "lose-answer", "answers_lost"),
        ("new:error-after=1", "error-after", "errors_after"),
    ] {
        let mut world = World::new(&[fault]);
        let drawn = world.faults.draw_publish(None).unwrap();
        assert_eq!(drawn.as_str(), kind);
        let event = |seq| ("a".into(), Some(Mark { stream: 3, seq }));
        world.faults.publish_fault_done(world.now, drawn, &[event(1), event(2)]);
        let counts = serde_json::to_value(world.faults.counts()).unwrap();
        assert_eq!(counts[field], 2, "{counts}");
        let line = |seq| {
            format!(
                r#"{{"ms":0,"cluster":"new","kind":"{kind}","channel":"a","stream":3,"seq":{seq}}}"#
            )
        };
        assert_eq!(world.log(), [line(1), line(2)]);
    }
    assert_eq!(World::new(&["new:drop=1"]).faults.draw_publish(None), None);
}

#[test]
fn an_event_of_a_webhook_is_lost_by_what_it_tells_and_not_by_when() {
    let lost = |seed: u64, run: &str, order: &mut dyn Iterator<Item = u64>| {
        let fault = "new:lose-webhook=0.3".parse().unwrap();
        let mut faults = Faults::new(ClusterRole::New, &[fault], seed);
        let kind = WebhookKind::ChannelOccupied;
        let lost = order.filter(|n| {
            faults.loses_webhook(RunTime::ZERO, kind, &format!("private-pc-{run}-{n}"))
        });
        let lost: std::collections::BTreeSet<_> = lost.collect();
        assert_eq!(faults.counts().webhooks_lost, lost.len() as u64);
        assert_eq!(faults.take_done().len(), lost.len());
        lost
    };
    let forwards = lost(1, "82bb3eff", &mut (0..1_000));
    assert!((250..350).contains(&forwards.len()), "{}", forwards.len());
    assert_eq!(forwards, lost(1, "11111111", &mut (0..1_000).rev()), "another run");
    assert_ne!(forwards, lost(2, "82bb3eff", &mut (0..1_000)));
    let mut none = Faults::new(ClusterRole::New, &["new:drop=1".parse().unwrap()], 1);
    assert!(!none.loses_webhook(RunTime::ZERO, WebhookKind::ChannelOccupied, "private-a"));
}

#[test]
fn each_copy_suffers_at_most_one_fault_about_as_often_as_asked() {
    let mut world = World::new(&["new:drop=0.2", "new:duplicate=0.1", "new:corrupt=0.3"]);
    for seq in 0..10_000 {
        let (message, request) = (Arc::new(message(3, seq)), world.answered());
        let mark = Some(Mark { stream: 3, seq });
        world.faults.handle_delivery(world.now, (0, CONN), &message, mark, &request);
    }
    let counts = world.faults.counts();
    assert!((1800..2200).contains(&counts.dropped), "{counts:?}");
    assert!((850..1150).contains(&counts.duplicated), "{counts:?}");
    assert!((2750..3250).contains(&counts.corrupted), "{counts:?}");
    assert_eq!(world.log().len() as u64, counts.dropped + counts.duplicated + counts.corrupted);
}

#[test]
fn the_counts_have_the_keys_of_the_report() {
    let counts = serde_json::to_string(&FaultCounts::default()).unwrap();
    assert_eq!(
        counts,
        r#"{"dropped":0,"duplicated":0,"delayed":0,"reordered":0,"corrupted":0,"refused":0,"answers_lost":0,"errors_after":0,"webhooks_lost":0,"closed":0,"silenced":0}"#
    );
}

/// One event of the run below, and when its request arrived and was answered, in the oracle's own
/// order of things.
struct Sent {
    stream: u64,
    seq: u64,
    frame: Text,
    arrived: usize,
    answered: usize,
}

/// What a client that knows what was published finds: dropped, duplicated, corrupted, reordered.
fn found(published: &[Sent], received: &[Text]) -> (u64, u64, u64, u64) {
    let (mut seen, mut first) = (vec![0_u64; published.len()], Vec::new());
    let mut corrupted = 0;
    for frame in received {
        match published.iter().position(|sent| sent.frame == *frame) {
            None => corrupted += 1,
            Some(at) => {
                seen[at] += 1;
                if seen[at] == 1 {
                    first.push(&published[at]);
                }
            }
        }
    }
    let overtaken = first.iter().enumerate().filter(|(at, late)| {
        first[..*at].iter().any(|early| {
            early.stream == late.stream && early.seq > late.seq && early.arrived > late.answered
        })
    });
    let missing = seen.iter().filter(|copies| **copies == 0).count() as u64;
    let twice = seen.iter().filter(|copies| **copies == 2).count() as u64;
    (missing - corrupted, twice, corrupted, overtaken.count() as u64)
}

#[test]
fn a_client_finds_exactly_what_is_counted() {
    let faults = [
        "new:drop=0.1",
        "new:duplicate=0.1",
        "new:delay=0.1@50ms",
        "new:reorder=0.2",
        "new:corrupt=0.1",
    ];
    let mut reordered = 0;
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let faults: Vec<Fault> = faults.iter().map(|text| text.parse().unwrap()).collect();
        let mut faults = Faults::new(ClusterRole::New, &faults, seed);
        faults.handle_connected(RunTime::ZERO, CONN, SocketId::new("1.2").unwrap());
        let (mut now, mut step) = (RunTime::ZERO, 0);
        let (mut published, mut open, mut actions) = (Vec::new(), Vec::new(), Vec::new());
        let mut seqs = [0; 2];
        for _ in 0..300 {
            step += 1;
            now = now.after(Duration::from_millis(rng.random_range(0..40)));
            actions.extend(faults.handle_timeout(now));
            if rng.random_bool(0.5) && !open.is_empty() {
                let (at, request): (usize, Request) =
                    open.swap_remove(rng.random_range(0..open.len()));
                faults.request_answered(&request);
                let answered: &mut Sent = &mut published[at];
                answered.answered = step;
                continue;
            }
            let stream = rng.random_range(0..2);
            let seq = seqs[stream];
            seqs[stream] += 1;
            let (stream, request) = (stream as u64, faults.request_arrived());
            let message = Arc::new(message(stream, seq));
            let mark = Some(Mark { stream, seq });
            actions.extend(faults.handle_delivery(now, (0, CONN), &message, mark, &request));
            open.push((published.len(), request));
            let (frame, arrived) = (message.frame.clone(), step);
            published.push(Sent { stream, seq, frame, arrived, answered: usize::MAX });
        }
        actions.extend(faults.handle_timeout(now.after(Duration::from_secs(1))));
        let frames = actions.into_iter().map(|action| match action {
            Action::Send(CONN, frame) => frame,
            other => panic!("{other:?}"),
        });
        let received: Vec<_> = frames.collect();
        let counts = faults.counts();
        let counted = (counts.dropped, counts.duplicated, counts.corrupted, counts.reordered);
        assert_eq!(found(&published, &received), counted, "seed {seed}");
        reordered += counts.reordered;
    }
    assert!(reordered > 1000, "{reordered}");
}
