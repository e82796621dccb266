use super::*;
use crate::template::Template;
use proptest::prelude::*;

fn one(text: &str) -> Node {
    let mut stream = read(text);
    assert_eq!(stream.errors, [], "{text}");
    stream.documents.remove(0)
}

/// The text after an item went into `list` and an entry into the root.
fn grown(text: &str) -> Result<String, Blocked> {
    let template = Template::read(text);
    let root = one(&template.masked);
    let mut insert = Insert::new(&template, &root);
    insert.item(
        &root,
        "list",
        Value::Map(vec![
            ("name", Value::scalar("new")),
            ("at", Value::scalar("/x")),
        ]),
    )?;
    insert.entry(&root, "last", &Value::List(vec![Value::scalar("1")]))?;
    Ok(insert.finish().apply(text))
}

#[test]
fn a_list_gets_an_item_in_its_own_way() {
    for (before, after) in [
        (
            "list:\n  - name: a\n",
            "list:\n  - name: a\n  - name: new\n    at: /x\nlast:\n  - 1\n",
        ),
        (
            "list:\n- name: a # why\n\n# end\n",
            "list:\n- name: a # why\n- name: new\n  at: /x\nlast:\n- 1\n\n# end\n",
        ),
        (
            "list: [{name: a}]\n",
            "list: [{name: a}, {name: new, at: /x}]\nlast:\n  - 1\n",
        ),
        (
            "list: []\nz: 1",
            "list: [{name: new, at: /x}]\nz: 1\nlast:\n  - 1",
        ),
        (
            "z: 1\r\n",
            "z: 1\r\nlist:\r\n  - name: new\r\n    at: /x\r\nlast:\r\n  - 1\r\n",
        ),
        (
            "\u{feff}z: 1\n",
            "\u{feff}z: 1\nlist:\n  - name: new\n    at: /x\nlast:\n  - 1\n",
        ),
        (
            "list:\n  - |\n    text\n\n  # c\nz: >-\n  more\n   lines\n",
            "list:\n  - |\n    text\n  - name: new\n    at: /x\n\n  # c\nz: >-\n  more\n   lines\nlast:\n  - 1\n",
        ),
        (
            "list:\n  - a:\n      b:\n",
            "list:\n  - a:\n      b:\n  - name: new\n    at: /x\nlast:\n  - 1\n",
        ),
        (
            "list:\n  - a\n    b\n    c\nz: 'x\n  y'\n",
            "list:\n  - a\n    b\n    c\n  - name: new\n    at: /x\nz: 'x\n  y'\nlast:\n  - 1\n",
        ),
        (
            "{list: [a], z: 1}\n",
            "{list: [a, {name: new, at: /x}], z: 1, last: [1]}\n",
        ),
        ("{}", "{list: [{name: new, at: /x}], last: [1]}"),
        (
            "list:\n{{- range .X }}\n  - name: {{ . }}\n{{- end }}\n",
            "list:\n{{- range .X }}\n  - name: {{ . }}\n{{- end }}\n  - name: new\n    at: /x\nlast:\n  - 1\n",
        ),
        (
            "list:\n  - a\nz:\n  {{- toYaml .Z | nindent 2 }}\n",
            "list:\n  - a\n  - name: new\n    at: /x\nz:\n  {{- toYaml .Z | nindent 2 }}\nlast:\n  - 1\n",
        ),
    ] {
        assert_eq!(grown(before).as_deref(), Ok(after), "{before}");
    }
}

#[test]
fn what_cannot_be_edited_is_said() {
    let shared = Err(Blocked::Shared("list".into()));
    assert_eq!(grown("list:\n  &a\n  - x\nz: *a\n"), shared);
    assert_eq!(
        grown("list: &a [x]\nz: *a\n").map_err(|e| e.to_string()),
        Err("an alias repeats `list` elsewhere, where the addition would appear too".into())
    );
    assert_eq!(
        grown("a: &a [x]\nlist: *a\n"),
        Err(Blocked::Merged("list".into()))
    );
    assert_eq!(
        grown("a: &a {x: 1}\n<<: *a\n"),
        Err(Blocked::Merged("list".into()))
    );
    assert_eq!(grown("list: text\n"), Err(Blocked::Shape("list".into())));
    assert_eq!(
        grown("list:\n{{ toYaml .X }}\n"),
        Err(Blocked::Template("list".into()))
    );
    assert_eq!(
        grown("z: 1\n{{ if .X }}\nlist:\n- a\n{{ end }}\n"),
        Err(Blocked::Template("list".into()))
    );
}

#[test]
fn a_broken_document_takes_no_other_with_it() {
    let stream = read("a: 1\n---\nb: [\n---\nc: 2\n");
    assert_eq!(stream.errors.len(), 1);
    assert!(
        stream.documents.iter().any(|d| d.get("c").is_some()),
        "{stream:?}"
    );
    let deep = "[".repeat(5_000);
    assert_eq!(read(&deep).errors.len(), 1);
}

