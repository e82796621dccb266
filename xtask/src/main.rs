//! Developer tasks: `cargo xtask` prints what there is.
//!
//! One file a task. Nothing here is part of covtap; what costs time to get is kept in a cache
//! outside the checkout ([`cache`]).

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's tool talks to its terminal"
)]

mod bench;
mod cache;
mod cluster;
mod deps;
mod fixtures;
mod gate;
mod schemas;
mod sh;
mod structure;
mod tap_fixtures;
mod toolchains;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use sh::{Failure, Result};

/// One row of the table.
struct Task {
    /// What is typed.
    name: &'static str,
    /// Its arguments, as shown.
    args: &'static str,
    /// What it does.
    does: &'static str,
    /// How long it takes on two cores: cold, then warm.
    time: &'static str,
    /// The function.
    run: fn(&[String]) -> Result,
}

/// All tasks, in the order in which a newcomer needs them.
const TASKS: [Task; 12] = [
    Task {
        name: "test",
        args: "[--full] [STAGE…]",
        does: "everything that needs no container; --full: all Go versions, longer properties",
        time: "12 min / 4 min",
        run: gate::test,
    },
    Task {
        name: "test-cluster",
        args: "[STAGE…]",
        does: "everything that needs a Kind cluster, which it makes",
        time: "30 min / 6 min",
        run: cluster::test,
    },
    Task {
        name: "lint",
        args: "[STAGE…]",
        does: "format, clippy, licences, dependency directions, structure, schemas, other platforms",
        time: "4 min / 20 s",
        run: gate::lint,
    },
    Task {
        name: "toolchains",
        args: "[VERSION…]",
        does: "Go toolchains and their covdata, into the cache",
        time: "20 s each / 0 s",
        run: toolchains::task,
    },
    Task {
        name: "tools",
        args: "[--fuzz]",
        does: "developer tools: Python packages, Debian packages, rustup components",
        time: "30 s / 0 s",
        run: tools::task,
    },
    Task {
        name: "fixtures",
        args: "[VERSION…] [--check]",
        does: "builds and runs our Go programs, records what Go's own covdata says of them",
        time: "40 s each / 0 s",
        run: fixtures::task,
    },
    Task {
        name: "tap-fixtures",
        args: "[VERSION…]",
        does: "builds the programs that the tap's tests look into",
        time: "70 s each / 0 s",
        run: tap_fixtures::task,
    },
    Task {
        name: "cluster",
        args: "build | images | up [--name N] [--config FILE] | down [--name N | --all] | env | exec -- CMD…",
        does: "a real Kind cluster, where registries cannot be reached too",
        time: "15 min / 1 s",
        run: cluster::task,
    },
    Task {
        name: "deps",
        args: "",
        does: "dependency directions, unsafe, async, lints: by crate",
        time: "0 s",
        run: deps::task,
    },
    Task {
        name: "structure",
        args: "",
        does: "what no committed file may hold, what every crate must have",
        time: "0 s",
        run: structure::task,
    },
    Task {
        name: "schemas",
        args: "[--check | --validate DIR]",
        does: "JSON schemas from the model's types; --validate: a run's documents against them",
        time: "0 s",
        run: schemas::task,
    },
    Task {
        name: "bench",
        args: "covdata [--files N,N] [--quick] [--gate] | tap [PART…] [--quick]",
        does: "covtap covdata beside go tool covdata; what the tap costs, beside the floor",
        time: "15 min / 8 min",
        run: bench::task,
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        table();
        return ExitCode::SUCCESS;
    };
    if name == bench::MEASURE {
        return bench::measure_child(rest);
    }
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        table();
        return ExitCode::SUCCESS;
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("error: there is no task {name}");
        eprintln!("hint: cargo xtask prints those that there are");
        return ExitCode::from(2);
    };
    match (task.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the tasks.
fn table() {
    println!("cargo xtask TASK\n");
    for task in TASKS {
        println!("  {:<12} {}", task.name, task.does);
        if !task.args.is_empty() {
            println!("  {:<12}   arguments: {}", "", task.args);
        }
        println!(
            "  {:<12}   time on two cores, cold / warm: {}",
            "", task.time
        );
    }
    println!("\nThe short front of these is the Makefile: make help.");
}

/// The root of this checkout.
fn repository() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}

/// The cache, or the sentence that says why there is none.
fn cache_root() -> Result<PathBuf> {
    let root = cache::root()
        .ok_or_else(|| Failure("COVTAP_CACHE and HOME are not set: no place for a cache".into()))?;
    sh::mkdir(&root)?;
    Ok(root)
}
