//! `percent`, `func`, `textfmt`, `pkglist` and `debugdump`.

use std::collections::BTreeSet;
use std::io::Write;

use covtap_model::counter::{CounterMode, ModePolicy};
use covtap_model::percent::Ratio;
use covtap_model::problem::Problem;
use rayon::prelude::*;

use super::origin::Origin;
use super::{Command, Error, OpenPod, Request, common_mode, json, open_pods, output, tabs};
use crate::go::accumulate::Counters;
use crate::go::directory::Pod;
use crate::go::units::{PackageUnits, tabulate};

pub(super) fn run(
    request: &Request,
    pods: &[Pod],
    stdout: &mut dyn Write,
    problems: &mut Vec<Problem>,
) -> Result<(), Error> {
    let pods = open_pods(pods, problems);
    match request.command {
        Command::Pkglist => return pkglist(request, &pods, stdout),
        Command::Debugdump if !request.json => return debugdump(request, &pods, stdout, problems),
        _ => {}
    }
    // Covered or not is the same in every mode; a profile says what its numbers mean.
    let policy = if request.command == Command::Textfmt {
        ModePolicy::Strict
    } else {
        ModePolicy::Relaxed
    };
    let mode = common_mode(&pods, policy)?;
    let counters: Vec<Counters> = pods.iter().map(|p| p.all_counters(problems)).collect();
    let builds: Vec<_> = pods.iter().map(|p| &p.build.meta).zip(&counters).collect();
    let table = tabulate(
        &builds,
        mode.unwrap_or(CounterMode::Set),
        request.packages.as_ref(),
    );
    // Go's tool writes an empty file when there are no data.
    if let Some(path) = &request.output {
        output::write_file(
            path,
            &mode
                .map(|mode| text_profile(mode, &table))
                .unwrap_or_default(),
        )?;
    }
    if request.json {
        return json::table(request, mode, &table, stdout);
    }
    match request.command {
        Command::Percent => percent(&table, stdout)?,
        Command::Func if mode.is_some() => func(&table, stdout)?,
        _ => {}
    }
    Ok(())
}

fn percent(table: &[PackageUnits<'_>], stdout: &mut dyn Write) -> Result<(), Error> {
    let ratios: Vec<Ratio> = table.par_iter().map(PackageUnits::statements).collect();
    let mut out = Vec::new();
    for (package, ratio) in table.iter().zip(ratios) {
        out.push(b'\t');
        out.extend_from_slice(package.path);
        out.extend_from_slice(b"\t\t");
        if ratio.total != 0 {
            write!(out, "coverage: {:.1}% of statements", gos_percent(ratio))?;
        }
        out.push(b'\n');
    }
    Ok(stdout.write_all(&out)?)
}

/// As Go's tool prints it: rounded to the nearest, not down.
pub(super) fn gos_percent(ratio: Ratio) -> f64 {
    if ratio.total == 0 {
        0.0
    } else {
        100.0 * ratio.covered as f64 / ratio.total as f64
    }
}

/// One function of `covdata func`.
pub(super) struct FunctionRow<'a> {
    pub(super) file: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) line: u32,
    pub(super) literal: bool,
    pub(super) statements: Ratio,
}

/// Functions of a package in the order of their units. As in Go's tool, neighbouring units belong
/// to one row as long as the function's name is the same.
pub(super) fn function_rows<'a>(package: &PackageUnits<'a>) -> Vec<FunctionRow<'a>> {
    let mut rows: Vec<FunctionRow<'a>> = Vec::new();
    for unit in &package.units {
        let function = package.function(unit);
        if rows.last().is_none_or(|row| row.name != function.name) {
            rows.push(FunctionRow {
                file: function.file,
                name: function.name,
                line: unit.unit.start_line,
                literal: function.literal,
                statements: Ratio::default(),
            });
        }
        if let Some(row) = rows.last_mut() {
            row.statements
                .add(unit.unit.statements.into(), unit.count != 0);
        }
    }
    rows
}

