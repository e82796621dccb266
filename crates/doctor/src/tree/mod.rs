//! A repository as rules look at it: which container runs which Dockerfile's program, as whom, into which
//! directory, and what is done to it in which order.

mod acts;
mod build;
mod chain;
mod questions;
mod user;

use std::sync::OnceLock;

use covtap_model::facts::Place;
use covtap_model::facts::repository::{
    Container, Dockerfile, Instruction, Repository, Source, Step, Variable, Volume, Workload,
    is_open,
};
use covtap_model::finding::Evidence;

pub(crate) use acts::{Act, Performed, act, concerns_coverage, seconds};
pub(crate) use build::{Cover, GoBuild, ImageBuild, go_builds, is_go_build, says_cover};
pub(crate) use chain::{Behind, Directory, is_under};
use questions::Index;
pub(crate) use questions::reached;
pub(crate) use user::{User, user};

use crate::Facts;

/// Programs that run containers without a cluster.
pub(crate) const ENGINES: [&str; 3] = ["docker", "podman", "nerdctl"];

/// A repository, with what follows from it.
pub(crate) struct Tree<'a> {
    pub(crate) repository: &'a Repository,
    /// Containers that run what this repository builds, or that have a coverage directory.
    pub(crate) services: Vec<Service<'a>>,
    /// Images that are built, by whatever builds them.
    pub(crate) images: Vec<ImageBuild<'a>>,
    index: &'a Index,
}

/// What is derived from the facts once, for all rules. Its default is right wherever facts are made.
#[derive(Clone, Debug, Default)]
pub struct Derived {
    index: OnceLock<Index>,
    /// What wants coverage of what runs.
    intent: OnceLock<Option<Evidence>>,
}

/// A container of a workload that concerns coverage.
pub(crate) struct Service<'a> {
    /// `deployment/api`, with the container's name where it is not the only one.
    pub(crate) name: String,
    pub(crate) workload: &'a Workload,
    pub(crate) container: &'a Container,
    /// Patches of the workload, which have more of the same.
    pub(crate) patches: Vec<(&'a Workload, Option<&'a Container>)>,
    pub(crate) dockerfile: Option<&'a Dockerfile>,
}

/// What the files say, if a repository was looked at and wants coverage of what runs.
pub(crate) fn tree(facts: &Facts) -> Option<Tree<'_>> {
    any(facts).filter(|tree| facts.derived.intent.get_or_init(|| tree.intent()).is_some())
}

/// The same of a repository that wants none, and of no other.
pub(crate) fn without_intent(facts: &Facts) -> Option<Tree<'_>> {
    any(facts).filter(|tree| facts.derived.intent.get_or_init(|| tree.intent()).is_none())
}

fn any(facts: &Facts) -> Option<Tree<'_>> {
    let repository = facts.repository.as_ref()?;
    let index = facts.derived.index.get_or_init(|| Index::of(repository));
    Some(match facts.derived.intent.get() {
        // Nothing asks more of it.
        Some(None) => Tree {
            repository,
            services: Vec::new(),
            images: Vec::new(),
            index,
        },
        _ => Tree::of(repository, index),
    })
}

