//! Lives as they go over the wire.

use covtap_profile::go::executable::Evidence;
use covtap_tap::cgroup::Place;
use covtap_tap::life::{CoverageDirectory, End, Inspection, Last, Life, Status, Tap};

use super::convert::nanoseconds;
use super::message::{DirectoryHead, EndHead, GoHead, LastHead, LifeHead, ProgramHead, TapHead};
use crate::around::Directory;

/// What is said of a life. Names that are not UTF-8 lose what is not.
pub(super) fn head(life: &Life) -> LifeHead {
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
        user: None,
        directory: None,
        began: nanoseconds(life.began),
        first_seen: nanoseconds(life.first_seen),
        cgroup: life.cgroup.as_ref().map(path),
        end: end_head(life.end),
        tap: tap_head(&life.tap),
        serial: 0,
    }
}

/// What is said of the directory that a life would write to, where it was looked at.
pub(super) fn directory_head(directory: &Directory) -> Option<DirectoryHead> {
    match directory {
        Directory::Unset | Directory::Unknown => None,
        Directory::Absent { .. } => Some(DirectoryHead {
            owner: None,
            mode: 0,
            writable: false,
        }),
        Directory::There {
            owner,
            mode,
            writable,
            ..
        } => Some(DirectoryHead {
            owner: Some(*owner),
            mode: *mode,
            writable: *writable,
        }),
    }
}

/// The ids of a place as a path, which is read as the kernel's are.
fn path(place: &Place) -> String {
    let mut path = String::new();
    for container in &place.outer {
        path += &format!("/{container}");
    }
    if let Some(pod) = &place.pod {
        path += &format!("/pod{pod}");
    }
    if let Some(container) = &place.container {
        path += &format!("/{container}");
    }
    path
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

#[cfg(test)]
mod tests {
    use covtap_profile::go::executable::{Executable, GoBuild};
    use covtap_tap::clock::Moment;

    use super::super::convert::{directory, life, moment};
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
            cgroup: None,
            added: None,
            end: End::None,
            tap: Tap::None,
        }
    }

    #[test]
    fn a_life_comes_back_as_it_went() {
        let mut lives = vec![example(); 10];
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
        let (node, own) = ("a1".repeat(32), "b2".repeat(32));
        let uid = "0b7c4c3e-0d5b-4e6b-9a56-3b1c5e2f7a10";
        let texts = [
            "/",
            &format!("/docker/{own}"),
            &format!("/docker/{node}/pod{uid}/{own}"),
        ];
        for (life, text) in lives[7..].iter_mut().zip(texts) {
            life.cgroup = Some(Place::parse(&format!("0::{text}")));
        }
        assert_eq!(lives[9].cgroup.as_ref().unwrap().outer.len(), 1);
        for wanted in lives {
            let json = serde_json::to_string(&head(&wanted)).unwrap();
            let back: LifeHead = serde_json::from_str(&json).unwrap();
            assert_eq!(life(&back, moment), wanted, "{json}");
        }
    }

    #[test]
    fn a_directory_comes_back_as_it_went() {
        let path = std::path::PathBuf::from("/cov");
        let there = Directory::There {
            path: path.clone(),
            owner: (0, 1001),
            mode: 0o750,
            writable: false,
        };
        for wanted in [there, Directory::Absent { path }, Directory::Unknown] {
            let told = LifeHead {
                directory: directory_head(&wanted),
                ..head(&example())
            };
            let json = serde_json::to_string(&told).unwrap();
            let back: LifeHead = serde_json::from_str(&json).unwrap();
            assert_eq!(directory(&back), wanted, "{json}");
        }
        let mut unset = example();
        unset.coverage_directory = CoverageDirectory::Unset;
        assert_eq!(directory(&head(&unset)), Directory::Unset);
    }

    #[test]
    fn build_settings_stay_where_they_are() {
        let mut secret = example();
        if let Inspection::Elf(Executable { go: Some(go), .. }) = &mut secret.inspection {
            go.settings
                .push(("-ldflags".into(), "-X main.key=secret".into()));
        }
        let json = serde_json::to_string(&head(&secret)).unwrap();
        assert!(!json.contains("secret"), "{json}");
    }
}
