//! covtap itself is killed with -9, twenty times at random moments. The services do not notice, what was
//! read is there to be reported, and the next covtap collects as if nothing had been.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use covtap_model::ledger::Outcome;

use crate::manifest::{all, deployment, ready_on, spec};
use crate::place::{PATIENCE, Place};
use crate::{Cluster, covtap, load};

const NAMESPACE: &str = "murder";
const TIMES: usize = 20;

/// The longest that a covtap lives: some snapshots are made by then.
const LONGEST: u64 = 2000;

/// Numbers that look random (xorshift64), the same for a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The lines of a process's status that a tracer shows in.
fn state(pid: u32) -> (String, String) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    (value("State:"), value("TracerPid:"))
}

/// Waits until no part of covtap runs in a directory any more.
fn wait_for_its_parts(place: &Place) {
    let began = Instant::now();
    let program = Path::new(env!("CARGO_BIN_EXE_covtap"))
        .canonicalize()
        .unwrap();
    let here = place.path().canonicalize().unwrap();
    let is_part = |process: PathBuf| {
        let link = |name: &str| fs::read_link(process.join(name)).ok();
        link("exe").as_ref() == Some(&program) && link("cwd").as_ref() == Some(&here)
    };
    let runs = || {
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .any(|entry| is_part(entry.path()))
    };
    while runs() {
        assert!(began.elapsed() < PATIENCE, "a part of covtap outlives it");
    }
}

#[test]
fn killed_at_any_moment_it_harms_nothing() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    load(&cluster, "numbered:test", "fixtures/cluster/service");
    let service = deployment(NAMESPACE, "numbered", 3, spec(&[ready_on(8080, &[])]));
    cluster.apply(&all(NAMESPACE, vec![service]));
    let pods = cluster.rolled_out(NAMESPACE, "numbered");
    let pod = |name: &str| cluster.process(NAMESPACE, name.trim_start_matches("pod/"));
    let processes: Vec<u32> = pods.iter().map(|name| pod(name)).collect();

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = std::env::var("COVTAP_TEST_SEED").map_or_else(
        |_| u64::from(now.subsec_nanos()) | 1,
        |seed| seed.parse().unwrap(),
    );
    crate::say(&format!("COVTAP_TEST_SEED={seed}"));
    let mut random = Random(seed);
    let place = Place::new();
    let here = place.path().canonicalize().unwrap();
    let context = format!("--context={}", cluster.context);
    let flags = ["-n", NAMESPACE, "--every=100ms", &context];
    for time in 0..TIMES {
        let run = place.run(&flags);
        // The moment is what is tried.
        thread::sleep(Duration::from_millis(random.below(LONGEST)));
        run.kill();
        wait_for_its_parts(&place);
        for pid in &processes {
            let (state, tracer) = state(*pid);
            assert!(
                state.starts_with(['S', 'R']),
                "time {time}: {pid} is {state}"
            );
            // Another test's covtap may look at a new process until it knows whose pod that is.
            let tracers_place = fs::read_link(format!("/proc/{tracer}/cwd"));
            assert!(
                tracer == "0" || tracers_place.map_or(true, |there| there != here),
                "time {time}: {pid} has tracer {tracer}"
            );
        }
    }
    let now: Vec<u32> = pods.iter().map(|name| pod(name)).collect();
    assert_eq!(now, processes, "they run on");

    let mut readable = 0;
    for run in fs::read_dir(place.path().join("store/runs")).unwrap() {
        let run = run.unwrap().path();
        let raw = fs::read_dir(run.join("raw-tap"));
        let mut builds = raw.into_iter().flatten().flatten();
        let has_counters = builds.any(|build| {
            let files = fs::read_dir(build.path()).unwrap().flatten();
            let mut names = files.filter_map(|file| file.file_name().into_string().ok());
            names.any(|name| name.starts_with("covcounters."))
        });
        let report = covtap(&place).arg("report").arg(&run).output().unwrap();
        let said = String::from_utf8_lossy(&report.stderr);
        assert_eq!(
            report.status.success(),
            has_counters,
            "{}: {said}",
            run.display()
        );
        if has_counters {
            assert!(said.contains("did not end"), "{said}");
            readable += 1;
        }
    }
    assert!(readable > 0, "no covtap lived long enough");

    let (status, said) = {
        let mut run = place.run(&flags);
        run.says(&["watching node"]);
        run.end()
    };
    assert!(status.success(), "{status}\n{said}");
    let rows = place.ledger().targets;
    let mut found: Vec<u32> = rows.iter().filter_map(|row| row.pid).collect();
    found.sort_unstable();
    let mut expected = processes;
    expected.sort_unstable();
    assert_eq!(found, expected, "{said}");
    assert!(
        rows.iter().all(|row| row.outcome == Outcome::Merged),
        "{said}"
    );
    crate::say(&format!(
        "killed {TIMES} times: the services run on, {readable} of the runs had data, and all of these are \
         reported"
    ));
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}