impl<'a> Tree<'a> {
    fn of(repository: &'a Repository, index: &'a Index) -> Self {
        let images = build::images(repository, &index.images);
        let mut tree = Self {
            repository,
            services: Vec::new(),
            images,
            index,
        };
        let mut services = Vec::new();
        for workload in repository.workloads.iter().filter(|w| !w.partial) {
            let patches: Vec<&Workload> = repository
                .workloads
                .iter()
                .filter(|p| {
                    p.partial
                        && p.kind == workload.kind
                        && p.name == workload.name
                        && !p.name.is_empty()
                })
                .collect();
            let running = workload.containers.iter().filter(|c| !c.init);
            let several = running.clone().count() > 1;
            for container in running {
                let of_container = |p: &&'a Workload| {
                    let own = p.containers.iter().find(|c| c.name == container.name);
                    (*p, own)
                };
                let service = Service {
                    name: title(workload, several.then_some(container)),
                    workload,
                    container,
                    patches: patches.iter().map(of_container).collect(),
                    dockerfile: tree.dockerfile_of(container, workload),
                };
                let ours = service.dockerfile.is_some_and(build::builds_go);
                if ours || service.directory().is_some() {
                    services.push(service);
                }
            }
        }
        // Another copy of a manifest, for production or in a document, wants no coverage.
        let wired: Vec<(&str, &str)> = services
            .iter()
            .filter(|s| s.directory().is_some())
            .map(Service::names)
            .collect();
        services.retain(|s| {
            let (workload, container) = s.names();
            s.directory().is_some() || !wired.iter().any(|(w, c)| *w == workload || *c == container)
        });
        tree.services = services;
        tree
    }

    /// The Dockerfile that an image is built of.
    fn dockerfile_of(&self, container: &Container, workload: &Workload) -> Option<&'a Dockerfile> {
        let all = &self.repository.dockerfiles;
        if let Some(build) = &container.build {
            let wanted = build.trim_start_matches("./");
            return all.iter().find(|d| {
                d.file.ends_with(wanted)
                    || d.file.ends_with(&format!("{wanted}/Dockerfile"))
                    || (matches!(wanted, "." | "") && d.file == "Dockerfile")
            });
        }
        let image = container.image.as_deref().unwrap_or_default();
        let named = |build: &&ImageBuild<'a>| build.tags.iter().any(|t| same_image(t, image));
        if let Some(build) = self.images.iter().find(named) {
            return build.dockerfile;
        }
        let go: Vec<&Dockerfile> = all.iter().filter(|d| build::builds_go(d)).collect();
        // By name: `docker/api.Dockerfile`, `services/api/Dockerfile`, image `shop/api`.
        let short = image_name(image);
        let names = [short, workload.name.as_str(), container.name.as_str()];
        let named: Vec<&&Dockerfile> = go
            .iter()
            .filter(|d| {
                names
                    .iter()
                    .any(|n| !n.is_empty() && !is_open(n) && build::is_named(&d.file, n))
            })
            .collect();
        if let [one] = named[..] {
            return Some(one);
        }
        let elsewhere = || {
            let all = self
                .repository
                .workloads
                .iter()
                .flat_map(|w| &w.containers)
                .flat_map(|c| &c.environment);
            all.into_iter().any(|v| v.name == "GOCOVERDIR")
        };
        // The only one, and the only place where its coverage would go; other people's images are no
        // images of ours.
        let concerns = container.environment.iter().any(|v| v.name == "GOCOVERDIR");
        match go[..] {
            [one] if concerns || (is_open(image) && !elsewhere()) => Some(one),
            _ => None,
        }
    }

    /// Builds of a service's image.
    pub(crate) fn builds_of<'t>(
        &'t self,
        dockerfile: &'a Dockerfile,
    ) -> impl Iterator<Item = &'t ImageBuild<'a>> {
        self.images
            .iter()
            .filter(move |b| b.dockerfile.is_some_and(|d| std::ptr::eq(d, dockerfile)))
    }

    /// Whether anything here wants coverage of programs that run; tests of packages are none.
    fn intent(&self) -> Option<Evidence> {
        let of_service = self.services.iter().find_map(|s| {
            let directory = s.directory()?;
            Some(at(
                directory.place,
                format!("{}={}", directory.name, directory.value),
            ))
        });
        let of_workloads = || {
            let all = self.repository.workloads.iter().flat_map(|w| &w.containers);
            let variable = all
                .flat_map(|c| &c.environment)
                .find(|v| is_directory(&v.name))?;
            Some(at(&variable.place, &variable.name))
        };
        let of_images = || {
            let covered = self.images.iter().find(|i| {
                i.arguments
                    .iter()
                    .any(|(_, v)| says_cover(v.split_whitespace()))
            });
            Some(line(covered?.step))
        };
        let of_files = || {
            let builds = self
                .repository
                .dockerfiles
                .iter()
                .flat_map(build::go_builds);
            let mut covered = builds.filter(|b| matches!(b.cover, Cover::Yes));
            Some(line(covered.next()?.step))
        };
        let of_steps = || {
            let mut steps = self.steps();
            let step = steps.find(|s| {
                let given = s.environment.iter().any(|(n, _)| is_directory(n));
                let unit = s.says("test.gocoverdir") || (s.runs(&["go", "test"]) && !given);
                !unit
                    && (given
                        || s.runs(&["go", "tool", "covdata"])
                        || runs_with_directory(s)
                        || build::go_builds_with_coverage(s))
            })?;
            Some(line(step))
        };
        let of_flows = || {
            let mut all = self.repository.flows.iter().flat_map(|f| &f.environment);
            let variable = all.find(|v| is_directory(&v.name))?;
            Some(at(&variable.place, &variable.name))
        };
        let of_programs = || {
            let imports = |p: &&covtap_model::facts::repository::Package| {
                p.imports.iter().any(|i| i == "runtime/coverage")
            };
            let package = self.repository.packages.iter().find(imports)?;
            Some(Evidence::new(&package.folder, "imports runtime/coverage"))
        };
        of_service
            .or_else(of_workloads)
            .or_else(of_images)
            .or_else(of_files)
            .or_else(of_steps)
            .or_else(of_flows)
            .or_else(of_programs)
    }

    /// All steps of all flows that anything starts.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &'a Step> {
        let flows = &self.repository.flows;
        self.index.steps.iter().map(|(n, m)| &flows[*n].steps[*m])
    }

    /// The one service, where a step that names none can only mean it.
    pub(crate) fn subject(&self, step: &Step) -> String {
        let named: Vec<&Service<'a>> = self
            .services
            .iter()
            .filter(|s| {
                let name = s.workload.name.as_str();
                !name.is_empty() && !is_open(name) && step.words.iter().any(|w| w.contains(name))
            })
            .collect();
        match (&named[..], &self.services[..]) {
            ([one], _) => one.name.clone(),
            ([], [one]) => one.name.clone(),
            _ => step.place.file.clone(),
        }
    }
}

