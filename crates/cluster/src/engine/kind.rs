//! Kind clusters: their nodes are containers of an engine, and the first of them holds the
//! administrator's configuration, as `kind get kubeconfig` reads it (kind 0.33,
//! `pkg/cluster/internal/kubeconfig`). It stays in memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::InspectContainerOptions;
use covtap_model::problem::{Problem, Severity};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use tokio::task::AbortHandle;

use super::{act, seen};
use crate::backoff::Backoff;
use crate::cluster;
use crate::facts::{Engine, Facts, Node};
use crate::news::News;
use crate::world::World;

/// Where kubeadm puts the administrator's configuration on a control plane.
const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// The port of the API inside a node.
const PORT: &str = "6443/tcp";
/// The largest configuration that is believed, in bytes.
const LARGEST: usize = 1 << 20;

/// The Kind clusters of an engine that are followed.
#[derive(Default)]
pub(crate) struct Kinds(HashMap<String, AbortHandle>);

impl Kinds {
    /// Begins to follow clusters that have a control plane now, ends what has none any more.
    pub(crate) fn attend(&mut self, world: &Arc<World>, docker: &Docker, engine: &Engine) {
        let running = world.shared.read(|facts| clusters(facts, engine));
        self.0.retain(|name, task| {
            let runs = running.contains(name);
            if !runs {
                task.abort();
                world.clusters.remove(name);
                world.shared.settle(&cluster::awaited(name));
            }
            runs
        });
        for name in running {
            self.0.entry(name.clone()).or_insert_with(|| {
                world.shared.begin(&cluster::awaited(&name));
                let (world, docker) = (Arc::clone(world), docker.clone());
                tokio::spawn(follow(world, docker, name)).abort_handle()
            });
        }
    }
}

impl Drop for Kinds {
    fn drop(&mut self) {
        for task in self.0.values() {
            task.abort();
        }
    }
}

/// The clusters of which a control plane runs in this engine.
fn clusters(facts: &Facts, engine: &Engine) -> BTreeSet<String> {
    facts
        .nodes
        .iter()
        .filter(|node| node.engine.as_ref() == Some(&engine.address))
        .filter(|node| node.ended.is_none() && seen::has_api(node))
        .map(|node| node.cluster.clone())
        .collect()
}

/// Marks the pods of a cluster as gone, if the container that was removed was its last control
/// plane. Of one that is merely stopped they come back.
pub(crate) fn removed(facts: &mut Facts, container: &str, at: SystemTime) -> Vec<News> {
    let Some(cluster) = facts
        .node(container)
        .filter(|node| seen::has_api(node))
        .map(|node| node.cluster.clone())
    else {
        return Vec::new();
    };
    let another =
        |node: &Node| node.cluster == cluster && node.ended.is_none() && seen::has_api(node);
    if facts.nodes.iter().any(another) {
        return Vec::new();
    }
    cluster::ended(facts, &cluster, at)
}

