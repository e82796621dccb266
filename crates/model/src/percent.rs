//! The one definition of a percentage: covered over total, rounded **down** to one decimal.
//!
//! Rounding down means that `100.0` is printed only when everything is covered, and a gate at
//! 80 never passes at 79.96.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many of how many. The unit (statements, lines, functions…) is named by its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Ratio {
    /// The numerator: things executed at least once.
    pub covered: u64,
    /// The denominator: all things.
    pub total: u64,
}

impl Ratio {
    /// A ratio; `covered` must not exceed `total`.
    #[must_use]
    pub fn new(covered: u64, total: u64) -> Self {
        debug_assert!(covered <= total, "covered {covered} of {total}");
        Self { covered, total }
    }

    /// Adds one thing of weight `weight`.
    pub fn add(&mut self, weight: u64, covered: bool) {
        self.total += weight;
        if covered {
            self.covered += weight;
        }
    }

    /// Tenths of a percent, rounded down (0 to 1000); `None` when there is nothing to cover.
    #[must_use]
    pub fn permille(self) -> Option<u16> {
        if self.total == 0 {
            return None;
        }
        let tenths = u128::from(self.covered) * 1000 / u128::from(self.total);
        Some(u16::try_from(tenths).unwrap_or(1000))
    }
}

impl std::ops::AddAssign for Ratio {
    fn add_assign(&mut self, other: Self) {
        self.covered += other.covered;
        self.total += other.total;
    }
}

/// Prints `87.4%`, or `-` when there is nothing to cover.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.permille() {
            Some(p) => f.pad(&format!("{}.{}%", p / 10, p % 10)),
            None => f.pad("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ratio;

    #[test]
    fn all_but_one_is_not_a_hundred() {
        assert_eq!(Ratio::new(99_999, 100_000).to_string(), "99.9%");
        assert_eq!(Ratio::new(100_000, 100_000).to_string(), "100.0%");
    }

    #[test]
    fn it_rounds_down() {
        assert_eq!(Ratio::new(2, 3).to_string(), "66.6%");
        assert_eq!(Ratio::new(1, 1999).to_string(), "0.0%");
    }

    #[test]
    fn nothing_to_cover_is_a_dash_and_pads() {
        assert_eq!(format!("{:>6}", Ratio::default()), "     -");
        assert_eq!(format!("{:>6}", Ratio::new(1, 2)), " 50.0%");
    }

    #[test]
    fn huge_totals_do_not_overflow() {
        assert_eq!(Ratio::new(u64::MAX, u64::MAX).permille(), Some(1000));
    }

    #[test]
    fn adding_is_by_weight() {
        let mut r = Ratio::default();
        r.add(3, true);
        r.add(1, false);
        r += Ratio::new(1, 4);
        assert_eq!(r, Ratio::new(4, 8));
    }
}
