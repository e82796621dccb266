//! Our Cobertura against a checker written from the public document type (`coverage-04.dtd`).

use std::collections::BTreeMap;

use covtap_model::coverage::Coverage;
use covtap_report::format::{Format, Options};
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::common;

/// An element of a document.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) children: Vec<Element>,
    text: String,
}

/// Element, children in order (`*` any number, `?` at most one), required attributes.
const RULES: &[(&str, &[&str], &[&str])] = &[
    (
        "coverage",
        &["sources?", "packages"],
        &[
            "line-rate",
            "branch-rate",
            "lines-covered",
            "lines-valid",
            "branches-covered",
            "branches-valid",
            "complexity",
            "version",
            "timestamp",
        ],
    ),
    ("sources", &["source*"], &[]),
    ("source", &[], &[]),
    ("packages", &["package*"], &[]),
    (
        "package",
        &["classes"],
        &["name", "line-rate", "branch-rate", "complexity"],
    ),
    ("classes", &["class*"], &[]),
    (
        "class",
        &["methods", "lines"],
        &["name", "filename", "line-rate", "branch-rate", "complexity"],
    ),
    ("methods", &["method*"], &[]),
    (
        "method",
        &["lines"],
        &[
            "name",
            "signature",
            "line-rate",
            "branch-rate",
            "complexity",
        ],
    ),
    ("lines", &["line*"], &[]),
    ("line", &["conditions*"], &["number", "hits"]),
];

pub(crate) fn parse(xml: &str) -> Element {
    let mut reader = Reader::from_str(xml);
    let mut stack = vec![Element::default()];
    loop {
        let (event, empty) = match reader.read_event().unwrap() {
            Event::Start(e) => (e, false),
            Event::Empty(e) => (e, true),
            Event::End(_) => {
                let done = stack.pop().unwrap();
                stack.last_mut().unwrap().children.push(done);
                continue;
            }
            Event::Text(t) => {
                stack.last_mut().unwrap().text += &t;
                continue;
            }
            Event::Eof => break,
            _ => continue,
        };
        let mut element = Element {
            name: event.name().as_ref().to_owned(),
            ..Element::default()
        };
        for attribute in event.attributes() {
            let attribute = attribute.unwrap();
            let value = quick_xml::escape::unescape(&attribute.value)
                .unwrap()
                .into_owned();
            let key = attribute.key.as_ref().to_owned();
            element.attributes.insert(key, value);
        }
        if empty {
            stack.last_mut().unwrap().children.push(element);
        } else {
            stack.push(element);
        }
    }
    let mut document = stack.pop().unwrap();
    assert!(stack.is_empty(), "every element is closed");
    assert_eq!(document.children.len(), 1, "one root");
    document.children.pop().unwrap()
}

/// Checks an element and all below it against [`RULES`].
fn check(element: &Element) {
    let (_, children, attributes) = RULES
        .iter()
        .find(|rule| rule.0 == element.name)
        .unwrap_or_else(|| panic!("<{}> is not in the document type", element.name));
    let names: Vec<&str> = element.attributes.keys().map(String::as_str).collect();
    let mut wanted = attributes.to_vec();
    wanted.sort_unstable();
    assert_eq!(names, wanted, "attributes of <{}>", element.name);
    let mut rest: Vec<&str> = element.children.iter().map(|c| c.name.as_str()).collect();
    for child in *children {
        let name = child.trim_end_matches(['*', '?']);
        let n = rest.iter().take_while(|c| **c == name).count();
        match child.as_bytes().last() {
            Some(b'*') => {}
            Some(b'?') => assert!(n <= 1, "<{}> has {n} <{name}>", element.name),
            _ => assert_eq!(n, 1, "<{name}> in <{}>", element.name),
        }
        rest.drain(..n);
    }
    assert!(rest.is_empty(), "<{}> holds {rest:?}", element.name);
    for rate in ["line-rate", "branch-rate"] {
        if let Some(rate) = element.attributes.get(rate) {
            let rate: f64 = rate.parse().unwrap();
            assert!((0.0..=1.0).contains(&rate), "{rate}");
        }
    }
    for child in &element.children {
        check(child);
    }
}

