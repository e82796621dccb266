//! `covtap start`, `mark` and `stop`: a session in the background, across the steps of a CI job.
//!
//! One session a store. It listens on a socket that only its user may reach:
//!
//! ```text
//! .covtap/session/      mode 0700
//!   lock                held (flock) by the session while it runs
//!   control             socket: one request a connection, one line each way
//!   log                 what the session says
//!
//! mark NAME    →  ok N LIVES            every life was read, and written to <run>/marks/<nn>-NAME/
//! stop         →  ok EXIT RUN           the run is collected, reported and closed
//! status       →  ok RUN N LIVES
//!              →  error WHY
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use covtap_tap::watch::Watcher;
use rustix::fs::{FlockOperation, flock};

use crate::around::Around;
use crate::present;
use crate::session::{
    Finished, Observer, Options, SessionError, begin, close, conclude, find_modules, surround,
    system, watch,
};
use crate::signals::Signals;
use crate::store::{Folder, Store};
use crate::surroundings::Surroundings;

/// A name for a mark may be this long, in bytes.
const LONGEST_NAME: usize = 100;
/// Who connects and says nothing is not waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a session in the background could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is none.
    #[error("no session runs for {}", store.display())]
    None {
        /// The store.
        store: PathBuf,
    },
    /// There is one already.
    #[error("a session runs already for {}", store.display())]
    Running {
        /// The store.
        store: PathBuf,
    },
    /// It ended or refused while it was talked to.
    #[error("the session says: {0}")]
    Refused(String),
    /// The system.
    #[error("cannot reach the session: {0}")]
    System(#[from] io::Error),
}

impl ControlError {
    /// The next step for a person.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::None { .. } => Some("covtap start begins one".into()),
            Self::Running { .. } => Some("covtap stop ends it".into()),
            Self::Refused(_) | Self::System(_) => None,
        }
    }
}

/// Where the session of a store is.
#[derive(Clone, Debug)]
pub struct Control {
    store: PathBuf,
}

/// The answer to `stop`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The exit code that the ledger's verdict has.
    pub exit_code: u8,
    /// The run's name.
    pub run: String,
}

impl Control {
    /// The session of this store.
    #[must_use]
    pub fn of(store: &Store) -> Self {
        Self {
            store: store.root().to_path_buf(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.store.join("session")
    }

    /// Where the session writes what it says.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder().join("log")
    }

    /// Makes the session's folder, which only this user may enter, and an empty log in it.
    ///
    /// # Errors
    /// [`ControlError::Running`], or when the folder cannot be made.
    pub fn prepare(&self) -> Result<File, ControlError> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.folder());
        made?;
        if self.lock()?.is_none() {
            return Err(ControlError::Running {
                store: self.store.clone(),
            });
        }
        Ok(File::create(self.log())?)
    }

    /// The lock of a session; `None` when another holds it.
    fn lock(&self) -> io::Result<Option<File>> {
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.folder().join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the counters of every life now, under a name.
    ///
    /// Returns how many lives that were.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn mark(&self, name: &str) -> Result<usize, ControlError> {
        let answer = self.ask(&format!("mark {name}"))?;
        Ok(first_number(&answer))
    }

    /// Ends the session: collects and reports.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn stop(&self) -> Result<Stopped, ControlError> {
        let answer = self.ask("stop")?;
        let (code, run) = answer.split_once(' ').unwrap_or((&answer, ""));
        Ok(Stopped {
            exit_code: code.parse().unwrap_or(2),
            run: run.to_owned(),
        })
    }

    fn ask(&self, request: &str) -> Result<String, ControlError> {
        let none = || ControlError::None {
            store: self.store.clone(),
        };
        let stream = match in_folder(&self.folder(), |path| UnixStream::connect(path)) {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Err(none());
            }
            Err(error) => return Err(error.into()),
        };
        (&stream).write_all(format!("{request}\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer)?;
        let answer = answer.trim_end();
        if let Some(rest) = answer.strip_prefix("ok ") {
            return Ok(rest.to_owned());
        }
        Err(ControlError::Refused(match answer.strip_prefix("error ") {
            Some(why) => why.to_owned(),
            None => format!("nothing; {} may tell why", self.log().display()),
        }))
    }
}

