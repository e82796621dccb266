//! Programs that start containers: what they are about to start lies on a file system that somebody
//! has just mounted for it.

use std::path::Path;

/// Runtimes after the runtime specification of the Open Container Initiative that start programs of the
/// host's own kernel: Docker, Podman, containerd and CRI-O execute one of these for each container.
const RUNTIMES: [&str; 3] = ["crun", "runc", "youki"];

/// Whether a program is one of them: `/usr/sbin/runc`, `runc.amd64`, `crun-wasm`.
pub(super) fn is_runtime(program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let word = name.split(|c: char| !c.is_ascii_alphanumeric()).next();
    word.is_some_and(|word| RUNTIMES.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_known_by_their_names() {
        for name in [
            "/usr/sbin/runc",
            "/opt/crun",
            "runc.amd64",
            "/a/crun-wasm",
            "/runc (deleted)",
        ] {
            assert!(is_runtime(Path::new(name)), "{name}");
        }
        for name in [
            "/usr/bin/containerd-shim-runc-v2",
            "/runc/x",
            "/usr/bin/truncate",
            "/",
            "",
        ] {
            assert!(!is_runtime(Path::new(name)), "{name}");
        }
    }
}
