//! The container engines of this machine: which there are, what runs in them.
//!
//! ```text
//! address ──► connect ──► list, then events since the list ──► seen ──► facts
//!    ▲           │ refused, denied, gone: said once                 └──► kind: clusters of nodes
//!    └─ back-off ┘
//! ```

pub(crate) mod act;
pub(crate) mod address;
mod connect;
mod kind;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use self::address::Address;
use self::connect::{Failure, connect};
use self::kind::Kinds;
use crate::backoff::Backoff;
use crate::facts::{Engine, Facts};
use crate::news::News;
use crate::world::World;

/// How many containers are asked for at once.
const AT_ONCE: usize = 8;

/// Follows the engine at an address for ever: it may come, go and come again.
pub(crate) async fn follow(world: Arc<World>, address: Address) {
    let mut backoff = Backoff::new();
    let mut kinds = Kinds::default();
    loop {
        let failure = match connect(&address).await {
            Ok((docker, engine)) => {
                world.engines.put(&engine.address, docker.clone());
                world.shared.change(|facts| put_engine(facts, &engine));
                let session = Session {
                    world: &world,
                    docker: &docker,
                    engine: &engine,
                };
                session.follow(&mut kinds, &mut backoff).await
            }
            Err(failure) => failure,
        };
        if let Some(problem) = failure.problem(&address) {
            world.shared.trouble(problem);
        }
        world.shared.settle(&awaited(&address));
        backoff.wait().await;
    }
}

/// The name of the first list that is awaited.
pub(crate) fn awaited(address: &Address) -> String {
    format!("engine {address}")
}

fn put_engine(facts: &mut Facts, engine: &Engine) -> Vec<News> {
    match facts
        .engines
        .iter_mut()
        .find(|e| e.address == engine.address)
    {
        Some(known) => known.clone_from(engine),
        None => facts.engines.push(engine.clone()),
    }
    vec![News::Engine(engine.clone())]
}

/// One connection to an engine, until it breaks.
struct Session<'a> {
    world: &'a Arc<World>,
    docker: &'a Docker,
    engine: &'a Engine,
}

impl Session<'_> {
    /// Lists, then follows events. Why that ended.
    async fn follow(&self, kinds: &mut Kinds, backoff: &mut Backoff) -> Failure {
        // Events are asked for since the moment before the list: none falls between the two.
        let since = SystemTime::now();
        if let Err(error) = self.list().await {
            return Failure::Broken(error);
        }
        self.attend(kinds);
        self.world
            .shared
            .settle(&format!("engine {}", self.engine.address));
        let options = EventsOptionsBuilder::default()
            .since(&seconds(since))
            .filters(&[("type", vec!["container"])].into())
            .build();
        let mut events = self.docker.events(Some(options));
        loop {
            match events.next().await {
                Some(Ok(event)) => {
                    backoff.reset();
                    if let Err(error) = self.event(event).await {
                        return Failure::Broken(error);
                    }
                    self.attend(kinds);
                }
                Some(Err(error)) => return Failure::Broken(error),
                None => return Failure::Ended,
            }
        }
    }

    /// What runs now; what is known to have run and does not, has ended.
    async fn list(&self) -> Result<(), bollard::errors::Error> {
        let options = ListContainersOptionsBuilder::default().build();
        let listed = self.docker.list_containers(Some(options)).await?;
        let running: HashSet<String> = listed.into_iter().filter_map(|c| c.id).collect();
        let asked: Vec<_> = running.iter().map(|id| self.inspect(id)).collect();
        let answers: Vec<_> = stream::iter(asked)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let now = SystemTime::now();
        self.world.shared.change(|facts| {
            let lost: Vec<String> = known_to_run(facts, self.engine)
                .filter(|id| !running.contains(*id))
                .map(str::to_owned)
                .collect();
            let mut news: Vec<News> = lost
                .iter()
                .filter_map(|id| seen::gone(facts, id, now, None))
                .collect();
            for seen in answers
                .into_iter()
                .flatten()
                .filter_map(|a| seen::seen(self.engine, a))
            {
                news.extend(seen::put(facts, seen));
            }
            news
        });
        Ok(())
    }

    /// What the engine says about a container; none when it has it no more.
    async fn inspect(
        &self,
        id: &str,
    ) -> Result<Option<ContainerInspectResponse>, bollard::errors::Error> {
        match self
            .docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await
        {
            Ok(answer) => Ok(Some(answer)),
            Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Something happened to a container.
    async fn event(&self, event: EventMessage) -> Result<(), bollard::errors::Error> {
        let Some((id, attributes)) = event
            .actor
            .filter(|_| event.typ == Some(EventMessageTypeEnum::CONTAINER))
            .and_then(|actor| Some((actor.id?, actor.attributes.unwrap_or_default())))
        else {
            return Ok(());
        };
        let at = event_time(event.time_nano).unwrap_or_else(SystemTime::now);
        let exit_code = attributes
            .get("exitCode")
            .and_then(|code| code.parse().ok());
        match event.action.as_deref() {
            // Podman says died and remove where Docker says die and destroy.
            Some("start" | "rename" | "die" | "died") => match self.inspect(&id).await? {
                Some(answer) => {
                    if let Some(seen) = seen::seen(self.engine, answer) {
                        self.world.shared.change(|facts| seen::put(facts, seen));
                    }
                }
                None if event.action.as_deref() == Some("start") => {
                    let seen = seen::seen_in_event(self.engine, id, &attributes, at);
                    self.world.shared.change(|facts| seen::put(facts, seen));
                }
                None => self.gone(&id, at, exit_code),
            },
            Some("destroy" | "remove") => {
                self.gone(&id, at, exit_code);
                self.world
                    .shared
                    .change(|facts| kind::removed(facts, &id, at));
            }
            _ => {}
        }
        Ok(())
    }

    fn gone(&self, id: &str, at: SystemTime, exit_code: Option<i64>) {
        self.world
            .shared
            .change(|facts| seen::gone(facts, id, at, exit_code).into_iter().collect());
    }

    /// Kind clusters begin and end with their control planes.
    fn attend(&self, kinds: &mut Kinds) {
        kinds.attend(self.world, self.docker, self.engine);
    }
}

/// The containers of an engine, nodes among them, that are known to run.
fn known_to_run<'a>(facts: &'a Facts, engine: &Engine) -> impl Iterator<Item = &'a str> {
    let address = engine.address.clone();
    let nodes = facts
        .nodes
        .iter()
        .filter(move |node| node.engine.as_ref() == Some(&address) && node.ended.is_none())
        .filter_map(|node| node.container.as_deref());
    let address = engine.address.clone();
    let containers = facts
        .containers
        .iter()
        .filter(move |container| container.engine == address && container.ended.is_none())
        .map(|container| container.id.as_str());
    nodes.chain(containers)
}

/// A time as the engine takes it: seconds and nanoseconds since 1970.
fn seconds(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

/// A time of an event.
fn event_time(nanoseconds: Option<i64>) -> Option<SystemTime> {
    let nanoseconds = u64::try_from(nanoseconds?).ok()?;
    Some(UNIX_EPOCH + Duration::from_nanos(nanoseconds))
}
