//! Go's files: each meta-data file and each counter file by itself, then how they belong together.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use covtap_model::counter::CounterMode;
use covtap_model::facts::data::{
    Build, Counters, Damage, DamageKind, Data, Nested, Package as PackageFacts, Source,
};

use super::{shown, written};
use crate::go::accumulate::{self, Layout};
use crate::go::counters::CounterFile;
use crate::go::directory::FileName;
use crate::go::hex;
use crate::go::meta::{FILE_HEADER, MetaFile, Package};

/// A build whose meta-data can be used.
struct Usable {
    meta: MetaFile,
    layout: Arc<Layout>,
}

pub(super) fn read(directory: &Path, files: &[(PathBuf, FileName)], data: &mut Data) {
    let mut usable: BTreeMap<[u8; 16], Usable> = BTreeMap::new();
    for (path, name) in files {
        let FileName::Meta { tag } = name else {
            continue;
        };
        let file = shown(path, directory);
        match fs::read(path) {
            Ok(bytes) => {
                let (build, meta) = build(path, file, tag, bytes);
                data.builds.push(build);
                if let Some(meta) = meta {
                    let layout = Arc::new(Layout::new(&meta));
                    usable.insert(meta.hash, Usable { meta, layout });
                }
            }
            Err(error) => data.unreadable.push((file, error.to_string())),
        }
    }
    // The counters of the last file of each process, to compare the next one with.
    let mut last: BTreeMap<([u8; 16], u64), (String, accumulate::Counters)> = BTreeMap::new();
    let mut counters: Vec<(&PathBuf, &String, u64, u128)> = files
        .iter()
        .filter_map(|(path, name)| match name {
            FileName::Counters {
                tag,
                pid,
                nanoseconds,
            } => Some((path, tag, *pid, *nanoseconds)),
            FileName::Meta { .. } => None,
        })
        .collect();
    counters.sort_by_key(|(_, tag, pid, nanoseconds)| (*tag, *pid, *nanoseconds));
    for (path, tag, pid, nanoseconds) in counters {
        let file = shown(path, directory);
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                data.unreadable.push((file, error.to_string()));
                continue;
            }
        };
        let mut facts = Counters {
            file,
            tag: tag.clone(),
            pid,
            written: u64::try_from(nanoseconds / 1_000_000_000).unwrap_or(u64::MAX),
            ..Counters::default()
        };
        let parsed = match CounterFile::parse(&bytes) {
            Ok(parsed) => parsed,
            Err(damage) => {
                let kind = if bytes.len() < crate::go::counters::FILE_HEADER {
                    DamageKind::CutShort
                } else {
                    DamageKind::Header
                };
                facts.damage.push(told(kind, &damage));
                data.counters.push(facts);
                continue;
            }
        };
        facts.hash = Some(hex(&parsed.hash));
        if let Some(damage) = &parsed.cut_short {
            facts.damage.push(told(DamageKind::CutShort, damage));
        }
        if let Some(Usable { meta, layout }) = usable.get(&parsed.hash) {
            let mut sums = accumulate::Counters::new(layout.clone());
            let reading = parsed.read(meta.mode, &mut sums);
            if let Some(damage) = &reading.first_refused {
                facts.damage.push(told(DamageKind::Record, damage));
            } else if parsed.cut_short.is_none()
                && let Some(damage) = &reading.stopped
            {
                facts.damage.push(told(DamageKind::Record, damage));
            }
            if meta.mode != CounterMode::Set && facts.damage.is_empty() {
                let key = (parsed.hash, pid);
                if let Some((earlier, before)) = last.get(&key)
                    && sums.at_least(before)
                    && sums.values() != before.values()
                {
                    facts.grew_from = Some(earlier.clone());
                }
                last.insert(key, (facts.file.clone(), sums));
            }
        }
        data.counters.push(facts);
    }
    data.counters.sort_by(|a, b| a.file.cmp(&b.file));
}

/// Counter files of one name in different directories whose bytes differ.
pub(super) fn of_one_name(directory: &Path, nested: &[Nested]) -> Vec<(String, String)> {
    let mut first: BTreeMap<&str, PathBuf> = BTreeMap::new();
    let mut differing = Vec::new();
    for folder in nested {
        for file in &folder.files {
            if !matches!(
                FileName::parse(file.as_ref()),
                Some(FileName::Counters { .. })
            ) {
                continue;
            }
            let path = directory.join(&folder.path).join(file);
            match first.get(file.as_str()) {
                None => {
                    first.insert(file, path);
                }
                // What cannot be read is named where the directory itself is looked at.
                Some(other) => match (fs::read(other), fs::read(&path)) {
                    (Ok(a), Ok(b)) if a != b => {
                        differing.push((shown(other, directory), shown(&path, directory)));
                    }
                    _ => {}
                },
            }
        }
    }
    differing
}

fn told(kind: DamageKind, damage: &crate::go::Damage) -> Damage {
    Damage {
        kind,
        at: damage.offset,
        what: format!("expected {}, found {}", damage.expected, damage.found),
    }
}

fn build(path: &Path, file: String, tag: &str, bytes: Vec<u8>) -> (Build, Option<MetaFile>) {
    let cut = is_cut_short(&bytes);
    let kind = |other| if cut { DamageKind::CutShort } else { other };
    let mut build = Build {
        file,
        tag: tag.to_owned(),
        written: written(path),
        ..Build::default()
    };
    let (meta, damages) = match MetaFile::parse(bytes) {
        Ok(parsed) => parsed,
        Err(damage) => {
            build.damage.push(told(kind(DamageKind::Header), &damage));
            return (build, None);
        }
    };
    build.hash = Some(hex(&meta.hash));
    build.mode = Some(meta.mode);
    build.damage = damages
        .iter()
        .filter(|part| part.package.is_some())
        .map(|part| told(kind(DamageKind::Record), &part.damage))
        .collect();
    build.packages = meta.packages.iter().flatten().map(package).collect();
    (build, Some(meta))
}

/// Whether fewer bytes are there than the header states.
fn is_cut_short(bytes: &[u8]) -> bool {
    let total = bytes.get(8..16).and_then(|b| b.try_into().ok());
    let total = total.map(u64::from_le_bytes);
    bytes.len() < FILE_HEADER || total.is_some_and(|total| total > bytes.len() as u64)
}

fn package(package: &Package) -> PackageFacts {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut sources: BTreeMap<&[u8], u64> = BTreeMap::new();
    let mut shape = DefaultHasher::new();
    for function in package.functions() {
        let statements: u64 = function.units.iter().map(|u| u64::from(u.statements)).sum();
        *sources.entry(function.file).or_default() += statements;
        let base = function.file.rsplit(|b| *b == b'/').next();
        (base, function.name, function.units).hash(&mut shape);
    }
    PackageFacts {
        path: text(package.path()),
        module: text(package.module()),
        main: package.name() == b"main",
        hash: hex(&package.hash),
        shape: shape.finish(),
        sources: sources
            .into_iter()
            .map(|(name, statements)| Source {
                name: text(name),
                statements,
            })
            .collect(),
    }
}
