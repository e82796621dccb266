//! The cluster of the kubeconfig: which context, and where it is followed from.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use covtap_model::problem::{Problem, Severity};
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::{Source, awaited, ended, follow};
use crate::backoff::Backoff;
use crate::follower::Options;
use crate::selection::{Home, Namespaces};
use crate::world::World;

/// A context of the kubeconfig.
pub(crate) struct Asked {
    /// Its name.
    pub(crate) name: String,
    /// How its cluster is reached.
    pub(crate) config: Config,
}

/// How often the kubeconfig is looked at again. It is a handful of files, any of which may be
/// replaced, or reached by another path: looking is simpler than being told.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How long the engines may take to say what runs in them.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// How the cluster of the kubeconfig is called before its name is known.
pub(crate) const UNNAMED: &str = "of the kubeconfig";

/// Reads the context that was asked for.
pub(crate) async fn read(options: &Options) -> Result<Asked, KubeconfigError> {
    let kubeconfig = match &options.kubeconfig {
        Some(path) => Kubeconfig::read_from(path)?,
        None => Kubeconfig::read()?,
    };
    let name = options
        .context
        .clone()
        .or_else(|| kubeconfig.current_context.clone())
        .ok_or(KubeconfigError::CurrentContextNotSet)?;
    let asked = KubeConfigOptions {
        context: Some(name.clone()),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &asked).await?;
    Ok(Asked { name, config })
}

/// Follows the cluster of the kubeconfig, which may not be there yet and may be replaced.
pub(crate) async fn follow_asked(world: Arc<World>) {
    // It may be a Kind cluster of an engine, which knows more about it.
    world
        .shared
        .others_settled(&awaited(UNNAMED), FIRST_LOOK)
        .await;
    let mut backoff = Backoff::new();
    loop {
        let asked = match read(&world.options).await {
            Ok(asked) => asked,
            Err(error) => {
                world.shared.trouble(unreadable(&world.options, &error));
                world.shared.settle(&awaited(UNNAMED));
                backoff.wait().await;
                continue;
            }
        };
        let (name, url) = (asked.name.clone(), asked.config.cluster_url.to_string());
        tokio::select! {
            // It ends only where the configuration is of no use.
            () = follow_one(&world, asked) => backoff.wait().await,
            () = replaced(&world.options, &url) => backoff.reset(),
        }
        let at = SystemTime::now();
        world.shared.change(|facts| ended(facts, &name, at));
        world.shared.settle(&awaited(&name));
    }
}

/// Follows the cluster of a context, unless and until somebody else does.
async fn follow_one(world: &World, asked: Asked) {
    if world.is_claimed(&asked.config) {
        // It is a Kind cluster that was found through an engine.
        world.shared.settle(&awaited(UNNAMED));
    }
    let _claim = world.claim(&asked.config).await;
    world.shared.begin(&awaited(&asked.name));
    world.shared.settle(&awaited(UNNAMED));
    let home = asked.config.default_namespace.clone();
    let namespaces = match &world.options.selection.namespaces {
        Namespaces::All => Vec::new(),
        Namespaces::These(these) => these.clone(),
        Namespaces::Unsaid => vec![home.clone()],
    };
    let source = Source {
        name: asked.name,
        kind: false,
        home: Home::Namespace(home),
        config: asked.config,
        namespaces,
    };
    follow(world, source).await;
}

/// Waits until the kubeconfig names another address than `url`: a cluster that was made anew.
async fn replaced(options: &Options, url: &str) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let now = read(options).await;
        if now.is_ok_and(|asked| asked.config.cluster_url != *url) {
            return;
        }
    }
}

fn unreadable(options: &Options, error: &KubeconfigError) -> Problem {
    let file = options.kubeconfig.as_ref().map_or_else(
        || std::env::var("KUBECONFIG").unwrap_or_else(|_| "~/.kube/config".into()),
        |path| path.display().to_string(),
    );
    let expected = options.context.as_ref().map_or_else(
        || "a kubeconfig with a current context".to_owned(),
        |context| format!("a kubeconfig with the context {context}"),
    );
    // A suite that creates its cluster writes its own, and nobody misses another one.
    let severity = if options.kubeconfig.is_some() || options.context.is_some() {
        Severity::Warning
    } else {
        Severity::Note
    };
    Problem::new(
        severity,
        file,
        expected,
        error.to_string(),
        "its cluster is followed as soon as it can be read",
    )
    .hint("kubectl config get-contexts lists those that there are")
}
