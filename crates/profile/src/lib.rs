//! Coverage files: read, write, merge.
//!
//! Readers take byte slices and never panic, allocate without a bound or guess: what does not fit
//! the format is returned as a [`Problem`](covtap_model::problem::Problem) and the rest is used.
//! Only [`facts`], [`go::directory`], [`go::load`] and [`go::covdata`] touch the file system. Files are read
//! into buffers that are used again, not mapped: mapping needs `unsafe`, and for files of this size
//! (tens of kilobytes) a read is no slower.

pub mod facts;
pub mod file;
pub mod go;
