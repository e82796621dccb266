//! Insertions into a YAML text: an entry for a mapping, an item for a sequence, behind what is there.

use std::cmp::Reverse;

use super::{Kind, Node, Style, Value};
use crate::edit::Edits;
use crate::template::Template;

/// Why something cannot be inserted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// An alias repeats it elsewhere.
    #[error("an alias repeats `{0}` elsewhere, where the addition would appear too")]
    Shared(String),
    /// It is an alias or takes its entries from one.
    #[error("`{0}` comes from an alias or a merge key")]
    Merged(String),
    /// A template makes what stands there, or stands around it.
    #[error("a template decides what `{0}` is")]
    Template(String),
    /// It is something else than was expected.
    #[error("`{0}` is neither a mapping nor a sequence that could get more")]
    Shape(String),
    /// It is written in a way that is not edited.
    #[error(
        "`{0}` is written in a way that covtap does not edit (an explicit key, or something behind it on its line)"
    )]
    Form(String),
}

/// A text that gets insertions.
pub struct Insert<'a> {
    template: &'a Template,
    newline: &'static str,
    /// How far lists stand right of their keys.
    deeper: usize,
    pending: Vec<Pending>,
}

/// An insertion with the beginning of the block that it goes into.
struct Pending {
    at: usize,
    block: usize,
    text: String,
}

impl<'a> Insert<'a> {
    /// Insertions into a template or a text that has no actions. `like` is a document whose lists show how far
    /// lists stand right of their keys.
    #[must_use]
    pub fn new(template: &'a Template, like: &Node) -> Self {
        let newline = match template.masked.find('\n') {
            Some(at) if template.masked[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        };
        Self {
            template,
            newline,
            deeper: depth_of_lists(like).unwrap_or(2),
            pending: Vec::new(),
        }
    }

    /// How many insertions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Forgets all but the first insertions.
    pub fn truncate(&mut self, len: usize) {
        self.pending.truncate(len);
    }

    /// The insertions. Where blocks end together, what goes into the inner one comes first.
    #[must_use]
    pub fn finish(mut self) -> Edits {
        self.pending.sort_by_key(|p| (p.at, Reverse(p.block)));
        let mut edits = Edits::default();
        for pending in self.pending {
            edits.insert(pending.at, pending.text);
        }
        edits
    }

    /// Puts an item behind the last one of the sequence that a key of a mapping has, which gets that key where it
    /// has none.
    ///
    /// # Errors
    ///
    /// [`Blocked`], and then nothing is inserted.
    pub fn item(&mut self, mapping: &Node, key: &str, item: Value) -> Result<(), Blocked> {
        let Some(value) = self.value(mapping, key)? else {
            return self.entry(mapping, key, &Value::List(vec![item]));
        };
        if value.shared {
            return Err(Blocked::Shared(key.to_owned()));
        }
        match &value.kind {
            Kind::Sequence { flow: true, items } => {
                self.flow(value, items.last().map(|i| i.span.end), &item.flow());
                Ok(())
            }
            Kind::Sequence { flow: false, .. } => {
                let lines = item.item(self.deeper);
                self.lines(value, key, value.column, &lines)
            }
            _ => Err(Blocked::Shape(key.to_owned())),
        }
    }

    /// Puts an entry into the mapping that a key of a mapping has, which gets that key where it has none.
    ///
    /// # Errors
    ///
    /// [`Blocked`], and then nothing is inserted.
    pub fn inner(
        &mut self,
        mapping: &Node,
        key: &'static str,
        name: &'static str,
        new: Value,
    ) -> Result<(), Blocked> {
        match self.value(mapping, key)? {
            None => self.entry(mapping, key, &Value::Map(vec![(name, new)])),
            Some(value) => self.entry(value, name, &new),
        }
    }

    /// The value of a key that may be inserted into; `None` where the mapping has to get the key.
    fn value<'n>(&self, mapping: &'n Node, key: &str) -> Result<Option<&'n Node>, Blocked> {
        let mut found = mapping
            .entries()
            .iter()
            .filter(|(k, _)| k.text() == Some(key));
        let Some((name, value)) = found.next() else {
            return Ok(None);
        };
        if found.next().is_some() || self.template.depth(name.span.start) != self.depth(mapping) {
            return Err(Blocked::Template(key.to_owned()));
        }
        if value.kind == Kind::Alias {
            return Err(Blocked::Merged(key.to_owned()));
        }
        if value.is_null() {
            // Nothing in the text is something where a template makes it.
            return Err(Blocked::Template(key.to_owned()));
        }
        Ok(Some(value))
    }

    /// Puts an entry behind the last one of a mapping.
    ///
    /// # Errors
    ///
    /// [`Blocked`], and then nothing is inserted.
    pub fn entry(&mut self, mapping: &Node, key: &str, value: &Value) -> Result<(), Blocked> {
        let Kind::Mapping { flow, entries } = &mapping.kind else {
            return Err(Blocked::Shape(key.to_owned()));
        };
        if entries.iter().any(|(k, _)| k.text() == Some("<<")) {
            return Err(Blocked::Merged(key.to_owned()));
        }
        if mapping.shared {
            return Err(Blocked::Shared(key.to_owned()));
        }
        if *flow {
            let last = entries.last().map(|(k, v)| k.span.end.max(v.span.end));
            self.flow(mapping, last, &format!("{key}: {}", value.flow()));
            return Ok(());
        }
        let lines = value.entry(key, self.deeper);
        self.lines(mapping, key, mapping.column, &lines)
    }

    fn flow(&mut self, collection: &Node, last: Option<usize>, text: &str) {
        let block = collection.span.start;
        let first = last.is_none() && self.pending.iter().all(|p| p.block != block);
        self.pending.push(Pending {
            at: last.unwrap_or(block + 1),
            block,
            text: if first {
                text.to_owned()
            } else {
                format!(", {text}")
            },
        });
    }

    fn lines(
        &mut self,
        block: &Node,
        key: &str,
        column: usize,
        lines: &[String],
    ) -> Result<(), Blocked> {
        if block.shared {
            return Err(Blocked::Shared(key.to_owned()));
        }
        let text = &self.template.masked;
        let form = || Blocked::Form(key.to_owned());
        let line = text[..block.span.start].rfind('\n').map_or(0, |at| at + 1);
        let list = matches!(block.kind, Kind::Sequence { .. });
        if text[line..block.span.start].contains(['?', '&', '!'])
            || list && !text[block.span.start..].starts_with('-')
        {
            return Err(form());
        }
        let end = end_of(text, block, column).ok_or_else(form)?;
        let at = self
            .template
            .settle(end, self.depth(block))
            .ok_or_else(|| Blocked::Template(key.to_owned()))?;
        let unfinished = at == text.len() && !text.ends_with('\n');
        let indentation = " ".repeat(column);
        let mut new = String::new();
        for line in lines {
            match unfinished {
                true => new.extend([self.newline, &indentation, line]),
                false => new.extend([&indentation, line, self.newline]),
            }
        }
        self.pending.push(Pending {
            at,
            block: block.span.start,
            text: new,
        });
        Ok(())
    }

    /// In how many blocks of the template a block of YAML stands as a whole.
    fn depth(&self, block: &Node) -> isize {
        let text = &self.template.masked;
        let mut at = text[..block.span.start].rfind('\n').map_or(0, |at| at + 1);
        let own_line = text[at..block.span.start].trim().is_empty();
        // Actions between a key and its block's first line are within the block. An item of a list, and a
        // document, may stand in the action before it as a whole.
        while own_line && block.column > 0 && at > 0 {
            let line = text[..at - 1].rfind('\n').map_or(0, |n| n + 1);
            let before = text[line..at].trim();
            if !(before.is_empty() || before.starts_with('#')) {
                break;
            }
            at = line;
        }
        self.template.depth(at)
    }
}

