//! Podman in the place of Docker: Debian's, with the node image that docker has. Its API is served for
//! as long as the test runs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use covtap_model::ledger::{Ledger, Outcome};

use super::{Setup, engine};
use crate::gate::{Log, target_dir};
use crate::sh::{self, About, Result, cmd, fail};
use crate::tools;

/// The cluster that the suite makes and deletes.
const SUITE: &str = "covtap-podman";

/// The service's image, in docker.
const IMAGE: &str = "covtap-test/podman:cover";

/// Where podman serves its API for root, and where covtap looks for it.
const SOCKET: &str = "/run/podman/podman.sock";

/// The suite of `e2e/podman` inside of covtap.
pub(super) fn run(setup: &Setup, covtap: &Path, log: &mut Log) -> Result {
    tools::debian("podman", "podman")?;
    let podman = Podman::start(setup)?;
    let node_image = podman.node_image(setup)?;
    let archive = target_dir().join("gate/podman-service.tar");
    service(setup, &archive, log)?;
    let folder = crate::repository().join("e2e/podman");
    let mut run = podman.command(covtap);
    // Podman runs it below covtap, and it is a program of this repository.
    run.args(["run", "--ignore", "runc-nores", "--"])
        .arg(folder.join("suite.sh"))
        .args([SUITE, &node_image])
        .arg(&archive)
        .current_dir(crate::repository());
    setup.environment(&mut run)?;
    // Docker is not asked: a cluster of podman's is to be found without it.
    run.env_remove("DOCKER_HOST");
    let result = log.run(&mut run);
    let mut delete = podman.command("kind");
    delete.args(["delete", "cluster", "--name", SUITE]);
    let deleted = log.run(setup.environment(&mut delete)?);
    result.and(deleted)?;
    judge(log)
}

/// Both replicas gave their last state, though the cluster was deleted.
fn judge(log: &mut Log) -> Result {
    let file = crate::repository().join(".covtap/latest/ledger.json");
    let ledger: Ledger = serde_json::from_str(&sh::read(&file)?).about(file.display())?;
    let of_service = |workload: &str| workload == "deployment/numbered";
    let merged = ledger
        .targets
        .iter()
        .filter(|t| of_service(&t.workload) && t.outcome == Outcome::Merged);
    let merged = merged.count();
    if merged != 2 {
        fail!("{merged} replicas were merged, not 2: {}", file.display());
    }
    log.say("two replicas on a Kind node of Podman's gave their last state");
    Ok(())
}

/// Builds the service's image with docker, and puts it into an archive.
fn service(setup: &Setup, archive: &Path, log: &mut Log) -> Result {
    let folder = crate::repository().join("fixtures/cluster/service");
    let mut build = cmd("docker", &["build", "--quiet", "--tag", IMAGE]);
    for (name, image) in setup.images.variables() {
        if name == "E2E_BUILDER_IMAGE" {
            build.arg(format!("--build-arg=BUILDER_IMAGE={image}"));
        }
    }
    log.run(setup.environment(build.arg(folder))?)?;
    let mut save = cmd("docker", &["save", IMAGE, "--output"]);
    log.run(setup.environment(save.arg(archive))?)
}

/// Podman with its API.
struct Podman {
    /// Its settings, where this machine needs some.
    settings: PathBuf,
    api: Child,
}

impl Podman {
    fn start(setup: &Setup) -> Result<Self> {
        let settings = setup.home.join("run/containers.conf");
        sh::write(&settings, engine::podman_settings(&setup.home)?)?;
        let socket = Path::new(SOCKET);
        if let Some(folder) = socket.parent() {
            sh::mkdir(folder)?;
        }
        let mut command = cmd("podman", &["system", "service", "--time", "0"]);
        let api = command
            .arg(format!("unix://{SOCKET}"))
            .env("CONTAINERS_CONF", &settings)
            .spawn()
            .about("podman system service")?;
        Ok(Self { settings, api })
    }

    /// A command that uses podman where it would use docker.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("CONTAINERS_CONF", &self.settings)
            .env("KIND_EXPERIMENTAL_PROVIDER", "podman");
        command
    }

    /// The node image as podman calls it; it is docker's, unless it is here already.
    fn node_image(&self, setup: &Setup) -> Result<String> {
        let name = format!("localhost/{}", setup.node_image);
        let mut exists = self.command("podman");
        let exists = exists.args(["image", "exists", &name]);
        if !sh::output(exists)?.status.success() {
            let archive = target_dir().join("gate/podman-node.tar");
            let mut save = cmd("docker", &["save", &setup.node_image, "--output"]);
            sh::quiet(setup.environment(save.arg(&archive))?)?;
            let mut load = self.command("podman");
            sh::quiet(load.args(["load", "--input"]).arg(&archive))?;
            std::fs::remove_file(&archive).about(archive.display())?;
        }
        Ok(name)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // It is ours, and nothing waits for it; a failure leaves nothing to do.
        let _ = self.api.kill();
        let _ = self.api.wait();
    }
}
