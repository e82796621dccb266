//! The record of agents that a run makes in clusters: `agents.json` in its folder. It is written before
//! anything is made, so that `covtap clean` can remove what a killed run could not.

use std::path::{Path, PathBuf};

use covtap_model::agents::{Agents, SCHEMA, Set};

use crate::store::{Folder, StoreError, write_or_remove};

/// The name of the file in the folder of a run.
const FILE: &str = "agents.json";

/// The record of one run.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    agents: Agents,
}

impl Record {
    /// An empty record of what is made with a kubeconfig that was named, or with none; nothing is written yet.
    #[must_use]
    pub fn new(folder: &Folder, kubeconfig: Option<PathBuf>) -> Self {
        Self {
            path: folder.path().join(FILE),
            agents: Agents {
                schema: SCHEMA.into(),
                kubeconfig,
                sets: Vec::new(),
            },
        }
    }

    /// The record that a run has left; `None` when it has left none.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be read or understood.
    pub fn left(folder: &Folder) -> Result<Option<Self>, StoreError> {
        let path = folder.path().join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let agents = folder.read(FILE)?;
        Ok(Some(Self { path, agents }))
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is to be removed.
    #[must_use]
    pub fn agents(&self) -> &Agents {
        &self.agents
    }

    /// Agents are about to be made. Saying so again changes nothing.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be written; then nothing is to be made.
    pub fn add(&mut self, set: Set) -> Result<(), StoreError> {
        if self.agents.sets.contains(&set) {
            return Ok(());
        }
        self.agents.sets.push(set);
        let written = self.write();
        if written.is_err() {
            self.agents.sets.pop();
        }
        written
    }

    /// The agents of a cluster are removed.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be written.
    pub fn remove(&mut self, cluster: &str) -> Result<(), StoreError> {
        self.agents.sets.retain(|set| set.cluster != cluster);
        self.write()
    }

    fn write(&self) -> Result<(), StoreError> {
        let some = !self.agents.sets.is_empty();
        write_or_remove(&self.path, some.then_some(&self.agents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cluster: &str) -> Set {
        Set {
            cluster: cluster.into(),
            namespace: "covtap-0123abcd".into(),
            name: "covtap-agent-0123abcd".into(),
            whole_namespace: true,
        }
    }

    #[test]
    fn a_record_is_there_as_long_as_something_is_to_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path());
        let mut record = Record::new(&folder, Some("/k".into()));
        assert!(Record::left(&folder).unwrap().is_none());
        for cluster in ["a", "b", "a"] {
            record.add(set(cluster)).unwrap();
        }
        let mut left = Record::left(&folder).unwrap().unwrap();
        assert_eq!(left.agents(), record.agents());
        assert_eq!(left.agents().sets, [set("a"), set("b")]);
        left.remove("a").unwrap();
        left.remove("b").unwrap();
        assert!(Record::left(&folder).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_written_is_not_recorded() {
        let mut record = Record::new(&Folder::at("/nowhere"), None);
        record.add(set("a")).unwrap_err();
        assert!(record.agents().sets.is_empty());
    }
}
