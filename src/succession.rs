//! The succession: when the configuration or the membership changes, another gateway takes the place of the one before.
//!
//! One swap at a time, all at once: a request sees the old gateway or the new one, and ends on the one that it began with.
//! The background work of the old fleet ends with the swap.

use crate::config::{Changes, Config};
use crate::discovery::{self, Member};
use crate::fleet::Fleet;
use crate::front::Current;
use crate::health;
use crate::proxy::Gateway;
use crate::telemetry;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// How long a start or a swap waits for the names of nodes that are new, and a start for the first membership; requests are
/// taken all the same after that.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// One gateway after another.
pub struct Succession {
    current: Arc<Current>,
    state: Mutex<State>,
    /// Told of nodes that could not be reached.
    stale: Arc<Notify>,
    /// Whether there has been a membership.
    found: watch::Sender<bool>,
}

/// What is held while one gateway replaces another.
struct State {
    /// The members that discovery has found; `None` where they are written down.
    members: Option<Vec<Member>>,
    /// The background work of the fleet that counts.
    _background: AbortOnDropHandle<()>,
    /// Where the nodes are looked for.
    _discovery: Option<AbortOnDropHandle<()>>,
}

impl Succession {
    /// Begins with this configuration, and these nodes if they are written down. `in_flight` counts the requests under way.
    pub async fn begin(config: Arc<Config>, fleet: Fleet, in_flight: TaskTracker) -> Arc<Succession> {
        let stale = Arc::new(Notify::new());
        let fleet = fleet.telling(stale.clone());
        resolve(&fleet).await;
        let (found, mut is_found) = watch::channel(!fleet.nodes().is_empty());
        let current = Arc::new(Current::new(Gateway::new(config.clone(), Arc::new(fleet), in_flight)));
        let state = State { members: None, _background: background(&current), _discovery: None };
        let succession = Arc::new(Succession { current, state: Mutex::new(state), stale, found });
        succession.state.lock().await._discovery = succession.discover(&config);
        if timeout(FIRST_LOOK, is_found.wait_for(|found| *found)).await.is_err() {
            tracing::warn!("no node has been found yet; requests are answered with 503");
        }
        succession
    }

    /// The gateway that requests begin with.
    pub fn current(&self) -> Arc<Current> {
        self.current.clone()
    }

    /// Goes on with another configuration, without what of it counts at the start only. Says what changes.
    ///
    /// # Errors
    ///
    /// What is wrong with it together with the nodes that have been found: the key, and the problem.
    pub async fn reload(self: &Arc<Succession>, config: Config) -> Result<Changes, (String, String)> {
        let mut state = self.state.lock().await;
        let mut before = Config::clone(self.current.gateway().config());
        let nodes = before.nodes.clone();
        if before.discovery.source().is_some() {
            // These are not written down.
            before.nodes.clear();
        }
        let (config, changes) = config.replacing(&before);
        let is_found = config.discovery.source().is_some();
        // Who is looked for elsewhere from now on stays until that is found.
        let stay = || nodes.into_iter().map(Member::from).collect();
        let members = is_found.then(|| state.members.clone().unwrap_or_else(stay));
        self.replace(&mut state, config, members).await?;
        let config = self.current.gateway().config().clone();
        if config.discovery != before.discovery {
            self.current.gateway().readiness().discovery_says(None);
            state._discovery = self.discover(&config);
        }
        telemetry::set_level(&config.log.level);
        Ok(changes)
    }

    /// Goes on with another membership.
    async fn apply(&self, members: Vec<Member>) -> Result<(), String> {
        let mut state = self.state.lock().await;
        let config = Config::clone(self.current.gateway().config());
        let replaced = self.replace(&mut state, config, Some(members)).await;
        replaced.map_err(|(key, problem)| format!("{key}: {problem}"))?;
        self.found.send_replace(true);
        Ok(())
    }

    async fn replace(
        &self,
        state: &mut State,
        mut config: Config,
        members: Option<Vec<Member>>,
    ) -> Result<(), (String, String)> {
        let fleet = match &members {
            Some(members) => {
                config.nodes = members.iter().map(|member| member.node.clone()).collect();
                if !members.is_empty() {
                    config.check_nodes()?;
                }
                config.fleet_of(members)
            }
            None => config.fleet(),
        };
        let fleet = fleet.telling(self.stale.clone()).succeeding(self.current.gateway().fleet());
        resolve(&fleet).await;
        self.current.replace(Arc::new(config), Arc::new(fleet));
        state.members = members;
        state._background = background(&self.current);
        Ok(())
    }

    /// Looks for the nodes from now on, if they are not written down. It ends with the succession.
    fn discover(self: &Arc<Succession>, config: &Config) -> Option<AbortOnDropHandle<()>> {
        config.discovery.source()?;
        let (discovery, stale, succession) = (config.discovery.clone(), self.stale.clone(), Arc::downgrade(self));
        Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let apply = |members| {
                let succession = Weak::upgrade(&succession);
                async move {
                    match succession {
                        Some(succession) => succession.apply(members).await,
                        None => Ok(()),
                    }
                }
            };
            let tell = |problem| {
                if let Some(succession) = Weak::upgrade(&succession) {
                    succession.current.gateway().readiness().discovery_says(problem);
                }
            };
            discovery::follow(discovery, stale, apply, tell).await;
        })))
    }
}

/// Looks up the names of nodes that are new, so that the first request does not find them without an address.
async fn resolve(fleet: &Fleet) {
    if timeout(FIRST_LOOK, fleet.resolve_new()).await.is_err() {
        tracing::warn!("the names of the nodes take long to look up");
    }
}

/// Starts the background work of the fleet that counts now.
fn background(current: &Current) -> AbortOnDropHandle<()> {
    let gateway = current.gateway();
    let (fleet, scatter, checks) = (gateway.fleet().clone(), gateway.scatter(), gateway.config().health.clone());
    AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::join!(fleet.keep_resolved(), health::check_all(scatter, checks));
    }))
}
