//! What covtap and an agent say to each other: the heads of frames.
//!
//! ```text
//! covtap                                     agent
//!   hello ───────────────────────────────────►  versions, clock, builds that are known already
//!   ◄─────────────────────────────────── hello  versions, clock, machine, how processes are found
//!   select ──────────────────────────────────►  whose data may be sent: nothing before this
//!   ◄──────────────────────────────────── life  a life begins; again when it has ended, with a serial
//!   ◄──────────────────────────────────── meta  of a build, once a connection           body: covmeta
//!   ◄─────────────────────────────────── state  the first of a life whole, then changes  body: covcounters
//!   ◄─────────────────────────────── heartbeat  every second, and in answer to heard
//!   heard ───────────────────────────────────►  every second: the last serial that was stored
//!   every ───────────────────────────────────►  the time between two snapshots
//!   read ────────────────────────────────────►  read everything now …
//!   ◄──────────────────────────────────── read  … it is all on its way: sent before this
//!   ◄───────────────────────────────── problem  what a person should know
//!   stop ────────────────────────────────────►  so is the end of the stream
//!   ◄───────────────────────────────────── bye  the last states of all that runs were sent before this
//! ```
//!
//! **Old and new.** Each hello names the oldest and the newest protocol that its side speaks; both go on
//! with the newest that both know. A kind that is not known is passed over, and so is a field; a field that
//! is new has a default. What cannot be said so gets a new number.
//!
//! Times are nanoseconds since 1970 (UTC) by the clock of who says them.

use serde::{Deserialize, Serialize};

use covtap_tap::life::Key;

/// Protocols that this version speaks.
pub const PROTOCOLS: Protocols = Protocols {
    oldest: 1,
    newest: 1,
};

/// A range of protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocols {
    /// The oldest.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
}

impl Protocols {
    /// The newest that both know.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

/// `protocol 1`, `protocols 1 to 3`.
impl std::fmt::Display for Protocols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.oldest == self.newest {
            write!(f, "protocol {}", self.newest)
        } else {
            write!(f, "protocols {} to {}", self.oldest, self.newest)
        }
    }
}

/// Two that have no protocol in common.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{who} is covtap {theirs_version} and speaks {theirs}, this is covtap {ours_version} and speaks \
     {ours}: use the same covtap on both ends"
)]
pub struct NoCommonProtocol {
    /// The other one.
    pub who: String,
    /// Its version.
    pub theirs_version: String,
    /// What it speaks.
    pub theirs: Protocols,
    /// This one's version.
    pub ours_version: String,
    /// What this one speaks.
    pub ours: Protocols,
}

/// What covtap says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ToAgent {
    /// First of all.
    Hello(Hello),
    /// Whose data may be sent. Replaces what was said before; what was sent stays sent.
    Select(Selection),
    /// From now on every life is read so often.
    Every {
        /// In milliseconds, at least 1.
        milliseconds: u64,
    },
    /// Read everything now, and say when that is sent.
    Read {
        /// Comes back in the answer.
        id: u64,
    },
    /// Every second: covtap is there.
    Heard {
        /// Ends of lives up to this serial are stored, and need not be kept any more.
        #[serde(default)]
        serial: u64,
        /// When this was said. The next heartbeat answers.
        now: i64,
    },
    /// Read everything once more, send it, and end.
    Stop,
    /// Of a newer covtap.
    #[serde(other)]
    Unknown,
}

/// What covtap says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What it speaks.
    pub protocol: Protocols,
    /// Its version.
    pub covtap: String,
    /// When it said this.
    pub now: i64,
    /// Meta-data hashes of the builds that it has.
    #[serde(default)]
    pub builds: Vec<String>,
}

/// Whose data may be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Everybody's.
    #[serde(default)]
    pub everything: bool,
    /// Those of pods with these uids.
    #[serde(default)]
    pub pods: std::collections::BTreeSet<String>,
    /// Those of containers with these ids.
    #[serde(default)]
    pub containers: std::collections::BTreeSet<String>,
}