impl<'a> Service<'a> {
    /// Of its workload and of its container.
    fn names(&self) -> (&'a str, &'a str) {
        (&self.workload.name, &self.container.name)
    }

    /// Where its coverage is to go.
    pub(crate) fn directory(&self) -> Option<Directory<'a>> {
        let own = self
            .environment()
            .find(|v| v.name == "GOCOVERDIR")
            .map(Directory::of);
        own.or_else(|| {
            let stage = self.dockerfile?.stages.last()?;
            let found = stage.instructions.iter().rev().find_map(|i| match i {
                Instruction::Environment(v) if v.name == "GOCOVERDIR" => Some(v),
                _ => None,
            });
            found.map(Directory::of)
        })
    }

    /// Its variables, those of patches first.
    pub(crate) fn environment(&self) -> impl Iterator<Item = &'a Variable> {
        let patched = self
            .patches
            .iter()
            .filter_map(|(_, c)| *c)
            .flat_map(|c| &c.environment);
        patched.chain(&self.container.environment)
    }

    /// Whether what is not there may come from what only the run knows.
    pub(crate) fn is_open(&self) -> bool {
        self.workload.open || self.container.open_environment
    }

    /// The volume that a path lies in, and how it is mounted.
    pub(crate) fn volume_at(&self, path: &str) -> Option<Behind<'a>> {
        let patched = self
            .patches
            .iter()
            .filter_map(|(_, c)| *c)
            .flat_map(|c| &c.mounts);
        let mounts = patched.chain(&self.container.mounts);
        let mount = mounts
            .filter(|m| chain::is_under(path, &m.path))
            .max_by_key(|m| m.path.len())?;
        let volumes = self
            .patches
            .iter()
            .flat_map(|(w, _)| &w.volumes)
            .chain(&self.workload.volumes);
        let volume = volumes.into_iter().find(|v| v.name == mount.volume);
        Some(Behind { mount, volume })
    }

    /// All its volumes.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &'a Volume> {
        self.patches
            .iter()
            .flat_map(|(w, _)| &w.volumes)
            .chain(&self.workload.volumes)
    }

    /// Whether Compose runs it: its host is the engine's, not a node.
    pub(crate) fn is_compose(&self) -> bool {
        self.workload.kind == "Compose"
    }

    /// A node's path that its coverage lies in.
    pub(crate) fn node_path(&self) -> Option<(&'a str, &'a Volume)> {
        let directory = self.directory()?;
        let volume = self.volume_at(&directory.value)?.volume?;
        match &volume.source {
            Source::Host { path, .. } if !self.is_compose() => Some((path, volume)),
            _ => None,
        }
    }
}

fn title(workload: &Workload, container: Option<&Container>) -> String {
    let kind = workload.kind.to_ascii_lowercase();
    let name = match workload.name.as_str() {
        "" => "?",
        name if is_open(name) => workload
            .containers
            .first()
            .map_or(name, |c| c.name.as_str()),
        name => name,
    };
    match container {
        Some(container) => format!("{kind}/{name} container {}", container.name),
        None => format!("{kind}/{name}"),
    }
}

/// A variable that says where coverage goes.
pub(crate) fn is_directory(name: &str) -> bool {
    matches!(
        name,
        "GOCOVERDIR" | "LLVM_PROFILE_FILE" | "NODE_V8_COVERAGE"
    )
}

/// Without registry and tag.
pub(crate) fn image_name(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split(':').next().unwrap_or(name)
}

/// Whether two names may be of one image: registry and tag may be the run's business.
pub(crate) fn same_image(a: &str, b: &str) -> bool {
    let (a, b) = (image_name(a), image_name(b));
    !a.is_empty() && a == b && !is_open(a)
}

/// Whether a step starts a container that is told where to write: `docker run -e GOCOVERDIR=…`.
pub(crate) fn runs_with_directory(step: &Step) -> bool {
    let starts = ENGINES
        .iter()
        .any(|engine| step.runs(&[engine, "run"]) || step.runs(&[engine, "create"]));
    let given = |word: &&str| is_directory(word.split('=').next().unwrap_or(word));
    starts && step.flags(&["-e", "--env"]).iter().any(given)
}

/// Evidence at a place.
pub(crate) fn at(place: &Place, what: impl Into<String>) -> Evidence {
    Evidence::new(place.to_string(), what)
}

/// A step as evidence.
pub(crate) fn line(step: &Step) -> Evidence {
    let mut what = step.line();
    if let Some(ignored) = &step.ignored {
        what.push_str(&format!("   ({ignored})"));
    }
    at(&step.place, what)
}
