//! The `covtap` command. Printing happens in this crate only: stdout is data, stderr is talk.

mod args;
mod commands;
mod config;
mod covdata;
mod failure;
mod ledger_table;
mod output;
mod place;
mod progress;
mod settings;
mod units;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    match dispatch(args) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn dispatch(args: Args) -> Result<ExitCode, failure::Failure> {
    output::set_color(args.global.color);
    match args.command {
        Command::Run(run) => commands::run::run(&args.global, run),
        Command::Report(report) => commands::report::run(&args.global, report),
        Command::Runs(runs) => commands::runs::run(&args.global, runs),
        Command::Covdata { args } => Ok(covdata::run(&args)),
        Command::Completions { shell } => commands::completions::run(shell),
        Command::Man { directory } => commands::man::run(directory.as_deref()),
    }
}
