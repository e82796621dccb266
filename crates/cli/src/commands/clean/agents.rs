//! Agents that runs which were killed have left in clusters.

use std::process;

use covtap_cluster::daemonset::{Owner, Remnant};
use covtap_cluster::{Follower, Options};
use covtap_live::made::Record;
use covtap_model::agents::Set;
use covtap_model::exit::Exit;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::{PATIENCE, follow};
use crate::args::Cleaning;
use crate::failure;
use crate::output;

/// Removes what a run of the store has recorded.
pub(super) fn recorded(record: &mut Record, dry_run: bool) -> Exit {
    let mut verdict = Exit::Success;
    let agents = record.agents().clone();
    for set in agents.sets {
        let remnant = remnant(&set);
        let name = name(&remnant);
        let removed = follow(&set.cluster, agents.kubeconfig.clone()).and_then(|follower| {
            if dry_run {
                return Ok(());
            }
            let reach = follower.reach();
            let removed = reach.remove_remnant(&remnant);
            removed.map_err(|error| failure::text(&error))?;
            let noted = record.remove(&set.cluster);
            noted.map_err(|error| failure::text(&error))
        });
        match removed {
            Ok(()) if dry_run => output::talk(&format!("{name} would be removed")),
            Ok(()) => output::talk(&format!("{name} are removed")),
            Err(why) => {
                output::error(&format!("{name} are not removed: {why}"));
                output::hint(&format!(
                    "if that cluster is gone for good, nothing is to be removed: remove {}",
                    record.path().display()
                ));
                verdict = Exit::Failure;
            }
        }
    }
    verdict
}

/// Looks through a cluster that was named: a run's folder may be gone, as in a CI job that was ended. What a
/// process of this machine has made that is no more is removed, and what others have made is named.
pub(super) fn in_cluster(args: &Cleaning) -> Exit {
    match look(args) {
        Ok(verdict) => verdict,
        Err(why) => {
            output::error(&format!("nothing of other runs is removed: {why}"));
            Exit::Failure
        }
    }
}

fn look(args: &Cleaning) -> Result<Exit, String> {
    let mut follower = Follower::start(Options {
        kubeconfig: args.kubeconfig.clone(),
        context: args.context.clone(),
        cluster: true,
        ..Options::default()
    })
    .map_err(|error| failure::text(&error))?;
    follower.settle(PATIENCE);
    let facts = follower.facts();
    let Some(cluster) = facts.clusters.first() else {
        let trouble = facts.troubles.first().map(ToString::to_string);
        return Err(trouble.unwrap_or_else(|| "the cluster does not answer".to_owned()));
    };
    let reach = follower.reach();
    let remnants = reach.remnants(&cluster.name);
    let remnants = remnants.map_err(|error| failure::text(&error))?;
    if remnants.is_empty() {
        output::talk(&format!("no agents are in cluster {}", cluster.name));
    }
    let mut verdict = Exit::Success;
    for remnant in remnants {
        let name = name(&remnant);
        match &remnant.owner {
            Some(owner) if owner.host == this_machine() && !runs(owner) => {
                if args.dry_run {
                    output::talk(&format!("{name} would be removed"));
                    continue;
                }
                let removed = reach.remove_remnant(&remnant);
                removed.map_err(|error| failure::text(&error))?;
                output::talk(&format!("{name} are removed"));
            }
            owner => {
                let whose = owner.as_ref().map_or_else(
                    || "nobody knows who".to_owned(),
                    |owner| format!("process {} on {}", owner.pid, owner.host),
                );
                output::warning(&format!("{name} are left: {whose} made them"));
                output::hint(&format!("if that has ended: {}", command(&remnant)));
                verdict = Exit::No;
            }
        }
    }
    Ok(verdict)
}

fn remnant(set: &Set) -> Remnant {
    Remnant {
        cluster: set.cluster.clone(),
        namespace: set.namespace.clone(),
        daemonset: Some(set.name.clone()),
        whole_namespace: set.whole_namespace,
        owner: None,
        created: None,
    }
}

fn name(remnant: &Remnant) -> String {
    format!(
        "the agents in namespace {} of cluster {}",
        remnant.namespace, remnant.cluster
    )
}

/// What removes them.
fn command(remnant: &Remnant) -> String {
    let (cluster, namespace) = (&remnant.cluster, &remnant.namespace);
    match &remnant.daemonset {
        Some(set) if !remnant.whole_namespace => {
            format!("kubectl --context {cluster} -n {namespace} delete daemonset {set}")
        }
        _ => format!("kubectl --context {cluster} delete namespace {namespace}"),
    }
}

/// Whether who made them is a process that there is.
fn runs(owner: &Owner) -> bool {
    let number = i32::try_from(owner.pid).ok();
    let Some(pid) = number.and_then(Pid::from_raw) else {
        return false;
    };
    // Who may not send it a signal knows that it is there.
    owner.pid != process::id() && test_kill_process(pid) != Err(Errno::SRCH)
}

fn this_machine() -> String {
    let names = rustix::system::uname();
    names.nodename().to_string_lossy().into_owned()
}
