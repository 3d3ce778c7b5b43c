//! The page: its order, its text, its bounds.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::model::ClusterRole;
use crate::report::providers::SpanReport;
use crate::report::testing::{self, finding};
use crate::report::{Advice, BlindWindowReport, Report, SlotReport};
use crate::verify::tally::BlindCause;
use crate::verify::verdict::{Status, Verdict};

use super::chart::{Axis, Look};
use super::time::Time;

/// Every element that a page may have.
const ELEMENTS: &str = "a b body br caption code dd defs details div dl dt figcaption figure g h1 h2 \
    h3 head header html i li line main meta nav p path pattern pre rect section span style summary \
    svg table tbody td text th thead time title tr ul !doctype";

/// The elements of a page, each as it begins, up to its end.
fn elements(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.split('<').skip(1).filter(|rest| !rest.starts_with('/')).map(|rest| {
        let tag = rest.split('>').next().unwrap();
        let name = tag.split([' ', '\n']).next().unwrap();
        (name, tag)
    })
}

/// The text between two others, from the first place on at which they stand.
#[track_caller]
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let rest = page.split_once(from).unwrap_or_else(|| panic!("{from} is missing")).1;
    rest.split_once(to).unwrap_or_else(|| panic!("{to} is missing")).0
}

#[track_caller]
fn assert_in_order(page: &str, words: &[&str]) {
    let mut rest = page;
    for word in words {
        let at = rest.find(word).unwrap_or_else(|| panic!("{word:?} is missing, or out of place"));
        rest = &rest[at + word.len()..];
    }
}

#[test]
fn the_verdict_comes_first_as_a_word_and_then_its_reasons() {
    for (verdict, class, sign) in [
        (Verdict::Go, "go", "✓"),
        (Verdict::NoGo, "no-go", "✕"),
        (Verdict::Inconclusive, "inconclusive", "?"),
    ] {
        let page = Report { verdict, ..testing::report() }.to_html();
        let word = verdict.as_str();
        assert!(page.contains(&format!("<title>{word}: cutover</title>")));
        let head = between(&page, "<main", "<nav");
        assert!(head.contains(&format!("<div class=\"verdict {class}\">")), "{head}");
        let heading = format!("<span aria-hidden=\"true\">{sign}</span> {word}</span>");
        let reason = "old: 0 of 1,000 publications lost, below 0.30 %";
        let run = "01a20437-b28f-7614-831d-82bb3eff32ce";
        assert_in_order(head, &[&heading, "cutover", reason, "dual-publish, <b>rehearsed", run]);
        assert_in_order(head, &["2026-02-03T04:05:06.000Z", "11.4 s", "proven: 1 of 1 controls"]);
    }
}

#[test]
fn reasons_that_are_checks_stand_one_by_one() {
    let mut report = testing::report();
    report.verdict = Verdict::NoGo;
    report.checks = vec![
        finding("loss", "new", true, Status::Fail),
        finding("late", "new", true, Status::Inconclusive),
        finding("coverage", "both", true, Status::Fail),
    ];
    report.reason = "loss on new: what loss saw on new; coverage: what coverage saw on both".into();
    let page = report.to_html();
    let reasons = between(&page, "<ul class=\"reasons\">", "</ul>");
    assert_eq!(reasons.matches("<li>").count(), 2);
    assert!(reasons.contains("<li><b>loss on new</b>: what loss saw on new</li>"), "{reasons}");
    report.reason.push_str("; and more");
    let page = report.to_html();
    assert!(between(&page, "<p class=\"reasons\">", "</p>").ends_with("; and more"));
}

#[test]
fn what_is_wrong_with_the_run_itself_is_said_at_the_top() {
    let mut report = testing::report();
    (report.cut_short, report.complete, report.proof) = (true, false, false);
    report.controls[0].status = Status::Inconclusive;
    report.instrument.failed = Some("the pacer panicked".into());
    report.instrument.unwatched.insert(ClusterRole::New, 2);
    let page = report.to_html();
    let head = between(&page, "<main", "<nav");
    for said in [
        "cut short by a signal",
        "the record has no end",
        "an alarm, no proof",
        "<b>not proven</b>: 0 of 1 controls fired",
        "1 of 12 seconds tainted",
        "2 streams that nobody watches",
        "the agent itself failed</b>: the pacer panicked",
    ] {
        assert!(head.contains(said), "{said} is missing: {head}");
    }
}

