//! `covtap run -- CMD`.

use std::process::ExitCode;

use covtap_live::session::{self, Finished, Options, SessionError};
use covtap_live::surroundings::Surroundings;
use covtap_model::exit::Exit;
use covtap_model::ledger::Ledger;
use covtap_model::problem::{Severity, printable};
use covtap_report::format::{self, Format};

use super::replicas;
use super::report::write_to;
use crate::args::{Global, Run, Watching};
use crate::failure::Failure;
use crate::ledger_table;
use crate::output::{self, HEAD};
use crate::place::Place;
use crate::progress::Progress;
use crate::settings::{self, Copies};
use crate::surroundings::Around;

/// More problems than this are counted, not printed: the ledger has them all.
const SHOWN_PROBLEMS: usize = 10;

pub(crate) fn run(global: &Global, args: Run) -> Result<ExitCode, Failure> {
    let place = Place::find(global)?;
    let hold = args.following.watching == Some(Watching::Hold);
    let mut around = Around::start(&args.selecting, &args.reaching, hold)?;
    let per_replica = args.replicas.asked();
    let (options, copies) = settings::of_run(&place, args)?;
    let mut progress = Progress::new();
    let surroundings = around
        .as_mut()
        .map(|around| around as &mut dyn Surroundings);
    let result = session::run(&place.store, &options, surroundings, &mut progress);
    progress.finish();
    if let Some(around) = &around {
        around.end();
    }
    conclude(&place, result, (&options, copies), per_replica)
}

/// Shows a run that has ended, and writes what else is to be written of it.
pub(super) fn conclude(
    place: &Place,
    result: Result<Finished, SessionError>,
    (options, copies): (&Options, Option<Copies>),
    per_replica: bool,
) -> Result<ExitCode, Failure> {
    let finished = result.map_err(|error| {
        let hint = error.hint();
        Failure::new(error).hint(hint)
    })?;
    summary(place, &finished);
    if per_replica {
        replicas::of_run(place, &finished, options)?;
    }
    let mut code = finished.exit_code;
    if let (Some(copies), Some(coverage)) = (&copies, &finished.coverage) {
        let Copies { formats, path } = copies;
        if let Err(failure) = write_to(coverage, formats, path, &format::Options::default()) {
            // CMD's own code is still what counts most.
            failure.report();
            code = if code == 0 {
                Exit::Failure.code()
            } else {
                code
            };
        }
    }
    say_code(&finished, options.allow_incomplete);
    Ok(ExitCode::from(code))
}

/// What came, what did not, and where it lies. On stderr: stdout is CMD's.
pub(super) fn summary(place: &Place, finished: &Finished) {
    output::talk("");
    if let Some(coverage) = &finished.coverage {
        let options = format::Options {
            width: output::stderr_width(),
            color: output::stderr_has_color(),
            ..format::Options::default()
        };
        let table = Format::Text.to_bytes(coverage, &options);
        output::talk(String::from_utf8_lossy(&table).trim_end());
        output::talk("");
    }
    let table = ledger_table::table(&finished.ledger, output::stderr_width());
    if !table.is_empty() {
        output::talk(&table);
    }
    problems(&finished.ledger);
    output::talk(&format!(
        "{HEAD}run{HEAD:#}     {}",
        place.show(finished.folder.path())
    ));
    if finished.coverage.is_some() {
        output::talk(&format!(
            "{HEAD}reports{HEAD:#} {}",
            place.show(&finished.folder.report())
        ));
    }
    let (sentence, style) =
        ledger_table::verdict(&finished.ledger, finished.verdict, finished.seen);
    output::talk(&format!("{style}{sentence}{style:#}"));
    if finished.verdict == Exit::Nothing && finished.ledger.targets.is_empty() {
        output::hint(
            "build the services with `go build -cover`; if CMD gives them a GOCOVERDIR of its own, \
             name it with --files DIR",
        );
    }
}

fn problems(ledger: &Ledger) {
    let worth: Vec<_> = ledger
        .problems
        .iter()
        .filter(|p| p.severity != Severity::Note)
        .collect();
    for problem in worth.iter().take(SHOWN_PROBLEMS) {
        output::warning(&problem.to_string());
    }
    if let Some(more) = worth.len().checked_sub(SHOWN_PROBLEMS).filter(|n| *n > 0) {
        output::warning(&format!("{more} more in ledger.json"));
    }
    if !worth.is_empty() {
        output::talk("");
    }
}

/// Says where the exit code comes from, when that is not plain.
fn say_code(finished: &Finished, allow_incomplete: bool) {
    if let Some(because) = &finished.stopped {
        output::error(&format!("stopped before its time: {}", printable(because)));
    } else if let Some(status) = finished.status.filter(|s| s.code() != 0) {
        output::note(&format!(
            "the command ended with {status}; covtap exits with {} as well (its own word is {})",
            status.code(),
            finished.verdict.code()
        ));
    } else if finished.verdict == Exit::Incomplete && allow_incomplete {
        output::warning("incomplete, and allowed to be: --allow-incomplete");
    }
}