fn func(table: &[PackageUnits<'_>], stdout: &mut dyn Write) -> Result<(), Error> {
    let mut total = Ratio::default();
    let mut cells = Vec::new();
    for row in table.iter().flat_map(function_rows) {
        total += row.statements;
        if row.literal {
            continue;
        }
        let mut place = row.file.to_vec();
        write!(place, ":{}:", row.line)?;
        cells.push([
            place,
            row.name.to_vec(),
            format!("{:.1}%", gos_percent(row.statements)).into(),
        ]);
    }
    let sum = format!("{:.1}%", gos_percent(total)).into();
    cells.push([b"total".to_vec(), b"(statements)".to_vec(), sum]);
    let mut out = Vec::new();
    tabs::align(&mut out, &cells);
    Ok(stdout.write_all(&out)?)
}

/// A profile as `go test -coverprofile` writes it.
fn text_profile(mode: CounterMode, table: &[PackageUnits<'_>]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = table
        .par_iter()
        .map(|package| {
            let mut out = Vec::with_capacity(package.units.len() * 64);
            for u in &package.units {
                let m = u.unit;
                out.extend_from_slice(package.function(u).file);
                let numbers = [
                    m.start_line,
                    m.start_column,
                    m.end_line,
                    m.end_column,
                    m.statements,
                    u.count,
                ];
                for (mark, number) in b":.,.  ".iter().zip(numbers) {
                    out.push(*mark);
                    push_decimal(&mut out, number);
                }
                out.push(b'\n');
            }
            out
        })
        .collect();
    let mut out = format!("mode: {mode}\n").into_bytes();
    out.reserve_exact(parts.iter().map(Vec::len).sum());
    for part in parts {
        out.extend(part);
    }
    out
}

fn push_decimal(out: &mut Vec<u8>, mut number: u32) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn pkglist(request: &Request, pods: &[OpenPod<'_>], stdout: &mut dyn Write) -> Result<(), Error> {
    // Go's tool complains of differing granularities here too.
    common_mode(pods, ModePolicy::Relaxed)?;
    let paths: BTreeSet<&[u8]> = pods
        .iter()
        .flat_map(|p| p.build.meta.packages.iter().flatten())
        .map(|package| package.path())
        .filter(|path| request.packages.as_ref().is_none_or(|p| p.matches(path)))
        .collect();
    if request.json {
        return json::package_list(&paths, stdout);
    }
    let mut out = Vec::new();
    for path in paths {
        out.extend_from_slice(path);
        out.push(b'\n');
    }
    Ok(stdout.write_all(&out)?)
}

fn debugdump(
    request: &Request,
    pods: &[OpenPod<'_>],
    stdout: &mut dyn Write,
    problems: &mut Vec<Problem>,
) -> Result<(), Error> {
    writeln!(
        stdout,
        "/* WARNING: the format of this dump is not stable and is"
    )?;
    writeln!(
        stdout,
        " * expected to change from one Go release to the next."
    )?;
    writeln!(
        stdout,
        " *\n * produced by:\n *\t{}\n */",
        request.command_line
    )?;
    let mut total = Ratio::default();
    for open in pods {
        let meta = &open.build.meta;
        let mut out = Vec::new();
        writeln!(
            out,
            "Cover mode: {}\nCover granularity: {}",
            meta.mode,
            meta.granularity.word()
        )?;
        data_files(open, &mut out)?;
        let counters = open.all_counters(problems);
        for (number, package) in meta.packages.iter().enumerate() {
            let Some(package) = package else { continue };
            if request
                .packages
                .as_ref()
                .is_some_and(|p| !p.matches(package.path()))
            {
                continue;
            }
            let mut header_printed = false;
            for (f, function) in package.functions().enumerate() {
                let counts = counters.get(number, f);
                let count = |i: usize| counts.map_or(0, |c| c[i]);
                for (i, unit) in function.units.iter().enumerate() {
                    total.add(unit.statements.into(), count(i) != 0);
                }
                if request.live && counts.is_none() {
                    continue;
                }
                if !std::mem::replace(&mut header_printed, true) {
                    line(&mut out, "\nPackage path: ", package.path());
                    line(&mut out, "Package name: ", package.name());
                    line(&mut out, "Module path: ", package.module());
                }
                line(&mut out, "\nFunc: ", function.name);
                line(&mut out, "Srcfile: ", function.file);
                writeln!(out, "Literal: {}", function.literal)?;
                for (i, u) in function.units.iter().enumerate() {
                    writeln!(
                        out,
                        "{i}: L{}:C{} -- L{}:C{} NS={} = {}",
                        u.start_line,
                        u.start_column,
                        u.end_line,
                        u.end_column,
                        u.statements,
                        count(i)
                    )?;
                }
            }
        }
        stdout.write_all(&out)?;
    }
    writeln!(
        stdout,
        "totalStmts: {} coveredStmts: {}",
        total.total, total.covered
    )?;
    Ok(())
}

fn line(out: &mut Vec<u8>, label: &str, value: &[u8]) {
    out.extend_from_slice(label.as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// The line of each counter file: who wrote it. Files that cannot be read are reported when their
/// counters are.
fn data_files(open: &OpenPod<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut bytes = Vec::new();
    for file in &open.pod.counters {
        let Some(who) = Origin::read(&file.path, &mut bytes) else {
            continue;
        };
        write!(out, "data file {}", file.path.display())?;
        for (name, value) in [("GOOS", &who.goos), ("GOARCH", &who.goarch)] {
            if !value.is_empty() {
                out.extend_from_slice(format!(" {name}=").as_bytes());
                out.extend_from_slice(value);
            }
        }
        if !who.arguments.is_empty() {
            out.extend_from_slice(b"  program args: [");
            out.extend(who.arguments.join(&b' '));
            out.extend_from_slice(b"]\n");
        }
        out.push(b'\n');
    }
    Ok(())
}
