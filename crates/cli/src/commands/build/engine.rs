//! `docker` and `podman`, as commands: a build's progress, credentials and remote engines are theirs.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use covtap_wiring::instrument::Plan;

use super::ignore_file;
use crate::args::{Build, EngineName};
use crate::failure::Failure;

/// A container engine's command.
pub(super) struct Engine {
    name: &'static str,
}

impl Engine {
    /// The one that is asked for, else the first that there is.
    pub(super) fn find(asked: Option<EngineName>) -> Result<Self, Failure> {
        let names: &[&'static str] = match asked {
            None => &["docker", "podman"],
            Some(EngineName::Docker) => &["docker"],
            Some(EngineName::Podman) => &["podman"],
        };
        for name in names {
            let version = Command::new(name)
                .arg("--version")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            match version {
                Ok(status) if status.success() => return Ok(Self { name }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::new(format!("cannot run {name}: {error}"))),
            }
        }
        Err(
            Failure::new(format!("there is no {} here", names.join(" and no ")))
                .hint("install one, or add it to PATH".to_owned()),
        )
    }

    /// Builds an image of the edited Dockerfile; its output is the terminal's. Gives the image's id.
    pub(super) fn build(
        &self,
        args: &Build,
        plan: &Plan,
        file: &Path,
        edited: &str,
    ) -> Result<String, Failure> {
        let cannot = |what: &str, e: io::Error| Failure::new(format!("cannot {what}: {e}"));
        let folder = tempfile::tempdir().map_err(|e| cannot("make a temporary folder", e))?;
        let id = folder.path().join("id");
        let mut command = Command::new(self.name);
        command.arg("build").arg("--iidfile").arg(&id);
        if plan.edits.is_empty() {
            command.arg("--file").arg(file);
        } else {
            let copy = folder.path().join("Dockerfile");
            fs::write(&copy, edited).map_err(|e| cannot("write the copy of the Dockerfile", e))?;
            let ignored = ignore_file(file);
            if ignored.is_file() {
                fs::copy(&ignored, ignore_file(&copy))
                    .map_err(|e| cannot(&format!("copy {}", ignored.display()), e))?;
            }
            command.arg("--file").arg(copy);
        }
        for tag in &args.tag {
            command.arg("--tag").arg(tag);
        }
        for argument in &args.build_arg {
            command.arg("--build-arg").arg(argument);
        }
        // The last of a name counts.
        if let Some(value) = &plan.build_argument {
            command.arg("--build-arg").arg(format!("GOFLAGS={value}"));
        }
        if let Some(stage) = &args.target {
            command.arg("--target").arg(stage);
        }
        command.args(&args.engine_arguments).arg(&args.context);
        // Standard output is for what covtap says of the image.
        let status = command
            .stdout(io::stderr())
            .status()
            .map_err(|e| cannot(&format!("run {} build", self.name), e))?;
        if !status.success() {
            return Err(Failure::new(format!(
                "{} build failed ({status})",
                self.name
            )));
        }
        let id = fs::read_to_string(&id)
            .map_err(|e| cannot(&format!("read the image's id that {} wrote", self.name), e))?;
        Ok(id.trim().to_owned())
    }

    /// Loads an image into all nodes of a Kind cluster.
    pub(super) fn load(&self, tag: &str, cluster: &str) -> Result<(), Failure> {
        let mut command = Command::new("kind");
        command
            .args(["load", "docker-image", tag, "--name", cluster])
            .stdout(io::stderr());
        if self.name == "podman" {
            command.env("KIND_EXPERIMENTAL_PROVIDER", "podman");
        }
        let status = command.status().map_err(|e| {
            Failure::new(format!("cannot run kind: {e}"))
                .hint("is it installed, and on PATH?".to_owned())
        })?;
        match status.success() {
            true => Ok(()),
            false => Err(Failure::new(format!(
                "kind could not load {tag} into {cluster} ({status})"
            ))
            .hint("kind get clusters lists those that there are".to_owned())),
        }
    }

    /// What a command prints.
    pub(super) fn output(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut child = self.start(arguments)?;
        let mut text = String::new();
        let read = child
            .stdout
            .take()
            .map(|mut out| out.read_to_string(&mut text));
        self.finish(child, arguments)?;
        match read {
            Some(Err(e)) => Err(Failure::new(format!(
                "cannot read what {} {} says: {e}",
                self.name, arguments[0]
            ))),
            _ => Ok(text),
        }
    }

    /// Starts a command; its standard output can be read, its errors go to the terminal.
    pub(super) fn start(&self, arguments: &[&str]) -> Result<Child, Failure> {
        Command::new(self.name)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| Failure::new(format!("cannot run {} {}: {e}", self.name, arguments[0])))
    }

    /// Waits for its end.
    pub(super) fn finish(&self, mut child: Child, arguments: &[&str]) -> Result<(), Failure> {
        let named = || format!("{} {}", self.name, arguments[0]);
        match child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::new(format!("{} failed ({status})", named()))),
            Err(e) => Err(Failure::new(format!("cannot wait for {}: {e}", named()))),
        }
    }
}
