//! Merge, map, report.

pub mod bad_record;
pub mod diluted;
pub mod filter_wrong;
pub mod meta_only_reads_as_zero;
pub mod mode_clash;
pub mod text_concatenated;
pub mod toolchain_missing;
pub mod truncated_file;
pub mod two_names;
pub mod upload_rejected;
pub mod version_skew;
pub mod wrong_merge_rule;

use crate::Rule;

/// In the order of their numbers.
pub(crate) const RULES: &[&Rule] = &[
    &mode_clash::RULE,
    &version_skew::RULE,
    &two_names::RULE,
    &bad_record::RULE,
    &truncated_file::RULE,
    &meta_only_reads_as_zero::RULE,
    &toolchain_missing::RULE,
    &text_concatenated::RULE,
    &filter_wrong::RULE,
    &diluted::RULE,
    &wrong_merge_rule::RULE,
    &upload_rejected::RULE,
];
