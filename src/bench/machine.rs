//! The machine that is measured.

use std::fs;
use std::time::Duration;

use crate::agent::vitals::{bytes, of_key};
use crate::report::bench::{ByScheme, Machine, Possible, Scarce};

/// Files that are open beside connections: standard streams, the runtime's own, reports.
const OTHER_FILES: u64 = 64;
/// The part of the machine's memory that connections may take.
const MEMORY_PART: f64 = 0.75;

/// This machine.
pub(super) fn here(descriptors_max: Option<u64>) -> Machine {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let memory = of_key(&read("/proc/meminfo"), "MemTotal").and_then(|text| bytes(&text));
    let version = read("/proc/sys/kernel/osrelease");
    Machine {
        processor: of_key(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
        cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
        memory_bytes: memory.unwrap_or_default(),
        system: format!("{} {}", std::env::consts::OS, version.trim()).trim().to_owned(),
        descriptors_max,
    }
}

/// How many connections a process on this machine could hold.
pub(super) fn possible(machine: &Machine, bytes: ByScheme) -> Possible {
    let files = machine.descriptors_max.map_or(u64::MAX, |max| max.saturating_sub(OTHER_FILES));
    let room = machine.memory_bytes as f64 * MEMORY_PART;
    let held = |bytes: f64| (room / bytes.max(1.0)) as u64;
    let limit = if files <= held(bytes.wss) { Scarce::Files } else { Scarce::Memory };
    Possible { ws: files.min(held(bytes.ws)), wss: files.min(held(bytes.wss)), limit }
}

/// The processor's time that this process has taken.
pub(super) fn cpu_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

/// Bytes of this process that are in memory; `None` where the system does not tell.
pub(super) fn resident_bytes() -> Option<u64> {
    bytes(&of_key(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_end_where_files_or_memory_do() {
        let machine = |descriptors_max, memory_bytes| Machine {
            processor: String::new(),
            cores: 2,
            memory_bytes,
            system: String::new(),
            descriptors_max,
        };
        let bytes = ByScheme { ws: 1_000.0, wss: 2_000.0 };
        let few = possible(&machine(Some(1_064), 1 << 30), bytes);
        assert_eq!(few, Possible { ws: 1_000, wss: 1_000, limit: Scarce::Files });
        let small = possible(&machine(None, 1_000_000), bytes);
        assert_eq!(small, Possible { ws: 750, wss: 375, limit: Scarce::Memory });
    }
}
