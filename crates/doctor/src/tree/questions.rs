//! What rules ask of a repository as a whole.

use std::collections::{BTreeSet, HashMap, HashSet};

use covtap_model::facts::repository::{Flow, FlowKind, Package, Repository, Step, is_open};
use covtap_model::finding::Evidence;

use super::{
    Act, ENGINES, ImageBuild, Service, Tree, User, act, build, chain, concerns_coverage, line,
    says_cover,
};

/// Folders whose programs are no services.
const TOOLS: [&str; 9] = [
    "test",
    "tests",
    "e2e",
    "hack",
    "tools",
    "examples",
    "example",
    "scripts",
    "internal/tools",
];

impl ImageBuild<'_> {
    /// Whether it is given coverage by an argument, whatever the Dockerfile does with it.
    pub(crate) fn covers(&self) -> bool {
        !self.covering().is_empty()
    }

    /// Whether what it is given makes a build count.
    pub(crate) fn reaches(&self, build: &build::GoBuild<'_>) -> bool {
        match &build.cover {
            build::Cover::Yes => true,
            build::Cover::Argument(name) => self.covering().contains(&name.as_str()),
            _ => false,
        }
    }

    /// The arguments that say so.
    pub(crate) fn covering(&self) -> Vec<&str> {
        let given = |name: &str| {
            let of_step = self
                .step
                .environment
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_str());
            let of_flow = || {
                self.flow
                    .environment
                    .iter()
                    .find(|v| v.name == name)?
                    .value
                    .as_deref()
            };
            of_step.or_else(of_flow)
        };
        let covers = |(_, value): &&(String, String)| {
            let named = value.trim_matches(['$', '{', '}']);
            says_cover([value.as_str()].into_iter())
                || (is_open(value) && given(named).is_some_and(|v| says_cover([v].into_iter())))
        };
        self.arguments
            .iter()
            .filter(covers)
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Whether it can only make an image without coverage, as far as its own words go.
    pub(crate) fn is_plain(&self) -> bool {
        let decided = |(name, value): &(String, String)| {
            !is_open(value) || !(name.contains("FLAGS") || name.contains("COV"))
        };
        let built = self
            .dockerfile
            .is_none_or(|d| build::go_builds(d).all(|b| b.cover != build::Cover::Yes));
        !self.covers() && !self.open && built && self.arguments.iter().all(decided)
    }
}

impl<'a> Tree<'a> {
    /// Whether something writes counters while the program runs.
    pub(crate) fn flushes(&self) -> bool {
        let packages = || self.repository.packages.iter();
        packages().any(|p| p.calls.iter().any(|c| c.name.starts_with("coverage.Write")))
            || packages().any(|p| {
                p.imports
                    .iter()
                    .any(|i| i.contains("go-coverage-http") || i.contains("coverport"))
            })
            || self.steps().any(|s| act(s) == Some(Act::Flush))
    }

    /// Whether anything here expects files.
    pub(crate) fn wants_files(&self) -> bool {
        self.services.iter().any(|s| s.directory().is_some())
            || self.steps().any(|s| {
                let given = s.environment.iter().any(|(n, _)| n == "GOCOVERDIR");
                matches!(act(s), Some(Act::Copy))
                    || s.runs(&["go", "tool", "covdata"])
                    || (given && !s.runs(&["go", "test"]))
            })
    }

    /// Whether covtap itself collects here.
    pub(crate) fn uses_covtap(&self) -> bool {
        self.steps()
            .any(|s| !s.call && matches!(s.program(), "covtap" | "kubectl-covtap"))
    }

