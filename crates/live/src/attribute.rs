//! Which coverage file was written by which process life.
//!
//! A counter file's name says the build (meta-data hash), the process id as the process saw it and
//! the time of writing. A file belongs to the life with that process id that existed at that time.
//! Where several fit (process ids in namespaces repeat), the build decides if another file has told
//! which build an executable is. Replicas that share a directory and end in the same moment have one file
//! each, whichever it is; what is then still open stays open and is said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use covtap_profile::go::directory::{CounterFileName, Pod};

use covtap_tap::cgroup::ContainerId;
use covtap_tap::clock::Moment;
use covtap_tap::life::Life;

mod simultaneous;

/// Start times are known to 10 ms and boot time to 10 ms; the rest is generosity.
const SLACK: u32 = 100;

/// One counter file with its build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterFile {
    /// Hash of its meta-data.
    pub build: String,
    /// Its name, taken apart.
    pub name: CounterFileName,
}

impl CounterFile {
    fn time(&self) -> Moment {
        Moment(i128::try_from(self.name.nanoseconds).unwrap_or(i128::MAX))
    }
}

/// Who wrote what.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    /// For each life that wrote counter files, by index: its files, the oldest first.
    pub of_lives: BTreeMap<usize, Vec<CounterFile>>,
    /// Files of lives that nobody saw: one entry a process id and build, the oldest file first.
    pub unseen: Vec<Vec<CounterFile>>,
    /// Lives whose files are theirs or those of others that ended in the same moment: each has one of
    /// them.
    pub exchangeable: BTreeSet<usize>,
    /// Files that fit several lives (by index).
    pub ambiguous: Vec<(CounterFile, Vec<usize>)>,
    /// Files from before the run.
    pub older: Vec<CounterFile>,
    /// The build of each executable that is known by now.
    pub builds: BTreeMap<PathBuf, String>,
}

/// Finds the writers of all counter files of `pods`. `began` is the run's start; `homes` are the
/// containers that directories belong to, by their number ([`CounterFileName::origin`]): only a life of
/// that container has written there.
#[must_use]
pub fn attribute(
    lives: &[Life],
    pods: &[Pod],
    homes: &BTreeMap<usize, ContainerId>,
    began: Moment,
) -> Attribution {
    let mut out = Attribution::default();
    let mut open = Vec::new();
    let mut strangers: BTreeMap<(String, u64, usize), Vec<CounterFile>> = BTreeMap::new();
    for (file, homes) in files(pods, homes) {
        // The same clock made both times.
        if file.time() < began {
            out.older.push(file);
            continue;
        }
        match candidates(lives, &file, &homes).as_slice() {
            [] => {
                let key = (file.build.clone(), file.name.pid, file.name.origin);
                strangers.entry(key).or_default().push(file);
            }
            [index] => {
                out.builds
                    .insert(lives[*index].executable.clone(), file.build.clone());
                out.of_lives.entry(*index).or_default().push(file);
            }
            several => open.push((file, several.to_vec())),
        }
    }
    let mut left = Vec::new();
    for (file, several) in open {
        let of_build = |index: &usize| {
            out.builds
                .get(&lives[*index].executable)
                .is_none_or(|build| *build == file.build)
        };
        let fitting: Vec<usize> = several.iter().copied().filter(of_build).collect();
        match fitting.as_slice() {
            [index] => out.of_lives.entry(*index).or_default().push(file),
            [] => left.push((file, several)),
            _ => left.push((file, fitting)),
        }
    }
    simultaneous::pair(lives, left, &mut out);
    for files in out.of_lives.values_mut() {
        files.sort_by_key(CounterFile::time);
    }
    out.unseen = strangers.into_values().collect();
    for files in &mut out.unseen {
        files.sort_by_key(CounterFile::time);
    }
    out
}

/// All counter files with the containers in whose directories they lie. Files of one name are one file:
/// a directory that two containers share was copied for each.
fn files(
    pods: &[Pod],
    homes: &BTreeMap<usize, ContainerId>,
) -> Vec<(CounterFile, BTreeSet<ContainerId>)> {
    let mut found: Vec<(CounterFile, BTreeSet<ContainerId>)> = Vec::new();
    for pod in pods {
        let mut of_names: BTreeMap<(u64, u128), usize> = BTreeMap::new();
        for name in &pod.counters {
            let index = *of_names
                .entry((name.pid, name.nanoseconds))
                .or_insert_with(|| {
                    let file = CounterFile {
                        build: pod.tag.clone(),
                        name: name.clone(),
                    };
                    found.push((file, BTreeSet::new()));
                    found.len() - 1
                });
            found[index].1.extend(homes.get(&name.origin).cloned());
        }
    }
    found
}

