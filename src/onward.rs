//! The header of a request on its way to a node: what is dropped, what is set. One list for both ways to a node, the
//! stream and the fan-out.

use crate::config::Partial;
use crate::fleet::Node;
use crate::identity::Presented;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;
use std::sync::Arc;

/// A member of a zot cluster that receives this for a repository of another member ends the request with a fatal log
/// (zot `pkg/api/proxy.go`). A gateway is no member, so nobody's copy passes.
const HOP_COUNT: HeaderName = HeaderName::from_static("x-zot-cluster-hop-count");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What a client asks for, and what an answer that lacks nodes says of them. Nodes do not get it.
pub const PARTIAL: HeaderName = HeaderName::from_static("x-onezot-partial");

/// What a client asks to become of its request when a node fails; what is neither is no wish.
pub fn asked_partial(headers: &HeaderMap) -> Option<Partial> {
    let asked = headers.get(PARTIAL)?.as_bytes();
    [(Partial::Fail, "fail"), (Partial::Warn, "warn")]
        .into_iter()
        .find(|(_, name)| asked.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(partial, _)| partial)
}

/// Headers that speak of one connection, not of the request (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// Headers that would make a node's part of a fan-out something other than the whole, plain list.
const NOT_FOR_A_FAN_OUT: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::ACCEPT_ENCODING,
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// Who sent a request, as a node is told.
#[derive(Debug, Clone, Default)]
pub struct Sender {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The `Host` that the client asked for.
    pub host: Option<HeaderValue>,
    /// Whether the client came in TLS.
    pub is_secure: bool,
    /// The header that tells of the client's certificate, if there is to be one, and whom the certificate is for, if it
    /// has one.
    pub subject: Option<Edit>,
    /// Whether the client is a proxy whose word on its own clients counts.
    pub is_trusted: bool,
    /// What the client proves itself with, opened.
    pub presented: Arc<Presented>,
}

impl Sender {
    /// Where the client believes to be: scheme and authority. A trusted proxy knows better than the request itself.
    pub fn origin(&self, headers: &HeaderMap) -> Option<String> {
        let told = headers.get(FORWARDED_HOST).filter(|_| self.is_trusted);
        let host = told.or(self.host.as_ref())?.to_str().ok()?;
        let scheme = if self.came_by_tls(headers) { "https" } else { "http" };
        Some(format!("{scheme}://{host}"))
    }

    /// Whether the client asked by TLS. A trusted proxy knows better.
    pub fn came_by_tls(&self, headers: &HeaderMap) -> bool {
        let told = headers.get(FORWARDED_PROTO).filter(|_| self.is_trusted);
        told.map_or(self.is_secure, |proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
    }
}

/// One change to a header: set to a value, or dropped.
pub type Edit = (HeaderName, Option<HeaderValue>);

/// The changes that every request to `node` undergoes. `headers` is what the client sent.
pub fn edits(node: &Node, sender: &Sender, headers: &HeaderMap) -> Vec<Edit> {
    let told = |name: &HeaderName| sender.is_trusted && headers.contains_key(name);
    let forwarded_for = sender.address.and_then(|address| {
        // A proxy in front has told where the request comes from: its line is kept, ours is added.
        let earlier = headers.get_all(FORWARDED_FOR).iter().filter(|_| sender.is_trusted);
        let earlier = earlier.filter_map(|value| value.to_str().ok());
        let line: Vec<String> = earlier.map(str::to_owned).chain([address.to_string()]).collect();
        HeaderValue::from_str(&line.join(", ")).ok()
    });
    let mut edits = vec![
        (HOP_COUNT, None),
        (PARTIAL, None),
        (header::HOST, HeaderValue::from_str(&node.url.authority()).ok()),
        (FORWARDED_FOR, forwarded_for),
    ];
    if !told(&FORWARDED_PROTO) {
        let scheme = if sender.is_secure { "https" } else { "http" };
        edits.push((FORWARDED_PROTO, Some(HeaderValue::from_static(scheme))));
    }
    if !told(&FORWARDED_HOST) {
        edits.push((FORWARDED_HOST, sender.host.clone()));
    }
    if !sender.is_trusted {
        edits.push((header::FORWARDED, None));
    }
    edits.extend(sender.subject.clone());
    edits.extend(sender.presented.edits(&node.name, headers));
    edits
}

/// The fields that a header says to be of its connection.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

/// Why a node's answer cannot be used, whatever it is about: it changes the protocol, which nobody has asked for, or sends
/// its body in a way that is not known here, and may be known to the client.
pub fn unusable(status: StatusCode, headers: &HeaderMap) -> Option<&'static str> {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_known = encodings.next().is_none_or(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if status == StatusCode::SWITCHING_PROTOCOLS {
        Some("it changes the protocol")
    } else if !is_known || encodings.next().is_some() {
        Some("its body is sent in an unknown way")
    } else {
        None
    }
}

