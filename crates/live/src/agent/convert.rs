//! Lives as they go over the wire, and back.

use std::path::PathBuf;

use covtap_profile::go::executable::{Evidence, Executable, GoBuild};
use covtap_tap::clock::Moment;
use covtap_tap::life::{CoverageDirectory, End, Inspection, Last, Life, Status, Tap};

use super::message::{EndHead, GoHead, LastHead, LifeHead, ProgramHead, TapHead};

/// Nanoseconds since 1970, as long as they last: to 2262.
pub(super) fn nanoseconds(moment: Moment) -> i64 {
    i64::try_from(moment.0).unwrap_or(if moment.0 < 0 { i64::MIN } else { i64::MAX })
}

/// The other way round.
pub(super) fn moment(nanoseconds: i64) -> Moment {
    Moment(nanoseconds.into())
}

/// What is said of a life. Names that are not UTF-8 lose what is not.
pub(super) fn head(life: &Life, cgroup: Option<String>) -> LifeHead {
    LifeHead {
        life: life.key().into(),
        inner_pid: life.inner_pid,
        executable: life.executable.to_string_lossy().into_owned(),
        program: program_head(&life.inspection),
        coverage_directory: match &life.coverage_directory {
            CoverageDirectory::Unknown => None,
            CoverageDirectory::Unset => Some(String::new()),
            CoverageDirectory::Set(path) => Some(path.to_string_lossy().into_owned()),
        },
        began: nanoseconds(life.began),
        first_seen: nanoseconds(life.first_seen),
        cgroup,
        end: end_head(life.end),
        tap: tap_head(&life.tap),
        serial: 0,
    }
}

/// The life that a head tells of, with what the tap got left out. `ours` makes a time of the agent one of
/// this machine.
pub(super) fn life(head: &LifeHead, ours: impl Fn(i64) -> Moment) -> Life {
    let program = &head.program;
    Life {
        pid: head.life.0,
        inner_pid: head.inner_pid,
        start_ticks: head.life.1,
        generation: head.life.2,
        executable: PathBuf::from(&head.executable),
        inspection: match &program.failed {
            Some(because) => Inspection::Failed(because.clone()),
            None => Inspection::Elf(Executable {
                go: program.go.as_ref().map(|go| GoBuild {
                    version: go.version.clone(),
                    main_package: go.main_package.clone(),
                    main_module: go.main_module.clone(),
                    settings: Vec::new(),
                }),
                instrumented: program.instrumented,
                evidence: match (program.function_name, &program.go) {
                    (Some(offset), _) => Evidence::FunctionName { offset },
                    (None, Some(_)) => Evidence::NoFunctionName,
                    (None, None) => Evidence::NotGo,
                },
                exit_hook: program.exit_hook,
            }),
        },
        coverage_directory: match head.coverage_directory.as_deref() {
            None => CoverageDirectory::Unknown,
            Some("") => CoverageDirectory::Unset,
            Some(path) => CoverageDirectory::Set(path.into()),
        },
        began: ours(head.began),
        first_seen: ours(head.first_seen),
        end: match &head.end {
            None => End::None,
            Some(end) if end.exec => End::Exec { at: ours(end.at) },
            Some(end) => End::Gone {
                at: ours(end.at),
                status: (end.code.map(Status::Exit)).or(end.signal.map(Status::Signal)),
            },
        },
        tap: Tap::None,
    }
}

fn program_head(inspection: &Inspection) -> ProgramHead {
    let elf = inspection.elf();
    ProgramHead {
        failed: match inspection {
            Inspection::Elf(_) => None,
            Inspection::Failed(because) => Some(because.clone()),
            Inspection::Pending => Some("it was not looked at".into()),
        },
        instrumented: elf.is_some_and(|elf| elf.instrumented),
        function_name: match elf.map(|elf| elf.evidence) {
            Some(Evidence::FunctionName { offset }) => Some(offset),
            _ => None,
        },
        exit_hook: elf.is_some_and(|elf| elf.exit_hook),
        go: elf.and_then(|elf| elf.go.as_ref()).map(|go| GoHead {
            version: go.version.clone(),
            main_package: go.main_package.clone(),
            main_module: go.main_module.clone(),
        }),
    }
}

