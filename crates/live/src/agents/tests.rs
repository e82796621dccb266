//! Agents behind doors that are played here.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use covtap_model::problem::{Problem, Severity};
use covtap_tap::clock::Moment;
use covtap_tap::watch::Means;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Agents, News, Options};
use crate::surroundings::{Door, Node, NodeId, Opened, Shut};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a door does when it is opened.
#[derive(Clone, Debug)]
enum Play {
    Shut {
        passing: bool,
    },
    /// The program ends at once, with this word and status.
    Ends(&'static str, i64),
    /// An agent says hello.
    Opens,
}

/// A door that does the next of these whenever it is opened.
#[derive(Debug, Default)]
struct Played {
    plays: Mutex<Vec<Play>>,
    /// The other end of what was opened last.
    agent: Mutex<Option<UnixStream>>,
    /// Whom it was opened to join.
    residents: Mutex<Vec<Option<u32>>>,
    tidied: Mutex<usize>,
}

impl Door for Played {
    fn open(&self, arguments: &[String], resident: Option<u32>) -> Result<Opened, Shut> {
        assert_eq!(arguments[0], "agent");
        self.residents.lock().unwrap().push(resident);
        let (stream, mut theirs) = UnixStream::pair().unwrap();
        let (lines, stderr) = mpsc::channel();
        let (ended, status) = mpsc::channel();
        match self.plays.lock().unwrap().remove(0) {
            Play::Shut { passing } => {
                let problem = Problem::new(Severity::Warning, "node a", "a way in", "none", "");
                return Err(Shut {
                    problem: Box::new(problem),
                    passing,
                });
            }
            Play::Ends(line, code) => {
                lines.send(line.to_owned()).unwrap();
                ended.send(code).unwrap();
            }
            Play::Opens => {
                let hello = br#"{"kind":"hello","protocol":{"oldest":1,"newest":1},"covtap":"1","agent":"x","pid":7,"echo":{"asked":0,"read":0,"now":0}}"#;
                let length = u32::try_from(hello.len()).unwrap();
                let mut bytes = b"covtap\r\n".to_vec();
                for number in [length + 8, length, 0] {
                    bytes.extend(number.to_le_bytes());
                }
                bytes.extend(hello);
                theirs.write_all(&bytes).unwrap();
                *self.agent.lock().unwrap() = Some(theirs);
            }
        }
        Ok(Opened {
            stream,
            stderr,
            status,
        })
    }

    fn tidy(&self) -> Result<(), Box<Problem>> {
        *self.tidied.lock().unwrap() += 1;
        Ok(())
    }
}

struct Drill {
    _folder: tempfile::TempDir,
    agents: Agents,
    door: Arc<Played>,
    id: NodeId,
}

impl Drill {
    fn new(plays: &[Play], asked: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut agents = Agents::new(Options {
            folder: folder.path().into(),
            version: "1".into(),
            every: Duration::from_secs(1),
            means: Means::Auto,
            began: Moment::now(),
        })
        .unwrap();
        let door = Arc::new(Played {
            plays: Mutex::new(plays.to_vec()),
            ..Played::default()
        });
        let id = NodeId {
            cluster: "kind-x".into(),
            name: "a".into(),
        };
        agents.add(Node {
            id: id.clone(),
            container: None,
            pid: None,
            asked,
            door: Arc::clone(&door) as Arc<dyn Door>,
        });
        Self {
            _folder: folder,
            agents,
            door,
            id,
        }
    }

    /// Goes on until this is so; what was told by then.
    fn until(&mut self, done: impl Fn(&Self, &[News]) -> bool) -> Vec<News> {
        let (began, mut all) = (Instant::now(), Vec::new());
        loop {
            all.extend(self.agents.take_in());
            if done(self, &all) {
                return all;
            }
            assert!(began.elapsed() < PATIENCE, "{all:?}");
            let descriptors = self.agents.descriptors();
            let mut polled: Vec<_> = descriptors
                .iter()
                .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
                .collect();
            let soon = self.agents.interval().unwrap_or(PATIENCE).min(PATIENCE);
            poll(&mut polled, Some(&Timespec::try_from(soon).unwrap())).unwrap();
        }
    }

    fn trouble(&mut self) -> Problem {
        let news = self.until(|_, news| news.iter().any(|n| matches!(n, News::Trouble(_))));
        news.into_iter()
            .find_map(|news| match news {
                News::Trouble(problem) => Some(problem),
                News::Watching(_) => None,
            })
            .unwrap()
    }
}

#[test]
fn what_cannot_run_there_is_said_at_once() {
    let ends = Play::Ends("exec /covtap: no such file or directory", 127);
    let mut drill = Drill::new(&[ends], true);
    let said = drill.trouble().to_string();
    assert!(
        said.contains("no such file or directory; it ended with status 127"),
        "{said}"
    );
    assert!(said.contains("--agent-binary"), "{said}");
    drill.until(|drill, _| *drill.door.tidied.lock().unwrap() == 1);
    let mut shut = Drill::new(&[Play::Shut { passing: false }], true);
    let problem = shut.trouble();
    assert_eq!(problem.effect, "what runs on this node is not collected");
}

#[test]
fn a_cut_connection_is_opened_again_to_the_same_agent_and_then_to_another() {
    let shut = Play::Shut { passing: true };
    let mut drill = Drill::new(&[shut, Play::Opens, Play::Opens, Play::Opens], true);
    assert!(drill.agents.is_awaited(&drill.id));
    drill.until(|_, news| matches!(news, [News::Watching(name)] if name.contains("node a")));
    assert!(!drill.agents.is_awaited(&drill.id));
    drop(drill.door.agent.lock().unwrap().take());
    drill.until(|drill, _| drill.door.agent.lock().unwrap().is_some());
    let residents = drill.door.residents.lock().unwrap().clone();
    assert_eq!(residents, [None, None, Some(7)]);
}

#[test]
fn a_node_that_nobody_asked_for_gets_none_until_a_pod_in_its_cluster_is_asked_for() {
    let mut drill = Drill::new(&[Play::Opens], false);
    drill.agents.select("another", vec!["uid".into()]);
    assert!(drill.agents.take_in().is_empty() && !drill.agents.has(&drill.id));
    drill
        .agents
        .select("kind-x", vec!["uid".into(), "other".into()]);
    drill.until(|_, news| matches!(news, [News::Watching(_)]));
    // What may be sent is said, after covtap's hello.
    let mut said = vec![0; 4096];
    let mut agent = drill.door.agent.lock().unwrap().take().unwrap();
    let length = agent.read(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said[..length]).into_owned();
    assert!(said.contains(r#""pods":["other","uid"]"#), "{said}");
    // Its node ends: there is no other try.
    drill.agents.node_ended(&drill.id);
    drop(agent);
    assert!(drill.agents.take_in().is_empty());
    drill.agents.stop();
    drill.until(|drill, _| drill.agents.left().is_none());
}
