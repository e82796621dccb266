//! From the files of a repository to what is to be done to each.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::{Chosen, Container, Volume};
use super::{Edited, golang, ignored, kind_config, makefile, manifest};
use crate::dockerfile::Dockerfile;
use crate::edit::Edits;
use crate::instrument::{self, How, image_name};
use crate::shell;
use crate::template::{Template, is_template};

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Whether services are to write files themselves. Else they only count, and covtap reads their memory.
    pub files: bool,
    /// What they write them to.
    pub volume: Volume,
    /// The directory in the container, and in Kind nodes: `/coverdata`.
    pub directory: String,
    /// Names of workloads or containers; none: those whose image is built here.
    pub services: Vec<String>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The files that change, by path.
    pub changes: Vec<Change>,
    /// What there is already: path and what.
    pub done: Vec<(String, String)>,
    /// What cannot be done: path and why.
    pub blocked: Vec<(String, String)>,
    /// Workloads that were left alone: path and why.
    pub passed: Vec<(String, String)>,
    /// Whether anything builds Go here.
    pub builds_go: bool,
}

/// A file that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its path, with `/` between folders.
    pub path: String,
    /// Its text; `None` where it is to be made.
    pub before: Option<String>,
    /// What is put into it.
    pub edits: Edits,
    /// Why covtap does not write it: the change is a patch to look at.
    pub shown: Option<&'static str>,
}

impl Change {
    /// The text with the change.
    #[must_use]
    pub fn after(&self) -> String {
        self.edits.apply(self.before.as_deref().unwrap_or_default())
    }
}

/// Names of what is never wired, as parts of workloads, containers or images.
const DATABASES: [&str; 20] = [
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "redis",
    "valkey",
    "mongo",
    "mongodb",
    "etcd",
    "kafka",
    "zookeeper",
    "rabbitmq",
    "nats",
    "minio",
    "elasticsearch",
    "opensearch",
    "cassandra",
    "memcached",
    "clickhouse",
    "vault",
];

/// Plans the wiring of a repository. `files` are the texts that [`is_read`] names.
#[must_use]
pub fn plan(files: &BTreeMap<String, String>, wanted: &Wanted) -> Plan {
    let mut plan = Plan::default();
    let mut argument = "GOFLAGS";
    let mut users = BTreeSet::new();
    for (path, text) in files.iter().filter(|(path, _)| is_dockerfile(path)) {
        let file = Dockerfile::read(text);
        // What builds no Go is not meant.
        let Ok(found) = instrument::wire(&file) else {
            continue;
        };
        plan.builds_go = true;
        argument = found.argument_name;
        users.insert(user(&file));
        let how = if found.builds.iter().all(|b| b.how == How::Already) {
            "builds with coverage"
        } else {
            "takes the build argument GOFLAGS"
        };
        plan.add(
            path,
            text,
            Edited {
                edits: found.edits,
                done: vec![how.into()],
                blocked: Vec::new(),
            },
            None,
        );
    }
    let uid = match users.len() {
        1 => users.into_iter().next().flatten(),
        _ => None,
    };
    if plan.builds_go {
        builds(files, argument, wanted, &mut plan);
    }
    if wanted.files {
        chain(files, wanted, uid, &mut plan);
    }
    plan.changes.sort_by(|a, b| a.path.cmp(&b.path));
    plan
}

