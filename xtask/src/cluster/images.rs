//! The images of the tests: the base images of the DataStorage's Dockerfile, and PostgreSQL.
//!
//! | image | made from |
//! |---|---|
//! | `covtap-e2e/runtime:<suite>` | the minimal Debian that the recipe made |
//! | `covtap-e2e/builder:<go>` | that, a Go toolchain, this machine's certificates and module proxy |
//! | `covtap-e2e/postgres:<suite>` | the first, and Debian's PostgreSQL |
//! | `covtap-e2e/node:<key>` | the node image that the recipe made |
//!
//! An image carries the hash of its inputs as a label; with the same hash it is not made again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::cache::Fnv;
use crate::sh::{self, About, Result, cmd, fail};
use crate::toolchains;

/// The label with the hash of an image's inputs.
const LABEL: &str = "covtap.key";

/// Node images, with the key of the recipe as tag.
const NODE: &str = "covtap-e2e/node";

/// The same where registries can be reached. Both PostgreSQLs take the same settings.
const PUBLIC: [(&str, &str); 3] = [
    ("E2E_BUILDER_IMAGE", "golang:1.26-bookworm"),
    ("E2E_RUNTIME_IMAGE", "debian:bookworm-slim"),
    ("E2E_POSTGRES_IMAGE", "postgres:17-bookworm"),
];

/// What a build inside a container needs to know of this machine to fetch Go modules.
const GO_SETTINGS: [&str; 6] = [
    "GOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GOPRIVATE",
    "GONOPROXY",
    "GOINSECURE",
];

