//! The `covtap` command. Printing happens in this crate only: stdout is data, stderr is talk.

mod args;
mod commands;
mod config;
mod covdata;
mod engine_door;
mod failure;
#[cfg(target_os = "linux")]
mod interrupt;
mod ledger_table;
mod output;
mod place;
mod pod_door;
mod progress;
mod settings;
mod stopping;
mod surroundings;
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
        Command::Run(run) => commands::run::run(&args.global, *run),
        Command::Start(start) => commands::session::start(&args.global, *start),
        Command::Collect(collect) => commands::collect::run(&args.global, *collect),
        Command::Mark { name } => commands::session::mark(&args.global, &name),
        Command::Stop => commands::session::stop(&args.global),
        Command::Report(report) => commands::report::run(&args.global, report),
        #[cfg(target_os = "linux")]
        Command::Inspect(inspect) => commands::inspect::run(inspect),
        #[cfg(not(target_os = "linux"))]
        Command::Inspect(_) => {
            Err("only on Linux can covtap inspect programs and processes".into())
        }
        #[cfg(target_os = "linux")]
        Command::Tap(tap) => commands::tap::run(&args.global, tap),
        #[cfg(not(target_os = "linux"))]
        Command::Tap(_) => Err("only on Linux can covtap read processes".into()),
        #[cfg(target_os = "linux")]
        Command::Watch(watch) => commands::watch::run(&watch),
        #[cfg(not(target_os = "linux"))]
        Command::Watch(_) => Err("only on Linux can covtap watch processes".into()),
        Command::Build(build) => commands::build::run(&build),
        Command::Wire(wire) => commands::wire::run(&args.global, &wire),
        Command::Unwire { path } => commands::unwire::run(&args.global, &path),
        Command::Doctor(doctor) => commands::doctor::run(&doctor),
        Command::Explain { rule } => commands::explain::run(rule.as_deref()),
        Command::Ls(ls) => commands::ls::run(&ls),
        #[cfg(target_os = "linux")]
        Command::Agent(agent) => commands::agent::run(&agent),
        #[cfg(not(target_os = "linux"))]
        Command::Agent(_) => Err("only on Linux can covtap watch a machine".into()),
        Command::Clean(clean) => commands::clean::run(&args.global, &clean),
        Command::Runs(runs) => commands::runs::run(&args.global, runs),
        Command::Covdata { args } => Ok(covdata::run(&args)),
        #[cfg(target_os = "linux")]
        Command::Hold { role } => commands::hold::run(role),
        #[cfg(not(target_os = "linux"))]
        Command::Hold { .. } => Err("only Linux can hold programs".into()),
        Command::Completions { shell } => commands::completions::run(shell),
        Command::Man { directory } => commands::man::run(directory.as_deref()),
    }
}
