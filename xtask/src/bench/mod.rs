//! What covtap costs, in ratios of one run, beside what the machine can do.

mod corpus;
mod covdata;
mod measure;
#[cfg(target_os = "linux")]
mod tap;

use std::path::PathBuf;

use crate::sh::{self, Result, cmd, fail};

pub(crate) use measure::{MEASURE, measure_child};

/// The task.
pub(crate) fn task(args: &[String]) -> Result {
    match args.split_first() {
        Some((name, rest)) if name == "covdata" => covdata::run(rest),
        #[cfg(target_os = "linux")]
        Some((name, rest)) if name == "tap" => tap::run(rest),
        #[cfg(target_os = "linux")]
        Some((name, rest)) if name == "agent" => {
            let part = std::iter::once(name).chain(rest);
            tap::run(&part.cloned().collect::<Vec<_>>())
        }
        _ => fail!("bench knows: covdata, and on Linux tap and agent"),
    }
}

/// The release build, as users have it.
fn build() -> Result<PathBuf> {
    let root = crate::repository();
    sh::quiet(
        cmd(
            "cargo",
            &["build", "--release", "--locked", "--package", "covtap"],
        )
        .current_dir(&root),
    )?;
    Ok(crate::gate::target_dir().join("release/covtap"))
}
