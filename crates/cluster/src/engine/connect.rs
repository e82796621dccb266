//! One engine: is it there, may it be asked, what is it.

use std::io;
use std::path::Path;
use std::sync::LazyLock;

use bollard::models::SystemVersion;
use bollard::{API_DEFAULT_VERSION, Docker};
use covtap_model::problem::{Problem, Severity};

use super::address::{Address, Way};
use crate::facts::{Engine, EngineKind};

/// How long the engine may take to begin an answer, in seconds.
const TIMEOUT: u64 = 30;

/// Why an engine is not followed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Its socket cannot be opened.
    Socket(io::Error),
    /// covtap does not speak what the address asks for.
    Unsupported,
    /// It answers wrongly, or no more.
    Broken(bollard::errors::Error),
    /// It ended the connection.
    Ended,
}

impl Failure {
    /// What a person should know about it; none where nobody misses anything.
    pub(crate) fn problem(&self, address: &Address) -> Option<Problem> {
        const EFFECT: &str = "its containers and Kind clusters are not followed";
        let subject = address.to_string();
        let asked = address
            .asked_by
            .as_ref()
            .map_or(String::new(), |by| format!(", which {by} names"));
        let problem = |found: String, effect: &str| {
            Problem::new(
                Severity::Warning,
                &subject,
                format!("a container engine{asked}"),
                found,
                effect,
            )
        };
        Some(match self {
            Self::Socket(error) if error.kind() == io::ErrorKind::PermissionDenied => problem(
                "a socket that may not be opened".into(),
                EFFECT,
            )
            .hint(
                "run as a member of the socket's group (usually docker) or as root: `ls -l` names it",
            ),
            // Where an engine usually is and none is, and where one comes later, nothing is wrong.
            Self::Socket(_) if address.asked_by.is_none() => return None,
            Self::Socket(error) => problem(
                error.to_string(),
                "its containers and Kind clusters are followed as soon as it answers",
            )
            .hint("start the engine, or unset what names it"),
            Self::Unsupported => problem(
                "an address that covtap cannot speak to: only unix:// and tcp:// without TLS".into(),
                EFFECT,
            )
            .hint("forward the engine's socket: ssh -L /tmp/docker.sock:/var/run/docker.sock HOST, then DOCKER_HOST=unix:///tmp/docker.sock"),
            Self::Broken(error) => problem(
                error.to_string(),
                "its containers and Kind clusters are followed again as soon as it answers",
            ),
            Self::Ended => problem(
                "the end of its events".into(),
                "its containers and Kind clusters are followed again as soon as it answers",
            ),
        })
    }
}

/// Connects to the engine at an address and asks what it is.
pub(crate) async fn connect(address: &Address) -> Result<(Docker, Engine), Failure> {
    let docker = match &address.way {
        Way::Socket(path) => {
            // The client's own error does not say who may open the socket.
            tokio::net::UnixStream::connect(path)
                .await
                .map_err(Failure::Socket)?;
            Docker::connect_with_unix(&path.to_string_lossy(), TIMEOUT, API_DEFAULT_VERSION)
        }
        Way::Tcp(url) => Docker::connect_with_http(url, TIMEOUT, API_DEFAULT_VERSION),
        Way::Other(_) => return Err(Failure::Unsupported),
    }
    .map_err(Failure::Broken)?;
    let docker = docker.negotiate_version().await.map_err(Failure::Broken)?;
    let version = docker.version().await.map_err(Failure::Broken)?;
    let engine = engine(address, &version, KERNEL.as_deref());
    Ok((docker, engine))
}

/// The version of this machine's kernel; none where it is not Linux.
static KERNEL: LazyLock<Option<String>> = LazyLock::new(|| {
    let text = std::fs::read_to_string(Path::new("/proc/sys/kernel/osrelease")).ok()?;
    Some(text.trim().to_owned())
});

/// What an engine says about itself. It is local when it is reached by a socket and its kernel is
/// this machine's: behind the socket of a desktop there is a machine of its own.
fn engine(address: &Address, version: &SystemVersion, kernel: Option<&str>) -> Engine {
    let podman = version
        .components
        .iter()
        .flatten()
        .any(|component| component.name.starts_with("Podman"));
    let socket = matches!(address.way, Way::Socket(_));
    Engine {
        address: address.to_string(),
        kind: if podman {
            EngineKind::Podman
        } else {
            EngineKind::Docker
        },
        version: version.version.clone().unwrap_or_default(),
        local: socket && kernel.is_some() && version.kernel_version.as_deref() == kernel,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use bollard::models::SystemVersion;
    use serde_json::json;

    use super::{Failure, connect, engine};
    use crate::engine::address::{Address, Way};
    use crate::facts::EngineKind;

    fn socket(asked_by: Option<&str>) -> Address {
        Address {
            way: Way::Socket("/d.sock".into()),
            asked_by: asked_by.map(str::to_owned),
        }
    }

    #[test]
    fn what_an_engine_is() {
        let version = |json| serde_json::from_value::<SystemVersion>(json).unwrap();
        let docker = version(json!({"Version": "26.1.5", "KernelVersion": "6.18.1",
            "Components": [{"Name": "Engine", "Version": "26.1.5"}]}));
        let here = engine(&socket(None), &docker, Some("6.18.1"));
        assert_eq!((here.kind, here.local), (EngineKind::Docker, true));
        assert!(!engine(&socket(None), &docker, Some("6.1.0")).local);
        assert!(!engine(&socket(None), &docker, None).local);
        let podman = version(json!({"Version": "5.4.2",
            "Components": [{"Name": "Podman Engine", "Version": "5.4.2"}]}));
        assert_eq!(
            engine(&socket(None), &podman, None).kind,
            EngineKind::Podman
        );
    }

    #[test]
    fn nobody_misses_an_engine_that_nobody_named() {
        let absent = Failure::Socket(io::ErrorKind::NotFound.into());
        assert_eq!(absent.problem(&socket(None)), None);
        let named = absent
            .problem(&socket(Some("DOCKER_HOST")))
            .unwrap()
            .to_string();
        assert!(named.contains("which DOCKER_HOST names"), "{named}");
        let denied = Failure::Socket(io::ErrorKind::PermissionDenied.into());
        let denied = denied.problem(&socket(None)).unwrap().to_string();
        assert!(
            denied.contains("may not be opened") && denied.contains("group"),
            "{denied}"
        );
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_at_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let address = Address {
            way: Way::Socket(path),
            asked_by: None,
        };
        let Err(Failure::Socket(error)) = connect(&address).await else {
            panic!("refused");
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
