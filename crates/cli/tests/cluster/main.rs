//! covtap on a real Kind cluster: one control plane and two workers.
//!
//! `cargo xtask test-cluster rust` makes the cluster and runs these; `kubectl`, `kind` and `docker`
//! are on the search path then, and KUBECONFIG and DOCKER_HOST are set. Not part of `cargo test`
//! (`test = false` in Cargo.toml).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(unix)]

mod exact;
mod place;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use place::Place;

/// The cluster that was made for these tests.
struct Cluster {
    /// Its context in KUBECONFIG.
    context: String,
}

impl Cluster {
    /// The cluster, or `None` and a line that says why there is none.
    fn get() -> Option<Self> {
        if std::env::var_os("COVTAP_TEST_CLUSTER").is_none() {
            say("SKIPPED: a test on a Kind cluster: run cargo xtask test-cluster rust");
            return None;
        }
        let context = std::env::var("COVTAP_TEST_CONTEXT").unwrap();
        Some(Self { context })
    }

    /// What `kubectl` prints.
    fn kubectl(&self, args: &[&str]) -> String {
        output(
            Command::new("kubectl")
                .args(["--context", &self.context])
                .args(args),
        )
    }

    /// `kubectl apply` of a manifest.
    fn apply(&self, manifest: &str) {
        let mut kubectl = Command::new("kubectl")
            .args(["--context", &self.context, "apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = kubectl.stdin.take().unwrap();
        input.write_all(manifest.as_bytes()).unwrap();
        drop(input);
        assert!(kubectl.wait().unwrap().success(), "kubectl apply");
    }

    /// Its name, as kind knows it.
    fn name(&self) -> &str {
        self.context.strip_prefix("kind-").unwrap()
    }

    /// Where this machine reaches its first node.
    fn node_address(&self) -> String {
        const ADDRESS: &str = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let node = format!("{}-control-plane", self.name());
        let said = output(Command::new("docker").args(["inspect", "-f", ADDRESS, &node]));
        said.trim().to_owned()
    }
}

/// What a command prints; it has to succeed.
fn output(command: &mut Command) -> String {
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// covtap in the directory of a test.
fn covtap(place: &Place) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_covtap"));
    command.current_dir(place.path());
    command
}

/// Builds an image of a folder of the repository, and loads it into the cluster.
fn load(cluster: &Cluster, image: &str, folder: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(folder);
    let mut build = Command::new("docker");
    build.args(["build", "--quiet", "--tag", image]);
    if let Ok(builder) = std::env::var("E2E_BUILDER_IMAGE") {
        build.arg(format!("--build-arg=BUILDER_IMAGE={builder}"));
    }
    output(build.arg(folder));
    output(Command::new("kind").args(["load", "docker-image", image, "--name", cluster.name()]));
}

/// Prints a line past the test runner, which hides what a test says when it passes.
fn say(line: &str) {
    let line = format!("\n{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

#[test]
fn three_nodes_are_ready() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let wait = [
        "wait",
        "--for=condition=Ready",
        "nodes",
        "--all",
        "--timeout=60s",
    ];
    let ready = cluster.kubectl(&wait);
    assert_eq!(ready.lines().count(), 3, "{ready}");
}
