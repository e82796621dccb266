//! `cluster`: a real Kind cluster for the tests, with or without a container registry.
//!
//! ```text
//! an ordinary docker and kind, and the public node image can be had  ─► these   (Origin::Public)
//! else: e2e/cluster/build makes kind and a node image from Go modules
//!       and Debian packages; a dockerd is started where none answers ─► ours    (Origin::Built)
//! ```
//!
//! Everything lies in `<cache>/cluster`: `bin/` (kind, kubectl), the images as archives, and in
//! `run/` the kubeconfig of the clusters made by `up` and what belongs to our dockerd.

mod engine;
mod gate;
mod images;
mod podman;

pub(crate) use gate::test;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::sh::{self, About, Result, cmd, fail, on_path};
use crate::{toolchains, tools};

/// The name of a cluster that was given none.
const NAME: &str = "covtap";

/// A node image that any kind of the last years can start, for [`Origin::Public`].
const PUBLIC_NODE_IMAGE: &str = "kindest/node:v1.34.0";

/// How long nodes may take to become ready.
const WAIT: &str = "120s";

/// Where kind and the node image come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// An ordinary docker, the kind of the search path, images from registries.
    Public,
    /// `e2e/cluster`.
    Built,
}

/// A docker that answers, a kind, and the images that both need.
pub(crate) struct Setup {
    origin: Origin,
    /// `<cache>/cluster`.
    home: PathBuf,
    /// The node image's name in docker.
    node_image: String,
    /// The images of the tests.
    images: images::Images,
    /// Whether the docker daemon was started by this very call.
    started: bool,
}

/// `cargo xtask cluster build|images|up|down|env|exec`.
pub(crate) fn task(args: &[String]) -> Result {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["build"] => build(&home()?),
        ["images"] => {
            for (variable, image) in Setup::new()?.images.variables() {
                println!("{variable}={image}");
            }
            Ok(())
        }
        ["up", options @ ..] => {
            let (name, config) = up_options(options)?;
            Setup::new()?.up(&name, &config)
        }
        ["down"] => delete(NAME),
        ["down", "--name", name] => delete(name),
        ["down", "--all"] => down_all(),
        ["env"] => {
            let setup = Setup::new()?;
            for (name, value) in setup.variables() {
                println!("export {name}='{value}'");
            }
            if let Some(bin) = setup.bin() {
                println!("export PATH='{}':\"$PATH\"", bin.display());
            }
            Ok(())
        }
        ["exec", "--", program, arguments @ ..] => {
            let setup = Setup::new()?;
            let mut command = cmd(program, arguments);
            let status = setup
                .environment(&mut command)?
                .stdin(Stdio::inherit())
                .status()
                .about(program)?;
            // Whoever runs a command this way wants to know how that ended.
            std::process::exit(status.code().unwrap_or(1));
        }
        _ => fail!(
            "cluster: build | images | up [--name N] [--config FILE] | down [--name N | --all] | \
             env | exec -- CMD…"
        ),
    }
}

/// `up`'s options: the cluster's name and its configuration.
fn up_options(options: &[&str]) -> Result<(String, PathBuf)> {
    let mut name = NAME.to_owned();
    let mut config = recipe().join("kind.yaml");
    for pair in options.chunks(2) {
        match pair {
            ["--name", value] => name = (*value).to_owned(),
            ["--config", value] => config = PathBuf::from(value),
            other => fail!(
                "cluster up knows --name N and --config FILE, not {}",
                other.join(" ")
            ),
        }
    }
    Ok((name, config))
}

/// `<cache>/cluster`.
fn home() -> Result<PathBuf> {
    let home = crate::cache_root()?.join("cluster");
    sh::mkdir(&home.join("run"))?;
    Ok(home)
}

/// The folder with the recipe.
fn recipe() -> PathBuf {
    crate::repository().join("e2e/cluster")
}

