//! Whether an executable file carries Go coverage, told from the file alone: nothing is run.
//!
//! Two places answer, and both survive `-ldflags='-s -w'` and `strip`:
//!
//! ```text
//! .go.buildinfo   "\xff Go buildinf:"  pointer size u8  flags u8  16 zero bytes        (32 bytes)
//!                 uvarint length, Go version            (flags & 2: strings are inline, Go >= 1.18)
//!                 uvarint length, module text between two 16-byte marks:
//!                     path\t<main package>\nmod\t<main module>\t<version>\t<sum>\n…build\t<key>=<value>\n
//!
//! .gopclntab      …  "\0" function name "\0" function name "\0" …        (.data.rel.ro.gopclntab in PIEs)
//! ```
//!
//! `runtime.addCovMeta` is linked into a program exactly when one of its packages was compiled with
//! `-cover`. `runtime/coverage.initHook` is there exactly when package **main** was: without it the
//! program counts and never writes (`-coverpkg` that leaves out main).
//!
//! Upstream: `src/debug/buildinfo/buildinfo.go`, `src/runtime/symtab.go`,
//! `src/cmd/link/internal/ld/pcln.go`, `src/runtime/covermeta.go`; measured on Go 1.21 to 1.27.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use object::{Object, ObjectSection, ObjectSegment, ReadCache};

/// The function that every instrumented program has, and no other.
const ADD_COV_META: &[u8] = b"\0runtime.addCovMeta\0";
/// The functions of which one is there when package main is instrumented (the second from Go 1.23).
const EXIT_HOOKS: [&[u8]; 2] = [
    b"\0runtime/coverage.initHook\0",
    b"\0internal/coverage/cfile.InitHook\0",
];
const BUILD_INFO_MAGIC: &[u8] = b"\xff Go buildinf:";
/// Flag of the build information: the strings follow inline.
const INLINE_STRINGS: u8 = 2;
/// No build information is larger than this; a longer length is damage.
const LONGEST_STRING: u64 = 16 << 20;

/// What an ELF file says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// How Go built it; `None` when it carries no Go build information.
    pub go: Option<GoBuild>,
    /// Whether it counts: at least one package was compiled with `-cover`.
    pub instrumented: bool,
    /// What shows that.
    pub evidence: Evidence,
    /// Whether it writes its counters by itself when it ends. An instrumented program without the
    /// hook never writes anything, and says nothing about it.
    pub exit_hook: bool,
}

/// The part of Go's build information that covtap uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoBuild {
    /// `go1.26.8`; empty when the file is of Go < 1.18 (its strings are not inline).
    pub version: String,
    /// Import path of the main package; `command-line-arguments` for `go build FILE.go`, and with
    /// the ending `.test` for a test binary. Empty when it is not recorded.
    pub main_package: String,
    /// Path of the main module; empty when it was built outside a module. `go build FILE.go` records
    /// none; then it is the module that the file's imports have in the working tree.
    pub main_module: String,
    /// Build settings in file order, for example `("CGO_ENABLED", "0")` and, from Go 1.23 on,
    /// `("-cover", "true")`.
    pub settings: Vec<(String, String)>,
}

impl GoBuild {
    /// Whether `go test` built it.
    #[must_use]
    pub fn is_test(&self) -> bool {
        self.main_package.ends_with(".test")
    }

    /// The value of a build setting.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }
}

/// What shows that an executable is instrumented, or that it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The name `runtime.addCovMeta` stands at this offset of the file, in its function table.
    FunctionName {
        /// In bytes from the start of the file.
        offset: u64,
    },
    /// A Go program whose function table lacks that name.
    NoFunctionName,
    /// There is no Go build information in it.
    NotGo,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FunctionName { offset } => {
                write!(f, "function runtime.addCovMeta (name at byte {offset})")
            }
            Self::NoFunctionName => f.write_str("Go program without function runtime.addCovMeta"),
            Self::NotGo => f.write_str("no Go build information"),
        }
    }
}

