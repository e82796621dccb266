//! `covtap inspect BINARY|PID`: what a program tells of its coverage, and what a process's memory says.

mod text;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use covtap_model::exit::Exit;
use covtap_model::inspect::{
    self, Evidence, Failed, GoBuild, Image, Inspection, Kind, Layout, Package, Process, Program,
    Setting, Snapshot, Source, Target,
};
use covtap_model::percent::Ratio;
use covtap_profile::go::executable::{self, InspectError};
use covtap_profile::go::program;
use covtap_tap::go::{AttachError, Attached, SnapshotError};
use covtap_tap::image::Images;
use covtap_tap::{proc, target};

use crate::args::{Inspect, ListFormat};
use crate::failure::Failure;
use crate::output;
use crate::units::count;

/// How long a process may take to initialise its packages.
const STARTING: Duration = Duration::from_secs(5);
/// The time between two looks at it meanwhile: nothing tells when it is done.
const AGAIN: Duration = Duration::from_millis(5);

/// Longest name that a process was called by, in bytes: longer ones are cut.
const LONGEST_NAME: u64 = 4096;

/// Build settings whose values are shown. Others may hold secrets: `-ldflags` with `-X`, flags of the
/// C compiler.
const SHOWN: [&str; 13] = [
    "-buildmode",
    "-compiler",
    "-cover",
    "-covermode",
    "-race",
    "-tags",
    "-trimpath",
    "CGO_ENABLED",
    "GOAMD64",
    "GOARCH",
    "GOARM64",
    "GOOS",
    "vcs",
];

pub(crate) fn run(args: Inspect) -> Result<ExitCode, Failure> {
    let save = args.save.as_deref();
    match (args.pid, args.target) {
        (Some(pid), _) => of_process(pid, save, args.format),
        (None, Some(word)) => match process_number(&word) {
            Some(pid) => of_process(pid, save, args.format),
            None if save.is_some() => Err(Failure::new(format!(
                "{} is a file already: --save is for the program of a process",
                word.display()
            ))),
            None => of_file(&word, args.format),
        },
        (None, None) => Err("name a program or a process".into()),
    }
}

/// The number of a process, if the word is one and no file has that name.
fn process_number(word: &Path) -> Option<u32> {
    let digits = word.to_str()?;
    let number = digits.bytes().all(|b| b.is_ascii_digit());
    (number && fs::symlink_metadata(word).is_err())
        .then(|| digits.parse().ok())
        .flatten()
}

fn of_file(path: &Path, format: ListFormat) -> Result<ExitCode, Failure> {
    let cannot = |why: String| Failure::new(format!("cannot inspect {}: {why}", path.display()));
    let metadata = fs::metadata(path).map_err(|e| {
        let number = path.to_string_lossy().bytes().all(|b| b.is_ascii_digit());
        cannot(e.to_string()).hint(number.then(|| "no process has this number".to_owned()))
    })?;
    if metadata.is_dir() {
        return Err(cannot("it is a directory".into()).hint("name a program in it".to_owned()));
    }
    if !metadata.is_file() {
        return Err(cannot("it is no regular file".into()));
    }
    let file = File::open(path).map_err(|e| cannot(e.to_string()))?;
    let found = program::look(file).map_err(|error| {
        let hint = match &error {
            InspectError::NotElf("a script") => Some("name the program that it starts".to_owned()),
            InspectError::Unsupported(what) if what.contains("UPX") => {
                Some("unpack it (upx -d), or inspect the file before it is packed".to_owned())
            }
            _ => None,
        };
        cannot(error.to_string()).hint(hint)
    })?;
    let inspection = Inspection {
        schema: inspect::SCHEMA.into(),
        program: Some(describe(path.display().to_string(), found)),
        process: None,
    };
    print(&inspection, format)?;
    Ok(answer(&inspection))
}

fn of_process(pid: u32, save: Option<&Path>, format: ListFormat) -> Result<ExitCode, Failure> {
    let target = target::Target::find(pid)
        .map_err(|_| Failure::new(format!("there is no process {pid}")))?;
    let attached = attach(target, &Images::new());
    if let Err(
        error @ (AttachError::Gone { .. }
        | AttachError::Zombie { .. }
        | AttachError::KernelThread { .. }),
    ) = attached
    {
        return Err(Failure::new(error));
    }
    if let Some(file) = save {
        // The link leads to the file itself, also where no path does: in a container, or removed.
        fs::copy(format!("/proc/{pid}/exe"), file).map_err(|e| {
            Failure::new(format!(
                "cannot copy the program of process {pid} to {}: {e}",
                file.display()
            ))
        })?;
    }
    let executable = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let module = attached.as_ref().ok().map(|a| a.layout().module.as_path());
    let program = program_of(pid, executable.as_deref(), module);
    let mut process = Process {
        target: describe_target(target, executable.as_deref()),
        image: None,
        layout: None,
        tap: None,
        snapshot: None,
        failed: None,
    };
    let mut covered = None;
    let failed = match attached {
        Ok(mut attached) => {
            describe_layout(&attached, &mut process);
            match look(&mut attached) {
                Ok((snapshot, packages)) => {
                    process.snapshot = Some(snapshot);
                    covered = Some(packages);
                    None
                }
                Err(error) => Some((error.to_string(), None, true)),
            }
        }
        Err(error) => {
            let no = matches!(error, AttachError::NotInstrumented { .. });
            Some((error.to_string(), error.hint(), !no))
        }
    };
    let mut program = program;
    if let (Some(program), Some(packages)) = (&mut program, covered) {
        program.packages = packages;
    }
    let mut code = None;
    if let Some((error, hint, could_not)) = &failed {
        process.failed = Some(Failed {
            error: error.clone(),
            hint: hint.clone(),
        });
        code = could_not.then(|| Failure::new(error.clone()).hint(hint.clone()));
    }
    let inspection = Inspection {
        schema: inspect::SCHEMA.into(),
        program,
        process: Some(process),
    };
    print(&inspection, format)?;
    match code {
        Some(failure) => Err(failure),
        None if failed.is_some() => Ok(ExitCode::from(Exit::No.code())),
        None => Ok(answer(&inspection)),
    }
}