impl Element {
    fn all<'a>(&'a self, path: &str) -> Vec<&'a Element> {
        let mut found = vec![self];
        for name in path.split('/') {
            found = found
                .into_iter()
                .flat_map(|e| &e.children)
                .filter(|e| e.name == name)
                .collect();
        }
        found
    }

    /// Covered and all lines directly below `<lines>`.
    fn lines(&self) -> (usize, usize) {
        let lines = self.all("lines/line");
        let covered = lines.iter().filter(|l| l.attributes["hits"] != "0").count();
        (covered, lines.len())
    }
}

/// `rate` is `covered / all`, rounded down to four decimals.
fn is_rate(rate: &str, (covered, all): (usize, usize)) {
    let exact = if all == 0 {
        0.0
    } else {
        covered as f64 / all as f64
    };
    let rate: f64 = rate.parse().unwrap();
    assert!(
        rate <= exact && exact - rate < 0.0001,
        "{rate} for {covered} of {all}"
    );
    assert_eq!((rate - 1.0).abs() < f64::EPSILON, all > 0 && covered == all);
}

pub(crate) fn checked(coverage: &Coverage, options: &Options) -> Element {
    let xml = String::from_utf8(Format::Cobertura.to_bytes(coverage, options)).unwrap();
    assert!(xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"));
    let root = parse(&xml);
    assert_eq!(root.name, "coverage");
    check(&root);
    let mut total = (0, 0);
    for package in root.all("packages/package") {
        let mut sum = (0, 0);
        for class in package.all("classes/class") {
            let lines = class.lines();
            is_rate(&class.attributes["line-rate"], lines);
            sum = (sum.0 + lines.0, sum.1 + lines.1);
            let numbers: Vec<u32> = class
                .all("lines/line")
                .iter()
                .map(|l| l.attributes["number"].parse().unwrap())
                .collect();
            assert!(numbers.windows(2).all(|w| w[0] < w[1]), "{numbers:?}");
            for method in class.all("methods/method") {
                is_rate(&method.attributes["line-rate"], method.lines());
                for line in method.all("lines/line") {
                    assert!(numbers.contains(&line.attributes["number"].parse().unwrap()));
                }
            }
        }
        is_rate(&package.attributes["line-rate"], sum);
        total = (total.0 + sum.0, total.1 + sum.1);
    }
    is_rate(&root.attributes["line-rate"], total);
    assert_eq!(root.attributes["lines-covered"], total.0.to_string());
    assert_eq!(root.attributes["lines-valid"], total.1.to_string());
    root
}

#[test]
fn the_document_is_valid_and_its_rates_are_right() {
    let coverage = common::coverage();
    let root = checked(&coverage, &Options::default());
    assert_eq!(
        root.attributes["lines-valid"],
        coverage.totals.lines.total.to_string()
    );
    assert_eq!(root.attributes["timestamp"], "0");
    assert_eq!(root.all("sources/source")[0].text, ".");
    let classes: Vec<&str> = root
        .all("packages/package/classes/class")
        .iter()
        .map(|c| c.attributes["name"].as_str())
        .collect();
    assert_eq!(classes, ["main.go", "cart.go"]);
}

#[test]
fn the_time_comes_from_the_options() {
    let options = Options {
        timestamp: Some(1_700_000_000),
        ..Options::default()
    };
    let root = checked(&common::coverage(), &options);
    assert_eq!(root.attributes["timestamp"], "1700000000000");
}

#[test]
fn an_empty_document_is_valid() {
    let mut coverage = common::coverage();
    coverage.packages.clear();
    coverage.finish();
    let root = checked(&coverage, &Options::default());
    assert_eq!(root.attributes["line-rate"], "0");
}

#[test]
fn hostile_names_come_back_as_text() {
    let evil = "<a href=\"x\">]]>&amp;'\u{1}\n\t\u{ffff}.go";
    let mut coverage = common::coverage();
    coverage.generator = evil.into();
    coverage.packages[0].path = evil.into();
    coverage.packages[0].files[0].path = Some(evil.into());
    coverage.packages[0].files[0].functions[0].name = evil.into();
    coverage.finish();
    let root = checked(&coverage, &Options::default());
    assert_eq!(
        root.attributes["version"],
        "<a href=\"x\">]]>&amp;'\\u{1}\\u{a}\\u{9}\\u{ffff}.go"
    );
}
