//! The arguments, as people see them in `--help`.
//!
//! What a flag leaves open comes from its environment variable, then from `covtap.toml`, then from
//! a default: see [`crate::settings`]. That is why nearly everything is an `Option` here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use covtap_cluster::selection::{Labels, WorkloadName};
use covtap_report::format::{By, Format, Sort};
use covtap_tap::watch::Means;

use crate::units::parse_duration;

const EXAMPLES: &str = "\
Examples:
  covtap run -- make test-e2e        run the tests, collect what their services covered
  covtap report --show-missing       the last run again, with the lines that did not run
  covtap report --format lcov -o lcov.info
  covtap runs ls

Exit codes:
  0  done                            3  nothing collected
  1  done, and the answer is no      4  incomplete: an expected process gave no data
  2  could not do it                 `run` passes on the code of its command when that is not 0";

const RUN_EXAMPLES: &str = "\
Examples:
  covtap run -- make test-e2e
  covtap run --require api,worker -- ./e2e.sh
  covtap run --files ./coverdata -- docker compose run tests
  covtap run --format cobertura -o cobertura.xml -- go test ./e2e/...

covtap never changes a build: build the services with `go build -cover`. Their counters are read out
of their memory while they run and once more when they end, whatever ends them; no directory and no
graceful exit is needed. Beside that CMD gets a GOCOVERDIR of its own. Processes that CMD leaves
behind get the grace period to end.

Exits with CMD's code when that is not 0 (128 + N after signal N), else with 0, with 3 when nothing
was collected, with 4 when an expected process gave no data, and with 2 when CMD could not be
started.";

const START_EXAMPLES: &str = "\
Examples:
  covtap start
  ./start-services.sh
  covtap mark login && ./test-login.sh
  covtap mark checkout && ./test-checkout.sh
  covtap stop

Every instrumented process of this machine that covtap may read is collected, whoever started it,
until `covtap stop`, which exits as `covtap run` does. What runs in containers and Kind clusters of this
machine has their names. With --namespace, --context and the like only what they name is collected, also
in clusters elsewhere. One session a store (--store).";

const COLLECT_EXAMPLES: &str = "\
Examples:
  covtap collect                             every instrumented process of this machine
  covtap collect -n shop                     the pods of a namespace
  covtap collect -n shop -w deploy/api --per-replica
  covtap collect -n shop --stop-for-files    and the files of those that write them: they are ended,
                                             and brought back

What is meant is said as for `covtap start`. Counters are read once out of the memory of what runs, and
files are copied that processes have written so far. Nothing is stopped but with --stop-for-files.

Exits with 0, with 3 when nothing was collected, with 4 when an expected process gave no data, and with
2 when it could not be done.";

const INSPECT_EXAMPLES: &str = "\
Examples:
  covtap inspect ./api                       is it instrumented, which packages, how was it built
  covtap inspect 812                         the same of a process, and what its counters say now
  covtap inspect ./812                       the file of that name
  covtap inspect 812 --save api              and its program, out of a container without tar or shell
  covtap inspect --format json ./api | jq .program.packages

A file is not run and a process not stopped. Exits with 0 when it is instrumented, with 1 when it is
not, with 2 when that could not be told.";

const TAP_EXAMPLES: &str = "\
Examples:
  covtap tap 812                             one snapshot, into a new folder below .covtap/tap
  covtap tap 812 815 -o coverdata            of two processes; go tool covdata reads the folder
  covtap tap 812 --every 1s                  again and again; a later snapshot replaces an earlier one
  covtap tap 812 --until-exit                and the last state when it ends, whatever ends it

The processes are not stopped and need no GOCOVERDIR. Ctrl-C ends with a last snapshot.

Exits with 0, with 3 when nothing is instrumented, with 4 when a process gave no data or its last
state is unknown, with 2 when no process could be read.";

const WATCH_EXAMPLES: &str = "\
Examples:
  covtap watch                               every instrumented process of this machine
  covtap watch 812 815                       these two
  covtap watch --cgroup cri-1234.scope       those of a container
  covtap watch | tee coverage.log            lines instead of a view, one where something changed

Keys: m sets a mark (what is newly covered since then is counted), up and down select a process, ?
shows help, q ends. The processes are not stopped, and nothing is kept.

Exits with 0, with 3 when there were lines to print and no process gave any, with 2 when watching is
not possible.";

const LS_EXAMPLES: &str = "\
Examples:
  covtap ls                                  containers and Kind clusters of this machine
  covtap ls -n shop                          and the pods of a namespace
  covtap ls -n shop deploy/api -c main       one container of the pods of a deployment
  covtap ls -n shop --wait --timeout 2m      for a BeforeSuite: until every one of them is ready

