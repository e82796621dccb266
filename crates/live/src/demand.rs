//! What `--require` names has to be instrumented when it is ready: if it is not, testing it is of no use.

use std::collections::BTreeMap;

use crate::around::Found;
use crate::rows::is_named;
use crate::surroundings::Ready;

/// The demands of a run, and the pods of which is not known yet whether they meet them.
#[derive(Debug, Default)]
pub(crate) struct Demands {
    /// What is named: workloads or programs.
    require: Vec<String>,
    pods: BTreeMap<String, Open>,
    unmet: Option<String>,
}

/// A pod that is ready, and of which no container was found to be instrumented so far.
#[derive(Debug)]
struct Open {
    workload: Option<String>,
    /// Containers that were not looked at yet.
    left: usize,
    /// The programs of those that are not instrumented.
    programs: Vec<String>,
    /// Whether one of these is a Go program.
    go: bool,
}

impl Demands {
    pub(crate) fn new(require: Vec<String>) -> Self {
        Self {
            require,
            ..Self::default()
        }
    }

    /// A pod is ready; its containers are looked at next.
    pub(crate) fn ready(&mut self, ready: &Ready) {
        let open = Open {
            workload: ready.workload.clone(),
            left: ready.containers.len(),
            programs: Vec::new(),
            go: false,
        };
        self.pods.insert(ready.name.clone(), open);
    }

    /// One of its containers was looked at. A pod is what it should be when one of them is.
    pub(crate) fn found(&mut self, pod: &str, found: &Found) {
        let Found::NotInstrumented { programs, go } = found else {
            // Whose program was not seen, of that the ledger tells at the end.
            self.pods.remove(pod);
            return;
        };
        let Some(open) = self.pods.get_mut(pod) else {
            return;
        };
        open.go |= go;
        open.programs.extend(programs.iter().cloned());
        open.left = open.left.saturating_sub(1);
        if open.left > 0 {
            return;
        }
        let Some(open) = self.pods.remove(pod) else {
            return;
        };
        let named = |name: &&String| {
            let workload = open.workload.as_deref();
            workload.is_some_and(|workload| is_named(workload, name))
                || open.programs.contains(name)
        };
        // What runs may still be the script that starts the service.
        if let (true, Some(name)) = (open.go, self.require.iter().find(named)) {
            self.unmet.get_or_insert(format!(
                "{name} is required, and {pod} is ready without coverage ({}): build it with -cover",
                open.programs.join(", ")
            ));
        }
    }

    /// The demand that is not met, in words.
    pub(crate) fn unmet(&self) -> Option<&str> {
        self.unmet.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use covtap_tap::cgroup::ContainerId;

    use super::*;
    use crate::around::Directory;
    use crate::surroundings::{NodeId, ReadyContainer};

    fn demands(require: &str, containers: usize) -> Demands {
        let mut demands = Demands::new(vec![require.into()]);
        let container = ReadyContainer {
            name: "c".into(),
            id: ContainerId::new(&"a".repeat(64)).unwrap(),
        };
        demands.ready(&Ready {
            name: "shop/api-1".into(),
            node: NodeId {
                cluster: "kind-dev".into(),
                name: "dev-worker".into(),
            },
            workload: Some("deployment/api".into()),
            containers: vec![container; containers],
        });
        demands
    }

    fn plain(program: &str) -> Found {
        Found::NotInstrumented {
            programs: vec![program.into()],
            go: program != "sh",
        }
    }

    #[test]
    fn a_workload_or_a_program_that_is_required_has_to_be_instrumented() {
        for (require, met) in [
            ("deployment/api", false),
            ("api", false),
            ("svc", false),
            ("deployment/db", true),
        ] {
            let mut demands = demands(require, 1);
            demands.found("shop/api-1", &plain("svc"));
            assert_eq!(demands.unmet().is_none(), met, "{require}");
        }
    }

    #[test]
    fn a_script_may_still_become_the_service() {
        let mut demands = demands("deployment/api", 1);
        demands.found("shop/api-1", &plain("sh"));
        assert_eq!(demands.unmet(), None);
    }

    #[test]
    fn one_container_of_a_pod_is_enough() {
        let mut demands = demands("deployment/api", 2);
        demands.found("shop/api-1", &plain("proxy"));
        assert_eq!(demands.unmet(), None);
        let instrumented = Found::Instrumented {
            program: "svc".into(),
            uid: None,
            directory: Directory::Unset,
        };
        demands.found("shop/api-1", &instrumented);
        assert_eq!(demands.unmet(), None);

        let mut demands = self::demands("deployment/api", 2);
        demands.found("shop/api-1", &plain("proxy"));
        demands.found("shop/api-1", &plain("svc"));
        assert_eq!(
            demands.unmet(),
            Some(
                "deployment/api is required, and shop/api-1 is ready without coverage (proxy, svc): build \
                 it with -cover"
            )
        );
    }
}
