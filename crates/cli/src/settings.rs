//! What holds in the end: flag, else environment variable (clap has put both together), else
//! `covtap.toml`, else the default.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use covtap_live::rows::Expectation;
use covtap_live::session::{Options, Routes};
use covtap_report::exclude::Exclusions;
use covtap_report::format::{By, Format, Sort};

use crate::args::{Collecting, Following, Report, Route, Run, RunReporting, Stopping, Watching};
use crate::config::{Config, ReportConfig, RunConfig, Word};
use crate::failure::Failure;
use crate::place::Place;

/// The grace period when nobody says another.
const GRACE: Duration = Duration::from_secs(10);

/// The time between two snapshots of a process, when nobody says another.
const EVERY: Duration = Duration::from_secs(1);

/// More often than this nothing is read: a thread would do nothing else.
const FASTEST: Duration = Duration::from_millis(1);

/// Name and version, for documents.
pub(crate) const GENERATOR: &str = concat!("covtap ", env!("CARGO_PKG_VERSION"));

/// Reports that are written in addition to those in the run's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copies {
    pub(crate) formats: Vec<Format>,
    pub(crate) path: PathBuf,
}

/// `covtap run`: the session's options, and where copies of the reports go.
pub(crate) fn of_run(place: &Place, args: Run) -> Result<(Options, Option<Copies>), Failure> {
    let Run {
        command,
        selecting: _,
        reaching: _,
        collecting,
        following,
        ending,
        reporting,
        replicas: _,
    } = args;
    let (mut options, copies) = of_session(place, collecting, following, reporting)?;
    let config = &place.config.run;
    options.command = command;
    let stopping = Stopping {
        grace: ending.grace,
        stop_for_files: ending.stop_for_files,
    };
    self::stopping(&mut options, &stopping, config);
    options.leave_running = ending
        .leave_running
        .or(config.leave_running)
        .unwrap_or(false);
    Ok((options, copies))
}

/// How services are ended for their files.
pub(crate) fn stopping(options: &mut Options, args: &Stopping, config: &RunConfig) {
    options.grace = args.grace.or(config.grace.map(|g| g.0.0)).unwrap_or(GRACE);
    // Without a route through memory, nothing else tells what a service that runs has covered.
    let only_files = options.routes.files && !options.routes.tap && !options.routes.exit;
    options.stop_for_files = args
        .stop_for_files
        .or(config.stop_for_files)
        .unwrap_or(only_files);
}

