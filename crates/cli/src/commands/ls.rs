//! `covtap ls`: what would be watched, and waiting until it is ready.

mod listing;
mod table;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use covtap_cluster::facts::Facts;
use covtap_cluster::{Follower, Options};
use covtap_model::exit::Exit;
use covtap_model::ls::{Listing, SCHEMA};
use covtap_model::problem::Severity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::args::{ListFormat, Ls};
use crate::failure::Failure;
use crate::{output, surroundings};

/// How long engines and clusters may take to say what there is.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) fn run(args: &Ls) -> Result<ExitCode, Failure> {
    let options = options(args)?;
    let mut follower = Follower::start(options.clone())?;
    let (facts, awaited) = if args.wait {
        wait(&mut follower, &options, args.timeout)?
    } else {
        follower.settle(PATIENCE);
        (follower.facts(), Vec::new())
    };
    let listing = Listing {
        schema: SCHEMA.into(),
        targets: listing::targets(&facts, &options.selection),
        problems: facts.troubles.clone(),
    };
    match args.format {
        ListFormat::Json => {
            let mut json = serde_json::to_vec_pretty(&listing)?;
            json.push(b'\n');
            output::data(&json)?;
        }
        ListFormat::Text => {
            for problem in &listing.problems {
                match problem.severity {
                    Severity::Note => output::note(&problem.to_string()),
                    Severity::Warning | Severity::Error => output::warning(&problem.to_string()),
                }
            }
            output::data(table::table(&listing.targets).as_bytes())?;
        }
    }
    for what in &awaited {
        output::error(what);
    }
    let verdict = if args.wait && awaited.is_empty() {
        Exit::Success
    } else {
        verdict(&facts, &options, &listing, &awaited)
    };
    Ok(ExitCode::from(verdict.code()))
}

/// What is looked at.
fn options(args: &Ls) -> Result<Options, Failure> {
    if args.selecting.local == Some(true) {
        return Err("with --local there is nothing to list".into());
    }
    let mut selecting = args.selecting.clone();
    let named = selecting.workload.get_or_insert_default();
    named.extend(args.workloads.iter().cloned());
    Ok(surroundings::options(&selecting))
}

/// What the exit code says; what is not obvious is said in words too.
fn verdict(facts: &Facts, options: &Options, listing: &Listing, awaited: &[String]) -> Exit {
    if !listing.targets.is_empty() {
        return if awaited.is_empty() {
            Exit::Success
        } else {
            Exit::No
        };
    }
    if options.cluster && facts.clusters.is_empty() {
        output::error("the cluster that was asked for does not answer");
        return Exit::Failure;
    }
    output::talk("nothing that would be watched");
    if !options.cluster {
        output::hint("covtap ls -n NAMESPACE looks into the cluster of the kubeconfig too");
    }
    Exit::Nothing
}

/// Waits until everything that is asked for is ready. What is still awaited when the time is over.
fn wait(
    follower: &mut Follower,
    options: &Options,
    timeout: Duration,
) -> Result<(Facts, Vec<String>), Failure> {
    let end = Instant::now() + timeout;
    // A first look that is not complete may miss what is not ready.
    follower.settle(timeout);
    let mut said = Vec::new();
    loop {
        // Taken before the look, so that what comes in between is looked at again.
        follower.news();
        let facts = follower.facts();
        let awaited = listing::awaited(&facts, &options.selection);
        let left = end.saturating_duration_since(Instant::now());
        if awaited.is_empty() || left.is_zero() {
            return Ok((facts, awaited));
        }
        if awaited != said {
            let more = match awaited.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            output::note(&format!("waiting: {}{more}", awaited[0]));
            said = awaited;
        }
        let descriptor = follower.descriptor();
        let time = Timespec::try_from(left)
            .map_err(|_| Failure::new("the time to wait is too long for this system"))?;
        match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&time)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
