//! `covtap covdata`: the commands of `go tool covdata`, with its flags as Go parses them.
//!
//! Exit codes are that tool's: 0 done, 1 could not, 2 bad arguments; and 4 where that tool would have
//! stopped at damaged data and covtap left them out and went on.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use covtap_model::exit::Exit;
use covtap_model::problem::{Problem, Severity};
use covtap_profile::go::covdata::{self, Command, Error, Request};
use covtap_profile::go::pattern::Patterns;

/// Runs `covtap covdata ARGS`.
pub(crate) fn run(args: &[OsString]) -> ExitCode {
    let stdout = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    ExitCode::from(run_with(args, stdout, &mut anstream::stderr().lock()))
}

fn run_with(args: &[OsString], mut stdout: impl Write, stderr: &mut dyn Write) -> u8 {
    let request = match parse(args) {
        Ok(request) => request,
        Err(Stop::Help(command)) => return told(stdout.write_all(help(command).as_bytes())),
        Err(Stop::Usage(command, message)) => {
            // Nothing is left to report to when standard error is gone.
            let _ = writeln!(stderr, "error: {message}\n\n{}", help(command));
            return 2;
        }
    };
    let result = covdata::run(&request, &mut stdout).and_then(|outcome| {
        stdout.flush()?;
        Ok(outcome)
    });
    match result {
        Ok(outcome) => {
            if outcome.pods == 0 {
                let _ = writeln!(
                    stderr,
                    "warning: no applicable files found in input directories"
                );
            }
            report(&outcome.problems, stderr)
        }
        Err(Error::Stdout(error)) => told(Err(error)),
        Err(error) => {
            let _ = writeln!(stderr, "error: {error}");
            1
        }
    }
}

/// The exit code after writing to standard output: a reader that went away (`| head`) is no error.
fn told(result: io::Result<()>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(_) => 1,
    }
}

/// Prints what was left out. Where Go's tool would have gone on, the exit code is 0 as there.
fn report(problems: &[Problem], stderr: &mut dyn Write) -> u8 {
    for problem in problems {
        let word = match problem.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let _ = writeln!(stderr, "{word}: {problem}");
    }
    let lost = problems.iter().any(|p| p.severity == Severity::Error);
    if lost { Exit::Incomplete.code() } else { 0 }
}

/// Why there is no request.
#[derive(Debug)]
enum Stop {
    Help(Option<Command>),
    Usage(Option<Command>, String),
}

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Text,
    Number,
    Bool,
}

struct Flag {
    name: &'static str,
    takes: Takes,
    help: &'static str,
    /// The commands that have it; empty for all.
    commands: &'static [Command],
}

const FLAGS: &[Flag] = &[
    Flag {
        name: "i",
        takes: Takes::Text,
        help: "DIR[,DIR…]: directories to read",
        commands: &[],
    },
    Flag {
        name: "o",
        takes: Takes::Text,
        help: "PATH: the file (textfmt, percent) or directory (merge, subtract, intersect) to write",
        commands: &[
            Command::Textfmt,
            Command::Percent,
            Command::Merge,
            Command::Subtract,
            Command::Intersect,
        ],
    },
    Flag {
        name: "pkg",
        takes: Takes::Text,
        help: "PATTERN[,PATTERN…]: only packages that match; `...` stands for any string",
        commands: &[],
    },
    Flag {
        name: "pcombine",
        takes: Takes::Bool,
        help: "combine profiles of different programs",
        commands: &[Command::Merge],
    },
    Flag {
        name: "live",
        takes: Takes::Bool,
        help: "only functions that ran",
        commands: &[Command::Debugdump],
    },
    Flag {
        name: "format",
        takes: Takes::Text,
        help: "text|json: what to print",
        commands: &[],
    },
    Flag {
        name: "v",
        takes: Takes::Number,
        help: "accepted for Go's sake, without effect",
        commands: &[],
    },
    Flag {
        name: "h",
        takes: Takes::Bool,
        help: "accepted for Go's sake, without effect",
        commands: &[],
    },
    Flag {
        name: "hw",
        takes: Takes::Bool,
        help: "accepted for Go's sake, without effect",
        commands: &[],
    },
    Flag {
        name: "cpuprofile",
        takes: Takes::Text,
        help: "accepted for Go's sake, without effect",
        commands: &[],
    },
    Flag {
        name: "memprofile",
        takes: Takes::Text,
        help: "accepted for Go's sake, without effect",
        commands: &[],
    },
    Flag {
        name: "memprofilerate",
        takes: Takes::Number,
        help: "accepted for Go's sake, without effect",
        commands: &[],
    },
];

impl Flag {
    fn belongs_to(&self, command: Command) -> bool {
        self.commands.is_empty() || self.commands.contains(&command)
    }
}

