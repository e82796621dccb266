//! How long to wait before the next try.

use std::time::Duration;

/// Doubles from a tenth of a second to two seconds: a suite that creates what is awaited takes
/// seconds, and what has been away for long is asked for often enough.
pub(crate) struct Backoff(Duration);

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(2);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(FIRST)
    }

    /// It worked: the next failure begins anew.
    pub(crate) fn reset(&mut self) {
        self.0 = FIRST;
    }

    /// The time to wait now.
    pub(crate) fn step(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(LAST);
        now
    }

    /// Waits.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.step()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, LAST};

    #[test]
    fn waits_longer_and_longer_up_to_a_bound() {
        let mut backoff = Backoff::new();
        let waits: Vec<u128> = (0..7).map(|_| backoff.step().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000]);
        backoff.reset();
        assert!(backoff.step() < LAST);
    }
}
