//! What steps do to a service: in which order it is stopped, waited for, flushed, copied from.

use covtap_model::facts::repository::{Flow, FlowKind, Step, is_open};

use super::{ENGINES, Tree};

/// Calls in calls are followed no deeper, and no more steps than these are looked at.
const DEEPEST: usize = 6;
const MOST: usize = 3000;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Coverage files are copied out of something that may run.
    Copy,
    /// It is asked to end, and the step does not wait for it.
    Stop,
    /// It is asked to end, and the step waits.
    StopAndWait,
    /// It is ended without a chance to write.
    Kill,
    /// Somebody waits until it is gone, or looks again and again.
    Wait,
    /// Somebody waits for a while.
    Sleep,
    /// The cluster, or everything with its volumes, is removed.
    Destroy,
    /// It is asked to write while it runs.
    Flush,
    /// Collected files are read.
    Report,
    /// Services or their cluster are started.
    Start,
}

/// A step that does something, and what.
#[derive(Clone, Copy)]
pub(crate) struct Performed<'a> {
    pub(crate) act: Act,
    pub(crate) step: &'a Step,
}

/// What a step does.
pub(crate) fn act(step: &Step) -> Option<Act> {
    if step.call {
        return of_call(step);
    }
    let program = step.program();
    let said = |word: &str| step.words.iter().any(|w| w == word);
    let kubectl = matches!(program, "kubectl" | "oc");
    let engine = ENGINES.contains(&program);
    let signal = step.words.iter().find_map(|w| {
        let w = w
            .strip_prefix("--signal=")
            .or_else(|| w.strip_prefix('-'))?;
        let w = w.strip_prefix("SIG").unwrap_or(w);
        matches!(
            w,
            "USR1" | "USR2" | "HUP" | "TERM" | "INT" | "KILL" | "9" | "2" | "15" | "10" | "12"
        )
        .then_some(w)
    });
    let signal = signal.or_else(|| {
        step.flag(&["--signal", "-s"])
            .map(|s| s.strip_prefix("SIG").unwrap_or(s))
    });
    let flushes = matches!(signal, Some("USR1" | "USR2" | "HUP" | "10" | "12"));
    if step.runs(&["go", "tool", "covdata"]) || matches!(program, "covdata" | "gocovmerge") {
        return Some(Act::Report);
    }
    if starts(step) {
        return Some(Act::Start);
    }
    if program == "sleep" {
        return Some(Act::Sleep);
    }
    if (program == "kind" && said("delete"))
        || (matches!(program, "k3d" | "minikube") && said("delete"))
    {
        return Some(Act::Destroy);
    }
    if kubectl {
        return of_kubectl(step);
    }
    if engine || program == "docker-compose" {
        let compose = program == "docker-compose" || said("compose");
        if compose && (said("down") || said("stop")) {
            let cut = step.flag(&["-t", "--timeout"]) == Some("0");
            let volumes = said("-v") || said("--volumes");
            return Some(match (cut, volumes) {
                (true, _) => Act::Kill,
                (_, true) => Act::Destroy,
                _ => Act::StopAndWait,
            });
        }
        if said("exec") {
            let words = step.words.join(" ");
            return (flushes || words.contains("USR1")).then_some(Act::Flush);
        }
        if said("cp") && concerns_coverage(step) {
            return Some(Act::Copy);
        }
        if said("stop") {
            let cut = step.flag(&["-t", "--time", "--timeout"]) == Some("0");
            return Some(if cut { Act::Kill } else { Act::StopAndWait });
        }
        if said("kill") {
            return Some(match signal {
                Some("TERM" | "INT" | "15" | "2") => Act::Stop,
                Some(_) if flushes => Act::Flush,
                _ => Act::Kill,
            });
        }
        if said("wait") {
            return Some(Act::Wait);
        }
        return (said("rm") && (said("-f") || said("--force") || said("-fv"))).then_some(Act::Kill);
    }
    match program {
        "kill" | "pkill" | "killall" => Some(match signal {
            Some("9" | "KILL") => Act::Kill,
            Some(_) if flushes => Act::Flush,
            _ if said("-0") => Act::Wait,
            _ => Act::Stop,
        }),
        "wait" => Some(Act::Wait),
        "helm" if said("uninstall") || said("delete") => Some(if said("--wait") {
            Act::StopAndWait
        } else {
            Act::Stop
        }),
        "curl" | "wget" if concerns_coverage(step) => Some(Act::Flush),
        _ => None,
    }
}

