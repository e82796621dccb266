//! Makefiles: image builds that take the flags, and a target that runs the end-to-end tests with them.
//!
//! ```text
//! docker-build:
//!         docker build $(if $(E2E_GOFLAGS),--build-arg GOFLAGS="$(E2E_GOFLAGS)") -t app .
//! test-e2e-coverage:
//!         E2E_GOFLAGS=-cover covtap run -- $(MAKE) test-e2e
//! ```
//!
//! Upstream: GNU make 4.4, "Rules", "Recipes", "Conditional Functions".

use super::{Edited, SWITCH, append};
use crate::shell;

/// What a Makefile is to get.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The name of the build argument.
    pub argument: &'a str,
    /// How covtap is run, without what follows `--`: `covtap run`.
    pub command: &'a str,
    /// Whether the host's directory has to be there before the tests.
    pub directory: bool,
    /// Whether it may get a target for the end-to-end tests.
    pub target: bool,
}

/// Wires a Makefile.
#[must_use]
pub fn wire(text: &str, wanted: &Wanted<'_>) -> Edited {
    let mut edited = Edited::default();
    for recipe in recipes(text) {
        let shell = as_shell(&text[recipe.clone()]);
        for command in shell::commands(&shell) {
            let Some(verb) = build_verb(&command) else {
                continue;
            };
            if command
                .words
                .iter()
                .any(|w| w.text.starts_with("GOFLAGS=") || w.text.contains("E2E_GOFLAGS"))
                || text[recipe.clone()].contains(SWITCH)
            {
                edited
                    .done
                    .push("an image build that gets the build argument GOFLAGS".into());
                continue;
            }
            if let Some(span) = command.words.get(verb).and_then(|w| w.span.clone()) {
                let name = wanted.argument;
                edited.edits.insert(
                    recipe.start + span.end,
                    format!(" $(if $({SWITCH}),--build-arg {name}=\"$({SWITCH})\")"),
                );
            }
        }
    }
    let targets = targets(text);
    let Some(tests) = end_to_end(&targets).filter(|_| wanted.target) else {
        return edited;
    };
    let name = format!("{tests}-coverage");
    if targets.iter().any(|t| *t == name) {
        edited.done.push(format!("target {name}"));
        return edited;
    }
    let phony = format!(".PHONY: {name}");
    let head = format!("{name}: ## Run {tests} and measure the coverage of the services");
    let run = format!("\t{SWITCH}=-cover {} -- $(MAKE) {tests}", wanted.command);
    let mut lines = vec![phony.as_str(), &head];
    if !text.replace('\r', "").ends_with("\n\n") {
        lines.insert(0, "");
    }
    if wanted.directory {
        lines.push("\tmkdir -p coverdata");
    }
    lines.push(&run);
    edited.edits.extend(append(text, &lines));
    edited
}

/// The images that recipes build, as they are written, with variables of the file put in.
#[must_use]
pub fn images(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for recipe in recipes(text) {
        let expanded = expand(&text[recipe], &variables(text));
        for command in shell::commands(&as_shell(&expanded)) {
            found.extend(built_images(&command));
        }
    }
    found
}

/// The tags of an image build.
pub(crate) fn built_images(command: &shell::Command) -> Vec<String> {
    if build_verb(command).is_none() {
        return Vec::new();
    }
    let mut words = command.words.iter().map(|w| w.text.as_str());
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "-t" | "--tag" => found.extend(words.next().map(str::to_owned)),
            _ => found.extend(
                word.strip_prefix("--tag=")
                    .or_else(|| word.strip_prefix("-t="))
                    .map(str::to_owned),
            ),
        }
    }
    found
}

