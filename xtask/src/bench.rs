//! stub
use crate::sh::Result;
pub(crate) const MEASURE: &str = "__measure";
pub(crate) fn measure_child(_: &[String]) -> std::process::ExitCode {
    0.into()
}
pub(crate) fn task(_: &[String]) -> Result {
    Ok(())
}
