//! As whom a container runs.

use covtap_model::facts::Place;
use covtap_model::facts::repository::{Dockerfile, Instruction, Stage, is_open};

use super::Service;

/// As whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// This uid, which this place says in these words.
    Id(u32, Place, String),
    /// Some user that is not root.
    Named(Place, String),
    /// The files do not tell.
    Unknown,
}

impl User {
    pub(crate) fn is_root(&self) -> bool {
        matches!(self, Self::Id(0, ..))
    }

    /// In words, with where it is said.
    pub(crate) fn said(&self) -> Option<(&Place, String)> {
        match self {
            Self::Id(uid, place, said) => Some((place, format!("{said}: uid {uid}"))),
            Self::Named(place, said) => Some((place, said.clone())),
            Self::Unknown => None,
        }
    }
}

/// The user of a service's process.
pub(crate) fn user(service: &Service<'_>) -> User {
    let patched = service.patches.iter();
    let all = patched
        .flat_map(|(w, c)| [c.map(|c| &c.user), Some(&w.user)])
        .flatten()
        .chain([&service.container.user, &service.workload.user]);
    for security in all {
        if let Some(uid) = security.user.and_then(|u| u32::try_from(u).ok()) {
            return User::Id(uid, security.place.clone(), format!("runAsUser: {uid}"));
        }
    }
    if let Some(user) = &service.container.named_user {
        let name = user.split(':').next().unwrap_or(user);
        if let Ok(uid) = name.parse() {
            return User::Id(
                uid,
                service.container.place.clone(),
                format!("user: {user}"),
            );
        }
        if is_open(name) {
            return User::Unknown;
        }
    }
    service.dockerfile.map_or(User::Unknown, of_dockerfile)
}

fn of_dockerfile(dockerfile: &Dockerfile) -> User {
    let Some(mut stage) = dockerfile.stages.last() else {
        return User::Unknown;
    };
    loop {
        let last = stage.instructions.iter().rev().find_map(|i| match i {
            Instruction::User(name, place) => Some((name, place)),
            _ => None,
        });
        if let Some((name, place)) = last {
            return named(dockerfile, name, place);
        }
        match stage.from.and_then(|n| dockerfile.stages.get(n)) {
            Some(below) => stage = below,
            None => return of_base(stage),
        }
    }
}

fn named(dockerfile: &Dockerfile, name: &str, place: &Place) -> User {
    let default = |argument: &str| {
        let here = dockerfile
            .stages
            .iter()
            .flat_map(|s| &s.instructions)
            .filter_map(|i| match i {
                Instruction::Argument(v) => Some(v),
                _ => None,
            });
        here.chain(&dockerfile.arguments)
            .filter(|v| v.name == argument)
            .find_map(|v| v.value.clone())
    };
    let variable = name
        .strip_prefix('$')
        .map(|v| v.trim_matches(['{', '}']).to_owned());
    let name = match &variable {
        Some(variable) => default(variable).unwrap_or_else(|| name.to_owned()),
        None => name.to_owned(),
    };
    let said = format!("USER {name}");
    if let Ok(uid) = name.parse() {
        return User::Id(uid, place.clone(), said);
    }
    if is_open(&name) {
        return User::Unknown;
    }
    match name.as_str() {
        "root" => return User::Id(0, place.clone(), said),
        // The user of distroless images.
        "nonroot" => return User::Id(65532, place.clone(), said),
        "nobody" => return User::Id(65534, place.clone(), said),
        _ => {}
    }
    let steps = dockerfile
        .stages
        .iter()
        .flat_map(|s| &s.instructions)
        .filter_map(|i| match i {
            Instruction::Run(step) => Some(step),
            _ => None,
        });
    for step in steps.filter(|s| matches!(s.program(), "useradd" | "adduser")) {
        let of_name = step.words.contains(&name);
        let uid = step.flag(&["-u", "--uid"]).and_then(|u| u.parse().ok());
        if let (true, Some(uid)) = (of_name, uid) {
            return User::Id(uid, place.clone(), said);
        }
    }
    User::Named(place.clone(), said)
}

/// Users of images that are known for them.
fn of_base(stage: &Stage) -> User {
    let base = stage.base.as_str();
    let place = stage.place.clone();
    let said = format!("FROM {base}");
    if base.contains("nonroot") {
        return User::Id(65532, place, said);
    }
    if base.contains("go-toolset") || base.contains("ubi8/python") || base.contains("ubi9/python") {
        return User::Id(1001, place, said);
    }
    let name = super::image_name(base);
    let of_root = [
        "scratch",
        "alpine",
        "debian",
        "ubuntu",
        "busybox",
        "golang",
        "ubi-minimal",
        "ubi-micro",
        "ubi",
        "fedora",
        "centos",
    ];
    match of_root.contains(&name) || base.contains("distroless") {
        true => User::Id(0, place, said),
        false => User::Unknown,
    }
}
