//! What would be watched, as a table.

use std::fmt::Write as _;

use covtap_model::ls::Listed;
use covtap_model::problem::printable;

use crate::output::{CARE, HEAD};

/// The heads of the columns.
const HEADS: [&str; 7] = [
    "WHERE",
    "CONTAINER",
    "WORKLOAD",
    "NODE",
    "IMAGE",
    "UID",
    "GOCOVERDIR",
];

/// The table; empty without targets. What is not ready says so at the end of its line.
pub(super) fn table(targets: &[Listed]) -> String {
    let rows: Vec<[String; 7]> = targets.iter().map(row).collect();
    let mut out = String::new();
    if rows.is_empty() {
        return out;
    }
    let mut widths = HEADS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    // Writing to a String does not fail.
    let _ = writeln!(out, "{HEAD}{}{HEAD:#}", line(&HEADS, &widths));
    for (target, row) in targets.iter().zip(&rows) {
        let cells = row.each_ref().map(String::as_str);
        let line = line(&cells, &widths);
        let _ = if target.ready {
            writeln!(out, "{line}")
        } else {
            writeln!(out, "{line}  {CARE}{}{CARE:#}", state(target))
        };
    }
    out
}

fn state(target: &Listed) -> String {
    if target.state == "running" {
        return "running, not ready".into();
    }
    printable(&target.state).into_owned()
}

fn row(target: &Listed) -> [String; 7] {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let place = match (&target.cluster, &target.namespace, &target.pod) {
        (Some(cluster), Some(namespace), Some(pod)) => format!("{cluster} {namespace}/{pod}"),
        _ => "this machine".into(),
    };
    let coverage = match (&target.coverage_directory, &target.coverage_place) {
        (Some(directory), Some(place)) => format!("{directory} ({place})"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => "-".into(),
    };
    let cells = [
        place,
        target.container.clone(),
        or_dash(&target.workload),
        or_dash(&target.node),
        target.image.clone(),
        or_dash(&target.user),
        coverage,
    ];
    cells.map(|cell| printable(&cell).into_owned())
}

fn line(cells: &[&str; 7], widths: &[usize; 7]) -> String {
    let padded = cells.iter().zip(widths);
    let line: Vec<String> = padded
        .map(|(cell, width)| format!("{cell:width$}"))
        .collect();
    line.join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use covtap_model::ls::Listed;

    use super::table;

    #[test]
    fn what_is_not_ready_says_so() {
        let api = Listed {
            cluster: Some("kind-dev".into()),
            namespace: Some("shop".into()),
            pod: Some("api-1".into()),
            pod_uid: None,
            container: "main".into(),
            id: None,
            node: None,
            workload: Some("deployment/api".into()),
            image: "api:1\n".into(),
            state: "running".into(),
            ready: false,
            coverage_directory: Some("/cover".into()),
            coverage_place: Some("emptyDir cover".into()),
            user: Some("1001".into()),
        };
        let text = anstream::adapter::strip_str(&table(&[api])).to_string();
        assert_eq!(
            text,
            "\
WHERE                CONTAINER  WORKLOAD        NODE  IMAGE       UID   GOCOVERDIR
kind-dev shop/api-1  main       deployment/api  -     api:1\\u{a}  1001  /cover (emptyDir cover)  running, not ready
"
        );
        assert_eq!(table(&[]), "");
    }
}