fn summary(command: Command) -> &'static str {
    match command {
        Command::Percent => "covered statements of each package, in percent",
        Command::Func => "covered statements of each function, in percent",
        Command::Textfmt => "write a text profile, as `go test -coverprofile` does",
        Command::Pkglist => "import paths of all packages",
        Command::Debugdump => "everything, for people",
        Command::Merge => "one meta-data and one counter file for each build",
        Command::Subtract => "what the first directory covers and the second does not",
        Command::Intersect => "what all directories cover",
    }
}

fn help(command: Option<Command>) -> String {
    let Some(command) = command else {
        let list: String = Command::ALL
            .map(|c| format!("  {:<10}  {}\n", c.name(), summary(c)))
            .concat();
        return format!(
            "The commands of `go tool covdata`, without a Go toolchain.\n\n\
             Usage: covtap covdata COMMAND -i=DIR[,DIR…] [flags]\n\nCommands:\n{list}\n\
             `covtap covdata COMMAND -help` lists the flags of a command.\n"
        );
    };
    let flags: String = FLAGS
        .iter()
        .filter(|f| f.belongs_to(command))
        .map(|f| format!("  -{:<15} {}\n", f.name, f.help))
        .collect();
    format!(
        "{}: {}\n\nUsage: covtap covdata {} -i=DIR[,DIR…] [flags]\n\nFlags:\n{flags}",
        command.name(),
        summary(command),
        command.name()
    )
}

fn parse(args: &[OsString]) -> Result<Request, Stop> {
    let Some((selector, rest)) = args.split_first() else {
        return Err(Stop::Usage(None, "missing command selector".into()));
    };
    if matches!(selector.to_str(), Some("-h" | "-help" | "--help" | "help")) {
        return Err(Stop::Help(None));
    }
    let command = Command::ALL
        .into_iter()
        .find(|c| selector == c.name())
        .ok_or_else(|| {
            Stop::Usage(
                None,
                format!("unknown command selector {:?}", selector.to_string_lossy()),
            )
        })?;
    let usage = |message: String| Stop::Usage(Some(command), message);

    let mut request = Request {
        command,
        inputs: Vec::new(),
        packages: None,
        output: None,
        combine_programs: false,
        live: false,
        json: false,
        command_line: std::iter::once("covtap covdata".into())
            .chain(args.iter().map(|a| a.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" "),
    };
    let mut rest = rest.iter();
    while let Some(arg) = rest.next() {
        let Some((name, value)) = split_flag(arg).map_err(&usage)? else {
            return Err(usage(format!(
                "unknown extra arguments: {}",
                arg.to_string_lossy()
            )));
        };
        if name == "help" {
            return Err(Stop::Help(Some(command)));
        }
        let flag = FLAGS
            .iter()
            .find(|f| f.name == name && f.belongs_to(command))
            .ok_or_else(|| usage(format!("flag provided but not defined: -{name}")))?;
        let value = match (flag.takes, value) {
            (Takes::Bool, None) => OsString::from("true"),
            (_, Some(value)) => value,
            (_, None) => rest
                .next()
                .cloned()
                .ok_or_else(|| usage(format!("flag needs an argument: -{name}")))?,
        };
        set(&mut request, flag, &value).map_err(&usage)?;
    }
    check(&request).map_err(&usage)?;
    Ok(request)
}

/// `-name`, `--name`, `-name=value`: as Go's `flag` package splits them. `None` for anything else.
fn split_flag(arg: &OsStr) -> Result<Option<(String, Option<OsString>)>, String> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = arg.as_bytes();
    let Some(name) = bytes.strip_prefix(b"-").filter(|n| !n.is_empty()) else {
        return Ok(None);
    };
    let name = name.strip_prefix(b"-").unwrap_or(name);
    if name.is_empty() || name[0] == b'-' || name[0] == b'=' {
        return Err(format!("bad flag syntax: {}", arg.to_string_lossy()));
    }
    let mut parts = name.splitn(2, |b| *b == b'=');
    let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    Ok(Some((
        name,
        parts.next().map(|v| OsStr::from_bytes(v).to_os_string()),
    )))
}

fn set(request: &mut Request, flag: &Flag, value: &OsStr) -> Result<(), String> {
    let text = value.to_string_lossy();
    let invalid = || format!("invalid value {text:?} for flag -{}", flag.name);
    if flag.takes == Takes::Number {
        return text.parse::<i64>().map(|_| ()).map_err(|_| invalid());
    }
    let boolean = match &*text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    };
    match flag.name {
        "i" => request.inputs = split_commas(value),
        "o" => request.output = (!value.is_empty()).then(|| PathBuf::from(value)),
        "pkg" => request.packages = (!value.is_empty()).then(|| Patterns::parse(&text)),
        "pcombine" => request.combine_programs = boolean.ok_or_else(invalid)?,
        "live" => request.live = boolean.ok_or_else(invalid)?,
        "format" => {
            request.json = match &*text {
                "json" => true,
                "text" => false,
                _ => return Err(format!("{}: text or json", invalid())),
            }
        }
        _ if flag.takes == Takes::Bool => {
            boolean.ok_or_else(invalid)?;
        }
        _ => {}
    }
    Ok(())
}

