//! One node: a registry with a disk of its own, and what is known of it at the moment.

use super::health::{Health, Leave};
use crate::room::{Room, Seat};
use crate::tls::Trust;
use arc_swap::ArcSwap;
use base64::prelude::{BASE64_STANDARD as STANDARD, Engine as _};
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use url::{Host, Url};

/// The base URL of a node: a scheme, a host, a port, and nothing else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeUrl {
    is_https: bool,
    host: Host<String>,
    port: u16,
}

impl TryFrom<String> for NodeUrl {
    type Error = String;

    fn try_from(text: String) -> Result<NodeUrl, String> {
        let problem = |what: &str| {
            format!("{text:?} is not the URL of a node: {what}; write http://HOST:PORT or https://HOST:PORT")
        };
        let url = Url::parse(&text).map_err(|error| problem(&error.to_string()))?;
        let is_https = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(problem(&format!("{other:?} is no scheme of a registry"))),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(problem("a registry is always at the root of its host, so there is no path or query"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(problem("clients bring their own credentials, so there are none here"));
        }
        match (url.host(), url.port_or_known_default()) {
            (Some(host), Some(port)) if port != 0 => Ok(NodeUrl { is_https, host: host.to_owned(), port }),
            _ => Err(problem("it has no host, or port 0")),
        }
    }
}

impl From<NodeUrl> for String {
    fn from(url: NodeUrl) -> String {
        url.to_string()
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_https { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Debug for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl NodeUrl {
    /// `host:port`, as a `Host` header of a request to the node has it.
    pub fn authority(&self) -> String {
        let default = if self.is_https { 443 } else { 80 };
        if self.port == default { self.host.to_string() } else { self.place() }
    }

    /// Host and port, both told: what no two nodes share, whatever they speak.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether the node is spoken to in TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host as certificates name it.
    pub fn server_name(&self) -> String {
        match &self.host {
            Host::Ipv6(ip) => ip.to_string(),
            host => host.to_string(),
        }
    }

    /// Whether the host is this name.
    pub fn is_at(&self, name: &str) -> bool {
        matches!(&self.host, Host::Domain(host) if host.eq_ignore_ascii_case(name))
    }

    /// The addresses, if the host is an address itself.
    fn literal(&self) -> Option<SocketAddr> {
        let ip = match self.host {
            Host::Ipv4(ip) => IpAddr::V4(ip),
            Host::Ipv6(ip) => IpAddr::V6(ip),
            Host::Domain(_) => return None,
        };
        Some(SocketAddr::new(ip, self.port))
    }
}

/// A node of the fleet.
#[derive(Debug)]
pub struct Node {
    /// The name under which errors and logs speak of it.
    pub name: String,
    /// Where it is.
    pub url: NodeUrl,
    trust: Option<Trust>,
    addresses: ArcSwap<Vec<SocketAddr>>,
    /// Whether discovery knows the addresses, so that nobody looks them up.
    is_found: bool,
    /// Which of the addresses is used; moved on when one fails.
    turn: AtomicUsize,
    /// What is known of its health.
    pub health: Health,
    /// Bounds the requests that are under way there.
    room: Room,
    credentials: Option<Credentials>,
}

impl Node {
    /// A node at `url`. A host name has no address before [`Node::resolve`].
    pub fn new(name: String, url: NodeUrl) -> Node {
        let addresses = url.literal().into_iter().collect();
        Node {
            name,
            url,
            trust: None,
            addresses: ArcSwap::from_pointee(addresses),
            is_found: false,
            turn: AtomicUsize::new(0),
            health: Health::default(),
            room: Room::new(usize::MAX, Duration::ZERO),
            credentials: None,
        }
    }

    /// The same node, whose addresses discovery knows; none while it is away.
    pub fn found_at(self, addresses: Vec<SocketAddr>) -> Node {
        Node { addresses: ArcSwap::from_pointee(addresses), is_found: true, ..self }
    }

    /// The same with room for so many requests at a time; one more waits for `queue` at most.
    pub fn bounded(self, in_flight: usize, queue: Duration) -> Node {
        Node { room: Room::new(in_flight, queue), ..self }
    }

    /// The same with what onezot proves itself with there.
    pub fn with_credentials(self, credentials: Option<Credentials>) -> Node {
        Node { credentials, ..self }
    }

    /// What onezot proves itself with there, in requests of its own and in no others.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Whether another one stands for the same registry: what is known of one is known of the other.
    pub fn is_same(&self, other: &Node) -> bool {
        let Node { name, url, is_found, trust, credentials, .. } = self;
        (name, url, is_found) == (&other.name, &other.url, &other.is_found)
            && (trust, credentials) == (&other.trust, &other.credentials)
    }

    /// The same node, spoken to in TLS.
    pub fn trusting(self, trust: Trust) -> Node {
        Node { trust: Some(trust), ..self }
    }

    /// What its certificate is verified by; `None` for a node that is spoken to in plain HTTP.
    pub fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// Whether its certificate is verified; `None` for a node in plain HTTP.
    pub fn verified(&self) -> Option<bool> {
        self.url.is_https().then(|| self.trust.as_ref().is_none_or(Trust::verifies))
    }

    /// Learns from a later one of the same registry where that was found.
    pub fn moves_to(&self, later: &Node) {
        let found = later.addresses.load_full();
        if self.is_found && *self.addresses.load() != found {
            self.addresses.store(found);
        }
    }

    /// Asks the system's resolver for the addresses of the node's host; the last known ones stay when it fails.
    pub async fn resolve(&self) -> std::io::Result<()> {
        let Host::Domain(host) = &self.url.host else { return Ok(()) };
        if self.is_found {
            return Ok(());
        }
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), self.url.port)).await?.collect();
        if found.is_empty() {
            return Err(std::io::Error::other("the name has no address"));
        }
        if **self.addresses.load() != found {
            self.addresses.store(Arc::new(found));
        }
        Ok(())
    }

