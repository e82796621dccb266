//! Copy and transport.

pub mod changed_while_read;
pub mod error_swallowed;
pub mod nested_dir;
pub mod never_collected;
pub mod one_replica_only;
pub mod overwritten;
pub mod stale_data;
pub mod tool_missing_in_image;
pub mod transport_refused;
pub mod wrong_meta_hash;

use crate::Rule;

/// In the order of their numbers.
pub(crate) const RULES: &[&Rule] = &[
    &never_collected::RULE,
    &tool_missing_in_image::RULE,
    &nested_dir::RULE,
    &changed_while_read::RULE,
    &one_replica_only::RULE,
    &error_swallowed::RULE,
    &stale_data::RULE,
    &overwritten::RULE,
    &wrong_meta_hash::RULE,
    &transport_refused::RULE,
];