/// The same for any program.
const PROXY_SETTINGS: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// Names of images by the environment variable that the DataStorage suite reads.
#[derive(Clone, Debug)]
pub(super) struct Images(Vec<(&'static str, String)>);

impl Images {
    /// Variable and image.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        self.0.clone()
    }
}

/// Whether docker has this image, or got it from a registry.
pub(super) fn pull(image: &str) -> bool {
    let succeeds =
        |args: &[&str]| sh::output(&mut cmd("docker", args)).is_ok_and(|out| out.status.success());
    succeeds(&["image", "inspect", image]) || succeeds(&["pull", "--quiet", image])
}

/// Where registries can be reached: the Dockerfile's own base images, and PostgreSQL's.
pub(super) fn public() -> Result<Images> {
    for (_, image) in PUBLIC {
        if !pull(image) {
            fail!("docker pull {image} failed: its message is shown when you run it");
        }
    }
    let named = PUBLIC.map(|(variable, image)| (variable, image.to_owned()));
    Ok(Images(named.to_vec()))
}

/// Gives docker the node image that lies in `home`, and returns its name.
pub(super) fn node(home: &Path) -> Result<String> {
    let name = format!("{NODE}:{}", key(home, "node")?);
    if inspect(&name, "{{.Id}}").is_some() {
        return Ok(name);
    }
    let began = Instant::now();
    let said = sh::quiet(cmd("docker", &["load", "--input"]).arg(home.join("node.tar")))?;
    let Some(loaded) = said.trim().strip_prefix("Loaded image: ") else {
        fail!("docker load of node.tar said: {}", said.trim());
    };
    let old = sh::quiet(&mut cmd(
        "docker",
        &["image", "ls", NODE, "--format", "{{.Repository}}:{{.Tag}}"],
    ))?;
    sh::quiet(&mut cmd("docker", &["tag", loaded, &name]))?;
    sh::quiet(&mut cmd("docker", &["rmi", loaded]))?;
    for old in old.lines() {
        // One that a cluster still uses stays until the next time.
        sh::output(&mut cmd("docker", &["rmi", old]))?;
    }
    told(&name, began);
    Ok(name)
}

/// Makes what docker has not got.
pub(super) fn built(home: &Path) -> Result<Images> {
    let suite = suite()?;
    let runtime = runtime(home, &suite)?;
    let builder = builder(&runtime)?;
    let postgres = postgres(&runtime, &suite)?;
    Ok(Images(vec![
        ("E2E_BUILDER_IMAGE", builder),
        ("E2E_RUNTIME_IMAGE", runtime.name),
        ("E2E_POSTGRES_IMAGE", postgres),
    ]))
}

/// An image and the hash of its inputs.
struct Image {
    name: String,
    key: String,
}

/// A minimal Debian with what its archive says where packages come from.
fn runtime(home: &Path, suite: &str) -> Result<Image> {
    let image = Image {
        name: format!("covtap-e2e/runtime:{suite}"),
        key: key(home, "minbase")?,
    };
    image.make(|image| {
        let label = format!("LABEL {LABEL}={}", image.key);
        let mut import = cmd("docker", &["import", "--change", &label, "--change"]);
        import
            .arg("ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .arg(home.join("minbase.tar"))
            .arg(&image.name);
        sh::quiet(&mut import)
    })?;
    Ok(image)
}

/// A Go toolchain over the runtime image, with this machine's way to Go modules.
fn builder(runtime: &Image) -> Result<String> {
    let go = toolchains::get(toolchains::NEWEST)?;
    let certificates = certificates()?;
    let mut dockerfile = sh::read(&folder().join("builder.Dockerfile"))?;
    for (name, value) in settings(&go.root)? {
        dockerfile += &format!("ENV {name}={value:?}\n");
    }
    let image = Image {
        key: hash(&[
            &runtime.key,
            &go.version,
            &dockerfile,
            &sh::read(&certificates)?,
        ]),
        name: format!("covtap-e2e/builder:{}", go.version),
    };
    image.make(|image| {
        let context = std::env::temp_dir().join(format!("covtap-builder.{}", std::process::id()));
        sh::mkdir(&context)?;
        sh::write(&context.join("Dockerfile"), &dockerfile)?;
        std::fs::copy(&certificates, context.join("ca-certificates.crt"))
            .about(certificates.display())?;
        // One archive out of two folders: docker wants its context in one place, and the
        // toolchain is too large to be copied for that.
        let mut pack = cmd("tar", &["--create", "--file=-", "--directory"]);
        pack.arg(go.root.parent().unwrap_or(&go.root))
            .args(["go", "--directory"])
            .arg(&context)
            .args(["Dockerfile", "ca-certificates.crt"])
            .stdout(Stdio::piped());
        let mut packing = pack.spawn().about("tar")?;
        let mut build = image.build(&[&format!("BASE={}", runtime.name)]);
        build.arg("-");
        if let Some(archive) = packing.stdout.take() {
            build.stdin(archive);
        }
        let said = sh::quiet(&mut build);
        let packed = packing.wait().about("tar")?;
        sh::rmdir(&context)?;
        if said.is_ok() && !packed.success() {
            fail!("tar of the Go toolchain ended with {packed}");
        }
        said
    })?;
    Ok(image.name)
}

/// PostgreSQL over the runtime image.
fn postgres(runtime: &Image, suite: &str) -> Result<String> {
    let file = folder().join("postgres.Dockerfile");
    let start = folder().join("postgres-start");
    let image = Image {
        key: hash(&[&runtime.key, &sh::read(&file)?, &sh::read(&start)?]),
        name: format!("covtap-e2e/postgres:{suite}"),
    };
    image.make(|image| {
        let mut build = image.build(&[&format!("BASE={}", runtime.name)]);
        sh::quiet(build.arg("--file").arg(&file).arg(folder()))
    })?;
    Ok(image.name)
}

impl Image {
    /// Runs `body` unless docker has the image from the same inputs.
    fn make(&self, body: impl FnOnce(&Self) -> Result<String>) -> Result {
        let format = format!("{{{{index .Config.Labels {LABEL:?}}}}}");
        if inspect(&self.name, &format).as_deref() == Some(&self.key) {
            return Ok(());
        }
        let began = Instant::now();
        body(self)?;
        told(&self.name, began);
        Ok(())
    }

    /// `docker build` of this image, without its context.
    fn build(&self, arguments: &[&str]) -> Command {
        let mut build = cmd("docker", &["build", "--quiet", "--tag", &self.name]);
        build.env("DOCKER_BUILDKIT", "0");
        build.arg("--label").arg(format!("{LABEL}={}", self.key));
        for argument in arguments {
            build.args(["--build-arg", argument]);
        }
        build
    }
}

/// What docker says of an image, or `None` when it has not got it.
fn inspect(image: &str, format: &str) -> Option<String> {
    let out = sh::output(&mut cmd(
        "docker",
        &["image", "inspect", "--format", format, image],
    ));
    let out = out.ok().filter(|out| out.status.success())?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// A line with the time that an image took.
fn told(image: &str, began: Instant) {
    eprintln!("{image}: made in {:.1} s", began.elapsed().as_secs_f64());
}

/// The folder with the recipes.
fn folder() -> PathBuf {
    crate::repository().join("e2e/images")
}

/// The Debian release that the recipe names.
fn suite() -> Result<String> {
    let versions = sh::read(&super::recipe().join("versions"))?;
    let line = versions
        .lines()
        .find_map(|line| line.strip_prefix("DEBIAN_SUITE="));
    let Some(suite) = line.and_then(|rest| rest.split_whitespace().next()) else {
        fail!("e2e/cluster/versions has no DEBIAN_SUITE");
    };
    Ok(suite.to_owned())
}

/// The key of one of the recipe's pieces.
fn key(home: &Path, piece: &str) -> Result<String> {
    Ok(sh::read(&home.join("key").join(piece))?.trim().to_owned())
}

/// The certificates that this machine trusts.
fn certificates() -> Result<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = PathBuf::from("/etc/ssl/certs/ca-certificates.crt");
    let Some(file) = [named, Some(usual)]
        .into_iter()
        .flatten()
        .find(|file| file.is_file())
    else {
        fail!("no CA certificates: install Debian's ca-certificates, or set SSL_CERT_FILE");
    };
    Ok(file)
}

/// This machine's settings that are not empty. A module proxy may be set in the environment or in
/// `go env -w`'s file: Go itself knows.
fn settings(go: &Path) -> Result<Vec<(&'static str, String)>> {
    let said = sh::quiet(cmd(go.join("bin/go"), &["env"]).args(GO_SETTINGS))?;
    let go = GO_SETTINGS.into_iter().zip(said.lines().map(str::to_owned));
    let proxies = PROXY_SETTINGS
        .into_iter()
        .filter_map(|name| Some((name, std::env::var(name).ok()?)));
    Ok(go
        .chain(proxies)
        .filter(|(_, value)| !value.is_empty())
        .collect())
}

/// A hash over texts.
fn hash(texts: &[&str]) -> String {
    let mut hash = Fnv::default();
    for text in texts {
        hash.eat(&(text.len() as u64).to_le_bytes());
        hash.eat(text.as_bytes());
    }
    format!("{:016x}", hash.0)
}
