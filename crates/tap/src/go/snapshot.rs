//! A consistent look at all counters, without stopping the process.
//!
//! ```text
//! record   units n u32, never 0 | package u32 | function u32 | n x counter u32      (at 16 bytes)
//! package  0: its package was not initialised | its place in the list + 1 | fixed: negative
//! ```
//! A function stores the three numbers at every entry, before its first counter, and nothing clears
//! them. A read takes page after page while the process goes on, so a counter may be there whose
//! header is not. What makes a read believable: **an earlier read had the same set of words that are
//! not zero.** A counter that the earlier read saw had its header stored before, so this read saw the
//! header; and as the sets are equal, this read saw no other counter. (Stores become visible in
//! their order on x86. Arm may reorder plain stores; there the time between two reads makes it
//! practically sure, and each record is compared with the meta-data on top.)
//!
//! The earlier read may be that of the last snapshot: as long as no code runs for the first time,
//! one read is enough.
//!
//! Upstream: `src/cmd/cover/cover.go` (the stores), `src/internal/coverage/defs.go` (the numbers),
//! `src/internal/coverage/cfile/emit.go` (`VisitFuncs`), `src/cmd/link/internal/ld/data.go` (places).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use covtap_profile::go::accumulate::Counters;
use covtap_profile::go::counters::{Record, Sink};
use object::pod;
use serde::Serialize;

use super::Build;
use crate::clock::Moment;
use crate::memory::{Memory, MemoryError};

/// Reads until it is said that the process never came to rest; each takes 5 to 150 microseconds.
/// Nearly all snapshots need one or two; a program that does nothing but call functions for the first
/// time was seen to need up to 786.
pub const MOST_READS: u32 = 1024;
/// Reads more when a believable read holds records that do not fit.
const READS_MORE: u32 = 3;
/// Words of a record before its counters.
const HEADER: usize = 3;
/// Records begin at multiples of this many words.
const ALIGNMENT: usize = 4;

/// Why a record was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dropped {
    /// It ran before its package was initialised, so it does not say which package that is. Happens
    /// with `-coverpkg=all` to what the runtime itself uses, in the first milliseconds.
    BeforePackage,
    /// There is no package of this number.
    NoPackage,
    /// The package has no such function, the function has another number of units, or it came twice.
    NoFunction,
    /// It does not begin where records begin.
    Misplaced,
    /// It reaches beyond the last counter: what comes behind it is not read.
    BeyondEnd,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforePackage => "ran before its package was initialised",
            Self::NoPackage => "of no package in the meta-data",
            Self::NoFunction => "does not fit the functions in the meta-data",
            Self::Misplaced => "not where records begin",
            Self::BeyondEnd => "reaches beyond the counters",
        })
    }
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// New code ran during each of the reads.
    #[error(
        "no consistent look at the counters in {reads} reads: code ran for the first time during \
         each of them"
    )]
    Unsettled {
        /// How many.
        reads: u32,
    },
    /// More packages have registered themselves than the process was thought to have: the meta-data
    /// that are known are not all.
    #[error("{now} packages have registered, not {known}: attach to the process again")]
    Grown {
        /// How many were known.
        known: usize,
        /// How many there are.
        now: u64,
    },
    /// The memory could not be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// All counters of a process at one moment. A later one replaces it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When the read began that it was made of.
    pub at: Moment,
    /// The counters, as the process had them.
    pub counters: Arc<Counters>,
    /// How often the counters were read for it.
    pub reads: u32,
    /// How many bytes that were.
    pub bytes: u64,
    /// Records that were left out, by reason.
    pub dropped: BTreeMap<Dropped, u64>,
    pub(super) build: Arc<Build>,
}

/// Statements of a package, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Statements {
    /// How many ran.
    pub covered: u64,
    /// How many there are.
    pub total: u64,
}

impl Snapshot {
    /// Whether every counter is at least what it was in `earlier`, a snapshot of the same process.
    /// If not, the process cleared its counters or its memory was taken away.
    #[must_use]
    pub fn at_least(&self, earlier: &Self) -> bool {
        self.counters.at_least(&earlier.counters)
    }

    /// How many functions ran.
    #[must_use]
    pub fn live_functions(&self) -> usize {
        self.counters.functions()
    }

    /// The statements of all packages.
    #[must_use]
    pub fn statements(&self) -> Statements {
        self.count(0..self.build.statements.len())
    }

    /// The statements of each package, in the order of the meta-data.
    #[must_use]
    pub fn packages(&self) -> Vec<Statements> {
        let bounds = self.build.first_unit.windows(2);
        bounds.map(|b| self.count(b[0]..b[1])).collect()
    }

    fn count(&self, units: Range<usize>) -> Statements {
        let counters = self.counters.values();
        let units = counters
            .iter()
            .zip(&self.build.statements)
            .take(units.end)
            .skip(units.start);
        let mut sum = Statements::default();
        for (&counter, &statements) in units {
            sum.total += u64::from(statements);
            sum.covered += u64::from(if counter == 0 { 0 } else { statements });
        }
        sum
    }
}

