//! covtap's end of the agent's protocol, against an agent that is played here.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use covtap_live::agent::frame::{Body, Decoder, GREETING, Outgoing};
use covtap_live::agent::message::{FromAgent, Selection, ToAgent};
use covtap_live::agent::remote::{Condition, News, Options, Remote};
use covtap_live::around::Directory;
use covtap_model::counter::CounterMode;
use covtap_profile::go::accumulate::{Counters, Layout, add_bytes};
use covtap_profile::go::counters::Flavor;
use covtap_profile::go::counters_writer::CounterWriter;
use covtap_profile::go::hex;
use covtap_profile::go::meta::{Function, Granularity, MetaFile, MetaUnit, Package, process_hash};
use covtap_profile::go::meta_writer::{PackageBuilder, meta_file};
use covtap_tap::clock::Moment;
use covtap_tap::life::{End, Last, Life, Status, Tap};
use serde_json::{Value, json};

/// A program's start, in nanoseconds.
const STARTED: i64 = 1_795_430_469_250_000_000;

/// A build of a package with functions of one and of two units: its hash and its meta-data.
static BUILD: LazyLock<([u8; 16], Vec<u8>)> = LazyLock::new(|| {
    let unit = |line| MetaUnit {
        start_line: line,
        start_column: 1,
        end_line: line,
        end_column: 9,
        statements: 1,
    };
    let units = [unit(1), unit(2), unit(3)];
    let mut package = PackageBuilder::new(b"m", b"m", b"m");
    for (name, units) in [(&b"A"[..], &units[..1]), (b"B", &units[1..])] {
        package.add(&Function {
            name,
            file: b"m/a.go",
            literal: false,
            units,
        });
    }
    let blob = package.finish();
    let package = Package::parse(&blob).unwrap();
    let (mode, granularity) = (CounterMode::Atomic, Granularity::PerBlock);
    let hash = process_hash(&package, &[package.hash], mode, granularity);
    (hash, meta_file(hash, &[&blob], mode, granularity))
});

fn meta() -> Vec<u8> {
    BUILD.1.clone()
}

/// Its hash, as messages name it.
fn build() -> String {
    hex(&BUILD.0)
}

/// Counters of functions of that package.
fn counters(functions: &[(u32, &[u32])]) -> Vec<u8> {
    let mut out = CounterWriter::new(BUILD.0, Flavor::Uleb);
    let named = [
        ("GOOS", "linux"),
        ("GOARCH", "arm64"),
        ("argc", "1"),
        ("argv0", "svc"),
    ];
    out.segment(&named.map(|(k, v)| (k.to_owned(), v.into())).into());
    for (function, counts) in functions {
        out.function(0, *function, counts);
    }
    out.finish()
}

/// An agent that says what it is told to.
struct Played {
    stream: UnixStream,
    decoder: Decoder,
    greeted: bool,
}

impl Played {
    fn say(&mut self, head: &Value, body: Vec<u8>) {
        let mut bytes = Vec::new();
        if !std::mem::replace(&mut self.greeted, true) {
            bytes.extend(GREETING);
        }
        let mut message = Outgoing::new(head, Body::Bytes(body)).unwrap();
        while message.write(&mut bytes) {}
        self.stream.write_all(&bytes).unwrap();
    }

    fn hello(&mut self, more: Value) {
        let now = i64::try_from(Moment::now().0).unwrap();
        let mut hello = json!({
            "kind": "hello", "protocol": {"oldest": 1, "newest": 1}, "covtap": "9.9.9",
            "agent": "first", "echo": {"asked": now, "read": now, "now": now},
        });
        let more = more.as_object().unwrap().clone();
        hello.as_object_mut().unwrap().extend(more);
        self.say(&hello, Vec::new());
    }

    /// A life of a program that counts, its build, and its first state.
    fn life(&mut self) {
        self.say(&json!({"kind": "meta", "build": build()}), meta());
        self.say(&life(), Vec::new());
        self.state(Some(1), &[(0, &[1])], Some(whole()));
    }

