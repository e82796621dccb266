//! `covtap build` with a real engine, of a Dockerfile that knows nothing of coverage.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::place::Place;
use crate::{Cluster, covtap};

const SERVICE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../fixtures/cluster/service"
);
/// What makes the fixture's Dockerfile build with coverage.
const WIRED: &str = " -cover -covermode=atomic";

/// The fixture's folder, with other words where its Dockerfile says `-cover`.
fn unwired(place: &Place, instead: &str) {
    for entry in fs::read_dir(SERVICE).unwrap() {
        let file = entry.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        let name = Path::new(file.file_name().unwrap());
        let text = match name == Path::new("Dockerfile") {
            true => {
                assert_eq!(text.matches(WIRED).count(), 1, "{text}");
                text.replace(WIRED, instead)
            }
            false => text,
        };
        fs::write(place.path().join(name), text).unwrap();
    }
}

fn build(place: &Place, arguments: &[&str]) -> Output {
    let mut command = covtap(place);
    command.arg("build");
    if let Ok(builder) = std::env::var("E2E_BUILDER_IMAGE") {
        command.arg(format!("--build-arg=BUILDER_IMAGE={builder}"));
    }
    command.args(arguments).output().unwrap()
}

#[test]
fn an_image_is_built_with_coverage_and_loaded() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let place = Place::new();
    unwired(&place, "");
    let before = fs::read(place.path().join("Dockerfile")).unwrap();
    let image = "covtap-test/built:cover";
    let out = build(&place, &["-t", image, "--kind", cluster.name(), "."]);
    let said = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}{errors}");
    assert!(
        said.contains("instrumented  /numbered") && said.contains("entry point"),
        "{said}"
    );
    assert!(errors.contains("stage builder, line"), "{errors}");
    assert_eq!(fs::read(place.path().join("Dockerfile")).unwrap(), before);
    let node = format!("{}-worker", cluster.name());
    let images = crate::output(
        std::process::Command::new("docker").args(["exec", &node, "crictl", "images"]),
    );
    assert!(images.contains("covtap-test/built"), "{images}");
}

#[test]
fn an_image_without_coverage_is_told() {
    let Some(_) = Cluster::get() else {
        return;
    };
    let place = Place::new();
    // The flag of the command wins over GOFLAGS.
    unwired(&place, " -cover=false");
    let out = build(&place, &["-t", "covtap-test/built:plain", "."]);
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(
        out.status.code(),
        Some(1),
        "{said}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(
        said.contains("not instrumented: no program in it was built with -cover"),
        "{said}"
    );
}
