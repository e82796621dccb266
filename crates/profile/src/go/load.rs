//! Opens pods: the meta-data of a build, with the sums of its counters.

use std::fs;
use std::sync::Arc;

use covtap_model::problem::{Problem, Severity};

use super::accumulate::{Counters, Layout, accumulate, located, paths};
use super::directory::{CounterFileName, Pod};
use super::hash::hex;
use super::meta::{MetaFile, PartDamage};

/// A build's meta-data, ready to take counters.
pub struct Build {
    /// What the binary has.
    pub meta: MetaFile,
    /// Where its counters go.
    pub layout: Arc<Layout>,
}

/// Reads the meta-data file of `pod`.
///
/// Returns the build, or `None` when its meta-data cannot be used, and what is wrong.
#[must_use]
pub fn open(pod: &Pod) -> (Option<Build>, Vec<Problem>) {
    let all_lost = format!(
        "the build and its {} counter files are left out",
        pod.counters.len()
    );
    let bytes = match fs::read(&pod.meta) {
        Ok(bytes) => bytes,
        Err(error) => {
            let problem = Problem::new(
                Severity::Error,
                &pod.meta,
                "a readable file",
                error.to_string(),
                all_lost,
            );
            return (None, vec![problem]);
        }
    };
    let (meta, damages) = match MetaFile::parse(bytes) {
        Ok(parsed) => parsed,
        Err(damage) => return (None, vec![located(&pod.meta, damage, all_lost)]),
    };
    let mut problems: Vec<Problem> = damages
        .into_iter()
        .map(|PartDamage { package, damage }| match package {
            Some(n) => located(&pod.meta, damage, format!("package {n} is left out")),
            None => Problem {
                severity: Severity::Warning,
                ..located(&pod.meta, damage, "the file is used")
            },
        })
        .collect();
    if hex(&meta.hash) != pod.tag {
        problems.push(
            Problem::new(
                Severity::Warning,
                &pod.meta,
                format!("hash {}, as in the file's name", pod.tag),
                hex(&meta.hash),
                "the file is used; counter files with another hash inside are left out",
            )
            .at(24),
        );
    }
    let layout = Arc::new(Layout::new(&meta));
    (Some(Build { meta, layout }), problems)
}

impl Build {
    /// The sums of the counters of `files`.
    #[must_use]
    pub fn counters(&self, files: &[CounterFileName]) -> (Counters, Vec<Problem>) {
        let (counters, mut problems) = accumulate(&self.meta, &self.layout, &paths(files));
        if counters.overflowed()
            && let Some(file) = files.first()
        {
            problems.push(Problem::new(
                Severity::Note,
                &file.path,
                "sums below 4294967296",
                "a larger one, in these files together",
                "that count is shown as 4294967295",
            ));
        }
        (counters, problems)
    }
}
