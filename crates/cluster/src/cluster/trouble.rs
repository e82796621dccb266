//! Why a cluster's API did not give what was asked, in words that say what to do. Pure functions.

use std::error::Error as _;
use std::io;

use covtap_model::problem::{Problem, Severity};
use kube::core::Status;
use kube::runtime::watcher;

/// What was asked of an API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The cluster.
    pub(crate) cluster: &'a str,
    /// `list`, `watch`, `get`, `create`.
    pub(crate) verb: &'a str,
    /// `pods`, `pods/log`, `replicasets.apps`.
    pub(crate) resource: &'a str,
    /// In which namespace; none for all, and for what is in none.
    pub(crate) namespace: Option<&'a str>,
    /// What comes of it.
    pub(crate) effect: &'a str,
}

/// What kind of trouble it is. One of a kind is said once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// 401.
    Unknown,
    /// 403.
    Forbidden,
    /// Nobody answers.
    Unreachable,
    /// Whoever answers is not the server that the configuration knows.
    Untrusted,
    /// Another answer, by its number.
    Answer(u16),
    /// An answer that cannot be read.
    Damaged,
}

/// What a watcher met. None for what it mends by itself without losing anything: a resource version
/// that is too old.
pub(crate) fn of_watch(request: Request<'_>, error: &watcher::Error) -> Option<(Kind, Problem)> {
    match error {
        watcher::Error::InitialListFailed(error) => Some(of(
            Request {
                verb: "list",
                ..request
            },
            error,
        )),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            Some(of(request, error))
        }
        watcher::Error::WatchError(status) if status.code == 410 => None,
        watcher::Error::WatchError(status) => Some(of_status(request, status)),
        watcher::Error::NoResourceVersion => Some((
            Kind::Damaged,
            problem(request, "an answer without a resource version".into()),
        )),
    }
}

/// What a request met.
pub(crate) fn of(request: Request<'_>, error: &kube::Error) -> (Kind, Problem) {
    match error {
        kube::Error::Api(status) => of_status(request, status),
        kube::Error::SerdeError(error) => (
            Kind::Damaged,
            problem(request, format!("an answer that cannot be read: {error}")),
        ),
        error => of_connection(request, error),
    }
}

/// What its user may not do, as the API says when it is asked.
pub(crate) fn not_allowed(request: Request<'_>) -> Problem {
    problem(request, "the user of the kubeconfig may not".into()).hint(grant(request, ""))
}

fn of_status(request: Request<'_>, status: &Status) -> (Kind, Problem) {
    let found = if status.message.is_empty() {
        format!("{} {}", status.code, status.reason)
    } else {
        format!("{} {}", status.code, status.message)
    };
    let problem = problem(request, found);
    match status.code {
        401 => (
            Kind::Unknown,
            problem.hint("the API server does not accept the credentials: log in again, then `kubectl auth whoami`"),
        ),
        403 => (Kind::Forbidden, problem.hint(grant(request, &status.message))),
        code => (Kind::Answer(code), problem),
    }
}

fn of_connection(request: Request<'_>, error: &kube::Error) -> (Kind, Problem) {
    let mut words = error.to_string();
    let mut next = error.source();
    let mut kind = Kind::Unreachable;
    while let Some(cause) = next {
        let text = cause.to_string();
        // Causes that say again what was said above them are left out.
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::InvalidData
        {
            kind = Kind::Untrusted;
        }
        next = cause.source();
    }
    let problem = problem(request, words);
    match kind {
        Kind::Untrusted => (
            kind,
            problem.hint("the server's certificate is not of the kubeconfig's authority: is it another cluster at the same address?"),
        ),
        kind => (kind, problem),
    }
}

fn problem(request: Request<'_>, found: String) -> Problem {
    let place = request.namespace.map_or(String::new(), |namespace| {
        format!(" in namespace {namespace}")
    });
    Problem::new(
        Severity::Warning,
        format!("cluster {}", request.cluster),
        format!("an answer to {} {}{place}", request.verb, request.resource),
        found,
        request.effect,
    )
}

/// The commands that would grant a request, for whom the server's message names.
fn grant(request: Request<'_>, message: &str) -> String {
    let user = message
        .split_once("User \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("USER", |(user, _)| user);
    let subject = user.strip_prefix("system:serviceaccount:").map_or_else(
        || format!("--user={user}"),
        |account| format!("--serviceaccount={account}"),
    );
    // A watch begins with a list.
    let verbs = match request.verb {
        "list" | "watch" => "get,list,watch",
        verb => verb,
    };
    let (kind, place) = match request.namespace {
        Some(namespace) => ("role", format!(" -n {namespace}")),
        None => ("clusterrole", String::new()),
    };
    format!(
        "whoever may: kubectl create {kind} covtap{place} --verb={verbs} --resource={} && kubectl create {kind}binding covtap{place} --{kind}=covtap {subject}",
        request.resource
    )
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::runtime::watcher;

    use super::{Kind, Request, of, of_watch};

    fn request(namespace: Option<&str>) -> Request<'_> {
        Request {
            cluster: "prod",
            verb: "watch",
            resource: "pods",
            namespace,
            effect: "its pods are not followed",
        }
    }

    fn answer(code: u16, message: &str) -> Status {
        Status {
            code,
            message: message.into(),
            ..Status::default()
        }
    }

    fn error(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(answer(code, message)))
    }

    #[test]
    fn a_forbidden_request_names_the_rule_to_grant() {
        let (kind, problem) = of(
            request(Some("shop")),
            &error(403, "pods is forbidden: User \"eve\" cannot watch resource"),
        );
        assert_eq!(kind, Kind::Forbidden);
        let text = problem.to_string();
        for part in [
            "cluster prod",
            "watch pods in namespace shop",
            "kubectl create role covtap -n shop --verb=get,list,watch --resource=pods",
            "kubectl create rolebinding covtap -n shop --role=covtap --user=eve",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let (_, problem) = of(
            request(None),
            &error(403, "User \"system:serviceaccount:ci:runner\" cannot"),
        );
        let text = problem.to_string();
        assert!(
            text.contains(
                "clusterrolebinding covtap --clusterrole=covtap --serviceaccount=ci:runner"
            ),
            "{text}"
        );
    }

    #[test]
    fn other_answers_keep_their_number_and_words() {
        let (kind, problem) = of(request(None), &error(401, "Unauthorized"));
        assert_eq!(kind, Kind::Unknown);
        assert!(problem.hint.unwrap().contains("log in"));
        let (kind, problem) = of(request(None), &error(500, "etcd is away"));
        assert_eq!(kind, Kind::Answer(500));
        assert!(problem.to_string().contains("500 etcd is away"));
    }

    #[test]
    fn an_old_resource_version_is_no_trouble() {
        let gone = watcher::Error::WatchError(Box::new(answer(410, "too old")));
        assert_eq!(of_watch(request(None), &gone), None);
        let (_, problem) = of_watch(
            request(None),
            &watcher::Error::InitialListFailed(error(500, "x")),
        )
        .unwrap();
        assert!(problem.to_string().contains("list pods"));
    }
}
