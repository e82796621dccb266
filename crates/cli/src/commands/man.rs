//! `covtap man [DIR]`.

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::Args;
use crate::failure::Failure;
use crate::output;

pub(crate) fn run(directory: Option<&Path>) -> Result<ExitCode, Failure> {
    match directory {
        Some(directory) => {
            let written = std::fs::create_dir_all(directory)
                .and_then(|()| clap_mangen::generate_to(Args::command(), directory));
            written.map_err(|e| {
                Failure::new(format!(
                    "cannot write manual pages into {}: {e}",
                    directory.display()
                ))
            })?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Args::command()).render(&mut page)?;
            output::data(&page)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
