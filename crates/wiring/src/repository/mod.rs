//! What a repository says about its coverage: its files read as what they are.
//!
//! ```text
//!  walk ──► candidates by name, Go and Python by a word in them ──► readers, in parallel ──► facts
//! ```
//!
//! This is the one place of the crate that opens files. Ignore rules are honoured, links are not
//! followed, files that are too big or no text are named and left out.

mod docker;
mod golang;
mod make;
mod manifest;
mod python;
mod script;
mod template;
mod walk;
mod workflow;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;

use covtap_model::facts::Place;
use covtap_model::facts::repository::{Flow, FlowKind, Module, Package, Repository, Unread};
use rayon::prelude::*;

use self::walk::Kind;
use manifest::{Around, Fragment};

/// A folder cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct ReadError {
    /// Which.
    pub path: String,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// Reads a repository, or a part of it.
///
/// # Errors
///
/// [`ReadError`] where the folder itself cannot be read; what is wrong with a file is a fact.
pub fn read(root: &Path) -> Result<Repository, ReadError> {
    let failed = |source| ReadError {
        path: root.display().to_string(),
        source,
    };
    let files = walk::files(root).map_err(failed)?;
    let total = files.total;
    let parts: Vec<Part> = files
        .candidates
        .into_par_iter()
        .map(|file| part(root, file))
        .collect();
    let mut parts = joined(parts);
    parts.repository.files = total;
    parts.repository.unread.extend(files.unread);
    Ok(finished(parts))
}

/// The same of files that are given with their text.
#[must_use]
pub fn read_texts(files: &BTreeMap<String, String>) -> Repository {
    let parts = files.iter().filter_map(|(name, text)| {
        let kind = walk::kind(name).filter(|kind| walk::is_wanted(*kind, text.as_bytes()))?;
        Some(of_text(name, kind, text.clone()))
    });
    let mut parts = joined(parts.collect());
    parts.repository.files = files.len();
    finished(parts)
}

/// What a file says.
#[derive(Default)]
struct Part {
    repository: Repository,
    go: Vec<golang::File>,
    fragments: Vec<Fragment>,
}

fn part(root: &Path, file: walk::Candidate) -> Part {
    match walk::text(root, &file) {
        Ok(Some(text)) => of_text(&file.name, file.kind, text),
        Ok(None) => Part::default(),
        Err(why) => unread(&file.name, 0, why),
    }
}

fn unread(file: &str, line: usize, why: String) -> Part {
    let mut part = Part::default();
    part.repository.unread.push(Unread {
        place: Place::new(file, line),
        why,
        concerns_coverage: false,
    });
    part
}

fn of_text(file: &str, kind: Kind, text: String) -> Part {
    let mut part = Part::default();
    let text = text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text);
    match kind {
        Kind::Dockerfile => part.repository.dockerfiles.push(docker::read(file, &text)),
        Kind::Makefile => {
            let (flows, texts) = make::read(file, &text);
            part.repository.flows.extend(flows);
            part.texts(file, texts);
        }
        Kind::Shell => part.shell(file, &text),
        Kind::Yaml => part.yaml(file, &text),
        Kind::Module => part.repository.modules.extend(module(file, &text)),
        Kind::Go => part.go.extend(golang::File::parse(file.to_owned(), text)),
        Kind::Python => part.repository.flows.extend(python::read(file, &text)),
    }
    part
}

impl Part {
    fn shell(&mut self, file: &str, text: &str) {
        let script = script::read(file, text, 1, &BTreeMap::new());
        self.repository.flows.push(Flow {
            kind: FlowKind::Script,
            name: file.to_owned(),
            place: Place::new(file, 1),
            needs: Vec::new(),
            environment: script.environment,
            steps: script.steps,
        });
        self.repository.flows.extend(script.functions);
        self.texts(file, script.texts);
    }

