//! covtap as a developer has it: a user without any right on the machine but to speak to the container
//! engine, whose socket can be cut here.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::place::{Place, Run};
use crate::{Cluster, say};

/// `nobody`.
const USER: u32 = 65534;

/// A place of a user without rights.
pub(crate) struct Unprivileged {
    pub(crate) place: Place,
    engine: Engine,
}

impl Unprivileged {
    /// `None`, and a line that says why, where this process cannot become another user.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            say("SKIPPED: covtap as a user without rights: only root can become another user");
            return None;
        }
        let place = Place::for_others();
        let path = place.path();
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        chown(path, Some(USER), Some(USER)).unwrap();
        // Where this was built others may have no way in.
        fs::copy(env!("CARGO_BIN_EXE_covtap"), path.join("covtap")).unwrap();
        let engine = Engine::at(path.join("engine.sock"));
        Some(Self { place, engine })
    }

    /// Gives it the right to a cluster.
    pub(crate) fn may_use(&self, cluster: &Cluster) {
        let context = ["config", "view", "--raw", "--minify"];
        self.write("kubeconfig", &cluster.kubectl(&context));
    }

    /// Takes the way to the engine away.
    pub(crate) fn lose_engine(&self) {
        fs::remove_file(&self.engine.path).unwrap();
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.place.path().join(name);
        fs::write(&path, text).unwrap();
        chown(path, Some(USER), Some(USER)).unwrap();
    }

    /// Starts `covtap run` as this user.
    pub(crate) fn run(&self, flags: &[&str]) -> Run {
        self.place.run_as(self.covtap(), flags)
    }

    /// covtap as this user, in its place.
    pub(crate) fn covtap(&self) -> Command {
        let path = self.place.path();
        let mut command = Command::new("setpriv");
        let (user, group) = (format!("--reuid={USER}"), format!("--regid={USER}"));
        command
            .args([&user, &group, "--clear-groups"])
            .args(["--inh-caps=-all", "--bounding-set=-all"])
            .arg(path.join("covtap"))
            .current_dir(path)
            .env("HOME", path)
            .env("KUBECONFIG", path.join("kubeconfig"))
            .env("COVTAP_STORE", path.join("store"))
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.engine.path.display()),
            );
        command
    }

    /// Cuts all connections to the engine; new ones are taken.
    pub(crate) fn cut(&self) {
        for link in self.engine.links.lock().unwrap().drain(..) {
            // It may have ended.
            let _ = link.shutdown(Shutdown::Both);
        }
    }
}

/// A way to the engine that anybody may go.
struct Engine {
    path: PathBuf,
    links: Arc<Mutex<Vec<UnixStream>>>,
}

impl Engine {
    fn at(path: PathBuf) -> Self {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let real = host
            .strip_prefix("unix://")
            .unwrap_or("/var/run/docker.sock");
        let real = Path::new(real).to_owned();
        let listener = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        let links = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&links);
        thread::spawn(move || {
            for ours in listener.incoming().map_while(Result::ok) {
                let Ok(theirs) = UnixStream::connect(&real) else {
                    continue;
                };
                let twice = |stream: &UnixStream| stream.try_clone().unwrap();
                kept.lock().unwrap().extend([twice(&ours), twice(&theirs)]);
                let (there, back) = ((twice(&ours), twice(&theirs)), (theirs, ours));
                for (from, to) in [there, back] {
                    thread::spawn(move || carry(from, to));
                }
            }
        });
        Self { path, links }
    }
}

/// Carries what comes until there is no more, or nobody takes it.
fn carry(mut from: UnixStream, mut to: UnixStream) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(length) = from.read(&mut piece) {
        if length == 0 || to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    // The other direction may go on; who has gone needs no end.
    let _ = to.shutdown(Shutdown::Write);
}
