//! `covtap agent` as a program, and the end of it that covtap has.
//!
//! An agent watches all of its machine. So that this is not the machine of other tests, each test runs in a
//! pid namespace of its own, with everything that it starts.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../programs/mod.rs"]
mod programs;
mod reads;
mod stays;
mod surroundings;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use covtap_live::agent::message::Selection;
use covtap_live::agent::remote::{Condition, News};
use covtap_tap::life::{End, Last, Status, Tap};

use surroundings::{Agent, Drill, counts, inside};

#[test]
fn states_are_what_the_program_itself_would_write() {
    inside("states_are_what_the_program_itself_would_write", || {
        let ends = [
            ("exit 3", Status::Exit(3)),
            ("return", Status::Exit(0)),
            ("panic", Status::Exit(2)),
            ("sigkill", Status::Signal(9)),
        ];
        let Some(mut agent) = Agent::start(&[]) else {
            return;
        };
        agent.remote.select(Selection::everything());
        for (way, status) in ends {
            let Some(mut drill) = Drill::start("static-atomic/drill") else {
                return;
            };
            let pid = drill.pid();
            agent.until("a state", |agent| agent.state(pid).is_some());
            // The first is not the last: what runs now comes as changes.
            drill.ask("work 17 3");
            let reference = agent.folder.path().join(format!("reference-{pid}"));
            fs::create_dir(&reference).unwrap();
            drill.ask(&format!("dump {}", reference.display()));
            agent.read_now();
            let state = agent.state(pid).unwrap();
            assert!(matches!(state.last, Last::Running { .. }), "{state:?}");
            assert_eq!(
                counts(&state.file),
                counts(&reference),
                "running, then {way}"
            );
            agent.until("the tracer", |_| drill.is_traced());
            drill.die(way);
            agent.until("its end", |agent| !agent.life(pid).unwrap().running());
            let life = agent.life(pid).unwrap();
            assert!(
                matches!(life.end, End::Gone { status: Some(s), .. } if s == status),
                "{life:?}"
            );
            let state = life.state().unwrap();
            assert_eq!(state.last, Last::Exit, "{way}");
            let (last, before) = (counts(&state.file), counts(&reference));
            let grown = last
                .iter()
                .zip(&before)
                .all(|(last, before)| last >= before);
            assert!(grown && last.len() == before.len(), "{way}");
        }
        agent.stop();
    });
}

#[test]
fn an_idle_process_costs_heartbeats_only_and_a_changed_counter_little() {
    inside(
        "an_idle_process_costs_heartbeats_only_and_a_changed_counter_little",
        || {
            let Some(mut agent) = Agent::start(&[]) else {
                return;
            };
            agent.remote.select(Selection::everything());
            let Some(mut drill) = Drill::start("static-atomic/drill") else {
                return;
            };
            let pid = drill.pid();
            agent.until("a state", |agent| agent.state(pid).is_some());
            agent.read_now();
            let snapshots = |agent: &Agent| agent.remote.heartbeat().read;
            let beats = |agent: &mut Agent, count: u32| {
                let before = agent.remote.bytes();
                for _ in 0..count {
                    let read = snapshots(agent);
                    agent.until("a heartbeat", |agent| snapshots(agent) != read);
                }
                agent.remote.bytes() - before
            };
            beats(&mut agent, 1);
            let idle = beats(&mut agent, 3);
            assert!(idle < 3 * 2 * 300, "{idle} bytes in three heartbeats");
            let before = agent.remote.bytes();
            drill.ask("work 17 3");
            agent.read_now();
            let change = agent.remote.bytes() - before;
            assert!((1..1000).contains(&change), "{change} bytes for a change");
            programs::say(&format!(
                "agent: {idle} bytes in three idle heartbeats, {change} for a change"
            ));
        },
    );
}

