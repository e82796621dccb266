//! `covtap explain`: what a rule of the doctor looks at, why it matters, what to do.

use std::process::ExitCode;

use covtap_doctor::{page, rules};
use covtap_model::exit::Exit;

use crate::failure::Failure;
use crate::output;

/// How alike a name has to be to be offered instead: from 0 to 1.
const ALIKE: f64 = 0.75;

pub(crate) fn run(rule: Option<&str>) -> Result<ExitCode, Failure> {
    let text = match rule {
        None => rules::all()
            .iter()
            .map(|rule| format!("{}  {:<30}  {}\n", rule.id(), rule.slug, rule.title))
            .collect(),
        Some(word) => {
            let rule = rules::find(word).ok_or_else(|| unknown(word))?;
            page::text(rule)
        }
    };
    output::data(text.as_bytes()).map_err(Failure::new)?;
    Ok(Exit::Success.code().into())
}

fn unknown(word: &str) -> Failure {
    let close = rules::all()
        .iter()
        .map(|rule| (strsim::jaro_winkler(word, rule.slug), rule.slug))
        .filter(|(alike, _)| *alike > ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match close {
        Some((_, slug)) => format!("is it {slug}? covtap explain lists all"),
        None => "covtap explain lists all".to_owned(),
    };
    Failure::new(format!("there is no rule {word:?}")).hint(hint)
}
