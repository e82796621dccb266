//! `covtap build`: `docker build` of a Dockerfile that knows nothing of coverage, and a look at what came out.

mod engine;
mod image;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstyle::Style;
use covtap_model::exit::Exit;
use covtap_model::problem::printable;
use covtap_wiring::dockerfile::Dockerfile;
use covtap_wiring::instrument::{self, How, Plan};

use self::engine::Engine;
use self::image::{Image, Program};
use crate::args::Build;
use crate::failure::Failure;
use crate::output::{self, BAD, CARE, FAINT, GOOD, HEAD};

pub(crate) fn run(args: &Build) -> Result<ExitCode, Failure> {
    if args.kind.is_some() && args.tag.is_empty() {
        return Err(Failure::new("an image needs a name to be loaded into Kind")
            .hint("--tag NAME".to_owned()));
    }
    let file = dockerfile(args)?;
    let text = fs::read_to_string(&file).map_err(|e| {
        Failure::new(format!("cannot read {}: {e}", file.display()))
            .hint("--file FILE names another".to_owned())
    })?;
    let flags = flags(args)?;
    let plan = instrument::plan(&Dockerfile::read(&text), &flags, given(args).as_deref()).map_err(
        |e| {
            Failure::new(format!(
                "cannot build {} with coverage: {e}",
                file.display()
            ))
            .hint(
                "let the program that builds Go get GOFLAGS=-cover, and use the engine's own build"
                    .to_owned(),
            )
        },
    )?;
    let edited = plan.edits.apply(&text);
    if args.dry_run {
        output::data(edited.as_bytes()).map_err(Failure::new)?;
        tell(&plan, &flags);
        return Ok(ExitCode::SUCCESS);
    }
    tell(&plan, &flags);
    let engine = Engine::find(args.engine)?;
    let built = engine.build(args, &plan, &file, &edited)?;
    let image = image::look(&engine, &built)?;
    let answer = judge(&image);
    output::data(text_of(args, &image, answer).as_bytes()).map_err(Failure::new)?;
    if answer == Answer::Instrumented
        && let Some(cluster) = &args.kind
    {
        for tag in &args.tag {
            engine.load(tag, cluster)?;
        }
    }
    Ok(match answer {
        Answer::Instrumented => Exit::Success,
        Answer::EntryPointIsNot | Answer::NothingIs => Exit::No,
    }
    .code()
    .into())
}

/// The Dockerfile that is meant.
fn dockerfile(args: &Build) -> Result<PathBuf, Failure> {
    if !args.context.is_dir() {
        return Err(Failure::new(format!(
            "{} is no directory: only a build context of this machine can be built with coverage",
            args.context.display()
        )));
    }
    Ok(args.file.clone().unwrap_or_else(|| {
        let named = |name: &str| args.context.join(name);
        match named("Containerfile") {
            file if file.is_file() && !named("Dockerfile").exists() => file,
            _ => named("Dockerfile"),
        }
    }))
}

/// The flags for GOFLAGS. It has no quotes, so a blank would begin another flag.
fn flags(args: &Build) -> Result<String, Failure> {
    match &args.coverpkg {
        None => Ok("-cover".to_owned()),
        Some(packages) if packages.is_empty() || packages.contains(char::is_whitespace) => Err(
            Failure::new(format!("--coverpkg {packages:?} is no list of packages"))
                .hint("separate them by commas".to_owned()),
        ),
        Some(packages) => Ok(format!("-cover -coverpkg={packages}")),
    }
}

/// The user's own build argument GOFLAGS. Without a value it is that of the environment, as engines have it.
fn given(args: &Build) -> Option<String> {
    args.build_arg
        .iter()
        .rev()
        .find_map(|argument| match argument.split_once('=') {
            Some(("GOFLAGS", value)) => Some(value.to_owned()),
            None if argument == "GOFLAGS" => std::env::var("GOFLAGS").ok(),
            _ => None,
        })
}

