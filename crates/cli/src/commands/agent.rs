//! `covtap agent`: see `covtap_live::agent`.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process::ExitCode;

use covtap_live::agent::serve::{self, Options};

use covtap_tap::watch::Scope;

use crate::args::{Agent, AgentScope};
use crate::failure::Failure;

pub(crate) fn run(args: &Agent) -> Result<ExitCode, Failure> {
    let (input, output) = (io::stdin(), io::stdout());
    if input.is_terminal() || output.is_terminal() {
        return Err(Failure::new("an agent speaks with covtap, not with a terminal")
            .hint("covtap starts its agents itself; for people there are `covtap watch` and `covtap tap`".to_owned()));
    }
    let options = Options {
        every: args.every,
        scope: match args.scope {
            AgentScope::Machine => Scope::Machine,
            AgentScope::Containers => Scope::Containers,
        },
        means: args.watching.means(),
        holder: super::hold::guardian,
        linger: args.linger,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let input = input.as_fd().try_clone_to_owned()?;
    let output = output.as_fd().try_clone_to_owned()?;
    serve::serve(&options, input, output).map_err(|error| {
        let hint = error.hint().map(str::to_owned);
        Failure::new(error).hint(hint)
    })?;
    Ok(ExitCode::SUCCESS)
}
