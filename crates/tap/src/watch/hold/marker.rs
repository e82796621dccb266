//! Marks file systems as they are mounted: in this mount namespace and in those of other processes.
//!
//! A thread of its own, since a path to a mount can lead over a file system that does not answer.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use nix::errno::Errno;
use nix::sys::fanotify::Fanotify;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Unmarked;
use super::bell::Bell;
use super::mounts::{Mounts, Round};
use super::wire::Process;

/// What the thread is asked for.
enum Request {
    /// To mark what this process can see, from now on.
    Follow(Process),
    /// To mark what has been mounted by now, and say that it is done. They are numbered from 1.
    Refresh(u64),
}

/// What it did.
pub(super) struct News {
    pub(super) round: Round,
    /// The last refresh that is done.
    pub(super) refreshed: u64,
}

/// The handle to the thread.
pub(super) struct Marker {
    requests: Sender<Request>,
    bell: Bell,
    news: Receiver<io::Result<News>>,
    /// Number of the last refresh that was asked for.
    asked: u64,
}

impl Marker {
    /// Starts it: it marks everything that this process can see. `home` rings when there is news. At
    /// most `most` other processes are followed.
    ///
    /// # Errors
    /// When there is no `/proc`, or no descriptor is left.
    pub(super) fn start(group: &Arc<Fanotify>, home: &Bell, most: usize) -> io::Result<Self> {
        let bell = Bell::new()?;
        let (requests, inbox) = channel();
        let (outbox, news) = channel();
        let marking = Marking {
            group: group.clone(),
            own: Mounts::own()?,
            changed: true,
            others: Vec::new(),
            most,
            unmarked: Vec::new(),
            bell: bell.clone(),
            inbox,
        };
        let home = home.clone();
        thread::Builder::new()
            .name("marks".into())
            .spawn(move || marking.run(&outbox, &home))?;
        Ok(Self {
            requests,
            bell,
            news,
            asked: 0,
        })
    }

    /// Marks what a process can see, from now on and until it ends.
    pub(super) fn follow(&self, process: Process) {
        self.ask(Request::Follow(process));
    }

    /// Marks what has been mounted by now; returns the number that [`News::refreshed`] will say.
    pub(super) fn refresh(&mut self) -> u64 {
        self.asked += 1;
        self.ask(Request::Refresh(self.asked));
        self.asked
    }

    fn ask(&self, request: Request) {
        // The thread ends only after it has said why, and then so does this process.
        let _ = self.requests.send(request);
        self.bell.ring();
    }

    /// What has come. An error: the list of mounts cannot be read any more.
    pub(super) fn news(&self) -> Option<io::Result<News>> {
        self.news.try_recv().ok()
    }
}

/// Another process whose mounts are marked.
struct Followed {
    process: Process,
    mounts: Mounts,
    /// Readable when the process has ended.
    end: OwnedFd,
    changed: bool,
}

/// The thread's own.
struct Marking {
    group: Arc<Fanotify>,
    own: Mounts,
    changed: bool,
    others: Vec<Followed>,
    most: usize,
    /// Processes that could not be followed.
    unmarked: Vec<Unmarked>,
    bell: Bell,
    inbox: Receiver<Request>,
}

impl Marking {
    fn run(mut self, outbox: &Sender<io::Result<News>>, home: &Bell) {
        let mut refreshed = 0;
        loop {
            let news = self.mark().map(|round| News { round, refreshed });
            let over = news.is_err();
            // The other end lives as long as this process.
            let _ = outbox.send(news);
            home.ring();
            if over {
                return;
            }
            self.look(None);
            self.bell.answer();
            let requests: Vec<Request> = self.inbox.try_iter().collect();
            if !requests.is_empty() {
                // What was mounted before they were made shows now.
                self.look(Some(&Timespec::default()));
            }
            for request in requests {
                match request {
                    Request::Follow(process) => self.follow(process),
                    Request::Refresh(number) => refreshed = number,
                }
            }
        }
    }

    fn follow(&mut self, process: Process) {
        let most = self.most;
        let opened = match self.others.len() {
            many if many >= most => Err(Errno::EMFILE.into()),
            _ => Mounts::of(process),
        };
        match opened {
            Ok((mounts, end)) => self.others.push(Followed {
                process,
                mounts,
                end,
                changed: true,
            }),
            Err(error) => self.unmarked.extend(not_followed(process, &error)),
        }
    }

    /// Takes down what has changed, and forgets processes that have ended. Waits until something has,
    /// or somebody asks.
    fn look(&mut self, time: Option<&Timespec>) {
        let bell = self.bell.as_fd();
        let mut ready = vec![
            PollFd::from_borrowed_fd(bell, PollFlags::IN),
            PollFd::new(&self.own, PollFlags::PRI),
        ];
        for followed in &self.others {
            ready.push(PollFd::new(&followed.mounts, PollFlags::PRI));
            ready.push(PollFd::new(&followed.end, PollFlags::IN));
        }
        if poll(&mut ready, time).is_err() {
            // Interrupted: it is as if nothing had come.
            return;
        }
        let events: Vec<bool> = ready.iter().map(|r| !r.revents().is_empty()).collect();
        let mut events = events.into_iter().skip(1);
        let mut next = || events.next().unwrap_or_default();
        self.changed |= next();
        self.others.retain_mut(|followed| {
            followed.changed |= next();
            !next()
        });
    }

    /// Marks everything where something has changed.
    fn mark(&mut self) -> io::Result<Round> {
        let Self { group, .. } = self;
        let mut all = Round {
            marked: 0,
            unmarked: std::mem::take(&mut self.unmarked),
        };
        if std::mem::take(&mut self.changed) {
            all.add(self.own.mark(group)?);
        }
        self.others.retain_mut(|followed| {
            if !std::mem::take(&mut followed.changed) {
                return true;
            }
            match followed.mounts.mark(group) {
                Ok(round) => all.add(round),
                Err(error) => {
                    all.unmarked.extend(not_followed(followed.process, &error));
                    return false;
                }
            }
            true
        });
        Ok(all)
    }
}

/// What is to be said of a process that cannot be followed: nothing, when it has ended.
fn not_followed(process: Process, error: &io::Error) -> Option<Unmarked> {
    let error = error.raw_os_error()?;
    let ended = matches!(Errno::from_raw(error), Errno::ENOENT | Errno::ESRCH);
    (!ended).then(|| Unmarked {
        mount: Mounts::root(process),
        error: Some(error),
    })
}
