//! What people and CI read: reports made from the coverage document.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@format`] | one file a format: text, JSON, lcov, Cobertura, Go profile, Markdown, badge |
//! | [`source`] | names in binaries to files of the repository, verified against their content |
//! | [`exclude`] | what is not counted: globs, generated files, comment markers |
//!
//! The order of use is [`source::Mapper::map`], [`exclude::Exclusions::apply`], then
//! [`format::Format::write`] or [`format::write_files`]. Nothing here prints, reads a clock or
//! looks at the environment: the same document and options give the same bytes.
//!
//! Names of files, packages and functions come from binaries and are not trusted: every format
//! escapes them by its own rules.

pub mod escape;
pub mod exclude;
pub mod format;
pub mod source;
