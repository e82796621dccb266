//! What Go's files need, as a list that is ticked off: the key requirements of everybody who wires them by hand.

use covtap_model::finding::{Diagnosis, Link, Route, State, Subject};

/// A requirement, and how a service stands with it.
pub(super) struct Need {
    /// `GOCOVERDIR set`.
    pub(super) what: &'static str,
    /// How it stands with it.
    pub(super) state: State,
    /// What shows that.
    pub(super) because: String,
    /// The rule that has cleared it, which is then said already.
    pub(super) cleared: Option<String>,
}

/// A suspect that is always innocent, and still the first that people name.
const STRIPPED: &str = "symbols-stripped";

const NEEDS: [(&str, &[Link]); 5] = [
    ("built with -cover", &[Link::Build, Link::Image]),
    ("coverage meta-data kept", &[]),
    ("GOCOVERDIR set", &[Link::Manifest, Link::Environment]),
    (
        "directory there and writable",
        &[Link::Mount, Link::Permission],
    ),
    ("graceful shutdown", &[Link::Shutdown]),
];

/// The requirements of a service that writes files; none of what is no service, or writes none.
pub(super) fn of(diagnosis: &Diagnosis, subject: &Subject) -> Vec<Need> {
    let is_service = subject.chain.iter().any(|l| l.link == Link::Environment);
    if diagnosis.route == Route::Tap || !is_service {
        return Vec::new();
    }
    NEEDS
        .iter()
        .map(|(what, links)| need(diagnosis, subject, what, links))
        .collect()
}

fn need(diagnosis: &Diagnosis, subject: &Subject, what: &'static str, links: &[Link]) -> Need {
    let about = |name: &str, link: Link, rule: &str| {
        let fits = match links {
            [] => rule == STRIPPED,
            links => links.contains(&link) && rule != STRIPPED,
        };
        name == subject.name && fits
    };
    let states = subject.chain.iter().filter(|l| links.contains(&l.link));
    let states: Vec<State> = states.map(|l| l.state).collect();
    let findings = diagnosis.findings.iter().filter(|f| f.is_ill());
    let found = findings
        .clone()
        .find(|f| about(&f.subject, f.link, &f.rule));
    let open = diagnosis
        .unknown
        .iter()
        .find(|u| about(&u.subject, u.link, &u.rule));
    let cleared = diagnosis
        .cleared
        .iter()
        .find(|c| about(&c.subject, c.link, &c.rule));
    let (state, because) = match (found, cleared) {
        (Some(finding), _) => (State::Broken, finding.cause.clone()),
        (None, _) if states.contains(&State::NotReached) => {
            (State::NotReached, "not reached".to_owned())
        }
        (None, Some(cleared)) if open.is_none() => (State::Sound, cleared.because.clone()),
        _ => {
            let because = open.map_or("was not looked at", |open| &open.because);
            (State::Unknown, because.to_owned())
        }
    };
    Need {
        what,
        cleared: cleared
            .filter(|_| state == State::Sound)
            .map(|c| c.rule.clone()),
        state,
        because,
    }
}
