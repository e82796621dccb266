//! Where things are: the settings file, the store of runs, the repository.

use std::path::{Path, PathBuf};

use covtap_live::repository;
use covtap_live::store::Store;

use crate::args::Global;
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::output;

/// The surroundings of a command.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) config: Config,
    pub(crate) store: Store,
}

impl Place {
    /// Looks around the working directory.
    pub(crate) fn find(global: &Global) -> Result<Self, Failure> {
        let directory = std::env::current_dir()
            .map_err(|e| Failure::new(format!("cannot tell the working directory: {e}")))?;
        let file = global.config.clone().or_else(|| config::find(&directory));
        let config = match file {
            Some(path) => config::read(&path).map_err(|error| {
                let hint = error.hint();
                Failure::new(error).hint(hint)
            })?,
            None => Config::default(),
        };
        if global.color.is_none() {
            output::set_color(config.color.map(|c| c.0));
        }
        let store = global
            .store
            .clone()
            .or_else(|| config.store.clone())
            .unwrap_or_else(|| repository::project_root(&directory).join(".covtap"));
        Ok(Self {
            store: Store::new(directory.join(store)),
            config,
            directory,
        })
    }

    /// Where the repository's files are looked for.
    pub(crate) fn repository(&self, flag: Option<&PathBuf>) -> PathBuf {
        match flag.or(self.config.root.as_ref()) {
            Some(root) => self.directory.join(root),
            None => repository::repository_root(&self.directory),
        }
    }

    /// A path as it is shortest for a person in the working directory.
    pub(crate) fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.directory)
            .unwrap_or(path)
            .display()
            .to_string()
    }
}
