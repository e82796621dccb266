//! `covtap wire` and `covtap unwire` over whole trees: the data storage example without its coverage wiring, and small
//! repositories.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use command::{example, run};

/// All files of a folder with their bytes and modes.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            let name = path.strip_prefix(root).unwrap().to_path_buf();
            found.insert(name, (mode, fs::read(&path).unwrap()));
        }
    }
    found
}

/// Applies a patch as a user does; whether it was taken.
fn git_apply(directory: &Path, patch: &str, more: &[&str]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), patch).unwrap();
    let output = Command::new("git")
        .arg("apply")
        .args(more)
        .arg(file.path())
        .current_dir(directory)
        // The folder may lie within a repository, which is none of its business.
        .env("GIT_DIR", "/nonexistent")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{patch}",
        String::from_utf8_lossy(&output.stderr)
    );
}

const FILES: [&str; 5] = ["wire", "--route", "files", "--volume", "hostpath"];

#[test]
fn the_unwired_twin_of_the_example_gets_the_whole_chain_and_loses_it_again() {
    let folder = TempDir::new().unwrap();
    let twin = folder.path().join("twin");
    let made = Command::new(example().join("hack/unwire-twin.sh"))
        .arg(&twin)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let before = tree(&twin);
    // Only a look.
    let (diff, _) = run(&twin, &FILES, 1);
    assert_eq!(tree(&twin), before);
    let named: Vec<&str> = diff
        .lines()
        .filter_map(|l| l.strip_prefix("+++ b/"))
        .collect();
    assert_eq!(
        named,
        [
            ".gitignore",
            "Makefile",
            "docker/data-storage.Dockerfile",
            "test/infrastructure/kind-datastorage-config.yaml",
            "test/infrastructure/datastorage.go",
        ]
    );
    // Written, but for code.
    let (patch, _) = run(&twin, &[&FILES[..], &["--apply"]].concat(), 0);
    assert_eq!(patch.matches("+++ b/").count(), 1, "{patch}");
    for (file, text, times) in [
        (".gitignore", "/coverdata/\n", 1),
        ("Makefile", "test-e2e-datastorage-coverage:", 1),
        ("docker/data-storage.Dockerfile", "\nARG GOFLAGS\n", 1),
        (
            "docker/data-storage.Dockerfile",
            " GOFLAGS=${GOFLAGS} go build \\\n",
            1,
        ),
        (
            "test/infrastructure/kind-datastorage-config.yaml",
            "containerPath: /coverdata\n",
            2,
        ),
    ] {
        let now = fs::read_to_string(twin.join(file)).unwrap();
        assert_eq!(now.matches(text).count(), times, "{file}: {now}");
    }
    git_apply(&twin, &patch, &[]);
    let code = fs::read_to_string(twin.join("test/infrastructure/datastorage.go")).unwrap();
    for text in [
        "            - name: GOCOVERDIR\n              value: /coverdata\n",
        "            - name: coverdata\n              mountPath: /coverdata\n",
        "        - name: coverdata\n          hostPath:\n            path: /coverdata\n            type: DirectoryOrCreate\n",
        "\"--build-arg\", \"GOFLAGS=\" + os.Getenv(\"E2E_GOFLAGS\"), ",
    ] {
        assert_eq!(code.matches(text).count(), 1, "{text}");
    }
    // Twice is once.
    let wired = tree(&twin);
    run(&twin, &[&FILES[..], &["--apply"]].concat(), 0);
    run(&twin, &FILES, 0);
    assert_eq!(tree(&twin), wired);
    // And back.
    git_apply(&twin, &patch, &["-R"]);
    run(&twin, &["unwire"], 0);
    assert_eq!(tree(&twin), before);
    run(&twin, &["unwire"], 0);
    assert_eq!(tree(&twin), before);
}

#[test]
fn wiring_the_wired_example_changes_nothing() {
    for args in [&["wire"][..], &FILES[..]] {
        let (diff, _) = run(&example(), args, 0);
        assert_eq!(diff, "");
    }
}

const DOCKERFILE: &str = "FROM golang\r\nCOPY . .\r\nRUN go build -o /api .\r\n";
const MANIFEST: &str =
    "kind: Pod\nmetadata: {name: api}\nspec:\n  containers:\n  - name: api\n    image: api:dev\n";