Without a namespace, selector, workload, context or kubeconfig only what runs in the container
engines of this machine is looked at: their containers and the Kind clusters in them.

Exits with 0, with 1 when something was not ready in time (--wait), with 3 when nothing matches,
with 2 when the cluster that was asked for does not answer.";

const BUILD_EXAMPLES: &str = "\
Examples:
  covtap build -t api:cover .                        docker build, with coverage
  covtap build -t api:cover --kind dev .             and into the nodes of a Kind cluster
  covtap build -f docker/api.Dockerfile --dry-run .  the Dockerfile as the engine would get it
  covtap build -t api:cover . -- --no-cache          what follows -- is for docker build

The Dockerfile stays as it is: where it has no GOFLAGS argument that reaches `go build`, the engine
gets a copy with one line more in each stage that builds Go. Every Go program in the image is looked
at afterwards.

Exits with 0 when the image is instrumented, with 1 when it is not (then it is not loaded), with 2
when it could not be built.";

const AGENT_EXAMPLES: &str = "\
Examples:
  docker exec -i kind-worker covtap agent    what covtap run starts on a node where it cannot look itself

Frames go over standard input and output (docs/agent.md), so this is nothing to type: covtap starts
its agents itself. An agent opens no port and writes no file. It sends the coverage of processes that
the covtap on the other end has named, and of no other; the end of its standard input ends it.

Exits with 0, with 2 when another agent runs here or the other end speaks no common protocol.";

const AGENT_IMAGE_EXAMPLES: &str = "\
Examples:
  covtap agent image -o agent.tar            an image with nothing but this program
  kind load image-archive agent.tar          or push it: skopeo copy oci-archive:agent.tar docker://…
  covtap run -n shop --agent-image covtap-agent:0.1.0 -- make test-e2e

The same program gives the same bytes. A program that is not static brings the libraries along that it
runs with here.";

const AGENT_MANIFEST_EXAMPLES: &str = "\
Examples:
  covtap agent manifest -n shop                          to read
  covtap agent manifest -n shop --agent-namespace tools  and for an administrator to allow

covtap run makes these objects itself, where it may. The roles are not bound to anybody.";

const CLEAN_EXAMPLES: &str = "\
Examples:
  covtap clean --dry-run                     what there is to do, and where
  covtap clean                               do it
  covtap clean --context prod                agents in a cluster too, where a run's folder is gone

Looks into the runs of the store (--store). Data are never removed: `covtap runs rm` does that.

Exits with 0, also when there is nothing to do, with 1 when something was changed by others and is
left as it is, with 2 when something could not be restored.";

const WIRE_EXAMPLES: &str = "\
Examples:
  covtap wire                                a diff: the build argument that instruments the images
  covtap wire --apply                        do it; covtap unwire takes it out again
  covtap wire services/api --route files     and GOCOVERDIR with a volume, for services that write files
  covtap wire --route files --volume hostpath --apply && covtap wire --route files --volume hostpath | git apply

Files get lines, and keep every byte that they have. Go code and templates are never written: what
belongs into them is part of the diff, which git apply takes. covtap run does the rest: it waits,
collects and stops.

Exits with 0 when there is nothing to do or it was done, with 1 when there is a diff, with 2 when it
could not be made.";

const UNWIRE_EXAMPLES: &str = "\
Examples:
  covtap unwire                              every file as it was before covtap wire --apply
  covtap unwire services/api                 the files below this folder

What others have changed since stays; where that is what covtap has put there, it stays too, and is
named.

Exits with 0, also when there is nothing to do, with 1 when something had to stay, with 2 when
something could not be restored.";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  covtap doctor                              the repository here: build, manifests, scripts, tests
  covtap doctor services/api                 a part of it
  covtap doctor ./coverdata                  the files that services wrote: whole, and of one build?
  covtap doctor --log pod.log                and what a service or a test run has printed
  covtap doctor --format github              lines that GitHub shows beside the code
  covtap explain env-missing                 more about a finding

Nothing is run and no cluster is asked. What is not proved is not said: a suspect is guilty, innocent or
unknown, and the first two have their evidence.

Exits with 0 when nothing is wrong, with 1 when there is an error or a warning, with 2 when it could not
be told.";

const REPORT_EXAMPLES: &str = "\
Examples:
  covtap report                                  the last run, as a table
  covtap report 20261123T1041 --by file          a run, by the beginning of its name
  covtap report --format lcov,cobertura -o cov/  several files into a directory
  covtap report --per-replica                    the last run, replica by replica
  covtap report ./coverdata                      a GOCOVERDIR, as services wrote it
  covtap report coverage.json --format markdown";

