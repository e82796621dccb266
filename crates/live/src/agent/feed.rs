//! What is still to be said of lives: the newest of each, and to whom it may be said.
//!
//! For every life the feed knows what the other side has: so a state goes out whole once a connection, and
//! after that only the functions that changed. A life is forgotten when its end is stored on the other side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use covtap_profile::go::accumulate::Counters;
use covtap_profile::go::counters::Flavor;
use covtap_profile::go::counters_writer::CounterWriter;
use covtap_profile::go::meta::MetaFile;
use covtap_tap::keep::{Arguments, counter_file, functions};
use covtap_tap::life::{Key, Last, Life};

use super::bounds::Bounds;
use super::convert::nanoseconds;
use super::frame::Body;
use super::head::{directory_head, head};
use super::message::{FromAgent, LifeHead, Selection, StateHead, WholeHead};
use super::outbox::Latest;
use super::pipe::{Output, StreamError};
use crate::around::Directory;

/// No more is put into the queue of an output while so many bytes wait there: states that are replaced
/// meanwhile need not be sent.
const FULL: usize = 1 << 20;
/// Bytes of states that are kept of lives that have ended and that nobody has fetched.
const MOST_KEPT: usize = 8 << 20;

/// What the rest of a life takes, in bytes, about.
const HEAD: usize = 1024;

/// All lives of interest.
#[derive(Default)]
pub(super) struct Feed {
    lives: BTreeMap<Key, Entry>,
    selection: Selection,
    /// What may be told whatever is selected; `None`: everything.
    bounds: Option<Bounds>,
    /// Builds whose meta-data the other side has.
    builds: BTreeSet<String>,
    /// The last serial that was given to an end: they are given in the order in which ends are told.
    serial: u64,
    /// Bytes of states of lives that have ended.
    kept: usize,
    /// Lives whose states were dropped because nobody fetched them.
    pub(super) dropped: u64,
}

/// One life.
#[derive(Default)]
struct Entry {
    /// What is said of it; `None` while only a state is known.
    head: Option<Box<LifeHead>>,
    /// Whether it may be told.
    selected: bool,
    told: bool,
    state: Option<Pending>,
    /// What it takes in memory, in bytes, once it has ended.
    size: usize,
}

/// The newest state of a life.
struct Pending {
    meta: Arc<MetaFile>,
    arguments: Arguments,
    head: StateHead,
    whole: WholeHead,
    counters: Content,
    sent: Sent,
}

/// Counters: as they are, or packed when there will be no others.
enum Content {
    Live(Arc<Counters>),
    Packed(Vec<u8>),
}

/// What the other side has of them.
enum Sent {
    Nothing,
    /// An older state.
    Older(Arc<Counters>),
    All,
}

impl Feed {
    /// Nothing is known yet, and nothing beyond these bounds will be told.
    pub(super) fn new(bounds: Option<Bounds>) -> Self {
        Self {
            bounds,
            ..Self::default()
        }
    }

    /// Another connection: nothing is there but these builds, and nothing is selected.
    pub(super) fn connect(&mut self, builds: Vec<String>) {
        self.builds = builds.into_iter().collect();
        self.select(Selection::default());
        for entry in self.lives.values_mut() {
            entry.told = false;
            if let Some(state) = &mut entry.state {
                state.sent = Sent::Nothing;
            }
        }
    }

    pub(super) fn select(&mut self, selection: Selection) {
        for entry in self.lives.values_mut() {
            entry.selected = entry.is_in(&selection, self.bounds.as_mut());
        }
        self.selection = selection;
    }

