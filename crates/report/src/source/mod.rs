//! From the names in a binary to the files of the repository.
//!
//! A binary names its sources as the build saw them: by import path, or, when it was built from
//! files (`go build ./cmd/x/main.go`), by the absolute path inside the container. [`Mapper`] finds
//! the file of the repository that is meant:
//!
//! 1. **Module.** `example.org/shop/pkg/a.go` lies in the folder of the `go.mod` that declares
//!    `example.org/shop`, or of the `replace` or `use` that puts it somewhere. The module that the
//!    build named counts first, else the longest path.
//! 2. **Inside the repository.** An absolute path below the root is taken as it is.
//! 3. **Longest unique suffix.** Other absolute paths and `command-line-arguments`: the file that
//!    shares the most last components. When several do, the one counts that lies where other files
//!    of the same build folder were found; else the name stays unresolved and the candidates are
//!    named. Import paths get this treatment only in a repository without any `go.mod`.
//!
//! Every match is verified against the file's text: all units must lie within it, and functions of
//! Go must begin where the build saw them begin. A file that does not fit was edited since the build
//! and stays unresolved, because its lines would be shown wrong. Files of the standard library and of dependencies are unresolved too, in one entry each.
//!
//! Names are not trusted: nothing outside the root is read ([`Tree`]).

mod fold;
mod gomod;
mod index;
mod shape;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use covtap_model::coverage::{Coverage, File, Package, Unresolved};
use covtap_model::problem::{Problem, Severity};

use index::Index;
use shape::Shape;
pub use tree::{Sources, Tree};

/// The package path that the compiler gives to files named on its command line.
const COMMAND_LINE: &str = "command-line-arguments";
/// Candidates that a reason names.
const NAMED: usize = 5;

/// Finds source files in a checkout.
#[derive(Debug)]
pub struct Mapper {
    /// Absent when the root cannot be entered: then nothing is found.
    tree: Option<Tree>,
    /// The root as it was given, which need not be canonical.
    given: String,
    index: Index,
}

/// Why a file has no path.
enum Miss {
    /// A sentence.
    Because(String),
    /// It belongs to something else; all its files make one entry.
    Foreign { name: String, what: &'static str },
    /// Several files could be meant.
    Ambiguous(Vec<String>),
}

/// A path, and what it teaches about where the build folder lies in the repository.
struct Hit {
    path: String,
    learned: Option<(String, String)>,
}

impl Mapper {
    /// Looks through the checkout at `repo_root`: once, so that many documents can be mapped.
    ///
    /// The problems name folders and `go.mod` lines that could not be read; what could be read is
    /// used.
    #[must_use]
    pub fn new(repo_root: &Path) -> (Self, Vec<Problem>) {
        let given = std::path::absolute(repo_root)
            .unwrap_or_else(|_| repo_root.to_path_buf())
            .to_string_lossy()
            .into_owned();
        match Tree::new(repo_root) {
            Ok(tree) => {
                let (index, problems) = Index::new(&tree);
                let mapper = Self {
                    tree: Some(tree),
                    given,
                    index,
                };
                (mapper, problems)
            }
            Err(error) => {
                let problem = Problem::new(
                    Severity::Warning,
                    repo_root,
                    "the root of the repository",
                    error.to_string(),
                    "no source file is found",
                );
                let mapper = Self {
                    tree: None,
                    given,
                    index: Index::default(),
                };
                (mapper, vec![problem])
            }
        }
    }

    /// Sets the path of every file of `coverage` that is found, and lists the others in
    /// `unresolved`. Earlier answers are replaced: mapping twice is the same as once.
    ///
    /// Two names of one file (it was built as a package and by its file name) become one, with
    /// both counts, when their units are the same; `problems` gets a line for each such pair.
    pub fn map(&self, coverage: &mut Coverage) {
        let mut misses: Vec<(usize, usize, Miss)> = Vec::new();
        let mut learned: BTreeSet<(String, String)> = BTreeSet::new();
        for (p, package) in coverage.packages.iter_mut().enumerate() {
            for f in 0..package.files.len() {
                match self.find(package, &package.files[f]) {
                    Ok(hit) => {
                        learned.extend(hit.learned);
                        package.files[f].path = Some(hit.path);
                    }
                    Err(miss) => {
                        package.files[f].path = None;
                        misses.push((p, f, miss));
                    }
                }
            }
        }

        coverage.unresolved.clear();
        let mut foreign: BTreeMap<(String, &str), usize> = BTreeMap::new();
        for (p, f, miss) in misses {
            let file = &mut coverage.packages[p].files[f];
            let reason = match miss {
                Miss::Because(reason) => reason,
                Miss::Foreign { name, what } => {
                    *foreign.entry((name, what)).or_default() += 1;
                    continue;
                }
                Miss::Ambiguous(candidates) => match self.by_learned(file, &candidates, &learned) {
                    Ok(path) => {
                        file.path = Some(path);
                        continue;
                    }
                    Err(reason) => reason,
                },
            };
            coverage.unresolved.push(Unresolved {
                name: file.name.clone(),
                reason,
            });
        }
        for ((name, what), files) in foreign {
            let plural = if files == 1 { "" } else { "s" };
            coverage.unresolved.push(Unresolved {
                name,
                reason: format!("not part of the repository: {what}, {files} file{plural}"),
            });
        }
        fold::fold(coverage);
        coverage.finish();
    }

