//! A node that reads requests strictly, keeps what it got byte for byte, and tells what no proxy may have sent it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: String,
    pub target: String,
    pub lines: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Recorded {
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.lines.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// The node; it ends when it is dropped.
pub struct Recorder {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Result<Recorded, String>>>>,
    task: JoinHandle<()>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    pub async fn new() -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let record = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, record.clone()));
            }
        });
        Recorder { address, seen, task }
    }

    /// What came since it was last asked; an error is what is no request, or two in one.
    pub fn take(&self) -> Vec<Result<Recorded, String>> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn serve(mut stream: TcpStream, record: Arc<Mutex<Vec<Result<Recorded, String>>>>) {
    let mut buffer = Vec::new();
    loop {
        match request(&mut stream, &mut buffer).await {
            Ok(Some(recorded)) => {
                let is_head = recorded.method == "HEAD";
                record.lock().unwrap().push(Ok(recorded));
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", if is_head { "" } else { "ok" });
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(problem) => {
                record.lock().unwrap().push(Err(problem));
                return;
            }
        }
    }
}

/// One request; `None` where the connection ends in or before it, as it does when the client is refused meanwhile.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<Recorded>, String> {
    let Some(end) = until(stream, buffer, b"\r\n\r\n").await else { return Ok(None) };
    let head: Vec<u8> = buffer.drain(..end).collect();
    let head = String::from_utf8_lossy(&head[..end - 4]).into_owned();
    let odd = |what: &str| Err(format!("{what}: {head:?}"));
    if head.replace("\r\n", "").contains(|c: char| c.is_control() && c != '\t') {
        return odd("control characters");
    }
    let mut rows = head.split("\r\n");
    let words: Vec<&str> = rows.next().unwrap().split(' ').collect();
    let &[method, target, "HTTP/1.1" | "HTTP/1.0"] = &words[..] else { return odd("no request line") };
    if !target.starts_with('/') {
        return odd("a target that is no path");
    }
    let mut lines = Vec::new();
    for row in rows {
        let Some((name, value)) = row.split_once(':') else { return odd("a line without a colon") };
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            return odd("a name that is none");
        }
        lines.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut recorded = Recorded { method: method.to_owned(), target: target.to_owned(), lines, body: Vec::new() };
    let (lengths, encodings) = (recorded.all("content-length"), recorded.all("transfer-encoding"));
    if recorded.all("host").len() != 1 {
        return odd("not one host");
    }
    match (&lengths[..], &encodings[..]) {
        ([], []) => {}
        ([length], []) => {
            let Some(length) = length.parse().ok().filter(|_| length.bytes().all(|byte| byte.is_ascii_digit())) else {
                return odd("a length that is none");
            };
            let Some(body) = take(stream, buffer, length).await else { return Ok(None) };
            recorded.body = body;
        }
        ([], ["chunked"]) => {
            let Some(body) = chunks(stream, buffer).await? else { return Ok(None) };
            recorded.body = body;
        }
        _ => return odd("where the body ends is told twice"),
    }
    Ok(Some(recorded))
}

async fn chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    loop {
        let Some(end) = until(stream, buffer, b"\r\n").await else { return Ok(None) };
        let line: Vec<u8> = buffer.drain(..end).collect();
        let line = String::from_utf8_lossy(&line[..end - 2]).into_owned();
        let is_size = !line.is_empty() && line.len() < 9 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = usize::from_str_radix(&line, 16).ok().filter(|_| is_size);
        let Some(size) = size else { return Err(format!("no size of a chunk: {line:?}")) };
        let Some(piece) = take(stream, buffer, size + 2).await else { return Ok(None) };
        if !piece.ends_with(b"\r\n") {
            return Err(format!("a chunk that does not end where it says: {piece:?}"));
        }
        body.extend_from_slice(&piece[..size]);
        if size == 0 {
            return Ok(Some(body));
        }
    }
}

/// How many bytes there are up to and with `mark`.
async fn until(stream: &mut TcpStream, buffer: &mut Vec<u8>, mark: &[u8]) -> Option<usize> {
    loop {
        if let Some(at) = buffer.windows(mark.len()).position(|window| window == mark) {
            return Some(at + mark.len());
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

async fn take(stream: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some(buffer.drain(..length).collect())
}