    /// A life began or ended; with its user and the directory that it would write to, once they were looked
    /// at.
    pub(super) fn life(&mut self, life: &Life, seen: Option<(Option<u32>, Directory)>) {
        let entry = self.lives.entry(life.key()).or_default();
        let mut head = Box::new(head(life));
        match (seen, &entry.head) {
            (Some((user, directory)), _) => {
                head.user = user;
                head.directory = directory_head(&directory);
            }
            (None, Some(before)) => {
                head.user = before.user;
                head.directory.clone_from(&before.directory);
            }
            (None, None) => {}
        }
        entry.head = Some(head);
        entry.selected = entry.is_in(&self.selection, self.bounds.as_mut());
        entry.told = false;
        entry.settle(&mut self.kept);
        self.drop_unfetched();
    }

    /// The newest states.
    pub(super) fn states(&mut self, states: BTreeMap<Key, Latest>) {
        for (key, latest) in states {
            let entry = self.lives.entry(key).or_default();
            let before = entry.state.take();
            let sent = before.map_or(Sent::Nothing, Pending::base);
            entry.state = Some(Pending::new(key, latest, sent));
            entry.settle(&mut self.kept);
        }
    }

    /// Ends up to this serial are stored.
    pub(super) fn stored(&mut self, serial: u64) {
        let kept = &mut self.kept;
        self.lives.retain(|_, entry| {
            let done = entry.told
                && entry
                    .head
                    .as_ref()
                    .is_some_and(|h| (1..=serial).contains(&h.serial));
            if done {
                *kept -= entry.size;
            }
            !done
        });
    }

    /// Puts everything that is new into the queue, as long as there is room. Returns whether that is all.
    pub(super) fn send(&mut self, out: &mut Output) -> Result<bool, StreamError> {
        for (key, entry) in &mut self.lives {
            let Some(head) = &entry.head else { continue };
            if !entry.selected {
                continue;
            }
            if out.waiting() >= FULL {
                return Ok(false);
            }
            let ended = head.end.is_some();
            // The state first where there will be no more: an end closes a life.
            if !entry.told && !ended {
                entry.tell(&mut self.serial, out)?;
            }
            if let Some(state) = &mut entry.state
                && !matches!(state.sent, Sent::All)
            {
                if self.builds.insert(state.whole.build.clone()) {
                    let build = state.whole.build.clone();
                    out.push(
                        &FromAgent::Meta { build },
                        Body::Meta(Arc::clone(&state.meta)),
                    )?;
                }
                state.send(*key, out)?;
            }
            if !entry.told {
                entry.tell(&mut self.serial, out)?;
            }
            entry.settle(&mut self.kept);
        }
        Ok(true)
    }

    /// Instrumented lives that run, and lives that nobody has selected.
    pub(super) fn counts(&self) -> (u64, u64) {
        let entries = || {
            self.lives
                .values()
                .filter_map(|e| Some((e, e.head.as_ref()?)))
        };
        let running = entries().filter(|(_, h)| h.end.is_none() && h.program.instrumented);
        let back = entries().filter(|(entry, _)| !entry.selected);
        (running.count() as u64, back.count() as u64)
    }

    /// Drops lives that have ended until the rest is bounded: those without a state first, then the
    /// oldest.
    fn drop_unfetched(&mut self) {
        while self.kept > MOST_KEPT {
            let ended = self.lives.iter().filter(|(_, entry)| entry.size > 0);
            let oldest = ended.min_by_key(|(_, entry)| {
                let end = entry.head.as_ref().and_then(|head| head.end.as_ref());
                (entry.state.is_some(), end.map_or(0, |end| end.at))
            });
            let Some(key) = oldest.map(|(key, _)| *key) else {
                return;
            };
            if let Some(entry) = self.lives.remove(&key) {
                self.kept -= entry.size;
                self.dropped += u64::from(entry.state.is_some());
            }
        }
    }
}

impl Entry {
    fn is_in(&self, selection: &Selection, bounds: Option<&mut Bounds>) -> bool {
        let Some(head) = &self.head else { return false };
        let place = head.cgroup.as_deref();
        selection.includes(place) && bounds.is_none_or(|bounds| bounds.allow(place))
    }