/// What is done about each build.
fn tell(plan: &Plan, flags: &str) {
    for build in &plan.builds {
        let what = match build.how {
            How::Already => "builds with coverage already".to_owned(),
            How::Argument => format!(
                "gets the build argument GOFLAGS={:?}",
                plan.build_argument.as_deref().unwrap_or(flags)
            ),
            How::Environment => format!("gets GOFLAGS={flags:?} before it, in a copy of the file"),
            How::Flag => {
                format!("sets its own GOFLAGS, so it gets {flags} itself, in a copy of the file")
            }
        };
        output::note(&format!(
            "stage {}, line {}: {}",
            printable(&build.stage),
            build.line,
            printable(&what)
        ));
    }
}

/// Whether it was worth it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Something counts, and what starts does, as far as can be seen.
    Instrumented,
    /// What starts is a Go program that does not count.
    EntryPointIsNot,
    /// Nothing counts.
    NothingIs,
}

fn judge(image: &Image) -> Answer {
    if !image.programs.iter().any(|p| p.instrumented) {
        return Answer::NothingIs;
    }
    match image.programs.iter().find(|p| p.entry_point) {
        Some(program) if !program.instrumented => Answer::EntryPointIsNot,
        _ => Answer::Instrumented,
    }
}

fn text_of(args: &Build, image: &Image, answer: Answer) -> String {
    let names = match args.tag.is_empty() {
        true => String::new(),
        false => format!("{} ", printable(&args.tag.join(" "))),
    };
    let mut text = format!(
        "{HEAD}image{HEAD:#} {names}{FAINT}{}{FAINT:#}\n",
        printable(&image.id)
    );
    for program in &image.programs {
        text.push_str(&line(program));
    }
    let said = match answer {
        Answer::Instrumented => return text,
        Answer::EntryPointIsNot => "its entry point is a Go program that was not built with -cover",
        Answer::NothingIs if image.programs.is_empty() => "there is no Go program in it",
        Answer::NothingIs => "no program in it was built with -cover",
    };
    text.push_str(&format!("{BAD}not instrumented{BAD:#}: {said}\n"));
    text
}

fn line(program: &Program) -> String {
    let (style, word): (Style, &str) = match (program.instrumented, program.exit_hook) {
        (true, true) => (GOOD, "instrumented"),
        (true, false) => (CARE, "instrumented, writes no files itself"),
        (false, _) => (FAINT, "not instrumented"),
    };
    let entry = if program.entry_point {
        ", entry point"
    } else {
        ""
    };
    format!(
        "  {style}{word}{style:#}  {}  {FAINT}{}{entry}{FAINT:#}\n",
        printable(&program.path),
        printable(&program.go)
    )
}

/// The file beside a Dockerfile that says what of the context it does not need.
fn ignore_file(dockerfile: &Path) -> PathBuf {
    let mut name = dockerfile.as_os_str().to_owned();
    name.push(".dockerignore");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(programs: &[(bool, bool)]) -> Image {
        Image {
            id: "sha256:0".into(),
            programs: programs
                .iter()
                .map(|&(instrumented, entry_point)| Program {
                    path: "/a".into(),
                    instrumented,
                    exit_hook: true,
                    go: "go1.26".into(),
                    entry_point,
                })
                .collect(),
        }
    }

    #[test]
    fn what_starts_decides() {
        assert_eq!(judge(&image(&[])), Answer::NothingIs);
        assert_eq!(judge(&image(&[(false, true)])), Answer::NothingIs);
        assert_eq!(
            judge(&image(&[(true, false), (false, true)])),
            Answer::EntryPointIsNot
        );
        assert_eq!(
            judge(&image(&[(true, true), (false, false)])),
            Answer::Instrumented
        );
        // A script starts: what it starts is not known.
        assert_eq!(
            judge(&image(&[(true, false), (false, false)])),
            Answer::Instrumented
        );
    }
}
