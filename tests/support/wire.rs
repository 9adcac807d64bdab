//! A client that sends bytes as they are, and gateways for it to talk to.

use onezot::config::{Config, Flags};
use onezot::server::{self, Running};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An address where nothing listens.
pub async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// The configuration of a gateway over nodes named `zot-0`, `zot-1` …, changed by `yaml`. Nodes get no checks unless it
/// says so: they are asked what a test asks.
pub fn config(nodes: &[SocketAddr], yaml: &str) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    let flags = Flags {
        listen: vec!["127.0.0.1:0".into()],
        nodes: nodes.iter().enumerate().map(|(i, address)| format!("zot-{i}=http://{address}")).collect(),
        ..Flags::default()
    };
    let mut config = Config::load(Some(file.path()), [], &flags).unwrap();
    if !yaml.contains("health:") {
        config.health.interval = std::time::Duration::ZERO;
    }
    config
}

/// Starts a gateway over `nodes`.
pub async fn gateway(nodes: &[SocketAddr], yaml: &str) -> Running {
    server::start(config(nodes, yaml)).await.unwrap()
}

/// An answer as a client got it.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Got {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Sends a request that consists of its header, and reads the answer to the end of the connection.
pub async fn get(to: SocketAddr, target: &str) -> Got {
    send(to, &format!("GET {target} HTTP/1.1\r\nHost: registry.example\r\nConnection: close\r\n\r\n")).await
}

/// Sends bytes as they are, and reads one answer to the end of the connection.
pub async fn send(to: SocketAddr, request: impl AsRef<[u8]>) -> Got {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_ref()).await.unwrap();
    let mut bytes = Vec::new();
    // A reset after the answer is an end, too.
    let _ = stream.read_to_end(&mut bytes).await;
    parse(&bytes)
}

/// Reads an answer that came whole.
pub fn parse(bytes: &[u8]) -> Got {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
    let header = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = header.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let chunked = headers.iter().any(|(k, v)| k.eq_ignore_ascii_case("transfer-encoding") && v == "chunked");
    let body = &bytes[end + 4..];
    Got { status, headers, body: if chunked { unchunk(body) } else { body.to_vec() } }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        let Some(chunk) = rest.get(end + 2..end + 2 + size) else { break };
        body.extend_from_slice(chunk);
        rest = rest.get(end + 2 + size + 2..).unwrap_or_default();
    }
    body
}
