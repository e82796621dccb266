//! From the process's directory to the host's.

use covtap_model::facts::Place;
use covtap_model::facts::repository::{Mount, Variable, Volume};

/// Where coverage is to go.
#[derive(Clone, Debug)]
pub(crate) struct Directory<'a> {
    pub(crate) name: &'a str,
    /// Without a slash at its end; `${…}` where only the run knows.
    pub(crate) value: String,
    pub(crate) place: &'a Place,
}

impl<'a> Directory<'a> {
    pub(super) fn of(variable: &'a Variable) -> Self {
        let value = variable.value.as_deref().unwrap_or_default();
        let value = match value.len() {
            1 => value,
            _ => value.trim_end_matches('/'),
        };
        Self {
            name: &variable.name,
            value: value.to_owned(),
            place: &variable.place,
        }
    }
}

/// What lies behind a path of a container.
#[derive(Clone, Copy)]
pub(crate) struct Behind<'a> {
    pub(crate) mount: &'a Mount,
    /// Absent where the mount names a volume that is nowhere.
    pub(crate) volume: Option<&'a Volume>,
}

/// Whether a path is a folder or lies in it.
pub(crate) fn is_under(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path == folder
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}