/// The place of the word `build` of a command that builds an image.
pub(crate) fn build_verb(command: &shell::Command) -> Option<usize> {
    let name = command.name();
    let engine = matches!(name, "docker" | "podman" | "nerdctl" | "buildah")
        // $(CONTAINER_TOOL) build, as kubebuilder's Makefiles have it.
        || name.starts_with(VARIABLE) && ["TOOL", "ENGINE", "DOCKER", "PODMAN", "RUNTIME", "CLI", "CMD"].iter().any(|w| name.to_ascii_uppercase().contains(w));
    let words: Vec<&str> = command
        .words
        .iter()
        .take(4)
        .map(|w| w.text.as_str())
        .collect();
    match words.as_slice() {
        [_, "build" | "bud", ..] if engine => Some(1),
        [_, "buildx" | "image" | "builder", "build", ..] if engine => Some(2),
        _ => None,
    }
}

/// What variables of make begin with where they are read as words of a shell.
const VARIABLE: char = 'V';

/// A recipe as shell of the same length: variables of make are words, prefixes of its lines blanks.
fn as_shell(recipe: &str) -> String {
    let mut out = String::with_capacity(recipe.len());
    let mut continued = false;
    for line in recipe.split_inclusive('\n') {
        let body = line.trim_start_matches(['\t', ' ', '@', '-', '+']);
        let prefix = if continued {
            0
        } else {
            line.len() - body.len()
        };
        out.extend(std::iter::repeat_n(' ', prefix));
        out.push_str(&mask(&line[prefix..]));
        continued = line.trim_end_matches(['\n', '\r']).ends_with('\\');
    }
    out
}

/// `$(NAME)` as a word of the same length that keeps its letters.
fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match rest.as_bytes().get(1) {
            Some(b'$') => 2,
            Some(open @ (b'(' | b'{')) => closing(rest, *open).unwrap_or(1),
            _ => 1,
        };
        let (variable, behind) = rest.split_at(length);
        if length > 2 {
            out.extend(variable.char_indices().map(|(n, c)| match c {
                _ if n == 0 => VARIABLE,
                '\n' | '\r' => c,
                c if c.is_ascii_alphanumeric() => c,
                c if c.is_ascii() => '_',
                // As many bytes as it has.
                c => c,
            }));
        } else if length == 2 {
            // `$$` is the shell's `$`.
            out.push_str(" $");
        } else {
            out.push_str(variable);
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// How long a variable is that begins with `$(` or `${`.
fn closing(text: &str, open: u8) -> Option<usize> {
    let close = if open == b'(' { b')' } else { b'}' };
    let mut depth = 0;
    for (n, byte) in text.bytes().enumerate().skip(1) {
        if byte == open {
            depth += 1;
        } else if byte == close {
            depth -= 1;
            if depth == 0 {
                return Some(n + 1);
            }
        }
    }
    None
}

/// The bytes of each rule's recipe.
fn recipes(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    let mut at = 0;
    let mut open = false;
    let mut continued = false;
    for line in text.split_inclusive('\n') {
        let range = at..at + line.len();
        at = range.end;
        let belongs = line.starts_with('\t') || continued && open;
        continued = line.trim_end_matches(['\n', '\r']).ends_with('\\');
        match (belongs, found.last_mut()) {
            (true, Some(last)) if open => last.end = range.end,
            (true, _) => {
                found.push(range);
                open = true;
            }
            (false, _) => open = false,
        }
    }
    found
}

/// The names of a file's targets, without those that make keeps for itself.
fn targets(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in text
        .lines()
        .filter(|l| !l.starts_with(['\t', '#', ' ', '.']))
    {
        let Some((names, rest)) = line.split_once(':') else {
            continue;
        };
        if rest.starts_with('=') || rest.starts_with(":=") || names.contains(['=', '$', '%', '"']) {
            continue;
        }
        found.extend(names.split_whitespace());
    }
    found
}

/// The target that runs the end-to-end tests.
fn end_to_end<'a>(targets: &[&'a str]) -> Option<&'a str> {
    let mut tests: Vec<&str> = targets
        .iter()
        .copied()
        .filter(|t| {
            let words: Vec<&str> = t.split(['-', '_', '.', '/']).collect();
            let helps = [
                "coverage", "cover", "setup", "cleanup", "clean", "build", "image", "down", "up",
                "deps", "lint", "teardown", "delete", "create", "load",
            ];
            words.contains(&"e2e") && !words.iter().any(|w| helps.contains(w))
        })
        .collect();
    tests.sort_by_key(|t| t.len());
    tests.first().copied()
}

