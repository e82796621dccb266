//! The middle of numbers, and how sure it is.

use std::time::Duration;

/// The middle of some numbers with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Middle {
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
}

impl Middle {
    /// By order statistics: how many of *n* numbers lie below the true median is binomial, whatever
    /// their distribution. A few measurements that another process disturbed change nothing.
    pub(super) fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let n = numbers.len();
        let at = |i: usize| numbers.get(i).copied().unwrap_or(f64::NAN);
        // The largest rank whose binomial tail is at most 2.5 %.
        let (mut term, mut tail, mut rank) = (0.5_f64.powi(n as i32), 0.0, 0);
        while rank < n / 2 && tail + term <= 0.025 {
            tail += term;
            term *= (n - rank) as f64 / (rank + 1) as f64;
            rank += 1;
        }
        let low = rank.saturating_sub(1);
        Self {
            low: at(low),
            median: (at(n.saturating_sub(1) / 2) + at(n / 2)) / 2.0,
            high: at(n.saturating_sub(low + 1)),
        }
    }

    /// Whether the whole interval lies between the two.
    pub(super) fn inside(&self, low: f64, high: f64) -> bool {
        low <= self.low && self.high <= high
    }
}

/// The time in the middle.
pub(super) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Middle;

    #[test]
    fn ranks_are_those_of_the_binomial_tables() {
        // For 30 numbers the tables say: the 10th and the 21st.
        let middle = Middle::of((1..=30).map(f64::from).collect());
        assert_eq!((middle.low, middle.median, middle.high), (10.0, 15.5, 21.0));
        let middle = Middle::of((1..=6).map(f64::from).collect());
        assert_eq!((middle.low, middle.high), (1.0, 6.0));
        assert!(Middle::of(vec![1.0]).inside(0.98, 1.02));
    }
}
