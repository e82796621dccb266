//! covtap on a real Kind cluster: one control plane and two workers.
//!
//! `cargo xtask test-cluster rust` makes the cluster and runs these; `kubectl`, `kind` and `docker`
//! are on the search path then, and KUBECONFIG and DOCKER_HOST are set. Not part of `cargo test`
//! (`test = false` in Cargo.toml).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(unix)]

use std::process::Command;

/// The cluster that was made for these tests.
struct Cluster {
    /// Its context in KUBECONFIG.
    context: String,
}

impl Cluster {
    /// The cluster, or `None` and a line that says why there is none.
    fn get() -> Option<Self> {
        if std::env::var_os("COVTAP_TEST_CLUSTER").is_none() {
            println!("SKIPPED: a test on a Kind cluster: run cargo xtask test-cluster rust");
            return None;
        }
        let context = std::env::var("COVTAP_TEST_CONTEXT").unwrap();
        Some(Self { context })
    }

    /// What `kubectl` prints.
    fn kubectl(&self, args: &[&str]) -> String {
        let out = Command::new("kubectl")
            .args(["--context", &self.context])
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "kubectl {args:?}: {said}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
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
