//! `covtap clean`: what commands that were killed have left in clusters and files is put back. Data are never
//! removed.

mod agents;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use covtap_cluster::{Follower, Options};
use covtap_live::{made, stopped};
use covtap_model::exit::Exit;
use covtap_model::stopped::Service;

use super::wire::record::Record;
use super::{unwire, wire};
use crate::args::{Cleaning, Global};
use crate::failure::Failure;
use crate::output;
use crate::place::Place;
use crate::stopping::{self, Restored, replicas};

/// How long clusters may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) fn run(global: &Global, args: &Cleaning) -> Result<ExitCode, Failure> {
    let place = Place::find(global)?;
    let dry_run = args.dry_run;
    let (mut records, mut agents) = (Vec::new(), Vec::new());
    for folder in place.store.ended()? {
        records.extend(stopped::Record::left(&folder)?);
        agents.extend(made::Record::left(&folder)?);
    }
    let named = args.context.is_some() || args.kubeconfig.is_some();
    let mut verdict = Exit::Success;
    let mut worse = |found: Exit| {
        if found.code() > verdict.code() {
            verdict = found;
        }
    };
    let store = wire::store(global, &place, &place.directory);
    let home = store.parent().unwrap_or(&store).to_path_buf();
    let mut wired = Record::open(store)?;
    let unfinished = wired.is_unfinished();
    if unfinished && let Some(found) = unwire::restore(&mut wired, &home, dry_run)? {
        worse(found);
    }
    if records.is_empty() && agents.is_empty() && !named && !unfinished {
        output::talk(
            "nothing to do: no run has left a service scaled to zero, or agents, and no covtap wire was cut off",
        );
        return Ok(ExitCode::from(Exit::Success.code()));
    }
    for record in &mut records {
        let mut followers = BTreeMap::new();
        for service in record.stopped().services.clone() {
            let kubeconfig = record.stopped().kubeconfig.clone();
            let follower = followers
                .entry(service.cluster.clone())
                .or_insert_with_key(|cluster| follow(cluster, kubeconfig));
            worse(one(record, &service, follower, dry_run));
        }
    }
    for record in &mut agents {
        worse(agents::recorded(record, dry_run));
    }
    if named {
        worse(agents::in_cluster(args));
    }
    Ok(ExitCode::from(verdict.code()))
}

/// Puts one service back, or says what would be done.
fn one(
    record: &mut stopped::Record,
    service: &Service,
    follower: &Result<Follower, String>,
    dry_run: bool,
) -> Exit {
    let name = format!("{service} in cluster {}", service.cluster);
    let had = replicas(service.replicas);
    let follower = match follower {
        Ok(follower) => follower,
        Err(why) => {
            output::error(&format!("{name} is not restored to {had}: {why}"));
            output::hint(&format!(
                "if that cluster is gone for good, nothing is to be restored: remove {}",
                record.path().display()
            ));
            return Exit::Failure;
        }
    };
    let reach = follower.reach();
    let found = if dry_run {
        stopping::look(&reach, service).map_err(Into::into)
    } else {
        stopping::restore(&reach, record, service)
    };
    match found {
        Ok(Restored::Done) if dry_run => output::talk(&format!("{name} would get {had} again")),
        Ok(Restored::Done) => output::talk(&format!("{name} gets {had} again")),
        Ok(Restored::Already) => output::talk(&format!("{name} has {had} already")),
        Ok(Restored::Gone) => output::talk(&format!("{name} is no more")),
        Ok(Restored::Changed(now)) => {
            output::warning(&format!(
                "{name} had {had}, and has {now} now: somebody else set that, it is left so"
            ));
            return Exit::No;
        }
        Err(error) => {
            output::error(&format!("{name} is not restored to {had}: {error}"));
            return Exit::Failure;
        }
    }
    Exit::Success
}

/// Follows a cluster until it answers.
fn follow(cluster: &str, kubeconfig: Option<PathBuf>) -> Result<Follower, String> {
    let options = Options {
        kubeconfig,
        context: Some(cluster.to_owned()),
        cluster: true,
        engines: true,
        ..Options::default()
    };
    let mut follower = Follower::start(options).map_err(|error| error.to_string())?;
    follower.settle(PATIENCE);
    let facts = follower.facts();
    if facts.clusters.iter().any(|known| known.name == cluster) {
        return Ok(follower);
    }
    let of_it = |trouble: &&covtap_model::problem::Problem| trouble.to_string().contains(cluster);
    Err(match facts.troubles.iter().find(of_it) {
        Some(trouble) => trouble.to_string(),
        None => "the cluster does not answer".to_owned(),
    })
}
