//! The coverage document of one or more builds: what every report of covtap is made of.
//!
//! Rules (they differ from `go tool covdata`, which [`super::covdata`] follows):
//! * versions of a package are told apart by its meta-data hash; equal hashes are merged across
//!   builds, of differing ones the preferred (else the newest) is used and the others are listed;
//! * a build without counters is "no data", not 0 %.

use std::collections::BTreeMap;
use std::path::PathBuf;

use covtap_model::counter::{self, CounterMode, ModeClash, ModePolicy};
use covtap_model::coverage::{self, Coverage, VersionSkew};
use covtap_model::problem::{Problem, Severity};

use super::accumulate::Counters;
use super::directory::{CounterFileName, Pod};
use super::hash::hex;
use super::load::{self, Build};
use super::meta::Package;

/// How to make a document.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// What to do when builds of different modes meet.
    pub modes: ModePolicy,
    /// Tells whether a version of a package is the one that the checkout has. Without it, and when
    /// it accepts none or several, the newest build's version is used.
    pub prefer: Option<&'a dyn Fn(&Package) -> bool>,
}

/// Reads `pods` and makes the document of their coverage.
///
/// What could not be read is in [`Coverage::problems`]. `Ok(None)` when there are no counters at all.
///
/// # Errors
/// [`ModeClash`] when builds of different modes meet and the policy is strict.
pub fn of_pods(
    pods: &[Pod],
    generator: &str,
    options: Options<'_>,
) -> Result<(Option<Coverage>, Vec<Problem>), ModeClash> {
    let mut problems = Vec::new();
    let mut builds = Vec::new();
    for pod in pods {
        let (build, found) = load::open(pod);
        problems.extend(found);
        let Some(build) = build else { continue };
        if pod.counters.is_empty() {
            problems.push(no_counters(&pod.meta));
            continue;
        }
        let (counters, found) = build.counters(&pod.counters);
        problems.extend(found);
        let newest = pod
            .counters
            .iter()
            .map(|c: &CounterFileName| c.nanoseconds)
            .max()
            .unwrap_or(0);
        builds.push(CountedBuild {
            build,
            counters,
            newest,
        });
    }
    let document = of_builds(&builds, generator, options)?;
    Ok((document, problems))
}

fn no_counters(meta: &PathBuf) -> Problem {
    Problem::new(
        Severity::Warning,
        meta,
        "counter files of the build's processes",
        "none: the process started and did not end through os.Exit or a return from main",
        "the build is left out: no data is not 0 %",
    )
    .hint("let the service end by itself on SIGTERM")
}

/// A build with the sums of its counters.
pub struct CountedBuild {
    /// The build.
    pub build: Build,
    /// Its sums.
    pub counters: Counters,
    /// When its newest data were written: nanoseconds since 1970.
    pub newest: u128,
}

/// One version of a package, and where its counters are.
struct Version<'a> {
    package: &'a Package,
    newest: u128,
    sources: Vec<(usize, &'a Counters)>,
}

/// Makes the document of `builds`; `Ok(None)` when there are none.
///
/// # Errors
/// [`ModeClash`] when builds of different modes meet and the policy is strict.
pub fn of_builds(
    builds: &[CountedBuild],
    generator: &str,
    options: Options<'_>,
) -> Result<Option<Coverage>, ModeClash> {
    let mut mode = None;
    for b in builds {
        mode = Some(counter::merge_modes(
            mode,
            b.build.meta.mode,
            options.modes,
        )?);
    }
    let Some(mode) = mode else { return Ok(None) };

    let mut packages: BTreeMap<&[u8], BTreeMap<[u8; 16], Version<'_>>> = BTreeMap::new();
    for b in builds {
        for (number, package) in b.build.meta.packages.iter().enumerate() {
            let Some(package) = package else { continue };
            let version = packages
                .entry(package.path())
                .or_default()
                .entry(package.hash)
                .or_insert_with(|| Version {
                    package,
                    newest: 0,
                    sources: Vec::new(),
                });
            version.newest = version.newest.max(b.newest);
            version.sources.push((number, &b.counters));
        }
    }
    let mut skew = Vec::new();
    let mut used = Vec::new();
    for (path, versions) in packages {
        let versions: Vec<Version<'_>> = versions.into_values().collect();
        let chosen = choose(&versions, options.prefer);
        if versions.len() > 1 {
            skew.push(VersionSkew {
                package: text(path),
                used: hex(&versions[chosen].package.hash),
                others: (0..versions.len())
                    .filter(|i| *i != chosen)
                    .map(|i| hex(&versions[i].package.hash))
                    .collect(),
            });
        }
        used.push(package(&versions[chosen], mode));
    }
    let mut document = Coverage::new(generator, mode, used);
    document.skew = skew;
    Ok(Some(document))
}

/// `package` as a document has it, with all counts 0: to compare it with source files.
#[must_use]
pub fn uncounted(package: &Package) -> coverage::Package {
    let version = Version {
        package,
        newest: 0,
        sources: Vec::new(),
    };
    self::package(&version, CounterMode::Set)
}

fn choose(versions: &[Version<'_>], prefer: Option<&dyn Fn(&Package) -> bool>) -> usize {
    if versions.len() == 1 {
        return 0;
    }
    if let Some(prefer) = prefer {
        let mut fitting = (0..versions.len()).filter(|i| prefer(versions[*i].package));
        if let (Some(only), None) = (fitting.next(), fitting.next()) {
            return only;
        }
    }
    (0..versions.len())
        .max_by_key(|i| (versions[*i].newest, versions[*i].package.hash))
        .unwrap_or(0)
}

fn package(version: &Version<'_>, mode: CounterMode) -> coverage::Package {
    let mut files: BTreeMap<&[u8], Vec<coverage::Function>> = BTreeMap::new();
    let mut sums = Vec::new();
    for (number, function) in version.package.functions().enumerate() {
        sums.clear();
        sums.resize(function.units.len(), 0);
        for (package, counters) in &version.sources {
            if let Some(counts) = counters.get(*package, number) {
                // A sum at the top stays there; `Build::counters` is where that is reported.
                let _ = counter::merge(&mut sums, counts, mode);
            }
        }
        let units = function
            .units
            .iter()
            .zip(&sums)
            .map(|(u, &count)| coverage::Unit {
                start_line: u.start_line,
                start_column: u.start_column,
                end_line: u.end_line,
                end_column: u.end_column,
                statements: u.statements,
                count: count.into(),
            });
        files
            .entry(function.file)
            .or_default()
            .push(coverage::Function {
                name: text(function.name),
                literal: function.literal,
                units: units.collect(),
            });
    }
    coverage::Package {
        path: text(version.package.path()),
        name: text(version.package.name()),
        module: text(version.package.module()),
        files: files
            .into_iter()
            .map(|(name, functions)| coverage::File {
                name: text(name),
                functions,
                ..coverage::File::default()
            })
            .collect(),
        ..coverage::Package::default()
    }
}

/// Names are nearly always UTF-8; others are shown with replacement characters.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
