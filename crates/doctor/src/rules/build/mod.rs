//! Build and image.

pub mod build_arg_not_declared;
pub mod built_by_file;
pub mod c_shared;
pub mod coverpkg_bad_pattern;
pub mod coverpkg_misses_main;
pub mod gcov_notes_lost;
pub mod image_rebuilt_without_coverage;
pub mod llvm_no_continuous_mode;
pub mod llvm_version_skew;
pub mod mode_needs_atomic;
pub mod not_instrumented;
pub mod not_set_up;
pub mod odd_counter_start;
pub mod runtime_without_coverage;

use crate::Rule;

/// In the order of their numbers.
pub(crate) const RULES: &[&Rule] = &[
    &not_instrumented::RULE,
    &build_arg_not_declared::RULE,
    &image_rebuilt_without_coverage::RULE,
    &coverpkg_misses_main::RULE,
    &coverpkg_bad_pattern::RULE,
    &built_by_file::RULE,
    &mode_needs_atomic::RULE,
    &c_shared::RULE,
    &odd_counter_start::RULE,
    &llvm_version_skew::RULE,
    &llvm_no_continuous_mode::RULE,
    &gcov_notes_lost::RULE,
    &runtime_without_coverage::RULE,
    &not_set_up::RULE,
];
