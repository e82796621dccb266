//! The program does not handle SIGTERM: it is ended without writing.

use crate::rule::Signal;
use crate::tree::{Act, act, at, line, reached, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::{Call, Package};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 202,
    slug: "sigterm-not-handled",
    link: Link::Shutdown,
    severity: Severity::Error,
    files_only: true,
    title: "the program does not handle SIGTERM: it is ended without writing",
    checks: "Calls of signal.Notify and signal.NotifyContext in the program and its packages; frameworks that do it; a container that ends with 143 and has meta-data alone.",
    why: "Kubernetes and engines end a container with SIGTERM. Go's default action ends the process at once, without the exit hook: meta-data was written at the start, counters never are.",
    evidence: &[Signal::Data, Signal::Specification, Signal::Repository],
    fix: "Handle SIGTERM and return from main: `ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)`. Its memory can be read as it is.",
    safety: Safety::Review,
    references: &[
        "https://pkg.go.dev/os/signal",
        "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination",
    ],
    explains: &["copied-before-exit"],
    check,
};

/// What handles SIGTERM for a program that uses it.
const HANDLERS: [&str; 12] = [
    "sigs.k8s.io/controller-runtime",
    "k8s.io/apiserver",
    "k8s.io/component-base/cli",
    "knative.dev/pkg",
    "go.uber.org/fx",
    "github.com/oklog/run",
    "github.com/go-kratos/kratos",
    "github.com/zeromicro/go-zero",
    "github.com/judwhite/go-svc",
    "github.com/kardianos/service",
    "github.com/operator-framework",
    "istio.io",
];

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts).filter(|t| t.wants_files() && !t.flushes()) else {
        return;
    };
    let repository = tree.repository;
    let handlers: Vec<(&Package, &Call)> = repository
        .packages
        .iter()
        .flat_map(|p| p.calls.iter().map(move |c| (p, c)))
        .filter(|(_, c)| handles(c))
        .collect();
    for package in repository.packages.iter().filter(|p| p.main.is_some()) {
        let Some(subject) = tree.service_of(package) else {
            continue;
        };
        let reached = reached(repository, package);
        let own = handlers
            .iter()
            .find(|(p, _)| reached.iter().any(|r| std::ptr::eq(*r, *p)));
        if let Some((_, call)) = own {
            verdicts.clear(
                &RULE,
                subject,
                "the program handles SIGTERM",
                vec![at(
                    &call.place,
                    format!("{}({})", call.name, call.arguments.join(", ")),
                )],
            );
            continue;
        }
        let imports: Vec<&str> = reached
            .iter()
            .flat_map(|p| &p.imports)
            .map(String::as_str)
            .collect();
        if let Some(framework) = imports
            .iter()
            .find(|i| HANDLERS.iter().any(|h| i.starts_with(h)))
        {
            verdicts.clear(
                &RULE,
                subject,
                format!("{framework} handles SIGTERM"),
                vec![Evidence::new(
                    &package.folder,
                    format!("imports {framework}"),
                )],
            );
            continue;
        }
        // A handler of other signals is another rule's business.
        if reached.iter().flat_map(|p| &p.calls).any(|c| {
            c.name.starts_with("signal.Notify")
                && c.arguments.len() > 1
                && !c.arguments[1..].join(" ").contains("USR")
                && !c.arguments[1..].join(" ").contains("HUP")
        }) {
            continue;
        }
        let serves = package
            .calls
            .iter()
            .chain(reached.iter().flat_map(|p| &p.calls))
            .find(|c| c.name.contains("ListenAndServe") || c.name.ends_with(".Serve"));
        let stopped = tree
            .steps()
            .find(|s| matches!(act(s), Some(Act::Stop | Act::StopAndWait)));
        let (Some(main), Some(serves)) = (&package.main, serves) else {
            continue;
        };
        // A package that was not read may do it, and so may other people's code.
        let modules: Vec<&str> = repository.modules.iter().map(|m| m.path.as_str()).collect();
        let own = |i: &str| modules.iter().any(|m| i.starts_with(m));
        let foreign = imports
            .iter()
            .any(|i| i.split('/').next().is_some_and(|h| h.contains('.')) && !own(i));
        let (confidence, severity) = match foreign {
            true => (Confidence::Possible, Severity::Warning),
            false => (Confidence::Likely, RULE.severity),
        };
        let mut evidence = vec![
            at(
                main,
                "func main: nothing it reaches calls signal.Notify or signal.NotifyContext",
            ),
            at(&serves.place, &serves.name),
        ];
        evidence.extend(stopped.map(line));
        let cause = "the program serves until it is killed: SIGTERM ends it without its counters";
        verdicts
            .found(&RULE, subject, confidence, cause, evidence)
            .severity(severity)
            .end();
    }
}

fn handles(call: &Call) -> bool {
    let told = call.arguments.join(" ");
    let term = told.contains("SIGTERM");
    match call.name.as_str() {
        // Without signals Notify takes all of them.
        "signal.Notify" => {
            term || call.arguments.len() < 2 || told.contains("...") || told.contains('…')
        }
        "signal.NotifyContext" => term || told.contains('…'),
        name => name.ends_with("SetupSignalHandler") || name == "run.SignalHandler",
    }
}
