//! The command line. No behaviour.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use uuid::Uuid;

use crate::agent::Task;
use crate::model::fault::Fault;
use crate::model::{MemberRole, Shard};
use crate::verify::parity::{Probe, Row};

/// Proves that a live migration between two Pusher Channels clusters loses no message.
#[derive(Debug, Parser)]
#[command(name = "pusher-canary", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  GO; check: sound; parity: no difference, or accepted ones only; history: shown, but for
     `history show`, which ends as the run did; schema, completions: printed; bench: measured
  1  NO-GO; parity: differs
  2  something must be changed: command line, scenario, key or secret, budget; nothing was measured
  3  INCONCLUSIVE: too little or tainted evidence, or a cluster that cannot be reached;
     parity: something could not be tested
  4  the agent itself failed";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole main job against an embedded pair of clusters: nothing to set up
    Rehearse(RehearseArgs),
    /// Say what a scenario will do, prove and cost; contacts nobody
    Check(CheckArgs),
    /// Run a scenario once and end in a verdict: the canary, and the gate before a cutover
    Run(RunArgs),
    /// Run a scenario without an end: scrape target, live page, and a verdict that is an alarm
    Watch(WatchArgs),
    /// Compare settings and behaviour of the two apps, point by point
    // The names of baselines would take the scenario for one of theirs.
    #[command(override_usage = "pusher-canary parity [OPTIONS] <SCENARIO> [--baseline <FILE>...]")]
    Parity(ParityArgs),
    /// Judge a recorded run again, also one that was killed, and render its report
    Report(RecordArgs),
    /// Judge finished runs together, without new traffic: the gate before a cutover
    Gate(GateArgs),
    /// Measure what this program can do on this machine: the floor below which its figures mean
    /// nothing
    Bench(BenchArgs),
    /// Show the runs that were kept, and how available each cluster was, day by day
    History(HistoryArgs),
    /// Print the JSON Schema of what is read or written, for editors and other programs
    Schema(SchemaArgs),
    /// Print a script that completes this program's command line in a shell
    Completions(CompletionsArgs),
}

/// `bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Write the figures as JSON to this file; - is stdout, and the table then goes to stderr
    #[arg(long, value_name = "FILE")]
    pub report_json: Option<PathBuf>,
    /// Measure little, to see that it works: the figures are of no use
    #[arg(long)]
    pub brief: bool,
    /// Print neither progress nor the table
    #[arg(short, long)]
    pub quiet: bool,
    /// Do a part of a measurement, which says on standard input what to do
    #[arg(long, hide = true)]
    pub part: bool,
}

/// Flags that every command has.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// Log more: -v what happens, -vv every detail
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How the log is written
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What changes a scenario.
#[derive(Clone, Debug, Args)]
pub struct OverrideArgs {
    /// Publish for this long instead of the scenario's duration, such as 70s
    #[arg(long, value_parser = parse_publishing_time)]
    pub duration: Option<Duration>,
    /// Publish so many canary events per second over HTTP instead of the scenario's rate
    #[arg(long, value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// End as soon as the proof stands or has failed; the duration is the longest that it may take
    #[arg(long)]
    pub until_proven: bool,
    /// Seed of everything random, instead of the scenario's or a new one
    #[arg(long)]
    pub seed: Option<u64>,
}

/// Where the report goes.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Write the report as JSON to this file; - is stdout, and the table then goes to stderr
    #[arg(long, value_name = "FILE")]
    pub report_json: Option<PathBuf>,
    /// Write the report as an HTML page to this file, which loads nothing; - is stdout
    #[arg(long, value_name = "FILE")]
    pub report_html: Option<PathBuf>,
    /// Write the report as JUnit XML to this file, for what shows test results; - is stdout
    #[arg(long, value_name = "FILE")]
    pub report_junit: Option<PathBuf>,
    /// Write the report as Markdown to this file, for a comment or a job's summary; - is stdout
    #[arg(long, value_name = "FILE")]
    pub report_markdown: Option<PathBuf>,
    /// Print neither progress nor the table
    #[arg(short, long)]
    pub quiet: bool,
}

/// Where the outcome goes.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// The reports.
    #[command(flatten)]
    pub report: ReportArgs,
    /// Record the run in this new file, from which `report` judges it again; - is stdout
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Serve /metrics on this address during the run, such as 127.0.0.1:9184
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Who may read what is served, and how.
    #[command(flatten)]
    pub web: WebArgs,
}