#[test]
fn failed_and_open_checks_come_first_with_all_that_they_found() {
    let mut report = testing::report();
    report.checks = vec![
        finding("late", "new", true, Status::Pass),
        finding("connect", "old", false, Status::Fail),
        finding("loss", "new", true, Status::Inconclusive),
        finding("coverage", "both", true, Status::Fail),
    ];
    report.checks[3].target = Some(0.5);
    let page = report.to_html();
    let open = between(&page, "<h2 id=\"checks-heading\">", "<details>");
    assert_in_order(open, &["<b>coverage</b>", "<b>loss</b>", "<b>connect</b>"]);
    assert!(!open.contains("<b>late</b>"));
    let row = between(open, "<tr role=\"row\"><td", "</tr>");
    for cell in ["status fail", ">both<", ">what coverage saw on both<", ">yes<"] {
        assert!(row.contains(cell), "{cell} is missing: {row}");
    }
    for cell in ["compared\">3.6", "limit\">0.1", "target\">50", "evidence\">4,560"] {
        assert!(row.contains(cell), "{cell} is missing: {row}");
    }
    assert!(open.contains("no, shown"));
    let passed = between(&page, "<summary>1 check passed</summary>", "</details>");
    assert!(passed.contains("<b>late</b>"), "{passed}");
}

#[test]
fn old_and_new_stand_side_by_side_with_every_label_of_the_table() {
    let report = testing::report();
    let page = report.to_html();
    let table = between(&page, "<caption>What each cluster did</caption>", "</table>");
    for (label, cells) in report.rows() {
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        let row = format!("{}</th>{cells}", label.trim_start());
        let row =
            row.replace("</th>", if label.starts_with(' ') { "</span></th>" } else { "</th>" });
        assert!(table.contains(&row), "{row} is missing: {table}");
    }
    assert!(page.contains("<b>events covered on both</b>: 997 of 1,000"));
    let page = testing::steady().to_html();
    assert!(!page.contains("<th scope=\"col\">old</th>") && !page.contains("<b>events covered"));
    assert!(page.contains("No delivery was timed."));
}

#[test]
fn sections_come_in_order_and_each_is_named_in_the_navigation() {
    let mut report = testing::report();
    report.advice = vec![Advice {
        cluster: ClusterRole::New,
        failure: "4100".into(),
        count: 1,
        cause: "over capacity".into(),
        cure: "wait".into(),
    }];
    let page = report.to_html();
    let headings: Vec<_> =
        page.split("<h2 id=\"").skip(1).map(|rest| between(rest, ">", "</h2>")).collect();
    let expected = [
        "Checks",
        "Old and new",
        "Latency by percentile",
        "Over time",
        "Negative controls",
        "Known failures",
        "Incidents",
        "Faults done on purpose",
        "Configuration",
        "What the words mean",
    ];
    assert_eq!(headings, expected);
    let nav = between(&page, "<nav", "</nav>");
    assert_in_order(nav, &expected);
    assert!(page.contains("<h3>4100 <span class=\"quiet\">on new, 1 time</span></h3>"));
    assert!(page.contains("<b>Cure</b>: wait"));
}

