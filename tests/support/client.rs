//! An HTTP/1.1 client that changes nothing: the target goes out byte for byte, and the answer comes back with every
//! line of its header and with what its framing says is the body.

use super::golden::{Answer, Lines};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The `Host` that it asks for.
pub const HOST: &str = "registry.example";

/// One connection at a time, kept open as long as the server keeps it open.
pub struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    /// What has been received and belongs to no answer yet.
    buffer: Vec<u8>,
}

impl Client {
    /// A client of the server at `address`. Nothing is connected yet.
    pub fn new(address: SocketAddr) -> Client {
        Client { address, stream: None, buffer: Vec::new() }
    }

    /// Sends a request (with a `Host`, and otherwise only the given lines) and reads the answer.
    ///
    /// # Errors
    ///
    /// What is not HTTP, comes late, breaks off, or goes on after its end.
    pub async fn send(
        &mut self,
        method: &str,
        target: &str,
        lines: &Lines,
        body: Option<&[u8]>,
    ) -> Result<Answer, String> {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nhost: {HOST}\r\n").into_bytes();
        for (name, value) in lines {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body.unwrap_or_default());
        let exchange = tokio::time::timeout(PATIENCE, self.exchange(method, &bytes)).await;
        let answer = exchange.unwrap_or_else(|_| Err(format!("no whole answer within {PATIENCE:?}")));
        let ends = answer
            .as_ref()
            .map_or(true, |answer| answer.values("connection").iter().any(|value| value.eq_ignore_ascii_case("close")));
        if ends || !self.buffer.is_empty() {
            self.stream = None;
        }
        if !self.buffer.is_empty() && answer.is_ok() {
            let more = String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned();
            return Err(format!("bytes after the end of the answer: {more:?}"));
        }
        answer
    }

    async fn exchange(&mut self, method: &str, request: &[u8]) -> Result<Answer, String> {
        if self.stream.is_none() {
            self.buffer.clear();
            let stream = TcpStream::connect(self.address).await.map_err(|error| format!("cannot connect: {error}"))?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            self.stream = Some(stream);
        }
        let stream = self.stream.as_mut().expect("connected");
        stream.write_all(request).await.map_err(|error| format!("cannot send: {error}"))?;
        loop {
            let (status, headers) = self.header().await?;
            if !(100..200).contains(&status) {
                let mut answer = Answer { status, headers, body: Vec::new() };
                answer.body = self.body(method, &answer).await?;
                return Ok(answer);
            }
        }
    }

    async fn header(&mut self) -> Result<(u16, Lines), String> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            self.more().await.map_err(|error| format!("no header: {error}"))?;
        };
        let block: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let block = String::from_utf8(block).map_err(|_| "a header that is not UTF-8".to_owned())?;
        let mut lines = block.trim_end().split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| format!("no status line: {first:?}"))?;
        let split = |line: &str| {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("no header line: {line:?}"))?;
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Ok((status, lines.map(split).collect::<Result<Lines, String>>()?))
    }

    async fn body(&mut self, method: &str, answer: &Answer) -> Result<Vec<u8>, String> {
        if method == "HEAD" || matches!(answer.status, 204 | 304) {
            return Ok(Vec::new());
        }
        if answer.values("transfer-encoding").iter().any(|value| value.eq_ignore_ascii_case("chunked")) {
            return self.chunks().await;
        }
        match answer.values("content-length").first() {
            Some(length) => {
                let length = length.parse().map_err(|_| format!("no content-length: {length:?}"))?;
                self.take(length).await
            }
            None => {
                while self.more().await.is_ok() {}
                self.stream = None;
                Ok(std::mem::take(&mut self.buffer))
            }
        }
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| format!("no size of a chunk: {line:?}"))?;
            if size == 0 {
                while !self.line().await?.is_empty() {} // trailers
                return Ok(body);
            }
            body.extend(self.take(size).await?);
            if !self.line().await?.is_empty() {
                return Err("a chunk that does not end where it says".to_owned());
            }
        }
    }

    async fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.more().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, String> {
        while self.buffer.len() < length {
            let have = self.buffer.len();
            self.more()
                .await
                .map_err(|error| format!("the body breaks off after {have} of {length} bytes: {error}"))?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn more(&mut self) -> Result<(), String> {
        let stream = self.stream.as_mut().ok_or("not connected")?;
        match stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the connection was closed".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
