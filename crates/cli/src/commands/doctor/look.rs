//! What there is to look at: a repository, a part of one, a directory that services wrote to, logs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use covtap_doctor::Facts;
use covtap_model::facts::log::{self, Log};
use covtap_model::facts::repository::Repository;
use covtap_model::finding::Route;
use covtap_profile::facts::{is_coverage, of_directory};
use covtap_wiring::repository;

use crate::args::{Doctor, WireRoute};
use crate::failure::Failure;

/// Reads all that was named.
pub(crate) fn facts(args: &Doctor) -> Result<Facts, Failure> {
    let mut facts = Facts {
        route: args.route.map(|route| match route {
            WireRoute::Tap => Route::Tap,
            WireRoute::Files => Route::Files,
        }),
        ..Facts::default()
    };
    for file in &args.log {
        facts.logs.push(read_log(file)?);
    }
    let path = args.path.as_path();
    let seen = fs::metadata(path).map_err(|e| cannot(path, &e))?;
    if seen.is_file() {
        facts.repository = Some(of_file(path)?);
    } else if has_coverage(path).map_err(|e| cannot(path, &e))? {
        facts
            .data
            .push(of_directory(path).map_err(|e| cannot(path, &e))?);
    } else {
        let repository = repository::read(path).map_err(Failure::new)?;
        if repository.is_empty() {
            let data = of_directory(path).map_err(|e| cannot(path, &e))?;
            if !data.is_empty() {
                facts.data.push(data);
            }
        } else {
            facts.repository = Some(repository);
        }
    }
    let read = facts.repository.as_ref().is_some_and(|r| !r.is_empty()) || !facts.data.is_empty();
    if read || !facts.logs.is_empty() {
        return Ok(facts);
    }
    Err(Failure::new(format!(
        "nothing can be told from {}: there is no coverage file in it, and nothing that builds or runs a service",
        path.display()
    ))
    .hint(
        "where a service should have written here, ask its repository (covtap doctor PATH) or its log (--log FILE)"
            .to_owned(),
    ))
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot read {}: {error}", path.display()))
}

/// Whether coverage files lie in a directory itself.
fn has_coverage(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        if is_coverage(&entry?.file_name()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A single file of a repository.
fn of_file(path: &Path) -> Result<Repository, Failure> {
    let bytes = fs::read(path).map_err(|e| cannot(path, &e))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(repository::read_texts(&BTreeMap::from([(
        name.into_owned(),
        text,
    )])))
}

fn read_log(path: &Path) -> Result<Log, Failure> {
    let bytes = fs::read(path).map_err(|e| cannot(path, &e))?;
    let name = path.display().to_string();
    Ok(log::read(&name, &name, &String::from_utf8_lossy(&bytes)))
}
