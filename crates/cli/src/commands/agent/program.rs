//! A Linux program as an image needs it: itself, and what it cannot be started without.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, ReadRef};

/// What a program is, and what it needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Kubernetes' word for its processor.
    pub(super) architecture: &'static str,
    /// Its loader (`PT_INTERP`); `None` when it is static.
    pub(super) loader: Option<PathBuf>,
}

/// Why a file cannot go into an image.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    /// It cannot be read.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] io::Error),
    /// It is no program of Linux.
    #[error("not a 64-bit ELF program: {0}")]
    NotElf(object::Error),
    /// No Kubernetes node is known that would run it.
    #[error("a program for a processor (ELF machine {0}) that covtap does not know")]
    Processor(u16),
    /// It needs libraries, and which ones can be told of the running program alone.
    #[error(
        "a program that needs the loader {0}: only a static one can be all that is in an image"
    )]
    Dynamic(PathBuf),
}

impl Program {
    /// Looks at the bytes of a program.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ProgramError> {
        let header = FileHeader64::<LittleEndian>::parse(bytes).map_err(ProgramError::NotElf)?;
        let order = header.endian().map_err(ProgramError::NotElf)?;
        let architecture = match header.e_machine(order) {
            EM_X86_64 => "amd64",
            EM_AARCH64 => "arm64",
            other => return Err(ProgramError::Processor(other.0)),
        };
        let mut loader = None;
        for segment in header
            .program_headers(order, bytes)
            .map_err(ProgramError::NotElf)?
        {
            if let Some(path) = interpreter(segment, order, bytes)? {
                loader = Some(PathBuf::from(String::from_utf8_lossy(path).into_owned()));
            }
        }
        Ok(Self {
            architecture,
            loader,
        })
    }
}

fn interpreter<'a, R: ReadRef<'a>>(
    segment: &impl ProgramHeader<Endian = LittleEndian>,
    order: LittleEndian,
    bytes: R,
) -> Result<Option<&'a [u8]>, ProgramError> {
    segment
        .interpreter(order, bytes)
        .map_err(ProgramError::NotElf)
}

/// The files that a program is started with: itself at `place`; of this very program, where it is not
/// static, its loader and the libraries that it has mapped too.
pub(super) fn files(
    place: &Path,
    file: Option<&Path>,
) -> Result<(Program, BTreeMap<PathBuf, Vec<u8>>), ProgramError> {
    let own = Path::new("/proc/self/exe");
    let bytes = read(file.unwrap_or(own))?;
    let program = Program::parse(&bytes)?;
    let mut files = BTreeMap::from([(place.to_owned(), bytes)]);
    let Some(loader) = &program.loader else {
        return Ok((program, files));
    };
    if file.is_some() {
        return Err(ProgramError::Dynamic(loader.clone()));
    }
    files.insert(loader.clone(), read(loader)?);
    for library in mapped()? {
        for name in names(&library)? {
            files.insert(name, read(&library)?);
        }
    }
    Ok((program, files))
}

fn read(path: &Path) -> Result<Vec<u8>, ProgramError> {
    fs::read(path).map_err(|error| ProgramError::Read(path.to_owned(), error))
}

/// The libraries of this process, its loader among them.
fn mapped() -> Result<Vec<PathBuf>, ProgramError> {
    let maps = Path::new("/proc/self/maps");
    let regions = covtap_tap::maps::read(std::process::id())
        .map_err(|error| ProgramError::Read(maps.to_owned(), error))?;
    let own = fs::read_link("/proc/self/exe").unwrap_or_default();
    let code = regions
        .into_iter()
        .filter(|region| region.executable && region.file.is_some());
    let mut paths: Vec<PathBuf> = code.map(|region| region.path).collect();
    paths.retain(|path| *path != own);
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// The names of a library in its folder: what the loader looks for may be a link.
fn names(library: &Path) -> Result<Vec<PathBuf>, ProgramError> {
    let Some(folder) = library.parent() else {
        return Ok(Vec::new());
    };
    let wrong = |error| ProgramError::Read(folder.to_owned(), error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        // A link that leads nowhere is none of it.
        if fs::canonicalize(&path).is_ok_and(|real| real == library) {
            names.push(path);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Program, ProgramError, files};

    #[test]
    fn this_program_comes_with_its_libraries() {
        let place = Path::new("/usr/bin/covtap");
        let (program, files) = files(place, None).unwrap();
        assert!(files[place].starts_with(b"\x7fELF"));
        if let Some(loader) = program.loader {
            assert!(files.contains_key(&loader), "{loader:?}");
            let has = |name: &str| files.keys().any(|path| path.ends_with(name));
            assert!(has("libc.so.6"), "{:?}", files.keys());
        } else {
            assert_eq!(files.len(), 1);
        }
    }

    #[test]
    fn another_program_has_to_be_static() {
        let ours = std::env::current_exe().unwrap();
        let dynamic = Program::parse(&std::fs::read(&ours).unwrap())
            .unwrap()
            .loader
            .is_some();
        let read = files(Path::new("/covtap"), Some(&ours));
        assert_eq!(matches!(read, Err(ProgramError::Dynamic(_))), dynamic);
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert!(matches!(
            Program::parse(b"#!/bin/sh\n"),
            Err(ProgramError::NotElf(_))
        ));
        let mut other = vec![0; 64];
        other[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        other[18] = 243;
        assert!(matches!(
            Program::parse(&other),
            Err(ProgramError::Processor(243))
        ));
    }
}
