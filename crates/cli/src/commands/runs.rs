//! `covtap runs ls` and `covtap runs rm`.

use std::fmt::Write as _;
use std::process::ExitCode;

use covtap_live::store::{Listed, State, StoreError};
use covtap_model::problem::printable;

use crate::args::{Global, ListFormat, Runs, RunsCommand};
use crate::failure::Failure;
use crate::output::{self, HEAD};
use crate::place::Place;

pub(crate) fn run(global: &Global, args: Runs) -> Result<ExitCode, Failure> {
    let place = Place::find(global)?;
    match args.command {
        RunsCommand::Ls { format } => list(&place, format),
        RunsCommand::Rm { runs, keep, all } => {
            let ids = which(&place, &runs, keep, all)?;
            for id in ids {
                place.store.remove(&id).map_err(with_hint)?;
                output::note(&format!("removed {id}"));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn with_hint(error: StoreError) -> Failure {
    let hint = error.hint();
    Failure::new(error).hint(hint)
}

fn list(place: &Place, format: ListFormat) -> Result<ExitCode, Failure> {
    let runs = place.store.list().map_err(with_hint)?;
    if format == ListFormat::Json {
        let mut json = serde_json::to_vec_pretty(&runs)?;
        json.push(b'\n');
        output::data(&json)?;
    } else if runs.is_empty() {
        output::talk("no runs yet: `covtap run -- CMD` makes one");
    } else {
        output::data(table(&runs).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(runs: &[Listed]) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "{HEAD}{:21}  {:10}  {:>4}  {:>8}  COMMAND{HEAD:#}",
        "RUN", "STATE", "EXIT", "COVERAGE"
    );
    for listed in runs {
        let state = match listed.state {
            State::Complete => "complete",
            State::Running => "running",
            State::Unfinished => "unfinished",
        };
        let run = listed.run.as_ref();
        let exit = run
            .and_then(|r| r.exit_code)
            .map_or_else(|| "-".into(), |c| c.to_string());
        let command = run.map(|r| r.command.join(" ")).unwrap_or_default();
        let coverage = listed.statements.unwrap_or_default();
        let line = format!(
            "{:21}  {state:10}  {exit:>4}  {coverage:>8}  {}",
            listed.id,
            printable(&command)
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// The runs to remove. A run that goes on is only taken when it is named, and refused then.
fn which(
    place: &Place,
    names: &[String],
    keep: Option<usize>,
    all: bool,
) -> Result<Vec<String>, Failure> {
    if !names.is_empty() {
        return names
            .iter()
            .map(|name| Ok(place.store.find(name).map_err(with_hint)?.id().to_owned()))
            .collect();
    }
    let ended: Vec<Listed> = place
        .store
        .list()
        .map_err(with_hint)?
        .into_iter()
        .filter(|run| run.state != State::Running)
        .collect();
    let keep = if all { 0 } else { keep.unwrap_or(0) };
    let remove = ended.len().saturating_sub(keep);
    if remove == 0 {
        output::talk("nothing to remove");
    }
    Ok(ended.into_iter().take(remove).map(|run| run.id).collect())
}