    fn state(&mut self, at: Option<i64>, functions: &[(u32, &[u32])], whole: Option<Value>) {
        let mut head = json!({"kind": "state", "life": [7, 99, 0], "at": at, "snapshots": 3});
        if let Some(whole) = whole {
            head["whole"] = whole;
        }
        self.say(&head, counters(functions));
    }

    /// What covtap has said.
    fn heard(&mut self) -> Vec<ToAgent> {
        self.stream.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = self.stream.read(&mut bytes) {
            self.decoder.feed(&bytes[..length]);
        }
        self.stream.set_nonblocking(false).unwrap();
        let mut messages = Vec::new();
        while let Some(frame) = self.decoder.next_frame().unwrap() {
            messages.push(serde_json::from_slice(&frame.head).unwrap());
        }
        messages
    }
}

fn life() -> Value {
    json!({
        "kind": "life", "life": [7, 99, 0], "inner_pid": 1, "executable": "/svc",
        "program": {"instrumented": true, "function_name": 12, "exit_hook": true,
                    "go": {"version": "go1.27.3", "main_package": "m", "main_module": "m"}},
        "began": 5, "first_seen": 6, "cgroup": "/pod0b7c4c3e-0d5b-4e6b-9a56-3b1c5e2f7a10",
    })
}

fn ended(last: Value) -> Value {
    let mut life = life();
    life["end"] = json!({"at": 2_000_000_000, "code": 3});
    life["tap"] = json!({"snapshots": 4, "last": last});
    life["serial"] = json!(1);
    life
}

fn whole() -> Value {
    json!({"build": build(), "started": STARTED, "found": "symbols", "attached": 7})
}

struct Both {
    folder: tempfile::TempDir,
    remote: Remote<UnixStream>,
    agent: Played,
}

impl Both {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ours, agent) = played();
        let options = Options {
            name: "kind-worker".into(),
            number: 2,
            folder: folder.path().into(),
            version: "0.1.0".into(),
        };
        Self {
            folder,
            remote: Remote::connect(ours, options).unwrap(),
            agent,
        }
    }

    /// The one life there is.
    fn only(&self) -> Life {
        let mut lives = self.remote.lives();
        assert_eq!(lives.len(), 1);
        lives.remove(0)
    }

    /// The counts of the one life's file.
    fn counts(&self) -> Vec<u32> {
        let Tap::State(state) = self.only().tap else {
            panic!("{:?}", self.only());
        };
        counts(&state.file)
    }

    fn because(&self) -> String {
        match self.remote.condition() {
            Condition::Cut { because, .. } => because.clone(),
            other => panic!("{other:?}"),
        }
    }
}

fn played() -> (UnixStream, Played) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let agent = Played {
        stream: theirs,
        decoder: Decoder::default(),
        greeted: false,
    };
    (ours, agent)
}

fn counts(file: &Path) -> Vec<u32> {
    let meta = MetaFile::parse(meta()).unwrap().0;
    let mut counters = Counters::new(Arc::new(Layout::new(&meta)));
    let bytes = std::fs::read(file).unwrap();
    assert_eq!(add_bytes(&meta, &mut counters, &bytes, file), None);
    counters.values().to_vec()
}

