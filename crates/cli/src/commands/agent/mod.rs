//! `covtap agent`: see `covtap_live::agent`.

mod image;
mod manifest;
mod program;

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process::ExitCode;

use covtap_live::agent::bounds::{self, Bounds};
use covtap_live::agent::serve::{self, AgentError, Options};
use covtap_tap::watch::Scope;

use crate::args::{Agent, AgentCommand, AgentScope};
use crate::failure::Failure;

pub(crate) fn run(args: &Agent) -> Result<ExitCode, Failure> {
    match &args.command {
        Some(AgentCommand::Image(args)) => return image::run(args),
        Some(AgentCommand::Manifest(args)) => return manifest::run(args),
        None => {}
    }
    if args.stay {
        return done(serve::stay(&options(args)));
    }
    let (input, output) = (io::stdin(), io::stdout());
    if input.is_terminal() || output.is_terminal() {
        return Err(Failure::new("an agent speaks with covtap, not with a terminal")
            .hint("covtap starts its agents itself; for people there are `covtap watch` and `covtap tap`".to_owned()));
    }
    let input = input.as_fd().try_clone_to_owned()?;
    let output = output.as_fd().try_clone_to_owned()?;
    done(if args.join {
        serve::join(&input, &output)
    } else {
        serve::serve(&options(args), input, output)
    })
}

fn done(result: Result<(), AgentError>) -> Result<ExitCode, Failure> {
    result.map_err(|error| {
        let hint = error.hint().map(str::to_owned);
        Failure::new(error).hint(hint)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn options(args: &Agent) -> Options {
    Options {
        every: args.every,
        scope: match args.scope {
            AgentScope::Machine => Scope::Machine,
            AgentScope::Containers => Scope::Containers,
        },
        means: args.watching.means(),
        holder: super::hold::guardian,
        linger: args.linger,
        bounds: (!args.namespace.is_empty()).then(|| {
            let namespaces = args.namespace.iter().cloned().collect();
            Bounds::new(namespaces, bounds::PODS.into())
        }),
        version: env!("CARGO_PKG_VERSION").into(),
    }
}