/// Who may read what is served, and how.
#[derive(Clone, Debug, Args)]
pub struct WebArgs {
    /// Serve with TLS or for a password, by this file in the form that Prometheus' exporters share;
    /// needed for any address but those of this machine alone
    #[arg(long, value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
}

/// `rehearse`.
#[derive(Debug, Args)]
pub struct RehearseArgs {
    /// The scenario; a built-in one by default. Its clusters are ignored
    pub scenario: Option<PathBuf>,
    /// Break a cluster on purpose, such as new:drop=0.02; repeatable
    #[arg(long, value_name = "FAULT", long_help = FAULT_HELP)]
    pub fault: Vec<Fault>,
    /// Write each fault done as a JSON line to this file
    #[arg(long, value_name = "FILE")]
    pub fault_log: Option<PathBuf>,
    /// Only keep the pair up and print its endpoints and credentials, until a signal
    #[arg(long, conflicts_with_all = [
        "scenario", "report_json", "report_html", "report_junit", "report_markdown", "journal",
        "listen", "web_config_file", "duration", "rate",
    ])]
    pub hold: bool,
    /// With --hold: write the certificate that TLS clients must trust to this file
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// What changes the scenario.
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Where the outcome goes.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Make a task panic, to see that this is found
    #[arg(long, hide = true)]
    pub panic_in: Option<Task>,
}

const FAULT_HELP: &str = "\
Break a cluster on purpose; repeatable. CLUSTER is old or new, P a chance from 0 to 1.

  Each delivery to a client:   drop=P  duplicate=P  delay=P[@DURATION]  reorder=P  corrupt=P
  Each publish request:        refuse=P  lose-answer=P  error-after=P
  Each event of a webhook:     lose-webhook=P
  Each connection:             close[=P][@CODE]  silent[=P][@DURATION]

Examples: new:drop=0.02   old:delay=0.1@800ms   new:close@4100";

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The scenario
    pub scenario: PathBuf,
    /// Also try each endpoint and credential once
    #[arg(long)]
    pub connect: bool,
    /// What changes the scenario.
    #[command(flatten)]
    pub overrides: OverrideArgs,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The scenario
    pub scenario: PathBuf,
    /// What changes the scenario.
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Which part of it is this process's.
    #[command(flatten)]
    pub fleet: FleetArgs,
    /// The id of the run of which a shard is a part: a random UUID, as uuidgen makes it, that is
    /// the same for all of them, and for no other run
    #[arg(long, value_name = "UUID", env = "PUSHER_CANARY_RUN", hide_env_values = true)]
    #[arg(value_parser = parse_run)]
    pub run: Option<Uuid>,
    /// Of this shard (all of the run without --shard), publish alone, waiting until a witness
    /// listens; or witness alone, waiting until the publisher of the same --run and shard is heard
    #[arg(long, value_name = "publish|witness|both", default_value = "both")]
    pub role: MemberRole,
    /// Where the outcome goes.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Where the run is kept.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// What it leaves for Prometheus.
    #[command(flatten)]
    pub leave: LeaveArgs,
}

/// Which part of a run is this process's, where several do it together.
#[derive(Clone, Debug, Args)]
pub struct FleetArgs {
    /// Take only this part of the channels, and of the rate: 0/4 is the first of four
    #[arg(long, value_name = "I/N", conflicts_with = "shards")]
    pub shard: Option<Shard>,
    /// The same, of so many parts the one that JOB_COMPLETION_INDEX names, as Kubernetes sets it
    /// for each pod of an Indexed Job
    #[arg(long, value_name = "N")]
    pub shards: Option<u32>,
    /// Where this process is, for metrics and the report
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    #[arg(value_parser = parse_region)]
    pub region: String,
}

/// What a run leaves for Prometheus.
#[derive(Clone, Debug, Args)]
pub struct LeaveArgs {
    /// Push the run's figures to this Pushgateway at the end, such as http://127.0.0.1:9091, in the
    /// group of job pusher-canary and the scenario's name
    #[arg(long, value_name = "URL")]
    pub pushgateway: Option<String>,
    /// One more label of that group; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_group, requires = "pushgateway")]
    pub pushgateway_group: Vec<(String, String)>,
    /// Before the run, delete what an earlier one left in that group: a run that comes to nothing
    /// leaves nothing
    #[arg(long, requires = "pushgateway")]
    pub pushgateway_delete: bool,
    /// Write the run's figures to this file at the end, as the node exporter's textfile collector
    /// reads them; it is replaced as a whole
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
    /// Serve /metrics at --listen for so long after the end, or until a signal, so that the last
    /// scrape is whole
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    #[arg(requires = "listen")]
    pub linger: Option<Duration>,
}