impl Selection {
    /// Everybody's data.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            everything: true,
            ..Self::default()
        }
    }

    /// Whether a process is meant that is at this place (see [`LifeHead::cgroup`]).
    #[must_use]
    pub fn includes(&self, place: Option<&str>) -> bool {
        if self.everything {
            return true;
        }
        let mut ids = place.unwrap_or_default().split('/').skip(1);
        ids.any(|id| match id.strip_prefix("pod") {
            Some(uid) => self.pods.contains(uid),
            None => self.containers.contains(id),
        })
    }
}

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FromAgent {
    /// In answer to covtap's.
    Hello(AgentHello),
    /// A life began or ended. Replaces what was said of it before.
    Life(Box<LifeHead>),
    /// The meta-data of a build: the body.
    Meta {
        /// Their hash, in hexadecimal.
        build: String,
    },
    /// Counters of a life: the body, a counter file as Go writes it, with the functions that changed.
    State(StateHead),
    /// It is there.
    Heartbeat(Heartbeat),
    /// What a person should know.
    Problem {
        /// One sentence.
        text: String,
    },
    /// Everything was read, and what changed was sent before this.
    Read {
        /// Which request.
        id: u64,
    },
    /// The end. What was still to be said was said before this.
    Bye,
    /// Of a newer agent.
    #[serde(other)]
    Unknown,
}

/// What an agent says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentHello {
    /// What it speaks.
    pub protocol: Protocols,
    /// Its version.
    pub covtap: String,
    /// Which agent: another one has another name.
    pub agent: String,
    /// Its process id, in its own namespace.
    #[serde(default)]
    pub pid: u32,
    /// When it began.
    #[serde(default)]
    pub since: i64,
    /// Where it runs.
    #[serde(default)]
    pub machine: Machine,
    /// How it finds processes.
    #[serde(default)]
    pub watching: String,
    /// Why not better, and what else is worth saying about that.
    #[serde(default)]
    pub notes: Vec<String>,
    /// How it answers covtap's hello.
    pub echo: Echo,
}

/// Where an agent runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The processor, as the kernel names it.
    pub architecture: String,
    /// The kernel's release.
    pub kernel: String,
    /// Tells one start of a machine from another. Two that have the same have the same clock.
    pub boot: String,
    /// Its pid namespace: `pid:[4026531836]`.
    pub pid_namespace: String,
}

/// Tells how clocks differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// When covtap said what is answered, by its clock.
    pub asked: i64,
    /// When that was read.
    pub read: i64,
    /// When this was said.
    pub now: i64,
}

/// A life: process id, start in clock ticks since boot, programs before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LifeKey(pub u32, pub u64, pub u32);

impl From<Key> for LifeKey {
    fn from(key: Key) -> Self {
        Self(key.pid, key.start_ticks, key.generation)
    }
}

impl From<LifeKey> for Key {
    fn from(LifeKey(pid, start_ticks, generation): LifeKey) -> Self {
        Self {
            pid,
            start_ticks,
            generation,
        }
    }
}

/// What is known of a life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeHead {
    /// Which.
    pub life: LifeKey,
    /// Process id as the process sees it.
    pub inner_pid: u32,
    /// Path of its executable.
    pub executable: String,
    /// What the executable told.
    pub program: ProgramHead,
    /// Where its coverage was to go: absent when that is not known, empty when nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage_directory: Option<String>,
    /// The user id that its files get, where the agent is. Absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// The directory that `coverage_directory` names, as the process sees it. Absent when it was not looked
    /// at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryHead>,
    /// When it began, at the earliest.
    pub began: i64,
    /// When it was first seen.
    pub first_seen: i64,
    /// Where it is: `/` and the ids of the containers around its pod, `/pod` and the pod's uid, `/` and the
    /// container's id, as far as there are such. Absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// How it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<EndHead>,
    /// What the tap got of it: said at its end, and at that of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tap: Option<TapHead>,
    /// Of an end: grows from each that is told to the next. 0 before.
    #[serde(default)]
    pub serial: u64,
}

/// A directory that coverage is to go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryHead {
    /// Its owner and group; absent when there is no such directory, and then the rest means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<(u32, u32)>,
    /// Its permissions, as in `chmod`.
    #[serde(default)]
    pub mode: u32,
    /// Whether the process's user may make files there.
    #[serde(default)]
    pub writable: bool,
}

/// What an executable told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramHead {
    /// Why it could not be looked at; then the rest means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Whether it counts.
    #[serde(default)]
    pub instrumented: bool,
    /// Offset in the file of the name `runtime.addCovMeta`; absent without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function_name: Option<u64>,
    /// Whether it writes its counters by itself.
    #[serde(default)]
    pub exit_hook: bool,
    /// How Go built it; absent when it is no Go program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub go: Option<GoHead>,
}

