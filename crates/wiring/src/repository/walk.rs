//! Which files there are, and which of them are worth reading.

use std::io::Read;
use std::path::Path;
use std::sync::Mutex;

use covtap_model::facts::Place;
use covtap_model::facts::repository::Unread;
use ignore::{WalkBuilder, WalkState};
use memchr::memmem;

/// Files beyond this are left out: nobody writes as much by hand.
const BIGGEST: u64 = 1024 * 1024;
/// Folders with other people's code.
const OTHERS: [&str; 6] = [
    "vendor",
    "node_modules",
    "testdata",
    ".git",
    "site-packages",
    ".terraform",
];
/// A Go file without any of these has nothing of interest.
const GO_WORDS: [&str; 21] = [
    "GOCOVERDIR",
    "runtime/coverage",
    "covdata",
    "coverdata",
    "\"os/exec\"",
    "\"os/signal\"",
    "kind: Deployment",
    "kind: StatefulSet",
    "kind: DaemonSet",
    "kind: Cluster",
    "hostPath:",
    "func main(",
    "syscall.Ex",
    "unix.Exec",
    "AfterSuite(",
    "func TestMain(",
    "kubectl(",
    "\"docker\"",
    "SetupSignal",
    "oklog/run",
    "go.uber.org/fx",
];
/// The same of Python.
const PYTHON_WORDS: [&str; 6] = [
    "subprocess",
    "os.system",
    "GOCOVERDIR",
    "covdata",
    "COVERAGE_PROCESS_START",
    "kubectl",
];

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dockerfile,
    Makefile,
    Shell,
    Yaml,
    Module,
    Go,
    Python,
}

/// A file that may be worth reading.
pub(super) struct Candidate {
    /// Relative to the root, with `/`.
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What the walk has found.
pub(super) struct Files {
    pub(super) total: usize,
    pub(super) candidates: Vec<Candidate>,
    pub(super) unread: Vec<Unread>,
}

/// All files below a folder.
///
/// # Errors
///
/// The folder itself cannot be read.
pub(super) fn files(root: &Path) -> std::io::Result<Files> {
    std::fs::read_dir(root)?;
    let found = Mutex::new(Files {
        total: 0,
        candidates: Vec::new(),
        unread: Vec::new(),
    });
    let walk = WalkBuilder::new(root)
        .hidden(false)
        .require_git(false)
        .filter_entry(|entry| {
            let folder = entry.file_type().is_some_and(|t| t.is_dir());
            let name = entry.file_name().to_string_lossy();
            entry.depth() == 0 || !folder || !OTHERS.contains(&name.as_ref())
        })
        .build_parallel();
    walk.run(|| {
        let found = &found;
        Box::new(move |entry| {
            let Ok(mut found) = found.lock() else {
                return WalkState::Quit;
            };
            match entry {
                Ok(entry) if entry.file_type().is_some_and(|t| t.is_file()) => {
                    found.total += 1;
                    let name = relative(root, entry.path());
                    if let Some(kind) = kind(&name) {
                        found.candidates.push(Candidate { name, kind });
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    found.unread.push(Unread {
                        place: Place::default(),
                        why: error.to_string(),
                        concerns_coverage: false,
                    });
                }
            }
            WalkState::Continue
        })
    });
    let mut found = found
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    found.candidates.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = path
        .components()
        .map(|c| c.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
}

/// What a file is, by its name.
pub(super) fn kind(path: &str) -> Option<Kind> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let lower = name.to_ascii_lowercase();
    let ending = lower.rsplit_once('.').map_or("", |(_, e)| e);
    if matches!(
        ending,
        "md" | "rst" | "txt" | "dockerignore" | "adoc" | "html"
    ) {
        return None;
    }
    let image = ["dockerfile", "containerfile"];
    if image.contains(&ending)
        || image.iter().any(|i| {
            lower == *i
                || lower.starts_with(&format!("{i}."))
                || lower.starts_with(&format!("{i}-"))
        })
    {
        return Some(Kind::Dockerfile);
    }
    match ending {
        "go" => Some(Kind::Go),
        "py" => Some(Kind::Python),
        "sh" | "bash" => Some(Kind::Shell),
        "yaml" | "yml" | "tpl" => Some(Kind::Yaml),
        "mk" => Some(Kind::Makefile),
        _ if lower == "go.mod" => Some(Kind::Module),
        _ if matches!(lower.as_str(), "makefile" | "gnumakefile")
            || lower.starts_with("makefile.") =>
        {
            Some(Kind::Makefile)
        }
        _ if ending.is_empty()
            && ["scripts/", "hack/", "bin/", "ci/"]
                .iter()
                .any(|d| path.contains(d)) =>
        {
            Some(Kind::Shell)
        }
        _ => None,
    }
}

/// Whether a file has something of interest.
pub(super) fn is_wanted(kind: Kind, bytes: &[u8]) -> bool {
    let any = |words: &[&str]| {
        words
            .iter()
            .any(|w| memmem::find(bytes, w.as_bytes()).is_some())
    };
    match kind {
        Kind::Go => any(&GO_WORDS),
        Kind::Python => any(&PYTHON_WORDS),
        Kind::Yaml => any(&[
            "kind:",
            "services:",
            "run:",
            "script:",
            "GOCOVERDIR",
            "uses:",
        ]),
        _ => true,
    }
}

/// The text of a file; none where it has nothing of interest.
///
/// # Errors
///
/// Why it cannot be read.
pub(super) fn text(root: &Path, file: &Candidate) -> Result<Option<String>, String> {
    let read = || -> std::io::Result<(u64, Vec<u8>)> {
        let mut open = std::fs::File::open(root.join(&file.name))?;
        let length = open.metadata()?.len();
        let mut bytes = Vec::new();
        if length <= BIGGEST {
            open.read_to_end(&mut bytes)?;
        }
        Ok((length, bytes))
    };
    let (length, bytes) = read().map_err(|e| e.to_string())?;
    if length > BIGGEST {
        // A generated source says nothing; a huge manifest would.
        return match file.kind {
            Kind::Go | Kind::Python => Ok(None),
            _ => Err(format!(
                "it has {length} bytes, more than {BIGGEST} are not read"
            )),
        };
    }
    let shebang =
        file.name.ends_with(".sh") || file.name.ends_with(".bash") || bytes.starts_with(b"#!");
    if (file.kind == Kind::Shell && !shebang) || !is_wanted(file.kind, &bytes) {
        return Ok(None);
    }
    if file.kind == Kind::Shell && bytes.starts_with(b"#!") {
        let first = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        if memmem::find(first, b"sh").is_none() {
            return Ok(None);
        }
    }
    let text = String::from_utf8(bytes)
        .map_err(|e| format!("byte {} is no UTF-8", e.utf8_error().valid_up_to()))?;
    match text.contains('\0') {
        true => Err("it has a zero byte: no text".to_owned()),
        false => Ok(Some(text.replace("\r\n", "\n"))),
    }
}
