//! What could not be done, as a person reads it: what, because of what, and the next step.

use std::error::Error;
use std::process::ExitCode;

use covtap_model::exit::Exit;
use covtap_model::problem::printable;

use crate::output;

/// An error with its hint.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Box<dyn Error>,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(error: impl Into<Box<dyn Error>>) -> Self {
        Self {
            error: error.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Prints it to stderr; the exit code is 2. A reader of stdout that went away is no failure.
    pub(crate) fn report(&self) -> ExitCode {
        if self.is_broken_pipe() {
            return ExitCode::SUCCESS;
        }
        self.tell();
        ExitCode::from(Exit::Failure.code())
    }

    /// Prints it to stderr.
    pub(crate) fn tell(&self) {
        output::error(&text(self.error.as_ref()));
        if let Some(hint) = &self.hint {
            output::hint(hint);
        }
    }

    fn is_broken_pipe(&self) -> bool {
        let mut error: Option<&(dyn Error + 'static)> = Some(self.error.as_ref());
        while let Some(e) = error {
            let kind = e.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            if kind == Some(std::io::ErrorKind::BrokenPipe) {
                return true;
            }
            error = e.source();
        }
        false
    }
}

/// An error and what it came from, on one line.
pub(crate) fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        // Some errors repeat their source in their own text.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    printable(&text).into_owned()
}

impl<E: Into<Box<dyn Error>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}