/// Coverage of services while end-to-end tests exercise them: collected, merged, reported, and
/// where it is missing, the reason.
#[derive(Debug, Parser)]
#[command(name = "covtap", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Colours: on a terminal, always or never (NO_COLOR and CLICOLOR_FORCE are obeyed too)
    #[arg(long, value_name = "WHEN", env = "COVTAP_COLOR", global = true)]
    pub(crate) color: Option<Color>,
    /// Settings file [default: the nearest covtap.toml at or above the working directory]
    #[arg(long, value_name = "FILE", env = "COVTAP_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Where runs lie [default: .covtap beside the nearest covtap.toml, .git, go.work or go.mod]
    #[arg(long, value_name = "DIR", env = "COVTAP_STORE", global = true)]
    pub(crate) store: Option<PathBuf>,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command, collect the coverage of the services it starts, report
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<Run>),
    /// Begin a session in the background that collects until `covtap stop`, across CI steps
    #[command(after_help = START_EXAMPLES)]
    Start(Box<Start>),
    /// Collect what runs now, and report
    #[command(after_help = COLLECT_EXAMPLES)]
    Collect(Box<Collect>),
    /// Read the counters of everything that runs, under a name
    Mark {
        /// Letters, digits, blanks and - _ . +
        name: String,
    },
    /// End the session that `covtap start` began: collect, report
    Stop,
    /// Report on a run, on a coverage document or on coverage directories
    #[command(after_help = REPORT_EXAMPLES)]
    Report(Report),
    /// Tell whether a program or process is instrumented, how, and what its counters say
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(Inspect),
    /// Write the counters of running processes as files that Go's tools read
    #[command(after_help = TAP_EXAMPLES)]
    Tap(Tap),
    /// Show how the coverage of running processes grows
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(Watch),
    /// Build an image with coverage out of a Dockerfile that knows nothing of it
    #[command(after_help = BUILD_EXAMPLES)]
    Build(Build),
    /// Show what a repository lacks for its coverage, as a diff, or put it there
    #[command(after_help = WIRE_EXAMPLES)]
    Wire(Wire),
    /// Take out what `covtap wire --apply` has put into a repository
    #[command(after_help = UNWIRE_EXAMPLES)]
    Unwire {
        /// A folder or file
        #[arg(value_name = "PATH", default_value = ".")]
        path: PathBuf,
    },
    /// Say why coverage is missing, what proves it, and what to do
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Doctor),
    /// Tell what a rule of the doctor looks at, why it matters, and what to do; or list all rules
    Explain {
        /// Its name or number: env-missing, CT101
        #[arg(value_name = "RULE")]
        rule: Option<String>,
    },
    /// List the containers and pods that would be watched, or wait until they are ready
    #[command(after_help = LS_EXAMPLES)]
    Ls(Ls),
    /// Watch the machine for a covtap elsewhere, over standard input and output
    #[command(after_help = AGENT_EXAMPLES)]
    Agent(Agent),
    /// Undo what runs that were killed have left in clusters: services scaled to zero, agents
    #[command(after_help = CLEAN_EXAMPLES)]
    Clean(Cleaning),
    /// List and remove runs
    Runs(Runs),
    /// A drop-in for `go tool covdata` that needs no Go
    #[command(disable_help_flag = true)]
    Covdata {
        /// As `go tool covdata` takes them; `covtap covdata help` tells more
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGUMENTS"
        )]
        args: Vec<OsString>,
    },
    /// Part of `covtap run`: holds programs until they are watched
    #[command(hide = true)]
    Hold {
        /// Which part
        role: Role,
    },
    /// Print a script that completes covtap's arguments in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all manual pages into a directory
    Man {
        /// Where to write them, one file a command
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

/// `covtap run`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Run {
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,

    #[command(flatten)]
    pub(crate) selecting: Selecting,
    #[command(flatten)]
    pub(crate) reaching: Reaching,
    #[command(flatten)]
    pub(crate) collecting: Collecting,
    #[command(flatten)]
    pub(crate) following: Following,
    #[command(flatten)]
    pub(crate) ending: Ending,
    #[command(flatten)]
    pub(crate) reporting: RunReporting,
    #[command(flatten)]
    pub(crate) replicas: PerReplica,
}

/// `--per-replica`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Reporting")]
pub(crate) struct PerReplica {
    /// Each replica's own coverage beside that of all: a table, and a directory of reports for each
    #[arg(long, env = "COVTAP_PER_REPLICA", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    per_replica: Option<bool>,
}

impl PerReplica {
    /// Whether it was asked for.
    pub(crate) fn asked(&self) -> bool {
        self.per_replica == Some(true)
    }
}

