//! The docker daemon: the machine's, or one that we start where none answers.
//!
//! Ours is Debian's dockerd on its usual socket. Where this machine's capability bounding set
//! lacks `CAP_SYS_RESOURCE`, runc cannot set what docker asks for; then its runtime is `runc-nores`
//! (`e2e/cluster/src/runc-nores`), which leaves that out.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::sh::{self, About, Result, cmd, fail, on_path};
use crate::tools;

/// Where Debian's package has it.
const DOCKERD: &str = "/usr/sbin/dockerd";

/// Where our daemon listens: where every client looks first.
const SOCKET: &str = "unix:///var/run/docker.sock";

/// How long the daemon may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// `CAP_SYS_ADMIN`, as `linux/capability.h` numbers it.
const CAP_SYS_ADMIN: u32 = 21;

/// `CAP_SYS_RESOURCE`.
const CAP_SYS_RESOURCE: u32 = 24;

/// Whether a docker daemon answers.
pub(super) fn answers() -> bool {
    sh::output(&mut cmd(
        "docker",
        &["version", "--format", "{{.Server.Version}}"],
    ))
    .is_ok_and(|out| out.status.success())
}

/// Whether the daemon that we started still runs.
pub(super) fn is_ours(home: &Path) -> bool {
    running(home).is_some()
}

/// The process id of our daemon, if it runs.
fn running(home: &Path) -> Option<u32> {
    let pid = std::fs::read_to_string(pid_file(home))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim() == "dockerd").then_some(pid)
}

fn pid_file(home: &Path) -> PathBuf {
    home.join("run/dockerd.pid")
}

/// Starts dockerd unless a docker daemon answers; says whether it was started.
pub(super) fn start(home: &Path) -> Result<bool> {
    // Debian's package has the daemon; a client may be there without it.
    if answers() {
        return Ok(false);
    }
    tools::debian("dockerd", "docker.io")?;
    let log = home.join("run/dockerd.log");
    let said = std::fs::File::create(&log).about(log.display())?;
    let address = home.join("run/dockerd.notify");
    match std::fs::remove_file(&address) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            fail!("{}: {error}", address.display())
        }
        _ => {}
    }
    let ready = UnixDatagram::bind(&address).about(address.display())?;
    let mut command = cmd(DOCKERD, &["--log-level", "warn", "--host", SOCKET]);
    if bounding_set()? & (1 << CAP_SYS_RESOURCE) == 0 {
        let runtime = home.join("bin/runc-nores");
        command
            .arg(format!("--add-runtime=nores={}", runtime.display()))
            .arg("--default-runtime=nores");
    }
    let mut child = command
        .env("NOTIFY_SOCKET", &address)
        .stdout(said.try_clone().about(log.display())?)
        .stderr(said)
        // Not the terminal's: Ctrl-C in a test must not end it.
        .process_group(0)
        .spawn()
        .about("dockerd")?;
    sh::write(&pid_file(home), child.id().to_string())?;
    if let Err(failure) = await_ready(&ready, &mut child) {
        fail!(
            "{failure}: its log is {}\n{}",
            log.display(),
            sh::read(&log)?
        );
    }
    Ok(true)
}

/// Waits for the word that services say to systemd (`sd_notify(3)`).
fn await_ready(ready: &UnixDatagram, child: &mut Child) -> Result {
    let began = Instant::now();
    let mut message = [0; 256];
    // Its end is no datagram: looked for between two waits.
    ready
        .set_read_timeout(Some(Duration::from_millis(200)))
        .about("dockerd")?;
    while began.elapsed() < PATIENCE {
        if let Ok(size) = ready.recv(&mut message)
            && message[..size].starts_with(b"READY=1")
        {
            return Ok(());
        }
        if let Some(status) = child.try_wait().about("dockerd")? {
            fail!("dockerd ended with {status}");
        }
    }
    fail!("dockerd was not ready after {} s", PATIENCE.as_secs())
}

/// Ends our daemon, if it runs, and waits for its end.
pub(super) fn stop(home: &Path) -> Result {
    let Some(pid) = running(home) else {
        return Ok(());
    };
    sh::quiet(&mut cmd("kill", &[pid.to_string()]))?;
    // Where this very process started it, it stays in the table of processes until it is waited for.
    let child = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Ok(Some(_)) = waitpid(child, WaitOptions::empty()) {
        return std::fs::remove_file(pid_file(home)).about(pid_file(home).display());
    }
    // It is nobody's child: there is nothing to wait for but its absence.
    let limit = PATIENCE.as_secs().to_string();
    let process = format!("--pid={pid}");
    sh::quiet(cmd("timeout", &[&limit, "tail", "-s", "0.1", "-f", &process]).arg("/dev/null"))
        .about(format!("dockerd {pid} has not ended"))?;
    std::fs::remove_file(pid_file(home)).about(pid_file(home).display())
}

/// Why no container can run here, if none can.
pub(super) fn impossible() -> Option<String> {
    if answers() {
        return None;
    }
    let hint = "no docker daemon answers, and none can be started";
    if !cfg!(target_os = "linux") {
        return Some(format!("{hint}: this is not Linux"));
    }
    match sh::quiet(&mut cmd("id", &["-u"])) {
        Ok(user) if user.trim() == "0" => {}
        _ => return Some(format!("{hint}: not root")),
    }
    if !on_path("dockerd") && !Path::new(DOCKERD).is_file() && !on_path("apt-get") {
        return Some(format!("{hint}: dockerd is not installed"));
    }
    match bounding_set() {
        Ok(set) if set & (1 << CAP_SYS_ADMIN) != 0 => None,
        Ok(_) => Some(format!("{hint}: this machine has no CAP_SYS_ADMIN")),
        Err(why) => Some(format!("{hint}: {why}")),
    }
}

/// The capabilities that a process of this machine can have at most.
fn bounding_set() -> Result<u64> {
    let status = sh::read(Path::new("/proc/self/status"))?;
    let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let Some(Ok(set)) = set.map(|set| u64::from_str_radix(set.trim(), 16)) else {
        fail!("/proc/self/status has no CapBnd");
    };
    Ok(set)
}

/// Settings for podman: the runtime that this machine needs, and control groups without systemd.
pub(super) fn podman_settings(home: &Path) -> Result<String> {
    let mut settings =
        "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n".to_owned();
    if bounding_set()? & (1 << CAP_SYS_RESOURCE) == 0 {
        let runtime = home.join("bin/runc-nores");
        settings += &format!(
            "runtime = \"nores\"\n[engine.runtimes]\nnores = [{:?}]\n",
            runtime.display().to_string()
        );
    }
    Ok(settings)
}

/// What clients of our daemon need.
pub(super) fn variables(home: &Path) -> Vec<(&'static str, String)> {
    if !is_ours(home) {
        return Vec::new();
    }
    vec![
        ("DOCKER_HOST", SOCKET.to_owned()),
        // The classic builder runs its steps with the daemon's runtime; BuildKit would run them
        // with plain runc.
        ("DOCKER_BUILDKIT", "0".to_owned()),
    ]
}