/// How Go built a program. Its settings may hold secrets and are not sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoHead {
    /// `go1.26.8`
    pub version: String,
    /// Import path of the main package.
    pub main_package: String,
    /// Path of the main module.
    pub main_module: String,
}

/// How a life ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndHead {
    /// When that was seen.
    pub at: i64,
    /// Whether the process goes on with another program.
    #[serde(default)]
    pub exec: bool,
    /// Its exit code, or
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// the signal that ended it. Neither where that was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// What the tap got of a life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapHead {
    /// Why nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// How often it was read.
    #[serde(default)]
    pub snapshots: u64,
    /// How its last state was got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastHead>,
}

/// How the last state of a life was got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum LastHead {
    /// In its exit stop.
    Exit,
    /// Its exit stop had smaller counters: the state before is kept.
    ExitSmaller,
    /// While it runs.
    Running {
        /// When.
        at: i64,
    },
    /// Some time before its end.
    Snapshot {
        /// When.
        at: i64,
        /// Why its exit stop did not tell.
        because: String,
    },
}

/// Counters of a life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHead {
    /// Whose.
    pub life: LifeKey,
    /// When they were read; absent in its exit stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    /// How often it was read.
    pub snapshots: u64,
    /// Records that did not fit the meta-data and were left out.
    #[serde(default)]
    pub dropped: u64,
    /// Of a state that is whole; the others are changes of the state before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<WholeHead>,
}

/// What is said once of the states of a life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeHead {
    /// The hash of its build's meta-data, which were sent before.
    pub build: String,
    /// When its process was started, as in the name of its counter file.
    pub started: i64,
    /// How its counters were found.
    pub found: String,
    /// When.
    pub attached: i64,
}

/// An agent is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// When this was said.
    pub now: i64,
    /// Instrumented lives that run.
    pub lives: u64,
    /// Lives whose data are kept back: nobody has selected them.
    pub kept_back: u64,
    /// Bytes of all that was sent before this.
    pub bytes: u64,
    /// Every life that runs was read at this time or later; what it had then was sent before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<i64>,
    /// The answer to `heard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<Echo>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_protocol_is_used() {
        let range = |oldest, newest| Protocols { oldest, newest };
        assert_eq!(range(1, 3).common(range(2, 5)), Some(3));
        assert_eq!(range(2, 5).common(range(1, 3)), Some(3));
        assert_eq!(range(1, 1).common(range(2, 5)), None);
        assert_eq!(range(1, 1).to_string(), "protocol 1");
        assert_eq!(range(1, 2).to_string(), "protocols 1 to 2");
    }

    #[test]
    fn what_a_newer_side_says_more_is_passed_over() {
        let kind: ToAgent = serde_json::from_str(r#"{"kind":"dance","steps":[1,{}]}"#).unwrap();
        assert_eq!(kind, ToAgent::Unknown);
        let field = r#"{"kind":"read","id":7,"colour":"red"}"#;
        assert_eq!(
            serde_json::from_str::<FromAgent>(field).unwrap(),
            FromAgent::Read { id: 7 }
        );
        // What an older one did not say yet.
        let beat: FromAgent = serde_json::from_str(r#"{"kind":"heartbeat"}"#).unwrap();
        assert_eq!(beat, FromAgent::Heartbeat(Heartbeat::default()));
        assert!(serde_json::from_str::<FromAgent>(r#"{"kind":"read"}"#).is_err());
    }

    #[test]
    fn selected_is_what_was_named_and_nothing_else() {
        let pods = Selection {
            pods: ["7c4c".to_owned(), String::new()].into(),
            ..Selection::default()
        };
        assert!(pods.includes(Some("/a1/pod7c4c/b2")));
        assert!(!pods.includes(Some("/a1/pod7c4/b2")) && !pods.includes(Some("/7c4c")));
        assert!(!pods.includes(Some("")) && !pods.includes(None));
        let containers = Selection {
            containers: ["a1".to_owned()].into(),
            ..Selection::default()
        };
        // A node means everything that is in it.
        assert!(containers.includes(Some("/a1/pod7c4c/b2")) && !containers.includes(Some("/b2")));
        assert!(Selection::everything().includes(None));
        assert!(!Selection::default().includes(Some("/")));
    }
}
