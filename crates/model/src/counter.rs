//! The merge algebra: how counters of the same code combine.
//!
//! A counter belongs to one *unit* (a run of statements without a branch). What the number means is
//! the [`CounterMode`]:
//!
//! * `set`: 0 or not 0; merging is *or*: commutative, associative and idempotent;
//! * `count` and `atomic`: executions; merging is addition that stops at `u32::MAX` and says so
//!   ([`Overflow`]): commutative and associative, **not** idempotent, which is why a later snapshot
//!   of the same process *replaces* an earlier one ([`replace`]) and is never added to it.
//!
//! The numbers of the modes are those of Go's `internal/coverage/defs.go` (`CounterMode`, Go 1.21 to
//! 1.27).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a counter's number means.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum CounterMode {
    /// Executed or not.
    Set = 1,
    /// Number of executions; increments of concurrent threads may be lost.
    Count = 2,
    /// Number of executions, exact.
    Atomic = 3,
    /// Registration only: the package has meta-data and no counters (`go test` uses it).
    RegOnly = 4,
    /// The generated main package of a Go test binary.
    TestMain = 5,
}

impl CounterMode {
    /// The mode with this number in Go's files, or `None`.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Set,
            2 => Self::Count,
            3 => Self::Atomic,
            4 => Self::RegOnly,
            5 => Self::TestMain,
            _ => return None,
        })
    }

    /// The word used in `-covermode` and in the first line of a text profile.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Count => "count",
            Self::Atomic => "atomic",
            Self::RegOnly => "regonly",
            Self::TestMain => "testmain",
        }
    }
}

impl fmt::Display for CounterMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What to do when data of different modes meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModePolicy {
    /// It is an error: counts and sets do not add up.
    #[default]
    Strict,
    /// The larger mode (in the order set, count, atomic) is used; a set's 1 then counts as one
    /// execution, so that only covered-or-not is exact.
    Relaxed,
}

/// Data of two modes met under [`ModePolicy::Strict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("counter mode clash: {first} and {second}")]
pub struct ModeClash {
    /// The mode that came first.
    pub first: CounterMode,
    /// The one that differs from it.
    pub second: CounterMode,
}

/// The mode of data merged from `first` and `second`.
///
/// # Errors
/// [`ModeClash`] when they differ and `policy` is strict.
pub fn merge_modes(
    first: Option<CounterMode>,
    second: CounterMode,
    policy: ModePolicy,
) -> Result<CounterMode, ModeClash> {
    match first {
        None => Ok(second),
        Some(first) if first == second => Ok(first),
        Some(first) if policy == ModePolicy::Relaxed => Ok(first.max(second)),
        Some(first) => Err(ModeClash { first, second }),
    }
}

/// Whether an addition reached `u32::MAX`; the true count is then at least that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Overflow(pub bool);

