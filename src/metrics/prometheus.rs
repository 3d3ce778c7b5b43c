//! What Prometheus' HTTP API answers to a query, and how to ask, without I/O.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Deserialize;

/// A series at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name and labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
    /// The instant: since the Unix epoch. Of a range, that of the last sample.
    pub at: Duration,
    /// Of a range, the instant of the first sample.
    pub since: Duration,
}

impl Series {
    /// A label that the scraped process gave. Where its target has one of that name as well,
    /// Prometheus keeps it under another.
    pub fn label(&self, name: &str) -> Option<&str> {
        let exported = self.labels.get(&format!("exported_{name}"));
        exported.or_else(|| self.labels.get(name)).map(String::as_str)
    }

    /// The labels of its target: those that the scraped process did not give. `own` are the names
    /// of those that it did.
    pub fn target(&self, own: &[&str]) -> BTreeMap<String, String> {
        let is_target = |name: &str| match name.strip_prefix("exported_") {
            Some(own_name) if own.contains(&own_name) => false,
            _ if name == "__name__" => false,
            _ => !own.contains(&name) || self.labels.contains_key(&format!("exported_{name}")),
        };
        self.labels
            .iter()
            .filter(|(n, _)| is_target(n))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect()
    }
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Instant>),
    Matrix(Vec<Range>),
}

/// Seconds since the Unix epoch, and the value as text.
type Sample = (f64, String);

#[derive(Deserialize)]
struct Instant {
    metric: BTreeMap<String, String>,
    /// What has none is a histogram of Prometheus' own kind.
    value: Option<Sample>,
}

#[derive(Deserialize)]
struct Range {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<Sample>,
}

/// Reads the answer to a query: a series for each of an instant, and the last sample of each of a
/// range.
///
/// # Errors
/// It is no such answer, or says what was wrong: in a few words.
pub fn read(body: &str) -> Result<Vec<Series>, String> {
    let answer: Answer =
        serde_json::from_str(body).map_err(|_| "the answer is not one of Prometheus".to_owned())?;
    if answer.status != "success" {
        return Err(answer.error);
    }
    let all: Vec<(BTreeMap<String, String>, f64, Sample)> = match answer.data {
        Some(Data::Vector(all)) => {
            let sample = |of: Instant| {
                let value = of.value?;
                Some((of.metric, value.0, value))
            };
            all.into_iter().filter_map(sample).collect()
        }
        Some(Data::Matrix(all)) => {
            let ends = |mut of: Range| Some((of.metric, of.values.first()?.0, of.values.pop()?));
            all.into_iter().filter_map(ends).collect()
        }
        None => return Err("the answer holds no series".to_owned()),
    };
    let time = |at: f64| {
        let at = Duration::try_from_secs_f64(at).map_err(|_| format!("{at} is no time"))?;
        // Times are in milliseconds, which a fraction in binary only comes near.
        Ok::<_, String>(Duration::from_millis((at.as_secs_f64() * 1e3).round() as u64))
    };
    let series = |(labels, since, (at, value)): (BTreeMap<String, String>, f64, Sample)| {
        let value = value.parse().map_err(|_| format!("{value} is no value"))?;
        Ok(Series { labels, value, at: time(at)?, since: time(since)? })
    };
    all.into_iter().map(series).collect()
}

/// The path and query that ask for all samples of the last `within`, of one series name.
pub fn ask_range(name: &str, within: Duration, now: Duration) -> String {
    target(&format!("{name}[{}s]", within.as_secs().max(1)), now)
}

/// The path and query that ask how often a value of a target changed between two instants.
pub fn ask_changes(
    name: &str,
    labels: &BTreeMap<String, String>,
    (since, until): (Duration, Duration),
) -> String {
    // The first sample is left out of a range that begins with it, as Prometheus 3 has it.
    let within = until.saturating_sub(since).as_millis() + 1;
    let selected = selector(&format!("__name__=\"{name}\""), labels);
    target(&format!("changes({selected}[{within}ms])"), until)
}

/// The path and query that ask for everything with this prefix that a target had at an instant.
pub fn ask_target(prefix: &str, labels: &BTreeMap<String, String>, at: Duration) -> String {
    target(&selector(&format!("__name__=~\"{prefix}.+\""), labels), at)
}

