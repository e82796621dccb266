//! Kubernetes clusters: their pods, nodes and owners, by lists and watches that survive the API
//! server.
//!
//! ```text
//! kubeconfig ┐                    ┌ pods of each namespace ─┐
//!            ├─ Source ─► follow ─┤                         ├─► book ─► put ─► facts
//! Kind node ─┘                    └ nodes   owners ◄────────┘ wanted
//! ```

pub(crate) mod ask;
mod book;
pub(crate) mod exec;
pub(crate) mod kubeconfig;
mod owners;
pub(crate) mod pod;
mod put;
pub(crate) mod trouble;

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use covtap_model::problem::Problem;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt, select_all};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::config::Config;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, utils::Backoff as KubeBackoff};
use kube::{Api, Client};

use self::book::{Book, Change, Wanted};
use self::trouble::Request;
use crate::backoff::Backoff;
use crate::facts::{Cluster, Facts};
use crate::news::News;
use crate::selection::Home;
use crate::world::World;

/// How many owners are asked for at once.
const AT_ONCE: usize = 8;
/// How long a watch goes on before it is asked for anew, in seconds. A connection that has died
/// without a word is noticed five seconds later.
const WATCH: u32 = 60;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// A cluster that can be followed.
pub(crate) struct Source {
    /// Its name everywhere.
    pub(crate) name: String,
    /// Whether it was found as containers of an engine.
    pub(crate) kind: bool,
    /// How it is reached.
    pub(crate) config: Config,
    /// Which namespaces are meant when none was named.
    pub(crate) home: Home,
    /// The namespaces that are watched; none for all of them at once.
    pub(crate) namespaces: Vec<String>,
}

/// The name of the first list that is awaited.
pub(crate) fn awaited(name: &str) -> String {
    format!("cluster {name}")
}

/// A cluster has ended: its pods are gone.
pub(crate) fn ended(facts: &mut Facts, name: &str, at: SystemTime) -> Vec<News> {
    put::only(facts, name, |_| false, at)
}

/// What a watch tells.
enum Told {
    /// About pods, from the watch of this number.
    Pods(usize, Box<watcher::Result<Event<Pod>>>),
    /// About nodes.
    Nodes(Box<watcher::Result<Event<Node>>>),
}

/// Follows a cluster for ever, or until its configuration turns out to be of no use.
pub(crate) async fn follow(world: &World, source: Source) {
    let Source {
        name,
        kind,
        mut config,
        home,
        namespaces,
    } = source;
    config.connect_timeout = Some(CONNECT);
    // It would hide for minutes that a server is too busy. What asks here tries again by itself.
    config.default_retry = false;
    let server = config.cluster_url.to_string();
    // A configuration may name a program that logs in, which takes its time.
    let made = tokio::task::spawn_blocking(move || Client::try_from(config)).await;
    let mut following = Following {
        world,
        name: &name,
        book: Book::new(world.options.selection.clone(), home),
        namespaces: &namespaces,
        said: HashSet::new(),
        lists: namespaces.len().max(1),
        listed: HashSet::new(),
        tried: HashSet::new(),
        compared: false,
        queue: VecDeque::new(),
    };
    let client = match made {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => {
            let request = following.request("connect to", "the API", None);
            world.shared.trouble(trouble::of(request, &error).1);
            world.shared.settle(&awaited(&name));
            return;
        }
        // Its thread panicked, and its hook has said so.
        Err(_) => return,
    };
    world.clusters.put(&name, client.clone());
    let version = following.version(&client).await;
    let cluster = Cluster {
        name: name.clone(),
        server,
        kind,
        version,
    };
    world.shared.change(|facts| put::cluster(facts, &cluster));
    following.watch(&client).await;
}

/// One cluster that is followed.
struct Following<'a> {
    world: &'a World,
    name: &'a str,
    book: Book,
    namespaces: &'a [String],
    /// Kinds of trouble that were said, by what was asked for.
    said: HashSet<(&'static str, usize, trouble::Kind)>,
    /// How many lists of pods there are.
    lists: usize,
    /// Which of them have come in.
    listed: HashSet<usize>,
    /// Which of them have come in, or cannot be had for now.
    tried: HashSet<usize>,
    /// What earlier followers of this cluster knew has been compared with the lists.
    compared: bool,
    /// Owners that wait to be asked for.
    queue: VecDeque<Wanted>,
}