/// What of a node's answer speaks of the connection to the node, and is nothing to the client. What speaks of how the body
/// is sent is not in it: pingora sees to that.
pub fn of_the_connection(answer: &HeaderMap) -> Vec<HeaderName> {
    let mut names = nominated(answer);
    names.extend(["keep-alive", "proxy-connection"].map(HeaderName::from_static));
    names.retain(|name| {
        answer.contains_key(name) && *name != header::TRANSFER_ENCODING && *name != header::CONTENT_LENGTH
    });
    names
}

/// The header of one node's part of a fan-out.
pub fn for_fan_out(node: &Node, sender: &Sender, client: &HeaderMap) -> HeaderMap {
    let mut headers = client.clone();
    for name in nominated(client).iter().chain(&HOP_BY_HOP).chain(&NOT_FOR_A_FAN_OUT) {
        headers.remove(name);
    }
    for (name, value) in edits(node, sender, client) {
        match value {
            Some(value) => headers.insert(name, value),
            None => headers.remove(name),
        };
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::NodeUrl;

    #[test]
    fn a_fan_out_carries_who_asks_and_nothing_of_the_connection() {
        let url = NodeUrl::try_from("http://zot-1:5000".to_owned()).unwrap();
        let node = Node::new("zot-1".into(), url);
        let mut client = HeaderMap::new();
        for (name, value) in [
            ("host", "registry.example"),
            ("authorization", "Basic YTpi"),
            ("cookie", "session=x"),
            ("user-agent", "docker/27"),
            ("x-zot-cluster-hop-count", "1"),
            ("x-onezot-partial", "warn"),
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("x-mine-too", "CN=root"),
            ("range", "bytes=0-1"),
            ("if-none-match", "\"x\""),
            ("accept-encoding", "gzip"),
            ("forwarded", "for=192.0.2.1"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
        ] {
            client.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let sender = Sender {
            address: Some("203.0.113.9".parse().unwrap()),
            host: Some(HeaderValue::from_static("registry.example")),
            is_secure: false,
            subject: Some((HeaderName::from_static("x-mine-too"), None)),
            is_trusted: false,
            presented: Arc::default(),
        };
        let lines = |sender: &Sender| {
            let sent = for_fan_out(&node, sender, &client);
            let mut lines: Vec<String> =
                sent.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            lines.sort();
            lines
        };
        assert_eq!(
            lines(&sender),
            [
                "authorization: Basic YTpi",
                "cookie: session=x",
                "host: zot-1:5000",
                "user-agent: docker/27",
                "x-forwarded-for: 203.0.113.9",
                "x-forwarded-host: registry.example",
                "x-forwarded-proto: http",
            ]
        );
        let known = Some((HeaderName::from_static("x-mine-too"), Some(HeaderValue::from_static("CN=alice"))));
        let secure = lines(&Sender { is_secure: true, subject: known, ..sender.clone() });
        for line in ["x-forwarded-proto: https", "x-mine-too: CN=alice"] {
            assert!(secure.contains(&line.to_owned()), "{secure:?}");
        }
        assert_eq!(
            lines(&Sender { is_trusted: true, ..sender }),
            [
                "authorization: Basic YTpi",
                "cookie: session=x",
                "forwarded: for=192.0.2.1",
                "host: zot-1:5000",
                "user-agent: docker/27",
                "x-forwarded-for: 192.0.2.1, 203.0.113.9",
                "x-forwarded-host: registry.example",
                "x-forwarded-proto: https",
            ]
        );
    }
}
