//! What a look at a process costs the one who looks.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use covtap_tap::go::Attached;
use covtap_tap::image::Images;
use covtap_tap::memory::Memory;
use covtap_tap::memory::live::Live;
use covtap_tap::target::Target;

use super::process::Talking;
use super::statistics::median;
use super::{Bench, yes};
use crate::sh::{self, About, Result, cmd, fail};

/// A steady snapshot costs at most so many times the bare reads, without its validation.
const SNAPSHOT: f64 = 2.0;
/// And as a goal at most this, for the largest.
const SNAPSHOT_GOAL: Duration = Duration::from_millis(1);

/// A snapshot beside the bare reads that it makes.
pub(super) fn snapshots(bench: &Bench) -> Result {
    println!(
        "{:<20} {:>9} {:>6} {:>9} {:>9} {:>9} {:>10} {:>9}  within {SNAPSHOT} x  < {} ms",
        "program",
        "counters",
        "reads",
        "one read",
        "two reads",
        "snapshot",
        "validation",
        "ratio",
        SNAPSHOT_GOAL.as_millis()
    );
    for name in ["all/torrent", "static/torrent", "static-atomic/drill"] {
        let mut drill = drill(&bench.program(name))?;
        if name.ends_with("torrent") {
            drill.ask("burst 0")?;
        }
        let target = Target::find(drill.pid()).about(name)?;
        let mut attached = Attached::attach(target, &Images::new()).about(name)?;
        let memory = Live::open(target).about(name)?;
        let counters = attached.layout().counters;
        let length = (counters.end - counters.start) as usize;
        let (mut first, mut second) = (vec![0; length], vec![0; length]);
        // The first compares two reads; from then on one is enough while nothing new runs.
        attached.snapshot().about(name)?;
        // The same out of a buffer: no system call, all of the validation.
        let (recording, _) = attached.record().about(name)?;
        let mut recorded = Attached::replay(recording, &Images::new()).about(name)?;
        recorded.snapshot().about(name)?;
        let (mut ones, mut twos, mut ours, mut reads) = (vec![], vec![], vec![], 0);
        let mut validations = Vec::new();
        let rounds = bench.often(200, 2000);
        for _ in 0..rounds {
            ones.push(time(|| memory.read(counters.start, &mut first)).about(name)?);
            let two = time(|| {
                memory.read(counters.start, &mut first)?;
                memory.read(counters.start, &mut second)
            });
            twos.push(two.about(name)?);
            let mut made = 0;
            let one = time(|| attached.snapshot().map(|s| made = s.reads));
            ours.push(one.about(name)?);
            reads += made;
            let validation = time(|| recorded.snapshot().map(drop));
            validations.push(validation.about(name)?);
        }
        let [one, two, ours, validation] = [ones, twos, ours, validations].map(median);
        // What it makes is one read or two; the bare ones of the same number are the measure.
        let often = f64::from(reads) / f64::from(rounds);
        let bare = if often < 1.5 { one } else { two };
        let reading = ours.saturating_sub(validation);
        let ratio = reading.as_secs_f64() / bare.as_secs_f64();
        println!(
            "{name:<20} {:>6} kB {often:>6.2} {:>9} {:>9} {:>9} {:>10} {ratio:>7.1} x  {:<10} {}",
            length / 1000,
            us(one),
            us(two),
            us(ours),
            us(validation),
            yes(ratio <= SNAPSHOT),
            yes(ours < SNAPSHOT_GOAL),
        );
    }
    println!(
        "reads: how often a steady snapshot reads the counters. validation: a snapshot of the same memory, \
         recorded: all but the system calls. ratio: the rest to as many bare reads."
    );
    Ok(())
}