#[test]
fn lives_come_out_as_a_watcher_tells_them() {
    let mut both = Both::new();
    both.agent.hello(json!({}));
    both.agent.life();
    assert_eq!(both.remote.take_in(), [News::Greeted, News::Condition]);
    assert_eq!(both.counts(), [1, 0, 0]);
    let seen = both.only();
    let uid = "0b7c4c3e-0d5b-4e6b-9a56-3b1c5e2f7a10";
    let place = seen.cgroup.as_ref().unwrap();
    assert_eq!(place.pod.as_ref().map(|pod| pod.as_str()), Some(uid));
    assert_eq!((seen.pid, seen.inner_pid), (7, 1));
    assert_eq!(seen.instrumented(), Some(true));
    let state = seen.state().unwrap();
    assert_eq!(state.last, Last::Running { at: Moment(1) });
    // No other agent's file has this name.
    let build = build();
    let name = format!("{build}/covcounters.{build}.7.{}", STARTED + 2);
    assert_eq!(state.file, both.folder.path().join(name));
    let covmeta = both.folder.path().join(format!("{build}/covmeta.{build}"));
    assert_eq!(std::fs::read(covmeta).unwrap(), meta());

    both.agent.state(Some(2), &[(1, &[0, 5])], None);
    both.remote.take_in();
    assert_eq!(both.counts(), [1, 0, 5]);
    both.agent.state(None, &[(0, &[3])], None);
    both.agent.say(&ended(json!({"how": "exit"})), Vec::new());
    both.remote.take_in();
    assert_eq!(both.counts(), [3, 0, 5]);
    let life = both.only();
    let gone = End::Gone {
        at: Moment(2_000_000_000),
        status: Some(Status::Exit(3)),
    };
    assert_eq!(life.end, gone);
    let state = life.state().unwrap();
    assert_eq!((&state.last, state.snapshots), (&Last::Exit, 4));
    assert_eq!(state.found, "symbols");
    // A mark has it too.
    let mark = tempfile::tempdir().unwrap();
    assert_eq!(both.remote.mark(mark.path()).unwrap(), 1);
    let file = state.file.strip_prefix(both.folder.path()).unwrap();
    assert_eq!(counts(&mark.path().join(file)), [3, 0, 5]);

    both.agent.say(&json!({"kind": "bye"}), Vec::new());
    drop(both.agent);
    both.remote.take_in();
    assert_eq!(*both.remote.condition(), Condition::Over);
    assert!(both.remote.take_in().is_empty() && both.remote.descriptor().is_none());
}

#[test]
fn an_agent_of_tomorrow_is_understood() {
    let mut both = Both::new();
    let protocol = json!({"oldest": 1, "newest": 7, "nicest": 3});
    both.agent
        .hello(json!({"protocol": protocol, "weather": ["fair"]}));
    both.agent.life();
    let mut end = ended(json!({"how": "exit", "moon": "full"}));
    end["tomorrow"] = json!({"a": [1, 2]});
    both.agent
        .say(&json!({"kind": "song", "verse": 2}), vec![1; 70_000]);
    both.agent.say(&end, vec![9]);
    both.remote.take_in();
    assert_eq!(*both.remote.condition(), Condition::Connected);
    assert_eq!(both.counts(), [1, 0, 0]);
    assert!(!both.only().running());
}

#[test]
fn without_a_common_protocol_both_versions_are_named() {
    let mut both = Both::new();
    both.agent
        .hello(json!({"protocol": {"oldest": 4, "newest": 5}}));
    both.remote.take_in();
    assert_eq!(
        both.because(),
        "the agent on kind-worker is covtap 9.9.9 and speaks protocols 4 to 5, this is covtap 0.1.0 \
         and speaks protocol 1: use the same covtap on both ends"
    );
}

#[test]
fn what_is_no_agent_is_shown() {
    let mut both = Both::new();
    let says = b"OCI runtime exec failed: no such file\n";
    both.agent.stream.write_all(says).unwrap();
    both.remote.take_in();
    assert!(
        both.because().contains("OCI runtime exec failed"),
        "{}",
        both.because()
    );
}

/// Everything that is said after the hello, each on a connection of its own.
#[test]
fn a_hostile_agent_is_refused_in_words() {
    type Say = fn(&mut Played);
    let cases: [(&str, Say); 8] = [
        ("of nothing", |a| a.state(Some(1), &[(0, &[1])], None)),
        ("did not come", |a| {
            a.state(Some(1), &[(0, &[1])], Some(whole()));
        }),
        ("they are those of", |a| {
            a.say(&json!({"kind": "meta", "build": "00"}), meta());
        }),
        ("meta-data of build", |a| {
            a.say(&json!({"kind": "meta", "build": build()}), vec![7; 90]);
        }),
        ("cannot be read", |a| {
            a.say(&json!({"kind": "life"}), Vec::new());
        }),
        ("cannot be read", |a| a.say(&json!([1]), Vec::new())),
        ("has ended", |a| {
            a.life();
            a.say(&ended(json!({"how": "exit"})), Vec::new());
            a.state(Some(2), &[(0, &[2])], None);
        }),
        ("process 7", |a| {
            a.say(&json!({"kind": "meta", "build": build()}), meta());
            let life = json!([7, 99, 0]);
            let head = json!({"kind": "state", "life": life, "snapshots": 1, "whole": whole()});
            a.say(&head, vec![1, 2, 3]);
        }),
    ];
    for (wanted, say) in cases {
        let mut both = Both::new();
        both.agent.hello(json!({}));
        say(&mut both.agent);
        both.remote.take_in();
        assert!(
            both.because().contains(wanted),
            "{wanted}: {}",
            both.because()
        );
    }
    let mut both = Both::new();
    both.agent.life();
    both.remote.take_in();
    assert!(
        both.because().contains("before hello"),
        "{}",
        both.because()
    );
}

