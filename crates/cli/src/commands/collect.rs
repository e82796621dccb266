//! `covtap collect`: what runs now, as a run of its own.

use std::process::ExitCode;

use covtap_live::once;
use covtap_live::surroundings::Surroundings;

use super::run::conclude;
use crate::args::{Collect, Following, Global, Watching};
use crate::failure::Failure;
use crate::place::Place;
use crate::progress::Progress;
use crate::settings;
use crate::surroundings::Around;

pub(crate) fn run(global: &Global, args: Collect) -> Result<ExitCode, Failure> {
    let place = Place::find(global)?;
    let mut around =
        Around::start(&args.selecting, &args.reaching, false)?.map(Around::with_what_runs);
    // Nothing that starts is awaited.
    let following = Following {
        watching: Some(Watching::Poll),
        every: None,
    };
    let (mut options, copies) =
        settings::of_session(&place, args.collecting, following, args.reporting)?;
    let stops = args.stopping.stop_for_files.unwrap_or(false);
    settings::stopping(&mut options, &args.stopping, &place.config.run);
    options.stop_for_files = stops;
    // Processes are traced only when they are to end.
    options.routes.exit &= stops;
    let mut progress = Progress::new();
    let surroundings = around
        .as_mut()
        .map(|around| around as &mut dyn Surroundings);
    let result = once::collect(&place.store, &options, surroundings, &mut progress);
    progress.finish();
    if let Some(around) = &around {
        around.end();
    }
    conclude(&place, result, (&options, copies), args.replicas.asked())
}