    fn find(&self, package: &Package, file: &File) -> Result<Hit, Miss> {
        let name = clean(&file.name);
        if name.split('/').any(|c| c == "..") {
            return Err(Miss::Because("the name contains `..`".into()));
        }
        if name.starts_with('/') {
            return self.find_absolute(&name, file);
        }
        if let Some(rest) = name
            .strip_prefix(COMMAND_LINE)
            .filter(|r| r.starts_with('/'))
        {
            return self.by_suffix(&name, rest, file);
        }
        // In a module there are also names without `.go`: `//line parser.y:7` makes one.
        let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
        if name.ends_with(".go") || self.index.module(&package.module, dir).is_some() {
            return self.by_module(&name, package, file);
        }
        // Other languages name files relative to where they were compiled.
        if self.tree.as_ref().is_some_and(|t| t.has(&name)) {
            return self.verified(&name, file).map(Hit::alone);
        }
        self.by_suffix(&name, &name, file)
    }

    fn by_module(&self, name: &str, package: &Package, file: &File) -> Result<Hit, Miss> {
        let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
        let Some((module, folders)) = self.index.module(&package.module, dir) else {
            // Go reserves import paths without a dot in their first part for its own library.
            let dotless = !name.split('/').next().unwrap_or(name).contains('.');
            if dotless && (package.module.is_empty() || package.module == "std") {
                return Err(standard_library());
            }
            if !self.index.has_modules() {
                return self.by_suffix(name, name, file);
            }
            return Err(Miss::Foreign {
                name: if package.module.is_empty() {
                    package.path.clone()
                } else {
                    package.module.clone()
                },
                what: "no go.mod here declares or replaces its module",
            });
        };
        let rest = name[module.len()..].trim_start_matches('/');
        let paths: Vec<String> = folders
            .iter()
            .map(|folder| {
                if folder.is_empty() {
                    rest.to_owned()
                } else {
                    format!("{folder}/{rest}")
                }
            })
            .collect();
        let there: Vec<String> = paths
            .iter()
            .filter(|path| self.tree.as_ref().is_some_and(|t| t.has(path)))
            .cloned()
            .collect();
        if let [path] = there.as_slice() {
            return self.verified(path, file).map(Hit::alone);
        }
        if there.is_empty() {
            return Err(Miss::Because(format!(
                "{} does not exist: made during the build, or removed since",
                paths.join(" and ")
            )));
        }
        // The module is there more than once, for example as a copy: the text decides.
        let fitting: Vec<&String> = there
            .iter()
            .filter(|path| self.verified(path, file).is_ok())
            .collect();
        match fitting.as_slice() {
            [path] => Ok(Hit::alone((*path).clone())),
            _ => Err(Miss::Ambiguous(there)),
        }
    }

    fn find_absolute(&self, name: &str, file: &File) -> Result<Hit, Miss> {
        if let Some(tree) = &self.tree {
            let roots = [Some(self.given.as_str()), tree.root().to_str()];
            for root in roots.into_iter().flatten() {
                let inside = name
                    .strip_prefix(root.trim_end_matches('/'))
                    .and_then(|rest| rest.strip_prefix('/'));
                if let Some(relative) = inside
                    && tree.has(relative)
                {
                    return self.verified(relative, file).map(Hit::alone);
                }
            }
        }
        if let Some(miss) = dependency(name) {
            return Err(miss);
        }
        self.by_suffix(name, name, file)
    }

    /// `suffix` is the part of `name` that may be looked for.
    fn by_suffix(&self, name: &str, suffix: &str, file: &File) -> Result<Hit, Miss> {
        let base = suffix.rsplit('/').next().unwrap_or(suffix);
        let Some((shared, found)) = self.index.longest_suffix(suffix) else {
            return Err(Miss::Because(format!(
                "no file of the repository is called {base}"
            )));
        };
        let [path] = found.as_slice() else {
            return Err(Miss::Ambiguous(
                found.into_iter().map(str::to_owned).collect(),
            ));
        };
        let path = self.verified(path, file)?;
        Ok(Hit {
            learned: Some((before(name, shared), before(&path, shared))),
            path,
        })
    }

