//! Pages as statuspage.io documents them, as they really are, and as nobody would write them.

use std::fmt::Write;

use serde_json::json;

use super::*;
use ComponentStatus::{DegradedPerformance, MajorOutage, Operational, UnderMaintenance, Unknown};

const SUMMARY_WELL: &str = include_str!("../../tests/fixtures/status_page/operational.json");
const SUMMARY_ILL: &str = include_str!("../../tests/fixtures/status_page/incident.json");
const RESOLVED: &str = include_str!("../../tests/fixtures/status_page/incidents.json");
/// 2026-02-03T04:00:00Z.
const NOW: i64 = 1_770_091_200_000;

fn watch(components: &[String]) -> Watch<'_> {
    Watch { components, since: NOW - 600_000 }
}

fn names(components: &[&str]) -> Vec<String> {
    components.iter().map(|&name| name.to_owned()).collect()
}

fn read(summary: &str, components: &[&str]) -> Reading {
    watch(&names(components)).read(summary, None, NOW).unwrap()
}

#[test]
fn a_page_on_which_all_is_well_is_read_without_its_groups() {
    let reading = read(SUMMARY_WELL, &[]);
    assert_eq!(reading.page, Operational);
    let found: Vec<_> = reading.components.iter().map(|c| &*c.name).collect();
    let expected = [
        "Channels REST API",
        "Channels WebSocket client API",
        "Channels presence channels",
        "Channels Webhooks",
        "Beams",
    ];
    assert_eq!(found, expected);
    assert!(reading.components.iter().all(|c| c.status == Operational));
    assert_eq!(reading.selection, Selection::default());
    // Planned for a later day: shown, and held against nobody.
    let [planned] = reading.spans.as_slice() else { panic!("{:?}", reading.spans) };
    assert_eq!((planned.kind, planned.can_accuse()), (SpanKind::Maintenance, false));
    let hours = |h: i64| NOW + h * 3_600_000;
    assert_eq!((planned.from, planned.until), (hours(22), Some(hours(24))));
    assert_eq!(planned.components, ["Beams"]);
}

#[test]
fn an_incident_is_read_with_its_times_and_its_components() {
    let reading = read(SUMMARY_ILL, &[]);
    assert_eq!(reading.page, DegradedPerformance);
    let rest = &reading.components[0];
    assert_eq!((&*rest.id, rest.status), ("8kbf7d35c070", DegradedPerformance));
    let expected = Span {
        kind: SpanKind::Incident,
        id: "p31zjtct2jer".to_owned(),
        name: "Delayed messages on the REST API".to_owned(),
        impact: "minor".to_owned(),
        state: "investigating".to_owned(),
        components: names(&["Channels REST API"]),
        // Written with an offset from UTC.
        from: NOW - 60_000,
        until: None,
        link: Some("https://stspg.io/p31zjtct2jer".to_owned()),
    };
    assert_eq!(reading.spans[0], expected);
    // Announced days ago, and begun when it was planned to.
    let maintenance = &reading.spans[1];
    assert_eq!((&*maintenance.state, maintenance.from), ("in_progress", NOW - 1_800_000));
    assert!(maintenance.can_accuse() && maintenance.until.is_none());
}

#[test]
fn of_what_is_over_only_that_is_read_which_was_not_over_before_the_run() {
    let reading = watch(&[]).read(SUMMARY_WELL, Some(RESOLVED), NOW).unwrap();
    let incidents = reading.spans.iter().filter(|s| s.kind == SpanKind::Incident);
    let found: Vec<_> = incidents.map(|s| (&*s.id, s.from, s.until)).collect();
    assert_eq!(found, [("x0ljvc9m1wxj", NOW - 900_000, Some(NOW - 300_000))]);
    // It names its component in its updates alone, as old ones do.
    let named = watch(&names(&["3mxjbvkw7dtx"])).read(SUMMARY_WELL, Some(RESOLVED), NOW).unwrap();
    assert!(named.spans.iter().any(|s| s.id == "x0ljvc9m1wxj"));
    let other = watch(&names(&["Beams"])).read(SUMMARY_WELL, Some(RESOLVED), NOW).unwrap();
    assert!(!other.spans.iter().any(|s| s.id == "x0ljvc9m1wxj"));
}

