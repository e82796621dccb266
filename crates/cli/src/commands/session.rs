//! `covtap start`, `covtap mark NAME`, `covtap stop`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use covtap_live::background::{self, Control, ControlError, checked_name};
use covtap_live::session::Finished;
use covtap_live::surroundings::Surroundings;
use covtap_model::ledger::Ledger;
use covtap_report::format::{self, read_json};

use super::report::write_to;
use super::run::summary;
use crate::args::{Global, Start, Watching};
use crate::failure::Failure;
use crate::output::{self, HEAD};
use crate::place::Place;
use crate::progress::Progress;
use crate::settings;
use crate::surroundings::Around;
use crate::units::count;

/// What the session in the foreground prints before the run's folder.
const READY: &str = "ready ";

pub(crate) fn start(global: &Global, args: Start) -> Result<ExitCode, Failure> {
    let place = Place::find(global)?;
    if args.foreground {
        return serve(&place, args);
    }
    // What is wrong with the settings is said here, not in a log.
    settings::of_session(&place, args.collecting, args.following, args.reporting)?;
    let control = Control::of(&place.store);
    let log = control.prepare().map_err(failure)?;
    // The same words again; the process group is its own, so that Ctrl-C at this terminal is not meant
    // for it.
    let mut session = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .arg("--foreground")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()?;
    let mut line = String::new();
    if let Some(stdout) = session.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let Some(folder) = line.trim_end().strip_prefix(READY) else {
        let status = session.wait()?;
        let said = fs::read_to_string(control.log()).unwrap_or_default();
        let said = said.trim_end();
        let said = said.strip_prefix("error: ").unwrap_or(said);
        return Err(Failure::new(format!(
            "the session did not begin ({status}): {said}"
        )));
    };
    output::talk(&format!("{HEAD}run{HEAD:#}  {folder}"));
    output::talk("collecting from every instrumented process until `covtap stop`");
    Ok(ExitCode::SUCCESS)
}

fn serve(place: &Place, args: Start) -> Result<ExitCode, Failure> {
    let hold = args.following.watching == Some(Watching::Hold);
    let around = Around::start(&args.selecting, &args.reaching, hold)?;
    let mut around = around.map(Around::with_what_runs);
    let (mut options, copies) =
        settings::of_session(place, args.collecting, args.following, args.reporting)?;
    settings::stopping(&mut options, &args.stopping, &place.config.run);
    options.since_run = args.since_run.unwrap_or(false);
    Control::of(&place.store).prepare().map_err(failure)?;
    let ready = |folder: &covtap_live::store::Folder| {
        let line = format!("{READY}{}\n", place.show(folder.path()));
        // Whoever started it may have gone; the session goes on.
        let _ = output::data(line.as_bytes());
    };
    let mut progress = Progress::new();
    let surroundings = around
        .as_mut()
        .map(|around| around as &mut dyn Surroundings);
    let result = background::serve(&place.store, &options, surroundings, ready, &mut progress);
    progress.finish();
    if let Some(around) = &around {
        around.end();
    }
    let finished = result.map_err(|error| {
        let hint = error.hint();
        Failure::new(error).hint(hint)
    })?;
    if let (Some(copies), Some(coverage)) = (&copies, &finished.coverage) {
        write_to(
            coverage,
            &copies.formats,
            &copies.path,
            &format::Options::default(),
        )?;
    }
    summary(place, &finished);
    Ok(ExitCode::from(finished.exit_code))
}

pub(crate) fn mark(global: &Global, name: &str) -> Result<ExitCode, Failure> {
    let place = Place::find(global)?;
    let name = checked_name(name).map_err(Failure::new)?;
    let lives = Control::of(&place.store).mark(name).map_err(failure)?;
    output::talk(&format!(
        "mark {name}: {} read",
        count(lives, "process", "processes")
    ));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn stop(global: &Global) -> Result<ExitCode, Failure> {
    let place = Place::find(global)?;
    let stopped = Control::of(&place.store).stop().map_err(failure)?;
    let folder = place.store.find(&stopped.run)?;
    let ledger: Ledger = folder.read("ledger.json")?;
    let document = folder.path().join("coverage.json");
    let coverage = match fs::read(&document) {
        Ok(bytes) => Some(read_json(&bytes)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Failure::new(error)),
    };
    summary(
        &place,
        &Finished {
            folder,
            status: None,
            verdict: ledger.verdict(),
            seen: ledger.targets.len(),
            ledger,
            coverage,
            exit_code: stopped.exit_code,
            stopped: None,
        },
    );
    Ok(ExitCode::from(stopped.exit_code))
}

fn failure(error: ControlError) -> Failure {
    let hint = error.hint();
    Failure::new(error).hint(hint)
}
