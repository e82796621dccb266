//! Thousands of looks at processes whose code runs for the first time: no wrong record in any.
//!
//! Each process is new, because a record is only written once. Two goroutines enter thousands of
//! functions, in an order that has nothing to do with where their counters lie, and snapshots are
//! taken as fast as they come. Every record of every snapshot has to fit, no counter may ever be
//! smaller than before, and at its end the process itself says how often everything ran: a counter
//! that the tap took for another's would be more than that.
//!
//! `COVTAP_TEST_SNAPSHOTS` is how many snapshots are taken for each version of Go.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use covtap_tap::go::{Attached, Dropped, Snapshot, SnapshotError};
use covtap_tap::image::Images;
use covtap_tap::target::Target;

use common::{Drill, Programs, command, coverage, folder, say, scratch};

/// How many snapshots of each version's programs: with three versions 5,000.
const SNAPSHOTS: usize = 1_700;

/// The least number of processes of each program.
const PROCESSES: usize = 6;

/// Turns of an empty loop between two calls, one for each process in turn: bursts of different
/// lengths.
const PAUSES: [u32; 6] = [0, 300, 1_000, 10_000, 30_000, 100_000];

/// What a program counts, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    /// Its own packages. At rest it stands still.
    Itself,
    /// Everything, the runtime too: never at rest.
    Everything,
}

const PROGRAMS: [(&str, Counts); 3] = [
    ("static/torrent", Counts::Itself),
    ("static-atomic/torrent", Counts::Itself),
    ("all/torrent", Counts::Everything),
];

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    processes: usize,
    snapshots: usize,
    /// Snapshots in which a function was seen that the one before had not.
    moving: usize,
    reads: u64,
    most_reads: u32,
    unsettled: usize,
    early: u64,
    wrong: Vec<String>,
}

impl Tally {
    /// Takes a snapshot, unless the process never came to rest, and looks at it.
    fn take(&mut self, attached: &mut Attached, last: &mut Option<Snapshot>) {
        let snapshot = match attached.snapshot() {
            Ok(snapshot) => snapshot,
            Err(SnapshotError::Unsettled { .. }) => {
                self.unsettled += 1;
                return;
            }
            Err(error) => panic!("{error}"),
        };
        self.snapshots += 1;
        self.reads += u64::from(snapshot.reads);
        self.most_reads = self.most_reads.max(snapshot.reads);
        let dropped: BTreeMap<_, _> = snapshot.dropped.clone();
        self.early += dropped.get(&Dropped::BeforePackage).unwrap_or(&0);
        if dropped.keys().any(|d| *d != Dropped::BeforePackage) {
            self.wrong.push(format!("records dropped: {dropped:?}"));
        }
        if let Some(last) = last {
            if !snapshot.at_least(last) {
                self.wrong.push("a counter is smaller than it was".into());
            }
            self.moving += usize::from(snapshot.live_functions() > last.live_functions());
        }
        *last = Some(snapshot);
    }
}

/// One process, from its start to its own word.
fn one(program: &Path, counts: Counts, number: usize, images: &Images, tally: &mut Tally) {
    let scratch = scratch();
    let scratch = scratch.path();
    let own = folder(scratch, "own");
    let mut command = command(program, scratch);
    command.env("GOCOVERDIR", &own);
    let (mut drill, mut last) = (Drill::start(command), None);
    let target = Target::find(drill.pid()).unwrap();
    let mut attached = Attached::attach(target, images).unwrap_or_else(|e| panic!("{e}"));
    tally.take(&mut attached, &mut last);
    if number % 3 == 2 {
        drill.ask("load start 1");
    }
    drill
        .talk
        .tell(&format!("burst {}", PAUSES[number % PAUSES.len()]));
    while !drill.talk.has_answer() {
        tally.take(&mut attached, &mut last);
    }
    drill.talk.answer();
    if number % 3 == 2 {
        drill.ask("load stop");
    }
    tally.take(&mut attached, &mut last);
    assert!(drill.die("die return").success());
    let (theirs, problems) = coverage::counters_and_problems(&own);
    let ours = last.unwrap();
    // What ran before its package was initialised, Go's own writer puts under the first package.
    let early = ours.dropped.contains_key(&Dropped::BeforePackage);
    assert!(early || problems.is_empty(), "{problems:?}");
    let first = if early {
        let package = attached.meta().packages[0].as_ref().unwrap();
        package.functions().map(|f| f.units.len()).sum()
    } else {
        0
    };
    let (ours, theirs) = (&ours.counters.values()[first..], &theirs.values()[first..]);
    let more = ours.iter().zip(theirs).filter(|(a, b)| a > b).count();
    if more > 0 {
        tally
            .wrong
            .push(format!("{more} counters are more than the process says"));
    }
    if counts == Counts::Itself && ours != theirs {
        tally
            .wrong
            .push("at rest, other counters than the process says".into());
    }
    tally.processes += 1;
}

/// Starts processes until there were enough snapshots.
fn soak(programs: &Programs) {
    let version = programs.version;
    let wanted = match std::env::var("COVTAP_TEST_SNAPSHOTS") {
        Ok(number) => number.parse().unwrap(),
        Err(_) => SNAPSHOTS,
    };
    for (i, (name, counts)) in PROGRAMS.into_iter().enumerate() {
        let program = programs.path(name);
        let mut tally = Tally::default();
        let images = Images::default();
        let wanted = wanted * (i + 1) / PROGRAMS.len() - wanted * i / PROGRAMS.len();
        while tally.snapshots < wanted || tally.processes < PROCESSES {
            one(&program, counts, tally.processes, &images, &mut tally);
        }
        assert!(
            tally.wrong.is_empty(),
            "Go {version}, {name}: {} wrong in {} snapshots: {:?}",
            tally.wrong.len(),
            tally.snapshots,
            &tally.wrong[..tally.wrong.len().min(20)]
        );
        // Else little was tested.
        assert!(tally.moving >= tally.processes, "{tally:?}");
        assert!(tally.unsettled <= tally.snapshots / 10, "{tally:?}");
        say(&format!(
            "Go {version}, {name}: {} snapshots of {} processes, {} amid first calls, 0 wrong; \
             {:.2} reads for each, at most {}; {} never settled; {} records before their package",
            tally.snapshots,
            tally.processes,
            tally.moving,
            tally.reads as f64 / tally.snapshots as f64,
            tally.most_reads,
            tally.unsettled,
            tally.early
        ));
    }
}

macro_rules! versions {
    ($($name:ident $version:literal)*) => {
        $(#[test]
        fn $name() {
            if let Some(programs) = Programs::of($version) {
                soak(&programs);
            }
        })*
    };
}

versions! {
    go_1_21 "1.21.13"
    go_1_22 "1.22.10"
    go_1_23 "1.23.9"
    go_1_24 "1.24.11"
    go_1_25 "1.25.5"
    go_1_26 "1.26.6"
    go_1_27 "1.27.3"
}