/// Why nothing can be said about a file.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It is something else: a script, a Mach-O or PE program, an empty file.
    #[error("not an ELF file ({0})")]
    NotElf(&'static str),
    /// It starts like an ELF file and does not go on like one.
    #[error("damaged ELF file: {0}")]
    Damaged(String),
    /// A kind of ELF file that is not read ([`program`](super::program)).
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// It could not be read.
    #[error("cannot read it: {0}")]
    Read(#[from] io::Error),
}

/// Looks at an executable. Reads its headers, its build information and its function table, in
/// pieces: a program of 100 MB needs a few megabytes of memory and some milliseconds.
///
/// # Errors
/// [`InspectError`]: not an ELF file, damaged, or unreadable.
pub fn inspect<R: Read + Seek>(mut file: R) -> Result<Executable, InspectError> {
    check_magic(&mut file)?;
    let layout = Layout::read(&mut file)?;
    let go = match layout.find_build_info(&mut file)? {
        Some(offset) => read_build_info(&mut file, offset)?,
        None => None,
    };
    if go.is_none() {
        return Ok(Executable {
            go,
            instrumented: false,
            evidence: Evidence::NotGo,
            exit_hook: false,
        });
    }
    let [main_hook, other_hook] = EXIT_HOOKS;
    let mut found = [None; 3];
    for range in &layout.functions {
        search(
            &mut file,
            *range,
            &[ADD_COV_META, main_hook, other_hook],
            &mut found,
        )?;
    }
    let [function, hooks @ ..] = found;
    Ok(Executable {
        go,
        instrumented: function.is_some(),
        // The names are found with the zero byte before them.
        evidence: function.map_or(Evidence::NoFunctionName, |at| Evidence::FunctionName {
            offset: at + 1,
        }),
        exit_hook: function.is_some() && hooks.iter().any(Option::is_some),
    })
}

fn check_magic<R: Read + Seek>(file: &mut R) -> Result<(), InspectError> {
    let mut magic = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.by_ref().take(4).read_to_end(&mut magic)?;
    let other = match magic.as_slice() {
        b"\x7fELF" => return Ok(()),
        [] => "it is empty",
        [b'#', b'!', ..] => "a script",
        [b'M', b'Z', ..] => "a Windows program",
        [0xfe, 0xed, 0xfa, 0xce | 0xcf]
        | [0xce | 0xcf, 0xfa, 0xed, 0xfe]
        | [0xca, 0xfe, 0xba, 0xbe] => "a Mach-O program",
        _ => "its first bytes are not 7f 45 4c 46",
    };
    Err(InspectError::NotElf(other))
}

/// A piece of the file.
#[derive(Clone, Copy, Debug)]
struct Range {
    offset: u64,
    length: u64,
}

/// Where to look.
struct Layout {
    /// The build information section, when sections are there.
    build_info: Option<Range>,
    /// Loadable segments.
    segments: Vec<Range>,
    /// What holds the names of functions.
    functions: Vec<Range>,
}

impl Layout {
    fn read<R: Read + Seek>(file: &mut R) -> Result<Self, InspectError> {
        let size = file.seek(SeekFrom::End(0))?;
        // A range that leaves the file is cut: the rest of a truncated file still tells something.
        let clip = |(offset, length): (u64, u64)| Range {
            offset: offset.min(size),
            length: length.min(size.saturating_sub(offset)),
        };
        let cache = ReadCache::new(&mut *file);
        let elf = object::File::parse(&cache).map_err(|e| InspectError::Damaged(e.to_string()))?;
        let mut build_info = None;
        let mut functions = Vec::new();
        let mut relocated = None;
        for section in elf.sections() {
            let (Ok(name), Some(range)) = (section.name_bytes(), section.file_range()) else {
                continue;
            };
            match name {
                b".go.buildinfo" => build_info = Some(clip(range)),
                b".gopclntab" | b".data.rel.ro.gopclntab" => functions.push(clip(range)),
                b".data.rel.ro" => relocated = Some(clip(range)),
                _ => {}
            }
        }
        let mut segments: Vec<Range> = elf.segments().map(|s| clip(s.file_range())).collect();
        let has_sections = elf.section_by_name(".text").is_some();
        if has_sections && build_info.is_none() && functions.is_empty() {
            // Go's linker names its sections, and stripping leaves them: this is another's program, and
            // it may be large.
            segments.clear();
        }
        if functions.is_empty() {
            // A PIE linked by the C linker up to Go 1.25 keeps the table inside .data.rel.ro; a file
            // without section headers keeps it anywhere.
            functions = relocated.map_or_else(|| segments.clone(), |range| vec![range]);
        }
        Ok(Self {
            build_info,
            segments,
            functions,
        })
    }

    /// Offset of the build information's magic.
    fn find_build_info<R: Read + Seek>(&self, file: &mut R) -> io::Result<Option<u64>> {
        let ranges = self
            .build_info
            .map_or_else(|| self.segments.clone(), |r| vec![r]);
        let mut found = [None];
        for range in ranges {
            search(file, range, &[BUILD_INFO_MAGIC], &mut found)?;
        }
        Ok(found[0])
    }
}

/// Finds the first place of each needle in a piece of the file, unless it has been found before.
fn search<R: Read + Seek, const N: usize>(
    file: &mut R,
    range: Range,
    needles: &[&[u8]; N],
    found: &mut [Option<u64>; N],
) -> io::Result<()> {
    const STEP: usize = 1 << 20;
    let overlap = needles.iter().map(|n| n.len()).max().unwrap_or(1) - 1;
    let skips: Vec<Skip> = needles.iter().map(|n| Skip::new(n)).collect();
    let mut buffer = Vec::with_capacity(STEP + overlap);
    // Offset in the file of the buffer's first byte.
    let mut start = range.offset;
    file.seek(SeekFrom::Start(range.offset))?;
    let mut piece = file.by_ref().take(range.length);
    while found.iter().any(Option::is_none) {
        let read = piece.by_ref().take(STEP as u64).read_to_end(&mut buffer)?;
        if read == 0 {
            break;
        }
        for ((needle, skip), found) in needles.iter().zip(&skips).zip(found.iter_mut()) {
            if found.is_none() {
                *found = skip.find(&buffer, needle).map(|at| start + at as u64);
            }
        }
        // Keep the tail: a needle may lie across two pieces.
        let done = buffer.len().saturating_sub(overlap);
        buffer.drain(..done);
        start += done as u64;
    }
    Ok(())
}

/// Horspool's search: looks at one byte in about every needle's length.
struct Skip([u8; 256]);

impl Skip {
    fn new(needle: &[u8]) -> Self {
        let length = u8::try_from(needle.len()).unwrap_or(u8::MAX);
        let mut table = [length; 256];
        for (distance, byte) in needle.iter().rev().enumerate().skip(1).take(254).rev() {
            table[usize::from(*byte)] = u8::try_from(distance).unwrap_or(u8::MAX);
        }
        Self(table)
    }

    fn find(&self, haystack: &[u8], needle: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(window) = haystack.get(at..at + needle.len()) {
            if window == needle {
                return Some(at);
            }
            at += usize::from(self.0[usize::from(*window.last()?)]);
        }
        None
    }
}

/// Reads the build information at `offset`; `None` when it is damaged.
fn read_build_info<R: Read + Seek>(file: &mut R, offset: u64) -> io::Result<Option<GoBuild>> {
    let mut header = [0; 32];
    file.seek(SeekFrom::Start(offset))?;
    match file.read_exact(&mut header) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    if header[15] & INLINE_STRINGS == 0 {
        return Ok(Some(GoBuild::default()));
    }
    let Some(version) = read_string(file)? else {
        return Ok(None);
    };
    let modules = read_string(file)?.unwrap_or_default();
    let mut build = parse_modules(unframed(&modules));
    build.version = String::from_utf8_lossy(&version).into_owned();
    Ok(Some(build))
}

/// A string with its length before it; `None` when the file ends first or the length is absurd.
fn read_string<R: Read>(file: &mut R) -> io::Result<Option<Vec<u8>>> {
    let mut length = 0_u64;
    let mut shift = 0;
    loop {
        let mut byte = [0];
        if file.read(&mut byte)? == 0 || shift > 56 {
            return Ok(None);
        }
        length |= u64::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    if length > LONGEST_STRING {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.by_ref().take(length).read_to_end(&mut text)?;
    Ok((text.len() as u64 == length).then_some(text))
}

/// The module text without the 16-byte marks at its ends, which are there so that it can be found
/// in memory. As `debug/buildinfo` does: without marks there is no module text.
fn unframed(text: &[u8]) -> &[u8] {
    let marked = text.len() >= 33 && text[text.len() - 17] == b'\n';
    if marked {
        &text[16..text.len() - 16]
    } else {
        &[]
    }
}

fn parse_modules(text: &[u8]) -> GoBuild {
    let text = String::from_utf8_lossy(text);
    let mut build = GoBuild::default();
    for line in text.lines() {
        let mut words = line.split('\t');
        match (words.next(), words.next()) {
            (Some("path"), Some(path)) => build.main_package = path.into(),
            (Some("mod"), Some(path)) => build.main_module = path.into(),
            // Only modules of the working tree have this version.
            (Some("dep"), Some(path))
                if build.main_module.is_empty() && words.next() == Some("(devel)") =>
            {
                build.main_module = path.into();
            }
            (Some("build"), Some(setting)) => {
                if let Some((key, value)) = setting.split_once('=') {
                    build.settings.push((unquoted(key), unquoted(value)));
                }
            }
            _ => {}
        }
    }
    build
}

/// Keys and values with special characters are Go string literals; only the quotes matter here.
fn unquoted(text: &str) -> String {
    text.strip_prefix(['"', '`'])
        .and_then(|t| t.strip_suffix(['"', '`']))
        .unwrap_or(text)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Cursor;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::*;

    fn of_bytes(bytes: &[u8]) -> Result<Executable, InspectError> {
        inspect(Cursor::new(bytes))
    }

    #[test]
    fn other_files_are_not_elf() {
        let cases: [(&[u8], &str); 5] = [
            (b"", "not an ELF file (it is empty)"),
            (b"#!/bin/sh\n", "not an ELF file (a script)"),
            (b"MZ\x90\0", "not an ELF file (a Windows program)"),
            (
                b"\xcf\xfa\xed\xfe\x07",
                "not an ELF file (a Mach-O program)",
            ),
            (
                b"\x7fEL",
                "not an ELF file (its first bytes are not 7f 45 4c 46)",
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(of_bytes(bytes).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn an_elf_file_without_headers_is_damaged() {
        let error = of_bytes(b"\x7fELF\x02\x01\x01").unwrap_err();
        assert!(matches!(error, InspectError::Damaged(_)), "{error}");
        let garbage: Vec<u8> = b"\x7fELF"
            .iter()
            .copied()
            .chain((0..=255).cycle().take(4096))
            .collect();
        assert!(of_bytes(&garbage).is_err());
    }

    #[test]
    fn a_needle_across_two_pieces_is_found() {
        for before in (1 << 20) - 20..=(1 << 20) {
            let mut bytes = vec![b'x'; before];
            bytes.extend_from_slice(ADD_COV_META);
            let range = Range {
                offset: 0,
                length: bytes.len() as u64,
            };
            let mut found = [None];
            search(&mut Cursor::new(&bytes), range, &[ADD_COV_META], &mut found).unwrap();
            assert_eq!(found, [Some(before as u64)]);
        }
    }

    #[test]
    fn skipping_finds_what_a_plain_search_finds() {
        let needle = b"abcab\0";
        let haystack = b"ababcab abcaab\0abcabcab\0abcab\0";
        let plain = haystack.windows(needle.len()).position(|w| w == needle);
        assert_eq!(Skip::new(needle).find(haystack, needle), plain);
        assert_eq!(Skip::new(needle).find(b"abcab", needle), None);
        assert_eq!(Skip::new(needle).find(b"", needle), None);
    }

    #[test]
    fn a_program_built_by_file_belongs_to_the_module_that_it_imports() {
        let build = parse_modules(
            b"path\tcommand-line-arguments\ndep\ta.b/c\tv1.0.0\th1:x\ndep\texample.org/shop\t(devel)\t\n\
              dep\texample.org/tools\t(devel)\t\n",
        );
        assert_eq!(build.main_module, "example.org/shop");
    }

    #[test]
    fn module_text_is_parsed() {
        let build = parse_modules(
            b"path\texample.org/shop/cmd/cart\nmod\texample.org/shop\t(devel)\t\ndep\ta.b/c\tv1\th1:x\n\
              build\t-ldflags=\"-s -w\"\nbuild\t-cover=true\n",
        );
        assert_eq!(build.main_package, "example.org/shop/cmd/cart");
        assert_eq!(build.main_module, "example.org/shop");
        assert_eq!(build.setting("-ldflags"), Some("-s -w"));
        assert_eq!(build.setting("-cover"), Some("true"));
        assert_eq!(build.setting("-race"), None);
        assert!(!build.is_test());
    }

    #[test]
    fn strings_with_absurd_lengths_are_refused() {
        assert_eq!(read_string(&mut &[0xff; 12][..]).unwrap(), None);
        assert_eq!(read_string(&mut &[0x05, b'a'][..]).unwrap(), None);
        assert_eq!(
            read_string(&mut &[0x01, b'a'][..]).unwrap(),
            Some(vec![b'a'])
        );
    }

    /// Says it past the test runner, which hides what a passing test prints.
    fn skipped(what: &str) {
        use std::io::Write;
        let line = format!("SKIPPED: {what}\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
    }

    /// A module with a package beside main, and the Go on PATH to build it.
    struct Module(tempfile::TempDir);

    impl Module {
        fn new() -> Option<Self> {
            if Command::new("go").arg("version").output().is_err() {
                skipped("no go on PATH, executables are not built");
                return None;
            }
            let dir = tempfile::tempdir().unwrap();
            let write = |name: &str, text: &str| {
                let path = dir.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            };
            write("go.mod", "module example.org/probe\n\ngo 1.21\n");
            write(
                "main.go",
                "package main\n\nimport \"example.org/probe/lib\"\n\nfunc main() { println(lib.Twice(2)) }\n",
            );
            write(
                "lib/lib.go",
                "package lib\n\nfunc Twice(n int) int { return 2 * n }\n",
            );
            write(
                "lib/lib_test.go",
                "package lib\n\nimport \"testing\"\n\nfunc TestTwice(t *testing.T) { Twice(1) }\n",
            );
            Some(Self(dir))
        }

        fn go(&self, arguments: &[&str]) -> PathBuf {
            let out = self.0.path().join("out");
            let (verb, rest) = arguments.split_at(if arguments[0] == "test" { 2 } else { 1 });
            let result = Command::new("go")
                .args(verb)
                .arg("-o")
                .arg(&out)
                .args(rest)
                .current_dir(self.0.path())
                .env("GOFLAGS", "-buildvcs=false")
                .env("CGO_ENABLED", "0")
                .output()
                .unwrap();
            assert!(
                result.status.success(),
                "{}",
                String::from_utf8_lossy(&result.stderr)
            );
            out
        }
    }

    fn of_file(path: &Path) -> Executable {
        inspect(File::open(path).unwrap()).unwrap()
    }

    #[test]
    fn an_instrumented_program_is_recognised_however_it_is_linked() {
        let Some(module) = Module::new() else { return };
        for flags in [
            vec!["build", "-cover"],
            vec!["build", "-cover", "-ldflags=-s -w"],
            vec!["build", "-cover", "-buildmode=pie"],
            vec!["build", "-cover", "-buildmode=pie", "-ldflags=-s -w"],
        ] {
            let found = of_file(&module.go(&flags));
            assert!(
                found.instrumented && found.exit_hook,
                "{flags:?}: {found:?}"
            );
            assert!(matches!(found.evidence, Evidence::FunctionName { .. }));
            let go = found.go.unwrap();
            assert!(go.version.starts_with("go1."), "{go:?}");
            assert_eq!(go.main_module, "example.org/probe");
            assert_eq!(go.main_package, "example.org/probe");
        }
    }

    #[test]
    fn an_instrumented_program_without_section_headers_is_recognised() {
        let Some(module) = Module::new() else { return };
        let mut bytes = fs::read(module.go(&["build", "-cover", "-ldflags=-s -w"])).unwrap();
        // e_shoff, e_shnum, e_shstrndx of a 64-bit file.
        bytes[0x28..0x30].fill(0);
        bytes[0x3c..0x40].fill(0);
        let found = of_bytes(&bytes).unwrap();
        assert!(found.instrumented && found.exit_hook, "{found:?}");
        assert_eq!(found.go.unwrap().main_module, "example.org/probe");
    }

    #[test]
    fn a_program_without_coverage_is_recognised() {
        let Some(module) = Module::new() else { return };
        let found = of_file(&module.go(&["build"]));
        assert!(!found.instrumented && !found.exit_hook);
        assert_eq!(found.evidence, Evidence::NoFunctionName);
        assert_eq!(found.go.unwrap().main_module, "example.org/probe");
    }

    #[test]
    fn coverage_without_main_has_no_exit_hook() {
        let Some(module) = Module::new() else { return };
        let found = of_file(&module.go(&["build", "-cover", "-coverpkg=./lib"]));
        assert!(found.instrumented, "{found:?}");
        assert!(!found.exit_hook, "{found:?}");
    }

    #[test]
    fn a_test_binary_is_recognised() {
        let Some(module) = Module::new() else { return };
        let found = of_file(&module.go(&["test", "-c", "-cover", "./lib"]));
        assert!(found.instrumented);
        assert!(found.go.unwrap().is_test());
    }

    #[test]
    fn a_truncated_program_never_panics() {
        let Some(module) = Module::new() else { return };
        let bytes = fs::read(module.go(&["build", "-cover"])).unwrap();
        for length in (0..4096)
            .step_by(13)
            .chain((4096..bytes.len()).step_by(99_991))
        {
            // What it says depends on what is left; that it says something is the point.
            let _ = of_bytes(&bytes[..length]);
        }
    }

    #[test]
    fn a_c_program_is_not_go() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("a.c");
        let out = dir.path().join("a");
        fs::write(&source, "int main(void) { return 0; }\n").unwrap();
        match Command::new("cc").arg(&source).arg("-o").arg(&out).status() {
            Ok(status) if status.success() => {}
            _ => {
                skipped("no cc on PATH, no C program is built");
                return;
            }
        }
        let found = of_file(&out);
        assert_eq!(found.evidence, Evidence::NotGo);
        assert!(!found.instrumented && found.go.is_none());
    }
}
