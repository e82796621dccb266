//! `covtap tap PID…`: the counters of running processes as files that Go's tools read.
//!
//! The processes are named, so nothing has to be found: this talks to the tap and the tracer itself.
//! Files lie beside each other in one directory, as programs write them into a GOCOVERDIR.

mod life;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use covtap_model::exit::Exit;
use covtap_model::problem::printable;
use covtap_model::tap::{self, Tapped};
use covtap_tap::clock::Moment;
use covtap_tap::image::Images;
use covtap_tap::target::Target;
use covtap_tap::trace::{self, SeizeError, Survival, Tracer};

use self::life::{Failed, Life, Outcome};
use crate::args::{Global, ListFormat, Tap};
use crate::failure::Failure;
use crate::interrupt;
use crate::output;
use crate::place::Place;
use crate::units::show_duration;

/// The time between two snapshots with `--until-exit`, when nobody says another.
const EVERY: Duration = Duration::from_secs(1);
/// More often than this nothing is read.
const FASTEST: Duration = Duration::from_millis(1);
/// How long a program may take to initialise its packages where one snapshot is all that is wanted.
const STARTING: Duration = Duration::from_secs(5);
/// The time between two looks at it meanwhile: nothing tells when it is done.
const AGAIN: Duration = Duration::from_millis(2);

pub(crate) fn run(global: &Global, args: Tap) -> Result<ExitCode, Failure> {
    let place = Place::find(global)?;
    let directory = match &args.output {
        Some(path) => place.directory.join(path),
        None => new_directory(place.store.root()),
    };
    make(
        &directory,
        args.output.is_none().then(|| place.store.root()),
    )
    .map_err(|e| {
        Failure::new(format!("cannot make {}: {e}", directory.display()))
            .hint("name a directory you may write to with -o DIR".to_owned())
    })?;
    let mut tapping = Tapping::start(&args, &directory)?;
    tapping.go_on()?;
    let lives = tapping.finish()?;
    let tapped = Tapped {
        schema: tap::SCHEMA.into(),
        directory: place.show(&directory),
        lives: lives.iter().map(Life::describe).collect(),
    };
    print(&tapped, args.format)?;
    if args.output.is_none() && lives.iter().all(|life| life.kept().is_none()) {
        // Made for nothing. Whether it is gone matters to nobody.
        let _ = fs::remove_dir(&directory);
    }
    Ok(ExitCode::from(verdict(&lives).code()))
}

/// A directory for each call: files of other calls are never added up with its own.
fn new_directory(store: &Path) -> PathBuf {
    let name = format!("{}-{}", Moment::now().compact(), std::process::id());
    store.join("tap").join(name)
}

/// Makes the directory; nothing of a store that is new is to be committed.
fn make(directory: &Path, store: Option<&Path>) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let ignore = store.map(|store| store.join(".gitignore"));
    match ignore.filter(|ignore| !ignore.exists()) {
        Some(ignore) => fs::write(ignore, "*\n"),
        None => Ok(()),
    }
}

/// What is waited for.
enum Message {
    Traced(trace::Event),
    Interrupted,
}

struct Tapping<'a> {
    directory: &'a Path,
    images: Images,
    lives: Vec<Life>,
    /// The time between two snapshots; `None` when one is enough.
    every: Option<Duration>,
    tracer: Option<Tracer>,
    messages: Receiver<Message>,
    began: Instant,
}

impl<'a> Tapping<'a> {
    fn start(args: &Tap, directory: &'a Path) -> Result<Self, Failure> {
        let (send, messages) = channel();
        let every = args.every.map(|every| every.max(FASTEST));
        let every = every.or(args.until_exit.then_some(EVERY));
        let mut tracer = None;
        if every.is_some() {
            listen(send.clone())?;
        }
        if args.until_exit {
            let sink = move |event| {
                // Without a receiver nobody wants to know.
                let _ = send.send(Message::Traced(event));
            };
            tracer =
                Some(Tracer::start(sink).map_err(|e| {
                    Failure::new(format!("cannot start the thread that traces: {e}"))
                })?);
        }
        let mut pids = args.pids.clone();
        let mut seen = BTreeSet::new();
        pids.retain(|pid| seen.insert(*pid));
        let lives = pids.into_iter().map(|pid| match Target::find(pid) {
            Ok(target) => Life::new(target, 0),
            Err(_) => Life::missing(pid),
        });
        Ok(Self {
            directory,
            images: Images::new(),
            lives: lives.collect(),
            every,
            tracer,
            messages,
            began: Instant::now(),
        })
    }

    /// Reads until there is no more to read, or somebody says stop.
    fn go_on(&mut self) -> Result<(), Failure> {
        let mut said = self.every.is_none();
        loop {
            let now = Instant::now();
            for index in 0..self.lives.len() {
                if self.lives[index].is_due(now) {
                    self.read(index)?;
                }
            }
            let Some(next) = self.lives.iter().filter_map(Life::due).min() else {
                return Ok(());
            };
            if !said && self.lives.iter().all(Life::is_settled) {
                self.say_what_goes_on();
                said = true;
            }
            let wait = next.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(wait) {
                Ok(Message::Traced(event)) => self.take(event)?,
                Ok(Message::Interrupted) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
                // Nothing sends: one snapshot is all that is wanted.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(wait),
            }
        }
    }

    /// Says that a first state of everything is there.
    fn say_what_goes_on(&self) {
        let read = self.lives.iter().filter(|life| !life.is_over());
        let titles: Vec<String> = read.map(Life::title).collect();
        let every = show_duration(self.every.unwrap_or(EVERY));
        let until = if self.tracer.is_some() {
            ", and when they end"
        } else {
            ""
        };
        let titles = titles.join(", ");
        output::note(&format!(
            "reading {titles} every {every}{until}; Ctrl-C stops"
        ));
    }