impl Following<'_> {
    /// Asks for the server's version until it answers anything at all.
    async fn version(&mut self, client: &Client) -> Option<String> {
        let mut backoff = Backoff::new();
        loop {
            let error = match client.apiserver_version().await {
                Ok(version) => return Some(version.git_version),
                Err(error) => error,
            };
            // Some servers tell strangers nothing, and some answers are none of this request's.
            if matches!(&error, kube::Error::Api(status) if [401, 403, 404].contains(&status.code))
            {
                return None;
            }
            let found = trouble::of(self.request("get", "/version", None), &error);
            self.say("version", 0, found);
            self.world.shared.settle(&awaited(self.name));
            backoff.wait().await;
        }
    }

    /// Watches pods and nodes, and asks for owners.
    async fn watch(&mut self, client: &Client) {
        let config = || watcher::Config::default().timeout(WATCH);
        let mut streams: Vec<Pin<Box<dyn Stream<Item = Told> + Send>>> = Vec::new();
        for number in 0..self.lists {
            let api: Api<Pod> = match self.namespaces.get(number) {
                Some(namespace) => Api::namespaced(client.clone(), namespace),
                None => Api::all(client.clone()),
            };
            streams.push(
                watcher(api, config())
                    .backoff(Retry(Backoff::new()))
                    .map(move |event| Told::Pods(number, Box::new(event)))
                    .boxed(),
            );
        }
        streams.push(
            watcher(Api::all(client.clone()), config())
                .backoff(Retry(Backoff::new()))
                .map(|event| Told::Nodes(Box::new(event)))
                .boxed(),
        );
        let mut told = select_all(streams);
        let mut asked = FuturesUnordered::new();
        loop {
            while asked.len() < AT_ONCE
                && let Some(wanted) = self.queue.pop_front()
            {
                asked.push(owners::ask(client.clone(), self.name.to_owned(), wanted));
            }
            tokio::select! {
                Some(told) = told.next() => match told {
                    Told::Pods(number, event) => self.pods(number, *event),
                    Told::Nodes(event) => self.nodes(*event),
                },
                Some(answer) = asked.next() => {
                    if let Some(problem) = answer.problem {
                        self.world.shared.trouble(problem);
                    }
                    let change = self.book.owned_by(&answer.uid, answer.owner);
                    self.apply(change);
                }
            }
            // The owners of the pods of the first lists belong to these.
            if self.tried.len() == self.lists && self.queue.is_empty() && asked.is_empty() {
                self.world.shared.settle(&awaited(self.name));
            }
        }
    }

    fn pods(&mut self, number: usize, event: watcher::Result<Event<Pod>>) {
        let change = match event {
            Ok(Event::Init) => {
                self.book.list_begins(number);
                Change::default()
            }
            Ok(Event::InitApply(pod) | Event::Apply(pod)) => match pod::read(self.name, pod) {
                Some(read) => self.book.seen(number, read),
                None => Change::default(),
            },
            Ok(Event::Delete(pod)) => self.deleted(number, pod),
            Ok(Event::InitDone) => {
                let change = self.book.list_ends(number);
                self.listed.insert(number);
                self.tried.insert(number);
                self.compare();
                change
            }
            Err(error) => {
                let namespace = self.namespaces.get(number).map(String::as_str);
                let request = self.request("watch", "pods", namespace);
                if let Some(found) = trouble::of_watch(request, &error) {
                    self.say("pods", number, found);
                    self.tried.insert(number);
                }
                Change::default()
            }
        };
        self.apply(change);
    }

    /// The last state of a pod comes with its deletion: how its containers ended.
    fn deleted(&mut self, number: usize, pod: Pod) -> Change {
        let Some(read) = pod::read(self.name, pod) else {
            return Change::default();
        };
        let uid = read.pod.uid.clone();
        let mut change = self.book.seen(number, read);
        change.gone = self.book.deleted(&uid).gone;
        change
    }

    fn nodes(&mut self, event: watcher::Result<Event<Node>>) {
        let name = self.name;
        match event {
            Ok(Event::InitApply(node) | Event::Apply(node)) => self
                .world
                .shared
                .change(|facts| put::node(facts, name, &node).into_iter().collect()),
            Ok(Event::Delete(node)) => {
                let gone = node.metadata.name.unwrap_or_default();
                let at = SystemTime::now();
                self.world
                    .shared
                    .change(|facts| put::node_gone(facts, name, &gone, at).into_iter().collect());
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => {
                let request = Request {
                    effect: "architecture and readiness of its nodes are not known",
                    ..self.request("watch", "nodes", None)
                };
                if let Some(found) = trouble::of_watch(request, &error) {
                    self.say("nodes", 0, found);
                }
            }
        }
    }

    fn apply(&mut self, change: Change) {
        self.queue.extend(change.wanted);
        let at = SystemTime::now();
        let name = self.name;
        self.world.shared.change(|facts| {
            let mut news: Vec<News> = change
                .pods
                .into_iter()
                .filter_map(|pod| put::pod(facts, pod))
                .collect();
            news.extend(
                change
                    .gone
                    .iter()
                    .filter_map(|uid| put::pod_gone(facts, name, uid, at)),
            );
            news
        });
    }

    /// What an earlier follower of this cluster knew and no list has, is gone.
    fn compare(&mut self) {
        if self.compared || self.listed.len() < self.lists {
            return;
        }
        self.compared = true;
        let (name, book, at) = (self.name, &self.book, SystemTime::now());
        self.world
            .shared
            .change(|facts| put::only(facts, name, |uid| book.has(uid), at));
    }

    fn request<'a>(
        &'a self,
        verb: &'a str,
        resource: &'a str,
        namespace: Option<&'a str>,
    ) -> Request<'a> {
        Request {
            cluster: self.name,
            verb,
            resource,
            namespace,
            effect: "its pods are not followed until it answers; it is tried again",
        }
    }

    /// Says trouble of a kind once.
    fn say(&mut self, what: &'static str, number: usize, found: (trouble::Kind, Problem)) {
        if self.said.insert((what, number, found.0)) {
            self.world.shared.trouble(found.1);
        }
    }
}

/// The pauses between tries, for kube's streams.
struct Retry(Backoff);

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0.step())
    }
}

impl KubeBackoff for Retry {
    fn reset(&mut self) {
        self.0.reset();
    }
}
