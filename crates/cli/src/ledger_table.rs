//! The ledger as a table, and its verdict as a sentence.

use std::fmt::Write as _;

use anstyle::Style;
use covtap_model::exit::Exit;
use covtap_model::ledger::{Instrumented, Ledger, Outcome, Target};
use covtap_model::problem::{Severity, printable};

use crate::output::{BAD, CARE, FAINT, GOOD, HEAD};
use crate::units::count;

/// Lives that say the same are one line.
struct Line<'a> {
    target: &'a Target,
    pids: Vec<u32>,
    lives: usize,
}

/// The table; empty for a ledger without rows. `width` is that of the terminal, if it is one.
pub(crate) fn table(ledger: &Ledger, width: Option<usize>) -> String {
    let lines = lines(ledger);
    if lines.is_empty() {
        return String::new();
    }
    let rows: Vec<[String; 3]> = lines
        .iter()
        .map(|line| {
            let name = printable(&line.target.workload).into_owned();
            [name, pids(line), instrumented(line.target).to_owned()]
        })
        .collect();
    let head = ["PROCESS", "PID", "COVERAGE"];
    let mut columns = head.map(str::len);
    for row in &rows {
        for (column, cell) in columns.iter_mut().zip(row) {
            *column = (*column).max(cell.chars().count());
        }
    }
    let [a, b, c] = columns;
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "{HEAD}{:a$}  {:>b$}  {:c$}  RESULT{HEAD:#}",
        head[0], head[1], head[2]
    );
    let indent = a + b + c + 6;
    for (row, line) in rows.iter().zip(&lines) {
        let (word, style, because) = result(line.target);
        let text = match because {
            Some(because) => format!("{word}: {}", printable(because)),
            None => word.to_owned(),
        };
        let [name, pids, instrumented] = row;
        let mut wrapped = wrap(&text, width.map(|w| w.saturating_sub(indent).max(30))).into_iter();
        let first = wrapped.next().unwrap_or_default();
        let _ = writeln!(
            out,
            "{name:a$}  {pids:>b$}  {instrumented:c$}  {style}{first}{style:#}"
        );
        for more in wrapped {
            let _ = writeln!(out, "{:indent$}{style}{more}{style:#}", "");
        }
    }
    out
}

fn lines(ledger: &Ledger) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for target in &ledger.targets {
        let same = lines.iter_mut().find(|line| {
            line.target.workload == target.workload
                && line.target.outcome == target.outcome
                && note(line.target) == note(target)
                && instrumented(line.target) == instrumented(target)
        });
        match same {
            Some(line) => {
                line.pids.extend(target.pid);
                line.lives += 1;
            }
            None => lines.push(Line {
                target,
                pids: target.pid.into_iter().collect(),
                lives: 1,
            }),
        }
    }
    lines
}

fn pids(line: &Line<'_>) -> String {
    match line.pids.as_slice() {
        [] => "-".into(),
        [pid] if line.lives == 1 => pid.to_string(),
        [first, ..] => format!("{first} +{}", line.lives - 1),
    }
}

fn instrumented(target: &Target) -> &'static str {
    match target.instrumented {
        Instrumented::Yes { .. } => "yes",
        Instrumented::No { .. } => "no",
        Instrumented::Unknown { .. } => "unknown",
    }
}

/// What is to be said of the state that is merged.
fn note(target: &Target) -> Option<&str> {
    target.state.as_ref()?.note.as_deref()
}

fn result(target: &Target) -> (&'static str, Style, Option<&str>) {
    match &target.outcome {
        Outcome::Merged => ("merged", GOOD, note(target)),
        Outcome::Listed { because } => ("not merged", FAINT, Some(because)),
        Outcome::Missing { because } => ("missing", BAD, Some(because)),
        Outcome::Partial { because } => ("partial", CARE, Some(because)),
        Outcome::Running { because } => ("running", CARE, Some(because)),
    }
}

/// Breaks a text at blanks.
fn wrap(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else {
        return vec![text.to_owned()];
    };
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The verdict as a sentence, with its style. `seen` is the number of process lives.
pub(crate) fn verdict(ledger: &Ledger, verdict: Exit, seen: usize) -> (String, Style) {
    let expected = ledger
        .targets
        .iter()
        .filter(|t| t.expected.is_some())
        .count();
    let gaps = ledger.targets.iter().filter(|t| t.is_gap()).count();
    let lost = ledger
        .problems
        .iter()
        .filter(|p| p.severity == Severity::Error)
        .count();
    match verdict {
        Exit::Nothing if expected == 0 => (
            format!(
                "nothing collected: of {} below the command, none is instrumented or built from \
                 this repository",
                count(seen, "process", "processes")
            ),
            BAD,
        ),
        Exit::Nothing => (
            format!(
                "nothing collected: {} expected, none gave data",
                count(expected, "process was", "processes were")
            ),
            BAD,
        ),
        Exit::Incomplete if gaps > 0 => (
            format!(
                "incomplete: {gaps} of {} did not give the last state",
                count(expected, "expected process", "expected processes")
            ),
            CARE,
        ),
        Exit::Incomplete => (
            format!(
                "incomplete: {} could not be used",
                count(lost, "file", "files")
            ),
            CARE,
        ),
        Exit::Success | Exit::No | Exit::Failure => (
            match expected {
                1 => "complete: the expected process gave its last state".into(),
                _ => format!("complete: all {expected} expected processes gave their last state"),
            },
            GOOD,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, pid: u32, outcome: Outcome) -> Target {
        Target {
            workload: name.into(),
            container: None,
            pid: Some(pid),
            generation: 0,
            executable: None,
            first_seen: None,
            ended: None,
            exit_status: None,
            instrumented: Instrumented::Yes {
                evidence: "x".into(),
            },
            expected: Some("instrumented".into()),
            build: None,
            files: Vec::new(),
            state: None,
            outcome,
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn equal_lives_are_one_line() {
        let mut ledger = Ledger::new("poll");
        for pid in [7, 8, 9] {
            ledger.targets.push(target("api", pid, Outcome::Merged));
        }
        ledger.targets.push(target(
            "worker",
            10,
            Outcome::Missing {
                because: "exit status signal 9 (SIGKILL)".into(),
            },
        ));
        assert_eq!(
            plain(&table(&ledger, None)),
            "PROCESS   PID  COVERAGE  RESULT\n\
             api      7 +2  yes       merged\n\
             worker     10  yes       missing: exit status signal 9 (SIGKILL)\n"
        );
        assert_eq!(
            verdict(&ledger, ledger.verdict(), 5).0,
            "incomplete: 1 of 4 expected processes did not give the last state"
        );
    }

    #[test]
    fn an_empty_ledger_is_no_table() {
        assert_eq!(table(&Ledger::new("poll"), None), "");
        assert_eq!(
            verdict(&Ledger::new("poll"), Exit::Nothing, 1).0,
            "nothing collected: of 1 process below the command, none is instrumented or built from this repository"
        );
    }

    #[test]
    fn long_reasons_are_broken_at_blanks() {
        assert_eq!(wrap("aa bb cc", Some(5)), ["aa bb", "cc"]);
        assert_eq!(wrap("aaaaaaaa b", Some(5)), ["aaaaaaaa", "b"]);
    }
}