fn first_number(answer: &str) -> usize {
    let word = answer.split(' ').next().unwrap_or_default();
    word.parse().unwrap_or(0)
}

/// Calls `with` with the path of the socket in `folder`. A socket's path must be shorter than 108
/// bytes; through a descriptor of its folder it always is.
fn in_folder<T>(folder: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let direct = folder.join("control");
    if direct.as_os_str().len() < 100 || !Path::new("/proc/self/fd").exists() {
        return with(&direct);
    }
    let open = File::open(folder)?;
    with(Path::new(&format!(
        "/proc/self/fd/{}/control",
        open.as_raw_fd()
    )))
}

/// The session itself: watches until it is told to stop: all of this machine, or of the surroundings what
/// was asked for. `ready` is called with the run's folder once everything that runs already has been seen.
///
/// # Errors
/// [`SessionError`], as `covtap run`.
pub fn serve(
    store: &Store,
    options: &Options,
    mut surroundings: Option<&mut dyn Surroundings>,
    ready: impl FnOnce(&Folder),
    observer: &mut dyn Observer,
) -> Result<Finished, SessionError> {
    let control = Control::of(store);
    let held = control.lock().map_err(system("lock the session"))?;
    let Some(_lock) = held else {
        return Err(SessionError::System {
            what: "begin a session",
            source: io::Error::other("one runs already"),
        });
    };
    let listener = listen(&control).map_err(system("listen for covtap mark and stop"))?;
    let (folder, (began, record), signals) = begin(store, options, observer)?;
    let modules = find_modules(options);
    let scope = present::scope(&mut surroundings);
    let mut watcher = watch(&folder, options, scope)?;
    let mut around = surround(
        &folder,
        (options, began, Vec::new()),
        &mut watcher,
        surroundings,
    )?;
    let mut session = Session {
        listener: &listener,
        signals: &signals,
        watcher: &mut watcher,
        around: &mut around,
        folder: &folder,
        interrupted: false,
    };
    session.begin(observer)?;
    ready(&folder);
    let asked = session.until_stop(observer)?;
    let seen = close(
        &signals,
        (watcher, around),
        (&folder, options),
        modules,
        observer,
    )?;
    let finished = conclude(
        store,
        folder,
        (began, record),
        options,
        &seen,
        None,
        observer,
    );
    if let Some(mut stream) = asked {
        let answer = match &finished {
            Ok(done) => format!("ok {} {}\n", done.exit_code, done.folder.id()),
            Err(error) => format!("error {error}\n"),
        };
        // Who asked may have gone; the run is stored all the same.
        let _ = stream.write_all(answer.as_bytes());
    }
    // From now on there is no session; a socket that stays is only a refused connection.
    let _ = fs::remove_file(control.folder().join("control"));
    finished
}

