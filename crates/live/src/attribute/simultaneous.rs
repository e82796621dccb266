//! Files of replicas that share a directory: each is the first process of its container, and they end in
//! the same moment when they are scaled down, so that process id and time fit all of them.
//!
//! A process that ends by itself writes one file at its end. So where so many lives without a file are left
//! as files without a life, each life has one of them, whichever it is: what they add up to is exact.

use std::collections::BTreeSet;

use covtap_tap::life::Life;

use super::{Attribution, CounterFile};

/// A file and the lives that it fits, by index.
type Open = (CounterFile, Vec<usize>);

/// Gives the files that fit several lives to these where there are as many of both; the others are
/// ambiguous.
pub(super) fn pair(lives: &[Life], open: Vec<Open>, out: &mut Attribution) {
    for group in groups(open) {
        // What came of its memory needs no file.
        let needs = |index: &usize| {
            !out.of_lives.contains_key(index)
                && lives[*index].state().is_none()
                && !lives[*index].running()
        };
        let needy: BTreeSet<usize> = group
            .iter()
            .flat_map(|(_, several)| several)
            .copied()
            .filter(needs)
            .collect();
        match matched(lives, &group, &needy) {
            Some(pairs) if needy.len() == group.len() => {
                if needy.len() > 1 {
                    out.exchangeable.extend(&needy);
                }
                for ((file, _), index) in group.into_iter().zip(pairs) {
                    out.builds
                        .insert(lives[index].executable.clone(), file.build.clone());
                    out.of_lives.entry(index).or_default().push(file);
                }
            }
            _ => out.ambiguous.extend(group),
        }
    }
}

/// Files of one build that have a life in common, each group with the last file first.
fn groups(open: Vec<Open>) -> Vec<Vec<Open>> {
    let mut groups: Vec<Vec<Open>> = Vec::new();
    for one in open {
        let related = |group: &Vec<Open>| {
            group.iter().any(|(file, several)| {
                file.build == one.0.build && several.iter().any(|index| one.1.contains(index))
            })
        };
        let (together, mut apart): (Vec<_>, Vec<_>) = groups.into_iter().partition(related);
        let mut together: Vec<Open> = together.into_iter().flatten().collect();
        together.push(one);
        apart.push(together);
        groups = apart;
    }
    for group in &mut groups {
        group.sort_by_key(|(file, _)| std::cmp::Reverse(file.time()));
    }
    groups
}

/// A life for each file, the last file first: of those that it fits the one that ended last. The later a
/// file, the fewer lives were there still, so that none is in need of what was given away before.
fn matched(lives: &[Life], group: &[Open], needy: &BTreeSet<usize>) -> Option<Vec<usize>> {
    let mut left = needy.clone();
    let choose = |(_, several): &Open| {
        let fitting = several.iter().filter(|index| left.contains(index));
        let last = *fitting.max_by_key(|index| lives[**index].end.at())?;
        left.remove(&last);
        Some(last)
    };
    group.iter().map(choose).collect()
}
