//! What runs when a session begins that starts nothing itself: it is found, named and read, before the
//! session is said to have begun.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use covtap_tap::watch::{Scope, Watcher};

use crate::around::Around;
use crate::session::{Observer, SessionError, system};
use crate::signals::Signals;
use crate::surroundings::Surroundings;

/// How long engines, clusters and agents may take to be there, and agents to read everything.
const PATIENCE: Duration = Duration::from_secs(15);

/// The processes that are watched beside those of what is around: none where something in particular was
/// asked for of that, else all of this machine. Waits until it is known what there is: with the watcher
/// there, programs may be held meanwhile.
pub(crate) fn scope(surroundings: &mut Option<&mut dyn Surroundings>) -> Scope {
    let Some(surroundings) = surroundings else {
        return Scope::Machine;
    };
    surroundings.settle(PATIENCE);
    if surroundings.asked() {
        Scope::Processes(BTreeSet::new())
    } else {
        Scope::Machine
    }
}

/// Takes in everything that is there now. False when a signal came meanwhile.
pub(crate) fn take_in(
    signals: &Signals,
    watcher: &mut Watcher,
    around: &mut Around<'_>,
    observer: &mut dyn Observer,
) -> Result<bool, SessionError> {
    let all = wait(signals, watcher, around, observer, Around::awaits_agents)
        .map_err(system("wait for events"))?;
    watcher.settle().map_err(system("look at what runs"))?;
    Ok(all)
}

/// Has the agents read everything, and waits until that is here. False when a signal came meanwhile.
pub(crate) fn read_agents(
    signals: &Signals,
    watcher: &mut Watcher,
    around: &mut Around<'_>,
    observer: &mut dyn Observer,
) -> io::Result<bool> {
    around.read_agents();
    wait(signals, watcher, around, observer, Around::reads_agents)
}

/// Goes on as long as `goes_on` says so, but not for ever. False when a signal came.
fn wait<'a>(
    signals: &Signals,
    watcher: &mut Watcher,
    around: &mut Around<'a>,
    observer: &mut dyn Observer,
    goes_on: impl Fn(&Around<'a>) -> bool,
) -> io::Result<bool> {
    let until = Instant::now() + PATIENCE;
    loop {
        watcher.look();
        around.take(watcher, observer);
        if !signals.requests().is_empty() {
            return Ok(false);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || !goes_on(around) {
            return Ok(true);
        }
        around.wait(signals, watcher, None, left)?;
    }
}
