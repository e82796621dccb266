//! Several formats from one call, each file whole or not there at all.

use std::io;
use std::path::{Path, PathBuf};

use covtap_model::coverage::Coverage;

use super::{Format, Options};

/// What [`write_files`] did.
#[derive(Debug, Default)]
pub struct Written {
    /// The files that were written, in the order of the formats asked for.
    pub paths: Vec<PathBuf>,
    /// The ones that could not be written. An earlier file of that name is as it was.
    pub failed: Vec<WriteError>,
}

/// A report that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", .path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Writes `coverage` in each of `formats` into the folder `dir`, which is made when it is missing.
///
/// Each file is written under another name and then renamed, so that a reader never sees half of
/// it. Its mode is 0644 less the umask. A format asked for twice is written once. One file that
/// fails does not keep the others from being written.
#[must_use]
pub fn write_files(
    coverage: &Coverage,
    formats: &[Format],
    dir: &Path,
    options: &Options,
) -> Written {
    let mut wanted: Vec<Format> = Vec::new();
    for &format in formats {
        if !wanted.contains(&format) {
            wanted.push(format);
        }
    }
    if let Err(source) = std::fs::create_dir_all(dir) {
        return Written {
            paths: Vec::new(),
            failed: vec![WriteError {
                path: dir.to_path_buf(),
                source,
            }],
        };
    }
    let results: Vec<(PathBuf, io::Result<()>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = wanted
            .into_iter()
            .map(|format| {
                let path = dir.join(format.file_name());
                let target = path.clone();
                let thread = scope.spawn(move || write_file(coverage, format, &target, options));
                (path, thread)
            })
            .collect();
        threads
            .into_iter()
            .map(|(path, thread)| {
                let result = thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                (path, result)
            })
            .collect()
    });
    let mut written = Written::default();
    for (path, result) in results {
        match result {
            Ok(()) => written.paths.push(path),
            Err(source) => written.failed.push(WriteError { path, source }),
        }
    }
    written
}

fn write_file(
    coverage: &Coverage,
    format: Format,
    path: &Path,
    options: &Options,
) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".covtap-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o644));
    }
    let mut file = builder.tempfile_in(dir)?;
    format.write(coverage, options, file.as_file_mut())?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::shared_tests::sample;
    use super::*;

    #[test]
    fn all_formats_from_one_call() {
        let dir = tempfile::tempdir().unwrap();
        let report = dir.path().join("a/report");
        let mut formats = Format::ALL.to_vec();
        formats.push(Format::Text);
        let written = write_files(&sample(), &formats, &report, &Options::default());
        assert!(written.failed.is_empty(), "{:?}", written.failed);
        assert_eq!(written.paths.len(), 7);
        for (path, format) in written.paths.iter().zip(Format::ALL) {
            assert_eq!(
                std::fs::read(path).unwrap(),
                format.to_bytes(&sample(), &Options::default()),
                "{format}"
            );
        }
        assert_eq!(
            std::fs::read_dir(&report).unwrap().count(),
            7,
            "no leftovers"
        );
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_the_files() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let probe = dir.path().join("probe");
        std::fs::write(&probe, "").unwrap();
        let umasked = std::fs::metadata(&probe).unwrap().permissions().mode() & 0o644;
        let written = write_files(&sample(), &[Format::Go], dir.path(), &Options::default());
        let mode = std::fs::metadata(&written.paths[0])
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, umasked);
    }

    #[test]
    fn one_failure_leaves_the_others() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("badge.svg")).unwrap();
        let written = write_files(
            &sample(),
            &[Format::Badge, Format::Lcov],
            dir.path(),
            &Options::default(),
        );
        assert_eq!(written.paths, [dir.path().join("lcov.info")]);
        assert_eq!(written.failed.len(), 1);
        assert!(written.failed[0].to_string().ends_with("badge.svg"));

        let file = dir.path().join("lcov.info/report");
        let written = write_files(&sample(), &[Format::Go], &file, &Options::default());
        assert_eq!(written.failed.len(), 1);
    }
}