/// Any value, as somebody might have written it.
fn yaml() -> impl Strategy<Value = String> {
    let scalar = prop::sample::select(vec![
        "a",
        "1",
        "\"q: #\"",
        "'s'",
        "a b # c",
        "",
        "~",
        "http://x:1/y",
        "*",
        "|\n{}text\n{}  more",
        ">-\n{}folded\n\n{}text",
        "|+\n{}keep\n\n",
        "'two\n{}lines'",
        "plain\n{}on two lines",
        "{a: 1, b: [c]}",
        "[]",
        "{}",
        "[a, b]",
        "&x y",
    ])
    .prop_map(|s| {
        if s == "*" {
            "a*b".to_owned()
        } else {
            s.to_owned()
        }
    });
    let leaf = scalar.prop_map(Shape::Scalar);
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (
                prop::collection::vec(inner.clone(), 1..4),
                any::<bool>(),
                any::<bool>()
            )
                .prop_map(|(items, compact, gap)| Shape::List(items, compact, gap)),
            (prop::collection::vec(inner, 1..4), any::<bool>())
                .prop_map(|(values, comment)| Shape::Map(values, comment)),
        ]
    })
    .prop_map(|shape| {
        let mut lines = String::new();
        Shape::Map(vec![shape], false).write(0, &mut lines, true);
        lines
    })
}

#[derive(Clone, Debug)]
enum Shape {
    Scalar(String),
    List(Vec<Shape>, bool, bool),
    Map(Vec<Shape>, bool),
}

impl Shape {
    /// Writes it at a column; its first line continues one that is there where `begun`.
    fn write(&self, column: usize, out: &mut String, begun: bool) {
        let pad = " ".repeat(column);
        match self {
            Self::Scalar(text) => {
                out.push_str(&text.replace("{}", &format!("{pad}  ")));
                out.push('\n');
            }
            Self::List(items, _, gap) => {
                for (n, item) in items.iter().enumerate() {
                    if n > 0 || !begun {
                        out.push_str(&pad);
                    }
                    out.push_str("- ");
                    item.write(column + 2, out, true);
                    if *gap {
                        out.push('\n');
                    }
                }
            }
            Self::Map(values, comment) => {
                for (n, value) in values.iter().enumerate() {
                    if n > 0 || !begun {
                        out.push_str(&pad);
                    }
                    out.push_str(if n == 0 {
                        "list:"
                    } else {
                        ["b:", "c:", "d:"][n % 3]
                    });
                    match value {
                        Self::Scalar(_) => {
                            out.push(' ');
                            value.write(column, out, true);
                        }
                        _ => {
                            if *comment {
                                out.push_str(" # why");
                            }
                            out.push('\n');
                            let compact = matches!(value, Self::List(_, true, _));
                            value.write(if compact { column } else { column + 2 }, out, false);
                        }
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn everything_stays_and_one_thing_comes(text in yaml(), crlf in any::<bool>(), bare in any::<bool>()) {
        let mut text = if crlf { text.replace('\n', "\r\n") } else { text };
        if bare {
            text.truncate(text.trim_end().len());
        }
        let before = read(&text);
        prop_assert_eq!(&before.errors, &[]);
        prop_assume!(before.documents.len() == 1);
        let root = &before.documents[0];
        let template = Template::read(&text);
        let mut insert = Insert::new(&template, root);
        let item = Value::Map(vec![("new", Value::List(vec![Value::scalar("x")]))]);
        let listed = insert.item(root, "list", item);
        prop_assert_eq!(insert.entry(root, "last", &Value::scalar("1")), Ok(()));
        let edits = insert.finish();
        let after_text = edits.apply(&text);
        let after = read(&after_text);
        prop_assert_eq!(&after.errors, &[], "{}", &after_text);
        let new = &after.documents[0];
        prop_assert!(root.is_kept_in(new), "{after_text}");
        prop_assert_eq!(new.get("last").and_then(Node::text), Some("1"), "{}", &after_text);
        prop_assert_eq!(new.entries().len(), root.entries().len() + 1);
        if listed.is_ok() {
            let items = new.get("list").map(Node::items).unwrap_or_default();
            prop_assert!(items.last().is_some_and(|i| i.get("new").is_some()), "{after_text}");
            prop_assert_eq!(items.len(), root.get("list").map_or(0, |l| l.items().len()) + 1, "{}", &after_text);
        }
    }

    #[test]
    fn no_text_is_too_strange(text in "[a:\\-\n\r\t &*#|>{}\\[\\]?!'\"%\u{feff}é]{0,60}") {
        let template = Template::read(&text);
        for root in &read(&template.masked).documents {
            let mut insert = Insert::new(&template, root);
            if insert.entry(root, "last", &Value::scalar("1")).is_ok() {
                let edits = insert.finish();
                prop_assert_eq!(edits.apply(&text).len(), text.len() + edits.insertions()[0].text.len());
            }
        }
    }
}