impl std::ops::BitOrAssign for Overflow {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Merges the counters `new` into `into`, unit by unit.
///
/// # Panics
/// When the slices differ in length: the caller validates both against the meta-data.
pub fn merge(into: &mut [u32], new: &[u32], mode: CounterMode) -> Overflow {
    assert_eq!(
        into.len(),
        new.len(),
        "counters of the same function have the same units"
    );
    if mode == CounterMode::Set {
        for (a, &b) in into.iter_mut().zip(new) {
            *a = u32::from(*a != 0 || b != 0);
        }
        return Overflow(false);
    }
    let mut lost = 0;
    for (a, &b) in into.iter_mut().zip(new) {
        let sum = a.saturating_add(b);
        // Not zero exactly when the sum was cut short; kept branch-free for the vectoriser.
        lost |= sum.wrapping_sub(*a) ^ b;
        *a = sum;
    }
    Overflow(lost != 0)
}

/// A later snapshot of the same process replaces an earlier one.
///
/// Returns whether any counter went backwards: then the process cleared its counters in between,
/// and what it counted before is lost to the later snapshot.
///
/// # Panics
/// When the slices differ in length.
pub fn replace(earlier: &mut [u32], later: &[u32]) -> bool {
    assert_eq!(
        earlier.len(),
        later.len(),
        "snapshots of the same process have the same units"
    );
    let backwards = earlier.iter().zip(later).any(|(a, b)| b < a);
    earlier.copy_from_slice(later);
    backwards
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn modes() -> impl Strategy<Value = CounterMode> {
        prop_oneof![
            Just(CounterMode::Set),
            Just(CounterMode::Count),
            Just(CounterMode::Atomic)
        ]
    }

    /// Counters with many zeros, ones and values near the top.
    fn counter() -> impl Strategy<Value = u32> {
        prop_oneof![
            Just(0),
            Just(1),
            2..9u32,
            (u32::MAX - 3)..=u32::MAX,
            any::<u32>()
        ]
    }

    fn triples() -> impl Strategy<Value = Vec<(u32, u32, u32)>> {
        proptest::collection::vec((counter(), counter(), counter()), 0..40)
    }

    fn merged(a: &[u32], b: &[u32], mode: CounterMode) -> (Vec<u32>, bool) {
        let mut out = a.to_vec();
        let overflow = merge(&mut out, b, mode);
        (out, overflow.0)
    }

    proptest! {
        #[test]
        fn merging_is_commutative(v in triples(), mode in modes()) {
            let (a, b): (Vec<_>, Vec<_>) = v.iter().map(|t| (t.0, t.1)).unzip();
            // A set holds 0 or 1, whatever the files said.
            let zero = vec![0; a.len()];
            let a = merged(&zero, &a, mode).0;
            let b = merged(&zero, &b, mode).0;
            prop_assert_eq!(merged(&a, &b, mode), merged(&b, &a, mode));
        }

        #[test]
        fn merging_is_associative(v in triples(), mode in modes()) {
            let a: Vec<_> = v.iter().map(|t| t.0).collect();
            let b: Vec<_> = v.iter().map(|t| t.1).collect();
            let c: Vec<_> = v.iter().map(|t| t.2).collect();
            let left = merged(&merged(&a, &b, mode).0, &c, mode).0;
            let right = merged(&a, &merged(&b, &c, mode).0, mode).0;
            prop_assert_eq!(left, right);
        }

        #[test]
        fn a_set_is_idempotent(v in triples()) {
            let a: Vec<_> = v.iter().map(|t| u32::from(t.0 != 0)).collect();
            let twice = merged(&a, &a, CounterMode::Set);
            prop_assert_eq!(twice, (a, false));
        }

        #[test]
        fn a_sum_is_the_sum_or_the_top_and_says_which(v in triples()) {
            let (a, b): (Vec<_>, Vec<_>) = v.iter().map(|t| (t.0, t.1)).unzip();
            let (sum, overflow) = merged(&a, &b, CounterMode::Atomic);
            let wide: Vec<u64> = a.iter().zip(&b).map(|(x, y)| u64::from(*x) + u64::from(*y)).collect();
            for (s, w) in sum.iter().zip(&wide) {
                prop_assert_eq!(u64::from(*s), (*w).min(u64::from(u32::MAX)));
            }
            prop_assert_eq!(overflow, wide.iter().any(|w| *w > u64::from(u32::MAX)));
        }

        #[test]
        fn replacing_keeps_the_later(v in triples()) {
            let (a, b): (Vec<_>, Vec<_>) = v.iter().map(|t| (t.0, t.1)).unzip();
            let mut now = a.clone();
            let backwards = replace(&mut now, &b);
            prop_assert_eq!(&now, &b);
            prop_assert_eq!(backwards, a.iter().zip(&b).any(|(x, y)| y < x));
        }
    }

    #[test]
    fn an_overflow_is_remembered() {
        for (before, now) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut overflow = Overflow(before);
            overflow |= Overflow(now);
            assert_eq!(overflow, Overflow(before || now));
        }
    }

    #[test]
    fn a_set_is_zero_or_one() {
        assert_eq!(
            merged(&[0, 0, 7], &[0, 9, 0], CounterMode::Set).0,
            [0, 1, 1]
        );
    }

    #[test]
    fn modes_clash_unless_relaxed() {
        use CounterMode::{Atomic, Count, Set};
        assert_eq!(merge_modes(None, Count, ModePolicy::Strict), Ok(Count));
        assert_eq!(merge_modes(Some(Set), Set, ModePolicy::Strict), Ok(Set));
        assert_eq!(
            merge_modes(Some(Set), Atomic, ModePolicy::Strict),
            Err(ModeClash {
                first: Set,
                second: Atomic
            })
        );
        assert_eq!(
            merge_modes(Some(Atomic), Set, ModePolicy::Relaxed),
            Ok(Atomic)
        );
        assert_eq!(
            merge_modes(Some(Set), Count, ModePolicy::Relaxed),
            Ok(Count)
        );
    }

    #[test]
    fn bytes_are_gos() {
        for byte in 0..=255u8 {
            match CounterMode::from_byte(byte) {
                Some(mode) => assert_eq!(mode as u8, byte),
                None => assert!(byte == 0 || byte > 5),
            }
        }
        let words = [1, 2, 3, 4, 5].map(|b| CounterMode::from_byte(b).unwrap().to_string());
        assert_eq!(words, ["set", "count", "atomic", "regonly", "testmain"]);
    }
}
