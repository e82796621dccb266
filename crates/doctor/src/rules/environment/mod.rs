//! Environment, volume, permission.

pub mod dir_missing;
pub mod dir_not_writable;
pub mod env_lost;
pub mod env_missing;
pub mod env_too_late;
pub mod env_two_switches;
pub mod host_dir_missing;
pub mod hostpath_not_mounted;
pub mod manifest_invalid;
pub mod mount_chain_broken;
pub mod no_space;
pub mod no_volume;
pub mod policy_rejects;
pub mod pvc_rwo_deadlock;
pub mod read_only_root;
pub mod shared_dir_clash;
pub mod volume_gone;
pub mod wrong_cwd;
pub mod wrong_node;

use crate::Rule;

/// In the order of their numbers.
pub(crate) const RULES: &[&Rule] = &[
    &env_missing::RULE,
    &env_lost::RULE,
    &env_too_late::RULE,
    &env_two_switches::RULE,
    &dir_missing::RULE,
    &dir_not_writable::RULE,
    &read_only_root::RULE,
    &no_volume::RULE,
    &volume_gone::RULE,
    &mount_chain_broken::RULE,
    &hostpath_not_mounted::RULE,
    &wrong_node::RULE,
    &wrong_cwd::RULE,
    &host_dir_missing::RULE,
    &pvc_rwo_deadlock::RULE,
    &policy_rejects::RULE,
    &no_space::RULE,
    &shared_dir_clash::RULE,
    &manifest_invalid::RULE,
];
