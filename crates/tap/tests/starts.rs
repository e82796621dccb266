//! A process is met at any moment of its start, from the middle of execve on: until its counters can
//! be read the tap says "not yet", never anything final.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use covtap_tap::go::Attached;
use covtap_tap::image::Images;
use covtap_tap::target::Target;

use common::{Drill, Programs, command, scratch};

/// How often each program is started.
const STARTS: usize = 40;

const PROGRAMS: [&str; 6] = [
    "without-main/drill",
    "static/torrent",
    "default/drill",
    "pie/drill",
    "strip/drill",
    "all/torrent",
];

fn starts(programs: &Programs) {
    let scratch = scratch();
    for name in PROGRAMS {
        let program = programs.path(name);
        let known = Images::default();
        for number in 0..STARTS {
            // Every other time nothing is known of the program yet.
            let unknown = Images::default();
            let images = if number % 2 == 0 { &unknown } else { &known };
            let mut drill = Drill::start_only(command(&program, scratch.path()));
            let target = Target::find(drill.pid()).unwrap();
            // Until then it is this test's own program, in a child that has yet to execute.
            let executes = format!("/proc/{}/exe", drill.pid());
            while fs::read_link(&executes).is_ok_and(|path| path != program) {
                std::thread::yield_now();
            }
            let mut attached = loop {
                match Attached::attach(target, images) {
                    Ok(attached) => break attached,
                    // Its packages register, or it is still in execve.
                    Err(error) if error.is_passing() => std::thread::yield_now(),
                    Err(error) => panic!("Go {}, {name}: {error}", programs.version),
                }
            };
            drill.ready();
            attached.snapshot().unwrap();
            // All packages were there already.
            let later = Attached::attach(target, &Images::default()).unwrap();
            let packages = |attached: &Attached| attached.layout().packages;
            assert_eq!(packages(&attached), packages(&later), "{name}");
            assert!(attached.meta().bytes() == later.meta().bytes(), "{name}");
            assert!(drill.die("die return").success());
        }
    }
}

macro_rules! versions {
    ($($name:ident $version:literal)*) => {
        $(#[test]
        fn $name() {
            if let Some(programs) = Programs::of($version) {
                starts(&programs);
            }
        })*
    };
}

versions! {
    go_1_21 "1.21.13"
    go_1_22 "1.22.10"
    go_1_23 "1.23.9"
    go_1_24 "1.24.11"
    go_1_25 "1.25.5"
    go_1_26 "1.26.6"
    go_1_27 "1.27.3"
}
