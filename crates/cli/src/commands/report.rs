//! `covtap report`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use covtap_live::checkout::{Checkout, leave_out};
use covtap_live::collect;
use covtap_live::store::{Folder, StoreError, write_atomically};
use covtap_model::coverage::Coverage;
use covtap_model::problem::Severity;
use covtap_profile::go::directory::Scan;
use covtap_report::format::{self, Format, read_json, write_files};

use super::replicas;
use crate::args::{Global, Report};
use crate::failure::Failure;
use crate::output;
use crate::place::Place;
use crate::settings::{self, GENERATOR, Reporting, exclusions};

pub(crate) fn run(global: &Global, args: Report) -> Result<ExitCode, Failure> {
    let place = Place::find(global)?;
    let settings = settings::of_report(&args, &place.config);
    if args.replicas.asked() {
        return replicas::report(&place, &args.sources, &settings);
    }
    if settings.output.is_none() && settings.formats.len() > 1 {
        return Err(Failure::new("several formats do not fit into one stream")
            .hint("name a directory with --output DIR".to_owned()));
    }
    let mut coverage = read(&place, &args.sources, &settings)?;
    let mut options = format::Options {
        width: None,
        color: false,
        show_missing: settings.show_missing,
        sort: settings.sort,
        by: settings.by,
        timestamp: None,
    };
    for problem in coverage
        .problems
        .iter()
        .filter(|p| p.severity == Severity::Error)
    {
        output::warning(&problem.to_string());
    }
    coverage.finish();
    match &settings.output {
        Some(path) => write_to(&coverage, &settings.formats, path, &options)?,
        None => {
            options.width = output::stdout_width();
            options.color = output::stdout_has_color();
            for format in &settings.formats {
                output::data(&format.to_bytes(&coverage, &options))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a document comes from.
enum Source {
    /// A stored document: mapped to the repository when it was made.
    Document(PathBuf),
    /// Directories with covmeta and covcounters.
    Directories(Vec<PathBuf>),
    /// A run that goes on, or was cut short before it had made its document.
    Unfinished(Folder),
}

fn read(place: &Place, sources: &[PathBuf], settings: &Reporting) -> Result<Coverage, Failure> {
    let root = place.repository(settings.root.as_ref());
    match source(place, sources)? {
        Source::Document(path) => {
            let bytes = fs::read(&path)
                .map_err(|e| Failure::new(format!("cannot read {}: {e}", path.display())))?;
            let mut coverage = read_json(&bytes).map_err(|e| {
                Failure::new(Named {
                    name: path.display().to_string(),
                    source: e,
                })
            })?;
            if settings.root.is_some() {
                let (checkout, problems) = Checkout::open(&root);
                checkout.refine(&mut coverage, &exclusions(&settings.exclude, true)?);
                coverage.problems.extend(problems);
            } else if !settings.exclude.is_empty() {
                leave_out(&mut coverage, &exclusions(&settings.exclude, false)?);
            }
            Ok(coverage)
        }
        Source::Directories(directories) => {
            let names: Vec<String> = directories
                .iter()
                .map(|d| d.display().to_string())
                .collect();
            let found = collect::files(&directories);
            of_files(found, &names.join(", "), &root, settings)
        }
        Source::Unfinished(folder) => {
            let what = format!("run {}", folder.id());
            output::warning(&format!(
                "{what} did not end: reported is what was read last of each process"
            ));
            of_files(collect::unfinished(&folder), &what, &root, settings)
        }
    }
}

/// The document of coverage files, mapped to the repository.
fn of_files(
    found: Scan,
    what: &str,
    root: &Path,
    settings: &Reporting,
) -> Result<Coverage, Failure> {
    let (checkout, unreadable) = Checkout::open(root);
    let (coverage, problems) = collect::document_of(&found.pods, GENERATOR, &checkout);
    let all = found.problems.into_iter().chain(problems);
    let Some(mut coverage) = coverage else {
        for problem in all {
            output::warning(&problem.to_string());
        }
        return Err(Failure::new(format!("no coverage data in {what}")).hint(
            "covmeta files alone mean that services started and did not end by themselves"
                .to_owned(),
        ));
    };
    coverage.problems.extend(all);
    checkout.refine(&mut coverage, &exclusions(&settings.exclude, true)?);
    coverage.problems.extend(unreadable);
    Ok(coverage)
}

#[derive(Debug, thiserror::Error)]
#[error("cannot use {name}")]
struct Named {
    name: String,
    source: format::ReadError,
}

fn source(place: &Place, sources: &[PathBuf]) -> Result<Source, Failure> {
    match sources {
        [] => stored(place, "latest"),
        [one] => {
            if one.is_dir() {
                let document = one.join("coverage.json");
                let has = |name: &str| one.join(name).is_file();
                return Ok(if !has("run.json") {
                    Source::Directories(vec![one.clone()])
                } else if document.is_file() {
                    Source::Document(document)
                } else if !has("ledger.json") {
                    Source::Unfinished(Folder::at(one))
                } else {
                    Source::Directories(vec![one.clone()])
                });
            }
            if one.exists() {
                return Ok(Source::Document(one.clone()));
            }
            match one.to_str() {
                Some(name) if !name.contains('/') && !name.ends_with(".json") => {
                    stored(place, name)
                }
                _ => Err(Failure::new(format!("{} does not exist", one.display()))),
            }
        }
        several => match several.iter().find(|path| !path.is_dir()) {
            None => Ok(Source::Directories(several.to_vec())),
            Some(path) => Err(
                Failure::new(format!("{} is not a directory", path.display())).hint(
                    "several sources are coverage directories; a run or a document comes alone"
                        .to_owned(),
                ),
            ),
        },
    }
}

/// The run with a name, the beginning of one, or `latest`.
pub(super) fn run_called(place: &Place, name: &str) -> Result<Folder, Failure> {
    place.store.find(name).map_err(|error| {
        let hint = match &error {
            StoreError::Unknown { .. } if Path::new(name).extension().is_some() => {
                Some(format!("there is no file {name} either"))
            }
            other => other.hint(),
        };
        Failure::new(error).hint(hint)
    })
}

fn stored(place: &Place, name: &str) -> Result<Source, Failure> {
    let folder = run_called(place, name)?;
    let document = folder.path().join("coverage.json");
    if document.is_file() {
        return Ok(Source::Document(document));
    }
    if !folder.path().join("ledger.json").is_file() {
        return Ok(Source::Unfinished(folder));
    }
    Err(
        Failure::new(format!("run {} collected nothing", folder.id())).hint(format!(
            "its ledger says why: {}",
            place.show(&folder.path().join("ledger.json"))
        )),
    )
}

/// Writes reports to a path: a file for one format, a directory for several.
pub(crate) fn write_to(
    coverage: &Coverage,
    formats: &[Format],
    path: &Path,
    options: &format::Options,
) -> Result<(), Failure> {
    if let ([format], false) = (formats, path.is_dir()) {
        if path == Path::new("-") {
            output::data(&format.to_bytes(coverage, options))?;
            return Ok(());
        }
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(parent)
                .map_err(|e| Failure::new(format!("cannot make {}: {e}", parent.display())))?;
        }
        write_atomically(path, &format.to_bytes(coverage, options))?;
        return Ok(());
    }
    let written = write_files(coverage, formats, path, options);
    match written.failed.into_iter().next() {
        None => Ok(()),
        Some(error) => Err(Failure::new(error)),
    }
}