fn split_commas(value: &OsStr) -> Vec<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    if value.is_empty() {
        return Vec::new();
    }
    value
        .as_bytes()
        .split(|b| *b == b',')
        .map(|p| PathBuf::from(OsStr::from_bytes(p)))
        .collect()
}

fn check(request: &Request) -> Result<(), String> {
    if request.inputs.is_empty() {
        return Err("select input directories with '-i' option".into());
    }
    match request.command {
        Command::Textfmt if request.output.is_none() && !request.json => {
            Err("select output file name with '-o' option".into())
        }
        Command::Subtract if request.inputs.len() != 2 => {
            Err("supply exactly two input dirs for subtract operation".into())
        }
        Command::Merge | Command::Subtract | Command::Intersect if request.output.is_none() => {
            Err("select output directory with '-o' option".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        let args: Vec<OsString> = line.split(' ').map(Into::into).collect();
        parse(&args).map_err(|stop| match stop {
            Stop::Help(_) => "help".into(),
            Stop::Usage(_, message) => message,
        })
    }

    #[test]
    fn flags_are_gos() {
        let r = parsed("merge -i=a,b -o out -pcombine --pkg=m/...").unwrap();
        assert_eq!(r.inputs, [PathBuf::from("a"), "b".into()]);
        assert_eq!(r.output, Some("out".into()));
        assert!(r.combine_programs && r.packages.is_some() && !r.json);
        assert!(
            !parsed("merge -i=a -o=b -pcombine=false")
                .unwrap()
                .combine_programs
        );
        assert!(parsed("debugdump -live -i a -v=2 -h -hw").unwrap().live);
        assert!(parsed("percent -i=a --format json").unwrap().json);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |line| parsed(line).unwrap_err();
        assert_eq!(
            error("percent"),
            "select input directories with '-i' option"
        );
        assert_eq!(error("percent -i"), "flag needs an argument: -i");
        assert_eq!(error("percent -i=a b"), "unknown extra arguments: b");
        assert_eq!(
            error("percent -i=a -live"),
            "flag provided but not defined: -live"
        );
        assert_eq!(error("percent -=a"), "bad flag syntax: -=a");
        assert_eq!(
            error("textfmt -i=a"),
            "select output file name with '-o' option"
        );
        assert_eq!(
            error("merge -i=a"),
            "select output directory with '-o' option"
        );
        assert_eq!(
            error("subtract -i=a -o=b"),
            "supply exactly two input dirs for subtract operation"
        );
        assert_eq!(
            error("merge -i=a -o=b -pcombine=x"),
            "invalid value \"x\" for flag -pcombine"
        );
        assert_eq!(
            error("percent -i=a -v=x"),
            "invalid value \"x\" for flag -v"
        );
        assert_eq!(
            error("percent -i=a --format=xml"),
            "invalid value \"xml\" for flag -format: text or json"
        );
        assert_eq!(
            error("frobnicate -i=a"),
            "unknown command selector \"frobnicate\""
        );
        assert_eq!(error("percent -help"), "help");
        assert_eq!(error("-help"), "help");
    }

    #[test]
    fn a_missing_directory_is_gos_exit_code() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args: Vec<OsString> = vec!["percent".into(), "-i=/no/such/directory".into()];
        assert_eq!(run_with(&args, &mut out, &mut err), 1);
        let err = String::from_utf8(err).unwrap();
        assert!(
            err.starts_with("error: reading inputs: cannot list /no/such/directory: "),
            "{err}"
        );
        assert!(out.is_empty());
    }

    #[test]
    fn an_empty_directory_is_a_warning() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let empty = std::env::temp_dir().join(format!("covtap-empty-{}", std::process::id()));
        std::fs::create_dir_all(&empty).unwrap();
        let args: Vec<OsString> = vec!["percent".into(), "-i".into(), empty.clone().into()];
        assert_eq!(run_with(&args, &mut out, &mut err), 0);
        assert_eq!(
            err,
            b"warning: no applicable files found in input directories\n"
        );
        std::fs::remove_dir(empty).unwrap();
    }

    #[test]
    fn every_command_has_help() {
        for command in Command::ALL {
            assert!(help(Some(command)).contains(command.name()));
            assert!(help(None).contains(summary(command)));
        }
    }
}