fn starts(step: &Step) -> bool {
    const STARTS: [&[&str]; 9] = [
        &["kubectl", "apply"],
        &["kubectl", "create"],
        &["oc", "apply"],
        &["kind", "create"],
        &["docker", "run"],
        &["podman", "run"],
        &["docker", "compose", "up"],
        &["docker-compose", "up"],
        &["helm", "install"],
    ];
    STARTS.iter().any(|words| step.runs(words)) || step.runs(&["helm", "upgrade"])
}

fn of_kubectl(step: &Step) -> Option<Act> {
    let said = |word: &str| step.words.iter().any(|w| w == word);
    let verb = step.words.iter().skip(1).find(|w| {
        matches!(
            w.as_str(),
            "cp" | "scale"
                | "delete"
                | "wait"
                | "exec"
                | "rsync"
                | "rollout"
                | "get"
                | "apply"
                | "patch"
                | "drain"
        )
    })?;
    match verb.as_str() {
        "cp" | "rsync" if concerns_coverage(step) => Some(Act::Copy),
        "scale" if step.flag(&["--replicas"]) == Some("0") => Some(Act::Stop),
        "wait" => {
            let what = step.flag(&["--for"]).unwrap_or_default();
            what.starts_with("delete").then_some(Act::Wait)
        }
        "get" if said("pods") || said("pod") || said("po") => Some(Act::Wait),
        "delete" => {
            let grace = step.flag(&["--grace-period"]);
            if said("--force") || matches!(grace, Some("0" | "1")) || said("--now") {
                return Some(Act::Kill);
            }
            let pods = step.words.iter().any(|w| {
                matches!(w.as_str(), "pod" | "pods" | "po" | "ns" | "namespace")
                    || w.starts_with("pod/")
                    || w.starts_with("ns/")
                    || w.starts_with("namespace/")
            });
            let waits = pods && step.flag(&["--wait"]) != Some("false") && !said("--wait=false");
            Some(if waits { Act::StopAndWait } else { Act::Stop })
        }
        "exec" => {
            let words = step.words.join(" ");
            if words.contains("USR1") || words.contains("USR2") {
                Some(Act::Flush)
            } else if words.contains(" tar ") && concerns_coverage(step) {
                Some(Act::Copy)
            } else if words.contains(" kill ") {
                Some(Act::Stop)
            } else {
                None
            }
        }
        _ => None,
    }
}

fn of_call(step: &Step) -> Option<Act> {
    let name = step.words[0].as_str();
    let last = name.rsplit('.').next().unwrap_or(name);
    let arguments = step.words[1..].join(" ");
    match last {
        "Sleep" | "sleep" if name.contains("time") => Some(Act::Sleep),
        "Kill" if name.ends_with("Process.Kill") => Some(Act::Kill),
        "kill" if name.ends_with(".kill") => Some(Act::Kill),
        "terminate" => Some(Act::Stop),
        "Signal" if arguments.contains("USR") => Some(Act::Flush),
        "Signal" if name.contains("Process") => Some(
            if arguments.contains("KILL") || arguments.contains("os.Kill") {
                Act::Kill
            } else {
                Act::Stop
            },
        ),
        "Wait" | "wait" if !name.contains("wg") && !name.contains("group") => Some(Act::Wait),
        "Delete"
            if name.contains("Pods(")
                || name.contains("Deployments(")
                || name.contains("Namespaces(") =>
        {
            Some(Act::Stop)
        }
        "UpdateScale" => Some(Act::Stop),
        _ if ["wait", "await", "poll", "gone"]
            .iter()
            .any(|w| last.to_ascii_lowercase().contains(w)) =>
        {
            Some(Act::Wait)
        }
        "Eventually" | "EventuallyWithOffset" | "Consistently" => Some(Act::Wait),
        _ => None,
    }
}

/// Whether a step speaks of coverage files.
pub(crate) fn concerns_coverage(step: &Step) -> bool {
    step.words.iter().skip(1).any(|w| {
        let w = w.to_ascii_lowercase();
        w.contains("cover")
            || w.contains("covdata")
            || w.contains("gocov")
            || w.contains("covmeta")
            || w.contains("covcounters")
    })
}

/// The seconds of a sleep.
pub(crate) fn seconds(step: &Step) -> Option<u64> {
    let text = step.words.get(1)?.trim_matches(['$', '{', '}']);
    if let Ok(seconds) = text.trim_end_matches('s').parse() {
        return Some(seconds);
    }
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    let unit = if text.contains("Minute") || text.ends_with('m') {
        60
    } else if text.contains("Second") {
        1
    } else {
        return None;
    };
    Some(unit * number.parse::<u64>().unwrap_or(1))
}

