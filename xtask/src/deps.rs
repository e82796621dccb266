//! Dependencies point down, `unsafe` and async stay where they belong, and every crate has the
//! workspace's lints. Read from `cargo metadata` and the manifests.

use std::path::Path;

use serde_json::Value;

use crate::sh::{self, About, Result, cmd, fail};

/// Which crate may use which of ours. A crate that is not here may use none.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("covtap-model", &[]),
    ("covtap-profile", &["covtap-model"]),
    ("covtap-report", &["covtap-model"]),
    ("covtap-cluster", &["covtap-model"]),
    ("covtap-wiring", &["covtap-model"]),
    ("covtap-tap", &["covtap-profile", "covtap-model"]),
    ("covtap-doctor", &["covtap-wiring", "covtap-model"]),
    (
        "covtap-live",
        &[
            "covtap-report",
            "covtap-tap",
            "covtap-profile",
            "covtap-model",
        ],
    ),
    // It plays covtap's end where it measures an agent.
    (
        "xtask",
        &[
            "covtap-live",
            "covtap-tap",
            "covtap-profile",
            "covtap-model",
        ],
    ),
];

/// The command itself joins everything.
const EVERYTHING: &str = "covtap";

/// Where async may be.
const ASYNC: [&str; 3] = ["covtap-cluster", "covtap-live", "covtap"];

/// Where `unsafe` may be.
const UNSAFE: &str = "covtap-tap";

/// The task.
pub(crate) fn task(_: &[String]) -> Result {
    let text = sh::quiet(
        cmd(
            "cargo",
            &["metadata", "--format-version=1", "--no-deps", "--locked"],
        )
        .current_dir(crate::repository()),
    )?;
    let metadata: Value = serde_json::from_str(&text).about("cargo metadata")?;
    let mut wrong = Vec::new();
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if packages.is_empty() {
        fail!("cargo metadata names no package");
    }
    let ours: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let dependencies: Vec<&str> = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|d| d["name"].as_str())
            .collect();
        wrong.extend(edges(name, &dependencies, &ours));
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        wrong.extend(lints(name, &sh::read(manifest)?));
    }
    if wrong.is_empty() {
        println!("dependency directions hold: {} crates", packages.len());
        return Ok(());
    }
    fail!("{}", wrong.join("\n"))
}

/// What is wrong with a crate's dependencies.
fn edges(name: &str, dependencies: &[&str], ours: &[&str]) -> Vec<String> {
    let allowed = ALLOWED
        .iter()
        .find(|(n, _)| *n == name)
        .map_or(&[][..], |(_, a)| a);
    let mut wrong = Vec::new();
    for dependency in dependencies {
        if ours.contains(dependency) && name != EVERYTHING && !allowed.contains(dependency) {
            wrong.push(format!(
                "{name} must not depend on {dependency}; it may use: {}",
                if allowed.is_empty() {
                    "none of ours".into()
                } else {
                    allowed.join(", ")
                }
            ));
        }
        let asynchronous = *dependency == "tokio" || dependency.starts_with("tokio-");
        if asynchronous && !ASYNC.contains(&name) {
            wrong.push(format!(
                "{name} must not depend on {dependency}: async belongs to {}",
                ASYNC.join(", ")
            ));
        }
    }
    wrong
}

/// What is wrong with a crate's lints. Those of the workspace forbid `unsafe`, which no attribute
/// can take back, so inheriting them is all that needs to be checked.
fn lints(name: &str, manifest: &str) -> Option<String> {
    if name == UNSAFE {
        return None;
    }
    let mut section = "";
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[lints]" && line.replace(' ', "") == "workspace=true" {
            return None;
        }
    }
    Some(format!(
        "{name} must inherit the workspace's lints: [lints] workspace = true"
    ))
}

#[cfg(test)]
mod tests {
    use super::{edges, lints};

    const OURS: [&str; 4] = ["covtap-model", "covtap-profile", "covtap-live", "covtap"];

    #[test]
    fn down_is_allowed_and_up_is_not() {
        assert!(edges("covtap-profile", &["covtap-model", "rayon"], &OURS).is_empty());
        assert!(edges("covtap", &["covtap-live", "tokio"], &OURS).is_empty());
        assert_eq!(edges("covtap-model", &["covtap-profile"], &OURS).len(), 1);
        assert_eq!(edges("covtap-profile", &["covtap-live"], &OURS).len(), 1);
        assert_eq!(edges("covtap-unknown", &["covtap-model"], &OURS).len(), 1);
    }

    #[test]
    fn async_stays_at_the_top() {
        assert_eq!(edges("covtap-profile", &["tokio"], &OURS).len(), 1);
        assert!(edges("covtap-live", &["tokio"], &OURS).is_empty());
    }

    #[test]
    fn lints_are_inherited() {
        assert_eq!(lints("a", "[package]\n[lints]\nworkspace = true\n"), None);
        assert!(lints("a", "[package]\nworkspace = true\n[lints]\n").is_some());
        assert_eq!(lints("covtap-tap", ""), None);
    }
}
