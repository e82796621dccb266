//! The hidden subcommand behind the exec hold: covtap's own program, started again as guardian and as
//! holder. See `covtap_tap::watch::hold`.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use covtap_tap::watch::hold;

use crate::args::Role;
use crate::failure::Failure;

/// Starts this program as the guardian.
pub(crate) fn guardian() -> Option<Command> {
    Some(again("guardian"))
}

pub(crate) fn run(role: Role) -> Result<ExitCode, Failure> {
    match role {
        Role::Guardian => hold::guard(again("holder"))?,
        Role::Holder => hold::serve()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn again(role: &str) -> Command {
    // Also when the file has been replaced since: this is what runs.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("covtap").args(["hold", role]);
    command
}
