//! Discovery: nodes that are found instead of written down. Each way to find them tells what it sees; what of that counts
//! as the membership is decided in `roster`, and takes effect as another configuration does.
//!
//! Who does not answer (DNS, the API server, a file that is gone) changes nothing: the members stay.

mod dns;
mod file;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod roster;

use crate::config::{Config, Discovery, NodeConfig, Source};
use roster::Roster;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

/// How many times as long as a change settles it may be put off by others.
const SETTLES_AT_MOST: u32 = 5;
/// When members that could not be used are tried again: another configuration may fit them.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// How long a command waits for the nodes.
const ONCE: Duration = Duration::from_secs(10);
/// How many sightings wait for their turn.
const BACKLOG: usize = 16;

/// A member of the fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// What is configured for it, or was found.
    pub node: NodeConfig,
    /// Where it is, if that is known here; none while it is away. `None`: its host is looked up.
    pub addresses: Option<Vec<SocketAddr>>,
}

impl From<NodeConfig> for Member {
    fn from(node: NodeConfig) -> Member {
        Member { node, addresses: None }
    }
}

impl Member {
    /// The same with what is configured for all that are found.
    fn with(mut self, discovery: &Discovery) -> Member {
        if self.addresses.is_some() && self.node.url.is_https() {
            self.node.tls.clone_from(&discovery.tls);
        }
        self
    }
}

/// What is seen: all that there are, or why that is not known.
type Sighting = Result<Vec<Member>, String>;

/// Tells what there is, again and again, until nobody listens. `stale` says that a node could not be reached.
async fn watch(discovery: &Discovery, stale: &Notify, seen: &mpsc::Sender<Sighting>) {
    match discovery.source() {
        Some(Source::File(path)) => file::watch(path, seen).await,
        Some(Source::Dns(name)) => dns::watch(name, discovery.dns_server, stale, seen).await,
        #[cfg(feature = "kubernetes")]
        Some(Source::Kubernetes(service)) => {
            kubernetes::watch(&service, discovery.kubeconfig.as_deref(), seen).await;
        }
        // A configuration that asks for more than was built is refused.
        #[cfg(not(feature = "kubernetes"))]
        Some(Source::Kubernetes(_)) => {}
        None => {}
    }
}

