//! What goes on, while it goes on. CMD owns the terminal while it runs, so nothing moves then; after
//! it, a live line on a terminal and plain lines elsewhere.

use std::env;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use covtap_live::session::{Event, Observer};
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
            Event::Collecting { files } => {
                self.live(format!(
                    "reading {}",
                    count(*files, "counter file", "counter files")
                ));
            }
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