#[test]
fn components_are_named_by_name_or_id_and_a_group_stands_for_what_is_in_it() {
    let found = |wanted: &[&str]| {
        let reading = read(SUMMARY_ILL, wanted);
        let ids: Vec<_> = reading.components.iter().map(|c| c.id.clone()).collect();
        (ids, reading.spans.iter().map(|s| s.id.clone()).collect::<Vec<_>>())
    };
    let (rest, ids) = found(&["channels rest api"]);
    assert_eq!(
        (&*rest, ids.contains(&"p31zjtct2jer".to_owned())),
        (&names(&["8kbf7d35c070"])[..], true)
    );
    let (_, ids) = found(&["Channels Webhooks"]);
    assert!(!ids.contains(&"p31zjtct2jer".to_owned()), "of a component that is not watched");
    let (group, ids) = found(&["gtd0nyr3pf0k", "GTD0nyr3pf0k"]);
    assert_eq!(group, ["gtd0nyr3pf0k"]);
    assert!(ids.contains(&"p31zjtct2jer".to_owned()), "of a component in a group");
}

#[test]
fn a_name_that_the_page_does_not_have_is_missing_and_the_others_are_offered() {
    let reading = read(SUMMARY_WELL, &["Channels Webhooks", "Channels Websocket"]);
    assert_eq!(reading.components.len(), 1);
    assert_eq!(reading.selection.missing, ["Channels Websocket"]);
    assert!(reading.selection.offered.contains(&"Channels WebSocket client API".to_owned()));
}

fn page(components: &Value, incidents: &Value, maintenances: &Value) -> String {
    let members = json!({"components": components, "incidents": incidents,
        "scheduled_maintenances": maintenances, "status": {"indicator": "none"}});
    members.to_string()
}

#[test]
fn what_is_not_known_is_no_mistake() {
    let components = json!([
        {"id": "a", "name": "A", "status": "on_fire"},
        {"id": "b", "name": "B", "status": 7},
        {"name": "no id", "status": "major_outage"},
        {"status": "operational"}, null, 7, [], "x",
        {"id": "a", "name": "A again", "status": "under_maintenance"},
    ]);
    let incidents = json!([
        null, {"name": "no id"},
        {"id": "i", "impact": null, "status": {}, "components": [null, {}], "started_at": "soon",
         "shortlink": "javascript:alert(1)", "name": "two\nlines \u{202e}and\u{0}more"},
        {"id": "j", "started_at": null, "created_at": "2026-02-03T03:59:00Z"},
        {"id": "k", "status": "resolved"},
        {"id": "l", "status": "identified", "started_at": "2026-02-03T04:00:09Z"},
    ]);
    let reading = read(&page(&components, &incidents, &json!([{"id": "m"}])), &[]);
    let found: Vec<_> = reading.components.iter().map(|c| (&*c.id, c.status)).collect();
    assert_eq!(found, [("a", Unknown), ("b", Unknown), ("no id", MajorOutage)]);
    let found: Vec<_> = reading.spans.iter().map(|s| (&*s.id, s.from, s.until)).collect();
    let expected = [
        ("i", NOW, None),
        ("j", NOW - 60_000, None),
        ("k", NOW, Some(NOW)),
        ("l", NOW, None),
        ("m", NOW, None),
    ];
    assert_eq!(found, expected);
    assert_eq!((&*reading.spans[0].name, &reading.spans[0].link), ("two lines and more", &None));
}

#[test]
fn a_maintenance_that_begins_early_has_begun_and_one_that_is_done_has_ended() {
    let later = "2026-02-03T05:00:00Z";
    let of = |state: &str, updated: &str| {
        let maintenances = json!([{"id": "m", "status": state, "scheduled_for": later,
            "updated_at": updated, "scheduled_until": "2026-02-03T06:00:00Z"}]);
        let reading = read(&page(&json!([]), &json!([]), &maintenances), &[]);
        (reading.spans[0].from, reading.spans[0].until)
    };
    let begun = "2026-02-03T03:30:00Z";
    assert_eq!(of("in_progress", begun), (NOW - 1_800_000, None));
    assert_eq!(of("scheduled", begun), (NOW + 3_600_000, Some(NOW + 7_200_000)));
    assert_eq!(of("completed", later), (NOW + 3_600_000, Some(NOW + 3_600_000)));
}

#[test]
fn the_page_as_a_whole_is_read_from_its_indicator() {
    for (indicator, status) in [
        (json!("none"), Operational),
        (json!("maintenance"), UnderMaintenance),
        (json!("minor"), DegradedPerformance),
        (json!("major"), ComponentStatus::PartialOutage),
        (json!("critical"), MajorOutage),
        (json!("hectic"), Unknown),
        (json!(7), Unknown),
    ] {
        let page = json!({"components": [], "incidents": [], "scheduled_maintenances": [],
            "status": {"indicator": indicator}});
        assert_eq!(read(&page.to_string(), &[]).page, status, "{page}");
    }
}

