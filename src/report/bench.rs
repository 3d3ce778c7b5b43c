//! What the agent can do on a machine.

use std::fmt::Write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::grouped;
use super::{SCHEMA, Tool};

/// What `bench` measured: what `bench --report-json` writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bench {
    /// The version of this form.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// Whether it was measured too briefly to be of use.
    #[serde(default)]
    pub brief: bool,
    /// What measured itself.
    pub tool: Tool,
    /// Verified deliveries a second over the frames of a loop that only reads and counts them.
    pub ratio_to_raw: f64,
    /// Over those of a loop that parses each twice by borrowing, and counts a latency.
    pub ratio_to_borrowed: f64,
    /// Over those of a loop that parses each twice into values of its own, and counts a latency.
    pub ratio_to_owned: f64,
    /// Deliveries a second from frame to tally, everything counted: one connection, one core.
    pub verified_per_second: f64,
    /// Frames a second that are only read.
    pub raw_per_second: f64,
    /// From the sender's writing to the agent's stamp, at 1,000 deliveries a second.
    pub added_latency_ms: Percentiles,
    /// At 50,000 a second.
    pub added_latency_busy_ms: Percentiles,
    /// Resident bytes of an open connection of a witness; `null` where the system does not tell.
    pub bytes_per_connection: Option<ByScheme>,
    /// Connections that were opened a second; `null` where memory is not told.
    pub connections_per_second: Option<ByScheme>,
    /// Connections that this process could hold open.
    pub connections_possible: Option<Possible>,
    /// Events a second that each of two clusters on this machine took, at the same time.
    pub publish_per_second: ByRoute,
    /// The machine.
    pub machine: Machine,
}

/// Two percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 99 %.
    pub p99: f64,
}

/// By whether a connection has TLS.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ByScheme {
    /// Without.
    pub ws: f64,
    /// With it.
    pub wss: f64,
}

/// How many connections are possible, and what keeps there from being more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Possible {
    /// Without TLS.
    pub ws: u64,
    /// With it.
    pub wss: u64,
    /// What is used up first.
    pub limit: Scarce,
}

/// What connections use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scarce {
    /// Files that the process may open.
    Files,
    /// The machine's memory.
    Memory,
}

/// By how events are published.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ByRoute {
    /// One in each request.
    pub trigger: f64,
    /// Ten in each request.
    pub batch: f64,
}

/// A machine, as far as its system tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// The processor's name; empty where it is not told.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: u64,
    /// Memory, in bytes; 0 where it is not told.
    pub memory_bytes: u64,
    /// The system and its version.
    pub system: String,
    /// Files that this process may open; `null` where there is no limit.
    pub descriptors_max: Option<u64>,
}

impl Bench {
    /// As JSON with a newline at its end.
    pub fn to_json(&self) -> String {
        // Every map key is a string, so this cannot fail.
        super::json::pretty(self)
    }

    /// For a terminal.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Self { tool, machine, .. } = self;
        let Machine { processor, cores, memory_bytes, system, .. } = machine;
        let memory = *memory_bytes as f64 / f64::from(1 << 30);
        writeln!(out, "{} {} on {system}", tool.name, tool.version)?;
        writeln!(out, "{processor}, {cores} cores, {memory:.0} GiB")?;
        if self.brief {
            writeln!(out, "\nmeasured briefly, to see that it works: these figures are of no use")?;
        }
        writeln!(out, "\nreceiving, on one core")?;
        row(out, "verified deliveries", &per_second(self.verified_per_second))?;
        row(out, "frames only read", &per_second(self.raw_per_second))?;
        row(out, "verified against only read", &format!("{:.2}", self.ratio_to_raw))?;
        row(out, "  against parsed by borrowing", &format!("{:.2}", self.ratio_to_borrowed))?;
        row(out, "  against parsed into values", &format!("{:.2}", self.ratio_to_owned))?;
        writeln!(out, "\nlatency that is the agent's own, p50 and p99")?;
        row(out, "at 1,000 deliveries a second", &percentiles(self.added_latency_ms))?;
        row(out, "at 50,000 deliveries a second", &percentiles(self.added_latency_busy_ms))?;
        writeln!(out, "\nconnections, ws and wss")?;
        if let Some(ByScheme { ws, wss }) = self.bytes_per_connection {
            let kib = |bytes: f64| format!("{:.1} KiB", bytes / 1024.0);
            row(out, "memory of each", &format!("{}, {}", kib(ws), kib(wss)))?;
        }
        if let Some(ByScheme { ws, wss }) = self.connections_per_second {
            row(out, "opened", &format!("{}, {}", per_second(ws), per_second(wss)))?;
        }
        if let Some(Possible { ws, wss, limit }) = self.connections_possible {
            let by = match limit {
                Scarce::Files => "by the limit on open files",
                Scarce::Memory => "by memory",
            };
            row(out, "possible", &format!("{}, {} ({by})", grouped(ws), grouped(wss)))?;
        }
        writeln!(out, "\nevents published to each of two clusters on this machine")?;
        row(out, "by trigger", &per_second(self.publish_per_second.trigger))?;
        row(out, "by batch", &per_second(self.publish_per_second.batch))
    }
}

fn row(out: &mut String, label: &str, value: &str) -> std::fmt::Result {
    writeln!(out, "  {label:<32}{value}")
}

/// A rate, rounded down to three digits: no other can be seen twice.
fn per_second(rate: f64) -> String {
    let step = 10_f64.powf((rate.max(1.0).log10().floor() - 2.0).max(0.0));
    format!("{} /s", grouped(((rate / step).floor() * step) as u64))
}

fn percentiles(Percentiles { p50, p99 }: Percentiles) -> String {
    format!("{p50:.2} ms, {p99:.2} ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_three_digits_and_never_more_than_it_was() {
        for (rate, shown) in [
            (0.0, "0 /s"),
            (7.9, "7 /s"),
            (999.9, "999 /s"),
            (1_234.0, "1,230 /s"),
            (1_499_999.0, "1,490,000 /s"),
        ] {
            assert_eq!(per_second(rate), shown);
        }
    }
}