#[test]
fn a_changed_counter_is_here_within_a_second_and_an_end_at_once() {
    inside(
        "a_changed_counter_is_here_within_a_second_and_an_end_at_once",
        || {
            let Some(mut agent) = Agent::start(&["--every=500ms"]) else {
                return;
            };
            agent.remote.select(Selection::everything());
            let Some(mut drill) = Drill::start("static-atomic/drill") else {
                return;
            };
            let pid = drill.pid();
            agent.until("a state", |agent| agent.state(pid).is_some());
            agent.read_now();
            agent.until("the tracer", |_| drill.is_traced());
            let file = agent.state(pid).unwrap().file;
            let before = counts(&file);
            let asked = Instant::now();
            drill.ask("work 17 3");
            agent.until("a change", |_| counts(&file) != before);
            let change = asked.elapsed();
            let asked = Instant::now();
            drill.die("sigkill");
            agent.until("its end", |agent| !agent.life(pid).unwrap().running());
            let end = asked.elapsed();
            programs::say(&format!(
                "agent: a change was here after {change:?}, an end after {end:?}"
            ));
            // Generous: other tests have the processors too.
            assert!(change < Duration::from_secs(5) && end < Duration::from_secs(5));
        },
    );
}

#[test]
fn what_is_not_selected_stays_where_it_is() {
    inside("what_is_not_selected_stays_where_it_is", || {
        let Some(mut agent) = Agent::start(&[]) else {
            return;
        };
        let Some(drill) = Drill::start("static-atomic/drill") else {
            return;
        };
        let pid = drill.pid();
        agent.until("it is seen", |agent| agent.remote.heartbeat().lives == 1);
        agent.until("the tracer", |_| drill.is_traced());
        agent.remote.select(Selection {
            containers: ["another".to_owned()].into(),
            ..Selection::default()
        });
        drill.die("exit 4");
        agent.until("its end is seen", |agent| {
            agent.remote.heartbeat().lives == 0
        });
        agent.read_now();
        assert!(agent.remote.lives().is_empty());
        assert!(agent.remote.heartbeat().kept_back > 0);
        agent.remote.select(Selection::everything());
        agent.until("it is told", |agent| {
            agent.life(pid).is_some_and(|l| !l.running())
        });
        let life = agent.life(pid).unwrap();
        assert_eq!(life.state().unwrap().last, Last::Exit);
        // It was stored: the agent forgets it.
        agent.until("it is forgotten", |agent| {
            agent.remote.heartbeat().kept_back == 0
        });
        agent.stop();
    });
}

#[test]
fn a_cut_connection_is_taken_up_by_a_second_agent() {
    inside("a_cut_connection_is_taken_up_by_a_second_agent", || {
        let Some(mut agent) = Agent::start(&["--linger=60s"]) else {
            return;
        };
        agent.remote.select(Selection::everything());
        let Some(mut stays) = Drill::start("static-atomic/drill") else {
            return;
        };
        let Some(goes) = Drill::start("static-atomic/drill") else {
            return;
        };
        let (first, second) = (stays.pid(), goes.pid());
        for pid in [first, second] {
            agent.until("a state", |agent| agent.state(pid).is_some());
        }
        agent.until("the tracers", |_| stays.is_traced() && goes.is_traced());
        // A third has no business here.
        let busy = Agent::another(&[]).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&busy.stderr);
        assert_eq!(busy.status.code(), Some(2), "{said}");
        assert!(
            said.contains("an agent runs here already: process "),
            "{said}"
        );

        let before = agent.state(second).unwrap().snapshots;
        agent.cut();
        goes.die("sigkill");
        stays.ask("work 17 3");
        agent.resume();
        assert_eq!(agent.remote.hello().map(|h| h.pid), Some(agent.pid()));
        agent.until("the end", |agent| !agent.life(second).unwrap().running());
        let state = agent.state(second).unwrap();
        assert_eq!(state.last, Last::Exit);
        assert!(state.snapshots > before);
        let reference = agent.folder.path().join("reference");
        fs::create_dir(&reference).unwrap();
        stays.ask(&format!("dump {}", reference.display()));
        agent.read_now();
        assert_eq!(
            counts(&agent.state(first).unwrap().file),
            counts(&reference)
        );
        agent.stop();
        assert!(!stays.is_traced());
    });
}

