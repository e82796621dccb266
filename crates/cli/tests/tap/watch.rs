//! `covtap watch`: as lines, and on a terminal.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use super::surroundings::{assert_code, assert_says, covtap, drill, newest, run, scratch, stderr};

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn lines_say_what_changes_until_the_process_ends() {
    let Some(programs) = newest() else { return };
    let scratch = scratch();
    let mut drill = drill(&programs, "atomic/drill", scratch.path());
    let pid = drill.pid().to_string();
    let mut watch = covtap(scratch.path(), &["watch", &pid, "--every", "20ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        line
    };
    let first = next();
    assert!(first.starts_with(&format!("drill ({pid}): ")), "{first}");
    assert!(first.ends_with(" statements\n"), "{first}");
    drill.ask("work 3 4 5");
    assert_says(&next(), &[" statements, +"]);
    drill.die("die sigkill");
    let mut last = next();
    while !last.contains("ended") && !last.is_empty() {
        last = next();
    }
    assert_says(&last, &[", ended: "]);
    assert_code(&watch.wait_with_output().unwrap(), 0);
}

#[test]
fn the_whole_machine_is_watched_until_ctrl_c() {
    let Some(programs) = newest() else { return };
    let scratch = scratch();
    let drill = drill(&programs, "static/drill", scratch.path());
    let title = format!("drill ({}): ", drill.pid());
    for way in ["auto", "poll"] {
        let args = ["watch", "--every", "20ms", "--watching", way];
        let mut watch = covtap(scratch.path(), &args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let found = lines.map(|l| l.unwrap()).find(|l| l.starts_with(&title));
        assert!(found.is_some(), "{way}");
        signal(&watch, Signal::INT);
        assert_eq!(watch.wait().unwrap().code(), Some(0), "{way}");
    }
}

#[test]
fn nothing_to_watch_is_three_and_no_process_two() {
    let scratch = scratch();
    let output = run(scratch.path(), &["watch", "4194305"]);
    assert_code(&output, 2);
    assert_says(stderr(&output), &["there is no process 4194305"]);
    let mut plain = Command::new("sleep").arg("1000").spawn().unwrap();
    let watch = covtap(scratch.path(), &["watch", &plain.id().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    plain.kill().unwrap();
    plain.wait().unwrap();
    // It may have been gone before it was looked at.
    let code = watch.wait_with_output().unwrap().status.code();
    assert!(matches!(code, Some(2 | 3)), "{code:?}");
}

const ROWS: u16 = 24;
const COLUMNS: u16 = 100;

/// covtap on a terminal of its own.
struct OnTerminal {
    child: Child,
    terminal: File,
    slave: File,
    /// What the terminal was sent.
    sent: Vec<u8>,
}

impl OnTerminal {
    fn start(directory: &Path, args: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let slave = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap();
        let size = rustix::termios::Winsize {
            ws_row: ROWS,
            ws_col: COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&master, size).unwrap();
        let slave = File::from(slave);
        let child = covtap(directory, args)
            .env("TERM", "xterm")
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave.try_clone().unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            terminal: File::from(master),
            slave,
            sent: Vec::new(),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.sent).into_owned()
    }

    /// What it shows now, line by line: only what changes is sent.
    fn screen(&self) -> String {
        let blank = vec![' '; COLUMNS.into()];
        let mut cells = vec![blank; ROWS.into()];
        let (mut row, mut column) = (0, 0);
        let text = self.text();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '\u{1b}' {
                if let Some(cell) = cells.get_mut(row).and_then(|r| r.get_mut(column)) {
                    *cell = c;
                }
                column += 1;
                continue;
            }
            // ESC [ numbers letter
            let numbers: String = rest
                .by_ref()
                .skip(1)
                .take_while(|c| {
                    // The letter that ends it is taken, too.
                    if *c == 'H' {
                        (row, column) = (usize::MAX, 0);
                    }
                    !c.is_ascii_alphabetic()
                })
                .collect();
            if row == usize::MAX {
                let mut numbers = numbers.split(';').map(|n| n.parse().unwrap_or(1));
                row = numbers.next().unwrap_or(1) - 1;
                column = numbers.next().unwrap_or(1) - 1;
            }
        }
        let lines = cells.into_iter().map(String::from_iter);
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Takes what was sent, and waits for it, but not for ever.
    fn more(&mut self) {
        let mut ready = [PollFd::new(&self.terminal, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        let some = rustix::event::poll(&mut ready, Some(&limit)).unwrap();
        assert!(some > 0, "nothing new for a minute:\n{}", self.screen());
        let mut buffer = [0; 4096];
        let read = self.terminal.read(&mut buffer).unwrap();
        assert!(read > 0, "{}", self.screen());
        self.sent.extend_from_slice(&buffer[..read]);
    }

    /// Waits until it shows this.
    fn until(&mut self, text: &str) {
        while !self.screen().contains(text) {
            self.more();
        }
    }

    fn press(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.slave).unwrap().local_modes;
        !modes.contains(LocalModes::ICANON)
    }

    /// Waits for its end; the terminal is as it was.
    fn ends(mut self) {
        const LEAVE_ALTERNATIVE_SCREEN: &str = "\u{1b}[?1049l";
        while !self.text().contains(LEAVE_ALTERNATIVE_SCREEN) {
            self.more();
        }
        let code = self.child.wait().unwrap().code();
        assert_eq!(code, Some(0), "{}", self.screen());
        assert!(!self.is_raw());
    }
}

#[test]
fn a_view_shows_processes_marks_and_help_and_gives_the_terminal_back() {
    let Some(programs) = newest() else { return };
    let scratch = scratch();
    let mut drill = drill(&programs, "atomic/drill", scratch.path());
    let pid = drill.pid().to_string();
    let args = ["watch", &pid, "--every", "20ms"];
    let mut view = OnTerminal::start(scratch.path(), &args);
    view.until("covtap watch");
    view.until("/branch ");
    assert!(view.is_raw());
    view.press("m");
    view.until("new since the mark");
    drill.ask("work 3 4 5");
    view.until("drill/steps.Do");
    view.press("?");
    view.until("set the mark");
    view.press("q");
    view.ends();
    // A signal, and Ctrl-C, which is a key here.
    let view = {
        let mut view = OnTerminal::start(scratch.path(), &args);
        view.until("covtap watch");
        view
    };
    signal(&view.child, Signal::TERM);
    view.ends();
    let mut view = OnTerminal::start(scratch.path(), &args);
    view.until("covtap watch");
    view.press("\u{3}");
    view.ends();
    assert_says(&drill.ask("work 1"), &["ok"]);
}
