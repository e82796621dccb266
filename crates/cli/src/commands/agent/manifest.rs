//! `covtap agent manifest`: what `covtap run --agent-image` makes in a cluster, for whoever has to allow it.

use std::process::ExitCode;

use covtap_cluster::daemonset::Reachable;
use covtap_cluster::daemonset::manifest::{daemonset, namespace, role_of_agents, role_of_pods};
use covtap_cluster::yaml;
use serde::Serialize;
use serde_json::Value;

use crate::args::AgentManifest;
use crate::failure::Failure;
use crate::output;
use crate::pod_door;

pub(super) fn run(args: &AgentManifest) -> Result<ExitCode, Failure> {
    let reachable = if args.all_namespaces {
        Reachable::Everything
    } else {
        Reachable::These(args.namespace.clone())
    };
    let plan = pod_door::plan(
        args.agent_image.clone(),
        args.agent_namespace.clone(),
        args.hold,
    );
    let mut text = format!(
        "# What covtap run makes in a cluster and removes at its end. With --agent-namespace {} an\n\
         # administrator makes the namespace, and the DaemonSet alone is made.\n",
        plan.place()
    );
    text += &document(&namespace(&plan))?;
    text += &document(&daemonset(&plan, &reachable))?;
    text += "# What its user has to be allowed, where that is not allowed already: there,\n";
    text += &document(&role_of_agents(&plan.place()))?;
    if let Reachable::These(namespaces) = &reachable {
        for namespace in namespaces {
            text += "# and in each namespace whose pods are looked into.\n";
            text += &document(&role_of_pods(namespace))?;
        }
    }
    output::data(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn document(object: &impl Serialize) -> Result<String, Failure> {
    let value: Value = serde_json::to_value(object)?;
    Ok(yaml::document(&value))
}
