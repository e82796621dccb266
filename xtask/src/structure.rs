//! What no committed file may hold, and what every crate and the README must have.

use std::path::Path;

use crate::sh::{self, About, Result, cmd, fail};

/// Largest committed file, in bytes. What is larger is made by a recipe and cached.
const LARGEST: u64 = 1_000_000;

/// Texts that no committed file may hold, with the reason. Written in pieces, so that this file
/// passes its own check.
const FORBIDDEN: [(&str, &str); 13] = [
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/home/", "runner"), "a path of one machine"),
    (concat!("TO", "DO"), "unfinished work belongs in an issue"),
    (concat!("FIX", "ME"), "unfinished work belongs in an issue"),
    (concat!("|| ", "true"), "a swallowed error"),
    (concat!("py", "pi.org"), "a registry's host"),
    (concat!("python", "hosted.org"), "a registry's host"),
    (concat!("proxy.", "golang.org"), "a registry's host"),
    (concat!("sum.", "golang.org"), "a registry's host"),
    (concat!("registry.", "npmjs"), "a registry's host"),
    (concat!("deb.", "debian.org"), "a registry's host"),
    (concat!("static.", "crates.io"), "a registry's host"),
];

/// The task.
pub(crate) fn task(_: &[String]) -> Result {
    let root = crate::repository();
    let list = sh::quiet(cmd("git", &["ls-files", "-z"]).current_dir(&root))?;
    let mut wrong = Vec::new();
    let mut files = 0;
    for name in list.split('\0').filter(|name| !name.is_empty()) {
        let path = root.join(name);
        // Deleted in the work tree and not yet in the index: nothing to look at.
        if !path.is_file() {
            continue;
        }
        files += 1;
        let bytes = std::fs::read(&path).about(name)?;
        if bytes.len() as u64 > LARGEST {
            wrong.push(format!(
                "{name}: {} bytes, more than {LARGEST}",
                bytes.len()
            ));
        }
        wrong.extend(forbidden(name, &bytes));
    }
    for folder in ["crates", "."] {
        wrong.extend(undocumented(&root.join(folder))?);
    }
    wrong.extend(readme(&root));
    if wrong.is_empty() {
        println!("structure holds: {files} committed files");
        return Ok(());
    }
    fail!("{}", wrong.join("\n"))
}

/// Every forbidden text of a file, with its line. Files that are not text are not searched.
fn forbidden(name: &str, bytes: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (word, why) in FORBIDDEN {
            if line.contains(word) {
                found.push(format!("{name}:{}: {word:?}: {why}", number + 1));
            }
        }
    }
    found
}

/// Crates in `folder` whose root module does not say what it is.
fn undocumented(folder: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder).about(folder.display())? {
        let dir = entry.about(folder.display())?.path();
        if !dir.join("Cargo.toml").is_file() {
            continue;
        }
        for root in ["src/lib.rs", "src/main.rs"] {
            let file = dir.join(root);
            if file.is_file() && !sh::read(&file)?.starts_with("//!") {
                wrong.push(format!("{}: no module documentation", file.display()));
            }
        }
    }
    Ok(wrong)
}

/// What the README lacks: the two commands that a stranger runs.
fn readme(root: &Path) -> Vec<String> {
    let text = match std::fs::read_to_string(root.join("README.md")) {
        Ok(text) => text,
        Err(error) => return vec![format!("README.md: {error}")],
    };
    ["make demo", "make test"]
        .iter()
        .filter(|command| !text.contains(*command))
        .map(|command| format!("README.md does not name `{command}`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{FORBIDDEN, forbidden};

    #[test]
    fn every_forbidden_text_is_found_with_its_line() {
        for (word, why) in FORBIDDEN {
            let text = format!("first\nsecond {word}x\n");
            let found = forbidden("f", text.as_bytes());
            assert_eq!(found.len(), 1, "{word}");
            assert!(found[0].starts_with("f:2: ") && found[0].ends_with(why));
        }
        assert!(forbidden("f", b"\xff\xfe binary").is_empty());
        assert!(forbidden("f", b"ordinary text\n").is_empty());
    }
}