    /// Reads a life once: attaches first, and traces, where that has not been done.
    fn read(&mut self, index: usize) -> Result<(), Failure> {
        let life = &mut self.lives[index];
        let began = self.began;
        match life.read(&self.images, self.directory)? {
            Outcome::Read => match self.every {
                Some(every) => life.again(every),
                None => life.enough(),
            },
            Outcome::Starting if self.every.is_some() || began.elapsed() < STARTING => {
                life.again(AGAIN);
            }
            Outcome::Starting => life.fail("it is still starting".into(), None, Failed::CouldNot),
            Outcome::Over => {}
            Outcome::Replaced => {
                let pid = life.pid();
                return self.executed(pid);
            }
        }
        let (pid, wanted) = (life.pid(), life.wants_tracing());
        if let Some(tracer) = self.tracer.as_ref().filter(|_| wanted) {
            let because = tracer.seize(pid).err();
            match because {
                None => life.traced(),
                Some(SeizeError::Gone { .. }) => life.again(AGAIN),
                Some(error) => {
                    output::warning(&format!(
                        "{}: its last state cannot be had, snapshots are taken: {error}",
                        life.title()
                    ));
                    life.untraced(error.to_string());
                }
            }
        }
        Ok(())
    }

    /// The life that a process is in.
    fn current(&self, pid: u32) -> Option<usize> {
        self.lives
            .iter()
            .rposition(|life| life.pid() == pid && !life.is_over())
    }

    fn take(&mut self, event: trace::Event) -> Result<(), Failure> {
        match event {
            trace::Event::Exec { pid, stop, .. } => {
                self.executed(pid)?;
                drop(stop);
            }
            trace::Event::Survived {
                pid,
                because: Survival::Exec,
                ..
            } => self.executed(pid)?,
            trace::Event::Exiting { pid, stop, .. } => {
                if let Some(index) = self.current(pid) {
                    self.lives[index].read_last(&self.images, self.directory)?;
                }
                drop(stop);
            }
            trace::Event::Survived {
                pid,
                because: Survival::Thread,
                ..
            } => {
                if let Some(index) = self.current(pid) {
                    self.lives[index].goes_on();
                }
            }
            trace::Event::Gone { pid, status } => {
                if let Some(index) = self.current(pid) {
                    let status = status.map_or("unknown".into(), |s| s.to_string());
                    let life = &mut self.lives[index];
                    output::note(&format!("{} ended: {status}", life.title()));
                    life.end(status);
                }
            }
            trace::Event::Lost { pid, because } => {
                if let Some(index) = self.current(pid) {
                    self.lives[index].untraced(because.to_string());
                }
            }
            trace::Event::Seized { .. } | trace::Event::Reaped { .. } => {}
        }
        Ok(())
    }

    /// A process runs another program: another life.
    fn executed(&mut self, pid: u32) -> Result<(), Failure> {
        let Some(index) = self.current(pid) else {
            return Ok(());
        };
        let next = self.lives[index].next();
        self.lives[index].end("exec".into());
        self.lives.insert(index + 1, next);
        self.read(index + 1)?;
        if self.lives[index + 1].is_over()
            && let Some(tracer) = &self.tracer
        {
            tracer.detach(pid);
        }
        Ok(())
    }

    /// Reads what runs once more, and lets go of everything.
    fn finish(mut self) -> Result<Vec<Life>, Failure> {
        for life in &mut self.lives {
            if life.due().is_some() {
                life.read(&self.images, self.directory)?;
            }
        }
        drop(self.tracer);
        Ok(self.lives)
    }
}

/// Sends a message when somebody asks to stop.
fn listen(send: Sender<Message>) -> Result<(), Failure> {
    let mut stream = interrupt::stream()?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() && send.send(Message::Interrupted).is_ok() {}
        })?;
    Ok(())
}

fn verdict(lives: &[Life]) -> Exit {
    let any = lives.iter().any(|life| life.kept().is_some());
    let counts = |life: &&Life| !life.is_incidental();
    if !any {
        let nothing = lives
            .iter()
            .any(|l| l.failed() == Some(Failed::NotInstrumented));
        return if nothing {
            Exit::Nothing
        } else {
            Exit::Failure
        };
    }
    if lives.iter().filter(counts).all(Life::is_complete) {
        Exit::Success
    } else {
        Exit::Incomplete
    }
}

fn print(tapped: &Tapped, format: ListFormat) -> Result<(), Failure> {
    if format == ListFormat::Json {
        let mut json = serde_json::to_vec_pretty(tapped)?;
        json.push(b'\n');
        output::data(&json)?;
        return Ok(());
    }
    let mut text = String::new();
    for life in &tapped.lives {
        let title = format!("{} ({})", printable(&life.name), life.pid);
        let because = life.because.as_deref().map(printable);
        if let Some(state) = &life.state {
            let all = state.statements;
            let last = match (&life.end, state.last) {
                (None, _) => "running".to_owned(),
                (Some(end), true) => format!("last state at its end ({end})"),
                (Some(end), false) => {
                    let because = because.as_deref().unwrap_or("its end was not awaited");
                    format!("ended ({end}) after the last snapshot: {because}")
                }
            };
            let file = Path::new(&tapped.directory).join(&state.counter_file);
            text += &format!(
                "{title}: {all}, {} of {} statements; found by {}; {last}; {}\n",
                all.covered,
                all.total,
                state.found_by,
                printable(&file.display().to_string()),
            );
        } else {
            let because = because.unwrap_or("nothing was read".into());
            output::error(&format!("{title}: {because}"));
            if let Some(hint) = &life.hint {
                output::hint(hint);
            }
        }
    }
    output::data(text.as_bytes())?;
    Ok(())
}
