//! What the repository holds: its files, by their last components, and its modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use covtap_model::problem::{Problem, Severity};
use ignore::WalkBuilder;

use super::gomod::{self, ModFile};
use super::tree::{Sources as _, Tree};

/// Folders that hold no source of the repository's own.
const SKIPPED: [&str; 4] = [".git", "node_modules", "testdata", "vendor"];

/// The files and modules of a tree.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Sorted by key; the key is the path with its components in reverse order, each ended by a
    /// NUL, so that files with the same last components are neighbours.
    files: Vec<(String, String)>,
    /// Module path to the folders that hold it, relative to the root, `` for the root itself.
    modules: BTreeMap<String, BTreeSet<String>>,
}

impl Index {
    /// Walks `tree`. What `.gitignore` names, hidden folders, `vendor`, `testdata` and
    /// `node_modules` are skipped; symbolic links are not followed.
    pub(crate) fn new(tree: &Tree) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut paths: Vec<String> = Vec::new();
        let walk = WalkBuilder::new(tree.root())
            .follow_links(false)
            // The same answer on every machine: no settings from outside the tree.
            .parents(false)
            .git_global(false)
            .ignore(false)
            .require_git(false)
            .filter_entry(|entry| {
                let folder = entry.file_type().is_some_and(|t| t.is_dir());
                let skipped = entry
                    .file_name()
                    .to_str()
                    .is_some_and(|name| SKIPPED.contains(&name));
                !(folder && skipped && entry.depth() > 0)
            })
            .build();
        for entry in walk {
            match entry {
                Ok(entry) if entry.file_type().is_some_and(|t| t.is_file()) => {
                    paths.extend(relative(tree.root(), entry.path()));
                }
                Ok(_) => {}
                Err(error) => problems.push(Problem::new(
                    Severity::Note,
                    tree.root(),
                    "a folder that can be read",
                    error.to_string(),
                    "sources in it are not found",
                )),
            }
        }
        paths.sort_unstable();
        let mut index = Self::default();
        for path in &paths {
            let (dir, base) = path.rsplit_once('/').unwrap_or(("", path));
            if base == "go.mod" || base == "go.work" {
                index.add_modules(tree, dir, path, &mut problems);
            }
        }
        index.files = paths.into_iter().map(|path| (key(&path), path)).collect();
        index.files.sort_unstable();
        (index, problems)
    }

    fn add_modules(&mut self, tree: &Tree, dir: &str, path: &str, problems: &mut Vec<Problem>) {
        let Some(file) = read(tree, path, problems) else {
            return;
        };
        if let Some(module) = file.module {
            self.add(module, dir);
        }
        for (module, folder) in file.replaced {
            // A folder outside the repository is no problem: its files are just not part of it.
            if let Some(folder) = join(tree.root(), dir, &folder) {
                self.add(module, &folder);
            }
        }
        for folder in file.used {
            let Some(folder) = join(tree.root(), dir, &folder) else {
                continue;
            };
            // The walk may have skipped it (an ignored or hidden folder), the workspace does not.
            let path = if folder.is_empty() {
                "go.mod".to_owned()
            } else {
                format!("{folder}/go.mod")
            };
            if tree.has(&path)
                && let Some(module) = read(tree, &path, problems).and_then(|f| f.module)
            {
                self.add(module, &folder);
            }
        }
    }

    fn add(&mut self, module: String, folder: &str) {
        self.modules
            .entry(module)
            .or_default()
            .insert(folder.to_owned());
    }

    /// Whether any module is declared.
    pub(crate) fn has_modules(&self) -> bool {
        !self.modules.is_empty()
    }

    /// The module of the repository that a package of module `built` with import path `package`
    /// belongs to, and its folders. What the build says counts before the longest prefix.
    pub(crate) fn module(&self, built: &str, package: &str) -> Option<(&str, &BTreeSet<String>)> {
        let within = |module: &str| {
            package
                .strip_prefix(module)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some((module, dirs)) = self.modules.get_key_value(built)
            && within(module)
        {
            return Some((module, dirs));
        }
        self.modules
            .iter()
            .filter(|(module, _)| within(module))
            .max_by_key(|(module, _)| module.len())
            .map(|(module, dirs)| (module.as_str(), dirs))
    }

    /// The files that share the most last components with `name`, and how many those are; nothing
    /// when no file has its base name.
    pub(crate) fn longest_suffix(&self, name: &str) -> Option<(usize, Vec<&str>)> {
        let key = key(name);
        let ends: Vec<usize> = key.match_indices('\0').map(|(at, _)| at + 1).collect();
        for (n, &end) in ends.iter().enumerate().rev() {
            let prefix = &key[..end];
            let from = self.files.partition_point(|(k, _)| k.as_str() < prefix);
            let found: Vec<&str> = self.files[from..]
                .iter()
                .take_while(|(k, _)| k.starts_with(prefix))
                .map(|(_, path)| path.as_str())
                .collect();
            if !found.is_empty() {
                return Some((n + 1, found));
            }
        }
        None
    }
}