/// A repository with a service.
fn repository() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::create_dir_all(folder.path().join("services/api")).unwrap();
    fs::write(folder.path().join("covtap.toml"), "").unwrap();
    let dockerfile = folder.path().join("services/api/Dockerfile");
    fs::write(&dockerfile, DOCKERFILE).unwrap();
    fs::set_permissions(&dockerfile, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("services/api/pod.yaml"), MANIFEST).unwrap();
    folder
}

#[test]
fn what_others_have_changed_since_stays() {
    let folder = repository();
    let root = folder.path();
    run(root, &["wire", "--route", "files", "--apply"], 0);
    let pod = root.join("services/api/pod.yaml");
    let wired = fs::read_to_string(&pod).unwrap();
    assert!(wired.contains("GOCOVERDIR"));
    // A line of somebody else's is none of ours; one of ours that somebody has changed is not ours any more.
    fs::write(&pod, format!("# mine\n{wired}")).unwrap();
    let dockerfile = root.join("services/api/Dockerfile");
    let text = fs::read_to_string(&dockerfile).unwrap();
    fs::write(
        &dockerfile,
        text.replace("ARG GOFLAGS\r\n", "ARG GOFLAGS=-v\r\n"),
    )
    .unwrap();
    let (_, talk) = run(root, &["unwire"], 1);
    assert!(talk.contains("ARG GOFLAGS"), "{talk}");
    assert_eq!(
        fs::read_to_string(&pod).unwrap(),
        format!("# mine\n{MANIFEST}")
    );
    let left = DOCKERFILE.replace("RUN", "ARG GOFLAGS=-v\r\nRUN");
    assert_eq!(fs::read_to_string(&dockerfile).unwrap(), left);
    assert_eq!(
        fs::metadata(&dockerfile).unwrap().permissions().mode() & 0o777,
        0o755
    );
    run(root, &["unwire"], 0);
    assert!(!root.join(".covtap").exists());
}

#[test]
fn a_wire_that_was_cut_off_is_cleaned_up() {
    let folder = repository();
    let root = folder.path();
    let before = tree(root);
    run(root, &["wire", "--route", "files", "--apply"], 0);
    // As if covtap had been killed between the first file and the second.
    let record = root.join(".covtap/wired.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(
        &record,
        text.replace("\"applied\": true", "\"applied\": false"),
    )
    .unwrap();
    fs::write(root.join("services/api/pod.yaml"), MANIFEST).unwrap();
    let (_, talk) = run(root, &["clean", "--dry-run"], 0);
    assert!(
        talk.contains("services/api/Dockerfile would be restored"),
        "{talk}"
    );
    run(root, &["clean"], 0);
    assert_eq!(tree(root), before);
}

#[test]
fn a_folder_of_a_repository_alone() {
    let folder = repository();
    let root = folder.path();
    fs::create_dir(root.join("other")).unwrap();
    fs::write(root.join("other/Dockerfile"), DOCKERFILE).unwrap();
    let before = tree(root);
    let (diff, _) = run(root, &["wire", "services/api"], 1);
    assert!(
        diff.contains("+++ b/services/api/Dockerfile\n") && !diff.contains("other"),
        "{diff}"
    );
    run(root, &["wire", "--apply"], 0);
    run(root, &["unwire", "other"], 0);
    assert_eq!(
        fs::read_to_string(root.join("other/Dockerfile")).unwrap(),
        DOCKERFILE
    );
    assert_ne!(tree(root), before);
    run(&root.join("services"), &["unwire", "api"], 0);
    assert_eq!(tree(root), before);
}

#[test]
fn what_cannot_be_wired_is_said() {
    let folder = TempDir::new().unwrap();
    let (_, talk) = run(folder.path(), &["wire"], 2);
    assert!(talk.contains("no Dockerfile"), "{talk}");
    run(folder.path(), &["wire", "nowhere"], 2);
    run(folder.path(), &["wire", "--directory", "relative"], 2);
    fs::write(folder.path().join("Dockerfile"), DOCKERFILE).unwrap();
    fs::write(folder.path().join("a.yaml"), b"kind: \xff\n").unwrap();
    let anchored = "x: &m [{name: m, mountPath: /m}]\nkind: Pod\nspec:\n  containers:\n  - name: a\n    image: ''\n    volumeMounts: *m\n";
    fs::write(folder.path().join("b.yaml"), anchored).unwrap();
    let (_, talk) = run(folder.path(), &["wire", "--route", "files"], 1);
    assert!(
        talk.contains("a.yaml is passed over: it is not UTF-8"),
        "{talk}"
    );
    assert!(
        talk.contains("b.yaml is not wired") && talk.contains("alias"),
        "{talk}"
    );
}
