//! Histories in folders of their own, with real reports.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::thread;

use tempfile::TempDir;
use uuid::Uuid;

use super::*;

const GO: &str = include_str!("../../tests/fixtures/reports/go.json");
const NO_GO: &str = include_str!("../../tests/fixtures/reports/no-go.json");
/// A history as version 1 wrote it.
const VERSION_1: &str = include_str!("../../tests/fixtures/history/version-1.sql");

/// The day of the fixtures.
const DAY: Day = Day(20_779);

fn read(json: &str) -> Report {
    Report::from_json(json).unwrap()
}

/// The good report as that of another run.
fn run(id: u128, started_at: &str) -> Report {
    Report { run: RunId(Uuid::from_u128(id)), started_at: started_at.to_owned(), ..read(GO) }
}

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state/pusher-canary/history.sqlite")
    }

    fn open(&self) -> History {
        History::open_to_add(&self.path()).unwrap()
    }

    /// With a file of what SQL makes.
    fn with(sql: &str) -> Self {
        let place = Self::new();
        fs::create_dir_all(place.path().parent().unwrap()).unwrap();
        Connection::open(place.path()).unwrap().execute_batch(sql).unwrap();
        place
    }
}

fn counts(good: u64, bad: u64) -> Counts {
    Counts { good, bad }
}

/// What was counted on a day of one component of one cluster.
fn of(found: &[DayCounts], day: Day, cluster: ClusterRole, component: Component) -> Option<Counts> {
    let is = |c: &&DayCounts| (c.day, c.cluster, c.component) == (day, cluster, component);
    found.iter().find(is).map(|c| c.counts)
}

#[test]
fn a_run_comes_back_as_it_was_kept() {
    let place = Place::new();
    let (go, no_go) = (read(GO), read(NO_GO));
    place.open().add(&go).unwrap();
    place.open().add(&no_go).unwrap();
    let history = History::open(&place.path()).unwrap();
    assert_eq!(history.find(&go.run.to_string()).unwrap(), go);
    let list = history.list(None, 10).unwrap();
    let runs: Vec<_> = list.iter().map(|past| past.run.as_str()).collect();
    assert_eq!(runs, [no_go.run.to_string(), go.run.to_string()], "the newest first");
    assert_eq!(list[0].verdict, "NO-GO");
    let losses = [(ClusterRole::Old, (0, 3_197)), (ClusterRole::New, (119, 3_197))].into();
    assert_eq!(list[0].losses, Some(losses));
}

#[test]
fn the_list_is_limited_and_of_one_scenario_where_asked() {
    let place = Place::new();
    let mut history = place.open();
    for id in 1..=3 {
        history.add(&run(id, &format!("2026-11-2{id}T00:00:00.000Z"))).unwrap();
    }
    let other = Report { scenario: "other".to_owned(), ..run(9, "2026-11-20T00:00:00.000Z") };
    history.add(&other).unwrap();
    let dates = |scenario, limit| -> Vec<_> {
        let list = history.list(scenario, limit).unwrap();
        list.iter().map(|past| past.started_at[..10].to_owned()).collect()
    };
    assert_eq!(dates(None, 2), ["2026-11-23", "2026-11-22"]);
    assert_eq!(dates(Some("other"), 20), ["2026-11-20"]);
    assert_eq!(dates(Some("none"), 20), [] as [&str; 0]);
}

#[test]
fn the_same_run_twice_is_refused_and_nothing_changes() {
    let place = Place::new();
    let mut history = place.open();
    let go = read(GO);
    history.add(&go).unwrap();
    let again = Report { scenario: "changed".to_owned(), ..go.clone() };
    let error = history.add(&again).unwrap_err();
    assert!(matches!(error, HistoryError::Kept { run, .. } if run == go.run), "{error}");
    assert_eq!(history.find(&go.run.to_string()).unwrap(), go);
}

