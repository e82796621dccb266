//! Which variables of an environment may be kept: those about coverage, since all others may hold
//! secrets.

/// Variables that say where coverage goes.
const COVERAGE: [&str; 6] = [
    "GOCOVERDIR",
    "LLVM_PROFILE_FILE",
    "NODE_V8_COVERAGE",
    "COVERAGE_FILE",
    "COVERAGE_PROCESS_START",
    "COVERAGE_RCFILE",
];

/// Whether a variable says where coverage goes.
pub(crate) fn is_about_coverage(name: &str) -> bool {
    COVERAGE.contains(&name)
}