/// Attaches; a program that is still starting gets time to.
fn attach(target: target::Target, images: &Images) -> Result<Attached, AttachError> {
    let until = Instant::now() + STARTING;
    loop {
        match Attached::attach(target, images) {
            Err(error) if error.is_passing() && Instant::now() < until => {
                std::thread::sleep(AGAIN);
            }
            other => return other,
        }
    }
}

/// The file that counts in a process: its own, or a library's.
fn program_of(pid: u32, executable: Option<&Path>, module: Option<&Path>) -> Option<Program> {
    let own = PathBuf::from(format!("/proc/{pid}/exe"));
    let (shown, path) = match module {
        Some(module) if Some(module) != executable => {
            let inside = module.strip_prefix("/").ok()?;
            (
                module,
                PathBuf::from(format!("/proc/{pid}/root")).join(inside),
            )
        }
        _ => (executable?, own),
    };
    // A pipe or device of that name must not block.
    let regular = fs::metadata(&path).is_ok_and(|m| m.is_file());
    let file = regular.then(|| File::open(&path).ok()).flatten()?;
    let found = program::look(file).ok()?;
    Some(describe(shown.display().to_string(), found))
}

fn answer(inspection: &Inspection) -> ExitCode {
    let exit = match inspection.instrumented() {
        Some(true) => Exit::Success,
        Some(false) => Exit::No,
        None => Exit::Failure,
    };
    ExitCode::from(exit.code())
}

fn print(inspection: &Inspection, format: ListFormat) -> Result<(), Failure> {
    let bytes = match format {
        ListFormat::Json => {
            let mut json = serde_json::to_vec_pretty(inspection)?;
            json.push(b'\n');
            json
        }
        ListFormat::Text => text::text(inspection).into_bytes(),
    };
    output::data(&bytes)?;
    Ok(())
}

/// A file's facts as the document has them.
fn describe(path: String, found: program::Program) -> Program {
    let executable = &found.executable;
    let packages = found.packages.into_iter().map(|p| Package {
        path: p.path,
        module: p.module,
        functions: p.functions,
        units: p.units,
        statements: p.statements,
        covered: None,
    });
    let packages: Vec<Package> = packages.collect();
    Program {
        path,
        instrumented: executable.instrumented,
        evidence: evidence(executable, packages.len(), found.counters),
        exit_hook: executable.instrumented.then_some(executable.exit_hook),
        go: executable.go.as_ref().map(|go| GoBuild {
            version: go.version.clone(),
            main_package: go.main_package.clone(),
            module: go.main_module.clone(),
            settings: go
                .settings
                .iter()
                .map(|(name, value)| Setting {
                    name: name.clone(),
                    value: is_shown(name).then(|| value.clone()),
                })
                .collect(),
        }),
        file: inspect::File {
            architecture: found.architecture,
            kind: match found.kind {
                program::Kind::Fixed => Kind::Fixed,
                program::Kind::PositionIndependent => Kind::PositionIndependent,
                program::Kind::Library => Kind::Library,
            },
            dynamic: found.dynamic,
            symbols: found.symbols,
            sections: found.sections,
            go_build_id: found.go_build_id,
            gnu_build_id: found.gnu_build_id,
        },
        packages,
    }
}

/// Whether the value of a build setting is shown.
fn is_shown(name: &str) -> bool {
    SHOWN.contains(&name) || name.starts_with("vcs.")
}

