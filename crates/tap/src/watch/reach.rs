//! Which processes are watched: the scope, and the containers that were added to it.

use std::collections::BTreeSet;

use super::Scope;
use crate::cgroup::{ContainerId, Place};
use crate::proc;

/// The processes that are watched.
pub(super) struct Reach {
    scope: Scope,
    self_pid: u32,
    lists_children: bool,
    /// Where this process belongs.
    own: Place,
    /// Containers that are watched beside the scope.
    added: BTreeSet<ContainerId>,
}

impl Reach {
    pub(super) fn of(scope: Scope, self_pid: u32) -> Self {
        Self {
            scope,
            self_pid,
            lists_children: proc::lists_children(),
            // Without `/proc` there is nothing to watch.
            own: Place::of(self_pid).unwrap_or_default(),
            added: BTreeSet::new(),
        }
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Watches a container too. Returns whether it was not.
    pub(super) fn add(&mut self, container: ContainerId) -> bool {
        self.added.insert(container)
    }

    /// Watches a container no more.
    pub(super) fn remove(&mut self, container: &ContainerId) {
        self.added.remove(container);
    }

    /// Whether any container was added.
    pub(super) fn has_added(&self) -> bool {
        !self.added.is_empty()
    }

    /// The container through which what is in this place is watched.
    pub(super) fn added(&self, place: &Place) -> Option<ContainerId> {
        place
            .containers()
            .find(|id| self.added.contains(id))
            .cloned()
    }

    /// Whether a process is watched. It is asked for each process that is started on the machine.
    pub(super) fn holds(&self, pid: u32) -> bool {
        // One file tells of a container; of the tree, one for each process above.
        self.is_in_added(pid) || self.is_in_scope(pid)
    }

    fn is_in_added(&self, pid: u32) -> bool {
        self.has_added() && Place::of(pid).is_ok_and(|place| self.added(&place).is_some())
    }

    fn is_in_scope(&self, pid: u32) -> bool {
        match &self.scope {
            Scope::Tree => {
                // Above every process there is a finite chain; a loop cannot be.
                let mut above = proc::stat(pid).map(|stat| stat.parent);
                while let Some(parent) = above.filter(|p| *p > 1 || *p == self.self_pid) {
                    if parent == self.self_pid {
                        return true;
                    }
                    above = proc::stat(parent).map(|stat| stat.parent);
                }
                false
            }
            Scope::Machine => true,
            Scope::Containers => {
                Place::of(pid).is_ok_and(|place| !place.is_empty() && place != self.own)
            }
            Scope::Cgroup(path) => proc::in_cgroup(pid, path),
            Scope::Processes(pids) => pids.contains(&pid),
        }
    }

    /// All processes that are watched, but `ours`.
    pub(super) fn processes(&self, ours: &[u32]) -> Vec<u32> {
        let mut found = match &self.scope {
            Scope::Tree => self.descendants(),
            Scope::Machine => return proc::all(),
            Scope::Processes(pids) => pids.iter().copied().collect(),
            Scope::Containers | Scope::Cgroup(_) => proc::all()
                .into_iter()
                .filter(|pid| self.is_in_scope(*pid))
                .collect(),
        };
        if self.has_added() {
            let known: BTreeSet<u32> = found.iter().copied().collect();
            let others = proc::all().into_iter().filter(|pid| !known.contains(pid));
            found.extend(others.filter(|pid| self.is_in_added(*pid)));
        }
        found.retain(|pid| *pid != self.self_pid && !ours.contains(pid));
        found
    }

    /// All processes below this one.
    fn descendants(&self) -> Vec<u32> {
        let mut found = Vec::new();
        if self.lists_children {
            proc::children(self.self_pid, &mut found);
            let mut next = 0;
            while let Some(&pid) = found.get(next) {
                proc::children(pid, &mut found);
                next += 1;
            }
        } else {
            let parents = proc::parents();
            let mut above = vec![self.self_pid];
            while let Some(parent) = above.pop() {
                for (pid, _) in parents.iter().filter(|(_, p)| *p == parent) {
                    found.push(*pid);
                    above.push(*pid);
                }
            }
        }
        found
    }
}
