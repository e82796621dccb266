//! Where the container engines of this machine are: what Docker's and Podman's own clients would
//! take. Pure functions over the environment and Docker's settings.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    /// How it is reached.
    pub(crate) way: Way,
    /// What asked for it: `DOCKER_HOST`, `Docker's context desktop`. None for a place where an engine
    /// usually is: nobody misses one that is not there.
    pub(crate) asked_by: Option<String>,
}

/// How an engine is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// A socket of this machine.
    Socket(PathBuf),
    /// Unencrypted HTTP: `tcp://10.0.0.1:2375`.
    Tcp(String),
    /// Something that covtap does not speak: TLS, SSH.
    Other(String),
}

/// `unix:///var/run/docker.sock`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Socket(path) => write!(f, "unix://{}", path.display()),
            Way::Tcp(url) | Way::Other(url) => f.write_str(url),
        }
    }
}

/// What of the environment says where engines are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// `DOCKER_HOST`.
    pub(crate) docker_host: Option<String>,
    /// `DOCKER_TLS_VERIFY` is set.
    pub(crate) docker_tls: bool,
    /// `CONTAINER_HOST`, Podman's variable.
    pub(crate) container_host: Option<String>,
    /// `XDG_RUNTIME_DIR`.
    pub(crate) runtime_directory: Option<PathBuf>,
    /// Name and host of Docker's context, when one is in use.
    pub(crate) docker_context: Option<(String, String)>,
}

impl Surroundings {
    /// Those of this process.
    pub(crate) fn of_this_process() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let settings = std::env::var_os("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| Some(std::env::home_dir()?.join(".docker")));
        Self {
            docker_host: text("DOCKER_HOST"),
            docker_tls: text("DOCKER_TLS_VERIFY").is_some(),
            container_host: text("CONTAINER_HOST"),
            runtime_directory: text("XDG_RUNTIME_DIR").map(PathBuf::from),
            docker_context: settings
                .and_then(|folder| docker_context(&folder, text("DOCKER_CONTEXT").as_deref())),
        }
    }
}

/// `config.json` of Docker's client.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    current_context: Option<String>,
}

/// `contexts/meta/<hash>/meta.json` of Docker's client.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    name: String,
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Option<Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: Option<String>,
}

/// Name and host of the context that Docker's client would use with its settings in `folder`. Settings
/// that cannot be read are settings that are not there: so does that client where nothing was asked.
fn docker_context(folder: &Path, asked: Option<&str>) -> Option<(String, String)> {
    let name = match asked {
        Some(name) => name.to_owned(),
        None => {
            let text = std::fs::read(folder.join("config.json")).ok()?;
            serde_json::from_slice::<Settings>(&text)
                .ok()?
                .current_context?
        }
    };
    std::fs::read_dir(folder.join("contexts/meta"))
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|entry| std::fs::read(entry.path().join("meta.json")).ok())
        .filter_map(|text| serde_json::from_slice::<Context>(&text).ok())
        .find(|context| context.name == name)
        .and_then(|context| Some((name, context.endpoints.docker?.host?)))
}

/// Where Docker's and Podman's engines are looked for.
pub(crate) fn addresses(around: &Surroundings) -> Vec<Address> {
    let mut all = vec![docker(around)];
    if let Some(host) = &around.container_host {
        all.push(asked(host, false, "CONTAINER_HOST"));
    }
    let usual = |path: PathBuf| Address {
        way: Way::Socket(path),
        asked_by: None,
    };
    if let Some(folder) = &around.runtime_directory {
        all.push(usual(folder.join("podman/podman.sock")));
    }
    all.push(usual("/run/podman/podman.sock".into()));
    let mut distinct: Vec<Address> = Vec::new();
    for address in all {
        if !distinct.iter().any(|known| known.way == address.way) {
            distinct.push(address);
        }
    }
    distinct
}

/// Where Docker's client would look.
fn docker(around: &Surroundings) -> Address {
    if let Some(host) = &around.docker_host {
        return asked(host, around.docker_tls, "DOCKER_HOST");
    }
    if let Some((name, host)) = &around.docker_context {
        return asked(host, around.docker_tls, &format!("Docker's context {name}"));
    }
    Address {
        way: Way::Socket("/var/run/docker.sock".into()),
        asked_by: None,
    }
}

/// An address that somebody wrote down.
fn asked(host: &str, tls: bool, by: &str) -> Address {
    let way = if let Some(path) = host.strip_prefix("unix://") {
        Way::Socket(path.into())
    } else if !tls && (host.starts_with("tcp://") || host.starts_with("http://")) {
        Way::Tcp(host.to_owned())
    } else {
        Way::Other(host.to_owned())
    };
    Address {
        way,
        asked_by: Some(by.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Surroundings, Way, addresses, docker_context};

    fn texts(around: &Surroundings) -> Vec<String> {
        addresses(around).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_usual_places_without_any_settings() {
        let around = Surroundings {
            runtime_directory: Some("/run/user/7".into()),
            ..Surroundings::default()
        };
        assert_eq!(
            texts(&around),
            [
                "unix:///var/run/docker.sock",
                "unix:///run/user/7/podman/podman.sock",
                "unix:///run/podman/podman.sock"
            ]
        );
        assert!(addresses(&around).iter().all(|a| a.asked_by.is_none()));
    }

    #[test]
    fn the_environment_goes_before_the_context() {
        let mut around = Surroundings {
            docker_host: Some("unix:///run/podman/podman.sock".into()),
            docker_context: Some(("desktop".into(), "unix:///d.sock".into())),
            ..Surroundings::default()
        };
        assert_eq!(texts(&around), ["unix:///run/podman/podman.sock"]);
        around.docker_host = None;
        assert_eq!(texts(&around)[0], "unix:///d.sock");
        assert_eq!(
            addresses(&around)[0].asked_by.as_deref(),
            Some("Docker's context desktop")
        );
    }

    #[test]
    fn what_is_not_spoken_is_told_apart() {
        let way = |host: &str, docker_tls| {
            let around = Surroundings {
                docker_host: Some(host.into()),
                docker_tls,
                ..Surroundings::default()
            };
            addresses(&around).remove(0).way
        };
        assert_eq!(way("tcp://h:2375", false), Way::Tcp("tcp://h:2375".into()));
        assert_eq!(way("tcp://h:2376", true), Way::Other("tcp://h:2376".into()));
        assert_eq!(way("ssh://h", false), Way::Other("ssh://h".into()));
    }

    #[test]
    fn a_context_is_found_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let meta = folder.path().join("contexts/meta/0a1b");
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(
            folder.path().join("config.json"),
            r#"{"currentContext":"colima"}"#,
        )
        .unwrap();
        std::fs::write(
            meta.join("meta.json"),
            r#"{"Name":"colima","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///c.sock"}}}"#,
        )
        .unwrap();
        let found = Some(("colima".to_owned(), "unix:///c.sock".to_owned()));
        assert_eq!(docker_context(folder.path(), None), found);
        assert_eq!(docker_context(folder.path(), Some("colima")), found);
        assert_eq!(docker_context(folder.path(), Some("default")), None);
    }
}
