//! The record of services that a run has ended and must bring back: `stopped.json` in its folder. It is
//! written before anything is changed, so that `covtap clean` can do what a killed run could not.

use std::path::{Path, PathBuf};

use covtap_model::stopped::{SCHEMA, Service, Stopped};

use crate::store::{Folder, StoreError, write_or_remove};

/// The name of the file in the folder of a run.
const FILE: &str = "stopped.json";

/// The record of one run.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    stopped: Stopped,
}

impl Record {
    /// An empty record; nothing is written yet.
    #[must_use]
    pub fn new(folder: &Folder) -> Self {
        Self {
            path: folder.path().join(FILE),
            stopped: Stopped {
                schema: SCHEMA.into(),
                kubeconfig: None,
                services: Vec::new(),
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
        let stopped = folder.read(FILE)?;
        Ok(Some(Self { path, stopped }))
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is to be brought back.
    #[must_use]
    pub fn stopped(&self) -> &Stopped {
        &self.stopped
    }

    /// The kubeconfig with which the clusters are reached, when one was named.
    pub fn set_kubeconfig(&mut self, kubeconfig: Option<PathBuf>) {
        self.stopped.kubeconfig = kubeconfig;
    }

    /// A service is about to be ended.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be written; then nothing is to be changed.
    pub fn add(&mut self, service: Service) -> Result<(), StoreError> {
        self.stopped.services.push(service);
        let written = self.write();
        if written.is_err() {
            self.stopped.services.pop();
        }
        written
    }

    /// A service was brought back, or is not to be.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be written.
    pub fn remove(&mut self, service: &Service) -> Result<(), StoreError> {
        self.stopped.services.retain(|other| other != service);
        self.write()
    }

    fn write(&self) -> Result<(), StoreError> {
        let some = !self.stopped.services.is_empty();
        write_or_remove(&self.path, some.then_some(&self.stopped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        Service {
            cluster: "kind-dev".into(),
            namespace: "shop".into(),
            kind: "Deployment".into(),
            name: name.into(),
            uid: "u".into(),
            replicas: 3,
        }
    }

    #[test]
    fn a_record_is_there_as_long_as_something_is_to_be_done() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path());
        assert!(Record::left(&folder).unwrap().is_none());
        let mut record = Record::new(&folder);
        record.set_kubeconfig(Some("/k".into()));
        record.add(service("api")).unwrap();
        record.add(service("db")).unwrap();
        let mut left = Record::left(&folder).unwrap().unwrap();
        assert_eq!(left.stopped(), record.stopped());
        assert_eq!(
            left.stopped().services[0].to_string(),
            "shop/deployment/api"
        );
        left.remove(&service("api")).unwrap();
        assert_eq!(
            Record::left(&folder)
                .unwrap()
                .unwrap()
                .stopped()
                .services
                .len(),
            1
        );
        left.remove(&service("db")).unwrap();
        assert!(Record::left(&folder).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_written_is_not_recorded() {
        let mut record = Record::new(&Folder::at("/nowhere"));
        record.add(service("api")).unwrap_err();
        assert!(record.stopped().services.is_empty());
    }
}
