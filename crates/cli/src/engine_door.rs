//! The way to an agent on a node that is a container of an engine, as Kind's are: this very program is put
//! into the node and started there through the engine. No password and no port is needed for that, only the
//! engine's socket.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use covtap_cluster::{ActError, Output, Reach};
use covtap_live::surroundings::{Door, Opened, Shut};
use covtap_model::problem::{Problem, Severity};
use covtap_tap::cgroup::ContainerId;

use crate::failure;

/// Where the program is put: on no `tmpfs` of a Kind node.
const FOLDER: &str = "/usr/local/bin";
/// How long a small program in a node may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most that such a program says, in bytes.
const MOST: usize = 64 << 10;

/// A node that is a container of an engine.
pub(crate) struct EngineDoor {
    reach: Reach,
    node: String,
    container: ContainerId,
    /// The program for the node; `None`: this one.
    program: Option<PathBuf>,
    /// Where the program is put in the node: another place for each run.
    place: String,
}

impl EngineDoor {
    pub(crate) fn new(
        reach: Reach,
        node: &str,
        container: &ContainerId,
        program: Option<PathBuf>,
    ) -> Self {
        // A clock before 1970 gives a name as well.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        Self {
            reach,
            node: node.to_owned(),
            container: container.clone(),
            program,
            place: format!("{FOLDER}/covtap-agent-{:x}-{now:x}", process::id()),
        }
    }

    fn put(&self) -> Result<(), Shut> {
        let (name, program) = self.read().map_err(|(name, error)| {
            final_word(Problem::new(
                Severity::Warning,
                name,
                "the program that is put into nodes",
                error.to_string(),
                "",
            ))
        })?;
        let theirs = self.run(&["uname", "-m"]).map_err(|e| self.shut(&e))?;
        let theirs = String::from_utf8_lossy(&theirs.stdout).trim().to_owned();
        let ours = processor(&program);
        if ours != Some(theirs.as_str()) {
            let problem = self.problem(
                &format!("a program for its processor, {theirs}"),
                match ours {
                    Some(ours) => format!("{} for {ours}", name.display()),
                    None => format!("{}, which Linux cannot execute", name.display()),
                },
            );
            return Err(final_word(problem.hint(format!(
                "--agent-binary names the covtap for Linux on {theirs}"
            ))));
        }
        self.reach
            .copy_into(self.container.as_str(), &self.place, program, 0o755)
            .map_err(|error| self.shut(&error))
    }

    /// The program for the node, and its name.
    fn read(&self) -> Result<(PathBuf, Vec<u8>), (PathBuf, io::Error)> {
        let (name, path) = match &self.program {
            Some(path) => (path.clone(), path.clone()),
            None => {
                let own = env::current_exe().unwrap_or_else(|_| "covtap".into());
                // Its file may have been replaced while it runs.
                let path = if cfg!(target_os = "linux") {
                    "/proc/self/exe".into()
                } else {
                    own.clone()
                };
                (own, path)
            }
        };
        match fs::read(path) {
            Ok(program) => Ok((name, program)),
            Err(error) => Err((name, error)),
        }
    }

    /// Runs a small program of the node.
    fn run(&self, argv: &[&str]) -> Result<Output, ActError> {
        let container = self.container.as_str();
        self.reach.exec_output(container, argv, MOST, PATIENCE)
    }

    fn shut(&self, error: &ActError) -> Shut {
        let expected = "an engine that starts programs in it";
        Shut {
            problem: Box::new(self.problem(expected, failure::text(error))),
            passing: true,
        }
    }

    fn problem(&self, expected: &str, found: String) -> Problem {
        let node = format!("node {}", self.node);
        Problem::new(Severity::Warning, node, expected, found, "")
    }
}

fn final_word(problem: Problem) -> Shut {
    Shut {
        problem: Box::new(problem),
        passing: false,
    }
}

impl fmt::Debug for EngineDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineDoor")
            .field("node", &self.node)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Door for EngineDoor {
    fn open(&self, arguments: &[String], resident: Option<u32>) -> Result<Opened, Shut> {
        // The file of an agent that runs is gone from the node, but the agent still has it.
        let running = resident.map(|pid| format!("/proc/{pid}/exe"));
        if running.is_none() {
            self.put()?;
        }
        let program = running.as_deref().unwrap_or(&self.place);
        let argv: Vec<&str> = [program]
            .into_iter()
            .chain(arguments.iter().map(String::as_str))
            .collect();
        let exec = self.reach.exec(self.container.as_str(), &argv);
        let exec = exec.map_err(|error| self.shut(&error))?;
        Ok(Opened {
            stream: exec.stream,
            stderr: exec.stderr,
            status: exec.status,
        })
    }

    fn tidy(&self) -> Result<(), Box<Problem>> {
        let expected = format!("{} to be removed", self.place);
        let found = match self.run(&["rm", "-f", &self.place]) {
            Ok(Output {
                status: Some(0), ..
            }) => return Ok(()),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => failure::text(&error),
        };
        let problem = self.problem(&expected, found);
        Err(Box::new(Problem {
            effect: "the file stays there, and does nothing".into(),
            ..problem
        }))
    }
}

/// The processor that a program is for, as `uname -m` names it; `None` for what Linux does not execute, or
/// not on a processor that covtap knows. See elf(5): `e_ident`, `e_machine`.
fn processor(program: &[u8]) -> Option<&'static str> {
    let machine = program.strip_prefix(b"\x7fELF")?.get(14..16)?;
    match u16::from_le_bytes(machine.try_into().ok()?) {
        62 => Some("x86_64"),
        183 => Some("aarch64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::processor;

    #[test]
    fn a_program_tells_its_processor() {
        let elf = |machine: u8| {
            let mut bytes = b"\x7fELF".to_vec();
            bytes.resize(18, 0);
            bytes.extend([machine, 0, 1, 0]);
            bytes
        };
        assert_eq!(processor(&elf(62)), Some("x86_64"));
        assert_eq!(processor(&elf(183)), Some("aarch64"));
        assert_eq!(processor(&elf(40)), None);
        for other in [&b""[..], b"\x7fELF", b"\xcf\xfa\xed\xfe and more of it"] {
            assert_eq!(processor(other), None);
        }
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        if cfg!(target_os = "linux") {
            assert_eq!(processor(&own), Some(std::env::consts::ARCH));
        }
    }
}
