//! Nodes behind the SRV records of a name, as a headless service of Kubernetes has them.
//!
//! The target of a record says which node it is: its first label is the node's name. Where it is, is the target's address.
//! Neither the order of answers nor priority and weight count: every node is asked for what it has.

use super::{Member, Sighting};
use crate::config::NodeConfig;
use crate::fleet::NodeUrl;
use futures::future::join_all;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;

/// An answer counts as long as it says, within these bounds.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(30);
/// When a look-up that failed is made again.
const AGAIN: Duration = Duration::from_secs(1);
/// For one try at one name server.
const PATIENCE: Duration = Duration::from_secs(2);
/// More targets than this are a mistake, or somebody's wish to fill the memory.
const MOST_TARGETS: usize = 1024;

/// Looks up the name, and again when the answer is not fresh any more or a node cannot be reached.
pub async fn watch(name: &str, server: Option<SocketAddr>, stale: &Notify, seen: &Sender<Sighting>) {
    let resolver = match resolver(server) {
        Ok(resolver) => resolver,
        Err(error) => {
            let _ = seen.send(Err(format!("the name servers of this system are not known: {error}"))).await;
            // Without one, there is nothing to look at.
            return std::future::pending().await;
        }
    };
    loop {
        let (sighting, fresh_for) = match look(&resolver, name).await {
            Ok((members, until)) => {
                let left = until.saturating_duration_since(Instant::now());
                (Ok(members), left.clamp(SOONEST, LATEST))
            }
            Err(problem) => (Err(problem), AGAIN),
        };
        if seen.send(sighting).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(fresh_for) => {}
            () = stale.notified() => sleep(SOONEST).await,
        }
    }
}

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let mut builder = match server {
        Some(server) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            let server = NameServerConfig::new(server.ip(), true, connections.into());
            let config = ResolverConfig::from_name_servers(vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
        None => TokioResolver::builder_tokio()?,
    };
    let options = builder.options_mut();
    // Answers are not kept: who looks again wants to know.
    options.cache_size = 0;
    options.timeout = PATIENCE;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build()
}

/// What there is now, and until when that counts.
async fn look(resolver: &TokioResolver, name: &str) -> Result<(Vec<Member>, Instant), String> {
    let answer = match resolver.lookup(name, RecordType::SRV).await {
        Ok(answer) => answer,
        Err(error) if error.is_no_records_found() => return Ok((Vec::new(), Instant::now() + SOONEST)),
        Err(error) => return Err(format!("SRV {name}: {error}")),
    };
    let until = answer.valid_until();
    let targets: Vec<(String, u16)> = answer
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some((srv.target.to_ascii().trim_end_matches('.').to_lowercase(), srv.port)),
            _ => None,
        })
        .collect();
    if targets.len() > MOST_TARGETS {
        return Err(format!("SRV {name}: {} targets are more than {MOST_TARGETS}", targets.len()));
    }
    let scheme = if name.starts_with("_https.") { "https" } else { "http" };
    let members = join_all(targets.iter().map(|(target, port)| member(resolver, scheme, target, *port))).await;
    let members: Vec<Member> = members.into_iter().collect::<Result<_, String>>()?;
    let has_twice =
        |member: &Member| members.iter().filter(|other| other.node.name() == member.node.name()).count() > 1;
    if let Some(member) = members.iter().find(|member| has_twice(member)) {
        return Err(format!("SRV {name}: there is more than one record for {}", member.node.name()));
    }
    Ok((members, until))
}

/// The node at a target. One whose target has no address now is away; who does not answer says nothing about that.
async fn member(resolver: &TokioResolver, scheme: &str, target: &str, port: u16) -> Result<Member, String> {
    let label = target.split('.').next().unwrap_or_default();
    let addresses: Vec<IpAddr> = match resolver.lookup_ip(format!("{target}.")).await {
        Ok(found) => found.iter().collect(),
        Err(error) if error.is_no_records_found() => Vec::new(),
        Err(error) => return Err(format!("the address of {target}: {error}")),
    };
    if is_no_name(label, &addresses) {
        return Err(format!(
            "{target} does not say which node it is; name the pods, as a StatefulSet does whose serviceName is that of the \
             headless service"
        ));
    }
    let url = NodeUrl::try_from(format!("{scheme}://{target}:{port}"))?;
    let mut addresses: Vec<SocketAddr> = addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    // The order of answers is chance.
    addresses.sort();
    Ok(Member { node: NodeConfig::at(Some(label.to_owned()), url), addresses: Some(addresses) })
}

/// Whether a label is made of an address or a number, as that of a pod without a hostname is: another one tomorrow
/// (Kubernetes, DNS-Based Service Discovery, section 2.4).
fn is_no_name(label: &str, addresses: &[IpAddr]) -> bool {
    let dashed = |ip: &IpAddr| label == ip.to_string().replace(['.', ':'], "-");
    label.is_empty() || label.chars().all(|c| c.is_ascii_digit()) || addresses.iter().any(dashed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_name() {
        let at: [IpAddr; 1] = ["10.1.2.3".parse().unwrap()];
        for (label, is_none) in [("10-1-2-3", true), ("3836386137", true), ("", true), ("zot-0", false), ("a", false)] {
            assert_eq!(is_no_name(label, &at), is_none, "{label}");
        }
    }
}
