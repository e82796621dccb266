//! Images and pods of every kind at once: one that is not instrumented, two containers in a pod, the
//! network of the node, one image in two deployments, two versions of a service while it rolls out.

use std::collections::BTreeSet;

use covtap_model::ledger::{Instrumented, Outcome, Target};
use serde_json::json;

use crate::manifest::{all, deployment, pod, ready_on, spec, with};
use crate::place::Place;
use crate::{Cluster, covtap, load, load_with, output};

const NAMESPACE: &str = "images";
const WORKED: usize = 7;

fn manifest() -> String {
    let image = |container, image: &str| with(container, "image", json!(image));
    let (first, second) = (
        ready_on(8080, &["work", "201", "wait"]),
        ready_on(8081, &["work", "202", "wait"]),
    );
    let second = with(second, "env", json!([{ "name": "PORT", "value": "8081" }]));
    let host = ready_on(18080, &["work", "203", "wait"]);
    let host = with(host, "env", json!([{ "name": "PORT", "value": "18080" }]));
    let work = |times| ready_on(8080, &["work", times, "wait"]);
    all(
        NAMESPACE,
        vec![
            deployment(
                NAMESPACE,
                "plain",
                1,
                spec(&[image(work("200"), "numbered:plain")]),
            ),
            pod(
                NAMESPACE,
                "two",
                spec(&[
                    with(first, "name", json!("first")),
                    with(second, "name", json!("second")),
                ]),
            ),
            pod(
                NAMESPACE,
                "host",
                with(spec(&[host]), "hostNetwork", json!(true)),
            ),
            deployment(NAMESPACE, "blue", 1, spec(&[work("204")])),
            deployment(NAMESPACE, "green", 1, spec(&[work("205")])),
            deployment(NAMESPACE, "newer", 1, spec(&[work("206")])),
        ],
    )
}

/// How often a handler was entered in all, as the run's document says.
fn in_all(place: &Place, builds: &BTreeSet<String>) -> u64 {
    let raw = place.latest().join("raw");
    let directories: Vec<_> = builds.iter().map(|build| raw.join(build)).collect();
    let names: Vec<String> = directories
        .iter()
        .map(|d| d.display().to_string())
        .collect();
    let profile = place.path().join("all");
    let mut textfmt = covtap(place);
    textfmt.args(["covdata", "textfmt"]);
    textfmt.arg(format!("-i={}", names.join(",")));
    output(textfmt.arg(format!("-o={}", profile.display())));
    crate::place::handlers(&profile)[WORKED]
}

#[test]
fn images_and_pods_of_every_kind_have_their_rows() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let folder = "fixtures/cluster/service";
    load(&cluster, "numbered:test", folder);
    load_with(&cluster, "numbered:plain", folder, &["FLAG=-cover=false"]);
    let more = "MORE=func later() int { return 1 }";
    load_with(&cluster, "numbered:newer", folder, &[more]);
    let place = Place::new();
    // The repository whose service it is: then it is expected, instrumented or not.
    std::fs::write(place.path().join("go.mod"), "module example.org/numbered\n").unwrap();
    let context = format!("--context={}", cluster.context);
    let mut run = place.run(&["-n", NAMESPACE, &context]);
    run.says(&["watching node"]);
    cluster.apply(&manifest());
    run.says_all(&[
        &["images/plain-", "is ready: not instrumented: numbered"],
        &["images/two first is ready", "is instrumented"],
        &["images/two second is ready", "is instrumented"],
        &["images/host is ready", "is instrumented"],
        &["images/blue-", "is instrumented"],
        &["images/green-", "is instrumented"],
        &["images/newer-", "is instrumented"],
    ]);
    let old = cluster.rolled_out(NAMESPACE, "newer");
    let image = "numbered=numbered:newer";
    cluster.in_namespace(NAMESPACE, &["set", "image", "deployment/newer", image]);
    // Both versions run for a moment.
    cluster.rolled_out(NAMESPACE, "newer");
    for pod in old {
        cluster.wait(NAMESPACE, &pod, "delete");
    }
    let (status, said) = run.end();
    assert_eq!(status.code(), Some(4), "one is not instrumented\n{said}");

    let ledger = place.ledger();
    let of = |workload: &str| -> Vec<&Target> {
        let targets = ledger.targets.iter();
        targets.filter(|row| row.workload == workload).collect()
    };
    let [plain] = of("deployment/plain")[..] else {
        panic!("{said}");
    };
    assert!(plain.is_gap());
    assert!(matches!(plain.instrumented, Instrumented::No { .. }));
    assert!(
        said.contains("not instrumented: build it with -cover"),
        "{said}"
    );
    let merged = |workload: &str, counts: &[u64]| -> BTreeSet<String> {
        let rows = of(workload);
        let mut found: Vec<u64> = rows.iter().map(|row| place.entered(row)[WORKED]).collect();
        found.sort_unstable();
        assert_eq!(found, counts, "{workload}\n{said}");
        assert!(rows.iter().all(|row| row.outcome == Outcome::Merged));
        rows.iter().filter_map(|row| row.build.clone()).collect()
    };
    merged("pod/two", &[201, 202]);
    let names: BTreeSet<_> = of("pod/two")
        .iter()
        .map(|row| row.container.as_ref().unwrap().name.clone().unwrap())
        .collect();
    assert_eq!(names, ["first", "second"].map(str::to_owned).into());
    merged("pod/host", &[203]);
    let one = merged("deployment/blue", &[204]);
    assert_eq!(one, merged("deployment/green", &[205]), "one image");
    let both = merged("deployment/newer", &[206, 206]);
    assert_eq!(both.len(), 2, "two versions");
    assert!(both.is_superset(&one));
    assert_eq!(in_all(&place, &one), 201 + 202 + 203 + 204 + 205 + 206);
    crate::say(&format!(
        "{} targets: an image without coverage is a gap, {} versions are kept apart, one image in two \
         deployments is one build",
        ledger.targets.len(),
        both.len()
    ));
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}