fn selector(name: &str, labels: &BTreeMap<String, String>) -> String {
    let mut selector = format!("{{{name}");
    for (name, value) in labels {
        // Writing to a String cannot fail.
        let _ = write!(selector, ",{name}=\"{}\"", escaped(value));
    }
    selector.push('}');
    selector
}

/// A value as a string literal of PromQL has it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn target(query: &str, at: Duration) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("query", query);
    form.append_pair("time", &format!("{}.{:03}", at.as_secs(), at.subsec_millis()));
    format!("/api/v1/query?{}", form.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_vector_has_a_sample_of_each_series_and_a_matrix_the_last_of_each() {
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","job":"a"},"value":[1764201234.567,"1"]},
            {"metric":{"__name__":"up","job":"b"},"value":[1764201234.567,"NaN"]}]}}"#;
        let read_all = read(vector).unwrap();
        assert_eq!(read_all[0].labels, labels(&[("__name__", "up"), ("job", "a")]));
        assert_eq!(
            (read_all[0].value, read_all[0].at),
            (1.0, Duration::from_millis(1_764_201_234_567))
        );
        assert!(read_all[1].value.is_nan());
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"job":"a"},"values":[[1,"1"],[2.001,"7"]]},{"metric":{},"values":[]}]}}"#;
        let read_all = read(matrix).unwrap();
        assert_eq!((read_all.len(), read_all[0].value), (1, 7.0));
        assert_eq!(read_all[0].at, Duration::from_millis(2_001));
        assert_eq!(read_all[0].since, Duration::from_secs(1));
    }

    #[test]
    fn what_is_no_answer_says_what_is_wrong() {
        for (body, why) in [
            ("<html>", "is not one of Prometheus"),
            ("{}", "is not one of Prometheus"),
            (r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#, "parse error"),
            (
                r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#,
                "is not one of Prometheus",
            ),
            (r#"{"status":"success"}"#, "no series"),
            (
                r#"{"status":"success","data":{"resultType":"vector","result":[
                    {"metric":{},"value":[1,"x"]}]}}"#,
                "x is no value",
            ),
            (
                r#"{"status":"success","data":{"resultType":"vector","result":[
                    {"metric":{},"value":[-1,"1"]}]}}"#,
                "-1 is no time",
            ),
        ] {
            let error = read(body).unwrap_err();
            assert!(error.contains(why), "{body}: {error}");
        }
    }

    #[test]
    fn a_targets_labels_are_told_from_those_that_the_process_gave() {
        let series = Series {
            labels: labels(&[
                ("__name__", "info"),
                ("instance", "a:1"),
                ("region", "of the target"),
                ("exported_region", "eu"),
                ("shard", "1"),
            ]),
            value: 1.0,
            at: Duration::ZERO,
            since: Duration::ZERO,
        };
        assert_eq!((series.label("region"), series.label("shard")), (Some("eu"), Some("1")));
        let target = series.target(&["region", "shard"]);
        assert_eq!(target, labels(&[("instance", "a:1"), ("region", "of the target")]));
    }

    #[test]
    fn whatever_a_label_holds_is_asked_for_as_text() {
        let asked = ask_target(
            "x_",
            &labels(&[("a", "1\"} or up{b=\"\\\n")]),
            Duration::from_millis(1_500),
        );
        let (path, form) = asked.split_once('?').unwrap();
        assert_eq!(path, "/api/v1/query");
        let pairs: BTreeMap<_, _> = url::form_urlencoded::parse(form.as_bytes()).collect();
        assert_eq!(pairs["query"], r#"{__name__=~"x_.+",a="1\"} or up{b=\"\\\n"}"#);
        assert_eq!(pairs["time"], "1.500");
        let at = Duration::from_secs;
        let asked = ask_changes("up", &labels(&[("a", "1")]), (at(5), at(7)));
        let (_, form) = asked.split_once('?').unwrap();
        let pairs: BTreeMap<_, _> = url::form_urlencoded::parse(form.as_bytes()).collect();
        assert_eq!(pairs["query"], r#"changes({__name__="up",a="1"}[2001ms])"#);
        let asked = ask_range("up", Duration::from_secs(60), Duration::from_secs(7));
        assert_eq!(asked, "/api/v1/query?query=up%5B60s%5D&time=7.000");
    }
}
