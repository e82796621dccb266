//! `covtap completions SHELL`.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::Args;
use crate::failure::Failure;
use crate::output;

pub(crate) fn run(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "covtap", &mut script);
    output::data(&script)?;
    Ok(ExitCode::SUCCESS)
}
