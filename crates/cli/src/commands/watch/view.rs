//! What is to be seen, as plain data: drawing it needs nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use covtap_model::percent::Ratio;
use covtap_model::problem::printable;
use covtap_profile::go::accumulate::Counters;
use covtap_profile::go::meta::MetaFile;
use covtap_tap::clock::Moment;
use covtap_tap::life::{End, Key as LifeKey};
use covtap_tap::watch::Watcher;
use covtap_tap::watch::states;

use super::keyboard::Key;

/// A picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// How processes are found.
    pub(super) method: String,
    /// What is worth saying about that, and lives that cannot be read.
    pub(super) troubles: Vec<String>,
    /// One a life that was read, those that run first.
    pub(super) rows: Vec<Row>,
    /// The row that is looked at more closely.
    pub(super) selected: usize,
    /// Its packages.
    pub(super) packages: Vec<(String, Ratio)>,
    /// Its functions with statements that are new since the mark, and how many.
    pub(super) fresh: Vec<(String, u64)>,
    /// When the mark was set (UTC).
    pub(super) marked: Option<String>,
    pub(super) help: bool,
    pub(super) color: bool,
}

/// One life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: LifeKey,
    pub(super) name: String,
    pub(super) statements: Ratio,
    pub(super) snapshots: u64,
    /// Statements that are new since the mark, if one was set.
    pub(super) fresh: Option<u64>,
    /// How it ended; `None` while it runs.
    pub(super) end: Option<String>,
}

impl Row {
    pub(super) fn pid(&self) -> u32 {
        self.key.pid
    }
}

/// What a view depends on beside the processes.
#[derive(Default)]
pub(super) struct Looks {
    pub(super) color: bool,
    help: bool,
    selected: Option<LifeKey>,
    marked: Option<(String, BTreeMap<LifeKey, Arc<Counters>>)>,
    wants_mark: bool,
    known: BTreeSet<u32>,
}

impl Looks {
    /// Whether any life was ever read.
    pub(super) fn seen_any(&self) -> bool {
        !self.known.is_empty()
    }

    /// Whether a life of this process was ever read.
    pub(super) fn knows(&self, pid: u32) -> bool {
        self.known.contains(&pid)
    }

    /// Does what a key asks for.
    pub(super) fn press(&mut self, key: Key, view: &View) {
        let selected = |row: usize| view.rows.get(row).map(|row| row.key);
        match key {
            Key::Mark => self.wants_mark = true,
            Key::Up => self.selected = selected(view.selected.saturating_sub(1)),
            Key::Down => self.selected = selected(view.selected + 1).or(self.selected),
            Key::Help => self.help = !self.help,
            Key::Quit | Key::Redraw => {}
        }
    }

    /// What is to be seen now.
    pub(super) fn view(&mut self, watcher: &Watcher) -> View {
        let states = watcher.states();
        let lives = states.map(states::States::views).unwrap_or_default();
        self.known.extend(lives.iter().map(|life| life.key.pid));
        if std::mem::take(&mut self.wants_mark) {
            let all = lives.iter();
            let counters = all.map(|l| (l.key, l.snapshot.counters.clone()));
            self.marked = Some((clock(), counters.collect()));
        }
        let mut troubles = watcher.notes();
        let failures = states.map(states::States::failures).unwrap_or_default();
        let mut named: BTreeMap<LifeKey, (String, End)> = watcher
            .lives()
            .map(|life| (life.key(), (life.name(), life.end)))
            .collect();
        troubles.extend(failures.into_iter().map(|(key, because)| {
            let name = named.get(&key).map_or("?", |(name, _)| name);
            format!("{} ({}): {}", printable(name), key.pid, printable(&because))
        }));
        let mut rows: Vec<(Row, &states::View)> = lives
            .iter()
            .map(|life| {
                let (name, end) = named.remove(&life.key).unwrap_or(("?".into(), End::None));
                (self.row(life, &name, end), life)
            })
            .collect();
        rows.sort_by_key(|(row, _)| (row.end.is_some(), row.key.start_ticks, row.key));
        let selected = rows
            .iter()
            .position(|(row, _)| Some(row.key) == self.selected)
            .unwrap_or(0);
        let closer = rows.get(selected).map(|(_, life)| *life);
        View {
            method: watcher.method(),
            troubles,
            selected,
            packages: closer.map(packages).unwrap_or_default(),
            fresh: closer.map(|l| self.fresh(l)).unwrap_or_default(),
            rows: rows.into_iter().map(|(row, _)| row).collect(),
            marked: self.marked.as_ref().map(|(at, _)| at.clone()),
            help: self.help,
            color: self.color,
        }
    }

    fn row(&self, life: &states::View, name: &str, end: End) -> Row {
        let statements = life.snapshot.statements();
        Row {
            key: life.key,
            name: printable(name).into_owned(),
            statements: Ratio::new(statements.covered, statements.total),
            snapshots: life.snapshots,
            fresh: self
                .marked
                .as_ref()
                .map(|_| self.fresh(life).iter().map(|(_, n)| n).sum()),
            end: match end {
                End::None => None,
                End::Exec { .. } => Some("exec".into()),
                End::Gone { status, .. } => {
                    Some(status.map_or("ended".into(), |status| status.to_string()))
                }
            },
        }
    }

    /// Functions with statements that are new since the mark; none without a mark. Of a life that
    /// began after it, everything is new.
    fn fresh(&self, life: &states::View) -> Vec<(String, u64)> {
        let Some((_, marked)) = &self.marked else {
            return Vec::new();
        };
        let before = marked.get(&life.key).map(|counters| &**counters);
        fresh(&life.meta, &life.snapshot.counters, before)
    }
}

/// The time of day, in UTC.
fn clock() -> String {
    let time = Moment::now().rfc3339();
    time.get(11..19).unwrap_or(&time).to_owned()
}

fn packages(life: &states::View) -> Vec<(String, Ratio)> {
    let names = life.meta.packages.iter().flatten();
    let names = names.map(|p| text(p.path()));
    let ratios = life.snapshot.packages().into_iter();
    let ratios = ratios.map(|s| Ratio::new(s.covered, s.total));
    let mut packages: Vec<_> = names.zip(ratios).filter(|(_, r)| r.total > 0).collect();
    packages.sort_by(|a, b| a.0.cmp(&b.0));
    packages
}

/// Functions with statements that ran in `now` and not in `before`, and how many.
fn fresh(meta: &MetaFile, now: &Counters, before: Option<&Counters>) -> Vec<(String, u64)> {
    let mut fresh = Vec::new();
    for (p, package) in meta.packages.iter().enumerate() {
        let Some(package) = package else { continue };
        for (f, function) in package.functions().enumerate() {
            let Some(now) = now.get(p, f) else { continue };
            let before = before.and_then(|b| b.get(p, f));
            if before == Some(now) {
                continue;
            }
            let ran = |i: usize| before.and_then(|b| b.get(i)).is_some_and(|n| *n > 0);
            let new = now
                .iter()
                .zip(function.units)
                .enumerate()
                .filter(|(i, (count, _))| **count > 0 && !ran(*i))
                .map(|(_, (_, unit))| u64::from(unit.statements))
                .sum();
            if new > 0 {
                fresh.push((
                    format!("{}.{}", text(package.path()), text(function.name)),
                    new,
                ));
            }
        }
    }
    fresh
}

fn text(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(bytes)).into_owned()
}
