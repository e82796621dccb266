//! The project around a directory: where its root is, and which Go modules are its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What marks the directory that runs belong to, checked in every directory upwards.
const PROJECT_MARKS: [&str; 5] = ["covtap.toml", ".covtap", ".git", "go.work", "go.mod"];

/// The nearest directory at or above `start` that holds a project; `start` when there is none.
#[must_use]
pub fn project_root(start: &Path) -> PathBuf {
    ancestor_with(start, &PROJECT_MARKS).unwrap_or_else(|| start.to_path_buf())
}

/// The root of the repository: the nearest directory with `.git`, else the project's root.
#[must_use]
pub fn repository_root(start: &Path) -> PathBuf {
    ancestor_with(start, &[".git"]).unwrap_or_else(|| project_root(start))
}

fn ancestor_with(start: &Path, names: &[&str]) -> Option<PathBuf> {
    start
        .ancestors()
        .find(|dir| names.iter().any(|name| dir.join(name).exists()))
        .map(Path::to_path_buf)
}

/// The paths of all Go modules in a repository.
///
/// Hidden directories, what `.gitignore` names, `vendor`, `node_modules` and `testdata` are passed
/// over: modules in them are not the repository's own.
#[must_use]
pub fn go_modules(root: &Path) -> BTreeSet<String> {
    ignore::WalkBuilder::new(root)
        .require_git(false)
        .filter_entry(|entry| {
            let name = entry.file_name();
            name != "vendor" && name != "node_modules" && name != "testdata"
        })
        .build()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name() == "go.mod")
        .filter_map(|entry| module_path(&fs::read_to_string(entry.path()).ok()?))
        .collect()
}

/// The module path that a go.mod file declares.
fn module_path(go_mod: &str) -> Option<String> {
    let mut in_block = false;
    for line in go_mod.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let path = if in_block {
            line
        } else {
            let Some(rest) = line.strip_prefix("module") else {
                continue;
            };
            if !rest.starts_with([' ', '\t', '(', '"', '`']) {
                continue;
            }
            rest.trim()
        };
        if path == "(" {
            in_block = true;
            continue;
        }
        if !path.is_empty() {
            let path = path.trim_matches(['"', '`']);
            return (!path.is_empty() && path != ")").then(|| path.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_lines_are_read_as_go_reads_them() {
        let cases = [
            ("module example.org/a\n\ngo 1.21\n", Some("example.org/a")),
            (
                "// Comment\nmodule \"example.org/a\" // why\n",
                Some("example.org/a"),
            ),
            ("module (\n\texample.org/a\n)\n", Some("example.org/a")),
            ("go 1.21\nmodules x\n", None),
            ("module\n", None),
            ("module (\n)\n", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(module_path(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn modules_of_others_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        for (path, module) in [
            (".", "example.org/a"),
            ("tools", "example.org/a/tools"),
            ("vendor/x", "x.org/x"),
            ("pkg/testdata/y", "y.org/y"),
            (".cache/z", "z.org/z"),
        ] {
            let at = dir.path().join(path);
            fs::create_dir_all(&at).unwrap();
            fs::write(at.join("go.mod"), format!("module {module}\n")).unwrap();
        }
        let modules = go_modules(dir.path());
        let modules: Vec<_> = modules.iter().map(String::as_str).collect();
        assert_eq!(modules, ["example.org/a", "example.org/a/tools"]);
    }

    #[test]
    fn the_nearest_mark_is_the_project_and_git_is_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("service/cmd");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        fs::write(dir.path().join("service/go.mod"), "module a\n").unwrap();
        assert_eq!(project_root(&deep), dir.path().join("service"));
        assert_eq!(repository_root(&deep), dir.path());
    }
}