#[test]
fn the_beginning_of_an_id_will_do_where_it_is_the_only_one() {
    let place = Place::new();
    let mut history = place.open();
    let start = "2026-11-22T00:00:00.000Z";
    let ids = [0xaa00 << 112, (0xaa00 << 112) + 1, 0xbb00 << 112];
    ids.iter().for_each(|id| history.add(&run(*id, start)).unwrap());
    assert_eq!(history.find("BB").unwrap().run.0.as_u128(), ids[2]);
    let error = history.find("aa").unwrap_err().to_string();
    assert!(error.starts_with("aa begins the ids of more than one run: aa000000-"), "{error}");
    for nothing in ["cc", "%", "_"] {
        let error = history.find(nothing).unwrap_err();
        assert!(matches!(error, HistoryError::Unknown(_)), "{error}");
    }
}

#[test]
fn the_runs_of_a_scenario_since_an_instant_come_with_their_reports() {
    let place = Place::new();
    let mut history = place.open();
    for (id, start) in [(3, "23T12"), (1, "21T12"), (2, "22T12")] {
        history.add(&run(id, &format!("2026-11-{start}:00:00.000Z"))).unwrap();
    }
    let digest = "0123456789abcdef".to_owned();
    let other = Report { scenario_digest: digest, ..run(9, "2026-11-23T12:00:00.000Z") };
    history.add(&other).unwrap();
    let digest = read(GO).scenario_digest;
    let since = run(2, "2026-11-22T12:00:00.000Z").started();
    let found = history.runs_of(&digest, since).unwrap();
    let ids: Vec<_> = found.iter().map(|stored| stored.run.0.as_u128()).collect();
    assert_eq!(ids, [2, 3]);
    assert_eq!(found[0].started, since);
    assert_eq!(found[0].verdict, Verdict::Go);
    assert_eq!(found[0].report.figures().unwrap().clusters.len(), 2);
}

#[test]
fn runs_of_one_day_are_added_up_and_belong_to_the_day_on_which_they_began() {
    let place = Place::new();
    let mut history = place.open();
    history.add(&read(GO)).unwrap();
    history.add(&read(NO_GO)).unwrap();
    history.add(&run(1, "2026-11-22T23:59:59.999Z")).unwrap();
    history.add(&run(2, "2026-11-23T00:00:00.000Z")).unwrap();
    let found = history.counts(None, DAY).unwrap();
    let deliver = |day| of(&found, day, ClusterRole::New, Component::Deliver);
    assert_eq!(deliver(DAY), Some(counts(3 * 6_394 - 122, 122)));
    assert_eq!(deliver(Day(DAY.0 + 1)), Some(counts(6_394, 0)));
    let connect = of(&found, DAY, ClusterRole::Old, Component::Connect);
    assert_eq!(connect, Some(counts(15, 0)));
    assert_eq!(of(&found, DAY, ClusterRole::Old, Component::Webhooks), None);
    assert_eq!(history.counts(None, Day(DAY.0 + 2)).unwrap(), []);
    assert_eq!(history.counts(Some("other"), DAY).unwrap(), []);
}

#[test]
fn a_history_of_version_1_is_migrated_and_counts_what_it_holds() {
    let place = Place::with(VERSION_1);
    let history = History::open(&place.path()).unwrap();
    assert!(matches!(schema::found(&history.connection).unwrap(), schema::Found::Present));
    let found = history.counts(None, Day(0)).unwrap();
    let deliver = |cluster| of(&found, DAY, cluster, Component::Deliver);
    assert_eq!(deliver(ClusterRole::Old), Some(counts(2 * 6_394, 0)));
    assert_eq!(deliver(ClusterRole::New), Some(counts(2 * 6_394 - 122, 122)));
    // The third report is of a form that cannot be read: it is listed, and its day stays unknown.
    assert!(found.iter().all(|c| c.day == DAY));
    let list = history.list(None, 10).unwrap();
    let readable: Vec<_> = list.iter().map(|past| past.losses.is_some()).collect();
    assert_eq!(readable, [false, true, true]);
    let error = history.find("01a30000").unwrap_err().to_string();
    assert!(error.contains("has schema 99"), "{error}");
}