/// Whether a life may have written a counter file of this name: the process id that it sees, and the time in
/// nanoseconds since 1970.
pub(crate) fn may_have_written(life: &Life, pid: u64, nanoseconds: u128) -> bool {
    let time = Moment(i128::try_from(nanoseconds).unwrap_or(i128::MAX));
    u64::from(life.inner_pid) == pid
        && life.instrumented() != Some(false)
        && life.began.before(SLACK) <= time
        && life.end.at().is_none_or(|end| time <= end.after(SLACK))
}

/// The lives that may have written a file.
fn candidates(lives: &[Life], file: &CounterFile, homes: &BTreeSet<ContainerId>) -> Vec<usize> {
    let at_home = |life: &Life| {
        homes.is_empty()
            || life
                .container()
                .is_some_and(|container| homes.contains(container))
    };
    let fits =
        |life: &Life| may_have_written(life, file.name.pid, file.name.nanoseconds) && at_home(life);
    let mut found: Vec<usize> = (0..lives.len()).filter(|i| fits(&lives[*i])).collect();
    // A life of a known instrumented program beats one of a program nobody could look at.
    if found.iter().any(|i| lives[*i].instrumented() == Some(true)) {
        found.retain(|i| lives[*i].instrumented() == Some(true));
    }
    found
}

/// The builds whose meta-data lie in the run's directories and that no counter file has tied to an
/// executable.
#[must_use]
pub fn unclaimed<'a>(pods: &'a [Pod], attribution: &Attribution) -> BTreeSet<&'a str> {
    let claimed: BTreeSet<&str> = attribution.builds.values().map(String::as_str).collect();
    pods.iter()
        .map(|pod| pod.tag.as_str())
        .filter(|tag| !claimed.contains(tag))
        .collect()
}

