//! Nodes behind a headless service of Kubernetes, by its EndpointSlices.
//!
//! Which node an endpoint is, says the name of its pod, which a StatefulSet numbers. An endpoint that is not ready is a
//! member all the same: placement does not move because a pod restarts.

use super::roster::ordinal;
use super::{Member, Sighting};
use crate::config::{NodeConfig, Service};
use crate::fleet::NodeUrl;
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_slices};
use kube::{Api, Client, Config, ResourceExt};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;

/// The label that names the service of a slice (Kubernetes, EndpointSlices, "Ownership").
const SERVICE: &str = "kubernetes.io/service-name";
/// When it is tried again to be a client at all.
const AGAIN: Duration = Duration::from_secs(5);
/// For the API server to take a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one watch lasts before the next one takes over where it ended (seconds).
const WATCH: u32 = 290;

/// Lists the slices and watches them. Whatever ends the watch, it goes on where it ended, or lists again.
pub async fn watch(service: &Service<'_>, kubeconfig: Option<&Path>, seen: &Sender<Sighting>) {
    loop {
        let problem = match client(kubeconfig).await {
            Ok((client, namespace)) => follow(service, client, &namespace, seen).await,
            Err(problem) => problem,
        };
        if seen.send(Err(problem)).await.is_err() {
            return;
        }
        sleep(AGAIN).await;
    }
}

/// A client of the API server, and the namespace that it is at home in.
async fn client(kubeconfig: Option<&Path>) -> Result<(Client, String), String> {
    let mut config = match kubeconfig {
        Some(file) => {
            let kubeconfig = Kubeconfig::read_from(file).map_err(|error| error.to_string())?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| error.to_string())?
        }
        None => Config::infer().await.map_err(|error| error.to_string())?,
    };
    config.connect_timeout = Some(CONNECT);
    let namespace = config.default_namespace.clone();
    Ok((Client::try_from(config).map_err(|error| error.to_string())?, namespace))
}

async fn follow(service: &Service<'_>, client: Client, home: &str, seen: &Sender<Sighting>) -> String {
    let namespace = service.namespace.unwrap_or(home);
    let slices: Api<EndpointSlice> = Api::namespaced(client, namespace);
    let config = watcher::Config::default().labels(&format!("{SERVICE}={}", service.name)).timeout(WATCH);
    let events = watch_slices(slices, config).default_backoff();
    pin_mut!(events);
    let mut known: BTreeMap<String, EndpointSlice> = BTreeMap::new();
    // What a list has brought so far.
    let mut listed: BTreeMap<String, EndpointSlice> = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(slice)) => {
                listed.insert(slice.name_any(), slice);
                continue;
            }
            Ok(Event::InitDone) => known = std::mem::take(&mut listed),
            Ok(Event::Apply(slice)) => drop(known.insert(slice.name_any(), slice)),
            Ok(Event::Delete(slice)) => drop(known.remove(&slice.name_any())),
            Err(error) => {
                if seen.send(Err(error.to_string())).await.is_err() {
                    break;
                }
                continue;
            }
        }
        if seen.send(members(service, namespace, known.values())).await.is_err() {
            break;
        }
    }
    "the watch has ended".to_owned()
}

/// The nodes of some slices. One node may be in several: an address family has its own.
fn members<'a>(service: &Service, namespace: &str, slices: impl Iterator<Item = &'a EndpointSlice>) -> Sighting {
    let mut found: BTreeMap<String, Member> = BTreeMap::new();
    for slice in slices {
        if slice.endpoints.is_empty() {
            continue;
        }
        let (port, scheme) = port(service, slice.ports.as_deref().unwrap_or_default())?;
        for endpoint in &slice.endpoints {
            let name = name(endpoint)?;
            let url = format!("{scheme}://{name}.{}.{namespace}.svc:{port}", service.name);
            let node = NodeConfig::at(Some(name.to_owned()), NodeUrl::try_from(url)?);
            let member = Member { node, addresses: Some(Vec::new()) };
            let member = found.entry(name.to_owned()).or_insert(member);
            let ips = endpoint.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
            member.addresses.get_or_insert_default().extend(ips.map(|ip| SocketAddr::new(ip, port)));
        }
    }
    let mut members: Vec<Member> = found.into_values().collect();
    for addresses in members.iter_mut().filter_map(|member| member.addresses.as_mut()) {
        addresses.sort();
        addresses.dedup();
    }
    Ok(members)
}

/// The name of the pod behind an endpoint.
fn name(endpoint: &Endpoint) -> Result<&str, String> {
    let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    let name = endpoint.hostname.as_deref().or(pod.and_then(|pod| pod.name.as_deref()));
    name.filter(|name| ordinal(name).is_some()).ok_or_else(|| {
        format!(
            "{} is not numbered; the service has to be that of a StatefulSet (its serviceName)",
            name.map_or_else(
                || format!("the endpoint at {}", endpoint.addresses.join(", ")),
                |name| format!("pod {name}")
            )
        )
    })
}

/// The number of the port and the scheme that is spoken there.
fn port(service: &Service, ports: &[EndpointPort]) -> Result<(u16, &'static str), String> {
    let is_meant = |port: &&EndpointPort| match service.port {
        Some(wanted) => port.name.as_deref() == Some(wanted) || port.port.is_some_and(|it| it.to_string() == wanted),
        None => true,
    };
    let mut meant = ports.iter().filter(is_meant);
    let (Some(port), None) = (meant.next(), meant.next()) else {
        let there_are: Vec<String> = ports
            .iter()
            .map(|port| format!("{}:{}", port.name.as_deref().unwrap_or_default(), port.port.unwrap_or_default()))
            .collect();
        return Err(format!(
            "it is not clear which port of the service is meant of [{}]; write SERVICE:PORT",
            there_are.join(", ")
        ));
    };
    let speaks_tls = [&port.app_protocol, &port.name].into_iter().flatten().any(|name| name.starts_with("https"));
    let number = port.port.and_then(|number| u16::try_from(number).ok()).filter(|number| *number != 0);
    Ok((number.ok_or("the port of the service has no number")?, if speaks_tls { "https" } else { "http" }))
}