fn end_head(end: End) -> Option<EndHead> {
    let at = nanoseconds(end.at()?);
    let status = match end {
        End::Gone { status, .. } => status,
        End::None | End::Exec { .. } => None,
    };
    Some(EndHead {
        at,
        exec: matches!(end, End::Exec { .. }),
        code: match status {
            Some(Status::Exit(code)) => Some(code),
            _ => None,
        },
        signal: match status {
            Some(Status::Signal(signal)) => Some(signal),
            _ => None,
        },
    })
}

fn tap_head(tap: &Tap) -> Option<TapHead> {
    match tap {
        Tap::None => None,
        // It is tapped, and what comes of that is not known yet.
        Tap::Failed { because } if because.is_empty() => None,
        Tap::Failed { because } => Some(TapHead {
            failed: Some(because.clone()),
            snapshots: 0,
            last: None,
        }),
        Tap::State(state) => Some(TapHead {
            failed: None,
            snapshots: state.snapshots,
            last: Some(match &state.last {
                Last::Exit => LastHead::Exit,
                Last::ExitSmaller => LastHead::ExitSmaller,
                Last::Running { at } => LastHead::Running {
                    at: nanoseconds(*at),
                },
                Last::Snapshot { at, because } => LastHead::Snapshot {
                    at: nanoseconds(*at),
                    because: because.clone(),
                },
            }),
        }),
    }
}

/// How a last state was got.
pub(super) fn last(head: &LastHead, ours: impl Fn(i64) -> Moment) -> Last {
    match head {
        LastHead::Exit => Last::Exit,
        LastHead::ExitSmaller => Last::ExitSmaller,
        LastHead::Running { at } => Last::Running { at: ours(*at) },
        LastHead::Snapshot { at, because } => Last::Snapshot {
            at: ours(*at),
            because: because.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Life {
        Life {
            pid: 7,
            inner_pid: 1,
            start_ticks: 99,
            generation: 2,
            executable: "/svc".into(),
            inspection: Inspection::Elf(Executable {
                go: Some(GoBuild {
                    version: "go1.27.3".into(),
                    main_package: "example.org/svc".into(),
                    main_module: "example.org".into(),
                    settings: Vec::new(),
                }),
                instrumented: true,
                evidence: Evidence::FunctionName { offset: 12 },
                exit_hook: true,
            }),
            coverage_directory: CoverageDirectory::Set("/cov".into()),
            began: Moment(5),
            first_seen: Moment(6),
            end: End::None,
            tap: Tap::None,
        }
    }

    #[test]
    fn a_life_comes_back_as_it_went() {
        let mut lives = vec![example(); 7];
        lives[1].end = End::Exec { at: Moment(8) };
        let gone = |status| End::Gone {
            at: Moment(9),
            status,
        };
        lives[2].end = gone(Some(Status::Exit(3)));
        lives[3].end = gone(Some(Status::Signal(9)));
        lives[4].end = gone(None);
        lives[5].inspection = Inspection::Failed("gone".into());
        lives[5].coverage_directory = CoverageDirectory::Unknown;
        lives[6].coverage_directory = CoverageDirectory::Unset;
        for wanted in lives {
            let json = serde_json::to_string(&head(&wanted, None)).unwrap();
            let back: LifeHead = serde_json::from_str(&json).unwrap();
            assert_eq!(life(&back, moment), wanted, "{json}");
        }
    }

    #[test]
    fn build_settings_stay_where_they_are() {
        let mut secret = example();
        if let Inspection::Elf(Executable { go: Some(go), .. }) = &mut secret.inspection {
            go.settings
                .push(("-ldflags".into(), "-X main.key=secret".into()));
        }
        let json = serde_json::to_string(&head(&secret, None)).unwrap();
        assert!(!json.contains("secret"), "{json}");
    }
}
