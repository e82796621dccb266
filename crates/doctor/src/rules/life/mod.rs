//! Life cycle.

pub mod copied_before_exit;
pub mod double_flush;
pub mod exit_bypassed;
pub mod flush_failed;
pub mod killed;
pub mod meta_removed;
pub mod not_built_for_coverage_run;
pub mod oom_killed;
pub mod panicked;
pub mod shell_is_pid_1;
pub mod signal_not_delivered;
pub mod sigterm_not_handled;

use crate::Rule;

/// In the order of their numbers.
pub(crate) const RULES: &[&Rule] = &[
    &copied_before_exit::RULE,
    &sigterm_not_handled::RULE,
    &killed::RULE,
    &oom_killed::RULE,
    &panicked::RULE,
    &exit_bypassed::RULE,
    &shell_is_pid_1::RULE,
    &signal_not_delivered::RULE,
    &double_flush::RULE,
    &meta_removed::RULE,
    &flush_failed::RULE,
    &not_built_for_coverage_run::RULE,
];