    /// Whether the host is a name, which has to be resolved again and again.
    pub fn has_name(&self) -> bool {
        matches!(self.url.host, Host::Domain(_)) && !self.is_found
    }

    /// Whether it may be somewhere else by now.
    pub fn may_move(&self) -> bool {
        self.is_found || self.has_name()
    }

    /// The addresses known at the moment, the one that is used first.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = self.addresses.load().to_vec();
        let turn = self.turn.load(Ordering::Relaxed) % addresses.len().max(1);
        addresses.rotate_left(turn);
        addresses
    }

    /// The address to connect to; `None` while the name has not been resolved.
    pub fn address(&self) -> Option<SocketAddr> {
        self.addresses().first().copied()
    }

    /// Notes that there was no connection to an address: the next one is used from now on. Of several requests that
    /// fail at one address, the first moves on.
    pub fn address_failed(&self, failed: SocketAddr) {
        let turn = self.turn.load(Ordering::Relaxed);
        let addresses = self.addresses.load();
        if addresses.get(turn % addresses.len().max(1)) == Some(&failed) {
            // Whoever was faster has moved on already.
            let next = turn.wrapping_add(1);
            let _ = self.turn.compare_exchange(turn, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Leave to send it a request, now or after a short wait.
    ///
    /// # Errors
    ///
    /// It is known to be silent, or too much is under way there.
    pub async fn admit(self: &Arc<Node>) -> Result<Pass, Denied> {
        if self.health.is_shut() {
            return Err(Denied::Silent);
        }
        let seat = self.room.enter().await.ok_or(Denied::Full)?;
        let leave = self.health.leave().ok_or(Denied::Silent)?;
        Ok(Pass { node: self.clone(), is_trial: leave == Leave::Trial, _seat: seat })
    }

    /// Has the bounds of another one from now on.
    pub fn bounded_as(&self, other: &Node) {
        self.room.resize_as(&other.room);
    }

    /// How many requests are under way there.
    pub fn in_flight(&self) -> usize {
        self.room.taken()
    }
}

/// Leave to send a request to a node. It counts there as long as this is held.
#[derive(Debug)]
pub struct Pass {
    node: Arc<Node>,
    is_trial: bool,
    _seat: Seat,
}

impl Pass {
    /// Whether it is for this node.
    pub fn is_for(&self, node: &Node) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.node), node)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.is_trial {
            self.node.health.trial_ended();
        }
    }
}

/// Why no request is sent to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// It is known to be silent.
    Silent,
    /// Too much is under way there.
    Full,
}

/// What onezot proves itself with to a node, in requests of its own: the value of `Authorization`. It is not printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials(HeaderValue);