#[test]
fn stop_reads_what_runs_once_more_and_lets_it_go() {
    inside("stop_reads_what_runs_once_more_and_lets_it_go", || {
        let Some(mut agent) = Agent::start(&[]) else {
            return;
        };
        agent.remote.select(Selection::everything());
        let Some(mut drill) = Drill::start("static-atomic/drill") else {
            return;
        };
        let pid = drill.pid();
        agent.until("a state", |agent| agent.state(pid).is_some());
        drill.ask("work 17 3");
        let reference = agent.folder.path().join("reference");
        fs::create_dir(&reference).unwrap();
        drill.ask(&format!("dump {}", reference.display()));
        agent.stop();
        let life = agent.life(pid).unwrap();
        assert!(life.running());
        let state = life.state().unwrap();
        assert!(matches!(state.last, Last::Running { .. }), "{state:?}");
        assert_eq!(counts(&state.file), counts(&reference));
        assert!(!drill.is_traced());
        drill.ask("work 17 3");
    });
}

#[test]
fn the_end_of_its_input_ends_an_agent() {
    inside("the_end_of_its_input_ends_an_agent", || {
        let Some(mut agent) = Agent::start(&[]) else {
            return;
        };
        let Some(mut drill) = Drill::start("static-atomic/drill") else {
            return;
        };
        agent.until("it is seen", |agent| agent.remote.heartbeat().lives == 1);
        agent.cut();
        assert_eq!(agent.wait().code(), Some(0));
        assert!(!drill.is_traced());
        drill.ask("work 17 3");
    });
}

#[test]
fn a_killed_agent_leaves_everything_running() {
    inside("a_killed_agent_leaves_everything_running", || {
        let Some(mut agent) = Agent::start(&[]) else {
            return;
        };
        agent.remote.select(Selection::everything());
        let Some(mut drill) = Drill::start("static-atomic/drill") else {
            return;
        };
        let pid = drill.pid();
        agent.until("a state", |agent| agent.state(pid).is_some());
        agent.until("the tracer", |_| drill.is_traced());
        agent.kill();
        assert_eq!(agent.wait().signal(), Some(9));
        agent.until("it is seen", |agent| {
            matches!(agent.remote.condition(), Condition::Cut { .. })
        });
        assert!(!drill.is_traced());
        drill.ask("work 17 3");
        let Last::Snapshot { because, .. } = agent.state(pid).unwrap().last else {
            panic!("{:?}", agent.life(pid));
        };
        assert!(
            because.starts_with("the connection to the agent on here was cut"),
            "{because}"
        );
        // Nobody has to clean up: the next one begins anew.
        agent.start_again();
        agent.until("a state", |agent| {
            matches!(agent.state(pid).map(|s| s.last), Some(Last::Running { .. }))
        });
        agent.stop();
    });
}

#[test]
fn a_means_that_is_not_to_be_had_is_said_over_the_wire() {
    inside(
        "a_means_that_is_not_to_be_had_is_said_over_the_wire",
        || {
            // In a pid namespace the kernel tells nobody of processes.
            let Some(mut agent) = Agent::start(&["--watching=events"]) else {
                return;
            };
            let mut problem = None;
            agent.until("its end", |agent| {
                for news in agent.news.drain(..) {
                    if let News::Problem(text) = news {
                        problem = Some(text);
                    }
                }
                *agent.remote.condition() == Condition::Over
            });
            let problem = problem.unwrap();
            assert!(
                problem.starts_with("the agent cannot watch processes"),
                "{problem}"
            );
            assert_eq!(agent.wait().code(), Some(2));
        },
    );
}

#[test]
fn programs_of_others_than_go_are_not_told_and_those_without_counters_are() {
    inside(
        "programs_of_others_than_go_are_not_told_and_those_without_counters_are",
        || {
            let Some(mut agent) = Agent::start(&[]) else {
                return;
            };
            agent.remote.select(Selection::everything());
            // The launcher is Go and not instrumented; it waits for its input.
            let Some(drill) = Drill::start("static-atomic/drill") else {
                return;
            };
            let mut sleep = std::process::Command::new("sleep")
                .arg("60")
                .spawn()
                .unwrap();
            let pid = drill.pid();
            agent.until("a state", |agent| agent.state(pid).is_some());
            agent.read_now();
            assert!(agent.life(sleep.id()).is_none());
            // covtap itself is no Go program either.
            assert!(agent.life(agent.pid()).is_none());
            sleep.kill().unwrap();
            sleep.wait().unwrap();
            let life = agent.life(pid).unwrap();
            assert!(matches!(life.tap, Tap::State(_)));
            assert!(
                agent
                    .remote
                    .lives()
                    .iter()
                    .all(|seen| seen.cgroup.is_some())
            );
            agent.stop();
        },
    );
}
