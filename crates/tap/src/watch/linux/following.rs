//! Lives that are traced and read: what the tracer tells of them, and which they are.

use super::Watcher;
use super::ending::open;
use super::finding::{far, file_of};
use crate::clock::Moment;
use crate::life::{End, Inspection, Tap};
use crate::proc::{self, Stat};
use crate::trace::{self, Survival};

impl Watcher {
    /// What the tracer saw.
    pub(super) fn take_traced(&mut self, now: Moment) {
        while let Ok(event) = self.traced.try_recv() {
            match event {
                trace::Event::Exec { pid, stop, .. } => {
                    if let Some(stat) = proc::stat(pid) {
                        self.see_exec(pid, stat, now);
                    }
                    drop(stop);
                }
                trace::Event::Exiting { pid, stop, .. } => {
                    let key = self.current.get(&pid).map(|&i| self.lives[i].life.key());
                    if let (Some(key), Some(states)) = (key, &self.states) {
                        states.last(key, stop);
                    }
                }
                trace::Event::Survived {
                    pid,
                    because: Survival::Exec,
                    ..
                } => {
                    if let Some(stat) = proc::stat(pid) {
                        self.see_exec(pid, stat, now);
                    }
                }
                trace::Event::Survived {
                    pid,
                    because: Survival::Thread,
                    ..
                } => {
                    let key = self.current.get(&pid).map(|&i| self.lives[i].life.key());
                    if let (Some(key), Some(states)) = (key, &self.states) {
                        states.resume(key);
                    }
                }
                // Nothing is seized without waiting for the answer.
                trace::Event::Seized { .. } => {}
                trace::Event::Gone { pid, status } => {
                    if let Some(&index) = self.current.get(&pid) {
                        self.end(pid, index, now, status);
                    }
                    if let Some(status) = status {
                        self.reaped.push((pid, status));
                    }
                }
                trace::Event::Reaped { pid, status } => {
                    self.reaped_child(pid, status, now);
                    self.reaped.push((pid, status));
                }
                trace::Event::Lost { pid, because } => {
                    if let Some(&index) = self.current.get(&pid) {
                        self.lives[index].traced = false;
                        let key = self.lives[index].life.key();
                        if let Some(states) = &self.states {
                            states.untraced(key, because.to_string());
                        }
                    }
                }
            }
        }
    }

    /// A traced process has another program now.
    fn see_exec(&mut self, pid: u32, stat: Stat, now: Moment) {
        let Some(&index) = self.current.get(&pid) else {
            let began = proc::started(self.boot, stat.start_ticks);
            self.begin(pid, stat, 0, began, now, true);
            return;
        };
        let known = &mut self.lives[index];
        let seen_before = (!known.traced || known.seized_after)
            && Some(known.file) == file_of(pid, stat)
            && !far(known.stack, stat.stack);
        if seen_before {
            // Process events told of it, and were faster.
            known.traced = true;
            known.seized_after = false;
            self.looked_at(pid);
            self.follow(index);
            return;
        }
        let generation = known.life.generation + 1;
        known.life.end = End::Exec { at: now };
        self.over(index, "it became another program (exec)");
        self.current.remove(&pid);
        self.begin(pid, stat, generation, now, now, true);
    }

    /// Follows the lives of interest that are known by now.
    pub(super) fn follow_all(&mut self) {
        let current: Vec<usize> = self.current.values().copied().collect();
        for index in current {
            self.follow(index);
        }
    }

    /// Traces and reads a life whose program is known to be instrumented; lets go of one that is not.
    pub(super) fn follow(&mut self, index: usize) {
        let watched = &mut self.lives[index];
        let instrumented = match self.inspector.get(watched.file) {
            Some(Inspection::Elf(found)) => found.instrumented,
            Some(Inspection::Failed(_)) => false,
            Some(Inspection::Pending) | None => return,
        };
        let (pid, key) = (watched.life.pid, watched.life.key());
        if !instrumented {
            if watched.traced {
                watched.traced = false;
                self.tracer.detach(pid);
            }
            return;
        }
        if watched.end.is_some() || watched.life.tap != Tap::None {
            return;
        }
        let Some(states) = &self.states else {
            watched.end = open(&watched.life);
            return;
        };
        // What this is at the end is the states' word.
        watched.life.tap = Tap::Failed {
            because: String::new(),
        };
        states.begin(key);
        if watched.traced {
            return;
        }
        let refused = if self.exit {
            match self.tracer.seize(pid) {
                Ok(()) => None,
                Err(error) => Some(error.to_string()),
            }
        } else {
            Some("its exit was not to be awaited (--route)".into())
        };
        match refused {
            None => {
                watched.traced = true;
                watched.seized_after = true;
            }
            Some(because) => {
                states.untraced(key, because);
                watched.end = open(&watched.life);
            }
        }
    }
}
