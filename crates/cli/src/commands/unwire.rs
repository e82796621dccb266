//! `covtap unwire`: what `covtap wire --apply` has put into files is taken out again.

use std::path::Path;
use std::process::ExitCode;

use covtap_model::exit::Exit;
use covtap_model::problem::printable;

use super::wire::record::{Record, Restored};
use super::wire::store;
use crate::args::Global;
use crate::failure::Failure;
use crate::output;
use crate::place::Place;

pub(crate) fn run(global: &Global, path: &Path) -> Result<ExitCode, Failure> {
    let place = Place::find(global)?;
    let path = place.directory.join(path);
    let folder = if path.is_dir() {
        &path
    } else {
        path.parent().unwrap_or(&path)
    };
    let mut record = Record::open(store(global, &place, folder))?;
    match restore(&mut record, &path, false)? {
        Some(verdict) => Ok(verdict.code().into()),
        None => {
            output::talk("nothing to do: covtap has put nothing into these files");
            Ok(Exit::Success.code().into())
        }
    }
}

/// Restores what is at or below a path, and tells. `None` when there was nothing.
pub(crate) fn restore(
    record: &mut Record,
    path: &Path,
    dry_run: bool,
) -> Result<Option<Exit>, Failure> {
    let mut verdict = None;
    record.restore(path, dry_run, &mut |path, restored| {
        let name = printable(path).into_owned();
        let of_this = match restored {
            Ok(Restored::Done) if dry_run => {
                output::talk(&format!("{name} would be restored"));
                Exit::Success
            }
            Ok(Restored::Done) => {
                output::talk(&format!("{name} is restored"));
                Exit::Success
            }
            Ok(Restored::Already) => {
                output::talk(&format!("{name} has nothing of it any more"));
                Exit::Success
            }
            Ok(Restored::Left(texts)) => {
                for text in texts {
                    let first = text
                        .lines()
                        .find(|l| !l.trim().is_empty())
                        .unwrap_or_default();
                    output::warning(&format!(
                        "{name} was changed where covtap had put {:?}: that stays",
                        printable(first.trim())
                    ));
                }
                Exit::No
            }
            Err(failure) => {
                failure.tell();
                Exit::Failure
            }
        };
        let worst = verdict.get_or_insert(of_this);
        if of_this.code() > worst.code() {
            *worst = of_this;
        }
    })?;
    Ok(verdict)
}
