//! The hidden subcommand behind the exec hold: covtap's own program, started again as guardian and as
//! holder. See `covtap_tap::watch::hold`.

use std::io;
use std::process::{Command, ExitCode};

use covtap_tap::watch::hold;

use crate::args::Role;
use crate::failure::Failure;

/// Starts this program as the guardian; `None` where it cannot be found any more.
pub(crate) fn guardian() -> Option<Command> {
    again("guardian").ok()
}

pub(crate) fn run(role: Role) -> Result<ExitCode, Failure> {
    match role {
        Role::Guardian => hold::guard(again("holder")?)?,
        Role::Holder => hold::serve()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn again(role: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["hold", role]);
    Ok(command)
}