/// Follows the membership, and gives each new one to `apply`, which says what is wrong with it. `tell` is told why the
/// members cannot be found or used at the moment, and that they can.
pub async fn follow<F>(
    discovery: Discovery,
    stale: Arc<Notify>,
    apply: impl Fn(Vec<Member>) -> F,
    tell: impl Fn(Option<String>),
) where
    F: Future<Output = Result<(), String>>,
{
    let (sender, mut sightings) = mpsc::channel(BACKLOG);
    let watching = watch(&discovery, &stale, &sender);
    let counting = async {
        let mut roster = Roster::new(&discovery);
        let mut applied: Vec<Member> = Vec::new();
        let mut lost = false;
        // When the changes that wait began, and when they count.
        let mut settling: Option<(Instant, Instant)> = None;
        let mut looked = Instant::now();
        // Why the members cannot be used, and when they are tried again.
        let mut refused: Option<(String, Instant)> = None;
        loop {
            let again = refused.as_ref().map(|(_, at)| *at);
            let next = [settling.map(|(_, at)| at), roster.next_change(looked), again].into_iter().flatten().min();
            tokio::select! {
                sighting = sightings.recv() => match sighting {
                    None => return,
                    Some(Err(cause)) => {
                        if !std::mem::replace(&mut lost, true) {
                            tracing::warn!(cause, members = applied.len(), "the nodes cannot be found; the members stay");
                        }
                        tell(Some(cause));
                        continue;
                    }
                    Some(Ok(seen)) => {
                        if seen.is_empty() {
                            let cause = "there is no node";
                            if !std::mem::replace(&mut lost, true) {
                                tracing::warn!(cause, members = applied.len(), "no node was found; the members stay");
                            }
                            tell(Some(cause.to_owned()));
                            continue;
                        }
                        if std::mem::take(&mut lost) {
                            tracing::info!("the nodes can be found again");
                        }
                        tell(None);
                        let now = Instant::now();
                        roster.see(seen, now);
                        let began = settling.map_or(now, |(began, _)| began);
                        // The first membership is waited for.
                        let pause = if applied.is_empty() { Duration::ZERO } else { discovery.settle };
                        let at = (now + pause).min(began + discovery.settle * SETTLES_AT_MOST);
                        settling = Some((began, at));
                        continue;
                    }
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            settling = None;
            looked = Instant::now();
            let members = members(&mut roster, &discovery, looked);
            if members.is_empty() {
                tell(Some(format!("there are fewer nodes than discovery.at_least, {}", discovery.at_least)));
            }
            if members.is_empty() || members == applied {
                refused = None;
                continue;
            }
            match apply(members.clone()).await {
                Ok(()) => {
                    log(&applied, &members);
                    tell(None);
                    (applied, refused) = (members, None);
                }
                Err(problem) => {
                    if refused.as_ref().is_none_or(|(before, _)| *before != problem) {
                        tracing::error!(problem, "the nodes that were found cannot be used; the members stay");
                    }
                    tell(Some(problem.clone()));
                    refused = Some((problem, Instant::now() + TRY_AGAIN));
                }
            }
        }
    };
    tokio::select! {
        () = watching => {}
        () = counting => {}
    }
}

fn members(roster: &mut Roster, discovery: &Discovery, now: Instant) -> Vec<Member> {
    roster.members(now).into_iter().map(|member| member.with(discovery)).collect()
}

/// Looks once, for a command.
///
/// # Errors
///
/// Why the nodes cannot be found.
pub async fn look(mut config: Config) -> Result<Config, String> {
    if config.discovery.source().is_none() {
        return Ok(config);
    }
    let (discovery, stale) = (config.discovery.clone(), Notify::new());
    let (sender, mut sightings) = mpsc::channel(BACKLOG);
    let first = async {
        let mut roster = Roster::new(&discovery);
        let mut why = "there are too few nodes".to_owned();
        while let Some(sighting) = sightings.recv().await {
            match sighting {
                Ok(seen) => roster.see(seen, Instant::now()),
                Err(cause) => why = cause,
            }
            let members = members(&mut roster, &discovery, Instant::now());
            if !members.is_empty() {
                return Ok(members);
            }
            if matches!(discovery.source(), Some(Source::File(_))) {
                break;
            }
        }
        Err(why)
    };
    let found = tokio::select! {
        () = watch(&discovery, &stale, &sender) => Err("nobody looks for them".to_owned()),
        found = timeout(ONCE, first) => found.unwrap_or_else(|_| Err(format!("nobody answered within {ONCE:?}"))),
    };
    let members = found.map_err(|why| format!("the nodes cannot be found: {why}"))?;
    config.nodes = members.into_iter().map(|member| member.node).collect();
    config.check_nodes().map_err(|(key, problem)| format!("{key}: {problem}"))?;
    Ok(config)
}

/// Says what is different.
fn log(before: &[Member], after: &[Member]) {
    let find = |members: &[Member], name: &str| members.iter().find(|member| member.node.name() == name).cloned();
    for member in after {
        let (name, url) = (member.node.name(), &member.node.url);
        match find(before, &name) {
            None => tracing::info!(node = name, %url, addresses = ?member.addresses, "a node is added"),
            Some(old) if old.node != member.node => {
                tracing::info!(node = name, before = %old.node.url, %url, "a node is another one now");
            }
            Some(old) if old.addresses != member.addresses => {
                tracing::info!(node = name, before = ?old.addresses, addresses = ?member.addresses, "a node moved");
            }
            Some(_) => {}
        }
    }
    for gone in before.iter().filter(|member| find(after, &member.node.name()).is_none()) {
        tracing::info!(node = gone.node.name(), url = %gone.node.url, "a node is removed");
    }
}