fn parse_run(text: &str) -> Result<Uuid, &'static str> {
    text.parse().map_err(|_| "must be a UUID, as uuidgen makes it")
}

/// What a label of a metric and a line of a report can hold without being taken for another.
fn parse_region(text: &str) -> Result<String, &'static str> {
    if text != text.trim() || text.chars().any(char::is_control) {
        return Err("must not begin or end with a blank, nor hold control characters");
    }
    Ok(text.to_owned())
}

fn parse_group(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    let mut letters = key.chars();
    let is_first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !is_first || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err("must begin with the name of a label: letters, digits and _".to_owned());
    }
    if matches!(key, "job" | "scenario") {
        return Err(format!("{key} is a label of the group already"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The scenario; it is read again on SIGHUP and when it changes
    pub scenario: PathBuf,
    /// Judge what lies within this time: an alarm, and no proof
    #[arg(long, value_name = "DURATION", value_parser = parse_window, default_value = "10m")]
    pub window: Duration,
    /// Publish so many canary events per second over HTTP instead of the scenario's rate
    #[arg(long, value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Seed of everything random, instead of the scenario's or a new one
    #[arg(long)]
    pub seed: Option<u64>,
    /// Which part of it is this process's.
    #[command(flatten)]
    pub fleet: FleetArgs,
    /// Serve the page, /metrics, /api/verdict and more on this address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9184")]
    pub listen: SocketAddr,
    /// Who may read what is served, and how.
    #[command(flatten)]
    pub web: WebArgs,
    /// Where the report on the last window goes, when a signal has ended the watch.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// `parity`.
#[derive(Debug, Args)]
pub struct ParityArgs {
    /// The scenario, of which `clusters`, `parity`, `webhooks` and `budget` count
    pub scenario: PathBuf,
    /// Try these alone; repeatable, or with commas
    #[arg(long, value_name = "PROBE", value_parser = parse_probe, value_delimiter = ',')]
    pub only: Vec<Probe>,
    /// Leave these out; repeatable, or with commas
    #[arg(long, value_name = "PROBE", value_parser = parse_probe, value_delimiter = ',')]
    pub skip: Vec<Probe>,
    /// Try what takes minutes as well
    #[arg(long)]
    pub slow: bool,
    /// Compare with an earlier matrix as well, which --report-json wrote; repeatable
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub baseline: Vec<PathBuf>,
    /// Where the outcome goes.
    #[command(flatten)]
    pub output: ReportArgs,
}

/// `report`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// The journal that a run wrote
    pub journal: PathBuf,
    /// Where the report goes.
    #[command(flatten)]
    pub output: ReportArgs,
}

/// `gate`.
#[derive(Debug, Args)]
pub struct GateArgs {
    /// A finished run: its report as JSON, or its journal; repeatable
    #[arg(long, value_name = "FILE", required_unless_present = "prometheus", num_args = 1..)]
    pub report: Vec<PathBuf>,
    /// Judge the agents that did one run together, by what this Prometheus scraped of them last,
    /// such as http://127.0.0.1:9090
    #[arg(long, value_name = "URL", requires = "agents")]
    #[arg(conflicts_with_all = ["report", "no_history", "history"])]
    pub prometheus: Option<String>,
    /// How many agents there must be
    #[arg(long, value_name = "N", requires = "prometheus")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub agents: Option<u16>,
    /// Which run they did, where Prometheus knows several
    #[arg(long, value_name = "UUID", requires = "prometheus", value_parser = parse_run)]
    pub run: Option<Uuid>,
    /// Runs that ended longer ago are stale, and prove nothing of today
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    #[arg(default_value = "24h")]
    pub max_age: Duration,
    /// Leave a run out, by the beginning of its id, and say why; repeatable
    #[arg(long, value_name = "RUN=REASON", value_parser = parse_exclusion)]
    pub exclude: Vec<(String, String)>,
    /// Judge rehearsals as if their clusters were yours, to try a pipeline
    #[arg(long)]
    pub rehearsals: bool,
    /// Judge these runs alone, and not those of their scenario that the history holds as well
    #[arg(long, conflicts_with = "history")]
    pub no_history: bool,
    /// The history, if it is not $XDG_STATE_HOME/pusher-canary/history.sqlite
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Where the outcome goes.
    #[command(flatten)]
    pub output: ReportArgs,
}

/// Where a run is kept.
#[derive(Clone, Debug, Args)]
pub struct KeepArgs {
    /// Keep the run in this history, not in $XDG_STATE_HOME/pusher-canary/history.sqlite
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Keep the run in no history
    #[arg(long, conflicts_with = "history")]
    pub no_history: bool,
}

/// `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// What to show.
    #[command(subcommand)]
    pub command: HistoryCommand,
    /// The history, if it is not $XDG_STATE_HOME/pusher-canary/history.sqlite
    #[arg(long, global = true, value_name = "FILE")]
    pub history: Option<PathBuf>,
}

/// Characters of a run's id that tell it from every other run of its millisecond's neighbourhood.
const RUN_PREFIX_MIN: usize = 13;

fn parse_exclusion(text: &str) -> Result<(String, String), String> {
    let (run, reason) = text.split_once('=').ok_or("must be RUN=REASON")?;
    // Less of it is the time of day alone, and would mean whichever run is there.
    let is_id = run.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if !is_id || run.chars().count() < RUN_PREFIX_MIN {
        let message = format!(
            "must begin with a run's id, or with the first {RUN_PREFIX_MIN} characters of one or more"
        );
        return Err(message);
    }
    if reason.trim().is_empty() {
        return Err("must say why the run is left out".to_owned());
    }
    Ok((run.to_ascii_lowercase(), reason.trim().to_owned()))
}

/// What to show of the history.
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// List past runs, the newest first
    List {
        /// Only runs of the scenario with this name
        #[arg(long, value_name = "NAME")]
        scenario: Option<String>,
        /// List at most so many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Print the report of a past run, and end with the exit code of its verdict
    Show {
        /// The run's id, or enough of its beginning
        run: String,
        /// Where the report goes.
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Show how available each cluster was, by component and day; unknown below 100 samples
    Availability(AvailabilityArgs),
}

/// `history availability`.
#[derive(Debug, Args)]
pub struct AvailabilityArgs {
    /// So many days up to today, in UTC
    #[arg(
        long, value_name = "N", default_value_t = 90,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(DAYS_MAX)),
    )]
    pub days: u16,
    /// Only runs of the scenario with this name
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// Write it as an HTML page to this file; - is stdout, and the text then goes to stderr
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Most days that can be shown at once.
const DAYS_MAX: u16 = 366;

