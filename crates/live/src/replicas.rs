//! A run's coverage by replica: of each container of each pod, all of its lives together; of processes
//! that are in no container, each for itself.

use std::collections::BTreeMap;
use std::path::Path;

use covtap_model::coverage::Coverage;
use covtap_model::ledger::{Ledger, Target};
use covtap_model::problem::Problem;
use covtap_profile::go::directory::Pod;
use covtap_report::exclude::Exclusions;

use crate::checkout::Checkout;
use crate::collect;

/// One replica of a workload, and what it covered.
#[derive(Clone, Debug)]
pub struct Replica {
    /// What a person calls what it is a replica of: `deployment/api`.
    pub workload: String,
    /// What a person calls it: `shop/api-7c9`, with its container where the pod has several;
    /// `process 812` outside of containers.
    pub name: String,
    /// How many lives of it are in its coverage.
    pub lives: usize,
    /// Its coverage document.
    pub coverage: Coverage,
}

impl Replica {
    /// Its name as that of a directory: letters, digits, `-`, `_` and `.`; two replicas of a run may
    /// have the same.
    #[must_use]
    pub fn slug(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        self.name
            .chars()
            .map(|c| if plain(c) { c } else { '-' })
            .collect()
    }
}

/// The replicas of a run that gave data, in the order of the ledger, from the counter files that lie
/// below `raw`; the problems say whose files could not be used.
#[must_use]
pub fn of_run(
    raw: &Path,
    ledger: &Ledger,
    generator: &str,
    (checkout, exclude): (&Checkout, &Exclusions),
) -> (Vec<Replica>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut replicas = Vec::new();
    for (workload, name, targets) in grouped(ledger) {
        let (pods, lives) = files(raw, &targets, &mut problems);
        let (coverage, unusable) = collect::document_of(&pods, generator, checkout);
        problems.extend(unusable);
        let Some(mut coverage) = coverage else {
            continue;
        };
        checkout.refine(&mut coverage, exclude);
        coverage.finish();
        replicas.push(Replica {
            workload,
            name,
            lives,
            coverage,
        });
    }
    (replicas, problems)
}

/// What tells a replica from others: cluster, pod (its uid) and container (by name), or the process.
type Identity<'a> = (&'a str, &'a str, &'a str, Option<u32>);

fn identity(target: &Target) -> Identity<'_> {
    fn text(value: Option<&String>) -> &str {
        value.map(String::as_str).unwrap_or_default()
    }
    let Some(container) = &target.container else {
        return ("", "", &target.workload, target.pid);
    };
    let pod = text(container.pod_uid.as_ref());
    // The name of a container of an engine is its own; in pods it is that of all replicas.
    let name = container.name.as_ref().or(container.id.as_ref());
    (text(container.cluster.as_ref()), pod, text(name), None)
}

/// The targets that gave data, by replica, with its workload and name.
fn grouped(ledger: &Ledger) -> Vec<(String, String, Vec<&Target>)> {
    let mut groups: Vec<(Identity<'_>, Vec<&Target>)> = Vec::new();
    for target in ledger.targets.iter().filter(|target| target.gave_data()) {
        let identity = identity(target);
        match groups.iter_mut().find(|(other, _)| *other == identity) {
            Some((_, targets)) => targets.push(target),
            None => groups.push((identity, vec![target])),
        }
    }
    let several = |(cluster, pod, _, _): &Identity<'_>| {
        let same = groups
            .iter()
            .filter(|((c, p, _, _), _)| (c, p) == (cluster, pod));
        !pod.is_empty() && same.count() > 1
    };
    groups
        .iter()
        .filter_map(|(identity, targets)| {
            let first = targets.first()?;
            let name = name(first, several(identity));
            Some((first.workload.clone(), name, targets.clone()))
        })
        .collect()
}

fn name(target: &Target, several: bool) -> String {
    let Some(container) = &target.container else {
        let pid = target.pid.map_or_else(|| "?".into(), |pid| pid.to_string());
        return format!("process {pid}");
    };
    let own = container.name.as_ref().or(container.id.as_ref());
    let own = own.map(String::as_str).unwrap_or("?");
    let pod = match (&container.namespace, &container.pod, &container.pod_uid) {
        (Some(namespace), Some(pod), _) => format!("{namespace}/{pod}"),
        (_, _, Some(uid)) => format!("pod {uid}"),
        _ => return format!("container {own}"),
    };
    if several { format!("{pod} {own}") } else { pod }
}

/// The counter files of a replica, by build, and how many there are. A target that wrote its files
/// itself has the last of them in `raw`.
fn files(raw: &Path, targets: &[&Target], problems: &mut Vec<Problem>) -> (Vec<Pod>, usize) {
    let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for target in targets {
        let state = target.state.as_ref();
        let file = state.and_then(|state| state.file.as_ref());
        let file = file.or(target.files.last());
        if let (Some(build), Some(file)) = (&target.build, file) {
            wanted.entry(build).or_default().push(file);
        }
    }
    let directories: Vec<_> = wanted.keys().map(|build| raw.join(build)).collect();
    let found = collect::files(&directories);
    problems.extend(found.problems);
    let mut pods = found.pods;
    for pod in &mut pods {
        let names = wanted.get(pod.tag.as_str());
        pod.counters.retain(|file| {
            let name = file.path.file_name().and_then(|name| name.to_str());
            names.is_some_and(|names| name.is_some_and(|name| names.contains(&name)))
        });
    }
    let lives = pods.iter().map(|pod| pod.counters.len()).sum();
    (pods, lives)
}

#[cfg(test)]
mod tests {
    use covtap_model::ledger::{Container, Instrumented, Outcome};

    use super::*;

    fn target(pod: Option<&str>, container: &str, pid: u32) -> Target {
        Target {
            workload: "deployment/api".into(),
            container: pod.map(|pod| Container {
                namespace: Some("shop".into()),
                pod: Some(pod.into()),
                pod_uid: Some(pod.into()),
                name: Some(container.into()),
                ..Container::default()
            }),
            pid: Some(pid),
            generation: 0,
            executable: None,
            first_seen: None,
            ended: None,
            exit_status: None,
            instrumented: Instrumented::Yes {
                evidence: "x".into(),
            },
            expected: None,
            build: None,
            files: Vec::new(),
            state: None,
            outcome: Outcome::Merged,
        }
    }

    #[test]
    fn lives_of_one_container_are_one_replica() {
        let mut ledger = Ledger::new("poll");
        ledger.targets = vec![
            target(Some("api-1"), "main", 1),
            target(Some("api-2"), "main", 2),
            target(Some("api-1"), "main", 3),
            target(Some("api-2"), "helper", 4),
            target(None, "", 5),
            target(None, "", 6),
        ];
        let groups = grouped(&ledger);
        let names: Vec<_> = groups
            .iter()
            .map(|(_, name, targets)| (name.as_str(), targets.len()))
            .collect();
        assert_eq!(
            names,
            [
                ("shop/api-1", 2),
                ("shop/api-2 main", 1),
                ("shop/api-2 helper", 1),
                ("process 5", 1),
                ("process 6", 1),
            ]
        );
    }
}