/// `covtap start`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Start {
    /// Stay in the foreground: print `ready` and the run's folder, then collect until `covtap stop`
    /// or Ctrl-C
    #[arg(long)]
    pub(crate) foreground: bool,
    /// Leave out what ran before the session began, in processes that were there already
    #[arg(long, env = "COVTAP_SINCE_RUN", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub(crate) since_run: Option<bool>,
    #[command(flatten)]
    pub(crate) selecting: Selecting,
    #[command(flatten)]
    pub(crate) reaching: Reaching,
    #[command(flatten)]
    pub(crate) collecting: Collecting,
    #[command(flatten)]
    pub(crate) following: Following,
    #[command(flatten)]
    pub(crate) stopping: Stopping,
    #[command(flatten)]
    pub(crate) reporting: RunReporting,
}

/// `covtap collect`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Collect {
    #[command(flatten)]
    pub(crate) selecting: Selecting,
    #[command(flatten)]
    pub(crate) reaching: Reaching,
    #[command(flatten)]
    pub(crate) collecting: Collecting,
    #[command(flatten)]
    pub(crate) stopping: Stopping,
    #[command(flatten)]
    pub(crate) reporting: RunReporting,
    #[command(flatten)]
    pub(crate) replicas: PerReplica,
}

/// Which services are meant, in kubectl's words.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Clusters and containers")]
pub(crate) struct Selecting {
    /// Services in this namespace; may be repeated [default: that of the context; in Kind clusters that
    /// appear on this machine, all but Kubernetes' own]
    #[arg(
        short,
        long,
        value_name = "NAMESPACE",
        env = "COVTAP_NAMESPACE",
        value_delimiter = ','
    )]
    pub(crate) namespace: Option<Vec<String>>,
    /// Services in all namespaces, Kubernetes' own too, whatever --namespace says
    #[arg(short = 'A', long, env = "COVTAP_ALL_NAMESPACES", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub(crate) all_namespaces: Option<bool>,
    /// Pods with these labels: app=shop,tier!=test
    #[arg(short = 'l', long, value_name = "SELECTOR", env = "COVTAP_SELECTOR")]
    pub(crate) selector: Option<Labels>,
    /// This workload: deploy/api, statefulset/db, pod/x, or the name alone; also of a Compose service
    /// or a container of Docker or Podman. May be repeated
    #[arg(
        short,
        long,
        value_name = "KIND/NAME",
        env = "COVTAP_WORKLOAD",
        value_delimiter = ','
    )]
    pub(crate) workload: Option<Vec<WorkloadName>>,
    /// Containers of this name in the pods; may be repeated
    #[arg(
        short,
        long,
        value_name = "NAME",
        env = "COVTAP_CONTAINER",
        value_delimiter = ','
    )]
    pub(crate) container: Option<Vec<String>>,
    /// The cluster of this context
    #[arg(long, value_name = "NAME", env = "COVTAP_CONTEXT")]
    pub(crate) context: Option<String>,
    /// The kubeconfig [default: KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE", env = "COVTAP_KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Follow no cluster and no containers: only the processes that CMD starts
    #[arg(long, env = "COVTAP_LOCAL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub(crate) local: Option<bool>,
}

/// How processes are reached that covtap cannot look into from here.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Reaching {
    /// The covtap that is put into nodes of clusters, where that has to be another one: built for Linux and
    /// for their processor [default: this one]
    #[arg(long, value_name = "FILE", env = "COVTAP_AGENT_BINARY")]
    pub(crate) agent_binary: Option<PathBuf>,
    /// The image of agents for nodes that Kubernetes alone reaches (covtap agent image): a DaemonSet of it
    /// is there as long as the run is
    #[arg(long, value_name = "IMAGE", env = "COVTAP_AGENT_IMAGE")]
    pub(crate) agent_image: Option<String>,
    /// The namespace of that DaemonSet, which has to be there and to let pods see their node
    /// [default: one of its own, removed afterwards]
    #[arg(long, value_name = "NAMESPACE", env = "COVTAP_AGENT_NAMESPACE")]
    pub(crate) agent_namespace: Option<String>,
}

/// What is collected and expected.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Collecting")]
pub(crate) struct Collecting {
    /// Read this coverage directory too: one that CMD sets itself, or that a container writes to.
    /// May be repeated [env: COVTAP_FILES, separated by `:`]
    #[arg(long, value_name = "DIR")]
    pub(crate) files: Option<Vec<PathBuf>>,
    /// Expect data from every process of this name (base name of the executable) or of this workload
    /// (deployment/api). A pod of it that is ready and not instrumented ends the run
    #[arg(
        long,
        value_name = "NAME",
        env = "COVTAP_REQUIRE",
        value_delimiter = ','
    )]
    pub(crate) require: Option<Vec<String>>,
    /// Expect nothing from processes of this name, and do not merge them
    #[arg(
        long,
        value_name = "NAME",
        env = "COVTAP_IGNORE",
        value_delimiter = ','
    )]
    pub(crate) ignore: Option<Vec<String>>,
    /// Merge test binaries and programs that `go run` built, too
    #[arg(long, env = "COVTAP_INCLUDE_TEST_BINARIES", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub(crate) include_test_binaries: Option<bool>,
    /// Exit with 0, not 4, when an expected process gave no data
    #[arg(long, env = "COVTAP_ALLOW_INCOMPLETE", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub(crate) allow_incomplete: Option<bool>,
    /// Keep the arguments of CMD and of services in what is stored (they may hold secrets)
    #[arg(long, env = "COVTAP_KEEP_ARGS", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub(crate) keep_args: Option<bool>,
    /// The ways in which data may come [default: tap,exit,files]
    #[arg(
        long,
        value_name = "ROUTE",
        env = "COVTAP_ROUTE",
        value_delimiter = ','
    )]
    pub(crate) route: Option<Vec<Route>>,
}

