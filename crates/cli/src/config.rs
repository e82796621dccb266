//! `covtap.toml`: what a project always wants. Flags and environment variables come before it.
//!
//! ```toml
//! exclude = ["**/*.pb.go"]
//!
//! [run]
//! require = ["api", "worker"]
//! grace = "30s"
//!
//! [report]
//! format = ["text", "lcov"]
//! ```
//!
//! Paths are relative to the file. A key that is not known is an error: a misspelled setting that is
//! passed over in silence is worse than none.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use covtap_report::format::{By, Format, Sort};
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::args::{Color, Route, Watching};
use crate::units::parse_duration;

/// Name of the file.
pub(crate) const FILE_NAME: &str = "covtap.toml";

/// The settings of a file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Config {
    pub(crate) color: Option<Word<Color>>,
    pub(crate) store: Option<PathBuf>,
    pub(crate) root: Option<PathBuf>,
    pub(crate) exclude: Option<Vec<String>>,
    pub(crate) run: RunConfig,
    pub(crate) report: ReportConfig,
}

/// `[run]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RunConfig {
    pub(crate) files: Option<Vec<PathBuf>>,
    pub(crate) require: Option<Vec<String>>,
    pub(crate) ignore: Option<Vec<String>>,
    pub(crate) include_test_binaries: Option<bool>,
    pub(crate) allow_incomplete: Option<bool>,
    pub(crate) grace: Option<Word<Seconds>>,
    pub(crate) leave_running: Option<bool>,
    pub(crate) stop_for_files: Option<bool>,
    pub(crate) keep_args: Option<bool>,
    pub(crate) route: Option<Vec<Word<Route>>>,
    pub(crate) watching: Option<Word<Watching>>,
    pub(crate) every: Option<Word<Seconds>>,
    pub(crate) format: Option<Vec<Word<Format>>>,
    pub(crate) output: Option<PathBuf>,
}

/// `[report]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct ReportConfig {
    pub(crate) format: Option<Vec<Word<Format>>>,
    pub(crate) output: Option<PathBuf>,
    pub(crate) show_missing: Option<bool>,
    pub(crate) sort: Option<Word<Sort>>,
    pub(crate) by: Option<Word<By>>,
}

/// A value that is written as a string.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Word<T>(pub(crate) T);

/// A time; in the file a bare number is seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seconds(pub(crate) Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_duration(text).map(Self)
    }
}

impl FromStr for Color {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as clap::ValueEnum>::from_str(text, false)
            .map_err(|_| format!("unknown colour choice `{text}`; known: auto, always, never"))
    }
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as clap::ValueEnum>::from_str(text, false)
            .map_err(|_| format!("unknown route `{text}`; known: tap, exit, files"))
    }
}

impl FromStr for Watching {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as clap::ValueEnum>::from_str(text, false)
            .map_err(|_| format!("unknown means `{text}`; known: auto, hold, events, poll"))
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(std::marker::PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
                text.parse().map_err(E::custom)
            }

            // `grace = 10` means seconds; nothing else reads a number as a word.
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
                number.to_string().parse().map_err(E::custom)
            }
        }
        deserializer
            .deserialize_any(Text(std::marker::PhantomData))
            .map(Word)
    }
}

/// What is wrong with a settings file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}:{line}: unknown key `{key}`", path.display())]
    UnknownKey {
        path: PathBuf,
        line: usize,
        key: String,
        known: Vec<String>,
    },
    #[error("{}:{line}: {message}", path.display())]
    Wrong {
        path: PathBuf,
        line: usize,
        message: String,
    },
}

impl ConfigError {
    /// The next step for a person.
    pub(crate) fn hint(&self) -> Option<String> {
        let Self::UnknownKey { key, known, .. } = self else {
            return None;
        };
        let nearest = known
            .iter()
            .map(|k| (strsim::damerau_levenshtein(key, k), k))
            .min()
            .filter(|(distance, k)| *distance <= k.len().max(key.len()) / 2);
        Some(match nearest {
            Some((_, name)) => format!("did you mean `{name}`?"),
            None => format!("known here: {}", known.join(", ")),
        })
    }
}

