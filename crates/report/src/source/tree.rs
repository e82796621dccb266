//! Reading files of the repository, and of nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

/// Source files are text; a larger one is not read.
const MAX_BYTES: u64 = 64 << 20;

/// Where the text of source files comes from, by repository path (relative, with `/`).
pub trait Sources: Sync {
    /// The content of a file.
    ///
    /// # Errors
    /// `NotFound` when there is no such file, `InvalidInput` when the path leads out of the
    /// repository or names no regular file, `FileTooLarge` and others of the system.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
}

/// Files in memory: for tests, and for sources that came from an image.
impl Sources for BTreeMap<String, Vec<u8>> {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A checkout. Nothing outside of it is read: absolute paths, `..` and symbolic links that lead
/// out of it are refused.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Canonical.
    root: PathBuf,
}

impl Tree {
    /// The tree under `root`.
    ///
    /// # Errors
    /// Those of the system, when `root` is not there or may not be entered; `NotADirectory`.
    pub fn new(root: &Path) -> io::Result<Self> {
        let root = fs::canonicalize(root)?;
        if !root.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { root })
    }

    /// The canonical path of the root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The canonical path of a regular file inside the tree.
    fn resolve(&self, path: &str) -> io::Result<PathBuf> {
        let relative = Path::new(path);
        let inside = !path.is_empty()
            && !path.contains('\0')
            && relative
                .components()
                .all(|c| matches!(c, Component::Normal(_)));
        if !inside {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let real = fs::canonicalize(self.root.join(relative))?;
        // Regular files only: opening a pipe would wait for its other end.
        if !real.starts_with(&self.root) || !fs::metadata(&real)?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(real)
    }

    /// Whether a regular file lies there, inside the tree.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.resolve(path).is_ok()
    }
}

impl Sources for Tree {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(self.resolve(path)?)?
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_inside_are_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/b.go"), "x").unwrap();
        let tree = Tree::new(dir.path()).unwrap();
        assert_eq!(tree.read("a/b.go").unwrap(), b"x");
        assert!(tree.has("a/b.go") && !tree.has("a") && !tree.has("a/c.go"));
        assert_eq!(
            tree.read("a/c.go").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert!(Tree::new(&dir.path().join("a/b.go")).is_err());
        assert!(Tree::new(&dir.path().join("none")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn nothing_outside_is_read() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("repo");
        fs::create_dir(&root).unwrap();
        fs::write(dir.path().join("secret"), "s").unwrap();
        fs::write(root.join("real.go"), "r").unwrap();
        symlink("../secret", root.join("file.go")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("real.go", root.join("inside.go")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let tree = Tree::new(&root).unwrap();
        for path in [
            "file.go",
            "up/secret",
            "../secret",
            "a/../../secret",
            "/etc/passwd",
            "",
            ".",
            "loop",
            "a\0b",
        ] {
            assert!(tree.read(path).is_err(), "{path:?}");
        }
        assert_eq!(tree.read("inside.go").unwrap(), b"r");
    }
}