/// How processes are followed.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Collecting")]
pub(crate) struct Following {
    /// How processes are found as they start [default: auto]
    #[arg(long, value_name = "MEANS", env = "COVTAP_WATCHING")]
    pub(crate) watching: Option<Watching>,
    /// The time between two looks at the counters of a process [default: 1s]
    #[arg(long, value_name = "TIME", env = "COVTAP_EVERY", value_parser = parse_duration)]
    pub(crate) every: Option<Duration>,
}

/// A way in which data come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Route {
    /// Out of the memory of running processes
    Tap,
    /// Out of their memory when they end, whatever ends them
    Exit,
    /// From the files that they write (CMD gets a GOCOVERDIR)
    Files,
}

/// How processes are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Watching {
    /// By the best of the following that is to be had
    Auto,
    /// Every exec waits a moment until covtap has seen it; needs CAP_SYS_ADMIN
    Hold,
    /// The kernel tells of starts and ends
    Events,
    /// A look every 10 ms
    Poll,
}

impl Watching {
    /// What the watcher calls it.
    pub(crate) fn means(self) -> Means {
        match self {
            Self::Auto => Means::Auto,
            Self::Hold => Means::Hold,
            Self::Events => Means::Events,
            Self::Poll => Means::Poll,
        }
    }
}

/// What `covtap run` does at the end.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Ending")]
pub(crate) struct Ending {
    /// How long processes that CMD leaves behind may take to end, and again after SIGTERM: 10s,
    /// 500ms, 2m [default: 10s]
    #[arg(long, value_name = "TIME", env = "COVTAP_GRACE", value_parser = parse_duration)]
    pub(crate) grace: Option<Duration>,
    /// End services in clusters gracefully, so that they write their files, and bring them back: they are
    /// scaled to zero when CMD has ended [default: only with --route files]
    #[arg(long, env = "COVTAP_STOP_FOR_FILES", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub(crate) stop_for_files: Option<bool>,
    /// Send no SIGTERM to what still runs after the grace period
    #[arg(long, env = "COVTAP_LEAVE_RUNNING", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub(crate) leave_running: Option<bool>,
}

/// How services are ended so that they write their files.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Ending")]
pub(crate) struct Stopping {
    /// End services in clusters gracefully, so that they write their files, and bring them back
    /// [default: with `covtap start --route files`]
    #[arg(long, env = "COVTAP_STOP_FOR_FILES", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub(crate) stop_for_files: Option<bool>,
    /// How long they may take to end [default: 10s]
    #[arg(long, value_name = "TIME", env = "COVTAP_GRACE", value_parser = parse_duration)]
    pub(crate) grace: Option<Duration>,
}

/// Reports of `covtap run`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Reporting")]
pub(crate) struct RunReporting {
    /// Reports to make: a list, or repeated [default: all, in the run's folder]
    #[arg(long, value_name = "FORMAT", env = "COVTAP_FORMAT", value_delimiter = ',',
          value_parser = formats(), action = ArgAction::Append)]
    pub(crate) format: Option<Vec<Format>>,
    /// Write them here as well: a file for one format, a directory for several
    #[arg(short, long, value_name = "PATH", env = "COVTAP_OUTPUT")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) counting: Counting,
}

/// `covtap report`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Report {
    /// A run (its name or the beginning of it), a coverage.json, or coverage directories
    /// [default: the last run]
    #[arg(value_name = "SOURCE")]
    pub(crate) sources: Vec<PathBuf>,

    /// What to make: a list, or repeated [default: text]
    #[arg(long, value_name = "FORMAT", env = "COVTAP_FORMAT", value_delimiter = ',',
          value_parser = formats(), action = ArgAction::Append)]
    pub(crate) format: Option<Vec<Format>>,
    /// Where to write: a file for one format, a directory for several [default: stdout]
    #[arg(short, long, value_name = "PATH", env = "COVTAP_OUTPUT")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) table: Table,
    #[command(flatten)]
    pub(crate) replicas: PerReplica,
    #[command(flatten)]
    pub(crate) counting: Counting,
}