/// `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// What the schema is of
    pub of: SchemaOf,
}

/// What has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// The TOML file that says what a run does
    Scenario,
    /// What --report-json writes
    Report,
    /// What `gate --report-json` writes
    Gate,
    /// What `parity --report-json` writes
    Parity,
    /// What `bench --report-json` writes
    Bench,
    /// What `watch` serves at /api/verdict
    Verdict,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

fn parse_probe(text: &str) -> Result<Probe, String> {
    let known = Probe::ALL.map(Probe::as_str);
    let probe = Probe::ALL.into_iter().find(|probe| probe.as_str() == text);
    let row = Row::ALL.into_iter().find(|row| row.as_str() == text);
    probe.ok_or_else(|| match row {
        Some(row) => format!("is a row; the probe {} finds it", row.probe().as_str()),
        None => format!("no such probe; use one of {}", known.join(", ")),
    })
}

fn parse_publishing_time(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(7 * 24 * 3_600));
    if duration < least || duration > most {
        return Err("must be between 1s and 7days".to_owned());
    }
    Ok(duration)
}

fn parse_window(text: &str) -> Result<Duration, String> {
    let window = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let (least, most) = (Duration::from_secs(10), Duration::from_secs(7 * 24 * 3_600));
    if window < least || window > most {
        return Err("must be between 10s and 7days".to_owned());
    }
    Ok(window)
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "must be a number of events per second".to_owned())?;
    if (0.01..=100_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("must be between 0.01 and 100000 events per second".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