#[test]
fn what_is_no_status_page_is_named() {
    let refused = |body: &str| watch(&[]).read(body, None, NOW).unwrap_err().to_string();
    let no_json = "the answer is no JSON (expected value at line 1 column 1)";
    assert_eq!(refused("<html>It works!</html>"), no_json);
    let other = "the answer is JSON of another form: it has no list of components";
    for body in ["{}", "[]", "null", "7", r#"{"components": {}}"#, r#"{"data": []}"#] {
        assert_eq!(refused(body), other, "{body}");
    }
    let lacks = r#"{"components": [], "incidents": []}"#;
    assert!(refused(lacks).ends_with("no list of scheduled_maintenances"));
    let incidents = watch(&[]).read(SUMMARY_WELL, Some("{}"), NOW).unwrap_err();
    assert_eq!(incidents, Unreadable::OtherForm("incidents"));
}

/// Every place in a page, as a way to it.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, v)| places(v, &format!("{here}/{key}"), found));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, v)| places(v, &format!("{here}/{at}"), found));
        }
        _ => {}
    }
}

#[test]
fn a_page_with_anything_in_any_place_is_read_or_refused() {
    let wanted = names(&["Channels REST API", "gtd0nyr3pf0k"]);
    let nested = (0..40).fold(json!(null), |inner, _| json!([{"components": inner}]));
    let odd = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e308),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!([]),
        json!({}),
        json!([null]),
        json!({"id": {}}),
        nested,
    ];
    for fixture in [SUMMARY_ILL, RESOLVED] {
        let page: Value = serde_json::from_str(fixture).unwrap();
        let mut all = Vec::new();
        places(&page, "", &mut all);
        let (mut read, mut refused) = (0, 0);
        for (place, value) in all.iter().flat_map(|place| odd.iter().map(move |v| (place, v))) {
            let mut changed = page.clone();
            *changed.pointer_mut(place).unwrap() = value.clone();
            let changed = changed.to_string();
            let (summary, incidents) = match fixture == RESOLVED {
                true => (SUMMARY_WELL, Some(&*changed)),
                false => (&*changed, None),
            };
            match watch(&wanted).read(summary, incidents, NOW) {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(read > 20 * refused && refused > 0, "{read} read, {refused} refused");
    }
    for end in (0..SUMMARY_ILL.trim_end().len()).step_by(97) {
        assert!(watch(&wanted).read(&SUMMARY_ILL[..end], None, NOW).is_err(), "cut at {end}");
    }
}

#[test]
fn hostile_pages_are_read_or_refused_within_bounds() {
    let deep = format!(r#"{{"components": {}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    assert!(matches!(watch(&[]).read(&deep, None, NOW), Err(Unreadable::NoJson(_))));
    let long = "x".repeat(1 << 20);
    let mut components = String::new();
    for n in 0..5_000 {
        let _ = write!(components, r#"{{"id":"c{n}","name":"n{n}","status":"operational"}},"#);
    }
    let mut incidents = String::new();
    for n in 0..5_000 {
        let _ = write!(incidents, r#"{{"id":"i{n}","impact":"major","name":"{n}"}},"#);
    }
    let huge = format!(
        r#"{{"components":[{components}{{"id":"{long}"}}],"incidents":[{incidents}
           {{"id":"{long}","name":"{long}"}}],"scheduled_maintenances":[]}}"#
    );
    let reading = read(&huge, &[]);
    assert_eq!(reading.components.len(), COMPONENTS_MAX);
    assert_eq!(reading.selection.beyond, 5_001 - COMPONENTS_MAX as u64);
    assert_eq!(reading.spans.len(), SPANS_MAX);
    let wide = page(&json!([{"id": long, "name": long}]), &json!([]), &json!([]));
    let reading = read(&wide, &[]);
    assert_eq!((reading.components[0].id.len(), reading.components[0].name.len()), (60, 200));
    let years = r#"{"components":[],"scheduled_maintenances":[],"incidents":[
        {"id":"a","started_at":"0000-01-01T00:00:00Z"},
        {"id":"b","started_at":"9999-12-31T23:59:59.999999999Z"}]}"#;
    assert_eq!(read(years, &[]).spans.len(), 2);
}