/// How the table looks.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Table")]
pub(crate) struct Table {
    /// Show the lines that did not run, file by file
    #[arg(long, env = "COVTAP_SHOW_MISSING", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub(crate) show_missing: Option<bool>,
    /// Order of the rows [default: name]
    #[arg(long, value_name = "ORDER", env = "COVTAP_SORT", value_parser = sorts())]
    pub(crate) sort: Option<Sort>,
    /// What a row is [default: package]
    #[arg(long, value_name = "ROW", env = "COVTAP_BY", value_parser = rows())]
    pub(crate) by: Option<By>,
}

/// What is counted.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Counting")]
pub(crate) struct Counting {
    /// Leave out files that match this glob (paths from the repository's root); may be repeated
    #[arg(
        long,
        value_name = "GLOB",
        env = "COVTAP_EXCLUDE",
        value_delimiter = ','
    )]
    pub(crate) exclude: Option<Vec<String>>,
    /// The repository's root [default: the nearest directory with .git, else the project's]
    #[arg(long, value_name = "DIR", env = "COVTAP_ROOT")]
    pub(crate) root: Option<PathBuf>,
}

/// `covtap inspect`.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["target", "pid"]))]
pub(crate) struct Inspect {
    /// A program, or the number of a process
    #[arg(value_name = "BINARY|PID")]
    pub(crate) target: Option<PathBuf>,
    /// The number of a process, whatever files there are
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Also copy the program that the process runs into a file, whatever container it is in
    #[arg(long, value_name = "FILE", env = "COVTAP_INSPECT_SAVE")]
    pub(crate) save: Option<PathBuf>,
    /// As text or as JSON (schemas/inspect-1.schema.json)
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: ListFormat,
}

/// `covtap wire`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Wire {
    /// The repository, or a folder of it
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) path: PathBuf,
    /// How coverage is to come [default: tap]
    #[arg(long, value_name = "ROUTE", env = "COVTAP_WIRE_ROUTE")]
    pub(crate) route: Option<WireRoute>,
    /// What services write their files to, with --route files [default: emptydir]
    #[arg(long, value_name = "VOLUME", env = "COVTAP_WIRE_VOLUME")]
    pub(crate) volume: Option<WireVolume>,
    /// The directory in containers, with --route files [default: /coverdata]
    #[arg(long, value_name = "DIR", env = "COVTAP_WIRE_DIRECTORY")]
    pub(crate) directory: Option<String>,
    /// A workload or container; may be repeated [default: those whose image is built here]
    #[arg(
        long,
        value_name = "NAME",
        env = "COVTAP_WIRE_SERVICE",
        value_delimiter = ','
    )]
    pub(crate) service: Vec<String>,
    /// Write the files
    #[arg(long)]
    pub(crate) apply: bool,
}

/// `covtap doctor`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Doctor {
    /// A repository, a folder or file of it, or a directory with coverage files
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) path: PathBuf,
    /// How coverage is to come: with tap only the build has to be right [default: as the files show it]
    #[arg(long, value_name = "ROUTE", env = "COVTAP_DOCTOR_ROUTE")]
    pub(crate) route: Option<WireRoute>,
    /// A log of a service, of a build or of the tests; may be repeated
    #[arg(
        long,
        value_name = "FILE",
        env = "COVTAP_DOCTOR_LOG",
        value_delimiter = ','
    )]
    pub(crate) log: Vec<PathBuf>,
    /// text, json (schemas/doctor-1.schema.json), sarif, github or markdown [default: text]
    #[arg(
        long,
        value_name = "FORMAT",
        env = "COVTAP_DOCTOR_FORMAT",
        hide_possible_values = true
    )]
    pub(crate) format: Option<DoctorFormat>,
    /// Write to a file
    #[arg(short, long, value_name = "FILE", env = "COVTAP_DOCTOR_OUTPUT")]
    pub(crate) output: Option<PathBuf>,
    /// Every suspect, with its proof
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// How a diagnosis is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DoctorFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For code scanning
    Sarif,
    /// For GitHub's workflows
    Github,
    /// For comments and summaries
    Markdown,
}

/// How coverage is to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum WireRoute {
    /// Out of memory: only the build is instrumented
    #[default]
    Tap,
    /// From files that services write: the whole chain, from the host to the process
    Files,
}

/// What services write their files to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum WireVolume {
    /// A directory that lives as long as the pod
    #[default]
    Emptydir,
    /// A directory of the node, which Kind nodes share with this machine
    Hostpath,
    /// A claim
    Pvc,
}