    /// Manifests within other texts. What is none is no error there.
    fn texts(&mut self, file: &str, texts: Vec<(usize, String)>) {
        for (line, text) in texts {
            let wanted = [
                "kind:",
                "mountPath:",
                "GOCOVERDIR",
                "hostPath:",
                "securityContext:",
                "emptyDir:",
            ];
            if !wanted.iter().any(|w| text.contains(w)) {
                continue;
            }
            let (masked, open) = template::masked(&text, true);
            let masked = template::aligned(masked);
            // A raw string begins on the line of its quote.
            let around = Around {
                file,
                before: line,
                open,
                partial: false,
            };
            let (documents, _) = yaml::documents(&masked);
            for document in &documents {
                let workloads = self.repository.workloads.len();
                let kinds = self.repository.kinds.len();
                manifest::document(document, &around, &mut self.repository);
                if self.repository.workloads.len() == workloads
                    && self.repository.kinds.len() == kinds
                    && document.get("kind").is_none()
                {
                    let fragment = manifest::fragment(document, &around);
                    self.fragments
                        .extend(Some(fragment).filter(|f| !f.is_empty()));
                }
            }
        }
    }

    fn yaml(&mut self, file: &str, text: &str) {
        let actions = text
            .match_indices("{{")
            .any(|(at, _)| !text[..at].ends_with('$'));
        let (masked, open) = match actions {
            true => template::masked(text, false),
            false => (text.to_owned(), false),
        };
        let (documents, broken) = yaml::documents(&masked);
        let manifests = text.contains("kind:");
        for (line, why) in broken {
            if manifests {
                let why = match actions {
                    true => format!("no YAML without its template's values: {why}"),
                    false => format!("no YAML: {why}"),
                };
                self.repository.unread.push(Unread {
                    place: Place::new(file, line),
                    why,
                    concerns_coverage: text.contains("GOCOVERDIR") || text.contains("coverdata"),
                });
            }
        }
        let name = file.rsplit('/').next().unwrap_or(file);
        let github =
            file.contains(".github/") || file.contains(".gitea/") || file.contains(".forgejo/");
        for document in &documents {
            if github {
                let (flows, texts) = workflow::github(file, document);
                self.repository.flows.extend(flows);
                self.texts(file, texts);
            } else if name.contains("gitlab-ci") {
                self.repository
                    .flows
                    .extend(workflow::gitlab(file, document));
            }
            let around = Around {
                file,
                before: 0,
                open: open || actions,
                partial: name.contains("patch"),
            };
            manifest::document(document, &around, &mut self.repository);
            if name == "kustomization.yaml" || name == "kustomization.yml" {
                self.patches(file, document);
            } else if document.get("kind").is_none() && name.contains("values") {
                self.values(file, document);
            }
        }
    }

    /// Patches that stand in a kustomization itself.
    fn patches(&mut self, file: &str, document: &yaml::Node) {
        for key in ["patches", "patchesStrategicMerge"] {
            for item in document.get(key).map(yaml::Node::items).unwrap_or_default() {
                let text = item.get("patch").unwrap_or(item);
                if let Some(patch) = text.text().filter(|t| t.contains("kind:")) {
                    let around = Around {
                        file,
                        before: text.line,
                        open: false,
                        partial: true,
                    };
                    for document in yaml::documents(patch).0 {
                        manifest::document(&document, &around, &mut self.repository);
                    }
                }
            }
        }
    }

    /// A chart's values may bring a variable, mounts and volumes into its templates.
    fn values(&mut self, file: &str, document: &yaml::Node) {
        let around = Around {
            file,
            before: 0,
            open: true,
            partial: true,
        };
        let mut waiting = vec![document];
        let mut all = Fragment {
            place: Place::new(file, document.line),
            ..Fragment::default()
        };
        while let Some(node) = waiting.pop() {
            let found = manifest::fragment(node, &around);
            all.environment.extend(found.environment);
            all.mounts.extend(found.mounts);
            all.volumes.extend(found.volumes);
            waiting.extend(node.entries().iter().map(|(_, v)| v));
        }
        if all.environment.iter().any(|v| v.name == "GOCOVERDIR") {
            self.fragments.push(all);
        }
    }
}

fn module(file: &str, text: &str) -> Option<Module> {
    let value = |key: &str| {
        let line = text
            .lines()
            .find_map(|l| l.trim().strip_prefix(key)?.strip_prefix(' '))?;
        Some(
            line.split("//")
                .next()
                .unwrap_or(line)
                .trim()
                .trim_matches('"')
                .to_owned(),
        )
    };
    Some(Module {
        place: Place::new(file, 1),
        path: value("module")?,
        go: value("go"),
    })
}

