//! `covtap doctor`: why coverage is missing, what proves it, and who is innocent.

mod annotations;
mod checklist;
mod look;
mod markdown;
mod sarif;
mod text;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use covtap_model::exit::Exit;
use covtap_model::finding::{Diagnosis, Evidence, Finding, Severity};

use crate::args::{Doctor, DoctorFormat};
use crate::failure::Failure;
use crate::output;

pub(crate) fn run(args: &Doctor) -> Result<ExitCode, Failure> {
    let facts = look::facts(args)?;
    if let Some(repository) = &facts.repository {
        for unread in &repository.unread {
            output::note(&format!("{} is not judged: {}", unread.place, unread.why));
        }
    }
    let diagnosis = covtap_doctor::diagnose(&facts);
    let text = match args.format.unwrap_or_default() {
        DoctorFormat::Text => text::of(&diagnosis, args.verbose),
        DoctorFormat::Json => {
            let mut text = serde_json::to_string_pretty(&diagnosis).map_err(Failure::new)?;
            text.push('\n');
            text
        }
        DoctorFormat::Sarif => sarif::of(&diagnosis, &args.path).map_err(Failure::new)?,
        DoctorFormat::Github => annotations::of(&diagnosis, &args.path),
        DoctorFormat::Markdown => markdown::of(&diagnosis),
    };
    match &args.output {
        Some(file) => fs::write(file, text)
            .map_err(|e| Failure::new(format!("cannot write {}: {e}", file.display())))?,
        None => output::data(text.as_bytes()).map_err(Failure::new)?,
    }
    let exit = if is_ill(&diagnosis) {
        Exit::No
    } else if is_undecided(&diagnosis) {
        Exit::Failure
    } else {
        Exit::Success
    };
    Ok(exit.code().into())
}

/// Whether there is anything to mend.
fn is_ill(diagnosis: &Diagnosis) -> bool {
    diagnosis.findings.iter().any(Finding::is_ill)
}

/// Whether no rule could decide anything: that is no health.
fn is_undecided(diagnosis: &Diagnosis) -> bool {
    diagnosis.findings.is_empty() && diagnosis.cleared.is_empty() && !diagnosis.unknown.is_empty()
}

/// The file and line of a piece of evidence, as seen from the working directory; none where it is no file.
fn file_of(evidence: &Evidence, root: &Path) -> Option<(String, usize)> {
    let (file, line) = evidence.place.rsplit_once(':')?;
    let line = line.parse().ok()?;
    // What was asked for is a file itself, or a folder that names are below.
    let path = match root.is_file() {
        true => root.to_path_buf(),
        false => root.join(file),
    };
    let path = path
        .strip_prefix(".")
        .map(Path::to_path_buf)
        .unwrap_or(path);
    Some((path.display().to_string(), line))
}

/// One of the words that formats have for what a finding costs.
fn level(severity: Severity, words: [&'static str; 3]) -> &'static str {
    let [info, warning, error] = words;
    match severity {
        Severity::Info => info,
        Severity::Warning => warning,
        Severity::Error => error,
    }
}
