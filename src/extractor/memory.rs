//! How much memory pictures may take while they are decoded.

use std::{
    fs,
    sync::{Arc, OnceLock},
};

use pillow_exact::Budget;

/// The budget of all pictures of this process: 2 GiB, or a quarter of what the machine or its container has, if that is less.
pub fn shared_budget() -> Arc<Budget> {
    const MOST: u64 = 2 << 30;
    static SHARED: OnceLock<Arc<Budget>> = OnceLock::new();
    SHARED.get_or_init(|| Budget::new(memory().map_or(MOST, |bytes| MOST.min(bytes / 4)))).clone()
}

/// The memory of the machine, or of the container if it has less; none where that cannot be told.
fn memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let container = limits.iter().find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    machine.into_iter().chain(container).min()
}

/// What `/proc/meminfo` says.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read() {
        assert_eq!(total("MemTotal:       24593248 kB\nMemFree: 1 kB\n"), Some(24_593_248 << 10));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        if cfg!(target_os = "linux") {
            assert!(memory().is_some_and(|bytes| bytes > 64 << 20));
        }
    }
}