fn evidence(
    executable: &executable::Executable,
    packages: usize,
    counters: Option<u64>,
) -> Vec<Evidence> {
    let mut evidence = vec![Evidence {
        source: Source::FunctionName,
        found: Some(executable.instrumented),
        detail: executable.evidence.to_string(),
    }];
    let Some(go) = &executable.go else {
        return evidence;
    };
    let setting = go.setting("-cover");
    evidence.push(Evidence {
        source: Source::BuildSetting,
        found: match setting {
            Some(value) => Some(value == "true"),
            // Before Go 1.23 its absence says nothing.
            None => records_cover(&go.version).then_some(false),
        },
        detail: match setting {
            Some(value) => format!("build setting -cover={value}"),
            None if records_cover(&go.version) => "no build setting -cover".into(),
            None => format!("build setting -cover: {} does not record it", go.version),
        },
    });
    if executable.instrumented {
        evidence.push(Evidence {
            source: Source::MetaData,
            found: Some(packages > 0),
            detail: format!(
                "meta-data of {}",
                count(
                    packages,
                    "package with functions",
                    "packages with functions"
                )
            ),
        });
    }
    evidence.push(Evidence {
        source: Source::Counters,
        found: counters.map(|bytes| bytes > 0),
        detail: match counters {
            Some(bytes) => format!("room for {bytes} bytes of counters"),
            None => "room for counters: only known of a running process".into(),
        },
    });
    evidence
}

/// Whether this version of Go records `-cover`: from 1.23 on.
fn records_cover(version: &str) -> bool {
    let mut numbers = version
        .strip_prefix("go1.")
        .unwrap_or_default()
        .split(|c: char| !c.is_ascii_digit());
    let minor = numbers.next().and_then(|n| n.parse::<u32>().ok());
    minor.is_none_or(|minor| minor >= 23)
}

fn describe_target(target: target::Target, executable: Option<&Path>) -> Target {
    Target {
        pid: target.pid,
        inner_pid: proc::inner_pid(target.pid),
        executable: executable.map(|path| path.display().to_string()),
        called: called(target.pid),
        started: proc::started_stably(target.start_ticks).rfc3339(),
    }
}

/// The name that a process was called by; it may have written anything there.
fn called(pid: u32) -> Option<String> {
    let mut line = Vec::new();
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    file.take(LONGEST_NAME).read_to_end(&mut line).ok()?;
    let name = line.split(|byte| *byte == 0).next()?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

fn describe_layout(attached: &Attached, process: &mut Process) {
    let layout = attached.layout();
    process.image = Some(Image {
        path: layout.module.display().to_string(),
        build_id: layout.build_id.clone(),
        architecture: layout.architecture.into(),
        bias: layout.bias,
    });
    process.layout = Some(Layout {
        found_by: layout.found.to_string(),
        module_data: layout.module_data,
        list: layout.list,
        final_hash: layout.final_hash,
        counters_start: layout.counters.start,
        counters_end: layout.counters.end,
    });
    process.tap = Some(inspect::Tap {
        mode: layout.mode,
        hash: layout.hash.clone(),
        packages: layout.packages as u64,
        functions: layout.functions as u64,
        units: layout.units as u64,
    });
}

/// What the counters say now, in all and by package.
fn look(attached: &mut Attached) -> Result<(Snapshot, Vec<Package>), SnapshotError> {
    let snapshot = attached.snapshot()?;
    let statements = snapshot.statements();
    let meta = attached.meta();
    let all = meta.packages.iter().flatten().zip(snapshot.packages());
    let mut packages: Vec<Package> = all
        .map(|(package, covered)| {
            let size = program::PackageSize::of(package);
            Package {
                path: size.path,
                module: size.module,
                functions: size.functions,
                units: size.units,
                statements: size.statements,
                covered: Some(covered.covered),
            }
        })
        .collect();
    packages.sort_by(|a, b| a.path.cmp(&b.path));
    let document = Snapshot {
        at: snapshot.at.rfc3339(),
        reads: snapshot.reads,
        bytes: snapshot.bytes,
        statements: Ratio::new(statements.covered, statements.total),
        functions_run: snapshot.live_functions() as u64,
        dropped: snapshot.dropped.values().sum(),
    };
    Ok((document, packages))
}

/// The last part of a path, for lines that are about a process.
pub(super) fn base_name(path: &str) -> &str {
    Path::new(path)
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_unseen() {
        for name in [
            "-ldflags",
            "-gcflags",
            "CGO_CFLAGS",
            "CGO_LDFLAGS",
            "-asmflags",
        ] {
            assert!(!is_shown(name), "{name}");
        }
        for name in ["-cover", "CGO_ENABLED", "vcs", "vcs.revision"] {
            assert!(is_shown(name), "{name}");
        }
    }

    #[test]
    fn old_versions_of_go_do_not_record_cover() {
        assert!(!records_cover("go1.21.13"));
        assert!(!records_cover("go1.22"));
        assert!(records_cover("go1.23rc1"));
        assert!(records_cover("go1.27.3 X:nodwarf5"));
        assert!(records_cover("devel go1.28-abc"));
    }

    #[test]
    fn digits_are_a_process_unless_a_file_has_that_name() {
        assert_eq!(process_number(Path::new("812")), Some(812));
        assert_eq!(process_number(Path::new("./812")), None);
        assert_eq!(process_number(Path::new("812a")), None);
        assert_eq!(process_number(Path::new("99999999999999")), None);
        assert_eq!(process_number(Path::new("")), None);
    }
}
