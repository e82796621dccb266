use super::*;

const DOCKERFILE: &str = "FROM golang\nCOPY . .\nRUN go build -o /api .\nFROM debian\nRUN useradd --uid 1001 app\nUSER app\n";
const MANIFEST: &str = "kind: Deployment\nmetadata: {name: api}\nspec:\n  template:\n    spec:\n      containers:\n        - name: api\n          image: reg.example/shop/api:dev\n---\nkind: Deployment\nmetadata: {name: db}\nspec:\n  template:\n    spec:\n      containers:\n        - name: postgres\n          image: postgres:17\n        - name: side\n          image: envoy:1\n";

fn files(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter()
        .map(|(p, t)| ((*p).to_owned(), (*t).to_owned()))
        .collect()
}

fn wanted(volume: Volume) -> Wanted {
    Wanted {
        files: true,
        volume,
        directory: "/coverdata".into(),
        services: Vec::new(),
    }
}

#[test]
fn what_is_built_here_is_wired_and_the_rest_is_named() {
    let mut tree = files(&[
        ("Dockerfile", DOCKERFILE),
        (
            "Makefile",
            "image:\n\tdocker build -t api:dev .\ne2e: image\n\tgo test ./e2e\n",
        ),
        ("deploy/all.yaml", MANIFEST),
        (
            "kind.yaml",
            "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n",
        ),
    ]);
    let first = plan(&tree, &wanted(Volume::HostPath));
    let paths: Vec<&str> = first.changes.iter().map(|c| c.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            ".gitignore",
            "Dockerfile",
            "Makefile",
            "deploy/all.yaml",
            "kind.yaml"
        ]
    );
    assert!(first.changes.iter().all(|c| c.shown.is_none()));
    assert_eq!(first.blocked, []);
    let passed: Vec<&str> = first.passed.iter().map(|p| p.1.as_str()).collect();
    assert_eq!(
        passed,
        [
            "Deployment db, container postgres: it is a database or broker",
            "Deployment db, container side: nothing here builds its image envoy:1"
        ]
    );
    let manifest = first.changes[3].after();
    assert_eq!(manifest.matches("GOCOVERDIR").count(), 1);
    for change in &first.changes {
        tree.insert(change.path.clone(), change.after());
    }
    let second = plan(&tree, &wanted(Volume::HostPath));
    assert_eq!(second.changes, []);
    // The memory needs no directory.
    let tap = plan(
        &files(&[("Dockerfile", DOCKERFILE), ("a.yaml", MANIFEST)]),
        &Wanted::default(),
    );
    let paths: Vec<&str> = tap.changes.iter().map(|c| c.path.as_str()).collect();
    assert_eq!(paths, ["Dockerfile"]);
}

#[test]
fn the_user_of_the_image_may_write() {
    let tree = files(&[
        ("Dockerfile", DOCKERFILE),
        ("a.yaml", &MANIFEST.replace("shop/api", "shop/other")),
    ]);
    let mut wanted = wanted(Volume::EmptyDir);
    assert_eq!(plan(&tree, &wanted).changes.len(), 1);
    wanted.services = vec!["api".into()];
    let named = plan(&tree, &wanted);
    assert!(
        named.changes[1].after().contains("fsGroup: 1001"),
        "{}",
        named.changes[1].after()
    );
}

#[test]
fn code_and_templates_are_only_shown() {
    let code = format!(
        "package e2e\n\nimport (\n\t\"os\"\n)\n\nconst image = \"api:e2e\"\n\nvar m = `{MANIFEST}`\n\nvar b = []string{{\"docker\", \"build\", \".\"}}\n"
    );
    let chart = MANIFEST.replace("reg.example/shop/api:dev", "{{ .Values.image }}");
    let tree = files(&[
        ("Dockerfile", DOCKERFILE),
        ("e2e/a.go", &code),
        ("chart/templates/a.yaml", &chart),
    ]);
    let plan = plan(&tree, &wanted(Volume::EmptyDir));
    let shown: Vec<(&str, bool)> = plan
        .changes
        .iter()
        .map(|c| (c.path.as_str(), c.shown.is_some()))
        .collect();
    assert_eq!(
        shown,
        [
            ("Dockerfile", false),
            ("chart/templates/a.yaml", true),
            ("e2e/a.go", true)
        ]
    );
    let after = plan.changes[2].after();
    assert!(
        after.contains(
            "\"build\", \"--build-arg\", \"GOFLAGS=\" + os.Getenv(\"E2E_GOFLAGS\"), \".\""
        ) && after.contains("GOCOVERDIR"),
        "{after}"
    );
}

#[test]
fn nothing_here_is_nothing_to_do() {
    let tree = files(&[
        ("Dockerfile", "FROM node\nRUN npm ci\n"),
        ("a.yaml", "kind: ["),
    ]);
    let plan = plan(&tree, &wanted(Volume::EmptyDir));
    assert_eq!((plan.changes.len(), plan.builds_go), (0, false));
}

#[test]
fn names_of_files() {
    for path in [
        "Dockerfile",
        "a/api.Dockerfile",
        "Dockerfile.api",
        "Containerfile",
        "b.mk",
        "x/y.yml",
        ".gitignore",
    ] {
        assert!(is_read(path), "{path}");
    }
    for path in [
        "vendor/a/Dockerfile",
        "x.dockerignore",
        "Dockerfile.dockerignore",
        "README.md",
        "a/.gitignore",
    ] {
        assert!(!is_read(path), "{path}");
    }
    assert_eq!(names_of("docker/api.Dockerfile"), ["api"]);
    assert_eq!(names_of("api/Dockerfile"), ["api"]);
}