#[test]
fn charts_have_a_line_for_each_cluster_and_say_what_they_show() {
    let page = testing::report().to_html();
    let plot = between(&page, "<div class=\"plot tall\">", "</div>");
    assert_eq!(plot.matches("<path class=\"line ").count(), 2, "{plot}");
    assert!(plot.contains("line old dashed") && plot.contains("line new"), "{plot}");
    assert!(plot.contains("old: p50 2.9 ms, p99 10.2 ms, at most 10.4 ms"), "{plot}");
    assert!(plot.contains(">99.9 %</text>"));
    for label in [
        "Latency of old over time: highest p50 1.2 ms, highest max 10.8 ms",
        "Delivery of new over time: 300 sent, 600 arrived, 0 unaccepted",
        "new witness 1: 1 blind window, 0.50 s, over time",
        "old witness 1: 1 blind window, still blind at the end, over time",
        "new lost: 1 incident, over time",
        "the canary: 1 tainted second, over time",
    ] {
        assert!(page.contains(&format!("role=\"img\" aria-label=\"{label}\"")), "{label}");
    }
    assert!(page.contains("the cluster had closed the connection: 04:05:09, for 0.5 s</title>"));
    assert!(!page.contains("have no mark"));
    let more = Report { incidents_dropped: 7, ..testing::report() }.to_html();
    assert!(more.contains("the first 3. 7 more have no mark."));
    // Blind windows and tainted seconds lie behind the lines of their cluster.
    let chart = between(&page, "Latency of new over time", "</div>");
    assert!(chart.contains("url(#look-close)") && chart.contains("url(#look-tainted)"), "{chart}");
    assert!(!chart.contains("url(#look-network)"), "a blind window of old is none of new");
}

#[test]
fn no_number_is_drawn_that_is_none_and_nothing_lies_beside_its_chart() {
    let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e-300, 1e300];
    for (at, value) in odd.into_iter().enumerate() {
        let mut report = testing::report();
        report.timeline.slot_seconds = value;
        report.publishing_seconds = odd[(at + 1) % odd.len()];
        report.timeline.tainted = vec![0, u64::MAX];
        report.incidents[0].second = i64::MIN;
        report.incidents[1].second = i64::MAX;
        report.started_at = "9999-12-31T23:59:59Z".into();
        let cause = BlindCause::Handshake;
        let window = |from, until| BlindWindowReport {
            cluster: ClusterRole::New,
            witness: u32::MAX,
            from,
            until,
            cause,
        };
        report.blind_windows = vec![window(value, Some(-value)), window(-1e300, None)];
        let slot = SlotReport {
            sent: u64::MAX,
            unaccepted: u64::MAX,
            arrived: 0,
            p50: Some(value),
            p90: Some(-value),
            max: None,
        };
        report.timeline.clusters.insert(ClusterRole::New, vec![slot; 1_000]);
        report.clusters.values_mut().for_each(|c| c.latency_ms.histogram = Some("none".into()));
        let page = report.to_html();
        for (name, tag) in
            elements(&page).filter(|(name, _)| ["rect", "line", "path"].contains(name))
        {
            assert!(!tag.contains("NaN") && !tag.contains("inf"), "{tag}");
            for part in tag.split('"').filter(|part| part.ends_with('%')) {
                let percent: f64 = part.trim_end_matches('%').parse().unwrap();
                assert!((0.0..=100.0).contains(&percent), "{name} lies at {part}");
            }
        }
        assert!(page.len() < 500_000, "{} bytes", page.len());
    }
}

#[test]
fn hostile_text_is_no_markup_and_nothing_is_loaded() {
    let known: BTreeSet<_> = ELEMENTS.split_whitespace().collect();
    let reports = [testing::report(), testing::hostile(), testing::monstrous(), testing::empty()];
    let pages = reports.iter().flat_map(|r| [r.to_html(), testing::pool(r, 2).to_html()]);
    for page in pages {
        for (name, tag) in elements(&page) {
            assert!(known.contains(name), "an element <{tag}>");
            let attributes = tag.split(' ').skip(1).filter_map(|part| part.split_once("=\""));
            for (attribute, value) in attributes {
                assert!(!attribute.starts_with("on") && attribute != "src", "<{tag}>");
                assert!(attribute != "href" || value.starts_with('#'), "<{tag}>");
                assert!(attribute != "style", "<{tag}>: the policy forbids it");
            }
        }
        assert!(page.matches("url(").count() == page.matches("url(#look-").count());
        assert!(!page.contains("@import"));
        assert!(page.chars().all(|c| !c.is_control() || c == '\n'), "a control character is left");
    }
}