/// Why a cluster's configuration is not there yet.
#[derive(Debug, thiserror::Error)]
enum NotYet {
    #[error("{0}")]
    Engine(#[from] bollard::errors::Error),
    #[error("{0}")]
    Exec(#[from] act::ActError),
    #[error("no {ADMIN} in it")]
    NoConfiguration,
    #[error("no published port of the API server")]
    NoPort,
    #[error("an {ADMIN} that is no configuration: {0}")]
    Damaged(#[from] kube::config::KubeconfigError),
}

/// Follows one Kind cluster, from the first sign of it on.
async fn follow(world: Arc<World>, docker: Docker, name: String) {
    let mut backoff = Backoff::new();
    let mut tries = 0;
    let config = loop {
        match configuration(&world, &docker, &name).await {
            Ok(config) => break config,
            Err(why) => {
                tries += 1;
                // kubeadm writes it some seconds after the start; a minute is not normal.
                if tries == PATIENCE {
                    world.shared.trouble(Problem::new(
                        Severity::Warning,
                        &name,
                        format!("the administrator's configuration {ADMIN} in a control plane"),
                        why.to_string(),
                        "its pods have no names until it is there",
                    ));
                    world.shared.settle(&cluster::awaited(&name));
                }
                backoff.wait().await;
            }
        }
    };
    let home = world.home_of_kind(&name, &config).await;
    let _claim = world.claim(&config).await;
    let source = cluster::Source {
        name,
        kind: true,
        config,
        home,
        namespaces: Vec::new(),
    };
    cluster::follow(&world, source).await;
}

/// How many tries, with the back-off's pauses, make a minute.
const PATIENCE: u32 = 32;

/// The configuration of a cluster, if its nodes give it.
async fn configuration(world: &World, docker: &Docker, name: &str) -> Result<Config, NotYet> {
    let nodes: Vec<Node> = world.shared.read(|facts| {
        let runs = |node: &&Node| node.cluster == name && node.ended.is_none();
        facts.nodes.iter().filter(runs).cloned().collect()
    });
    let container = |node: &Node| node.container.clone();
    let mut text = None;
    for id in nodes
        .iter()
        .filter(|n| seen::has_api(n))
        .filter_map(container)
    {
        let output = act::exec_output(docker, &id, &["cat", ADMIN], LARGEST).await?;
        if output.status == Some(0) && !output.stdout.is_empty() {
            text = Some(String::from_utf8_lossy(&output.stdout).into_owned());
            break;
        }
    }
    let text = text.ok_or(NotYet::NoConfiguration)?;
    let mut endpoint = None;
    for id in nodes
        .iter()
        .filter(|node| seen::may_publish_api(node))
        .filter_map(container)
    {
        let answer = docker
            .inspect_container(&id, None::<InspectContainerOptions>)
            .await?;
        endpoint = endpoint.or_else(|| published(&answer));
    }
    let endpoint = endpoint.ok_or(NotYet::NoPort)?;
    let kubeconfig = pointed(&text, &endpoint)?;
    Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

/// Where the API of a node is published on this machine: `127.0.0.1:40123`.
fn published(answer: &ContainerInspectResponse) -> Option<String> {
    let ports = answer.network_settings.as_ref()?.ports.as_ref()?;
    let binding = ports.get(PORT)?.as_ref()?.first()?;
    let port: u16 = binding.host_port.as_ref()?.parse().ok()?;
    let host = match binding.host_ip.as_deref() {
        // Published on all addresses: this machine's own is the nearest.
        None | Some("" | "0.0.0.0" | "::") => "127.0.0.1".to_owned(),
        Some(address) if address.contains(':') => format!("[{address}]"),
        Some(address) => address.to_owned(),
    };
    Some(format!("{host}:{port}"))
}

/// The administrator's configuration, pointed at another address of the same server. The server's
/// certificate is checked for the name that the configuration has.
fn pointed(text: &str, endpoint: &str) -> Result<Kubeconfig, kube::config::KubeconfigError> {
    let mut kubeconfig = Kubeconfig::from_yaml(text)?;
    for cluster in kubeconfig
        .clusters
        .iter_mut()
        .filter_map(|c| c.cluster.as_mut())
    {
        let name = cluster.server.as_deref().and_then(host).map(str::to_owned);
        cluster.tls_server_name = cluster.tls_server_name.take().or(name);
        cluster.server = Some(format!("https://{endpoint}"));
    }
    Ok(kubeconfig)
}

/// The host of `https://host:port`.
fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://")?;
    let authority = rest.split('/').next()?;
    Some(
        authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{pointed, published};

    fn binding(ip: &str, port: &str) -> Option<String> {
        let answer = json!({ "NetworkSettings": { "Ports": {
            "6443/tcp": [{ "HostIp": ip, "HostPort": port }], "80/tcp": null } } });
        published(&serde_json::from_value(answer).unwrap())
    }

    #[test]
    fn where_the_api_is_published() {
        assert_eq!(binding("127.0.0.1", "40123").unwrap(), "127.0.0.1:40123");
        assert_eq!(binding("0.0.0.0", "6443").unwrap(), "127.0.0.1:6443");
        assert_eq!(binding("fc00::1", "6443").unwrap(), "[fc00::1]:6443");
        assert_eq!(binding("127.0.0.1", ""), None);
        let none = json!({ "NetworkSettings": { "Ports": { "6443/tcp": null } } });
        assert_eq!(published(&serde_json::from_value(none).unwrap()), None);
    }

    #[test]
    fn the_certificate_is_checked_for_the_name_in_the_configuration() {
        let text = "
apiVersion: v1
kind: Config
clusters:
- name: dev
  cluster: {server: 'https://dev-control-plane:6443'}
contexts:
- name: kubernetes-admin@dev
  context: {cluster: dev, user: kubernetes-admin}
current-context: kubernetes-admin@dev
users:
- name: kubernetes-admin
  user: {}
";
        let kubeconfig = pointed(text, "127.0.0.1:40123").unwrap();
        let cluster = kubeconfig.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://127.0.0.1:40123"));
        assert_eq!(
            cluster.tls_server_name.as_deref(),
            Some("dev-control-plane")
        );
        assert!(pointed("{", "h:1").is_err());
    }
}
