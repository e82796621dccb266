//! What changes, as lines: for logs and pipes.

use std::collections::{BTreeMap, BTreeSet};

use covtap_tap::life::Key;

use super::view::{Row, View};

/// What was said.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Statements that ran, and whether it had ended, when its last line was written.
    said: BTreeMap<Key, (u64, bool)>,
    troubles: BTreeSet<String>,
}

impl Lines {
    /// One line for each life that changed.
    pub(super) fn changes(&mut self, view: &View) -> String {
        let mut out = String::new();
        for row in &view.rows {
            let now = (row.statements.covered, row.end.is_some());
            let before = self.said.insert(row.key, now);
            if before != Some(now) {
                out += &line(row, before.map(|(covered, _)| covered));
            }
        }
        out
    }

    /// What was not said yet of what does not go well.
    pub(super) fn troubles(&mut self, view: &View) -> Vec<String> {
        let new = view.troubles.iter();
        new.filter(|t| self.troubles.insert((*t).clone()))
            .cloned()
            .collect()
    }
}

fn line(row: &Row, before: Option<u64>) -> String {
    let statements = row.statements;
    let grown = before.and_then(|before| statements.covered.checked_sub(before));
    let grown = grown.filter(|n| *n > 0).map(|n| format!(", +{n}"));
    let end = row.end.as_ref().map(|end| format!(", ended: {end}"));
    format!(
        "{} ({}): {statements}, {} of {} statements{}{}\n",
        row.name,
        row.pid(),
        statements.covered,
        statements.total,
        grown.unwrap_or_default(),
        end.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use covtap_model::percent::Ratio;

    use super::*;

    #[test]
    fn only_changes_are_said() {
        let row = |covered, end: Option<&str>| View {
            rows: vec![Row {
                key: Key {
                    pid: 7,
                    start_ticks: 1,
                    generation: 0,
                },
                name: "api".into(),
                statements: Ratio::new(covered, 8),
                snapshots: 1,
                fresh: None,
                end: end.map(Into::into),
            }],
            ..View::default()
        };
        let mut lines = Lines::default();
        assert_eq!(
            lines.changes(&row(2, None)),
            "api (7): 25.0%, 2 of 8 statements\n"
        );
        assert_eq!(lines.changes(&row(2, None)), "");
        assert_eq!(
            lines.changes(&row(4, None)),
            "api (7): 50.0%, 4 of 8 statements, +2\n"
        );
        assert_eq!(
            lines.changes(&row(4, Some("signal 9"))),
            "api (7): 50.0%, 4 of 8 statements, ended: signal 9\n"
        );
        assert_eq!(lines.changes(&row(4, Some("signal 9"))), "");
    }

    #[test]
    fn a_trouble_is_said_once() {
        let view = View {
            troubles: vec!["no".into()],
            ..View::default()
        };
        let mut lines = Lines::default();
        assert_eq!(lines.troubles(&view), ["no"]);
        assert!(lines.troubles(&view).is_empty());
    }
}
