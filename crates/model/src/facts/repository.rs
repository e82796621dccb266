//! What the files of a repository say about its coverage.
//!
//! ```text
//!  Dockerfile ── stages, in their order          manifests, also in Go, shell and CI texts ── workloads
//!  Kind configuration ── nodes and their mounts  Makefile, scripts, CI jobs, Go, Python ── flows
//! ```
//!
//! Words that only the run decides (`$TAG`, a template's `{{ .Values.x }}`, a Go variable) stand as
//! `${…}`: see [`is_open`]. Nothing here is judged.

use super::Place;

/// A repository, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repository {
    /// How many files there are.
    pub files: usize,
    /// What could not be read, in the order of names.
    pub unread: Vec<Unread>,
    /// Go modules.
    pub modules: Vec<Module>,
    /// Dockerfiles and Containerfiles.
    pub dockerfiles: Vec<Dockerfile>,
    /// Kind configurations, also such as stand in scripts.
    pub kinds: Vec<KindConfig>,
    /// Everything that runs containers.
    pub workloads: Vec<Workload>,
    /// Everything that runs commands.
    pub flows: Vec<Flow>,
    /// Go packages with something of interest in them.
    pub packages: Vec<Package>,
}

impl Repository {
    /// Whether nothing in it builds or runs anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            files: _,
            unread,
            modules,
            dockerfiles,
            kinds,
            workloads,
            flows,
            packages,
        } = self;
        unread.is_empty()
            && modules.is_empty()
            && dockerfiles.is_empty()
            && kinds.is_empty()
            && workloads.is_empty()
            && flows.is_empty()
            && packages.is_empty()
    }
}

/// A file, or a part of it, that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Where.
    pub place: Place,
    /// Why.
    pub why: String,
    /// Whether what could not be read names coverage.
    pub concerns_coverage: bool,
}

/// A Go module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its go.mod.
    pub place: Place,
    /// `example.com/shop`.
    pub path: String,
    /// The language version: `1.24`.
    pub go: Option<String>,
}

/// A variable and, where it concerns coverage, its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; absent where it is none of coverage's business, or has none.
    pub value: Option<String>,
    /// Where it is set.
    pub place: Place,
}

/// A Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The file.
    pub file: String,
    /// `ARG` before the first stage.
    pub arguments: Vec<Variable>,
    /// In order; the last is what is built unless a target is named.
    pub stages: Vec<Stage>,
}

/// A stage of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name, or its number.
    pub title: String,
    /// Where it begins.
    pub place: Place,
    /// The image that it begins with, arguments with a default put in.
    pub base: String,
    /// The number of the stage that it begins with.
    pub from: Option<usize>,
    /// In order.
    pub instructions: Vec<Instruction>,
}

/// An instruction of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `ARG`.
    Argument(Variable),
    /// One assignment of an `ENV`.
    Environment(Variable),
    /// A command of a `RUN`.
    Run(Step),
    /// `COPY` or `ADD`.
    Copy {
        /// The stage or image it copies from; absent: the build context.
        from: Option<String>,
        /// What.
        sources: Vec<String>,
        /// Where to.
        target: String,
        /// The owner it is given.
        owner: Option<String>,
        /// Where.
        place: Place,
    },
    /// `USER`, without a group.
    User(String, Place),
    /// `WORKDIR`.
    Directory(String, Place),
    /// `ENTRYPOINT`.
    Entrypoint(Launch),
    /// `CMD`.
    Command(Launch),
    /// `STOPSIGNAL`.
    StopSignal(String, Place),
    /// `VOLUME`, one path.
    Volume(String, Place),
}

/// What a container starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Whether a shell reads it.
    pub shell: bool,
    /// The words; one, the whole line, where a shell reads it.
    pub words: Vec<String>,
    /// Where.
    pub place: Place,
}

/// A Kind configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindConfig {
    /// Where it begins.
    pub place: Place,
    /// The cluster's name, when it is said there.
    pub name: Option<String>,
    /// In order. One control plane where none is said.
    pub nodes: Vec<KindNode>,
}

