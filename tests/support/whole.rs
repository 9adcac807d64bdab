//! A client that sees whether an answer came whole, and that an answer comes at all.

use super::wire;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than any answer takes: what is not there by then hangs.
const HANG: Duration = Duration::from_secs(40);
/// How much of an answer is read.
pub const ENOUGH: usize = 3 << 20;

/// An answer, and whether it came whole.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub is_whole: bool,
}

impl Got {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// Sends a request, with `Connection: close` in it, and reads the answer to the end of the connection.
pub async fn send(to: SocketAddr, request: Vec<u8>) -> Result<Got, String> {
    tokio::time::timeout(HANG, exchange(to, request)).await.map_err(|_| "it hangs".to_owned())?
}

async fn exchange(to: SocketAddr, request: Vec<u8>) -> Result<Got, String> {
    let mut stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
    stream.write_all(&request).await.map_err(|error| error.to_string())?;
    let mut bytes = Vec::with_capacity(4096);
    // A chunk that has not come whole does not count; pingora may make one of several of a node.
    while bytes.len() <= ENOUGH + (1 << 20) && matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {}
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no answer")?;
    let header = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let chunked = header.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    let is_whole = !chunked || bytes.ends_with(b"\r\n0\r\n\r\n") || bytes[end + 4..].starts_with(b"0\r\n\r\n");
    let wire::Got { status, headers, body } = wire::parse(&bytes);
    let mut got = Got { status, headers, body, is_whole };
    if let Some(length) = got.header("content-length").filter(|_| !request.starts_with(b"HEAD ")) {
        got.is_whole = length == got.body.len().to_string();
    }
    Ok(got)
}
