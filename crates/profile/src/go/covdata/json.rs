//! `--format json`: the same answers for programs.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use covtap_model::counter::CounterMode;
use covtap_model::percent::Ratio;
use serde::Serialize;

use super::dump::{function_rows, gos_percent};
use super::{Command, Error, Request};
use crate::go::units::PackageUnits;

/// The value of `schema` in these documents.
const SCHEMA: &str = "covtap.covdata/1";

#[derive(Serialize)]
struct Document<T> {
    schema: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<CounterMode>,
    #[serde(flatten)]
    data: T,
}

#[derive(Serialize)]
struct Packages<T> {
    packages: Vec<T>,
}

#[derive(Serialize)]
struct PackagePercent {
    path: String,
    statements: Ratio,
    percent: f64,
}

#[derive(Serialize)]
struct PackageFunctions {
    path: String,
    functions: Vec<FunctionPercent>,
}

#[derive(Serialize)]
struct FunctionPercent {
    file: String,
    line: u32,
    name: String,
    statements: Ratio,
    percent: f64,
}

#[derive(Serialize)]
struct PackageUnitList {
    path: String,
    units: Vec<UnitRow>,
}

#[derive(Serialize)]
struct UnitRow {
    file: String,
    function: String,
    /// Start line, start column, end line, end column.
    position: [u32; 4],
    statements: u32,
    count: u32,
}

#[derive(Serialize)]
struct Written<'a> {
    written: &'a [PathBuf],
}

/// `percent`, `func`, `textfmt` and `debugdump`.
pub(super) fn table(
    request: &Request,
    mode: Option<CounterMode>,
    table: &[PackageUnits<'_>],
    stdout: &mut dyn Write,
) -> Result<(), Error> {
    match request.command {
        Command::Percent => print(mode, packages(table, package_percent), stdout),
        Command::Func => print(mode, packages(table, package_functions), stdout),
        _ => print(mode, packages(table, package_units), stdout),
    }
}

pub(super) fn package_list(paths: &BTreeSet<&[u8]>, stdout: &mut dyn Write) -> Result<(), Error> {
    print(
        None,
        Packages {
            packages: paths.iter().map(|p| text(p)).collect(),
        },
        stdout,
    )
}

pub(super) fn written(files: &[PathBuf], stdout: &mut dyn Write) -> Result<(), Error> {
    print(None, Written { written: files }, stdout)
}

fn print(
    mode: Option<CounterMode>,
    data: impl Serialize,
    stdout: &mut dyn Write,
) -> Result<(), Error> {
    let document = Document {
        schema: SCHEMA,
        mode,
        data,
    };
    serde_json::to_writer_pretty(&mut *stdout, &document).map_err(std::io::Error::from)?;
    Ok(stdout.write_all(b"\n")?)
}

fn packages<T>(table: &[PackageUnits<'_>], row: fn(&PackageUnits<'_>) -> T) -> Packages<T> {
    Packages {
        packages: table.iter().map(row).collect(),
    }
}

fn package_percent(package: &PackageUnits<'_>) -> PackagePercent {
    let statements = package.statements();
    PackagePercent {
        path: text(package.path),
        statements,
        percent: gos_percent(statements),
    }
}

fn package_functions(package: &PackageUnits<'_>) -> PackageFunctions {
    let rows = function_rows(package)
        .into_iter()
        .filter(|row| !row.literal);
    let functions = rows.map(|row| FunctionPercent {
        file: text(row.file),
        line: row.line,
        name: text(row.name),
        statements: row.statements,
        percent: gos_percent(row.statements),
    });
    PackageFunctions {
        path: text(package.path),
        functions: functions.collect(),
    }
}

fn package_units(package: &PackageUnits<'_>) -> PackageUnitList {
    let units = package.units.iter().map(|u| UnitRow {
        file: text(package.function(u).file),
        function: text(package.function(u).name),
        position: [
            u.unit.start_line,
            u.unit.start_column,
            u.unit.end_line,
            u.unit.end_column,
        ],
        statements: u.unit.statements,
        count: u.count,
    });
    PackageUnitList {
        path: text(package.path),
        units: units.collect(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