#[test]
fn counters_that_do_not_fit_are_left_out_and_told() {
    let mut both = Both::new();
    both.agent.hello(json!({}));
    both.agent.life();
    both.agent.state(Some(2), &[(1, &[4, 4]), (9, &[1])], None);
    let news = both.remote.take_in();
    let told = |n: &News| matches!(n, News::Problem(text) if text.contains("process 7"));
    assert!(news.iter().any(told), "{news:?}");
    assert_eq!(both.counts(), [1, 4, 4]);
}

#[test]
fn after_a_cut_the_last_state_says_how_old_it_is() {
    let mut both = Both::new();
    both.agent.hello(json!({}));
    both.agent.life();
    both.remote.take_in();
    let now = i64::try_from(Moment::now().0).unwrap();
    let read = now - 40_000_000;
    let beat = json!({"kind": "heartbeat", "now": now, "read": read});
    both.agent.say(&beat, Vec::new());
    drop(both.agent);
    both.remote.take_in();
    assert!(matches!(both.remote.condition(), Condition::Cut { .. }));
    let seen = both.remote.lives().remove(0);
    // Nothing changed between its state and the last look at it.
    let Last::Snapshot { at, because } = &seen.state().unwrap().last else {
        panic!("{seen:?}");
    };
    assert_eq!(*at, Moment(read.into()));
    let start = "the connection to the agent on kind-worker was cut ";
    let rest = because.strip_prefix(start).unwrap();
    let ago: u64 = rest.strip_suffix(" ms after it").unwrap().parse().unwrap();
    assert!(ago >= 40, "{because}");
}

#[test]
fn a_resumed_agent_says_again_what_it_has_and_nothing_counts_twice() {
    let mut both = Both::new();
    both.agent.hello(json!({}));
    both.agent.life();
    both.remote.take_in();
    both.remote.select(Selection::everything());
    let (ours, agent) = played();
    both.agent = agent;
    both.remote.take_in();
    assert!(matches!(both.remote.condition(), Condition::Cut { .. }));
    both.remote.resume(ours).unwrap();
    let said = both.agent.heard();
    let [ToAgent::Hello(hello), ToAgent::Select(selection)] = &said[..] else {
        panic!("{said:?}");
    };
    assert!(selection.everything);
    assert_eq!(hello.builds, [build()]);
    both.agent.hello(json!({}));
    both.agent.say(&life(), Vec::new());
    both.agent.state(Some(9), &[(0, &[2])], Some(whole()));
    both.remote.take_in();
    assert_eq!(both.counts(), [2, 0, 0]);
    // A third one, whose agent is another: what it does not tell of is lost.
    let (ours, agent) = played();
    both.agent = agent;
    both.remote.resume(ours).unwrap();
    both.agent
        .hello(json!({"agent": "second", "since": 1_000_000_009}));
    both.remote.take_in();
    let seen = both.only();
    let because = match &seen.state().unwrap().last {
        Last::Snapshot { because, .. } => because.as_str(),
        other => panic!("{other:?}"),
    };
    let wanted = "the agent on kind-worker was started anew 1000 ms after it";
    assert_eq!(because, wanted);
}