#[test]
fn the_policy_allows_the_style_of_the_page_and_nothing_else() {
    let page = testing::report().to_html();
    let hash = STANDARD.encode(Sha256::digest(between(&page, "<style>", "</style>")));
    let policy = between(&page, "Content-Security-Policy\" content=\"", "\"");
    let expected = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'"
    );
    assert_eq!(policy, expected);
}

#[test]
fn ids_are_unique_and_what_is_referred_to_is_there() {
    let page = testing::report().to_html();
    let ids: Vec<_> =
        page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let unique: BTreeSet<_> = ids.iter().copied().collect();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");
    for before in ["href=\"#", "aria-labelledby=\"", "url(#"] {
        for rest in page.split(before).skip(1) {
            let id = rest.split(['"', ')']).next().unwrap();
            assert!(unique.contains(id), "{before}{id}");
        }
    }
}

#[test]
fn it_is_bounded() {
    let page = testing::monstrous().to_html();
    assert!(page.len() < 900_000, "{} bytes", page.len());
    assert!(page.contains("<p>and 1,880 more checks</p>"));
    assert!(page.contains("<p>and 17,145 more incidents</p>"));
    assert!(page.contains("<p>and 4,959 more kinds of fault</p>"));
    assert_eq!(page.matches("<details>").count(), page.matches("</details>").count());
    let page = testing::report().to_html();
    assert!(page.len() < 120_000, "{} bytes", page.len());
    assert_eq!(page, testing::report().to_html(), "not always the same");
    let page = testing::pool(&testing::monstrous(), 1_000).to_html();
    assert!(page.len() < 500_000, "{} bytes", page.len());
    assert!(page.contains("<p>and 900 more runs</p>") && page.contains("<p>and 400 more runs</p>"));
}

#[test]
fn runs_that_are_judged_together_have_a_page_like_that_of_one() {
    let mut pool = testing::pool(&testing::report(), 2);
    pool.checks[0] = finding("loss", "new", true, Status::Fail);
    let page = pool.to_html();
    let head = between(&page, "<main", "<nav");
    assert_in_order(head, &["GO</span>", "cutover", "2 runs together", "hold at all times"]);
    assert!(head.contains("<dt>history</dt><dd><b>left out</b>"), "{head}");
    let nav = between(&page, "<nav", "</nav>");
    assert_in_order(nav, &["Checks", "Runs that count", "Runs that were left out", "What the"]);
    assert!(between(&page, "id=\"checks\"", "</section>").contains("<b>loss</b>"));
    let runs = between(&page, "id=\"runs\"", "</section>");
    assert_eq!(runs.matches("<code>01a20437-").count(), 2, "{runs}");
    assert!(runs.contains("<b>rehearsed</b>") && runs.contains("1,000 on old, 1,000 on new"));
    let excluded = between(&page, "id=\"excluded\"", "</section>");
    assert!(excluded.contains("publications lost, below 0.30 %"), "{excluded}");
    pool.excluded.clear();
    assert!(!pool.to_html().contains("id=\"excluded\""));
}

#[test]
fn a_run_without_anything_says_so() {
    let page = testing::empty().to_html();
    for said in ["Nothing was measured on any cluster.", "the detector is not proven"] {
        assert!(page.contains(said), "{said} is missing");
    }
    assert!(!page.contains("Over time") && !page.contains("Strata"));
}

#[test]
fn an_axis_begins_and_ends_at_round_numbers_and_marks_a_few() {
    let labels =
        |axis: Axis| -> Vec<String> { axis.ticks().into_iter().map(|t| t.label).collect() };
    let axis = Axis::millis([0.34, 12.0].into_iter());
    assert_eq!(labels(axis), ["1 ms", "10 ms"]);
    assert!(axis.at(0.34) > 0.0 && axis.at(12.0) < 1.0 && axis.at(1e9) <= 1.0);
    let wide = labels(Axis::millis([0.004, 1.5e6].into_iter()));
    assert_eq!(wide, ["0.01 ms", "1 ms", "100 ms", "10 s", "1,000 s"]);
    assert_eq!(labels(Axis::millis([100.0].into_iter())), ["100 ms", "200 ms"]);
    assert_eq!(
        labels(Axis::millis([300.0, 2_500.0].into_iter())),
        ["200 ms", "500 ms", "1 s", "2 s", "5 s"]
    );
    assert_eq!(labels(Axis::counts(0)), ["0", "1"]);
    assert_eq!(labels(Axis::counts(1_803)), ["0", "500", "1,000", "1,500", "2,000"]);
    let millions = ["0", "500,000", "1 M", "1.5 M", "2 M"];
    assert_eq!(labels(Axis::counts(1_803_000)), millions);
    assert_eq!(labels(Axis::counts(3_600_000_000)), ["0", "1 G", "2 G", "3 G", "4 G"]);
}