    /// Of several candidates the one that lies where other files of the same build folder lie.
    fn by_learned(
        &self,
        file: &File,
        candidates: &[String],
        learned: &BTreeSet<(String, String)>,
    ) -> Result<String, String> {
        let name = clean(&file.name);
        let candidates_set: BTreeSet<&str> = candidates.iter().map(String::as_str).collect();
        let fitting: BTreeSet<String> = learned
            .iter()
            .filter_map(|(build, here)| {
                let rest = name.strip_prefix(build.as_str())?;
                Some(format!("{here}{rest}"))
            })
            .filter(|path| candidates_set.contains(path.as_str()))
            .collect();
        if fitting.len() == 1
            && let Some(path) = fitting.first()
            && self.verified(path, file).is_ok()
        {
            return Ok(path.clone());
        }
        let mut named: Vec<&str> = candidates.iter().map(String::as_str).collect();
        named.sort_unstable();
        let more = match named.len().saturating_sub(NAMED) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        named.truncate(NAMED);
        Err(format!(
            "ambiguous: {} fit equally well: {}{more}",
            candidates.len(),
            named.join(", ")
        ))
    }

    /// `path`, when the text of the file fits the coverage.
    fn verified(&self, path: &str, file: &File) -> Result<String, Miss> {
        let because = |text: String| Err(Miss::Because(text));
        let Some(tree) = &self.tree else {
            return because("the repository could not be read".into());
        };
        let text = match tree.read(path) {
            Ok(text) => text,
            Err(error) => return because(format!("{path} could not be read: {error}")),
        };
        match Shape::new(&text).fits(file) {
            Ok(()) => Ok(path.to_owned()),
            Err(what) => because(format!("{path}: {what}: edited since the build")),
        }
    }
}

/// The sources of the repository, for example for [`crate::exclude`].
impl Sources for Mapper {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        match &self.tree {
            Some(tree) => tree.read(path),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Hit {
    fn alone(path: String) -> Self {
        Self {
            path,
            learned: None,
        }
    }
}

/// A name with `/`, without `./` in front and without the `_` that GOPATH builds outside a
/// workspace put before an absolute path.
fn clean(name: &str) -> String {
    let bytes = name.as_bytes();
    let windows = bytes.len() > 2
        && bytes[0].is_ascii_alphabetic()
        && bytes[1] == b':'
        && matches!(bytes[2], b'\\' | b'/');
    if windows {
        return name[2..].replace('\\', "/");
    }
    let name = name
        .strip_prefix('_')
        .filter(|n| n.starts_with('/'))
        .unwrap_or(name);
    let mut name = name;
    while let Some(rest) = name.strip_prefix("./") {
        name = rest;
    }
    name.to_owned()
}

/// What is left of `path` before its last `components`, with its `/`.
fn before(path: &str, components: usize) -> String {
    let mut at = path.len();
    for _ in 0..components {
        at = path[..at]
            .trim_end_matches('/')
            .rfind('/')
            .map_or(0, |i| i + 1);
    }
    path[..at].to_owned()
}

fn standard_library() -> Miss {
    Miss::Foreign {
        name: "std".into(),
        what: "standard library",
    }
}

/// Whether an absolute path lies where toolchains keep what they downloaded or brought along.
fn dependency(name: &str) -> Option<Miss> {
    let go_root = name.starts_with("/usr/local/go/src/")
        || (name.starts_with("/usr/lib/go") && name.contains("/src/"));
    if go_root || name.starts_with("/rustc/") {
        return Some(standard_library());
    }
    // Go's module cache: …/pkg/mod/example.org/x@v1.2.3/a.go
    let mut end = 0;
    for component in name.split_inclusive('/') {
        end += component.len();
        let versioned = component
            .split_once("@v")
            .is_some_and(|(_, v)| v.starts_with(|c: char| c.is_ascii_digit()));
        if versioned {
            let path = name[..end].trim_end_matches('/');
            let module = path.split_once("/pkg/mod/").map_or(path, |(_, m)| m);
            return Some(Miss::Foreign {
                name: module.to_owned(),
                what: "module cache",
            });
        }
    }
    // Cargo's: …/.cargo/registry/src/index.crates.io-…/x-1.2.3/src/lib.rs
    let (_, rest) = name.split_once("/registry/src/")?;
    Some(Miss::Foreign {
        name: rest.split('/').nth(1)?.to_owned(),
        what: "crate registry",
    })
}

#[cfg(test)]
mod tests;