/// `covtap build`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Build {
    /// The build context
    #[arg(value_name = "CONTEXT", default_value = ".")]
    pub(crate) context: PathBuf,
    /// The Dockerfile [default: Dockerfile in the context]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Name of the image; may be repeated
    #[arg(short, long, value_name = "NAME")]
    pub(crate) tag: Vec<String>,
    /// An argument for the Dockerfile; may be repeated. GOFLAGS keeps what is given here
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) build_arg: Vec<String>,
    /// Build only up to this stage
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// Packages that count, as `go build -coverpkg` takes them [default: those of the main module]
    #[arg(long, value_name = "PATTERNS", env = "COVTAP_COVERPKG")]
    pub(crate) coverpkg: Option<String>,
    /// Docker or Podman [default: the first of them on PATH]
    #[arg(long, value_name = "NAME", env = "COVTAP_ENGINE")]
    pub(crate) engine: Option<EngineName>,
    /// Load the image into the nodes of this Kind cluster
    #[arg(long, value_name = "CLUSTER", env = "COVTAP_KIND")]
    pub(crate) kind: Option<String>,
    /// Print the Dockerfile that the engine would get, and build nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// More arguments for the engine's build
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) engine_arguments: Vec<OsString>,
}

/// A container engine that builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    Docker,
    Podman,
}

/// `covtap tap`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Tap {
    /// The numbers of the processes
    #[arg(value_name = "PID", required = true)]
    pub(crate) pids: Vec<u32>,
    /// Where the files go [default: a new folder in `tap` of the store (--store)]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Go on: a snapshot every so often, until the processes end or Ctrl-C
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) every: Option<Duration>,
    /// Go on until the processes end, and read their last state then [every: 1s]
    #[arg(long)]
    pub(crate) until_exit: bool,
    /// As text or as JSON (schemas/tap-1.schema.json)
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: ListFormat,
}

/// `covtap watch`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Watch {
    /// The numbers of processes [default: all instrumented ones that may be read]
    #[arg(value_name = "PID", conflicts_with = "cgroup")]
    pub(crate) pids: Vec<u32>,
    /// The processes of this control group and those below it: the end of its path in
    /// /proc/PID/cgroup
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Option<String>,
    /// How processes are found as they start [default: by events, else by looking]
    #[arg(long, value_name = "MEANS", env = "COVTAP_WATCHING")]
    pub(crate) watching: Option<Watching>,
    /// The time between two looks at the counters of a process [default: 1s]
    #[arg(long, value_name = "TIME", env = "COVTAP_EVERY", value_parser = parse_duration)]
    pub(crate) every: Option<Duration>,
}

/// `covtap ls`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Ls {
    /// Only this workload, as with --workload: deploy/api, sts/db, job/x, pod/y, or the name alone
    #[arg(value_name = "KIND/NAME")]
    pub(crate) workloads: Vec<WorkloadName>,
    /// Wait until everything that is asked for is there and ready
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait at most: 2m, 90s
    #[arg(long, value_name = "TIME", default_value = "2m", requires = "wait", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// As a table or as JSON (schemas/ls-1.schema.json)
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: ListFormat,
    #[command(flatten)]
    pub(crate) selecting: Selecting,
}

/// `covtap clean`.
#[derive(Debug, clap::Args)]
pub(crate) struct Cleaning {
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Look for agents of other runs in the cluster of this context too: those that a process of this
    /// machine has made that is no more are removed, others are named
    #[arg(long, value_name = "NAME", env = "COVTAP_CONTEXT")]
    pub(crate) context: Option<String>,
    /// The same in the cluster of this kubeconfig
    #[arg(long, value_name = "FILE", env = "COVTAP_KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// `covtap agent`.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Agent {
    #[command(subcommand)]
    pub(crate) command: Option<AgentCommand>,
    /// Which processes it looks at; of what it finds it sends what the other end has selected
    #[arg(long, value_name = "SCOPE", default_value = "machine")]
    pub(crate) scope: AgentScope,
    /// How processes are found as they start
    #[arg(long, value_name = "MEANS", default_value = "auto")]
    pub(crate) watching: Watching,
    /// The time between two looks at the counters of a process, until covtap says another
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub(crate) every: Duration,
    /// Go on for this long when the connection is cut, and wait for another `covtap agent` here to
    /// carry on with it [default: end at once]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) linger: Option<Duration>,
    /// Speak with nobody yet: wait here for whoever comes with --join, one after the other
    #[arg(long)]
    pub(crate) stay: bool,
    /// Be no agent: hand standard input and output over to the one that waits here (--stay)
    #[arg(long, conflicts_with_all = ["stay", "scope", "watching", "every", "linger", "namespace"])]
    pub(crate) join: bool,
    /// Send nothing but what is of pods in this namespace, whatever is selected; may be repeated. The
    /// names of the folders in /var/log/pods tell
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    pub(crate) namespace: Vec<String>,
}

