//! How far the clock of another machine is from ours.
//!
//! ```text
//! ours     asked ─┐                 ┌─ heard         offset = ((read − asked) + (now − heard)) / 2
//! theirs          └─► read … now ───┘                wrong by at most half the time on the way
//! ```
//! Of many such exchanges the one that was on its way for the shortest time is believed. Where no
//! difference is as likely as what was found, there is none.

use covtap_tap::clock::Moment;

use super::convert::{moment, nanoseconds};
use super::message::Echo;

/// What is known of another clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offset {
    /// It is the same clock.
    same: bool,
    /// The best exchange: what was found, and how long it was on its way.
    best: Option<(i64, i64)>,
}

impl Offset {
    /// Of the same machine.
    pub(super) fn none() -> Self {
        Self {
            same: true,
            best: None,
        }
    }

    /// Takes an exchange into account, whose answer was heard at this time.
    pub(super) fn exchange(&mut self, echo: Echo, heard: Moment) {
        let heard = nanoseconds(heard);
        let Echo { asked, read, now } = echo;
        // Whatever the other one says, nothing overflows.
        let there = i128::from(read) - i128::from(asked);
        let back = i128::from(now) - i128::from(heard);
        let way = there - back;
        let (Ok(way), Ok(found)) = (i64::try_from(way), i64::try_from((there + back) / 2)) else {
            return;
        };
        if way >= 0 && self.best.is_none_or(|(_, shortest)| way < shortest) {
            self.best = Some((found, way));
        }
    }

    /// Their clock minus ours, in nanoseconds.
    pub(super) fn nanoseconds(&self) -> i64 {
        match self.best {
            Some((found, way)) if !self.same && found.unsigned_abs() > way.unsigned_abs() / 2 => {
                found
            }
            _ => 0,
        }
    }

    /// A time of theirs, by our clock.
    pub(super) fn ours(&self, theirs: i64) -> Moment {
        moment(theirs.saturating_sub(self.nanoseconds()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn the_shortest_way_is_believed() {
        let mut clock = Offset::default();
        assert_eq!(clock.nanoseconds(), 0);
        // 100 s ahead; a way of 10 s of which all was on the way there.
        let slow = Echo {
            asked: 0,
            read: 110 * S,
            now: 110 * S,
        };
        clock.exchange(slow, moment(10 * S));
        assert_eq!(clock.nanoseconds(), 105 * S);
        let quick = Echo {
            asked: 20 * S,
            read: 120 * S + 1,
            now: 121 * S,
        };
        clock.exchange(quick, moment(21 * S + 1));
        assert_eq!(clock.nanoseconds(), 100 * S);
        clock.exchange(slow, moment(10 * S));
        assert_eq!(clock.ours(130 * S), moment(30 * S));
    }

    #[test]
    fn what_may_be_the_way_alone_is_no_difference() {
        let mut clock = Offset::default();
        let echo = Echo {
            asked: 0,
            read: S,
            now: S,
        };
        clock.exchange(echo, moment(S));
        assert_eq!(clock.nanoseconds(), 0);
    }

    #[test]
    fn nonsense_is_not_believed() {
        let mut clock = Offset::default();
        let echo = Echo {
            asked: i64::MIN,
            read: i64::MAX,
            now: i64::MIN,
        };
        clock.exchange(echo, moment(i64::MAX));
        assert_eq!(clock.ours(i64::MIN), moment(i64::MIN));
        // It came before it was asked for.
        let echo = Echo {
            asked: 5 * S,
            read: 100 * S,
            now: 102 * S,
        };
        clock.exchange(echo, moment(6 * S));
        assert_eq!(clock.nanoseconds(), 0);
        assert_eq!(Offset::none().ours(7), moment(7));
    }
}
