//! `covtap collect`: what runs now is read once, and reported as a run of its own.

use crate::present;
use crate::session::{
    Finished, Observer, Options, SessionError, begin, close, conclude, find_modules, surround,
    watch,
};
use crate::store::Store;
use crate::surroundings::Surroundings;

/// Collects what runs: all of this machine, or of the surroundings what was asked for. Nothing is stopped,
/// unless the options say that services are ended for their files.
///
/// # Errors
/// [`SessionError`], as `covtap run`.
pub fn collect(
    store: &Store,
    options: &Options,
    mut surroundings: Option<&mut dyn Surroundings>,
    observer: &mut dyn Observer,
) -> Result<Finished, SessionError> {
    let (folder, (began, record), signals) = begin(store, options, observer)?;
    let modules = find_modules(options);
    let scope = present::scope(&mut surroundings);
    let mut watcher = watch(&folder, options, scope)?;
    let how = (options, began, Vec::new());
    let mut around = surround(&folder, how, &mut watcher, surroundings)?;
    // Who is impatient gets what is there by then.
    present::take_in(&signals, &mut watcher, &mut around, observer)?;
    let watching = (watcher, around);
    let seen = close(&signals, watching, (&folder, options), modules, observer)?;
    conclude(
        store,
        folder,
        (began, record),
        options,
        &seen,
        None,
        observer,
    )
}