#[test]
fn what_version_1_became_is_what_is_made_anew() {
    let tables = |history: &History| -> Vec<(String, Option<String>)> {
        let sql = "SELECT name, sql FROM sqlite_schema ORDER BY name";
        let mut statement = history.connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let (old, new) = (Place::with(VERSION_1), Place::new());
    assert_eq!(tables(&old.open()), tables(&new.open()));
}

#[test]
fn many_that_begin_one_history_at_once_all_keep_their_runs() {
    const WRITERS: u128 = 8;
    for begin in ["", VERSION_1] {
        let place = Place::with(begin);
        let together = Barrier::new(WRITERS as usize);
        thread::scope(|scope| {
            for id in 1..=WRITERS {
                let (place, together) = (&place, &together);
                scope.spawn(move || {
                    together.wait();
                    let report = run(id, "2026-11-22T12:00:00.000Z");
                    place.open().add(&report).unwrap();
                });
            }
        });
        let before = if begin.is_empty() { 0 } else { 3 };
        assert_eq!(place.open().list(None, 100).unwrap().len(), before + WRITERS as usize);
    }
}

#[test]
fn who_reads_does_not_wait_for_who_writes() {
    let place = Place::new();
    let mut writer = place.open();
    writer.add(&read(GO)).unwrap();
    let reader = History::open(&place.path()).unwrap();
    writer
        .write(|transaction| {
            insert(transaction, &read(NO_GO))?;
            assert_eq!(reader.list(None, 10).unwrap().len(), 1);
            Ok(())
        })
        .unwrap();
    assert_eq!(reader.list(None, 10).unwrap().len(), 2);
}

#[test]
fn a_newer_history_is_refused_with_what_to_do_and_left_as_it_is() {
    let place = Place::new();
    place.open().connection.pragma_update(None, "user_version", 3).unwrap();
    let before = fs::read(place.path()).unwrap();
    for error in [History::open(&place.path()), History::open_to_add(&place.path())] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("has version 3, and this pusher-canary knows 2 at most"), "{error}");
        assert!(error.contains("use the newer pusher-canary"), "{error}");
    }
    assert_eq!(fs::read(place.path()).unwrap(), before);
}

#[test]
fn what_is_no_history_is_refused_and_left_as_it_is() {
    let other = Place::with("CREATE TABLE bookmarks (url TEXT)");
    let error = History::open_to_add(&other.path()).unwrap_err();
    assert!(matches!(error, HistoryError::Foreign(_)), "{error}");
    let text = Place::with("");
    fs::write(text.path(), "no database ".repeat(1_000)).unwrap();
    let error = History::open_to_add(&text.path()).unwrap_err().to_string();
    assert!(error.contains("file is not a database"), "{error}");
    let missing = Place::new();
    let error = History::open(&missing.path()).unwrap_err();
    assert!(matches!(error, HistoryError::Missing(_)), "{error}");
    assert_eq!(fs::read_dir(missing.folder.path()).unwrap().count(), 0, "something was made");
}

#[test]
fn a_folder_that_must_be_made_is_for_nobody_else() {
    let place = Place::new();
    place.open();
    for folder in ["state", "state/pusher-canary"] {
        let mode = fs::metadata(place.folder.path().join(folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{folder}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let place = Place::new();
    fs::write(place.folder.path().join("state"), "a file").unwrap();
    let error = History::open_to_add(&place.path()).unwrap_err();
    assert!(matches!(error, HistoryError::Folder { .. }), "{error}");
}

#[test]
fn a_run_that_finds_no_room_leaves_nothing_behind() {
    let place = Place::new();
    let mut history = place.open();
    let pages: i64 =
        history.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |history: &History, pages: i64| {
        let limited =
            history
                .connection
                .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0));
        limited.unwrap();
    };
    limit(&history, pages + 2);
    let error = history.add(&read(GO)).unwrap_err().to_string();
    assert!(error.ends_with("database or disk is full"), "{error}");
    limit(&history, i64::from(i32::MAX));
    assert_eq!(history.list(None, 10).unwrap(), []);
    history.add(&read(GO)).unwrap();
}