/// A session without a command.
pub(crate) fn of_session(
    place: &Place,
    collecting: Collecting,
    following: Following,
    reporting: RunReporting,
) -> Result<(Options, Option<Copies>), Failure> {
    let config = &place.config.run;
    let formats = reporting.format.or_else(|| unwords(config.format.as_ref()));
    let output = reporting.output.or_else(|| config.output.clone());
    let copies = match (output, &formats) {
        (Some(path), Some(formats)) => Some(Copies {
            formats: formats.clone(),
            path: place.directory.join(path),
        }),
        (Some(_), None) => {
            return Err(Failure::new("--output says where, and nothing says what")
                .hint("add --format FORMAT".to_owned()));
        }
        (None, _) => None,
    };
    let routes = collecting
        .route
        .or_else(|| unwords(config.route.as_ref()))
        .map_or_else(Routes::default, |routes| Routes {
            tap: routes.contains(&Route::Tap),
            exit: routes.contains(&Route::Exit),
            files: routes.contains(&Route::Files),
        });
    let watching = following.watching.or(config.watching.map(|w| w.0));
    let options = Options {
        command: Vec::new(),
        routes,
        means: watching.unwrap_or(Watching::Auto).means(),
        every: following
            .every
            .or(config.every.map(|e| e.0.0))
            .unwrap_or(EVERY)
            .max(FASTEST),
        #[cfg(target_os = "linux")]
        holder: crate::commands::hold::guardian,
        #[cfg(not(target_os = "linux"))]
        holder: || None,
        keep_args: collecting.keep_args.or(config.keep_args).unwrap_or(false),
        files: collecting
            .files
            .or_else(|| env_paths("COVTAP_FILES"))
            .or_else(|| config.files.clone())
            .unwrap_or_default()
            .into_iter()
            .map(|path| place.directory.join(path))
            .collect(),
        expectation: Expectation {
            require: collecting
                .require
                .or_else(|| config.require.clone())
                .unwrap_or_default(),
            ignore: collecting
                .ignore
                .or_else(|| config.ignore.clone())
                .unwrap_or_default(),
            include_test_binaries: collecting
                .include_test_binaries
                .or(config.include_test_binaries)
                .unwrap_or(false),
        },
        since_run: false,
        grace: GRACE,
        leave_running: false,
        stop_for_files: false,
        allow_incomplete: collecting
            .allow_incomplete
            .or(config.allow_incomplete)
            .unwrap_or(false),
        repository: place.repository(reporting.counting.root.as_ref()),
        exclude: exclusions(&globs(reporting.counting.exclude, &place.config), true)?,
        formats: formats.unwrap_or_else(default_formats),
        generator: GENERATOR.into(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    Ok((options, copies))
}

/// `covtap report`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reporting {
    pub(crate) formats: Vec<Format>,
    pub(crate) output: Option<PathBuf>,
    pub(crate) show_missing: bool,
    pub(crate) sort: Sort,
    pub(crate) by: By,
    pub(crate) exclude: Vec<String>,
    /// Set when the user named a root: then a stored document is mapped anew.
    pub(crate) root: Option<PathBuf>,
}

pub(crate) fn of_report(args: &Report, config: &Config) -> Reporting {
    let file: &ReportConfig = &config.report;
    Reporting {
        formats: args
            .format
            .clone()
            .or_else(|| unwords(file.format.as_ref()))
            .unwrap_or_else(|| vec![Format::Text]),
        output: args.output.clone().or_else(|| file.output.clone()),
        show_missing: args
            .table
            .show_missing
            .or(file.show_missing)
            .unwrap_or(false),
        sort: args
            .table
            .sort
            .or(file.sort.map(|w| w.0))
            .unwrap_or_default(),
        by: args.table.by.or(file.by.map(|w| w.0)).unwrap_or_default(),
        exclude: globs(args.counting.exclude.clone(), config),
        root: args.counting.root.clone(),
    }
}

fn globs(flag: Option<Vec<String>>, config: &Config) -> Vec<String> {
    flag.or_else(|| config.exclude.clone()).unwrap_or_default()
}

/// What is not counted; with `sources`, generated files and comment markers too.
pub(crate) fn exclusions(globs: &[String], sources: bool) -> Result<Exclusions, Failure> {
    Exclusions::new(globs, sources, sources).map_err(|error| {
        Failure::new(error)
            .hint("globs are those of .gitignore: *.pb.go, internal/gen/**".to_owned())
    })
}

/// All but JSON: the document lies in the run's folder anyway.
fn default_formats() -> Vec<Format> {
    Format::ALL
        .into_iter()
        .filter(|f| *f != Format::Json)
        .collect()
}

fn unwords<T: Copy>(words: Option<&Vec<Word<T>>>) -> Option<Vec<T>> {
    Some(words?.iter().map(|word| word.0).collect())
}

fn env_paths(name: &str) -> Option<Vec<PathBuf>> {
    let value = env::var_os(name).filter(|v| !v.is_empty())?;
    Some(env::split_paths(&value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Table;

    #[test]
    fn the_flag_comes_before_the_file_and_the_file_before_the_default() {
        let config = Config {
            report: ReportConfig {
                format: Some(vec![Word(Format::Lcov)]),
                sort: Some(Word(Sort::Missing)),
                by: Some(Word(By::File)),
                ..ReportConfig::default()
            },
            ..Config::default()
        };
        let args = Report {
            table: Table {
                sort: Some(Sort::Coverage),
                ..Table::default()
            },
            ..Report::default()
        };
        let settings = of_report(&args, &config);
        assert_eq!(settings.sort, Sort::Coverage);
        assert_eq!(settings.by, By::File);
        assert_eq!(settings.formats, [Format::Lcov]);
        assert_eq!(
            of_report(&Report::default(), &Config::default()).formats,
            [Format::Text]
        );
    }
}