/// Simple variables of a file: `IMG ?= app:dev`.
fn variables(text: &str) -> Vec<(&str, &str)> {
    let assigned = |line: &'_ str| -> Option<(usize, usize)> {
        let at = line.find('=')?;
        let name = line[..at].trim_end_matches([':', '?', '+', '!']).trim_end();
        let plain = name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b' '));
        (plain && !line.starts_with('\t')).then_some((name.len(), at + 1))
    };
    text.lines()
        .filter_map(|line| {
            let (name, value) = assigned(line)?;
            let value = line[value..].split(" #").next().unwrap_or_default();
            Some((
                line[..name].rsplit(' ').next().unwrap_or_default(),
                value.trim(),
            ))
        })
        .collect()
}

/// A text with the values of variables in it, those of values too.
fn expand(text: &str, variables: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    // A variable in a variable in a variable is as deep as it goes.
    for _ in 0..3 {
        for (name, value) in variables {
            for reference in [format!("$({name})"), format!("${{{name}}}")] {
                if text.contains(&reference)
                    && !value.contains(&reference)
                    && text.len() < 1_000_000
                {
                    text = text.replace(&reference, value);
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WANTED: Wanted<'_> = Wanted {
        argument: "GOFLAGS",
        command: "covtap run",
        directory: false,
        target: true,
    };

    fn wired(text: &str) -> String {
        let after = wire(text, &WANTED).edits.apply(text);
        assert!(wire(&after, &WANTED).edits.is_empty(), "twice: {after}");
        after
    }

    #[test]
    fn image_builds_get_the_argument_when_it_is_there() {
        let flag = " $(if $(E2E_GOFLAGS),--build-arg GOFLAGS=\"$(E2E_GOFLAGS)\")";
        for text in [
            "x:\n\t@docker build@ -t a .\n",
            "x: y\n\tcd a && \\\n\t  podman build@ \\\n\t  -t a .\n\techo docker build\n",
            "x:\n\t$(CONTAINER_TOOL) build@ -t ${IMG} .\n\t- docker buildx build@ -t b .\n",
            "x:\r\n\tif true; then docker image build@ .; fi\r\n",
        ] {
            assert_eq!(
                wired(&text.replace("build@", "build")),
                text.replace("build@", &format!("build{flag}"))
            );
        }
        for same in [
            "x:\n\tdocker build --build-arg GOFLAGS=$(F) .\n",
            "# docker build\nx:\n\t# docker build .\n\techo 'docker build .'\n",
            "BUILD = docker build .\n",
        ] {
            assert_eq!(wired(same), same);
        }
    }

    #[test]
    fn the_tests_get_a_target() {
        let text = "test-e2e-setup:\n\tx\ntest-e2e: build ## e2e\n\tgo test ./e2e";
        assert_eq!(
            wired(text),
            format!(
                "{text}\n\n.PHONY: test-e2e-coverage\ntest-e2e-coverage: ## Run test-e2e and measure the coverage of the services\n\tE2E_GOFLAGS=-cover covtap run -- $(MAKE) test-e2e"
            )
        );
        let there = "e2e:\n\tx\ne2e-coverage: e2e\n";
        assert_eq!(wired(there), there);
    }

    #[test]
    fn images_by_the_variables_of_the_file() {
        let text = "TAG ?= dev # tag\nIMG := reg/app:$(TAG)\nx:\n\tdocker build -t ${IMG} --tag=other:1 .\n";
        assert_eq!(images(text), ["reg/app:dev", "other:1"]);
    }

    proptest! {
        #[test]
        fn every_byte_stays_where_it_is(text in "[\ta$(){}:=\\\\\n@é-]{0,60}") {
            prop_assert_eq!(as_shell(&text).len(), text.len());
            let _ = images(&text);
            let _ = wire(&text, &WANTED);
        }
    }
}
