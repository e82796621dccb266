//! Edits that only insert: everything that was there stays as it was, byte for byte.

/// Insertions into one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    insertions: Vec<Insertion>,
}

/// Something that is put into a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insertion {
    /// Byte of the text before which it goes.
    pub at: usize,
    /// What.
    pub text: String,
}

impl Edits {
    /// Puts something before a byte of the text. Of two for the same place the earlier call comes first.
    pub fn insert(&mut self, at: usize, text: impl Into<String>) {
        let after = self.insertions.partition_point(|i| i.at <= at);
        self.insertions.insert(
            after,
            Insertion {
                at,
                text: text.into(),
            },
        );
    }

    /// Puts the insertions of another plan for the same text behind those that are here.
    pub fn extend(&mut self, more: Edits) {
        for insertion in more.insertions {
            self.insert(insertion.at, insertion.text);
        }
    }

    /// In the order of their places.
    #[must_use]
    pub fn insertions(&self) -> &[Insertion] {
        &self.insertions
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.insertions.is_empty()
    }

    /// The text with the insertions. A place beyond its end is its end; one inside a character is the
    /// character's beginning.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 64 * self.insertions.len());
        let mut from = 0;
        for insertion in &self.insertions {
            let at = boundary(text, insertion.at).max(from);
            out.push_str(&text[from..at]);
            out.push_str(&insertion.text);
            from = at;
        }
        out.push_str(&text[from..]);
        out
    }
}

/// The last boundary between characters that is not behind a byte.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_there_stays(text in ".{0,40}", places in prop::collection::vec(0_usize..60, 0..6)) {
            let mut edits = Edits::default();
            for at in &places {
                edits.insert(*at, "\u{1}");
            }
            let out = edits.apply(&text);
            prop_assert_eq!(out.matches('\u{1}').count(), text.matches('\u{1}').count() + places.len());
            prop_assert_eq!(out.replace('\u{1}', ""), text.replace('\u{1}', ""));
        }
    }

    #[test]
    fn two_for_one_place_keep_their_order() {
        let mut edits = Edits::default();
        edits.insert(1, "B");
        edits.insert(0, "_");
        edits.insert(1, "C");
        assert_eq!(edits.apply("ad"), "_aBCd");
    }
}
