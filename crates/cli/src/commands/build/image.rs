//! The Go programs in an image, without running any of them.

use std::io::{self, Read, Seek, Write};
use std::path::Path;

use covtap_profile::go::executable::{self, InspectError};
use serde::Deserialize;

use super::engine::Engine;
use crate::failure::Failure;
use crate::output;

/// Where programs are looked for when an image says nothing: the PATH that engines give a container.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What was found in an image.
pub(super) struct Image {
    /// As the engine calls it: `sha256:…`.
    pub(super) id: String,
    /// Its Go programs, in the archive's order.
    pub(super) programs: Vec<Program>,
}

/// A Go program in an image.
pub(super) struct Program {
    /// Where, from `/`.
    pub(super) path: String,
    /// Whether it counts.
    pub(super) instrumented: bool,
    /// Whether it writes files when it ends.
    pub(super) exit_hook: bool,
    /// Its Go's version.
    pub(super) go: String,
    /// Whether a container of the image starts it.
    pub(super) entry_point: bool,
}

/// The part of `docker image inspect` that is used.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
}

/// Looks at every program in an image, as its files are exported.
pub(super) fn look(engine: &Engine, id: &str) -> Result<Image, Failure> {
    let text = engine.output(&["image", "inspect", "--format", "{{json .Config}}", id])?;
    let config: Config = serde_json::from_str(&text).map_err(|e| {
        Failure::new(format!(
            "the engine's description of image {id} is not understood: {e}"
        ))
    })?;
    let starts = candidates(&config);
    // A container that is never started: the argument is for images that say nothing of what to start.
    let container = engine.output(&["create", id, "covtap"])?;
    let container = container.trim();
    let programs = programs(engine, container, &starts);
    engine.output(&["rm", container])?;
    Ok(Image {
        id: id.to_owned(),
        programs: programs?,
    })
}

fn programs(engine: &Engine, container: &str, starts: &[String]) -> Result<Vec<Program>, Failure> {
    let arguments = ["export", container];
    let mut child = engine.start(&arguments)?;
    let mut programs = Vec::new();
    if let Some(mut out) = child.stdout.take() {
        read(&mut out, starts, &mut programs)
            .map_err(|e| Failure::new(format!("cannot read the image's files: {e}")))?;
        // What follows the archive's end is padding; unread, the engine would see a closed pipe.
        io::copy(&mut out, &mut io::sink()).map_err(Failure::new)?;
    }
    engine.finish(child, &arguments)?;
    Ok(programs)
}

fn read(archive: impl Read, starts: &[String], programs: &mut Vec<Program>) -> io::Result<()> {
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let header = entry.header();
        if !header.entry_type().is_file() || header.mode()? & 0o111 == 0 {
            continue;
        }
        let path = format!(
            "/{}",
            entry.path()?.display().to_string().trim_start_matches('/')
        );
        let mut magic = [0; 4];
        if entry.size() < 4 || entry.read_exact(&mut magic).is_err() || &magic != b"\x7fELF" {
            continue;
        }
        let mut file = tempfile::tempfile()?;
        file.write_all(&magic)?;
        io::copy(&mut entry, &mut file)?;
        file.rewind()?;
        match executable::inspect(file) {
            Ok(found) => {
                if let Some(go) = found.go {
                    programs.push(Program {
                        entry_point: starts.contains(&path),
                        path,
                        instrumented: found.instrumented,
                        exit_hook: found.exit_hook,
                        go: go.version,
                    });
                }
            }
            Err(InspectError::Read(error)) => return Err(error),
            // A program of another machine or a broken one is none that this image runs.
            Err(error) => output::note(&format!("{path} is not looked at: {error}")),
        }
    }
    Ok(())
}

/// Where the program that a container starts may lie.
fn candidates(config: &Config) -> Vec<String> {
    let words = [&config.entrypoint, &config.cmd];
    let Some(first) = words.into_iter().flatten().flatten().next() else {
        return Vec::new();
    };
    let folder = config
        .working_dir
        .as_deref()
        .filter(|d| !d.is_empty())
        .unwrap_or("/");
    if first.contains('/') {
        let path = Path::new(folder).join(first.trim_start_matches("./"));
        return vec![path.display().to_string()];
    }
    let path = config
        .env
        .iter()
        .flatten()
        .find_map(|e| e.strip_prefix("PATH="))
        .unwrap_or(DEFAULT_PATH);
    path.split(':')
        .map(|p| format!("{}/{first}", p.trim_end_matches('/')))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entrypoint: &[&str], cmd: &[&str]) -> Vec<String> {
        let words = |w: &[&str]| Some(w.iter().map(|&w| w.to_owned()).collect());
        candidates(&Config {
            entrypoint: words(entrypoint),
            cmd: words(cmd),
            env: Some(vec!["A=b".into(), "PATH=/x:/y/".into()]),
            working_dir: Some("/w".into()),
        })
    }

    #[test]
    fn what_a_container_starts() {
        assert_eq!(of(&["/api", "-v"], &["x"]), ["/api"]);
        assert_eq!(of(&[], &["./api"]), ["/w/api"]);
        assert_eq!(of(&["api"], &[]), ["/x/api", "/y/api"]);
        assert_eq!(of(&[], &[]), Vec::<String>::new());
    }

    #[test]
    fn a_broken_archive_is_an_error() {
        let mut programs = Vec::new();
        assert!(
            read(
                &b"no archive at all, but as long as a header of one has to be"[..],
                &[],
                &mut programs
            )
            .is_err()
        );
    }
}
