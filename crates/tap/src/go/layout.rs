//! What was found where in a process, for `covtap inspect`.

use std::fmt;
use std::path::PathBuf;

use covtap_model::counter::CounterMode;
use serde::Serialize;

/// What showed where things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// The symbol table.
    Symbols,
    /// The sections: the program is stripped.
    Sections,
    /// A search through the memory: there are no sections, or the file could not be read.
    Memory,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Symbols => "symbols",
            Self::Sections => "sections",
            Self::Memory => "a search through the memory",
        })
    }
}

/// What shows that all packages have registered themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Complete {
    /// The runtime computed the same hash over all of them, when main was initialised.
    FinalHash,
    /// There are as many as packages have meta-data in the program.
    Count,
}

/// A run of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The first.
    pub start: u64,
    /// The one behind the last.
    pub end: u64,
}

impl From<std::ops::Range<u64>> for Addresses {
    fn from(range: std::ops::Range<u64>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.end - self.start;
        write!(f, "{:#x}..{:#x} ({length} bytes)", self.start, self.end)
    }
}

/// What was found where in a process. All addresses are those of the process.
#[derive(Clone, Debug, Serialize)]
pub struct Layout {
    /// The program or library that counts, as the process mapped it.
    pub module: PathBuf,
    /// The linker's id of the build, in hexadecimal digits unless it is text; empty without one.
    pub build_id: String,
    /// The processor, in Go's words.
    pub architecture: &'static str,
    /// What has to be added to the addresses in the file.
    pub bias: u64,
    /// What showed where things are.
    pub found: Found,
    /// The module data.
    pub module_data: u64,
    /// The list of packages.
    pub list: u64,
    /// The runtime's own hash of the meta-data; none where the program does not compute it.
    pub final_hash: Option<u64>,
    /// What shows that the list is complete.
    pub complete: Complete,
    /// The counters.
    pub counters: Addresses,
    /// What they mean.
    pub mode: CounterMode,
    /// The hash of the meta-data, in hexadecimal digits.
    pub hash: String,
    /// How many packages count.
    pub packages: usize,
    /// How many functions they have.
    pub functions: usize,
    /// How many units those have.
    pub units: usize,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<14}{value}");
        line("module", &self.module.display())?;
        line("build id", &self.build_id)?;
        line("processor", &self.architecture)?;
        line("loaded at", &format_args!("{:#x}", self.bias))?;
        line("found by", &self.found)?;
        line("module data", &format_args!("{:#x}", self.module_data))?;
        line("package list", &format_args!("{:#x}", self.list))?;
        match (self.complete, self.final_hash) {
            (Complete::FinalHash, Some(at)) => {
                line("complete", &format_args!("hash of the runtime at {at:#x}"))?;
            }
            _ => line("complete", &"as many packages as the program has")?,
        }
        line("counters", &self.counters)?;
        line("mode", &self.mode)?;
        line("meta-data", &self.hash)?;
        line("packages", &self.packages)?;
        line("functions", &self.functions)?;
        line("units", &self.units)
    }
}