fn listen(control: &Control) -> io::Result<UnixListener> {
    match fs::remove_file(control.folder().join("control")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = in_folder(&control.folder(), |path| UnixListener::bind(path))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A session while it goes on.
struct Session<'a, 'b> {
    listener: &'a UnixListener,
    signals: &'a Signals,
    watcher: &'a mut Watcher,
    around: &'a mut Around<'b>,
    folder: &'a Folder,
    /// A signal came while something else was waited for.
    interrupted: bool,
}

impl Session<'_, '_> {
    /// Takes in what runs already, and keeps how it is.
    fn begin(&mut self, observer: &mut dyn Observer) -> Result<(), SessionError> {
        let all = present::take_in(self.signals, self.watcher, self.around, observer)?;
        self.interrupted |= !all;
        self.mark(&self.folder.baseline(), observer)
            .map_err(system("store the state of what runs already"))?;
        Ok(())
    }

    /// Watches until somebody asks to stop, or a signal does. Returns who is to be answered.
    fn until_stop(
        &mut self,
        observer: &mut dyn Observer,
    ) -> Result<Option<UnixStream>, SessionError> {
        let mut marks = 0;
        loop {
            self.watcher.look();
            self.around.take(self.watcher, observer);
            if self.interrupted || !self.signals.requests().is_empty() {
                return Ok(None);
            }
            while let Ok((mut stream, _)) = self.listener.accept() {
                let answer = match request(&stream) {
                    Ok(Request::Stop) => return Ok(Some(stream)),
                    Ok(Request::Mark(name)) => {
                        marks += 1;
                        let name = format!("{marks:03}-{name}");
                        let place = self.folder.path().join("marks").join(name);
                        match self.mark(&place, observer) {
                            Ok(lives) => format!("ok {lives}\n"),
                            Err(error) => format!("error {error}\n"),
                        }
                    }
                    Err(error) => format!("error {error}\n"),
                };
                // Who asked may have gone.
                let _ = stream.write_all(answer.as_bytes());
            }
            let listener = Some(self.listener.as_fd());
            self.around
                .wait(self.signals, self.watcher, listener, Duration::MAX)
                .map_err(system("wait for events"))?;
        }
    }

    /// Reads every life now, here and on nodes with agents, and writes their states into `place`.
    /// Returns how many.
    fn mark(&mut self, place: &Path, observer: &mut dyn Observer) -> io::Result<usize> {
        let all = present::read_agents(self.signals, self.watcher, self.around, observer)?;
        self.interrupted |= !all;
        Ok(self.watcher.mark(place)? + self.around.mark(place)?)
    }
}

enum Request {
    Mark(String),
    Stop,
}

fn request(stream: &UnixStream) -> io::Result<Request> {
    // Not inherited from the listener everywhere.
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(1024)).read_line(&mut line)?;
    let line = line.trim_end();
    if line == "stop" {
        return Ok(Request::Stop);
    }
    match line.strip_prefix("mark ").map(checked_name) {
        Some(Ok(name)) => Ok(Request::Mark(name.to_owned())),
        Some(Err(why)) => Err(io::Error::other(why)),
        None => Err(io::Error::other("it knows `mark NAME` and `stop`")),
    }
}

/// A mark's name becomes a folder's.
///
/// # Errors
/// Why it cannot be one.
pub fn checked_name(name: &str) -> Result<&str, &'static str> {
    let plain = |c: char| c.is_alphanumeric() || "-_.+ ".contains(c);
    if name.trim().is_empty() {
        Err("a mark needs a name")
    } else if name.len() > LONGEST_NAME {
        Err("a mark's name has at most 100 bytes")
    } else if !name.chars().all(plain) || name.starts_with('.') {
        Err("a mark's name has letters, digits, blanks and - _ . + only, and no dot first")
    } else {
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_cannot_leave_its_folder() {
        for bad in ["", " ", "..", ".x", "a/b", "a\\b", "a\nb", &"x".repeat(101)] {
            assert!(checked_name(bad).is_err(), "{bad:?}");
        }
        for good in ["login", "after login 2", "Größe-1.2_+"] {
            assert_eq!(checked_name(good), Ok(good));
        }
    }

    #[test]
    fn without_a_session_there_is_nobody_to_ask() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::of(&Store::new(dir.path()));
        assert!(matches!(control.stop(), Err(ControlError::None { .. })));
        // A socket whose session was killed.
        control.prepare().unwrap();
        drop(listen(&control).unwrap());
        assert!(matches!(control.mark("x"), Err(ControlError::None { .. })));
    }

    #[test]
    fn one_session_a_store_also_under_a_long_path() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("x".repeat(120)));
        let control = Control::of(&store);
        control.prepare().unwrap();
        let lock = control.lock().unwrap();
        assert!(lock.is_some());
        assert!(matches!(
            control.prepare(),
            Err(ControlError::Running { .. })
        ));
        let listener = listen(&control).unwrap();
        let asker = std::thread::spawn(move || control.mark("one"));
        listener.set_nonblocking(false).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let Request::Mark(name) = request(&stream).unwrap() else {
            panic!()
        };
        assert_eq!(name, "one");
        stream.write_all(b"ok 3\n").unwrap();
        assert_eq!(asker.join().unwrap().unwrap(), 3);
    }
}
