//! What is required and not instrumented stops the run when it is ready, before anything is tested.

use serde_json::json;

use crate::manifest::{all, deployment, ready_on, spec, with};
use crate::place::Place;
use crate::{Cluster, load, load_with};

const NAMESPACE: &str = "require";

#[test]
fn a_required_workload_without_coverage_stops_the_run() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let folder = "fixtures/cluster/service";
    load(&cluster, "numbered:test", folder);
    load_with(&cluster, "numbered:plain", folder, &["FLAG=-cover=false"]);
    let plain = with(ready_on(8080, &[]), "image", json!("numbered:plain"));
    let plain = deployment(NAMESPACE, "plain", 1, spec(&[plain]));
    let good = deployment(NAMESPACE, "good", 1, spec(&[ready_on(8080, &[])]));
    let context = format!("--context={}", cluster.context);
    let flags = ["-n", NAMESPACE, "--require=deployment/plain", &context];
    // 3 when nothing gave data, 4 when something did.
    for (new, code) in [(plain, 3), (good, 4)] {
        cluster.apply(&all(NAMESPACE, vec![new]));
        if code == 4 {
            cluster.rolled_out(NAMESPACE, "good");
        }
        let place = Place::new();
        let mut run = place.run(&flags);
        run.says(&["is ready: not instrumented: numbered"]);
        run.says(&["error: deployment/plain is required, and require/plain-"]);
        // Nobody tells CMD to end but covtap.
        let (status, said) = run.ended();
        assert_eq!(status.code(), Some(code), "{said}");
        assert!(
            said.contains("stopped before its time: deployment/plain is required"),
            "{said}"
        );
        assert!(
            said.contains("missing: not instrumented: build it with -cover"),
            "{said}"
        );
        let merged = place
            .ledger()
            .targets
            .iter()
            .filter(|row| row.gave_data())
            .count();
        assert_eq!(merged, usize::from(code == 4), "{said}");
    }
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}
