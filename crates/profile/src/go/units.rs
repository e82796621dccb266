//! Sums over builds, unit by unit, in the order in which Go's tool prints them.
//!
//! Go's tool identifies a unit by package path, file, function name and position, whatever build it
//! comes from (`internal/coverage/cformat`). This is what `covtap covdata` follows; everywhere else
//! [`super::document`] keeps versions of a package apart.

use std::collections::HashMap;

use covtap_model::counter::{self, CounterMode};
use covtap_model::percent::Ratio;
use rayon::prelude::*;

use super::accumulate::Counters;
use super::meta::{Function, MetaFile, MetaUnit, Package};
use super::pattern::Patterns;

/// A unit and how often it ran.
#[derive(Clone, Copy, Debug)]
pub struct CountedUnit {
    /// Number of its function in [`PackageUnits::functions`].
    pub function: u32,
    /// Where it is.
    pub unit: MetaUnit,
    /// Executions, or 0 and 1 in mode `set`.
    pub count: u32,
    file: u32,
}

/// The units of one package.
pub struct PackageUnits<'a> {
    /// Import path.
    pub path: &'a [u8],
    /// All functions of all builds.
    pub functions: Vec<Function<'a>>,
    /// Sorted by file, start line, end line, start column, end column, statements; each once.
    pub units: Vec<CountedUnit>,
}

/// Sums over `builds`, for the packages that match, sorted by import path.
#[must_use]
pub fn tabulate<'a>(
    builds: &[(&'a MetaFile, &'a Counters)],
    mode: CounterMode,
    packages: Option<&Patterns>,
) -> Vec<PackageUnits<'a>> {
    let mut by_path: HashMap<&[u8], Vec<(&'a Package, usize, &'a Counters)>> = HashMap::new();
    for (meta, counters) in builds {
        for (number, package) in meta.packages.iter().enumerate() {
            let Some(package) = package else { continue };
            if packages.is_none_or(|p| p.matches(package.path())) {
                by_path
                    .entry(package.path())
                    .or_default()
                    .push((package, number, counters));
            }
        }
    }
    let mut paths: Vec<_> = by_path.into_iter().collect();
    paths.sort_unstable_by_key(|(path, _)| *path);
    paths
        .into_par_iter()
        .map(|(path, versions)| PackageUnits::new(path, &versions, mode))
        .collect()
}

impl<'a> PackageUnits<'a> {
    fn new(
        path: &'a [u8],
        versions: &[(&'a Package, usize, &'a Counters)],
        mode: CounterMode,
    ) -> Self {
        let functions: Vec<Function<'a>> =
            versions.iter().flat_map(|(p, ..)| p.functions()).collect();
        let ranks = ranks(functions.iter().map(|f| f.file));
        let mut units = Vec::with_capacity(functions.iter().map(|f| f.units.len()).sum());
        let mut index = 0u32;
        for (package, number, counters) in versions {
            for (f, function) in package.functions().enumerate() {
                let counts = counters.get(*number, f);
                let file = ranks[function.file];
                units.extend(
                    function
                        .units
                        .iter()
                        .enumerate()
                        .map(|(i, &unit)| CountedUnit {
                            function: index,
                            unit,
                            count: counts.map_or(0, |c| c[i]),
                            file,
                        }),
                );
                index += 1;
            }
        }
        units.sort_by(|a, b| {
            let key = |u: &CountedUnit| {
                let m = u.unit;
                (
                    u.file,
                    m.start_line,
                    m.end_line,
                    m.start_column,
                    m.end_column,
                    m.statements,
                )
            };
            key(a).cmp(&key(b)).then_with(|| {
                let id = |u: &CountedUnit| {
                    let f = &functions[u.function as usize];
                    (f.name, f.literal)
                };
                id(a).cmp(&id(b))
            })
        });
        units.dedup_by(|later, kept| {
            let (a, b) = (
                &functions[later.function as usize],
                &functions[kept.function as usize],
            );
            let same = later.file == kept.file
                && later.unit == kept.unit
                && (a.name, a.literal) == (b.name, b.literal);
            if same {
                // A sum at the top stays there; `Build::counters` is where that is reported.
                let _ = counter::merge(
                    std::slice::from_mut(&mut kept.count),
                    std::slice::from_ref(&later.count),
                    mode,
                );
            }
            same
        });
        Self {
            path,
            functions,
            units,
        }
    }

    /// Covered statements of all.
    #[must_use]
    pub fn statements(&self) -> Ratio {
        let mut ratio = Ratio::default();
        for u in &self.units {
            ratio.add(u.unit.statements.into(), u.count != 0);
        }
        ratio
    }

    /// The function of a unit.
    #[must_use]
    pub fn function(&self, unit: &CountedUnit) -> &Function<'a> {
        &self.functions[unit.function as usize]
    }
}

/// Numbers the distinct names in their order.
fn ranks<'a>(names: impl Iterator<Item = &'a [u8]>) -> HashMap<&'a [u8], u32> {
    let mut ranks: HashMap<&[u8], u32> = names.map(|n| (n, 0)).collect();
    let mut sorted: Vec<&[u8]> = ranks.keys().copied().collect();
    sorted.sort_unstable();
    for (rank, name) in sorted.into_iter().enumerate() {
        ranks.insert(name, rank as u32);
    }
    ranks
}