/// A node of a Kind configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindNode {
    /// `control-plane` or `worker`.
    pub role: String,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// What of the host it has.
    pub mounts: Vec<ExtraMount>,
    /// Where.
    pub place: Place,
}

/// A directory of the host in a Kind node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraMount {
    /// On the host.
    pub host: String,
    /// In the node.
    pub container: String,
    /// Whether it is read only.
    pub read_only: bool,
    /// Where.
    pub place: Place,
}

/// Something that runs containers: of Kubernetes, of Compose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// `Deployment`, `Pod`, …; `Compose` for a service of Compose.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// Whether it changes another one that stands elsewhere (a patch, values of a chart).
    pub partial: bool,
    /// Whether something only the run knows is put into it, so that what is not there may be.
    pub open: bool,
    /// How many pods, when it is said.
    pub replicas: Option<u32>,
    /// The labels of its pods.
    pub labels: Vec<(String, String)>,
    /// Where its pods may run.
    pub node_selector: Vec<(String, String)>,
    /// The node that it names.
    pub node_name: Option<String>,
    /// `terminationGracePeriodSeconds`, or Compose's `stop_grace_period`, in seconds.
    pub grace: Option<u64>,
    /// User, group and group of volumes of the pod.
    pub user: Security,
    /// Its containers, those that run first included.
    pub containers: Vec<Container>,
    /// Its volumes.
    pub volumes: Vec<Volume>,
}

/// As whom something runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// `runAsUser`.
    pub user: Option<i64>,
    /// `runAsGroup`.
    pub group: Option<i64>,
    /// `fsGroup`.
    pub volumes_group: Option<i64>,
    /// `readOnlyRootFilesystem`.
    pub read_only_root: bool,
    /// `privileged`.
    pub privileged: bool,
    /// Where; file 0 where nothing is said.
    pub place: Place,
}

/// A container of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// Whether it ends before the others start (an init container that does not restart).
    pub init: bool,
    /// Its image.
    pub image: Option<String>,
    /// The Dockerfile that Compose builds it of, or its folder.
    pub build: Option<String>,
    /// What it starts instead of the image's entrypoint.
    pub command: Vec<String>,
    /// The arguments.
    pub arguments: Vec<String>,
    /// Its variables.
    pub environment: Vec<Variable>,
    /// Whether variables come from elsewhere too (`envFrom`, a template).
    pub open_environment: bool,
    /// Its mounts.
    pub mounts: Vec<Mount>,
    /// As whom it runs.
    pub user: Security,
    /// The user that Compose names.
    pub named_user: Option<String>,
}

/// A volume in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The volume's name.
    pub volume: String,
    /// Where it is in the container.
    pub path: String,
    /// Whether it is read only.
    pub read_only: bool,
    /// Where this is said.
    pub place: Place,
}

/// A volume of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What it is.
    pub source: Source,
    /// Where.
    pub place: Place,
}

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory of the node, and its type.
    Host {
        /// On the node; on the engine's host for Compose.
        path: String,
        /// `DirectoryOrCreate`, …
        kind: Option<String>,
    },
    /// `emptyDir`.
    Empty,
    /// A claim, or a named volume of Compose.
    Claim(String),
    /// Something that holds no coverage: a secret, a configuration.
    Other(String),
}

/// Commands in their order: a script, a target, a job, a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// What it is.
    pub kind: FlowKind,
    /// Its name: the target, the function, the file.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// Targets or jobs that run before it.
    pub needs: Vec<String>,
    /// What is set for all steps.
    pub environment: Vec<Variable>,
    /// In order.
    pub steps: Vec<Step>,
}

/// What a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowKind {
    /// A shell script.
    Script,
    /// A function of a shell script.
    ShellFunction,
    /// A target of a Makefile.
    Target,
    /// A job of a CI workflow.
    Job,
    /// A Go function.
    Go,
    /// A Go function in a test file.
    GoTest,
    /// A Python function.
    Python,
}