/// Whether a file of this path may have to do with the wiring.
#[must_use]
pub fn is_read(path: &str) -> bool {
    let outside = ["vendor", "node_modules", "testdata", "third_party"];
    !path.split('/').any(|folder| outside.contains(&folder))
        && (is_dockerfile(path)
            || is_makefile(path)
            || is_yaml(path)
            || path.ends_with(".go")
            || path == ".gitignore"
            || path == "go.mod")
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_dockerfile(path: &str) -> bool {
    let name = file_name(path);
    let of = |word: &str| {
        name == word
            || name
                .strip_prefix(word)
                .is_some_and(|r| r.starts_with(['.', '-']))
    };
    let ignore = name.ends_with(".dockerignore");
    !ignore
        && (of("Dockerfile")
            || of("Containerfile")
            || name.ends_with(".Dockerfile")
            || name.ends_with(".dockerfile"))
}

fn is_makefile(path: &str) -> bool {
    let name = file_name(path);
    matches!(name, "Makefile" | "makefile" | "GNUmakefile") || name.ends_with(".mk")
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml") || path.ends_with(".tpl")
}

/// Image builds in Makefiles and Go code.
fn builds(files: &BTreeMap<String, String>, argument: &str, wanted: &Wanted, plan: &mut Plan) {
    let mut command = "covtap run".to_owned();
    if wanted.files {
        command.push_str(" --route files");
    }
    let first = files
        .keys()
        .filter(|p| is_makefile(p))
        .min_by_key(|p| p.matches('/').count());
    for (path, text) in files.iter().filter(|(path, _)| is_makefile(path)) {
        let target = makefile::Wanted {
            argument,
            command: &command,
            directory: wanted.files && wanted.volume == Volume::HostPath,
            target: Some(path) == first,
        };
        plan.add(path, text, makefile::wire(text, &target), None);
    }
    for (path, code) in files.iter().filter(|(path, _)| path.ends_with(".go")) {
        let folder = &path[..path.len() - file_name(path).len()];
        // Paths are in order: those of a folder and of what is below it stand together.
        let also: Vec<&str> = files
            .range(folder.to_owned()..)
            .take_while(|(p, _)| p.starts_with(folder))
            .filter(|(p, _)| {
                *p != path
                    && p.ends_with(".go")
                    && p.strip_prefix(folder).is_some_and(|r| !r.contains('/'))
            })
            .map(|(_, text)| text.as_str())
            .collect();
        plan.add(
            path,
            code,
            golang::image_builds(code, argument, &also),
            Some(IN_GO),
        );
    }
}

const IN_GO: &str = "covtap does not write Go code";
const IN_TEMPLATE: &str = "it is a template";

/// The chain of directories, from the host to the process.
fn chain(files: &BTreeMap<String, String>, wanted: &Wanted, uid: Option<u32>, plan: &mut Plan) {
    let images = images(files);
    let passed = std::cell::RefCell::new(Vec::new());
    let mut kind = false;
    for (path, text) in files
        .iter()
        .filter(|(path, _)| is_yaml(path) || path.ends_with(".go"))
    {
        let choose = |container: &Container<'_>| -> Option<Chosen> {
            let why = refusal(container, wanted, &images)?;
            match why.is_empty() {
                true => Some(Chosen { uid }),
                false => {
                    let title = format!(
                        "{} {}, container {}: {why}",
                        container.kind, container.workload, container.name
                    );
                    passed.borrow_mut().push((path.clone(), title));
                    None
                }
            }
        };
        let one = |text: &str, template: &Template| -> Edited {
            let mut edited =
                manifest::wire(text, template, &wanted.directory, wanted.volume, &choose);
            if wanted.volume == Volume::HostPath {
                let nodes = kind_config::wire(template, &wanted.directory);
                edited.edits.extend(nodes.edits);
                edited.done.extend(nodes.done);
                edited.blocked.extend(nodes.blocked);
            }
            edited
        };
        if is_yaml(path) {
            let edited = one(text, &Template::of_file(text));
            kind |= text.contains("kind.x-k8s.io");
            plan.add(path, text, edited, is_template(text).then_some(IN_TEMPLATE));
            continue;
        }
        let mut all = Edited::default();
        for string in golang::strings(text).into_iter().filter(|s| s.raw) {
            let inner = &text[string.span.clone()];
            if !inner.contains("kind:") {
                continue;
            }
            let edited = one(inner, &Template::of_string(inner));
            for insertion in edited.edits.insertions() {
                all.edits
                    .insert(string.span.start + insertion.at, insertion.text.clone());
            }
            all.done.extend(edited.done);
            all.blocked.extend(edited.blocked);
        }
        plan.add(path, text, all, Some(IN_GO));
    }
    plan.passed.extend(passed.into_inner());
    if wanted.volume == Volume::HostPath && (kind || !plan.changes.is_empty()) {
        let before = files.get(".gitignore");
        let edited = ignored::wire(before.map(String::as_str).unwrap_or_default());
        match before {
            Some(text) => plan.add(".gitignore", text, edited, None),
            None => plan.changes.push(Change {
                path: ".gitignore".into(),
                before: None,
                edits: edited.edits,
                shown: None,
            }),
        }
    }
}

impl Plan {
    fn add(&mut self, path: &str, text: &str, edited: Edited, shown: Option<&'static str>) {
        let owned = |what: String| (path.to_owned(), what);
        self.blocked.extend(edited.blocked.into_iter().map(owned));
        if edited.edits.is_empty() {
            self.done.extend(edited.done.into_iter().map(owned));
            return;
        }
        match self.changes.iter_mut().find(|c| c.path == path) {
            Some(change) => change.edits.extend(edited.edits),
            None => self.changes.push(Change {
                path: path.to_owned(),
                before: Some(text.to_owned()),
                edits: edited.edits,
                shown,
            }),
        }
    }
}

