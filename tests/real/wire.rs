//! A small HTTP/1.1 client of the tests' own: it shows what is on the wire, and shares no code with the gateway.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A peer that says nothing for this long hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is sent as the body of a request.
pub enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    /// `Expect: 100-continue`: the bytes follow when the peer asks for them.
    Expected(&'a [u8]),
    /// `Transfer-Encoding: chunked`, one chunk for each piece.
    Chunks(&'a mut dyn FnMut(&mut Vec<u8>)),
}

/// The status and the header of an answer.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The value of a header that is there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "two {name} headers: {self:?}");
        value
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub head: Head,
    pub body: Vec<u8>,
    /// Whether the whole body of the request could be sent. A client that has to stop may never read the answer.
    pub took_all: bool,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?} {}", self.head, self.text()))
    }

    /// The code and the message of the one OCI error in the body.
    pub fn oci_error(&self) -> (String, String) {
        let body = self.json();
        let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no OCI error: {body}"));
        assert_eq!(errors.len(), 1, "{body}");
        let text = |key: &str| errors[0][key].as_str().unwrap_or_else(|| panic!("no {key}: {body}")).to_owned();
        (text("code"), text("message"))
    }
}

/// The target that ends a session.
pub fn with_digest(session: &str, digest: &str) -> String {
    let separator = if session.contains('?') { '&' } else { '?' };
    format!("{session}{separator}digest={}", digest.replace(':', "%3A"))
}

/// One connection to a server, kept as long as the server keeps it.
pub struct Wire {
    address: SocketAddr,
    kept: Option<BufReader<TcpStream>>,
}

impl Wire {
    pub fn new(address: SocketAddr) -> Wire {
        Wire { address, kept: None }
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.call("GET", target, &[], Body::None)
    }

    /// Starts an upload; returns the target of its session.
    pub fn start_upload(&mut self, repository: &str) -> String {
        let started = self.call("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], Body::None);
        assert_eq!(started.status(), 202, "{repository}: {}", started.text());
        self.target(&started)
    }

    /// The path and query of an answer's `Location`, which is a path, or a URL at the server that gave the answer.
    pub fn target(&self, answer: &Answer) -> String {
        let location = answer.header("Location").unwrap_or_else(|| panic!("no Location: {:?}", answer.head));
        let path = location.strip_prefix(&format!("http://{}", self.address)).unwrap_or(location);
        assert!(path.starts_with('/') && !path.starts_with("//"), "{location} leads away from {}", self.address);
        path.to_owned()
    }

    /// Sends a request and reads the whole answer.
    pub fn call(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: Body<'_>) -> Answer {
        self.try_call(method, target, headers, body).unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    pub fn try_call(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: Body<'_>) -> Result<Answer> {
        let mut reading = self.start(method, target, headers, body)?;
        let mut body = Vec::new();
        reading.read_to_end(&mut body)?;
        let Reading { head, stream, left, took_all } = reading;
        let closes = head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if !closes && !matches!(left, Left::UntilClosed) {
            self.kept = Some(stream);
        }
        Ok(Answer { head, body, took_all })
    }

    /// Sends a request and reads the head of the answer; the body is there to be read.
    pub fn start(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: Body<'_>) -> Result<Reading> {
        let mut stream = match self.kept.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                BufReader::new(stream)
            }
        };
        let mut lines = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            lines.push_str(&format!("{name}: {value}\r\n"));
        }
        lines.push_str(&match &body {
            // Go's client, which crane and skopeo use, announces that there is no body.
            Body::None if matches!(method, "POST" | "PUT" | "PATCH") => "Content-Length: 0\r\n\r\n".to_owned(),
            Body::None => "\r\n".to_owned(),
            Body::Bytes(bytes) => format!("Content-Length: {}\r\n\r\n", bytes.len()),
            Body::Expected(bytes) => format!("Content-Length: {}\r\nExpect: 100-continue\r\n\r\n", bytes.len()),
            Body::Chunks(_) => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
        });
        stream.get_mut().write_all(lines.as_bytes())?;
        // A server that refuses may stop reading: its answer says more than the broken pipe.
        let sent = match body {
            Body::None => Ok(()),
            Body::Bytes(bytes) => stream.get_mut().write_all(bytes),
            Body::Expected(bytes) => {
                let head = read_head(&mut stream)?;
                if head.status != 100 {
                    return Reading::new(head, stream, method, false);
                }
                stream.get_mut().write_all(bytes)
            }
            Body::Chunks(next) => write_chunks(stream.get_mut(), next),
        };
        loop {
            match (read_head(&mut stream), &sent) {
                (Ok(Head { status: 100..=199, .. }), _) => {}
                (Ok(head), _) => return Reading::new(head, stream, method, sent.is_ok()),
                (Err(_), Err(sending)) => return Err(Error::new(sending.kind(), sending.to_string())),
                (Err(error), Ok(())) => return Err(error),
            }
        }
    }
}

