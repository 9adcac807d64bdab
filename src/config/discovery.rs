//! Where the nodes come from when they are not written down in the configuration.

use super::NodeTls;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the nodes come from, instead of `nodes`: one of `file`, `dns`, `kubernetes`, or none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    /// A file with the list of nodes, in the form of `nodes`. It is watched.
    pub file: Option<PathBuf>,
    /// The name of SRV records, such as `_http._tcp.zot.registry.svc.cluster.local`.
    pub dns: Option<String>,
    /// The name server that is asked, `IP:PORT`; the system's without it.
    pub dns_server: Option<SocketAddr>,
    /// The headless service of a StatefulSet, `[NAMESPACE/]SERVICE[:PORT]`, whose EndpointSlices are watched.
    pub kubernetes: Option<String>,
    /// How to reach the API server; without it, as a pod does, or as kubectl.
    pub kubeconfig: Option<PathBuf>,
    /// TLS to nodes that DNS or Kubernetes finds at `https://`, as `tls` of a node.
    pub tls: Option<NodeTls>,
    /// Fewer members than these are not believed.
    pub at_least: usize,
    /// How long a change of the membership waits for the next one before it counts.
    #[serde(with = "humantime_serde")]
    pub settle: Duration,
    /// How long a member that DNS or Kubernetes does not name any more stays one, without an address.
    #[serde(with = "humantime_serde")]
    pub forget_after: Duration,
}

impl Default for Discovery {
    fn default() -> Discovery {
        Discovery {
            file: None,
            dns: None,
            dns_server: None,
            kubernetes: None,
            kubeconfig: None,
            tls: None,
            at_least: 1,
            settle: Duration::from_secs(1),
            forget_after: Duration::from_secs(5 * 60),
        }
    }
}

/// One way to find nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source<'a> {
    /// A file.
    File(&'a Path),
    /// The name of SRV records.
    Dns(&'a str),
    /// A service.
    Kubernetes(Service<'a>),
}

/// A service of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service<'a> {
    /// Its namespace; without it, that of onezot itself.
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// The name or the number of the port; without it, there is only one.
    pub port: Option<&'a str>,
}

impl<'a> Service<'a> {
    /// Reads `[NAMESPACE/]SERVICE[:PORT]`.
    fn read(text: &'a str) -> Option<Service<'a>> {
        let (service, port) = text.split_once(':').map_or((text, None), |(service, port)| (service, Some(port)));
        let (namespace, name) = match service.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, service),
        };
        let is_label = |text: &str| {
            let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !text.is_empty() && text.len() < 64 && text.chars().all(is_part)
        };
        let all = [namespace, Some(name), port];
        all.iter().flatten().all(|part| is_label(part)).then_some(Service { namespace, name, port })
    }
}

impl Discovery {
    /// Where the nodes come from; `None` if they are written down. The configuration has been checked: there is one.
    pub fn source(&self) -> Option<Source<'_>> {
        if let Some(file) = &self.file {
            return Some(Source::File(file));
        }
        if let Some(name) = &self.dns {
            return Some(Source::Dns(name));
        }
        self.kubernetes.as_deref().and_then(Service::read).map(Source::Kubernetes)
    }

    /// What is wrong: the key below `discovery`, and the problem.
    pub(super) fn check(&self, has_nodes: bool) -> Result<(), (&'static str, String)> {
        let sources =
            [("file", self.file.is_some()), ("dns", self.dns.is_some()), ("kubernetes", self.kubernetes.is_some())];
        let mut given = sources.iter().filter(|(_, is_given)| *is_given).map(|(key, _)| *key);
        let first = given.next();
        if let (Some(first), Some(second)) = (first, given.next()) {
            return Err((second, format!("discovery.{first} says where the nodes are already; leave one out")));
        }
        if let Some(key) = first.filter(|_| has_nodes) {
            return Err((key, "there are nodes already; leave out nodes, or this".to_owned()));
        }
        if let Some(name) = self.dns.as_deref().filter(|name| !name.starts_with('_')) {
            let problem = format!(
                "{name:?} has addresses only, and an address does not say which node it is, so that no repository has a \
                 place; name the SRV records of a headless service, such as _http._tcp.zot.registry.svc.cluster.local"
            );
            return Err(("dns", problem));
        }
        if let Some(text) = self.kubernetes.as_deref().filter(|text| Service::read(text).is_none()) {
            return Err(("kubernetes", format!("{text:?} is no service; write [NAMESPACE/]SERVICE[:PORT]")));
        }
        if cfg!(not(feature = "kubernetes")) && self.kubernetes.is_some() {
            let problem = "this onezot is built without Kubernetes; build it with --features kubernetes, or use \
                discovery.dns";
            return Err(("kubernetes", problem.to_owned()));
        }
        if self.at_least == 0 {
            return Err(("at_least", "0 is too little to work with; at least 1".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_a_name_and_may_have_a_namespace_and_a_port() {
        for (text, service) in [
            ("zot", Some((None, "zot", None))),
            ("registry/zot", Some((Some("registry"), "zot", None))),
            ("registry/zot:http", Some((Some("registry"), "zot", Some("http")))),
            ("zot:5000", Some((None, "zot", Some("5000")))),
            ("", None),
            ("a/b/c", None),
            ("zot:", None),
            ("Zot", None),
        ] {
            let read = Service::read(text).map(|service| (service.namespace, service.name, service.port));
            assert_eq!(read, service, "{text}");
        }
    }
}