/// Base name of a file, for ledgers.
#[must_use]
pub fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use covtap_tap::cgroup::Place;
    use covtap_tap::life::{CoverageDirectory, End, Inspection, Tap};

    fn life(pid: u32, executable: &str, began: i128, ended: Option<i128>) -> Life {
        Life {
            pid,
            inner_pid: pid,
            start_ticks: 0,
            generation: 0,
            executable: executable.into(),
            inspection: Inspection::Failed("test".into()),
            coverage_directory: CoverageDirectory::Unknown,
            began: Moment(began * 1_000_000_000),
            first_seen: Moment(began * 1_000_000_000),
            cgroup: None,
            added: None,
            end: ended.map_or(End::None, |at| End::Gone {
                at: Moment(at * 1_000_000_000),
                status: None,
            }),
            tap: Tap::None,
        }
    }

    fn pod(build: &str, files: &[(u64, u128)]) -> Pod {
        Pod {
            tag: build.into(),
            meta: format!("covmeta.{build}").into(),
            counters: files
                .iter()
                .map(|(pid, seconds)| CounterFileName {
                    origin: 0,
                    path: format!("covcounters.{build}.{pid}.{seconds}").into(),
                    pid: *pid,
                    nanoseconds: seconds * 1_000_000_000,
                })
                .collect(),
        }
    }

    const BEGAN: Moment = Moment(10_000_000_000);

    fn attribute(lives: &[Life], pods: &[Pod], began: Moment) -> Attribution {
        super::attribute(lives, pods, &BTreeMap::new(), began)
    }

    #[test]
    fn pid_and_time_decide() {
        let lives = [life(7, "/a", 11, Some(20)), life(7, "/b", 30, Some(40))];
        let found = attribute(
            &lives,
            &[pod("aa", &[(7, 20)]), pod("bb", &[(7, 39)])],
            BEGAN,
        );
        assert_eq!(found.of_lives[&0][0].build, "aa");
        assert_eq!(found.of_lives[&1][0].build, "bb");
        assert!(found.ambiguous.is_empty() && found.unseen.is_empty());
    }

    #[test]
    fn a_life_that_nobody_saw_is_known_by_its_files() {
        let found = attribute(&[], &[pod("aa", &[(7, 12), (8, 13), (7, 11)])], BEGAN);
        let names: Vec<Vec<u64>> = found
            .unseen
            .iter()
            .map(|f| f.iter().map(|f| f.name.pid).collect())
            .collect();
        assert_eq!(names, [vec![7, 7], vec![8]]);
        assert!(found.unseen[0][0].name.nanoseconds < found.unseen[0][1].name.nanoseconds);
    }

    #[test]
    fn files_from_before_the_run_are_told_apart() {
        let found = attribute(&[life(7, "/a", 9, None)], &[pod("aa", &[(7, 9)])], BEGAN);
        assert_eq!(found.older.len(), 1);
        assert!(found.of_lives.is_empty());
    }

    #[test]
    fn the_build_decides_between_namespaces() {
        // Two containers, both with process 1; another life of /a has told its build.
        let mut lives = [
            life(100, "/a", 11, Some(20)),
            life(200, "/b", 11, Some(20)),
            life(300, "/a", 11, Some(20)),
            life(400, "/b", 11, Some(20)),
        ];
        lives[0].inner_pid = 1;
        lives[1].inner_pid = 1;
        let told = [
            pod("aa", &[(300, 15), (1, 19)]),
            pod("bb", &[(400, 15), (1, 18)]),
        ];
        let found = attribute(&lives, &told, BEGAN);
        assert_eq!(found.of_lives[&0][0].build, "aa");
        assert_eq!(found.of_lives[&1][0].build, "bb");
        // Of two processes that may have written one file, nobody knows which did.
        let untold = [pod("aa", &[(1, 19)])];
        let found = attribute(&lives, &untold, BEGAN);
        assert_eq!(found.ambiguous.len(), 1);
        assert_eq!(found.ambiguous[0].1, [0, 1]);
    }

    #[test]
    fn meta_data_that_nobody_claims_are_listed() {
        let lives = [life(7, "/a", 11, None)];
        let pods = [pod("aa", &[(7, 12)]), pod("bb", &[])];
        let found = attribute(&lives, &pods, BEGAN);
        assert_eq!(
            unclaimed(&pods, &found).into_iter().collect::<Vec<_>>(),
            ["bb"]
        );
    }

    /// Two replicas, each the first process of its container.
    fn replicas() -> [Life; 2] {
        let replica = |pid, digit: &str, end| {
            let mut life = life(pid, "/a", 11, Some(end));
            life.inner_pid = 1;
            life.cgroup = Some(Place {
                container: ContainerId::new(&digit.repeat(64)),
                ..Place::default()
            });
            life
        };
        [replica(100, "a", 20), replica(200, "b", 21)]
    }

    fn home(digit: &str) -> ContainerId {
        ContainerId::new(&digit.repeat(64)).unwrap()
    }

    #[test]
    fn a_file_in_the_directory_of_a_container_is_of_that_container() {
        let mut pods = [pod("aa", &[(1, 19), (1, 18)])];
        pods[0].counters[1].origin = 1;
        let homes = BTreeMap::from([(0, home("a")), (1, home("b"))]);
        let found = super::attribute(&replicas(), &pods, &homes, BEGAN);
        assert_eq!(found.of_lives[&0][0].name.nanoseconds, 19_000_000_000);
        assert_eq!(found.of_lives[&1][0].name.nanoseconds, 18_000_000_000);
        assert!(found.exchangeable.is_empty());
    }

    #[test]
    fn replicas_that_share_a_directory_have_one_file_each() {
        // Copied for both, and given with --files as well.
        let mut pods = [pod("aa", &[(1, 18), (1, 19), (1, 18), (1, 19), (1, 18)])];
        for (number, name) in pods[0].counters.iter_mut().enumerate() {
            name.origin = number / 2;
        }
        let homes = BTreeMap::from([(0, home("a")), (1, home("b"))]);
        let found = super::attribute(&replicas(), &pods, &homes, BEGAN);
        let times = |index| -> Vec<u128> {
            let files = found.of_lives[&index].iter();
            files.map(|f| f.name.nanoseconds / 1_000_000_000).collect()
        };
        assert_eq!((times(0), times(1)), (vec![18], vec![19]));
        assert_eq!(found.exchangeable, BTreeSet::from([0, 1]));
        assert!(found.ambiguous.is_empty() && found.unseen.is_empty());
        // One that ended later is told by its file, and so is the other.
        let mut lives = replicas();
        lives[1].end = End::Gone {
            at: Moment(30_000_000_000),
            status: None,
        };
        let found = attribute(&lives, &[pod("aa", &[(1, 19), (1, 29)])], BEGAN);
        assert_eq!(found.of_lives[&0].len() + found.of_lives[&1].len(), 2);
        assert!(found.ambiguous.is_empty());
        // A third file: nobody can tell.
        let three = [pod("aa", &[(1, 17), (1, 18), (1, 19)])];
        let found = attribute(&replicas(), &three, BEGAN);
        assert_eq!(found.ambiguous.len(), 3);
    }
}
