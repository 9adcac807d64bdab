//! Nodes that fail: each in one way, from its start to its end, whatever it is asked.

use super::stub::read_header;
use onezot::rules::{Class, ROUTES, Route};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing listens.
    Refused,
    /// The address swallows what is sent to it: no connection, and no refusal.
    BlackHole,
    /// Connections are accepted and requests read, and nothing is said.
    Hang,
    /// The header of the answer begins, and does not end.
    SlowHeaders,
    /// Half of the body comes, and no more.
    SlowBody,
    /// Half of the body comes, and then a reset.
    Reset,
    /// Another status.
    Status(u16),
    /// Success, and something that is not JSON.
    BadJson,
    /// The right answer without its end, whose length says that it is whole.
    TruncatedJson,
    /// Success, and a page for people.
    WrongType,
    /// Success, and JSON of 1 GiB, made as it is read.
    Huge,
    /// What is right, but each connection is closed when it is used again.
    ClosedBetween,
    /// None: what is right.
    Nothing,
}

/// Every way to fail.
pub const FAULTS: [Fault; 14] = [
    Fault::Refused,
    Fault::BlackHole,
    Fault::Hang,
    Fault::SlowHeaders,
    Fault::SlowBody,
    Fault::Reset,
    Fault::Status(500),
    Fault::Status(401),
    Fault::Status(404),
    Fault::BadJson,
    Fault::TruncatedJson,
    Fault::WrongType,
    Fault::Huge,
    Fault::ClosedBetween,
];

/// The body of each answer with another status.
pub const WORDS: &str = r#"{"errors":[{"code":"UNKNOWN","message":"the words of a node"}]}"#;
pub const BAD_JSON: &str = "{bad";
pub const PAGE: &str = "<html>Please sign in to this network</html>";
const HUGE: usize = 1 << 30;

/// A node that fails, in front of one that does not.
pub struct Faulty {
    pub address: SocketAddr,
    /// The first lines of the requests that it got, with the cell that each belongs to.
    got: Arc<Mutex<Vec<(String, String)>>>,
    /// How many connections it closed instead of an answer.
    pub closed: Arc<AtomicUsize>,
    task: Option<JoinHandle<()>>,
    /// What keeps an address as it is.
    _held: (Option<TcpSocket>, Vec<TcpStream>),
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Faulty {
    /// A node that fails; where it says what is right, that is what `well` answers.
    pub async fn new(fault: Fault, well: &Well) -> Faulty {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let (got, closed): (Arc<Mutex<Vec<_>>>, Arc<AtomicUsize>) = Default::default();
        let mut node =
            Faulty { address, got: got.clone(), closed: closed.clone(), task: None, _held: (None, Vec::new()) };
        if fault == Fault::Refused {
            // The port is taken, so that nobody else gets it, and nothing listens there.
            node._held.0 = Some(socket);
            return node;
        }
        let listener = socket.listen(if fault == Fault::BlackHole { 1 } else { 1024 }).unwrap();
        if fault == Fault::BlackHole {
            // Nobody accepts: when the queue is full, what comes next gets no answer.
            while let Ok(Ok(stream)) =
                tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await
            {
                node._held.1.push(stream);
            }
        }
        let well = well.clone();
        node.task = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            if fault == Fault::BlackHole {
                std::future::pending::<()>().await;
            }
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, fault, well.clone(), got.clone(), closed.clone()));
            }
        }));
        node
    }

    /// The first lines of the requests of a cell.
    pub fn got(&self, cell: &str) -> Vec<String> {
        self.got.lock().unwrap().iter().filter(|(of, _)| of == cell).map(|(_, line)| line.clone()).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    fault: Fault,
    well: Well,
    got: Arc<Mutex<Vec<(String, String)>>>,
    closed: Arc<AtomicUsize>,
) {
    let _ = stream.set_nodelay(true);
    for number in 0.. {
        let Some(header) = read_header(&mut stream).await else { return };
        let Some(body) = read_body(&mut stream, &header).await else { return };
        let line = header.lines().next().unwrap_or_default().to_owned();
        got.lock().unwrap().push((value(&header, "x-cell").unwrap_or_default(), line.clone()));
        let is_head = line.starts_with("HEAD ");
        let written = match fault {
            Fault::Refused | Fault::BlackHole => return,
            Fault::Hang => std::future::pending().await,
            Fault::SlowHeaders => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n").await;
                std::future::pending().await
            }
            Fault::SlowBody | Fault::Reset => {
                let Some((head, body)) = well.ask(&header, &body).await else { return };
                let half = if is_head { &[][..] } else { &body[..body.len() / 2] };
                let length = format!("Content-Length: {}\r\n\r\n", body.len() + 1);
                let _ = stream.write_all(&[head.as_bytes(), length.as_bytes(), half].concat()).await;
                if is_head {
                    // There is no body that could be late.
                    continue;
                }
                if fault == Fault::SlowBody {
                    std::future::pending::<()>().await;
                }
                // The half is on its way.
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = stream.set_zero_linger();
                return;
            }
            Fault::Status(status) => say(&mut stream, status, "application/json", WORDS, is_head).await,
            Fault::BadJson => say(&mut stream, 200, "application/json", BAD_JSON, is_head).await,
            Fault::WrongType => say(&mut stream, 200, "text/html", PAGE, is_head).await,
            Fault::TruncatedJson => {
                let Some((head, body)) = well.ask(&header, &body).await else { return };
                let half = &body[..body.len() / 2];
                let length = format!("Content-Length: {}\r\n\r\n", half.len());
                stream.write_all(&[head.as_bytes(), length.as_bytes(), if is_head { &[] } else { half }].concat()).await
            }
            Fault::Huge => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
                let mut written = stream.write_all(head.as_bytes()).await;
                let piece = [format!("{:x}\r\n", 64 * 1024).as_bytes(), &[b'a'; 64 * 1024], b"\r\n"].concat();
                for _ in 0..if is_head { 0 } else { HUGE / (64 * 1024) } {
                    if written.is_err() {
                        return;
                    }
                    written = stream.write_all(&piece).await;
                }
                return;
            }
            Fault::ClosedBetween if number > 0 => {
                closed.fetch_add(1, Ordering::SeqCst);
                return;
            }
            Fault::ClosedBetween | Fault::Nothing => {
                let Some((head, body)) = well.ask(&header, &body).await else { return };
                let length = format!("Content-Length: {}\r\n\r\n", body.len());
                stream
                    .write_all(&[head.as_bytes(), length.as_bytes(), if is_head { &[] } else { &body }].concat())
                    .await
            }
        };
        if written.is_err() {
            return;
        }
    }
}