    /// Flows that somebody may start: what nothing calls and nobody outside can call is dead.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &'a Flow> + use<'a> {
        let dead = &self.index.dead;
        self.repository
            .flows
            .iter()
            .enumerate()
            .filter(move |(n, f)| !dead.contains(n) && f.kind != FlowKind::ShellFunction)
            .map(|(_, f)| f)
    }

    /// Whether a step's words are about a service of ours, or about everything.
    pub(crate) fn is_about_a_service(&self, step: &Step) -> bool {
        let mentioned = |name: &str| {
            !name.is_empty()
                && !is_open(name)
                && step
                    .words
                    .iter()
                    .any(|w| w.split(['/', '=', ':', ',']).any(|part| part == name))
        };
        if self
            .services
            .iter()
            .any(|s| mentioned(&s.workload.name) || mentioned(&s.container.name))
        {
            return true;
        }
        let others = self.repository.workloads.iter().any(|w| mentioned(&w.name));
        const OTHERS: [&str; 12] = [
            "postgres", "redis", "mysql", "kafka", "mongo", "minio", "registry", "nats",
            "rabbitmq", "etcd", "keycloak", "vault",
        ];
        let known = step
            .words
            .iter()
            .any(|w| OTHERS.iter().any(|o| w.contains(o)));
        // An engine's command names its container: one that is none of ours is another's.
        let engine =
            ENGINES.contains(&step.program()) && !step.words.iter().any(|w| w == "compose");
        let open = step.words.iter().any(|w| is_open(w));
        !others && !known && (!engine || open)
    }

    /// Whether a wait selects by a label that no workload has.
    pub(crate) fn waits_for_nothing(&self, step: &Step) -> bool {
        let Some((key, value)) = step
            .flag(&["-l", "--selector"])
            .and_then(|s| s.split_once('='))
        else {
            return false;
        };
        let workloads = || self.repository.workloads.iter();
        !is_open(value)
            && !is_open(key)
            && !self.services.is_empty()
            && self.services.iter().all(|s| {
                !s.workload.labels.is_empty() && !s.workload.labels.iter().any(|(_, v)| is_open(v))
            })
            && workloads().all(|w| !w.labels.iter().any(|(k, v)| k == key && v == value))
    }

    /// Whether something copies out of nodes what lies at a path.
    pub(crate) fn copies_from_node(&self, path: &str) -> bool {
        self.steps().any(|s| {
            let engine = ENGINES.contains(&s.program()) && !s.call;
            if !engine || !s.words.iter().skip(1).any(|w| w == "cp" || w == "exec") {
                return false;
            }
            let there = s
                .words
                .iter()
                .skip(2)
                .any(|w| w.contains(path) && !w.starts_with("type="));
            let prepares = s.words.iter().any(|w| {
                w.contains("chmod") || w.contains("chown") || w.contains("mkdir") || w == "install"
            });
            (there || concerns_coverage(s)) && !prepares
        })
    }

    /// Whether something copies coverage out of pods.
    pub(crate) fn copies_from_pods(&self) -> bool {
        self.steps()
            .any(|s| matches!(s.program(), "kubectl" | "oc") && act(s) == Some(Act::Copy))
    }

    /// Names that a directory of a node has: its own, and the host's.
    fn names_of(&self, path: &str) -> Vec<String> {
        let base = |path: &str| {
            path.trim_end_matches('/')
                .rsplit('/')
                .next()
                .unwrap_or(path)
                .to_owned()
        };
        let mounts = self
            .repository
            .kinds
            .iter()
            .flat_map(|k| &k.nodes)
            .flat_map(|n| &n.mounts);
        let hosts = mounts
            .filter(|m| chain::is_under(path, &m.container))
            .map(|m| base(&m.host));
        let names: BTreeSet<String> = hosts
            .chain([base(path)])
            .filter(|n| n.len() > 2 && !is_open(n))
            .collect();
        names.into_iter().collect()
    }

    /// What makes a node's directory writable for a user.
    pub(crate) fn prepares(
        &self,
        path: &str,
        user: &User,
        service: &Service<'_>,
    ) -> Option<Evidence> {
        let names = self.names_of(path);
        let fits = |words: &[String]| {
            let there = words
                .iter()
                .any(|w| names.iter().any(|n| w.contains(n.as_str())));
            there && lets(words, user)
        };
        if let Some(step) = self.steps().find(|s| fits(&s.words)) {
            return Some(line(step));
        }
        // Containers that run first, or others with the same directory.
        let workloads = self.repository.workloads.iter().filter(|w| {
            std::ptr::eq(*w, service.workload) || w.volumes.iter().any(|v| matches!(&v.source, covtap_model::facts::repository::Source::Host { path: p, .. } if p == path))
        });
        let containers = workloads
            .flat_map(|w| &w.containers)
            .filter(|c| !std::ptr::eq(*c, service.container));
        for container in containers {
            let words: Vec<String> = container
                .command
                .iter()
                .chain(&container.arguments)
                .cloned()
                .collect();
            if lets(&words, user) {
                return Some(super::at(
                    &container.place,
                    format!("container {}: {}", container.name, words.join(" ")),
                ));
            }
        }
        None
    }

    /// Whether something changes owners or modes of a directory that may be this one.
    pub(crate) fn may_prepare(&self, path: &str) -> bool {
        let names = self.names_of(path);
        self.steps().any(|s| {
            let changes = s.words.iter().any(|w| {
                let w = w.to_ascii_lowercase();
                w == "chmod"
                    || w == "chown"
                    || w.contains("os.chmod")
                    || w.contains("os.chown")
                    || w.contains("umask")
                    || w.contains("setfacl")
            });
            let named = s
                .words
                .iter()
                .any(|w| names.iter().any(|n| w.contains(n.as_str())));
            let open =
                s.words.iter().skip(1).any(|w| {
                    is_open(w) && (w.to_ascii_lowercase().contains("cov") || w.contains('…'))
                });
            changes && !named && open
        })
    }

    /// A step that makes the directory, with whatever mode.
    pub(crate) fn makes(&self, path: &str) -> Option<&'a Step> {
        let names = self.names_of(path);
        self.steps().find(|s| {
            let makes = matches!(
                s.program(),
                "mkdir" | "os.MkdirAll" | "os.Mkdir" | "os.makedirs"
            );
            makes
                && s.words
                    .iter()
                    .any(|w| names.iter().any(|n| w.contains(n.as_str())))
        })
    }

    /// Whether something else than a manifest names the directory: a wrapper, a command that starts it.
    pub(crate) fn names_directory_elsewhere(&self) -> bool {
        let of_flows = self.repository.flows.iter().any(|f| {
            f.kind == FlowKind::Script && f.environment.iter().any(|v| v.name == "GOCOVERDIR")
        });
        let images = self
            .repository
            .dockerfiles
            .iter()
            .flat_map(|d| &d.stages)
            .flat_map(|s| &s.instructions);
        let of_images = images.into_iter().any(|i| match i {
            covtap_model::facts::repository::Instruction::Entrypoint(l)
            | covtap_model::facts::repository::Instruction::Command(l) => {
                l.words.iter().any(|w| w.contains("GOCOVERDIR"))
            }
            _ => false,
        });
        of_flows
            || of_images
            || self
                .steps()
                .any(|s| !s.call && s.program() != "go" && s.says("GOCOVERDIR"))
    }

    /// The service that a main package is the program of; its folder where a script starts it.
    pub(crate) fn service_of(&self, package: &Package) -> Option<String> {
        let folder = package.folder.as_str();
        let builds = |step: &Step| {
            let target = step
                .words
                .iter()
                .skip(2)
                .rfind(|w| !w.starts_with('-'))
                .map_or(".", String::as_str);
            let target = target.trim_start_matches("./").trim_end_matches('/');
            let target = if target.ends_with(".go") {
                target.rsplit_once('/').map_or("", |(f, _)| f)
            } else {
                target
            };
            match target {
                "" | "." => {
                    folder == "."
                        || step.place.file.rsplit_once('/').map(|(f, _)| f) == Some(folder)
                }
                target => {
                    folder == target
                        || folder.ends_with(&format!("/{target}"))
                        || target.ends_with(&format!("/{folder}"))
                }
            }
        };
        for service in &self.services {
            let Some(dockerfile) = service.dockerfile else {
                continue;
            };
            let mut all = build::go_builds(dockerfile)
                .filter(|b| build::is_go_build(b.step))
                .peekable();
            if all.peek().is_some() && all.any(|b| builds(b.step)) {
                return Some(service.name.clone());
            }
        }
        let covered = |s: &&Step| build::go_builds_with_coverage(s) && builds(s);
        if self.steps().any(|s| covered(&s)) {
            return Some(folder.to_owned());
        }
        let tool = |p: &Package| {
            TOOLS.iter().any(|t| {
                p.folder == *t
                    || p.folder.starts_with(&format!("{t}/"))
                    || p.folder.contains(&format!("/{t}/"))
            })
        };
        let mains = self
            .repository
            .packages
            .iter()
            .filter(|p| p.main.is_some() && !tool(p))
            .count();
        match &self.services[..] {
            [one] if mains == 1 && !tool(package) => Some(one.name.clone()),
            _ => None,
        }
    }
}