/// Reads the counters of one process again and again.
#[derive(Debug)]
pub(crate) struct Reader {
    addresses: Range<u64>,
    /// The last read that was accepted, or the one before the next.
    earlier: Vec<u32>,
    later: Vec<u32>,
    /// Whether `earlier` holds a read.
    primed: bool,
    /// Whether `earlier` is what the last snapshot was made of.
    accepted: bool,
}

impl Reader {
    /// A reader of the words at these addresses.
    pub(crate) fn new(addresses: Range<u64>) -> Self {
        let length = (addresses.end - addresses.start) as usize / size_of::<u32>();
        Self {
            addresses,
            earlier: vec![0; length],
            later: vec![0; length],
            primed: false,
            accepted: false,
        }
    }

    /// The bytes of the last read that was accepted.
    pub(crate) fn accepted(&self) -> Vec<u8> {
        pod::bytes_of_slice(&self.earlier).to_vec()
    }

    /// Whether every word is what it was in the read that was accepted last. One read tells.
    pub(crate) fn is_unchanged(&mut self, memory: &dyn Memory) -> Result<bool, SnapshotError> {
        if !self.accepted {
            return Ok(false);
        }
        memory.read(
            self.addresses.start,
            pod::bytes_of_slice_mut(&mut self.later),
        )?;
        let same = self.earlier == self.later;
        if same {
            memory.check()?;
        }
        Ok(same)
    }

    /// A snapshot of the build that these words count for.
    pub(crate) fn snapshot(
        &mut self,
        memory: &dyn Memory,
        build: &Arc<Build>,
    ) -> Result<Snapshot, SnapshotError> {
        self.accepted = false;
        let mut reads = 0;
        let mut more = READS_MORE;
        loop {
            let at = self.read_believably(memory, &mut reads)?;
            // Whatever is wrong with this read's records, it may be the earlier one of the next.
            let (counters, dropped) = walk(build, self.addresses.start, &self.earlier);
            let fits = dropped.keys().all(|d| *d == Dropped::BeforePackage);
            if fits || more == 0 {
                memory.check()?;
                self.accepted = fits;
                return Ok(Snapshot {
                    at,
                    counters: Arc::new(counters),
                    reads,
                    bytes: u64::from(reads) * (self.addresses.end - self.addresses.start),
                    dropped,
                    build: build.clone(),
                });
            }
            more -= 1;
        }
    }

    /// Reads until a read has the same set of words that are not zero as the one before; it is then
    /// in `earlier`. Returns when that read began.
    fn read_believably(
        &mut self,
        memory: &dyn Memory,
        reads: &mut u32,
    ) -> Result<Moment, SnapshotError> {
        while *reads < MOST_READS {
            let at = Moment::now();
            memory.read(
                self.addresses.start,
                pod::bytes_of_slice_mut(&mut self.later),
            )?;
            *reads += 1;
            let same = self.primed && same_words(&self.earlier, &self.later);
            std::mem::swap(&mut self.earlier, &mut self.later);
            self.primed = true;
            if same {
                return Ok(at);
            }
        }
        Err(SnapshotError::Unsettled { reads: *reads })
    }
}

/// Whether the same words of 32 bits are zero in both. Written for the vectoriser.
fn same_words(a: &[u32], b: &[u32]) -> bool {
    const PIECE: usize = 64;
    let differ = |a: &[u32], b: &[u32]| {
        let pairs = a.iter().zip(b);
        pairs.fold(false, |any, (a, b)| any | ((*a == 0) != (*b == 0)))
    };
    a.chunks(PIECE)
        .zip(b.chunks(PIECE))
        .all(|(a, b)| !differ(a, b))
}

/// Takes the records out of `words`, which were read at address `start`.
pub(super) fn walk(build: &Build, start: u64, words: &[u32]) -> (Counters, BTreeMap<Dropped, u64>) {
    let mut counters = Counters::new(build.layout.clone());
    counters.segment();
    let mut dropped = BTreeMap::new();
    let mut drop = |reason| *dropped.entry(reason).or_insert(0) += 1;
    let misplaced = (start / 4 % ALIGNMENT as u64) as usize;
    let mut rest = 0;
    while let Some(gap) = words[rest..].iter().position(|w| *w != 0) {
        let at = rest + gap;
        let units = words[at] as usize;
        let record = words[at..].split_at_checked(HEADER);
        let record = record.and_then(|(header, rest)| Some((header, rest.get(..units)?)));
        let Some((header, values)) = record else {
            drop(Dropped::BeyondEnd);
            break;
        };
        rest = at + HEADER + units;
        // A header alone says nothing, and may be half written.
        if values.iter().all(|v| *v == 0) {
            continue;
        }
        if !(misplaced + at).is_multiple_of(ALIGNMENT) {
            drop(Dropped::Misplaced);
            continue;
        }
        let Some(package) = build.slot(header[1]) else {
            drop(if header[1] == 0 {
                Dropped::BeforePackage
            } else {
                Dropped::NoPackage
            });
            continue;
        };
        let record = Record {
            units: header[0],
            package,
            function: header[2],
        };
        match counters.slot(record) {
            Some(slot) => slot[..units].copy_from_slice(values),
            None => drop(Dropped::NoFunction),
        }
    }
    (counters, dropped)
}
