//! `covtap agent image`: this program as an image, for clusters whose nodes covtap reaches in no other way.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use covtap_cluster::image::Image;

use super::program::{self, ProgramError};
use crate::args::AgentImage;
use crate::failure::Failure;
use crate::output;

/// Where the program lies in the image.
const PLACE: &str = "/usr/bin/covtap";

pub(super) fn run(args: &AgentImage) -> Result<ExitCode, Failure> {
    let (program, files) =
        program::files(Path::new(PLACE), args.binary.as_deref()).map_err(explain)?;
    let image = Image {
        name: args.name.clone().unwrap_or_else(name),
        architecture: program.architecture.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        entrypoint: vec![PLACE.to_owned()],
        files,
    };
    match &args.output {
        Some(path) => write(&image, path)?,
        None if io::stdout().is_terminal() => {
            return Err(Failure::new("an image archive is nothing for a terminal")
                .hint("covtap agent image -o agent.tar".to_owned()));
        }
        None => image.write(io::stdout().lock())?,
    }
    let libraries = match image.files.len() - 1 {
        0 => String::new(),
        n => format!(", with {n} libraries of this machine, which it needs"),
    };
    output::note(&format!(
        "{} for linux/{}{libraries}: load it into the nodes (kind load image-archive, ctr -n k8s.io images \
         import) or push it, then covtap run --agent-image",
        image.name, image.architecture
    ));
    Ok(ExitCode::SUCCESS)
}

/// `covtap-agent:0.1.0`.
fn name() -> String {
    concat!("covtap-agent:", env!("CARGO_PKG_VERSION")).to_owned()
}

/// Writes the archive beside its place first, so that it is whole or not there.
fn write(image: &Image, path: &PathBuf) -> Result<(), Failure> {
    let wrong = |error| Failure::new(format!("cannot write {}: {error}", path.display()));
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file =
        tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(wrong)?;
    let mut to = BufWriter::new(file.as_file_mut());
    image
        .write(&mut to)
        .and_then(|()| to.flush())
        .map_err(wrong)?;
    drop(to);
    readable(file.as_file()).map_err(wrong)?;
    file.persist(path).map_err(|error| wrong(error.error))?;
    Ok(())
}

/// Temporary files are their owner's alone; this one is no secret.
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(PermissionsExt::from_mode(0o644))
}

fn explain(error: ProgramError) -> Failure {
    let hint = match &error {
        ProgramError::Dynamic(_) => Some(
            "build it with: cargo build --release --target x86_64-unknown-linux-musl -p covtap"
                .to_owned(),
        ),
        ProgramError::NotElf(_) | ProgramError::Processor(_) => {
            Some("--binary takes a covtap for Linux, of the nodes' processor".to_owned())
        }
        ProgramError::Read(..) => None,
    };
    Failure::new(error).hint(hint)
}