/// Packages that a program may have: its own, and all libraries of its module that it may import.
pub(crate) fn reached<'a>(repository: &'a Repository, main: &'a Package) -> Vec<&'a Package> {
    let module = |folder: &str| {
        let folders = repository
            .modules
            .iter()
            .map(|m| m.place.file.rsplit_once('/').map_or(".", |(f, _)| f));
        folders
            .filter(|f| *f == "." || folder == *f || folder.starts_with(&format!("{f}/")))
            .max_by_key(|f| f.len())
            .unwrap_or(".")
            .to_owned()
    };
    let own = module(&main.folder);
    let may = |p: &Package| {
        let root = p
            .folder
            .split("/internal")
            .next()
            .filter(|_| p.folder.contains("/internal"))
            .unwrap_or(".");
        let visible =
            root == "." || main.folder == root || main.folder.starts_with(&format!("{root}/"));
        let tool = TOOLS
            .iter()
            .any(|t| p.folder.starts_with(&format!("{t}/")) || p.folder == *t);
        p.main.is_none() && p.name != "main" && visible && !tool && module(&p.folder) == own
    };
    repository
        .packages
        .iter()
        .filter(|p| {
            std::ptr::eq(*p, main) || (p.folder == main.folder && p.name == main.name) || may(p)
        })
        .collect()
}

