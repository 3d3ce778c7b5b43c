//! Measures the instrument: stalls of the runtime, steps of the wall clock, file descriptors left.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::{Clock, RunTime};
use crate::scenario::file::InstrumentLimits;
use crate::verify::fact::Fact;
use crate::verify::taint::{TaintReason, taints};

/// How often a stall is looked for.
const STALL_PERIOD: Duration = Duration::from_millis(10);
/// How often the wall clock is compared and descriptors are counted.
const SLOW_PERIOD: Duration = Duration::from_secs(1);

/// Raises the limit on open files to what the system lets this process have: shells give far less
/// by default. Where that is refused, the plan is compared with the limit as it is.
pub fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        // Where there is no highest limit, macOS allows no more than this.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(10_240), maximum });
    }
}

/// The limit on open files of this process; `None` where there is none.
pub fn descriptors_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Open files of this process; `None` where the system does not tell.
pub fn descriptors_open() -> Option<u64> {
    // Only Linux has this folder; elsewhere the sign of life is left out, not guessed.
    std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64)
}

/// Bytes of memory that this process may still take: what the machine has left, or its control
/// group if that is less. `None` where the system does not tell.
pub fn memory_available() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = of_key(&read("/proc/meminfo")?, "MemAvailable").and_then(|text| bytes(&text))?;
    let group = || {
        let groups = read("/proc/self/cgroup")?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
        let file = |name: &str| read(&format!("/sys/fs/cgroup{own}/{name}"));
        left_of_group(&file("memory.max")?, &file("memory.current")?, &file("memory.stat")?)
    };
    Some(group().map_or(machine, |group| machine.min(group)))
}

/// What a control group has left, by the files in which Linux says so. What it keeps of files is
/// given up when it is needed. `None` where it has no bound.
fn left_of_group(max: &str, current: &str, stat: &str) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let files = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let used = number(current)?.saturating_sub(files.and_then(number).unwrap_or(0));
    Some(number(max)?.saturating_sub(used))
}

/// The value of the first line `key : value`, as Linux writes what it knows.
pub fn of_key(text: &str, key: &str) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = pairs.find(|(name, _)| name.trim() == key)?;
    Some(value.trim().to_owned())
}

/// A size as it is written there: `123 kB`.
pub fn bytes(text: &str) -> Option<u64> {
    text.strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1_024)
}

/// Measures until `stop`.
pub async fn run(
    clock: Clock,
    limits: InstrumentLimits,
    facts: mpsc::Sender<Fact>,
    stop: CancellationToken,
) {
    let mut slow_last = clock.now();
    let mut slow_due = slow_last.after(SLOW_PERIOD);
    let mut lead = clock.wall_lead();
    loop {
        let due = clock.now().after(STALL_PERIOD);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(clock.instant(due).into()) => {}
        }
        let now = clock.now();
        let stall = now.since(due);
        let mut stated = Vec::new();
        if stall > limits.runtime_stall_max {
            // What was under way when it began waits to be read as well.
            let begun = RunTime(due.0.saturating_sub(stall.min(SLOW_PERIOD).as_nanos() as u64));
            stated.extend(taints(begun, now, TaintReason::RuntimeStall));
        }
        if now >= slow_due {
            slow_due = now.after(SLOW_PERIOD);
            let since = std::mem::replace(&mut slow_last, now);
            let moved = clock.wall_lead();
            if moved.abs_diff(lead) > limits.clock_step_max.as_nanos() {
                stated.extend(taints(since, now, TaintReason::ClockStep));
            }
            lead = moved;
            // Thousands of open files take a while to count, which must be no stall of the runtime.
            let open = tokio::task::spawn_blocking(descriptors_open).await.unwrap_or_default();
            let share =
                open.zip(descriptors_max()).map_or(0.0, |(open, max)| open as f64 / max as f64);
            if share > limits.file_descriptors_max {
                stated.extend(taints(since, now, TaintReason::FileDescriptors));
            }
        }
        // Behind the taints: it says that there are no others.
        stated.push(Fact::Vouched(now, stall));
        for fact in stated {
            // The collector outlives this task; if it is gone, the run has failed already.
            let _ = facts.send(fact).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_as_linux_writes_it() {
        let text = "Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n";
        assert_eq!(of_key(text, "VmRSS").and_then(|text| bytes(&text)), Some(2 << 20));
        assert_eq!(of_key(text, "MemTotal"), None);
    }

    #[test]
    fn what_a_group_keeps_of_files_is_left_to_be_taken() {
        let stat = "anon 300\nfile 650\ninactive_file 600\nactive_file 50\n";
        assert_eq!(left_of_group("1000\n", "950\n", stat), Some(650));
        assert_eq!(left_of_group("1000\n", "950\n", ""), Some(50));
        assert_eq!(left_of_group("max\n", "950\n", stat), None);
    }
}
