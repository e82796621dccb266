//! UTC times: as nanoseconds since 1970 where they are compared, as RFC 3339 where they are written.

use jiff::{Timestamp, Unit};

/// A moment, in nanoseconds since 1970 (UTC), as in the names of Go's counter files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i128);

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self(Timestamp::now().as_nanosecond())
    }

    /// The moment `milliseconds` before this one.
    #[must_use]
    pub fn before(self, milliseconds: u32) -> Self {
        Self(self.0 - i128::from(milliseconds) * 1_000_000)
    }

    /// The moment `milliseconds` after this one.
    #[must_use]
    pub fn after(self, milliseconds: u32) -> Self {
        Self(self.0 + i128::from(milliseconds) * 1_000_000)
    }

    /// RFC 3339, in milliseconds: `2026-11-23T10:41:09.250Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let time = self.timestamp();
        format!("{:.3}", time.round(Unit::Millisecond).unwrap_or(time))
    }

    /// For names of folders: `20261123T104109Z`.
    #[must_use]
    pub fn compact(self) -> String {
        self.timestamp().strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    fn timestamp(self) -> Timestamp {
        Timestamp::from_nanosecond(self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;

    #[test]
    fn times_are_written_in_utc() {
        let moment = Moment(1_795_430_469_250_999_999);
        assert_eq!(moment.rfc3339(), "2026-11-23T10:41:09.251Z");
        assert_eq!(moment.compact(), "20261123T104109Z");
        assert_eq!(moment.before(1).after(1), moment);
    }

    #[test]
    fn absurd_times_do_not_panic() {
        assert_eq!(Moment(i128::MAX).rfc3339(), "1970-01-01T00:00:00.000Z");
    }
}
