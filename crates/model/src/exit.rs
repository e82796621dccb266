//! Exit codes: part of covtap's interface, stable from 1.0 on.

/// What covtap's exit status says.
///
/// `covtap run` exits with the wrapped command's own code when that is not 0, and with one of
/// these otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, and the answer is yes.
    Success = 0,
    /// Done, and the answer is no: a threshold missed, problems found, a difference not empty.
    No = 1,
    /// Could not do it: bad arguments, no permission, unreadable input.
    Failure = 2,
    /// Nothing collected: no target matched, or targets matched and none gave data.
    Nothing = 3,
    /// An expected target gave no data, or its last state is unknown, or data had to be left out.
    Incomplete = 4,
}

impl Exit {
    /// The number the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn the_numbers_are_the_documented_ones() {
        let codes = [
            Exit::Success,
            Exit::No,
            Exit::Failure,
            Exit::Nothing,
            Exit::Incomplete,
        ];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 4]);
    }
}