#[test]
fn time_is_marked_at_round_times_of_the_day() {
    let ticks = |start: &str, seconds: f64| -> Vec<String> {
        let mut report = testing::report();
        (report.started_at, report.publishing_seconds) = (start.into(), seconds);
        Time::of(&report).ticks().into_iter().map(|tick| tick.label).collect()
    };
    let labels = ticks("2026-02-03T04:05:06.500Z", 20.0);
    assert_eq!(labels, ["04:05:10", "04:05:15", "04:05:20", "04:05:25"]);
    assert_eq!(
        ticks("2026-02-03T23:50:00Z", 900.0),
        ["23:50", "23:52", "23:54", "23:56", "23:58", "00:00", "00:02", "00:04"]
    );
    assert_eq!(
        ticks("2026-02-27T12:00:00Z", 4.0 * 86_400.0),
        ["12:00", "02-28", "12:00", "03-01", "12:00", "03-02", "12:00", "03-03", "12:00"]
    );
}

#[test]
fn neighbouring_seconds_are_one_mark() {
    let mut report = testing::report();
    report.publishing_seconds = 10.0;
    let time = Time::of(&report);
    let seconds = [7.0, 2.0, 3.0, 3.0].into_iter();
    let bands = time.seconds(seconds, Look::Incident, |from, until| format!("{from} to {until}"));
    let shown: Vec<_> = bands.iter().map(|b| (b.from, b.until, b.title.as_str())).collect();
    assert_eq!(shown, [(0.2, 0.4, "2 to 3"), (0.7, 0.8, "7 to 7")]);
    // However many seconds there are, there is a bounded number of marks.
    report.publishing_seconds = 1e6;
    let seconds = (0..500_000).map(|n| f64::from(n) * 2.0);
    assert!(Time::of(&report).seconds(seconds, Look::Incident, |_, _| String::new()).len() <= 600);
}

#[test]
fn a_drain_shows_who_was_there_in_place_of_latencies() {
    let mut report = testing::drain();
    let page = report.to_html();
    let course = between(&page, "id=\"occupancy\"", "</section>");
    assert!(
        course.contains("Occupied channels over time: old 9 at most, 3 at the end"),
        "{course}"
    );
    assert_eq!(course.matches("<path class=\"line").count(), 2, "a line, and its key");
    assert!(!page.contains("id=\"latency\""));
    assert!(page.contains(">channels occupied</th><td>3</td>"));
    for cluster in report.clusters.values_mut() {
        cluster.occupancy = None;
    }
    assert!(!report.to_html().contains("id=\"occupancy\""));
}

#[test]
fn what_a_provider_announced_is_told_and_drawn_where_it_falls_into_the_run() {
    let mut report = testing::report();
    assert!(!report.to_html().contains("id=\"providers\""));
    let mut page = testing::provider("Elevated errors");
    let span = page.spans.remove(0);
    page.spans = [(-90.0, Some(-30.0)), (2.0, Some(5.0)), (4.0, None)]
        .map(|(from_second, until_second)| SpanReport { from_second, until_second, ..span.clone() })
        .into();
    report.providers.insert(ClusterRole::New, page);
    let html = report.to_html();
    let told = between(&html, "id=\"providers\"", "</section>");
    // Two that fall into the run, and the key.
    assert_eq!(told.matches("class=\"band announced\"").count(), 3, "{told}");
    assert_eq!(told.matches("<td role=\"cell\" data-label=\"What\">").count(), 3, "{told}");
}
