//! How much memory there is, for pictures while they are decoded and for a forward pass.

use std::{
    fs,
    sync::{Arc, OnceLock},
};

use pillow_exact::Budget;

use crate::{
    model::{ModelError, VisionConfig},
    output::readable_size,
};

/// The budget of all pictures of this process: 2 GiB, or a quarter of what the machine or its container has, if that is less.
pub fn shared_budget() -> Arc<Budget> {
    const MOST: u64 = 2 << 30;
    static SHARED: OnceLock<Arc<Budget>> = OnceLock::new();
    SHARED.get_or_init(|| Budget::new(memory().map_or(MOST, |bytes| MOST.min(bytes / 4)))).clone()
}

/// Refuses an input of the tower for which the memory is not there: to ask the system for it would end the process.
///
/// # Errors
/// As said; `outputs` are the bytes of the tensors that are kept from one block to the next.
pub(super) fn check_memory(
    config: &VisionConfig,
    height: usize,
    width: usize,
    outputs: u64,
) -> Result<(), ModelError> {
    /// So much is not worth a question.
    const LITTLE: u64 = 1 << 28;
    let tokens = config.prefix_tokens() + (height / config.patch_size) * (width / config.patch_size);
    // What lies side by side in the attention of a block, in rows of the width: the residual before and after, and the first of these
    // normed, its queries, keys and values, and what they are mixed to. The pixels lie there twice.
    let numbers = 7 * tokens as u64 * config.hidden_size as u64 + 2 * 3 * height as u64 * width as u64;
    let needed = (4 * numbers).saturating_add(outputs);
    if needed <= LITTLE {
        return Ok(());
    }
    match available().filter(|&available| needed > available) {
        None => Ok(()),
        Some(available) => Err(ModelError::Memory {
            height,
            width,
            tokens,
            needed: readable_size(needed),
            available: readable_size(available),
        }),
    }
}

/// What the process may still take, as the system says; none where that cannot be told.
fn available() -> Option<u64> {
    let free = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let [free, swap] = ["MemAvailable", "SwapFree"].map(|name| field(&text, name));
        Some(free? + swap.unwrap_or(0))
    });
    let own = fs::read_to_string("/proc/self/limits").ok().and_then(|text| address_space(&text));
    free.into_iter().chain(container()).chain(own).min()
}

/// The memory of the machine, or of the container if it has less; none where that cannot be told.
fn memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| field(&text, "MemTotal"));
    machine.into_iter().chain(container()).min()
}

/// What the container may take.
fn container() -> Option<u64> {
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    limits.iter().find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok())
}

/// What `/proc/meminfo` says of a kind of memory.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// The addresses that a process may use, as `/proc/self/limits` says: what `ulimit -v` sets.
fn address_space(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read() {
        let text = "MemTotal:       24593248 kB\nMemFree: 1 kB\n";
        assert_eq!(field(text, "MemTotal"), Some(24_593_248 << 10));
        assert_eq!(field(text, "MemAvailable"), None);
        let text = "Limit   Soft Limit   Hard Limit   Units\nMax address space         1024000    unlimited    bytes\n";
        assert_eq!(address_space(text), Some(1_024_000));
        assert_eq!(address_space(&text.replace("1024000", "unlimited")), None);
        if cfg!(target_os = "linux") {
            assert!(memory().is_some_and(|bytes| bytes > 64 << 20));
            assert!(available().is_some_and(|bytes| bytes > 0));
        }
    }
}