async fn say(stream: &mut TcpStream, status: u16, kind: &str, body: &str, is_head: bool) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status} Word\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{}", if is_head { "" } else { body }).as_bytes()).await
}

fn value(header: &str, name: &str) -> Option<String> {
    let lines = header.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
}

/// The body of a request, with its framing.
async fn read_body(stream: &mut TcpStream, header: &str) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if value(header, "transfer-encoding").is_some() {
        while !body.ends_with(b"0\r\n\r\n") {
            body.push(stream.read_u8().await.ok()?);
        }
    } else {
        body.resize(value(header, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0), 0);
        stream.read_exact(&mut body).await.ok()?;
    }
    Some(body)
}

/// The beginning of a message, and its body.
type Said = (String, Vec<u8>);

/// A node that is well, and what it has answered: it does not change, and is asked the same very often.
#[derive(Clone)]
pub struct Well {
    address: SocketAddr,
    answered: Arc<Mutex<HashMap<Said, Said>>>,
}

impl Well {
    pub fn new(address: SocketAddr) -> Well {
        Well { address, answered: Arc::default() }
    }

    /// What it answers: the header without its framing and its end, and the body. Uploads that go to every node are taken
    /// here: the embedded nodes do not know them.
    async fn ask(&self, header: &str, body: &[u8]) -> Option<(String, Vec<u8>)> {
        let line = header.lines().next()?.to_owned();
        let target = line.split(' ').nth(1)?;
        let is_broadcast =
            |route: &&Route| route.class == Class::Broadcast && route.path.trim_end_matches('*') == target;
        if ROUTES.iter().any(|route| is_broadcast(&route)) && line.starts_with("POST ") {
            return Some(("HTTP/1.1 200 OK\r\n".to_owned(), Vec::new()));
        }
        let key = (line, body.to_vec());
        if let Some(known) = self.answered.lock().unwrap().get(&key) {
            return Some(known.clone());
        }
        let closing = header.trim_end().to_owned() + "\r\nConnection: close\r\n\r\n";
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        stream.write_all(&[closing.as_bytes(), body].concat()).await.ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.ok()?;
        let got = super::wire::parse(&bytes);
        let mut head = format!("HTTP/1.1 {} Word\r\n", got.status);
        for (name, value) in &got.headers {
            if !["content-length", "transfer-encoding", "connection"].contains(&name.to_ascii_lowercase().as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        self.answered.lock().unwrap().insert(key, (head.clone(), got.body.clone()));
        Some((head, got.body))
    }
}
