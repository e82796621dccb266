//! What goes on, while it goes on. CMD owns the terminal while it runs, so nothing moves then; after
//! it, a live line on a terminal and plain lines elsewhere.

use std::env;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use covtap_live::around::{Directory, Found, Preflight};
use covtap_live::session::{Event, Observer};
use covtap_model::problem::{Severity, printable};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output;
use crate::units::{count, show_duration};

/// A plain line is worth its space when something takes this long.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// Shows a run to a person or to a log.
#[derive(Debug)]
pub(crate) struct Progress {
    live: Option<ProgressBar>,
    is_live: bool,
    waiting_since: Option<Instant>,
    said: Said,
}

/// How far the plain lines are.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Nothing,
    Waiting,
    WaitingAgain,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            live: None,
            is_live: io::stderr().is_terminal() && env::var_os("CI").is_none() && !dumb,
            waiting_since: None,
            said: Said::Nothing,
        }
    }

    /// Takes the live line away.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.live.take() {
            bar.finish_and_clear();
        }
    }

    fn live(&mut self, text: String) {
        if !self.is_live {
            return;
        }
        let bar = self.live.get_or_insert_with(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if bar.message() != text {
            bar.set_message(text);
        }
    }

    fn waiting(&mut self, processes: &[(String, u32)], left: Duration, asked: bool) {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let who = who(processes);
        let what = if asked { "end after SIGTERM" } else { "end" };
        self.live(format!(
            "waiting for {who} to {what}: {:.0} s left",
            left.as_secs_f64().ceil()
        ));
        let step = if asked {
            Said::WaitingAgain
        } else {
            Said::Waiting
        };
        if !self.is_live && self.said < step && since.elapsed() >= WORTH_A_LINE {
            output::note(&format!(
                "waiting up to {} for {who} to {what}",
                show_duration(left)
            ));
            self.said = step;
        }
    }
}

impl Observer for Progress {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { folder } => {
                output::note(&format!("run {} begins", folder.id()));
            }
            Event::CommandEnded(_) => {}
            Event::Waiting {
                processes,
                left,
                asked,
            } => self.waiting(processes, *left, *asked),
            Event::Terminating { processes } => {
                self.finish();
                self.waiting_since = None;
                output::note(&format!(
                    "{} did not end by itself: SIGTERM",
                    who(processes)
                ));
            }
            Event::Watching { name } => output::note(&format!("watching {}", printable(name))),
            Event::Ready(preflight) => output::note(&ready(preflight)),
            Event::Stopped { because } => {
                output::error(&printable(because));
                output::note("the command is asked to end (SIGTERM)");
            }
            Event::Trouble(problem) => {
                if problem.severity != Severity::Note {
                    self.finish();
                    output::warning(&problem.to_string());
                }
            }
            Event::Stopping { name, replicas } => output::note(&format!(
                "{} is ended so that it writes its files: {}",
                printable(name),
                count(*replicas as usize, "replica", "replicas")
            )),
            Event::Restoring => output::note("what was ended is brought back"),
            Event::Collecting { files } => {
                self.live(format!(
                    "reading {}",
                    count(*files, "counter file", "counter files")
                ));
            }
        }
    }
}

/// `shop/api-7c9 is ready: api is instrumented, uid 1001, GOCOVERDIR is not set (the tap needs none)`.
fn ready(preflight: &Preflight) -> String {
    let name = printable(&preflight.name);
    match &preflight.found {
        Found::Instrumented {
            program,
            uid,
            directory,
        } => {
            let user = uid.map_or_else(String::new, |uid| format!(" (uid {uid})"));
            format!(
                "{name} is ready: {}{user} is instrumented and read from its memory; {}",
                printable(program),
                described(directory)
            )
        }
        Found::NotInstrumented { programs, .. } if programs.is_empty() => {
            format!("{name} is ready: not instrumented: no Go program runs in it")
        }
        Found::NotInstrumented { programs, .. } => format!(
            "{name} is ready: not instrumented: {}",
            printable(&programs.join(", "))
        ),
        Found::Unseen => format!("{name} is ready: no process of it was seen"),
    }
}

/// Whether a program could write its files by itself.
fn described(directory: &Directory) -> String {
    match directory {
        Directory::Unset => "GOCOVERDIR is not set".into(),
        Directory::Unknown => "its GOCOVERDIR could not be looked at".into(),
        Directory::Absent { path } => {
            let path = path.to_string_lossy();
            format!(
                "GOCOVERDIR={}: there is no such directory",
                printable(&path)
            )
        }
        Directory::There {
            path,
            owner: (uid, gid),
            mode,
            writable,
        } => {
            let path = path.to_string_lossy();
            let may = if *writable { "it may" } else { "it may not" };
            format!(
                "GOCOVERDIR={} is of {uid}:{gid} with mode {mode:04o}: {may} write there",
                printable(&path)
            )
        }
    }
}

/// `api (812), worker (815) and 3 more`.
fn who(processes: &[(String, u32)]) -> String {
    let shown: Vec<String> = processes
        .iter()
        .take(3)
        .map(|(name, pid)| format!("{name} ({pid})"))
        .collect();
    match processes.len().saturating_sub(3) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::who;

    #[test]
    fn many_processes_are_counted() {
        let all: Vec<_> = (1..=5).map(|pid| ("p".to_owned(), pid)).collect();
        assert_eq!(who(&all[..2]), "p (1), p (2)");
        assert_eq!(who(&all), "p (1), p (2), p (3) and 2 more");
    }
}
