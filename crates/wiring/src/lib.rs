//! What a repository says about its coverage, and edits of it that keep every other byte.
//!
//! ```text
//!  text ──► dockerfile ──► shell ──► instrument ──► edit ──► text with more in it
//!           instructions   commands  which stage     only insertions
//!           and stages     of a RUN  builds Go
//! ```
//!
//! [`yaml`] and [`template`] are the same for manifests; [`wire`] is what `covtap wire` does to a repository.
//! [`repository`] reads the files of a folder into facts, and is the one place here that opens files.
//!
//! Nothing writes one, and nothing is judged by a pattern over lines: what stands in a
//! comment, in a string or in another stage means nothing.

pub mod dockerfile;
pub mod edit;
pub mod instrument;
pub mod repository;
pub mod shell;
pub mod template;
pub mod wire;
pub mod yaml;
