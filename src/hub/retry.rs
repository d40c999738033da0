//! How often to try, and how long to wait in between.

use std::time::Duration;

use super::Settings;

/// Counts failures in a row.
#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    tries: u32,
    first_pause: Duration,
}

/// A server that asks for more patience than this is asked again nevertheless.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

impl Backoff {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { failures: 0, tries: settings.tries, first_pause: settings.first_pause }
    }

    /// Something has worked: the count begins anew.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause before the next try, or `None` after the last one. `after` is a server's Retry-After, in seconds.
    pub(super) fn next_pause(&mut self, after: Option<u64>) -> Option<Duration> {
        self.failures += 1;
        if self.failures >= self.tries {
            return None;
        }
        let doubled = self.first_pause.saturating_mul(1 << (self.failures - 1).min(16));
        Some(after.map_or(doubled, Duration::from_secs).min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end() {
        let mut backoff = Backoff { failures: 0, tries: 4, first_pause: Duration::from_secs(1) };
        let seconds = |pause: Option<Duration>| pause.map(|pause| pause.as_secs());
        assert_eq!(seconds(backoff.next_pause(None)), Some(1));
        assert_eq!(seconds(backoff.next_pause(None)), Some(2));
        backoff.reset();
        assert_eq!(seconds(backoff.next_pause(None)), Some(1));
        assert_eq!(seconds(backoff.next_pause(Some(7))), Some(7));
        assert_eq!(seconds(backoff.next_pause(Some(1 << 40))), Some(300));
        assert_eq!(seconds(backoff.next_pause(None)), None);
    }
}