/// Whether words make something writable for a user.
fn lets(words: &[String], user: &User) -> bool {
    let text = words.join(" ");
    let has = |word: &str| {
        text.split(|c: char| {
            c.is_whitespace() || matches!(c, ';' | '&' | '|' | '"' | '\'' | '(' | ')')
        })
        .any(|w| w == word || w.rsplit('/').next() == Some(word))
    };
    let open_to_all = |mode: &str| {
        let digits = mode.trim_start_matches("0o").trim_start_matches('0');
        let numeric = digits.len() >= 3
            && digits.chars().all(|c| c.is_ascii_digit())
            && digits.ends_with(['7', '3', '6', '2']);
        let named = mode.contains('+')
            && mode.ends_with('w') | mode.contains("rw")
            && (mode.starts_with('a')
                || mode.starts_with('o')
                || mode.starts_with('+')
                || mode.starts_with("go")
                || mode.starts_with("ugo"));
        numeric || named
    };
    let mode = || {
        text.split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '"' | '\''))
            .any(open_to_all)
    };
    let owner = || match user {
        User::Id(uid, ..) => text.contains(&uid.to_string()) || text.contains('$'),
        _ => true,
    };
    (has("chmod") || has("os.Chmod") || has("os.chmod")) && mode()
        || (has("chown") || has("os.Chown") || has("os.Lchown")) && owner()
        || has("install") && (has("-o") && owner() || has("-m") && mode())
        || has("mkdir") && has("-m") && mode()
        || has("setfacl")
}

/// What follows from a repository and is worth keeping: numbers of flows and steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Flows that nothing starts: functions that nobody calls and nobody outside can.
    dead: HashSet<usize>,
    /// Steps of all others, but those under a condition that never holds: every question goes over them.
    pub(super) steps: Vec<(usize, usize)>,
    /// Flows by the last part of their name.
    pub(super) named: HashMap<String, Vec<usize>>,
    /// Steps that build images.
    pub(super) images: Vec<(usize, usize)>,
}

impl Index {
    pub(super) fn of(repository: &Repository) -> Self {
        let mut index = Self::default();
        let mut called: HashSet<&str> = HashSet::new();
        let mut plain: HashMap<&str, bool> = HashMap::new();
        for (n, flow) in repository.flows.iter().enumerate() {
            let short = flow.name.rsplit('/').next().unwrap_or(&flow.name);
            index.named.entry(short.to_owned()).or_default().push(n);
            if flow.kind == FlowKind::Script {
                // A file with nothing but functions is a library.
                let only = flow
                    .steps
                    .iter()
                    .all(|s| matches!(s.program(), "set" | "shopt"));
                plain.insert(&flow.place.file, only);
            }
            for (m, step) in flow.steps.iter().enumerate() {
                if build::is_image(step) {
                    index.images.push((n, m));
                }
                for word in &step.words {
                    let word = word.trim_matches(['$', '{', '}']);
                    called.insert(word.rsplit('.').next().unwrap_or(word));
                }
            }
        }
        let is_dead = |flow: &Flow| match flow.kind {
            FlowKind::ShellFunction => {
                let library = plain.get(flow.place.file.as_str()).copied().unwrap_or(true);
                !library && !called.contains(flow.name.as_str())
            }
            FlowKind::Go | FlowKind::GoTest => {
                let outside = flow.name.starts_with(char::is_uppercase)
                    || matches!(flow.name.as_str(), "main" | "init" | "_")
                    || flow.name.contains('.');
                !outside && !called.contains(flow.name.as_str())
            }
            _ => false,
        };
        let dead = repository
            .flows
            .iter()
            .enumerate()
            .filter(|(_, f)| is_dead(f));
        index.dead = dead.map(|(n, _)| n).collect();
        for (n, flow) in repository.flows.iter().enumerate() {
            if index.dead.contains(&n) {
                continue;
            }
            let live = flow.steps.iter().enumerate();
            let live = live.filter(|(_, s)| s.condition.as_deref() != Some("false"));
            index.steps.extend(live.map(|(m, _)| (n, m)));
        }
        index
    }
}