fn joined(parts: Vec<Part>) -> Part {
    let mut all = Part::default();
    for part in parts {
        let Repository {
            unread,
            modules,
            dockerfiles,
            kinds,
            workloads,
            flows,
            ..
        } = part.repository;
        all.repository.unread.extend(unread);
        all.repository.modules.extend(modules);
        all.repository.dockerfiles.extend(dockerfiles);
        all.repository.kinds.extend(kinds);
        all.repository.workloads.extend(workloads);
        all.repository.flows.extend(flows);
        all.go.extend(part.go);
        all.fragments.extend(part.fragments);
    }
    all
}

fn finished(mut all: Part) -> Repository {
    let mut constants = golang::Constants::new();
    for file in &all.go {
        file.constants(&mut constants);
    }
    let go = std::mem::take(&mut all.go);
    let sources: Vec<(String, golang::Source)> = go
        .par_iter()
        .map(|file| (file.file.clone(), file.read(&constants)))
        .collect();
    let mut packages: BTreeMap<(String, String), Package> = BTreeMap::new();
    for (file, source) in sources {
        all.texts(&file, source.texts);
        all.repository.flows.extend(source.flows);
        if file.ends_with("_test.go") {
            continue;
        }
        let folder = file
            .rsplit_once('/')
            .map_or(".", |(folder, _)| folder)
            .to_owned();
        let key = (folder.clone(), source.package.clone());
        let package = packages.entry(key).or_insert_with(|| Package {
            folder,
            name: source.package.clone(),
            ..Package::default()
        });
        package.imports.extend(source.imports);
        package.calls.extend(source.calls);
        package.main = package.main.take().or(source.main);
        if let Some(constraint) = source.constraint {
            package.constrained.push((Place::new(file, 1), constraint));
        }
    }
    for package in packages.values_mut() {
        package.imports.sort();
        package.imports.dedup();
    }
    all.repository.packages = packages.into_values().collect();
    fill(&mut all.repository, &all.fragments);
    let Repository {
        unread,
        workloads,
        flows,
        dockerfiles,
        modules,
        kinds,
        ..
    } = &mut all.repository;
    unread.sort_by(|a, b| a.place.cmp(&b.place));
    workloads.sort_by(|a, b| a.place.cmp(&b.place));
    flows.sort_by(|a, b| a.place.cmp(&b.place));
    dockerfiles.sort_by(|a, b| a.file.cmp(&b.file));
    modules.sort_by(|a, b| a.place.cmp(&b.place));
    kinds.sort_by(|a, b| a.place.cmp(&b.place));
    all.repository
}

/// Puts fragments into the workloads that are open in the same folder, or the same chart.
fn fill(repository: &mut Repository, fragments: &[Fragment]) {
    for fragment in fragments {
        let file = &fragment.place.file;
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let of_file = |w: &&mut covtap_model::facts::repository::Workload| w.place.file == *file;
        let own = repository
            .workloads
            .iter_mut()
            .filter(|w| w.open && !w.partial)
            .any(|w| of_file(&w));
        let chart = format!("{folder}/templates/");
        for workload in repository
            .workloads
            .iter_mut()
            .filter(|w| w.open && !w.partial)
        {
            let at = &workload.place.file;
            let near = match own {
                true => at == file,
                false => {
                    at.rsplit_once('/').map_or("", |(f, _)| f) == folder
                        || at.starts_with(chart.trim_start_matches('/'))
                }
            };
            if !near {
                continue;
            }
            for container in workload.containers.iter_mut().filter(|c| !c.init) {
                container
                    .environment
                    .extend(fragment.environment.iter().cloned());
                container.mounts.extend(fragment.mounts.iter().cloned());
            }
            workload.volumes.extend(fragment.volumes.iter().cloned());
            if let Some(user) = fragment
                .user
                .as_ref()
                .filter(|_| workload.user.user.is_none())
            {
                workload.user = user.clone();
            }
        }
    }
}

/// The children of a node of a syntax tree, brackets and operators included.
fn children<'t>(node: tree_sitter::Node<'t>) -> impl Iterator<Item = tree_sitter::Node<'t>> {
    (0..node.child_count()).filter_map(move |n| node.child(n))
}

#[cfg(test)]
mod tests;