/// Runs the recipe; what it made before and is unchanged is not made again.
fn build(home: &Path) -> Result {
    if !cfg!(target_os = "linux") {
        fail!("a node image is built on Linux only; install docker and kind");
    }
    for (program, package) in [("debootstrap", "debootstrap"), ("gcc", "gcc")] {
        tools::debian(program, package)?;
    }
    let began = Instant::now();
    let mut command = cmd(recipe().join("build"), &[""; 0]);
    command.env("COVTAP_CLUSTER_CACHE", home);
    if !on_path("go") {
        let go = toolchains::get(toolchains::NEWEST)?.root.join("bin");
        let path = search_path(go, &command)?;
        command.env("PATH", path);
    }
    let status = command.status().about("e2e/cluster/build")?;
    if !status.success() {
        fail!("e2e/cluster/build ended with {status}; its lines above name the piece");
    }
    eprintln!(
        "cluster: all pieces in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The search path that a command would have, with a folder before it.
fn search_path(first: PathBuf, command: &Command) -> Result<OsString> {
    let set = command.get_envs().find(|(name, _)| *name == "PATH");
    let now = set.map_or_else(
        || std::env::var_os("PATH"),
        |(_, value)| value.map(Into::into),
    );
    let rest: Vec<PathBuf> = std::env::split_paths(&now.unwrap_or_default()).collect();
    std::env::join_paths([first].into_iter().chain(rest)).about("the search path")
}

/// Each node's systemd and kubelet need about 17 instances of inotify, and a node that gets none ends
/// without a word.
const WATCHES: u32 = 512;

/// What to do where the kernel gives few instances of inotify.
fn few_watches() -> Option<String> {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").ok()?;
    let limit: u32 = limit.trim().parse().ok()?;
    (limit < WATCHES).then(|| {
        format!(
            "\nfs.inotify.max_user_instances is {limit}, which is enough for {} nodes on this machine at once: \
             sysctl -w fs.inotify.max_user_instances={WATCHES}",
            limit / 17
        )
    })
}

/// Deletes a cluster; one that is not there is no error.
fn delete(name: &str) -> Result {
    if !engine::answers() {
        return Ok(());
    }
    let home = home()?;
    let mut delete = cmd("kind", &["delete", "cluster", "--name", name]);
    // Any kind can delete what another one has made.
    let path = search_path(home.join("bin"), &delete)?;
    delete
        .env("PATH", path)
        .env("KUBECONFIG", kubeconfig(&home));
    sh::quiet(&mut delete)?;
    Ok(())
}

/// Deletes the clusters of our kubeconfig, no others, and ends the docker daemon that we started.
fn down_all() -> Result {
    let home = home()?;
    let config = kubeconfig(&home);
    if config.is_file() {
        for name in clusters(&sh::read(&config)?) {
            delete(name)?;
        }
    }
    engine::stop(&home)
}

/// The clusters that a kubeconfig knows: kind names their contexts `kind-<cluster>`.
fn clusters(kubeconfig: &str) -> BTreeSet<&str> {
    let lines = kubeconfig.lines();
    lines
        .filter_map(|line| {
            line.trim_start_matches(['-', ' '])
                .strip_prefix("name: kind-")
        })
        .collect()
}

/// One file with a context for each cluster made by `up`.
fn kubeconfig(home: &Path) -> PathBuf {
    home.join("run/kubeconfig")
}

/// Whether an ordinary docker and kind are there, and the node image can be had.
fn public(home: &Path) -> bool {
    let ours = home.join("bin/kind");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path)
        .map(|dir| dir.join("kind"))
        .any(|kind| kind.is_file() && kind != ours);
    installed && engine::answers() && !engine::is_ours(home) && images::pull(PUBLIC_NODE_IMAGE)
}

impl Setup {
    /// Sees to it that everything is there.
    ///
    /// # Errors
    /// What is missing and cannot be had here.
    pub(crate) fn new() -> Result<Self> {
        let home = home()?;
        if public(&home) {
            eprintln!("cluster: this machine's docker and kind, with {PUBLIC_NODE_IMAGE}");
            return Ok(Self {
                origin: Origin::Public,
                node_image: PUBLIC_NODE_IMAGE.to_owned(),
                images: images::public()?,
                started: false,
                home,
            });
        }
        build(&home)?;
        let started = engine::start(&home)?;
        eprintln!(
            "cluster: kind and node image built here, docker {}",
            if engine::is_ours(&home) {
                "started by us"
            } else {
                "of this machine"
            }
        );
        Ok(Self {
            origin: Origin::Built,
            node_image: images::node(&home)?,
            images: images::built(&home)?,
            started,
            home,
        })
    }

    /// Ends the docker daemon if this very call started it.
    pub(crate) fn end(&self) -> Result {
        if self.started {
            return engine::stop(&self.home);
        }
        Ok(())
    }

    /// Creates a cluster and waits for all its nodes; one that is there is left as it is.
    pub(crate) fn up(&self, name: &str, config: &Path) -> Result {
        let began = Instant::now();
        let clusters = sh::quiet(self.environment(&mut cmd("kind", &["get", "clusters"]))?)?;
        if clusters.lines().any(|line| line == name) {
            eprintln!("cluster: {name} is there already");
            return Ok(());
        }
        let mut create = cmd(
            "kind",
            &["create", "cluster", "--name", name, "--wait", WAIT],
        );
        create
            .args(["--image", &self.node_image, "--config"])
            .arg(config);
        if let Err(failure) = sh::quiet(self.environment(&mut create)?) {
            fail!("{failure}{}", few_watches().unwrap_or_default());
        }
        // kind waits for the control plane only.
        let mut wait = cmd(
            "kubectl",
            &["wait", "--for=condition=Ready", "nodes", "--all"],
        );
        wait.arg(format!("--context=kind-{name}"))
            .arg(format!("--timeout={WAIT}"));
        sh::quiet(self.environment(&mut wait)?)?;
        eprintln!(
            "cluster: {name} created in {:.1} s, its context is kind-{name}",
            began.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// What programs need to know to use all this. Images that the environment names already stay.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("KUBECONFIG", kubeconfig(&self.home).display().to_string()),
            ("E2E_NODE_IMAGE", self.node_image.clone()),
        ];
        all.extend(self.images.variables());
        all.retain(|(name, _)| !name.starts_with("E2E_") || std::env::var_os(name).is_none());
        if self.origin == Origin::Built {
            all.extend(engine::variables(&self.home));
        }
        all
    }

    /// The folder with kind and kubectl, where they are not the machine's.
    fn bin(&self) -> Option<PathBuf> {
        (self.origin == Origin::Built).then(|| self.home.join("bin"))
    }

    /// Gives a command [`Self::variables`], and [`Self::bin`] before the search path that it has.
    pub(crate) fn environment<'a>(&self, command: &'a mut Command) -> Result<&'a mut Command> {
        if let Some(bin) = self.bin() {
            let path = search_path(bin, command)?;
            command.env("PATH", path);
        }
        Ok(command.envs(self.variables()))
    }
}

#[cfg(test)]
mod tests {
    use super::{NAME, clusters, up_options};

    #[test]
    fn only_the_clusters_of_the_kubeconfig_are_deleted() {
        let text = "clusters:\n- cluster:\n    server: s\n  name: kind-dev\ncontexts:\n- context:\n    \
                    cluster: kind-dev\n  name: kind-dev\n- name: kind-a-b\n\
                    current-context: kind-dev\nusers:\n- name: someone\n";
        assert_eq!(
            clusters(text).into_iter().collect::<Vec<_>>(),
            ["a-b", "dev"]
        );
        assert!(clusters("").is_empty());
    }

    #[test]
    fn options_of_up_are_pairs_and_no_others() {
        let (name, config) = up_options(&[]).unwrap();
        assert_eq!(name, NAME);
        assert!(config.ends_with("e2e/cluster/kind.yaml"));
        let (name, config) = up_options(&["--config", "k.yaml", "--name", "dev"]).unwrap();
        assert_eq!((name.as_str(), config.to_str()), ("dev", Some("k.yaml")));
        for wrong in [&["--name"][..], &["--names", "x"], &["dev"]] {
            assert!(up_options(wrong).is_err(), "{wrong:?}");
        }
    }
}