/// Attaching, with nothing known of the program and with a program that is known.
pub(super) fn attaching(bench: &Bench) -> Result {
    println!(
        "{:<26} {:>9} {:>9} {:>9} {:>9} {:>7} {:>9} {:>7}  within the goal",
        "program", "file", "reads", "floor", "cold", "floors", "warm", "goal"
    );
    let all = bench.program("all/torrent");
    let stripped = bench.scratch.join("stripped-torrent");
    let mut strip = cmd("strip", &["-s", "-o"]);
    sh::quiet(strip.arg(&stripped).arg(&all))?;
    let bare = bench.scratch.join("torrent-without-sections");
    let headless = headless(&stripped, &bare)?;
    let with_symbols = Duration::from_millis(30);
    let without = Duration::from_millis(60);
    let mut programs = vec![
        ("all/torrent", all, with_symbols),
        ("all/torrent, strip -s", stripped, without),
    ];
    if headless {
        programs.push(("all/torrent, no sections", bare, without));
    }
    programs.push(("atomic/drill", bench.program("atomic/drill"), with_symbols));
    programs.push(("strip/drill", bench.program("strip/drill"), without));
    for (name, path, goal) in programs {
        attach(bench, name, &path, goal)?;
    }
    println!(
        "floor: reading as many bytes of the file, and the meta-data out of the memory of the process. cold: \
         nothing is known of the program, its file is in the page cache. warm: another process of it was \
         attached before."
    );
    Ok(())
}

fn attach(bench: &Bench, name: &str, path: &Path, goal: Duration) -> Result {
    let drill = drill(path)?;
    let target = Target::find(drill.pid()).about(name)?;
    let images = Images::new();
    let before = read_so_far()?;
    let attached = Attached::attach(target, &images).about(name)?;
    let from_file = (read_so_far()? - before) as usize;
    let file = File::open(path).about(path.display())?;
    let length = file.metadata().about(path.display())?.len() as usize;
    let from_file = from_file.min(length);
    let from_memory = attached.meta().bytes().len();
    let counters = attached.layout().counters.start;
    let memory = Live::open(target).about(name)?;
    let mut buffer = vec![0; from_file];
    // Any address of the program that has as many bytes behind it will do: a piece at a time.
    let mut piece = vec![0; 4096];
    let (mut colds, mut warms, mut floors) = (vec![], vec![], vec![]);
    for _ in 0..bench.often(10, 50) {
        let cold = time(|| Attached::attach(target, &Images::new()).map(drop));
        colds.push(cold.about(name)?);
        let warm = time(|| Attached::attach(target, &images).map(drop));
        warms.push(warm.about(name)?);
        let began = Instant::now();
        file.read_exact_at(&mut buffer, 0).about(path.display())?;
        for _ in 0..from_memory.div_ceil(piece.len()) {
            let length = piece
                .len()
                .min(attached.layout().counters.end as usize - counters as usize);
            memory.read(counters, &mut piece[..length]).about(name)?;
        }
        floors.push(began.elapsed());
    }
    let [cold, warm, floor] = [colds, warms, floors].map(median);
    println!(
        "{name:<26} {:>6.1} MB {:>6.1} MB {:>9} {:>9} {:>6.1} x {:>9} {:>4} ms  {}",
        length as f64 / 1e6,
        (from_file + from_memory) as f64 / 1e6,
        us(floor),
        us(cold),
        cold.as_secs_f64() / floor.as_secs_f64(),
        us(warm),
        goal.as_millis(),
        yes(cold <= goal)
    );
    drop(drill);
    Ok(())
}

/// Starts a drill and waits until it takes commands.
fn drill(path: &Path) -> Result<Talking> {
    let mut drill = Talking::start(&mut Command::new(path))?;
    drill.line("ready")?;
    Ok(drill)
}

/// Makes a copy of an ELF file (64 bits, little-endian) that says that it has no sections; false when
/// it is no such file.
fn headless(from: &Path, to: &PathBuf) -> Result<bool> {
    let mut bytes = std::fs::read(from).about(from.display())?;
    if !bytes.starts_with(b"\x7fELF\x02\x01") || bytes.len() < 64 {
        return Ok(false);
    }
    // e_shoff; then e_shnum and e_shstrndx (elf.h, Elf64_Ehdr).
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    sh::write(to, &bytes)?;
    let permissions = std::fs::metadata(from).about(from.display())?.permissions();
    std::fs::set_permissions(to, permissions).about(to.display())?;
    Ok(true)
}

/// How many bytes this process has read out of files.
fn read_so_far() -> Result<u64> {
    let text = sh::read(Path::new("/proc/self/io"))?;
    let number = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    match number.map(str::parse) {
        Some(Ok(number)) => Ok(number),
        _ => fail!("/proc/self/io has no rchar"),
    }
}

/// How long something takes that works.
fn time<E>(work: impl FnOnce() -> std::result::Result<(), E>) -> std::result::Result<Duration, E> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

fn us(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    if us < 10_000.0 {
        format!("{us:.0} us")
    } else {
        format!("{:.1} ms", us / 1e3)
    }
}