    fn tell(&mut self, serial: &mut u64, out: &mut Output) -> Result<(), StreamError> {
        if let Some(head) = &mut self.head {
            if head.end.is_some() {
                *serial += 1;
                head.serial = *serial;
            }
            out.push(&FromAgent::Life(head.clone()), Body::Bytes(Vec::new()))?;
            self.told = true;
        }
        Ok(())
    }

    /// Of a life that has ended as little as can be is kept. `kept` is what all of them take.
    fn settle(&mut self, kept: &mut usize) {
        let head = self.head.as_ref();
        if head.is_none_or(|head| head.end.is_none()) {
            return;
        }
        *kept -= self.size;
        self.size = HEAD + self.state.as_mut().map_or(0, Pending::pack);
        *kept += self.size;
    }
}

impl Pending {
    fn new(key: Key, latest: Latest, sent: Sent) -> Self {
        let state = &latest.state;
        Self {
            head: StateHead {
                life: key.into(),
                at: match &state.last {
                    Last::Running { at } | Last::Snapshot { at, .. } => Some(nanoseconds(*at)),
                    Last::Exit | Last::ExitSmaller => None,
                },
                snapshots: state.snapshots,
                dropped: state.dropped,
                whole: None,
            },
            whole: WholeHead {
                build: state.build.clone(),
                started: nanoseconds(latest.started),
                found: state.found.clone(),
                attached: nanoseconds(state.attached),
            },
            meta: latest.meta,
            arguments: latest.arguments,
            counters: Content::Live(latest.counters),
            sent,
        }
    }

    /// What the other side has when the next state comes.
    fn base(self) -> Sent {
        match (self.sent, self.counters) {
            (Sent::All, Content::Live(counters)) => Sent::Older(counters),
            (Sent::Older(counters), _) => Sent::Older(counters),
            (Sent::All | Sent::Nothing, _) => Sent::Nothing,
        }
    }

    fn file(&self, counters: &Counters) -> Vec<u8> {
        counter_file(&self.meta, counters, &self.arguments.named())
    }

    /// There will be no other state, as a rule. Returns what this one takes from now on.
    fn pack(&mut self) -> usize {
        match &self.counters {
            Content::Packed(bytes) => bytes.len(),
            // What changed is smaller, and is not sent yet.
            Content::Live(counters) if matches!(self.sent, Sent::Older(_)) => {
                2 * size_of_val(counters.values())
            }
            Content::Live(counters) => {
                let bytes = self.file(counters);
                let length = bytes.len();
                self.counters = Content::Packed(bytes);
                length
            }
        }
    }

    fn send(&mut self, key: Key, out: &mut Output) -> Result<(), StreamError> {
        let changes = match (&self.sent, &self.counters) {
            (Sent::Older(before), Content::Live(now)) => changes(&self.meta, before, now),
            _ => None,
        };
        let whole = changes.is_none();
        let body = changes.unwrap_or_else(|| match &self.counters {
            Content::Live(counters) => self.file(counters),
            Content::Packed(bytes) => bytes.clone(),
        });
        let message = FromAgent::State(StateHead {
            life: key.into(),
            whole: whole.then(|| self.whole.clone()),
            ..self.head.clone()
        });
        out.push(&message, Body::Bytes(body))?;
        self.sent = Sent::All;
        Ok(())
    }
}

/// The functions that are not what they were, as a counter file; `None` when one is gone, which such a file
/// cannot say.
fn changes(meta: &MetaFile, before: &Counters, now: &Counters) -> Option<Vec<u8>> {
    let mut out = CounterWriter::new(meta.hash, Flavor::Uleb);
    out.segment(&BTreeMap::new());
    for (package, function) in functions(meta) {
        match (before.get(package, function), now.get(package, function)) {
            (Some(_), None) => return None,
            (before, Some(now)) if before != Some(now) => {
                // Both numbers come from 32-bit fields of the meta-data.
                out.function(package as u32, function as u32, now);
            }
            _ => {}
        }
    }
    Some(out.finish())
}

