//! Lives as they come over the wire.

use std::path::PathBuf;

use covtap_profile::go::executable::{Evidence, Executable, GoBuild};
use covtap_tap::cgroup::Place;
use covtap_tap::clock::Moment;
use covtap_tap::life::{CoverageDirectory, End, Inspection, Last, Life, Status, Tap};

use super::message::{DirectoryHead, LastHead, LifeHead};
use crate::around::Directory;

/// Nanoseconds since 1970, as long as they last: to 2262.
pub(super) fn nanoseconds(moment: Moment) -> i64 {
    i64::try_from(moment.0).unwrap_or(if moment.0 < 0 { i64::MIN } else { i64::MAX })
}

/// The other way round.
pub(super) fn moment(nanoseconds: i64) -> Moment {
    Moment(nanoseconds.into())
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
        cgroup: head
            .cgroup
            .as_deref()
            .map(|path| Place::parse(&format!("0::{path}"))),
        added: None,
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

/// The directory that a head tells of.
pub(super) fn directory(head: &LifeHead) -> Directory {
    let path = match head.coverage_directory.as_deref() {
        None => return Directory::Unknown,
        Some("") => return Directory::Unset,
        Some(path) => PathBuf::from(path),
    };
    match &head.directory {
        None => Directory::Unknown,
        Some(DirectoryHead { owner: None, .. }) => Directory::Absent { path },
        Some(DirectoryHead {
            owner: Some(owner),
            mode,
            writable,
        }) => Directory::There {
            path,
            owner: *owner,
            mode: *mode,
            writable: *writable,
        },
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