/// A command or a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub place: Place,
    /// Whether it is a call in the code and no command: the first word is then the function's name.
    pub call: bool,
    /// Program and arguments. Never empty.
    pub words: Vec<String>,
    /// What is set for it.
    pub environment: Vec<(String, String)>,
    /// The condition it stands under, as it is written.
    pub condition: Option<String>,
    /// Why its failure goes unseen: `|| :`, `-`, a pipe.
    pub ignored: Option<String>,
    /// Whether what follows does not wait for it.
    pub background: bool,
    /// Where its standard output goes, or the command behind its pipe.
    pub output: Option<String>,
    /// Whether it takes the shell's place: `exec`.
    pub replaces_shell: bool,
}

impl Step {
    /// What is run, without its folder.
    #[must_use]
    pub fn program(&self) -> &str {
        let text = self.words.first().map_or("", String::as_str);
        if self.call {
            return text;
        }
        text.rsplit('/').next().unwrap_or(text)
    }

    /// Whether words follow each other in it, flags between them left out.
    #[must_use]
    pub fn runs(&self, words: &[&str]) -> bool {
        if self.call || words.first() != Some(&self.program()) {
            return false;
        }
        let mut rest = self.words.iter().skip(1);
        words[1..]
            .iter()
            .all(|wanted| rest.any(|word| word == wanted))
    }

    /// Whether a word has this in it.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        self.words.iter().any(|word| word.contains(text))
    }

    /// The value of a flag: `-f x`, `--file x`, `--file=x`, `-fx` not.
    #[must_use]
    pub fn flag(&self, names: &[&str]) -> Option<&str> {
        self.flags(names).into_iter().next()
    }

    /// All values of a flag.
    #[must_use]
    pub fn flags(&self, names: &[&str]) -> Vec<&str> {
        let value = |n: usize, word: &'_ str, name: &str| {
            let rest = word.strip_prefix(name)?;
            match rest.strip_prefix('=') {
                Some(_) => Some((n, name.len() + 1)),
                None if rest.is_empty() => Some((n + 1, 0)),
                None => None,
            }
        };
        let all = self.words.iter().enumerate();
        all.filter_map(|(n, word)| names.iter().find_map(|name| value(n, word, name)))
            .filter_map(|(n, from)| self.words.get(n)?.get(from..))
            .collect()
    }

    /// As a person would type it; what concerns no coverage of its environment is left out.
    #[must_use]
    pub fn line(&self) -> String {
        let given = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let words = self.words.iter().cloned();
        let line = given.chain(words).collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(160) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }
}

/// A Go package, as far as it is of interest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its folder, `.` for the root.
    pub folder: String,
    /// `main`, or another name.
    pub name: String,
    /// What its files other than tests import.
    pub imports: Vec<String>,
    /// Files other than tests that have a build constraint, with it.
    pub constrained: Vec<(Place, String)>,
    /// Calls of interest in files other than tests.
    pub calls: Vec<Call>,
    /// Where `func main` is.
    pub main: Option<Place>,
}

/// A call in a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `signal.Notify`.
    pub name: String,
    /// Its arguments, as they are written.
    pub arguments: Vec<String>,
    /// The function it stands in.
    pub function: String,
    /// Where.
    pub place: Place,
}

/// Whether only the run tells what a word is.
#[must_use]
pub fn is_open(word: &str) -> bool {
    word.contains('$') || word.contains('`')
}

/// Variables of which the value is kept: they say how coverage is built or where it goes.
#[must_use]
pub fn concerns_coverage(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "GOCOVERDIR",
        "GOFLAGS",
        "LLVM_PROFILE_FILE",
        "NODE_V8_COVERAGE",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "GCOV_PREFIX",
        "GCOV_PREFIX_STRIP",
        "CGO_ENABLED",
        "GOOS",
        "GOARCH",
        "BUILDFLAGS",
    ];
    NAMES.contains(&name) || {
        let upper = name.to_ascii_uppercase();
        upper.contains("COVER") || upper.contains("COVDATA") || upper.contains("GOBUILD")
    }
}
