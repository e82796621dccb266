//! `covtap wire`: what a repository lacks for its coverage, as a diff, or put there.

mod diff;
pub(crate) mod record;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use covtap_live::repository;
use covtap_model::exit::Exit;
use covtap_model::problem::printable;
use covtap_wiring::wire::manifest::Volume;
use covtap_wiring::wire::plan::{self, Change, Plan, Wanted};

use self::record::Record;
use crate::args::{Global, Wire, WireRoute, WireVolume};
use crate::failure::Failure;
use crate::output;
use crate::place::Place;

pub(crate) fn run(global: &Global, args: &Wire) -> Result<ExitCode, Failure> {
    let place = Place::find(global)?;
    let wanted = wanted(args)?;
    let root = place.directory.join(&args.path);
    let tree = tree::read(&root)?;
    for (path, why) in &tree.unread {
        output::warning(&format!("{} is passed over: {why}", printable(path)));
    }
    let plan = plan::plan(&tree.files, &wanted);
    tell(&plan);
    if !plan.builds_go && plan.changes.is_empty() && plan.done.is_empty() {
        return Err(Failure::new(format!(
            "nothing in {} builds a Go service: there is no Dockerfile with `go build` or `go install`",
            root.display()
        ))
        .hint("where it is built otherwise, build it with `go build -cover`".to_owned()));
    }
    let (shown, written): (Vec<&Change>, Vec<&Change>) =
        plan.changes.iter().partition(|c| c.shown.is_some());
    let prefix = prefix(&place.directory, &root);
    let listed = if args.apply {
        Vec::new()
    } else {
        written.clone()
    };
    let diffs: Vec<String> = listed
        .iter()
        .chain(&shown)
        .map(|change| diff::unified(&prefix, change))
        .collect();
    output::data(diff::colored(&diffs.concat()).as_bytes()).map_err(Failure::new)?;
    for change in &shown {
        output::note(&format!(
            "{} is not written ({}): the diff is for git apply",
            printable(&change.path),
            change.shown.unwrap_or_default()
        ));
    }
    if args.apply {
        apply(global, &place, &root, &written)?;
        return Ok(Exit::Success.code().into());
    }
    match plan.changes.is_empty() {
        true => {
            output::talk("nothing to do: everything is there");
            Ok(Exit::Success.code().into())
        }
        false => {
            if !written.is_empty() {
                output::hint("--apply writes it, covtap unwire takes it out again");
            }
            Ok(Exit::No.code().into())
        }
    }
}

/// Writes the files, and before them what is needed to undo that.
fn apply(global: &Global, place: &Place, root: &Path, changes: &[&Change]) -> Result<(), Failure> {
    if changes.is_empty() {
        output::talk("nothing to do: everything is there that covtap writes");
        return Ok(());
    }
    let mut record = Record::open(store(global, place, root))?;
    record.add(root, changes)?;
    record.write_files(root, changes)?;
    for change in changes {
        let verb = if change.before.is_some() {
            "wired"
        } else {
            "made"
        };
        output::talk(&format!("{verb} {}", printable(&change.path)));
    }
    output::hint("covtap unwire takes it out again");
    Ok(())
}

/// Where the record of a folder lies: beside its project's runs.
pub(crate) fn store(global: &Global, place: &Place, root: &Path) -> PathBuf {
    match global.store.is_some() || place.config.store.is_some() {
        true => place.store.root().to_path_buf(),
        false => repository::project_root(root).join(".covtap"),
    }
}

fn wanted(args: &Wire) -> Result<Wanted, Failure> {
    let directory = args
        .directory
        .clone()
        .unwrap_or_else(|| "/coverdata".into());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if !directory.starts_with('/') || directory.len() < 2 || !directory.chars().all(plain) {
        return Err(Failure::new(format!(
            "--directory {directory:?} is no absolute path of plain characters"
        ))
        .hint("--directory /coverdata".to_owned()));
    }
    Ok(Wanted {
        files: args.route.unwrap_or_default() == WireRoute::Files,
        volume: match args.volume.unwrap_or_default() {
            WireVolume::Emptydir => Volume::EmptyDir,
            WireVolume::Hostpath => Volume::HostPath,
            WireVolume::Pvc => Volume::Pvc,
        },
        directory: directory.trim_end_matches('/').to_owned(),
        services: args.service.clone(),
    })
}

/// What is there already, what cannot be done and what was left alone.
fn tell(plan: &Plan) {
    for (path, what) in &plan.done {
        output::note(&format!("{}: {} already", printable(path), printable(what)));
    }
    for (path, what) in &plan.passed {
        output::note(&format!("{}: {}", printable(path), printable(what)));
    }
    for (path, why) in &plan.blocked {
        output::warning(&format!(
            "{} is not wired: {}",
            printable(path),
            printable(why)
        ));
    }
}

/// What paths of a diff begin with, so that `git apply` finds them from the working directory.
fn prefix(directory: &Path, root: &Path) -> String {
    let below = std::fs::canonicalize(root)
        .ok()
        .zip(std::fs::canonicalize(directory).ok())
        .and_then(|(root, directory)| root.strip_prefix(directory).map(Path::to_path_buf).ok());
    match below {
        Some(path) if !path.as_os_str().is_empty() => format!("{}/", path.display()),
        _ => String::new(),
    }
}
