//! Waiting for facts.

use std::time::{Duration, Instant};

use covtap_cluster::Follower;
use covtap_cluster::facts::Facts;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Longer than anything here takes on the slowest machine.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// Waits for the facts to be so.
pub(crate) fn until(follower: &mut Follower, what: &str, so: impl Fn(&Facts) -> bool) -> Facts {
    let end = Instant::now() + LONG;
    loop {
        let facts = follower.facts();
        if so(&facts) {
            return facts;
        }
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{what} did not come: {facts:#?}");
        let descriptor = follower.descriptor();
        let timeout = Timespec::try_from(left).unwrap();
        poll(
            &mut [PollFd::new(&descriptor, PollFlags::IN)],
            Some(&timeout),
        )
        .unwrap();
        follower.news();
    }
}
