//! `--per-replica`: what each replica of a run covered, beside what all of them did.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstyle::Style;
use covtap_live::checkout::Checkout;
use covtap_live::replicas::{self, Replica};
use covtap_live::session::{Finished, Options};
use covtap_live::store::Folder;
use covtap_model::ledger::Ledger;
use covtap_model::percent::Ratio;
use covtap_model::problem::printable;
use covtap_report::exclude::Exclusions;
use covtap_report::format::{self, Format, write_files};

use super::report::run_called;
use crate::failure::Failure;
use crate::output::{self, HEAD};
use crate::place::Place;
use crate::settings::{GENERATOR, Reporting, exclusions};

/// The directory in a run's folder with one for each replica.
const DIRECTORY: &str = "replicas";

/// After a run: the table, and each replica's document and reports in the run's folder.
pub(super) fn of_run(place: &Place, finished: &Finished, options: &Options) -> Result<(), Failure> {
    let replicas = read(
        &finished.folder,
        &finished.ledger,
        &options.repository,
        &options.exclude,
    );
    let Some(coverage) = &finished.coverage else {
        return Ok(());
    };
    output::talk("");
    output::talk(table(&replicas, coverage.totals.statements).trim_end());
    let directory = finished.folder.path().join(DIRECTORY);
    let mut formats = options.formats.clone();
    formats.push(Format::Json);
    write(&replicas, &formats, &directory, &format::Options::default())?;
    let place = place.show(&directory);
    output::talk(&format!("{HEAD}replicas{HEAD:#} {place}"));
    Ok(())
}

/// `covtap report --per-replica [RUN]`.
pub(super) fn report(
    place: &Place,
    sources: &[PathBuf],
    settings: &Reporting,
) -> Result<ExitCode, Failure> {
    let folder = match sources {
        [] => run_called(place, "latest")?,
        [one] if one.join("run.json").is_file() => Folder::at(one),
        [one] if !one.exists() => run_called(place, &one.to_string_lossy())?,
        _ => {
            return Err(Failure::new("--per-replica needs a run")
                .hint("only the ledger of a run tells which data are whose".to_owned()));
        }
    };
    if settings.output.is_none() && settings.formats != [Format::Text] {
        return Err(
            Failure::new("a report for each replica does not fit into one stream")
                .hint("name a directory with --output DIR".to_owned()),
        );
    }
    let ledger: Ledger = folder.read("ledger.json").map_err(Failure::new)?;
    let root = place.repository(settings.root.as_ref());
    let exclude = exclusions(&settings.exclude, true)?;
    let replicas = read(&folder, &ledger, &root, &exclude);
    if let Some(directory) = &settings.output {
        let options = format::Options {
            show_missing: settings.show_missing,
            sort: settings.sort,
            by: settings.by,
            ..format::Options::default()
        };
        write(&replicas, &settings.formats, directory, &options)?;
    }
    let all = all(&folder)?;
    output::data(table(&replicas, all).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The figure of the run's own document.
fn all(folder: &Folder) -> Result<Ratio, Failure> {
    let path = folder.path().join("coverage.json");
    let bytes = std::fs::read(&path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
    Ok(format::read_json(&bytes)
        .map_err(Failure::new)?
        .totals
        .statements)
}

fn read(folder: &Folder, ledger: &Ledger, root: &Path, exclude: &Exclusions) -> Vec<Replica> {
    let (checkout, unreadable) = Checkout::open(root);
    let with = (&checkout, exclude);
    let (replicas, problems) = replicas::of_run(&folder.raw(), ledger, GENERATOR, with);
    for problem in unreadable.iter().chain(&problems) {
        output::warning(&problem.to_string());
    }
    replicas
}

/// One directory a replica.
fn write(
    replicas: &[Replica],
    formats: &[Format],
    directory: &Path,
    options: &format::Options,
) -> Result<(), Failure> {
    let mut taken = BTreeSet::new();
    for replica in replicas {
        let slug = replica.slug();
        let mut name = slug.clone();
        for number in 2.. {
            if taken.insert(name.clone()) {
                break;
            }
            name = format!("{slug}-{number}");
        }
        let written = write_files(&replica.coverage, formats, &directory.join(name), options);
        if let Some(error) = written.failed.into_iter().next() {
            return Err(Failure::new(error));
        }
    }
    Ok(())
}

/// One line a replica, and one for all of them together.
fn table(replicas: &[Replica], all: Ratio) -> String {
    let rows = replicas.iter().map(|replica| {
        [
            printable(&replica.workload).into_owned(),
            printable(&replica.name).into_owned(),
            replica.lives.to_string(),
            replica.coverage.totals.statements.to_string(),
        ]
    });
    let lives: usize = replicas.iter().map(|replica| replica.lives).sum();
    let last = [
        "all".into(),
        String::new(),
        lives.to_string(),
        all.to_string(),
    ];
    let rows: Vec<[String; 4]> = rows.chain([last]).collect();
    let head = ["WORKLOAD", "REPLICA", "LIVES", "COVERAGE"];
    let mut columns = head.map(str::len);
    for row in &rows {
        for (column, cell) in columns.iter_mut().zip(row) {
            *column = (*column).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; 4], style: Style| {
        let ([a, b, c, d], [one, two, three, four]) = (columns, cells);
        format!("{style}{one:a$}  {two:b$}  {three:>c$}  {four:>d$}{style:#}\n")
    };
    let mut out = line(head, HEAD);
    for row in &rows {
        out += &line(row.each_ref().map(String::as_str), Style::new());
    }
    out
}

#[cfg(test)]
mod tests {
    use covtap_model::counter::CounterMode;
    use covtap_model::coverage::Coverage;

    use super::*;

    fn replica(name: &str) -> Replica {
        Replica {
            workload: "deployment/api".into(),
            name: name.into(),
            lives: 2,
            coverage: Coverage::new("", CounterMode::Set, Vec::new()),
        }
    }

    #[test]
    fn each_replica_is_a_line_and_all_of_them_are_the_last() {
        let replicas = [replica("shop/api-1"), replica("shop/api-2 main")];
        let text = table(&replicas, Ratio::new(1, 3));
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(
            plain,
            "WORKLOAD        REPLICA          LIVES  COVERAGE\n\
             deployment/api  shop/api-1           2         -\n\
             deployment/api  shop/api-2 main      2         -\n\
             all                                  4     33.3%\n"
        );
    }

    #[test]
    fn replicas_of_one_name_have_directories_of_their_own() {
        let place = tempfile::tempdir().unwrap();
        let two = [replica("shop/api-1"), replica("shop/api-1")];
        let formats = [Format::Json];
        write(&two, &formats, place.path(), &format::Options::default()).unwrap();
        for name in ["shop-api-1", "shop-api-1-2"] {
            assert!(place.path().join(name).join("coverage.json").is_file());
        }
    }
}
