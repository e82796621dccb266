//! What is written into a YAML text.

/// A value to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A scalar as it is to stand there: quotes are the caller's.
    Scalar(String),
    /// A list.
    List(Vec<Value>),
    /// Keys and values.
    Map(Vec<(&'static str, Value)>),
}

impl Value {
    /// A scalar.
    pub fn scalar(text: impl Into<String>) -> Self {
        Self::Scalar(text.into())
    }

    /// `{a: b, c: [d]}`.
    #[must_use]
    pub fn flow(&self) -> String {
        match self {
            Self::Scalar(text) => text.clone(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::flow).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(k, v)| format!("{k}: {}", v.flow()))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    /// The lines of `key: value`, without indentation. `deeper` is how far lists stand right of their key.
    #[must_use]
    pub fn entry(&self, key: &str, deeper: usize) -> Vec<String> {
        match self {
            Self::Scalar(text) => vec![format!("{key}: {text}")],
            Self::List(items) if !items.is_empty() => {
                let mut lines = vec![format!("{key}:")];
                for item in items {
                    lines.extend(indented(item.item(deeper), deeper));
                }
                lines
            }
            Self::Map(entries) if !entries.is_empty() => {
                let mut lines = vec![format!("{key}:")];
                for (key, value) in entries {
                    lines.extend(indented(value.entry(key, deeper), 2));
                }
                lines
            }
            Self::List(_) | Self::Map(_) => vec![format!("{key}: {}", self.flow())],
        }
    }

    /// The lines of `- value`, without indentation.
    #[must_use]
    pub fn item(&self, deeper: usize) -> Vec<String> {
        let Self::Map(entries) = self else {
            return vec![format!("- {}", self.flow())];
        };
        entries
            .iter()
            .flat_map(|(key, value)| value.entry(key, deeper))
            .enumerate()
            .map(|(n, line)| {
                if n == 0 {
                    format!("- {line}")
                } else {
                    format!("  {line}")
                }
            })
            .collect()
    }
}

fn indented(lines: Vec<String>, by: usize) -> impl Iterator<Item = String> {
    lines
        .into_iter()
        .map(move |line| format!("{:by$}{line}", ""))
}
