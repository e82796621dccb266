use super::*;

fn of(files: &[(&str, &str)]) -> Repository {
    let files = files
        .iter()
        .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()));
    read_texts(&files.collect())
}

#[test]
fn a_manifest_in_go_gets_what_functions_put_into_it() {
    let text = "package infra\n\nfunc env() string {\n\treturn `- name: GOCOVERDIR\n          value: /c`\n}\n\nvar m = fmt.Sprintf(`apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: api\nspec:\n  template:\n    spec:\n      containers:\n      - name: api\n        image: %s\n        env:\n        %s\n        ports: []\n`, image, env())\n";
    let facts = of(&[(
        "test/infra.go",
        &text.replace("func env", "// docker\nfunc env"),
    )]);
    assert_eq!(facts.workloads.len(), 1);
    let workload = &facts.workloads[0];
    assert!(workload.open);
    assert_eq!(workload.name, "api");
    assert_eq!(workload.containers[0].environment[0].name, "GOCOVERDIR");
    assert_eq!(
        workload.containers[0].environment[0].value.as_deref(),
        Some("/c")
    );
    assert_eq!(workload.containers[0].place.line, 17);
}

#[test]
fn the_example_as_it_is() {
    let root = std::path::Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/datastorage"
    ));
    let facts = read(root).expect("the example");
    let workload = facts
        .workloads
        .iter()
        .find(|w| w.name == "datastorage" || w.containers.iter().any(|c| c.name == "datastorage"))
        .expect("the service");
    let container = &workload.containers[0];
    assert_eq!(
        container
            .environment
            .iter()
            .find(|v| v.name == "GOCOVERDIR")
            .and_then(|v| v.value.as_deref()),
        Some("/coverdata")
    );
    assert!(workload.volumes.iter().any(|v| v.name == "coverdata"));
    assert_eq!(facts.kinds.len(), 1);
    assert_eq!(facts.kinds[0].nodes.len(), 2);
    let steps: Vec<String> = facts
        .flows
        .iter()
        .flat_map(|f| &f.steps)
        .map(|s| s.line())
        .collect();
    for part in [
        "docker build -f docker/data-storage.Dockerfile -t data-storage:e2e",
        "install -d -o",
        "kubectl scale deployment/datastorage --replicas=0",
    ] {
        assert!(steps.iter().any(|s| s.contains(part)), "{part}");
    }
    assert!(facts.packages.iter().any(|p| p.main.is_some()));
    assert!(facts.unread.is_empty(), "{:?}", facts.unread);
}