/// Why a container is left alone; nothing where it is wired. `None` where it need not be told.
fn refusal(
    container: &Container<'_>,
    wanted: &Wanted,
    images: &BTreeSet<String>,
) -> Option<String> {
    let named = [container.workload, container.name];
    if !wanted.services.is_empty() {
        return wanted
            .services
            .iter()
            .any(|s| named.contains(&s.as_str()))
            .then(String::new);
    }
    let parts = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_ascii_alphanumeric())
            .map(str::to_ascii_lowercase)
            .collect()
    };
    let image = image_name(container.image);
    let all = [
        parts(container.workload),
        parts(container.name),
        parts(image),
    ]
    .concat();
    if all.iter().any(|p| DATABASES.contains(&p.as_str())) {
        return Some("it is a database or broker".into());
    }
    // What a template names is only shown, and its owner knows.
    let open = container.image.contains(['{', '%', '$']) || container.image.is_empty();
    match open || images.contains(image) {
        true => Some(String::new()),
        false => Some(format!("nothing here builds its image {}", container.image)),
    }
}

/// Names of the images that are built here, without registry and tag.
fn images(files: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, text) in files {
        if is_makefile(path) {
            found.extend(
                makefile::images(text)
                    .iter()
                    .map(|i| image_name(i).to_owned()),
            );
        } else if path.ends_with(".go") {
            let strings = golang::strings(text);
            let texts: Vec<&str> = strings.iter().map(|s| &text[s.span.clone()]).collect();
            let builds = texts
                .windows(2)
                .any(|w| matches!(w[0], "docker" | "podman") && w[1] == "build");
            if builds {
                found.extend(
                    texts
                        .into_iter()
                        .filter(|t| golang::looks_like_image(t))
                        .map(|text| image_name(text).to_owned()),
                );
            }
        } else if is_yaml(path) {
            // `docker build` in the steps of a workflow.
            for line in text
                .lines()
                .filter(|l| l.contains(" build ") && !l.trim_start().starts_with('#'))
            {
                let line = line
                    .trim()
                    .trim_start_matches("- ")
                    .trim_start_matches("run:");
                for command in shell::commands(line) {
                    found.extend(
                        makefile::built_images(&command)
                            .iter()
                            .map(|i| image_name(i).to_owned()),
                    );
                }
            }
        } else if is_dockerfile(path) && instrument::wire(&Dockerfile::read(text)).is_ok() {
            found.extend(names_of(path));
        } else if path == "go.mod" {
            let module = text.lines().find_map(|l| l.trim().strip_prefix("module "));
            found.extend(module.map(|m| image_name(m.trim().trim_matches('"')).to_owned()));
        }
    }
    found.remove("");
    found
}

/// What an image is called that comes from a Dockerfile: `api.Dockerfile`, `Dockerfile.api`, `api/Dockerfile`.
fn names_of(path: &str) -> Vec<String> {
    let name = file_name(path);
    let rest = name
        .trim_start_matches("Dockerfile")
        .trim_start_matches("Containerfile")
        .trim_end_matches(".Dockerfile")
        .trim_end_matches(".dockerfile")
        .trim_matches(['.', '-']);
    let folder = path[..path.len() - name.len()].trim_end_matches('/');
    match (rest, file_name(folder)) {
        ("", "") => Vec::new(),
        ("", folder) => vec![folder.to_owned()],
        (rest, _) => vec![rest.to_owned()],
    }
}

/// The uid that an image runs as, where the Dockerfile says it.
fn user(file: &Dockerfile<'_>) -> Option<u32> {
    let stage = file.stages().pop()?;
    let instructions = &file.instructions[stage.instructions];
    let user = instructions.iter().rev().find(|i| i.keyword == "USER")?;
    let user = file.arguments(user);
    let name = user.trim().split(':').next()?;
    match name {
        "root" => return Some(0),
        "nonroot" => return Some(65532),
        _ => {}
    }
    if let Ok(uid) = name.parse() {
        return Some(uid);
    }
    for run in file.instructions.iter().filter(|i| i.keyword == "RUN") {
        for command in shell::commands(&file.arguments(run)) {
            let words: Vec<&str> = command.words.iter().map(|w| w.text.as_str()).collect();
            if !matches!(command.name(), "useradd" | "adduser") || !words.contains(&name) {
                continue;
            }
            let uid = words.iter().enumerate().find_map(|(n, word)| match *word {
                "-u" | "--uid" => words.get(n + 1).copied(),
                word => word.strip_prefix("--uid="),
            });
            if let Some(uid) = uid.and_then(|u| u.parse().ok()) {
                return Some(uid);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