/// Sends the bytes of a request as they are, and returns all that comes until the server closes the connection.
pub fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // Sooner than a connection is closed because nobody uses it.
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let ended = stream.read_to_string(&mut answer);
    ended.unwrap_or_else(|error| panic!("{error}: not closed after {:?}", answer.lines().next()));
    answer
}

fn write_chunks(stream: &mut TcpStream, next: &mut dyn FnMut(&mut Vec<u8>)) -> Result<()> {
    let mut piece = Vec::new();
    loop {
        piece.clear();
        next(&mut piece);
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
        stream.write_all(&piece)?;
        stream.write_all(b"\r\n")?;
        if piece.is_empty() {
            return Ok(());
        }
    }
}

fn read_line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = Vec::new();
    stream.take(64 * 1024).read_until(b'\n', &mut line)?;
    let line = String::from_utf8(line).map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(Error::new(ErrorKind::UnexpectedEof, format!("the line {line:?} has no end"))),
    }
}

fn read_head(stream: &mut BufReader<TcpStream>) -> Result<Head> {
    let line = read_line(stream)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("no status line: {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok(Head { status, headers });
        }
        let (name, value) = line.split_once(':').ok_or_else(|| Error::new(ErrorKind::InvalidData, line.clone()))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// How much of a body is left.
enum Left {
    Bytes(u64),
    /// The bytes left in this chunk; `None` before the first.
    Chunk(Option<u64>),
    UntilClosed,
}

/// An answer whose body is being read. Reading fails when the body breaks off.
pub struct Reading {
    pub head: Head,
    stream: BufReader<TcpStream>,
    left: Left,
    took_all: bool,
}

impl Reading {
    fn new(head: Head, stream: BufReader<TcpStream>, method: &str, took_all: bool) -> Result<Reading> {
        let length = head.header("content-length").map(str::parse).transpose();
        let length: Option<u64> = length.map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
        let is_chunked = head.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        assert!(!(is_chunked && length.is_some()), "a body with two lengths: {head:?}");
        let left = match length {
            _ if method == "HEAD" || matches!(head.status, 100..=199 | 204 | 304) => Left::Bytes(0),
            _ if is_chunked => Left::Chunk(None),
            Some(length) => Left::Bytes(length),
            None => Left::UntilClosed,
        };
        Ok(Reading { head, stream, left, took_all })
    }

    /// Goes on to the next chunk when this one is read.
    fn next_chunk(&mut self) -> Result<()> {
        let Left::Chunk(left) = self.left else { return Ok(()) };
        if left == Some(0) {
            read_line(&mut self.stream)?;
        }
        if matches!(left, None | Some(0)) {
            let line = read_line(&mut self.stream)?;
            let digits = line.split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(digits, 16).map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
            self.left = Left::Chunk(Some(size));
            if size == 0 {
                // The trailer.
                while !read_line(&mut self.stream)?.is_empty() {}
                self.left = Left::Bytes(0);
            }
        }
        Ok(())
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.next_chunk()?;
        let (Left::Bytes(left) | Left::Chunk(Some(left))) = &mut self.left else {
            return self.stream.read(buffer);
        };
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.stream.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, format!("the body broke off, {left} bytes were left")));
        }
        *left -= read as u64;
        Ok(read)
    }
}