impl Credentials {
    /// Those of a text `user:password`; `None` if it is none.
    pub fn basic(text: &str) -> Option<Credentials> {
        let is_plain = !text.chars().any(char::is_control);
        text.split_once(':').filter(|(user, _)| is_plain && !user.is_empty())?;
        let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(text))).ok()?;
        // Neither `Debug` nor what sends it shows it.
        value.set_sensitive(true);
        Some(Credentials(value))
    }

    /// The value of the header.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

#[cfg(test)]
impl Node {
    /// A node whose addresses are known.
    pub(crate) fn at(url: &str, addresses: Vec<SocketAddr>) -> Node {
        #[allow(clippy::unwrap_used)]
        let node = Node::new(url.to_owned(), NodeUrl::try_from(url.to_owned()).unwrap());
        node.addresses.store(Arc::new(addresses));
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<NodeUrl, String> {
        NodeUrl::try_from(text.to_owned())
    }

    #[test]
    fn a_node_url_is_scheme_host_and_port() {
        assert_eq!(url("http://zot-0.zot:5000/").unwrap().to_string(), "http://zot-0.zot:5000");
        assert_eq!(url("http://[::1]:5000").unwrap().authority(), "[::1]:5000");
        assert_eq!(url("http://zot").unwrap().authority(), "zot");
        assert_eq!(url("https://zot:443").unwrap().to_string(), "https://zot");
        assert_eq!(url("https://zot:80").unwrap().authority(), "zot:80");
        assert_eq!(url("https://zot").unwrap().place(), url("http://zot:443").unwrap().place());
        for bad in [
            "zot:5000",
            "",
            "http://",
            "ftp://zot",
            "https://",
            "http://zot/v2",
            "http://zot?x",
            "http://a:b@zot",
            "http://zot:0",
            "http://zot:99999",
        ] {
            let problem = url(bad).unwrap_err();
            assert!(problem.contains("write http://HOST:PORT or https://HOST:PORT"), "{bad}: {problem}");
        }
    }

    #[tokio::test]
    async fn names_are_resolved_and_failures_keep_what_is_known() {
        let local = Node::new("a".into(), url("http://localhost:5000").unwrap());
        assert_eq!(local.address(), None);
        local.resolve().await.unwrap();
        assert!(local.address().unwrap().ip().is_loopback());
        let nowhere = Node::new("b".into(), url("http://nowhere.invalid:5000").unwrap());
        assert!(nowhere.resolve().await.is_err());
        assert_eq!(nowhere.address(), None);
    }

    #[test]
    fn an_address_that_fails_gives_way_to_the_next() {
        let both: Vec<SocketAddr> = vec!["127.0.0.1:1".parse().unwrap(), "127.0.0.2:1".parse().unwrap()];
        let node = Node::at("http://zot:5000", both.clone());
        assert_eq!(node.address(), Some(both[0]));
        node.health.was_unreachable("late");
        assert_eq!(node.address(), Some(both[0]), "a node that is late is not elsewhere");
        for _ in 0..3 {
            node.address_failed(both[0]);
            assert_eq!(node.addresses(), [both[1], both[0]]);
        }
        assert!(node.health.is_suspect());
        node.health.was_heard();
        assert!(!node.health.is_suspect());
    }

    #[test]
    fn credentials_are_a_user_and_a_password_and_are_not_printed() {
        let credentials = Credentials::basic("me:a:b").unwrap();
        assert_eq!(credentials.header(), "Basic bWU6YTpi");
        let node = Node::new("a".into(), url("http://a").unwrap()).with_credentials(Some(credentials));
        let printed = format!("{node:?}");
        assert!(printed.contains("Sensitive") && !printed.contains("bWU6YTpi"), "{printed}");
        for bad in ["", "me", ":secret", "me:a\nb"] {
            assert_eq!(Credentials::basic(bad), None, "{bad:?}");
        }
    }

    #[tokio::test]
    async fn requests_to_a_node_are_bounded_and_counted() {
        let node = Arc::new(Node::new("a".into(), url("http://a").unwrap()).bounded(1, Duration::from_millis(1)));
        let pass = node.admit().await.unwrap();
        assert_eq!((node.in_flight(), node.admit().await.unwrap_err()), (1, Denied::Full));
        drop(pass);
        assert!(node.admit().await.is_ok());
    }
}
