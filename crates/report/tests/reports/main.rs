//! Reports as others see them: the document type of Cobertura, the programs that read our files,
//! and documents of a size that real services have.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)] // all of it is tests

mod cobertura;
mod common;
mod properties;
mod scale;
mod tools;