#[test]
fn of_a_machine_that_has_ended_the_last_state_says_how_old_it_is() {
    let mut both = Both::new();
    both.agent.hello(json!({}));
    both.agent.life();
    both.remote.take_in();
    both.remote.gone("node kind-worker was stopped");
    let seen = both.only();
    // No process is left there; how it ended nobody saw.
    let End::Gone { status: None, at } = seen.end else {
        panic!("{seen:?}");
    };
    assert!(at <= Moment::now());
    let wanted = Last::Snapshot {
        at: Moment(1),
        because: "node kind-worker was stopped".into(),
    };
    assert_eq!(seen.state().unwrap().last, wanted);
}

#[test]
fn an_agent_that_is_started_anew_tells_of_a_process_under_another_key() {
    for (counts, lives) in [([7, 0, 0], 1), ([0, 0, 0], 2)] {
        let mut both = Both::new();
        both.agent.hello(json!({}));
        let mut before = life();
        before["life"] = json!([7, 99, 1]);
        both.agent
            .say(&json!({"kind": "meta", "build": build()}), meta());
        both.agent.say(&before, Vec::new());
        let head =
            json!({"kind": "state", "life": [7, 99, 1], "at": 1, "snapshots": 3, "whole": whole()});
        both.agent.say(&head, counters(&[(0, &[5])]));
        both.remote.take_in();
        let (ours, agent) = played();
        both.agent = agent;
        both.remote.resume(ours).unwrap();
        both.agent.hello(json!({"agent": "second"}));
        // It does not know that the process ran another program before.
        both.agent.say(&life(), Vec::new());
        let functions: &[(u32, &[u32])] = &[(0, &counts[..1])];
        both.agent.state(Some(9), functions, Some(whole()));
        both.remote.take_in();
        // What has counted on is the same life; what began from nothing is another program.
        assert_eq!(both.remote.lives().len(), lives, "{counts:?}");
    }
}

#[test]
fn where_a_life_would_write_is_told_by_who_can_look() {
    let mut both = Both::new();
    both.agent.hello(json!({}));
    let mut there = life();
    there["coverage_directory"] = json!("/cov");
    there["user"] = json!(1001);
    there["directory"] = json!({"owner": [0, 0], "mode": 0o755, "writable": false});
    both.agent.say(&there, Vec::new());
    both.remote.take_in();
    let wanted = Directory::There {
        path: "/cov".into(),
        owner: (0, 0),
        mode: 0o755,
        writable: false,
    };
    let key = both.only().key();
    assert_eq!(both.remote.directory(key), Some((Some(1001), wanted)));
    // One of an older version has not looked.
    both.agent.say(&life(), Vec::new());
    both.remote.take_in();
    assert_eq!(both.remote.directory(key), Some((None, Directory::Unknown)));
}

#[test]
fn another_clock_is_taken_into_account() {
    let mut both = Both::new();
    // An hour ahead.
    let hour = 3_600_000_000_000;
    let now = i64::try_from(Moment::now().0).unwrap();
    let echo = json!({"asked": now, "read": now + hour, "now": now + hour});
    both.agent
        .hello(json!({"echo": echo, "machine": {"boot": "another"}}));
    let mut later = life();
    later["began"] = json!(now + hour);
    both.agent.say(&later, Vec::new());
    both.remote.take_in();
    let off = both.only().began.0 - i128::from(now);
    assert!(off.abs() < 60_000_000_000, "{off}");
}

#[test]
fn what_is_played_here_is_what_an_agent_says() {
    let state = json!({"kind": "state", "life": [7, 99, 0], "snapshots": 3, "dropped": 0, "at": 1,
                       "whole": whole()});
    let snapshot = json!({"how": "snapshot", "at": 1, "because": "x"});
    for head in [
        ended(snapshot),
        ended(json!({"how": "exit-smaller"})),
        state,
    ] {
        let message: FromAgent = serde_json::from_value(head.clone()).unwrap();
        let again = serde_json::to_value(&message).unwrap();
        for (field, value) in head.as_object().unwrap() {
            let mut both = (value.clone(), again[field].clone());
            if field == "end" || field == "program" {
                // What it does not say is what is absent.
                for side in [&mut both.0, &mut both.1] {
                    side.as_object_mut()
                        .unwrap()
                        .retain(|_, v| *v != json!(false));
                }
            }
            assert_eq!(both.0, both.1, "{field}");
        }
    }
}
