//! Services that write files as well: into an emptyDir on disk and in memory, a directory of the node that
//! two replicas share, a claim, and the container's own file system. Memory and files of the same processes
//! are equal, and files alone give the same.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use covtap_model::ledger::{Outcome, Route, Target};

use crate::place::{PATIENCE, Place};
use crate::{Cluster, covtap, load, output};

const NAMESPACE: &str = "files";
const PORT: u16 = 30078;
const REPLICAS: usize = 6;
const REQUESTS: usize = 120;

/// Asks for a handler over a connection of its own.
fn ask(address: &str, handler: usize) {
    let mut stream = connect(address);
    let request = format!("GET /h/{handler} HTTP/1.0\r\nHost: numbered\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("200 OK"), "{text}");
}

/// Connects as soon as kube-proxy has somebody who answers: a pod is ready before that.
fn connect(address: &str) -> TcpStream {
    let began = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) => assert!(
                error.kind() == ErrorKind::ConnectionRefused && began.elapsed() < PATIENCE,
                "{address}: {error}"
            ),
        }
    }
}

/// What coverage directories say together, as a profile.
fn profile(place: &Place, directories: &[&Path]) -> String {
    let file = place.path().join("profile");
    let list: Vec<_> = directories.iter().map(|d| d.to_str().unwrap()).collect();
    let mut textfmt = covtap(place);
    textfmt.args(["covdata", "textfmt"]);
    textfmt.arg(format!("-i={}", list.join(",")));
    output(textfmt.arg(format!("-o={}", file.display())));
    fs::read_to_string(&file).unwrap()
}

/// The copies of what a target wrote.
fn copies(place: &Place, target: &Target) -> PathBuf {
    let id = target.container.as_ref().unwrap().id.as_ref().unwrap();
    place.latest().join("raw-files").join(&id[..12])
}

/// The copies of what two that share a directory wrote, each file once: who ends first is copied before
/// the other has written.
fn shared_copies(place: &Place, targets: [&Target; 2]) -> PathBuf {
    let both = place.path().join("shared");
    fs::create_dir(&both).unwrap();
    for target in targets {
        for file in fs::read_dir(copies(place, target)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), both.join(file.file_name())).unwrap();
        }
    }
    both
}

/// Runs the services, asks them, and lets `end` end them. Returns the rows of their processes.
fn rows(cluster: &Cluster, place: &Place, flags: &[&str], end: impl Fn(&Cluster)) -> Vec<Target> {
    let context = format!("--context={}", cluster.context);
    let flags: Vec<&str> = ["-n", NAMESPACE, &context]
        .into_iter()
        .chain(flags.iter().copied())
        .collect();
    let mut run = place.run(&flags);
    run.says(&["watching node"]);
    cluster.apply(include_str!("files.yaml"));
    for _ in 0..REPLICAS {
        run.says(&[NAMESPACE, "is ready"]);
    }
    let address = format!("{}:{PORT}", cluster.node_address());
    for i in 0..REQUESTS {
        ask(&address, i % 20);
    }
    end(cluster);
    let (status, said) = run.end();
    assert!(status.success(), "{status}\n{said}");
    let targets = place.ledger().targets;
    let rows: Vec<_> = targets
        .into_iter()
        .filter(|target| target.container.is_some())
        .collect();
    assert_eq!(rows.len(), REPLICAS, "{rows:#?}");
    assert!(
        rows.iter().all(|row| row.outcome == Outcome::Merged),
        "{rows:#?}"
    );
    rows
}

fn scale_to_zero(cluster: &Cluster) {
    let namespace = ["-n", NAMESPACE];
    let scale = ["scale", "deploy", "--all", "--replicas=0"];
    cluster.kubectl(&[&namespace[..], &scale].concat());
    let wait = ["wait", "--for=delete", "pod", "--all", "--timeout=120s"];
    cluster.kubectl(&[&namespace[..], &wait].concat());
}

#[test]
fn memory_and_files_are_equal_wherever_the_files_lie() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    load(&cluster, "numbered:test", "fixtures/cluster/service");
    let place = Place::new();
    let rows_of_memory = rows(&cluster, &place, &[], scale_to_zero);
    let (shared, own): (Vec<_>, Vec<_>) = rows_of_memory
        .iter()
        .partition(|row| row.workload == "deployment/shared");
    for row in &own {
        assert_eq!(row.state.as_ref().unwrap().route, Route::Exit);
        assert_eq!(row.files.len(), 1, "{row:#?}");
        let state = profile(&place, &[&place.alone(row)]);
        assert!(state.contains(" 1\n"), "{state}");
        assert_eq!(
            state,
            profile(&place, &[&copies(&place, row)]),
            "{}",
            row.workload
        );
    }
    let [one, other] = shared.as_slice() else {
        panic!("{shared:#?}");
    };
    let states = [place.alone(one), place.alone(other)];
    let states = profile(&place, &[&states[0], &states[1]]);
    let both = shared_copies(&place, [one, other]);
    assert_eq!(states, profile(&place, &[&both]));

    // Without memory, covtap ends them itself, and brings them back.
    let place = Place::new();
    let rows_of_files = rows(&cluster, &place, &["--route=files"], |_| ());
    for row in &rows_of_files {
        assert_eq!(row.state.as_ref().unwrap().route, Route::Files);
    }
    let ours = fs::read_dir(place.latest().join("raw")).unwrap();
    let ours: Vec<_> = ours.map(|entry| entry.unwrap().path()).collect();
    let (shared, own): (Vec<_>, Vec<_>) = rows_of_files
        .iter()
        .partition(|row| row.workload == "deployment/shared");
    let [one, other] = shared.as_slice() else {
        panic!("{shared:#?}");
    };
    let mut folders: Vec<_> = own.iter().map(|row| copies(&place, row)).collect();
    folders.push(shared_copies(&place, [one, other]));
    let folders: Vec<&Path> = folders.iter().map(AsRef::as_ref).collect();
    let ours: Vec<&Path> = ours.iter().map(AsRef::as_ref).collect();
    assert_eq!(profile(&place, &ours), profile(&place, &folders));
    let replicas = [
        "-n",
        NAMESPACE,
        "get",
        "deploy",
        "-o",
        "jsonpath={.items[*].spec.replicas}",
    ];
    assert_eq!(cluster.kubectl(&replicas), "1 1 1 1 2");
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
    cluster.kubectl(&["delete", "pv", "covtap-files", "--wait=false"]);
}