/// The beginning of the line behind a block; `None` where something else stands behind it on its last line.
fn end_of(text: &str, block: &Node, column: usize) -> Option<usize> {
    match &block.kind {
        Kind::Mapping {
            flow: false,
            entries,
        } => {
            let (key, value) = entries.last()?;
            match value.is_null() && value.span.is_empty() {
                true => line_behind(text, key.span.end, ':'),
                false => end_of(text, value, block.column),
            }
        }
        Kind::Sequence { flow: false, items } => {
            let last = items.last()?;
            match last.is_null() && last.span.is_empty() {
                true => line_behind(text, last.span.start.max(block.span.start), '-'),
                false => end_of(text, last, block.column),
            }
        }
        Kind::Scalar {
            style: Style::Block,
            ..
        } => Some(end_of_block_scalar(text, block, column)),
        _ => line_behind(text, block.span.end, '#'),
    }
}

/// The beginning of the line behind a byte, where nothing but a comment or `may` stands between them.
fn line_behind(text: &str, at: usize, may: char) -> Option<usize> {
    let end = text[at..].find('\n').map_or(text.len(), |n| at + n + 1);
    let rest = text[at..end].trim();
    let rest = rest.strip_prefix(may).map_or(rest, str::trim_start);
    (rest.is_empty()
        || rest.starts_with('#')
        || may == '#' && text[at..end].trim().starts_with('#'))
    .then_some(end)
}

/// The lines of a block scalar are those that are indented deeper than what it stands in.
fn end_of_block_scalar(text: &str, scalar: &Node, column: usize) -> usize {
    let line_end = |at: usize| text[at..].find('\n').map_or(text.len(), |n| at + n + 1);
    // The parser begins a block scalar at its header or at its text.
    let header = match text[scalar.span.start..].starts_with(['|', '>']) {
        true => scalar.span.start,
        false => text[..scalar.span.start]
            .rfind(['|', '>'])
            .unwrap_or(scalar.span.start),
    };
    let header_end = line_end(header);
    let indicators = text[header..header_end].split_whitespace().next();
    let keeps = indicators.is_some_and(|i| i.contains('+'));
    let mut at = header_end;
    let mut end = header_end;
    while at < text.len() {
        let next = line_end(at);
        let line = &text[at..next];
        let content = line.trim_end();
        let indentation = line.len() - line.trim_start_matches(' ').len();
        if content.is_empty() {
            at = next;
            if keeps {
                end = next;
            }
            continue;
        }
        if indentation <= column {
            break;
        }
        at = next;
        end = next;
    }
    end
}

/// How far the first list of a document stands right of its key.
fn depth_of_lists(node: &Node) -> Option<usize> {
    for (key, value) in node.entries() {
        let found = match &value.kind {
            Kind::Sequence { flow: false, items } if !items.is_empty() => {
                Some(value.column.saturating_sub(key.column).min(8))
            }
            _ => depth_of_lists(value),
        };
        if found.is_some() {
            return found;
        }
    }
    node.items().iter().find_map(depth_of_lists)
}