fn key(path: &str) -> String {
    let mut key = String::with_capacity(path.len() + 1);
    for component in path.rsplit('/').filter(|c| !c.is_empty()) {
        key.push_str(component);
        key.push('\0');
    }
    key
}

fn read(tree: &Tree, path: &str, problems: &mut Vec<Problem>) -> Option<ModFile> {
    let text = match tree.read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            problems.push(Problem::new(
                Severity::Warning,
                path,
                "a file that can be read",
                error.to_string(),
                "the modules it names are not known",
            ));
            return None;
        }
    };
    let file = gomod::parse(&text);
    for (line, reason) in &file.bad {
        problems.push(Problem::new(
            Severity::Warning,
            path,
            format!("a directive on line {line}"),
            reason.clone(),
            "the line is skipped",
        ));
    }
    Some(file)
}

/// `path` relative to `root`, with `/`; nothing when it is not UTF-8 (then no binary names it).
fn relative(root: &Path, path: &Path) -> Option<String> {
    let mut out = String::new();
    for component in path.strip_prefix(root).ok()?.components() {
        if !out.is_empty() {
            out.push('/');
        }
        out.push_str(component.as_os_str().to_str()?);
    }
    Some(out)
}

/// The folder `folder` as seen from `dir`, relative to the root; nothing when it is outside.
fn join(root: &Path, dir: &str, folder: &str) -> Option<String> {
    let (mut parts, rest): (Vec<&str>, &str) = if Path::new(folder).is_absolute() {
        (Vec::new(), folder.strip_prefix(root.to_str()?)?)
    } else {
        (dir.split('/').filter(|c| !c.is_empty()).collect(), folder)
    };
    if Path::new(folder).is_absolute() && !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    for component in rest.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_stay_inside() {
        let root = Path::new("/r");
        let at = |dir, folder| join(root, dir, folder);
        assert_eq!(at("a", "./b").as_deref(), Some("a/b"));
        assert_eq!(at("a", "../b").as_deref(), Some("b"));
        assert_eq!(at("a/b", "..").as_deref(), Some("a"));
        assert_eq!(at("", ".").as_deref(), Some(""));
        assert_eq!(at("a", "../../b"), None);
        assert_eq!(at("a", "/r/x/").as_deref(), Some("x"));
        assert_eq!(at("a", "/r").as_deref(), Some(""));
        assert_eq!(at("a", "/rx"), None);
        assert_eq!(at("a", "/other"), None);
    }

    #[test]
    fn the_longest_suffix_wins() {
        let mut files: Vec<(String, String)> =
            ["cmd/a/main.go", "cmd/b/main.go", "x/b/main.go", "amain.go"]
                .iter()
                .map(|p| (key(p), (*p).to_owned()))
                .collect();
        files.sort();
        let index = Index {
            files,
            modules: BTreeMap::new(),
        };
        assert_eq!(
            index.longest_suffix("/src/cmd/b/main.go"),
            Some((3, vec!["cmd/b/main.go"]))
        );
        assert_eq!(
            index.longest_suffix("/src/b/main.go"),
            Some((2, vec!["cmd/b/main.go", "x/b/main.go"]))
        );
        assert_eq!(index.longest_suffix("/main.go").unwrap().0, 1);
        assert_eq!(index.longest_suffix("/main.go").unwrap().1.len(), 3);
        assert_eq!(index.longest_suffix("/src/ain.go"), None);
        assert_eq!(index.longest_suffix("//"), None);
    }
}
