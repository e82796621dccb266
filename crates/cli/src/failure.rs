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
        output::error(&self.text());
        if let Some(hint) = &self.hint {
            output::hint(hint);
        }
        ExitCode::from(Exit::Failure.code())
    }

    fn text(&self) -> String {
        let mut text = self.error.to_string();
        let mut source = self.error.source();
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

impl<E: Into<Box<dyn Error>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}