impl<'a> Tree<'a> {
    /// The steps of a flow, with those of what it calls in their place.
    pub(crate) fn expanded(&self, flow: &'a Flow) -> Vec<&'a Step> {
        let mut out = Vec::new();
        self.expand(flow, &mut vec![flow], &mut out);
        out
    }

    /// What the steps do, in their order. What was cleaned away before the last start is left out.
    pub(crate) fn performed(&self, flow: &'a Flow) -> Vec<Performed<'a>> {
        let steps = self.expanded(flow).into_iter();
        let acts: Vec<Performed<'_>> = steps
            .filter_map(|step| {
                Some(Performed {
                    act: act(step)?,
                    step,
                })
            })
            .collect();
        let last = acts
            .iter()
            .rposition(|p| matches!(p.act, Act::Copy | Act::Report))
            .unwrap_or(acts.len());
        let started = acts[..last]
            .iter()
            .rposition(|p| p.act == Act::Start)
            .map_or(0, |n| n + 1);
        acts[started..].to_vec()
    }

    /// Flows of a name: the target, the function, the file without its folder.
    fn named(&self, name: &str) -> impl Iterator<Item = &'a Flow> {
        let flows = &self.repository.flows;
        let numbers = self
            .index
            .named
            .get(name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        numbers.iter().filter_map(move |n| flows.get(*n))
    }

    fn target(&self, name: &str) -> Option<&'a Flow> {
        let short = name.rsplit('/').next().unwrap_or(name);
        self.named(short)
            .find(|f| f.kind == FlowKind::Target && f.name == name)
    }

    fn expand(&self, flow: &'a Flow, above: &mut Vec<&'a Flow>, out: &mut Vec<&'a Step>) {
        if flow.kind == FlowKind::Target {
            for need in &flow.needs {
                self.enter(self.target(need), above, out);
            }
        }
        for step in &flow.steps {
            if out.len() > MOST {
                return;
            }
            out.push(step);
            self.enter(self.called(flow, step), above, out);
            if step.program() == "make" && !step.call {
                let words = step.words.iter().skip(1);
                for word in words.filter(|w| !w.starts_with('-') && !w.contains('=') && !is_open(w))
                {
                    self.enter(self.target(word), above, out);
                }
            }
        }
    }

    fn enter(&self, flow: Option<&'a Flow>, above: &mut Vec<&'a Flow>, out: &mut Vec<&'a Step>) {
        if let Some(flow) = flow
            && above.len() < DEEPEST
            && !above.iter().any(|a| std::ptr::eq(*a, flow))
        {
            above.push(flow);
            self.expand(flow, above, out);
            above.pop();
        }
    }

    /// The flow that a step calls.
    fn called(&self, flow: &Flow, step: &Step) -> Option<&'a Flow> {
        if step.call {
            return self.called_in_code(flow, &step.words[0]);
        }
        let word = step.words.first()?;
        let of_file =
            |f: &&Flow| f.kind == FlowKind::ShellFunction && f.place.file == flow.place.file;
        if let Some(function) = self.named(word).find(of_file) {
            return Some(function);
        }
        let script = match step.program() {
            "bash" | "sh" | "source" | "." => step.words.get(1)?,
            _ if word.ends_with(".sh") || word.contains('/') => word,
            _ => return None,
        };
        let tail = script.rsplit(['}', '$']).next().unwrap_or(script);
        let tail = tail.trim_start_matches("./").trim_start_matches('/');
        let fits = |f: &&Flow| {
            f.kind == FlowKind::Script && (f.name == tail || f.name.ends_with(&format!("/{tail}")))
        };
        self.named(tail.rsplit('/').next()?).find(fits)
    }

    fn called_in_code(&self, flow: &Flow, name: &str) -> Option<&'a Flow> {
        let folder = |f: &Flow| {
            f.place
                .file
                .rsplit_once('/')
                .map_or("", |(d, _)| d)
                .to_owned()
        };
        let of_go = |f: &&Flow| matches!(f.kind, FlowKind::Go | FlowKind::GoTest);
        let Some((package, name)) = name.rsplit_once('.') else {
            let here = folder(flow);
            let near = |f: &&Flow| folder(f) == here;
            let same = self.named(name).filter(near).find(|f| f.kind == flow.kind);
            return same.or_else(|| self.named(name).filter(of_go).find(near));
        };
        let fits = |f: &&Flow| folder(f).rsplit('/').next() == Some(package);
        // A method of something: only if one function has this name.
        let mut all = self.named(name).filter(of_go);
        let only = match (all.next(), all.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        };
        self.named(name).filter(of_go).find(fits).or(only)
    }
}
