//! JSON schemas of the documents that covtap writes, made from the types that write them.

use std::path::Path;

use covtap_model::{agents, coverage, finding, inspect, ledger, ls, run, stopped, tap, wired};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};

use crate::sh::{self, About, Result, cmd, fail};
use crate::tools;

/// Name of the document (those of a run's folder first), name of its schema, the schema's text.
fn all() -> Result<[(&'static str, &'static str, String); 10]> {
    Ok([
        (
            "coverage.json",
            "coverage-1.schema.json",
            schema::<coverage::Coverage>(coverage::SCHEMA)?,
        ),
        (
            "ledger.json",
            "ledger-1.schema.json",
            schema::<ledger::Ledger>(ledger::SCHEMA)?,
        ),
        (
            "run.json",
            "run-1.schema.json",
            schema::<run::Run>(run::SCHEMA)?,
        ),
        (
            "inspect.json",
            "inspect-1.schema.json",
            schema::<inspect::Inspection>(inspect::SCHEMA)?,
        ),
        (
            "tap.json",
            "tap-1.schema.json",
            schema::<tap::Tapped>(tap::SCHEMA)?,
        ),
        (
            "ls.json",
            "ls-1.schema.json",
            schema::<ls::Listing>(ls::SCHEMA)?,
        ),
        (
            "agents.json",
            "agents-1.schema.json",
            schema::<agents::Agents>(agents::SCHEMA)?,
        ),
        (
            "stopped.json",
            "stopped-1.schema.json",
            schema::<stopped::Stopped>(stopped::SCHEMA)?,
        ),
        (
            "wired.json",
            "wired-1.schema.json",
            schema::<wired::Wired>(wired::SCHEMA)?,
        ),
        (
            "doctor.json",
            "doctor-1.schema.json",
            schema::<finding::Diagnosis>(finding::SCHEMA)?,
        ),
    ])
}

/// How many of these every run's folder has.
const OF_A_RUN: usize = 3;

/// The schema of `T`, whose `schema` field must hold `id`.
fn schema<T: JsonSchema>(id: &str) -> Result<String> {
    let generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    if let Some(field) = schema
        .pointer_mut("/properties/schema")
        .and_then(|s| s.as_object_mut())
    {
        field.insert("const".into(), id.into());
    } else {
        fail!("{id}: the type has no field `schema`");
    }
    let mut text = serde_json::to_string_pretty(&schema).about(id)?;
    text.push('\n');
    Ok(text)
}

/// The task: writes, `--check`s, or `--validate`s the documents of a run.
pub(crate) fn task(args: &[String]) -> Result {
    let folder = crate::repository().join("schemas");
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            sh::mkdir(&folder)?;
            for (_, name, text) in all()? {
                sh::write(&folder.join(name), text)?;
                println!("schemas/{name}");
            }
            Ok(())
        }
        ["--check"] => check(&folder),
        ["--validate", dir] => validate(&folder, Path::new(dir)),
        _ => fail!("schemas takes nothing, --check, or --validate DIR"),
    }
}

/// Compares the committed schemas with the types.
fn check(folder: &Path) -> Result {
    let mut stale = Vec::new();
    for (_, name, text) in all()? {
        let there = match std::fs::read_to_string(folder.join(name)) {
            Ok(there) => there,
            Err(error) => {
                stale.push(format!("schemas/{name}: {error}"));
                continue;
            }
        };
        let at = there
            .lines()
            .zip(text.lines())
            .position(|(a, b)| a != b)
            .or_else(|| (there != text).then(|| there.lines().count().min(text.lines().count())));
        if let Some(at) = at {
            stale.push(format!(
                "schemas/{name} is stale from line {}:\n  committed: {}\n  types say: {}",
                at + 1,
                there.lines().nth(at).unwrap_or("(end)").trim(),
                text.lines().nth(at).unwrap_or("(end)").trim(),
            ));
        }
    }
    if stale.is_empty() {
        println!("schemas are current");
        return Ok(());
    }
    fail!(
        "{}\nhint: cargo xtask schemas writes them; a change that old readers cannot take needs a new number",
        stale.join("\n")
    )
}

/// Validates the documents in `dir` with a validator that is not ours.
fn validate(folder: &Path, dir: &Path) -> Result {
    let python = tools::bin()?.join("python");
    for (document, name, _) in all()?.into_iter().take(OF_A_RUN) {
        let document = dir.join(document);
        sh::quiet(
            cmd(&python, &["-c", VALIDATE])
                .arg(folder.join(name))
                .arg(&document),
        )?;
        println!("{} conforms to schemas/{name}", document.display());
    }
    Ok(())
}

/// Names every violation with its place in the document.
const VALIDATE: &str = "\
import json, sys
from jsonschema import Draft202012Validator
schema, document = (json.load(open(name, encoding='utf-8')) for name in sys.argv[1:3])
Draft202012Validator.check_schema(schema)
errors = list(Draft202012Validator(schema).iter_errors(document))
for error in errors[:20]:
    print('%s: %s: %s' % (sys.argv[2], error.json_path, error.message[:200]))
sys.exit(1 if errors else 0)
";