#[cfg(test)]
mod tests {
    use covtap_tap::cgroup::Place;
    use covtap_tap::clock::Moment;
    use covtap_tap::life::{CoverageDirectory, End, Inspection, Tap};

    use super::*;

    fn life(pid: u32, ended: bool) -> Life {
        let at = Moment(pid.into());
        Life {
            pid,
            inner_pid: pid,
            start_ticks: 1,
            generation: 0,
            executable: "/svc".into(),
            inspection: Inspection::Failed("x".into()),
            coverage_directory: CoverageDirectory::Unset,
            began: at,
            first_seen: at,
            cgroup: None,
            added: None,
            end: if ended {
                End::Gone { at, status: None }
            } else {
                End::None
            },
            tap: Tap::None,
        }
    }

    /// How many messages it has to say.
    fn said(feed: &mut Feed) -> u64 {
        let mut out = Output::default();
        let mut lives = 0;
        assert!(feed.send(&mut out).unwrap());
        let mut bytes = Vec::new();
        out.write(&mut bytes).unwrap();
        let mut decoder = super::super::frame::Decoder::default();
        decoder.feed(&bytes);
        while let Some(frame) = decoder.next_frame().unwrap() {
            let FromAgent::Life(_) = serde_json::from_slice(&frame.head).unwrap() else {
                continue;
            };
            lives += 1;
        }
        lives
    }

    #[test]
    fn an_end_is_said_until_it_is_stored() {
        let mut feed = Feed::default();
        feed.connect(Vec::new());
        feed.select(Selection::everything());
        feed.life(&life(1, false), None);
        assert_eq!((said(&mut feed), said(&mut feed)), (1, 0));
        feed.life(&life(1, true), None);
        feed.life(&life(2, true), None);
        assert_eq!(said(&mut feed), 2);
        // The first of the two is stored; the connection is cut.
        feed.stored(1);
        feed.connect(Vec::new());
        assert_eq!(said(&mut feed), 0, "nothing is selected");
        feed.select(Selection::everything());
        assert_eq!(said(&mut feed), 1);
        feed.stored(3);
        feed.connect(Vec::new());
        feed.select(Selection::everything());
        assert_eq!((said(&mut feed), feed.kept), (0, 0));
    }

    #[test]
    fn nothing_is_said_beyond_the_bounds() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(
            folder
                .path()
                .join("shop_api_0123456789abcdef0123456789abcdef"),
        )
        .unwrap();
        let bounds = Bounds::new(["shop".to_owned()].into(), folder.path().to_owned());
        let mut feed = Feed::new(Some(bounds));
        feed.connect(Vec::new());
        for (pid, uid) in [(1, "0123456789abcdef"), (2, "fedcba9876543210")] {
            let place = Place::parse(&format!("0::/kubepods/pod{uid}{uid}/{}", "a".repeat(64)));
            assert!(place.pod.is_some());
            feed.life(
                &Life {
                    cgroup: Some(place),
                    ..life(pid, false)
                },
                None,
            );
        }
        feed.select(Selection::everything());
        assert_eq!(said(&mut feed), 1);
        assert_eq!(feed.counts().1, 1, "the other one is kept back");
    }

    #[test]
    fn what_nobody_fetches_is_bounded() {
        let mut feed = Feed::default();
        feed.connect(Vec::new());
        let many = (MOST_KEPT / HEAD) as u32 + 100;
        for pid in 1..=many {
            feed.life(&life(pid, true), None);
        }
        assert!(feed.kept <= MOST_KEPT);
        // No state was lost with them.
        assert_eq!(feed.dropped, 0);
        let last = life(many, true).key();
        assert!(feed.lives.contains_key(&last) && feed.lives.len() < many as usize);
    }
}
