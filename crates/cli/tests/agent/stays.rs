//! An agent that waits for whoever comes, as the pods of agents do.

use std::process::{Child, Command};

use covtap_live::agent::message::Selection;

use crate::surroundings::{Agent, Drill, inside};

/// The agent that waits.
struct Stays(Child);

impl Stays {
    fn start(flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_covtap"));
        command.args(["agent", "--stay", "--watching=poll"]);
        Self(command.args(flags).spawn().unwrap())
    }
}

impl Drop for Stays {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Somebody who comes to it.
fn join() -> Agent {
    let words = vec!["agent".to_owned(), "--join".to_owned()];
    let mut command = Command::new(env!("CARGO_BIN_EXE_covtap"));
    command.args(&words);
    Agent::of(command, words)
}

#[test]
fn one_connection_comes_after_another() {
    inside("stays::one_connection_comes_after_another", || {
        let Some(mut drill) = Drill::start("static-atomic/drill") else {
            return;
        };
        let mut stays = Stays::start(&["--linger=60s"]);
        let pid = drill.pid();
        for _ in 0..2 {
            assert!(!drill.is_traced(), "nobody is there");
            let mut agent = join();
            agent.remote.select(Selection::everything());
            agent.until("a state", |agent| agent.state(pid).is_some());
            assert_eq!(agent.remote.hello().unwrap().pid, stays.0.id());
            // Cut, it goes on: nothing is lost.
            agent.until("the tracer", |_| drill.is_traced());
            agent.cut();
            drill.ask("work 17 3");
            assert!(drill.is_traced());
            agent.resume();
            agent.read_now();
            agent.stop();
        }
        assert_eq!(stays.0.try_wait().unwrap(), None, "it waits for the next");
    });
}

#[test]
fn nothing_comes_from_beyond_the_namespaces() {
    inside("stays::nothing_comes_from_beyond_the_namespaces", || {
        let Some(drill) = Drill::start("static-atomic/drill") else {
            return;
        };
        let _stays = Stays::start(&["--namespace=shop"]);
        let mut agent = join();
        agent.remote.select(Selection::everything());
        agent.until("it is seen", |agent| agent.remote.heartbeat().lives == 1);
        agent.read_now();
        assert!(agent.remote.lives().is_empty());
        assert_eq!(agent.remote.heartbeat().kept_back, 1);
        drop(drill);
        agent.stop();
    });
}

#[test]
fn nobody_joins_where_nobody_waits() {
    inside("stays::nobody_joins_where_nobody_waits", || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_covtap"));
        let output = command
            .args(["agent", "--join"])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("no agent waits here"), "{said}");
    });
}
