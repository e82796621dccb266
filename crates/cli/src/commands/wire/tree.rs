//! The files of a repository that may have to do with its wiring.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use covtap_wiring::wire::plan::is_read;
use ignore::WalkBuilder;

use crate::failure::Failure;

/// Nobody writes longer ones by hand, in bytes.
const LONGEST: u64 = 1 << 20;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Texts by path, with `/` between folders.
    pub(crate) files: BTreeMap<String, String>,
    /// What could not be read: path and why.
    pub(crate) unread: Vec<(String, String)>,
}

/// Reads a folder. What .gitignore names is passed over, and so are links.
pub(crate) fn read(root: &Path) -> Result<Tree, Failure> {
    if !root.is_dir() {
        return Err(Failure::new(format!("{} is no directory", root.display()))
            .hint("covtap wire PATH takes the folder of a repository".to_owned()));
    }
    let mut tree = Tree::default();
    let walk = WalkBuilder::new(root)
        .hidden(false)
        .require_git(false)
        .filter_entry(|entry| !matches!(entry.file_name().to_str(), Some(".git" | ".covtap")))
        .build();
    for entry in walk {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                tree.unread
                    .push((root.display().to_string(), error.to_string()));
                continue;
            }
        };
        let file = entry.file_type().is_some_and(|t| t.is_file());
        let Some(path) = entry.path().strip_prefix(root).ok().and_then(Path::to_str) else {
            continue;
        };
        if !file || !is_read(path) {
            continue;
        }
        let length = entry.metadata().map_or(0, |m| m.len());
        if length > LONGEST {
            tree.unread.push((
                path.to_owned(),
                format!("it has {length} bytes, more than {LONGEST}"),
            ));
            continue;
        }
        match fs::read(entry.path()).map(String::from_utf8) {
            Ok(Ok(text)) => {
                tree.files.insert(path.to_owned(), text);
            }
            Ok(Err(error)) => tree.unread.push((
                path.to_owned(),
                format!("it is not UTF-8: {}", error.utf8_error()),
            )),
            Err(error) => tree.unread.push((path.to_owned(), error.to_string())),
        }
    }
    Ok(tree)
}