/// The nearest `covtap.toml` at or above a directory.
pub(crate) fn find(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .map(|dir| dir.join(FILE_NAME))
        .find(|path| path.is_file())
}

/// Reads a settings file; paths in it become relative to the working directory or absolute.
pub(crate) fn read(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    let mut config = parse(path, &text)?;
    let base = path.parent().unwrap_or(Path::new(""));
    let paths = [
        &mut config.store,
        &mut config.root,
        &mut config.run.output,
        &mut config.report.output,
    ];
    for value in paths
        .into_iter()
        .flatten()
        .chain(config.run.files.iter_mut().flatten())
    {
        *value = base.join(&value);
    }
    Ok(config)
}

fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text[..at.min(text.len())].matches('\n').count();
        let path = path.to_path_buf();
        match unknown_field(error.message()) {
            Some((key, known)) => ConfigError::UnknownKey {
                path,
                line,
                key,
                known,
            },
            None => ConfigError::Wrong {
                path,
                line,
                message: error.message().to_owned(),
            },
        }
    })
}

/// Takes serde's sentence apart: ``unknown field `a`, expected one of `b`, `c` ``.
fn unknown_field(message: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix("unknown field `")?;
    // Every second piece between backquotes is a name.
    let mut names = rest.split('`').step_by(2).map(str::to_owned);
    let key = names.next()?;
    Some((key, names.filter(|n| !n.is_empty()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (String, Option<String>) {
        let error = parse(Path::new("covtap.toml"), text).unwrap_err();
        (error.to_string(), error.hint())
    }

    #[test]
    fn the_documented_file_is_right_and_has_every_key() {
        let text = include_str!("../../../docs/covtap.toml");
        let config = format!("{:?}", parse(Path::new("docs/covtap.toml"), text).unwrap());
        assert!(!config.contains("None"), "{config}");
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = parse(
            Path::new("covtap.toml"),
            "exclude = [\"a\"]\ncolor = \"never\"\n[run]\ngrace = 3\nrequire = [\"x\"]\n\
             leave-running = true\n[report]\nformat = [\"lcov\"]\nsort = \"missing\"\nby = \"file\"\n",
        )
        .unwrap();
        assert_eq!(config.color, Some(Word(Color::Never)));
        assert_eq!(
            config.run.grace,
            Some(Word(Seconds(Duration::from_secs(3))))
        );
        assert_eq!(config.run.leave_running, Some(true));
        assert_eq!(config.report.format, Some(vec![Word(Format::Lcov)]));
        assert_eq!(config.report.sort, Some(Word(Sort::Missing)));
    }

    #[test]
    fn an_unknown_key_names_file_line_key_and_the_nearest() {
        assert_eq!(
            error("exclude = []\n\n[run]\ngrce = \"1s\"\n"),
            (
                "covtap.toml:4: unknown key `grce`".into(),
                Some("did you mean `grace`?".into())
            )
        );
        let (_, hint) = error("[report]\nzzzzzzzzzz = 1\n");
        assert!(hint.unwrap().starts_with("known here: format, output"));
        assert_eq!(error("[runs]\n").1.as_deref(), Some("did you mean `run`?"));
    }

    #[test]
    fn wrong_values_name_the_line() {
        let (text, hint) = error("[run]\ngrace = \"soon\"\n");
        assert!(text.starts_with("covtap.toml:2: "), "{text}");
        assert!(
            text.contains("`soon`") || text.contains("unknown unit"),
            "{text}"
        );
        assert_eq!(hint, None);
        assert!(
            error("[report]\nformat = [\"pdf\"]\n")
                .0
                .contains("unknown format `pdf`")
        );
        assert!(error("[run\n").0.starts_with("covtap.toml:1: "));
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        std::fs::write(&path, "[run]\nfiles = [\"cov\", \"/abs\"]\n").unwrap();
        let config = read(&path).unwrap();
        assert_eq!(
            config.run.files.unwrap(),
            [dir.path().join("cov"), PathBuf::from("/abs")]
        );
        assert_eq!(find(dir.path()), Some(path));
    }
}