/// What there is to do for agents beforehand.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Write this program as an image, for `covtap run --agent-image`
    #[command(after_help = AGENT_IMAGE_EXAMPLES)]
    Image(AgentImage),
    /// Print what `covtap run --agent-image` makes in a cluster, and the rights that it needs
    #[command(after_help = AGENT_MANIFEST_EXAMPLES)]
    Manifest(AgentManifest),
}

/// `covtap agent manifest`.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["namespace", "all_namespaces"]))]
pub(crate) struct AgentManifest {
    /// A namespace whose pods are looked into; may be repeated
    #[arg(short, long, value_name = "NAMESPACE", value_delimiter = ',')]
    pub(crate) namespace: Vec<String>,
    /// The pods of all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// The image of the agents
    #[arg(long, value_name = "IMAGE", default_value = concat!("covtap-agent:", env!("CARGO_PKG_VERSION")))]
    pub(crate) agent_image: String,
    /// The namespace of the DaemonSet [default: one of its own]
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) agent_namespace: Option<String>,
    /// With the exec hold, which needs SYS_ADMIN: as for covtap run --watching hold
    #[arg(long)]
    pub(crate) hold: bool,
}

/// `covtap agent image`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AgentImage {
    /// Where the archive goes [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The image's name and tag [default: covtap-agent:VERSION]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A static covtap for Linux instead of this one: for nodes with another processor
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,
}

/// Which processes an agent looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AgentScope {
    /// All of its pid namespace
    Machine,
    /// Those in pods and containers, but for its own container
    Containers,
}

/// `covtap runs`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Runs {
    #[command(subcommand)]
    pub(crate) command: RunsCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, the newest last
    Ls {
        /// As a table or as JSON
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        format: ListFormat,
    },
    /// Remove runs
    #[command(group = clap::ArgGroup::new("which").required(true).args(["runs", "keep", "all"]))]
    Rm {
        /// Runs to remove, by name or the beginning of it
        #[arg(value_name = "RUN")]
        runs: Vec<String>,
        /// Remove all but the newest N
        #[arg(long, value_name = "N")]
        keep: Option<usize>,
        /// Remove all
        #[arg(long)]
        all: bool,
    },
}

/// The processes of the exec hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Guards the holder
    Guardian,
    /// Holds
    Holder,
}

/// How lists are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// For people
    Text,
    /// JSON
    Json,
}

fn formats() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(|word| word.parse::<Format>())
}

fn sorts() -> impl TypedValueParser<Value = Sort> {
    PossibleValuesParser::new(Sort::ALL.map(Sort::name)).try_map(|word| word.parse::<Sort>())
}

fn rows() -> impl TypedValueParser<Value = By> {
    PossibleValuesParser::new(By::ALL.map(By::name)).try_map(|word| word.parse::<By>())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        let args =
            Args::try_parse_from(["covtap", "run", "--grace=1s", "make", "--grace", "x", "-o"])
                .unwrap();
        let Command::Run(run) = args.command else {
            panic!()
        };
        assert_eq!(run.command, ["make", "--grace", "x", "-o"]);
        assert_eq!(run.ending.grace, Some(Duration::from_secs(1)));
    }

    #[test]
    fn covdata_gets_its_arguments_raw() {
        let args =
            Args::try_parse_from(["covtap", "covdata", "percent", "-i=a,b", "--help"]).unwrap();
        let Command::Covdata { args } = args.command else {
            panic!()
        };
        assert_eq!(args, ["percent", "-i=a,b", "--help"]);
    }

    #[test]
    fn lists_may_be_repeated_or_separated() {
        let args = Args::try_parse_from([
            "covtap", "report", "--format", "lcov,go", "--format", "text", "a", "b",
        ])
        .unwrap();
        let Command::Report(report) = args.command else {
            panic!()
        };
        assert_eq!(
            report.format.unwrap(),
            [Format::Lcov, Format::Go, Format::Text]
        );
        assert_eq!(report.sources.len(), 2);
    }

    #[test]
    fn every_flag_has_an_environment_variable() {
        for name in ["run", "report", "start", "collect"] {
            let mut command = Args::command();
            command.build();
            let sub = command.find_subcommand(name).unwrap();
            for arg in sub.get_arguments().filter(|a| !a.is_positional()) {
                let id = arg.get_id().as_str();
                if ["help", "version", "files", "foreground"].contains(&id) {
                    continue;
                }
                let expected = format!("COVTAP_{}", id.to_uppercase());
                assert_eq!(
                    arg.get_env().and_then(|e| e.to_str()),
                    Some(&*expected),
                    "{name} {id}"
                );
            }
        }
    }
}
