//! Requests as nobody should send them, byte for byte: what reaches a node is one well-formed request to the path that was
//! asked for, and nothing reaches it that Debian's nginx would not let through.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/nginx.rs"]
mod nginx;
#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/stub.rs"]
mod stub;
#[path = "support/mod.rs"]
mod support;
#[path = "support/wire.rs"]
mod wire;

use nginx::Nginx;
use onezot::rules::NOWHERE;
use recorder::{Recorded, Recorder};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use stub::{Stub, reply};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent, and under what it is counted.
struct Input {
    group: &'static str,
    bytes: Vec<u8>,
}

fn input(group: &'static str, text: impl Into<Vec<u8>>) -> Input {
    Input { group, bytes: text.into() }
}

/// A request with these lines, to what streams.
fn with(lines: &str, body: &str) -> String {
    format!("POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: r\r\nConnection: close\r\n{lines}\r\n{body}")
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n")
}

fn inputs() -> Vec<Input> {
    let mut inputs = Vec::new();
    let smuggled = "GET /v2/b/tags/list HTTP/1.1\r\nHost: r\r\n\r\n";
    for (lines, body) in [
        ("Content-Length: 3\r\n", "abc"),
        ("Content-Length: 0\r\n", ""),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
        ("Content-Length: 3\r\nContent-Length: 0\r\n", "abc"),
        ("Content-Length: 0\r\nContent-Length: 3\r\n", "abc"),
        ("Content-Length: 3, 3\r\n", "abc"),
        ("Content-Length: 3, 4\r\n", "abcd"),
        ("Content-Length: +3\r\n", "abc"),
        ("Content-Length: -3\r\n", "abc"),
        ("Content-Length: 0x3\r\n", "abc"),
        ("Content-Length: 3a\r\n", "abc"),
        ("Content-Length: 3 4\r\n", "abcd"),
        ("Content-Length:\r\n", ""),
        ("Content-Length: 99999999999999999999\r\n", "abc"),
        ("Content-Length: 18446744073709551616\r\n", ""),
        ("Content-Length : 3\r\n", "abc"),
        (" Content-Length: 3\r\n", "abc"),
        ("Content-Length\t: 3\r\n", "abc"),
        ("Content_Length: 3\r\n", ""),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 48\r\n", smuggled),
        ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: Chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: identity\r\n", "abc"),
        ("Transfer-Encoding: identity\r\nContent-Length: 3\r\n", "abc"),
        ("Transfer-Encoding: gzip, chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked, gzip\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: xchunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked;q=1\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: \"chunked\"\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding:\x0bchunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding:\r\n chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("X: y\r\n Transfer-Encoding: chunked\r\n", ""),
        ("Transfer-Encoding : chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: abc\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding\x00: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-encoding: cow\r\nContent-Length: 3\r\n", "abc"),
        ("TE: trailers\r\nContent-Length: 3\r\n", "abc"),
        ("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"),
        ("Expect: 200-ok\r\nContent-Length: 3\r\n", "abc"),
    ] {
        inputs.push(input("framing", with(lines, body)));
    }
    for chunks in [
        "3\r\nabc\r\n0\r\n\r\n",
        "03\r\nabc\r\n0\r\n\r\n",
        "3;x=y\r\nabc\r\n0\r\n\r\n",
        "3 ;x=y\r\nabc\r\n0\r\n\r\n",
        "3;x=\"\r\n\"\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nab\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-1\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3_\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX-Trailer: y\r\n\r\n",
        "3\r\nabc\r\n0\r\nContent-Length: 9\r\nHost: x\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\rabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n00000000\r\n\r\n",
    ] {
        inputs.push(input("chunks", with("Transfer-Encoding: chunked\r\n", chunks)));
    }
    for line in [
        "X Y: z",
        "X(Y): z",
        ": z",
        "X: y\rz",
        "X: y\nZ: w",
        "X: y\0z",
        "X: y\x07z",
        "X: \x7f",
        "X",
        "X:y",
        "X: \u{e9}",
        "Host: other",
        "Host:",
        "Host: r, s",
        "Host: r\r\nX-Forwarded-Host: evil",
        "X-Y_Z: w",
        "Upgrade: h2c\r\nHTTP2-Settings: AA",
        "Connection: Host",
        "Connection: Authorization\r\nAuthorization: Basic YTpi",
        "Connection: X-Forwarded-For",
        "Connection: \"close\"",
        "Proxy-Authorization: Basic YTpi",
        "Keep-Alive: timeout=5",
        "X: y\r\n z",
    ] {
        let request = format!("GET /v2/a/tags/list HTTP/1.1\r\nHost: r\r\nConnection: close\r\n{line}\r\n\r\n");
        inputs.push(input("header", request));
    }
    let long = "y".repeat(70_000);
    inputs.push(input(
        "header",
        format!("GET /v2/a/tags/list HTTP/1.1\r\nHost: r\r\nConnection: close\r\nX: {long}\r\n\r\n"),
    ));
    inputs.push(input("header", get(&format!("/v2/a/tags/list?{long}"))));
    let many: String = (0..2000).map(|number| format!("X-{number}: y\r\n")).collect();
    inputs.push(input("header", format!("GET /v2/a/tags/list HTTP/1.1\r\nHost: r\r\nConnection: close\r\n{many}\r\n")));
    let name = "n".repeat(70_000);
    inputs.push(input(
        "header",
        format!("GET /v2/a/tags/list HTTP/1.1\r\nHost: r\r\nConnection: close\r\n{name}: y\r\n\r\n"),
    ));
    inputs.push(input("header", "GET /v2/a/tags/list HTTP/1.1\r\nConnection: close\r\n\r\n"));
    inputs.push(input("header", "GET /v2/a/tags/list HTTP/1.0\r\n\r\n"));
    inputs.push(input("header", "GET /v2/a/tags/list HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
    inputs.push(input("header", "GET /v2/a/tags/list HTTP/1.1\nHost: r\nConnection: close\n\n"));
    for line in [
        "GET  /v2/a/tags/list HTTP/1.1",
        "GET /v2/a/tags/list  HTTP/1.1",
        "GET\t/v2/a/tags/list HTTP/1.1",
        " GET /v2/a/tags/list HTTP/1.1",
        "GET /v2/a/tags/list",
        "GET /v2/a/tags/list HTTP/0.9",
        "GET /v2/a/tags/list HTTP/2.0",
        "GET /v2/a/tags/list HTTP/1.2",
        "GET /v2/a/tags/list HTTP/1.1x",
        "GET /v2/a/tags/list http/1.1",
        "get /v2/a/tags/list HTTP/1.1",
        "G\0T /v2/a/tags/list HTTP/1.1",
        "GE(T /v2/a/tags/list HTTP/1.1",
        "/v2/a/tags/list HTTP/1.1",
        "GET HTTP/1.1",
        "",
        "CONNECT r:443 HTTP/1.1",
        "CONNECT /v2/a/tags/list HTTP/1.1",
        "TRACE /v2/a/tags/list HTTP/1.1",
        "TRACK /v2/a/tags/list HTTP/1.1",
        "PRI * HTTP/2.0",
        "OPTIONS * HTTP/1.1",
        "GET * HTTP/1.1",
        "FOO /v2/a/tags/list HTTP/1.1",
        "DEBUG /v2/a/tags/list HTTP/1.1",
    ] {
        inputs.push(input("request line", format!("{line}\r\nHost: r\r\nConnection: close\r\n\r\n")));
    }
    for target in [
        "http://r/v2/a/tags/list",
        "http://other/v2/a/tags/list",
        "https://r/v2/a/tags/list",
        "http://u:p@r/v2/a/tags/list",
        "http://r@other/v2/a/tags/list",
        "http:///v2/a/tags/list",
        "http://r",
        "http://r?x",
        "r:443",
        "r",
        "v2/a/tags/list",
        "//r/v2/",
        "ftp://r/v2/",
        "http:/v2/",
        "http://r:99999/v2/",
        "/v2/a/tags/list#x",
        "/v2/a/tags/list?x#y",
        "?x",
    ] {
        inputs.push(input("target", get(target)));
    }
    for path in [
        "/v2/a/tags/list",
        "/v2//a/tags/list",
        "//v2/a/tags/list",
        "/v2/a//tags/list",
        "/v2/./a/tags/list",
        "/v2/../v2/a/tags/list",
        "/v2/a/../b/tags/list",
        "/v2/../../etc/passwd",
        "/../../etc/passwd",
        "/v2/a/tags/list/..",
        "/v2/a/tags/list/.",
        "/v2/a/tags/list/",
        "/v2/%2e/a/tags/list",
        "/v2/%2e%2e/v2/a/tags/list",
        "/v2/a/%2E%2E/b/tags/list",
        "/v2/.%2e/a/tags/list",
        "/v2/a%2fb/tags/list",
        "/v2/a%2Fb/tags/list",
        "/v2%2fa/tags/list",
        "/%76%32/a/tags/list",
        "/v2/%61/tags/list",
        "/v2/a/tags%2flist",
        "/v2/a%00/tags/list",
        "/v2/%00/tags/list",
        "/v2/a%0d%0aX:%20y/tags/list",
        "/v2/a%09/tags/list",
        "/v2/a%20/tags/list",
        "/v2/a%7f/tags/list",
        "/v2/a\\b/tags/list",
        "/v2/..\\a/tags/list",
        "/v2/a%5cb/tags/list",
        "/v2/%5c..%5c/tags/list",
        "/v2/a%/tags/list",
        "/v2/a%2/tags/list",
        "/v2/a%zz/tags/list",
        "/v2/a%u002f/tags/list",
        "/v2/%252e%252e/tags/list",
        "/v2/a%252fb/tags/list",
        "/v2/a%25/tags/list",
        "/v2/%c0%ae%c0%ae/tags/list",
        "/v2/%c0%afa/tags/list",
        "/v2/%e0%80%af/tags/list",
        "/v2/%ff/tags/list",
        "/v2/\u{e9}/tags/list",
        "/v2/%c3%a9/tags/list",
        "/v2/a;x=y/tags/list",
        "/v2/a/..;/b/tags/list",
        "/v2/a b/tags/list",
        "/v2/a\x01/tags/list",
        "/v2/a\x7f/tags/list",
        "/v2/a<b>/tags/list",
        "/v2/a\"b/tags/list",
        "/v2/a|b/tags/list",
        "/v2/A/tags/list",
        "/v2/a?/tags/list",
        "/v2/a/tags/list?x=%",
        "/v2/a/tags/list?x=%00",
        "/v2/a/tags/list?x=../..",
        "/v2/a/tags/list?x=\\",
        "/v2/_catalog/../a/tags/list",
        "/v2/_catalog%2f..%2fa/tags/list",
        "/v2/_zot/../a/tags/list",
        "/v2/a/manifests/..",
        "/v2/a/manifests/%2e%2e",
        "/v2/a/manifests/x%2fy",
        "/v2/a/blobs/sha256%3Aabc",
        "/v2/a/blobs/sha256:../../x",
        "/V2/a/tags/list",
        "/v2",
        "/v2/-",
        "/metrics",
        "/v2/_zot/pprof/",
        "/",
        "/v2/a/tags/list%3fx",
        "/v2/a/tags/list%23x",
        "/v2/a/tags/list&x",
        "/v2/.a/tags/list",
        "/v2/a./tags/list",
    ] {
        inputs.push(input("path", get(path)));
        inputs.push(input(
            "path",
            get(path).replacen("GET", "PUT", 1).replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"),
        ));
    }
    inputs
}

/// What became of an input.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    /// The status of the first answer; 0 if the connection was closed without one.
    status: u16,
    answers: usize,
    /// What the node got.
    forwarded: Vec<Forwarded>,
}

/// A request that a node got, or what it got that is none.
type Forwarded = Result<(String, String, Vec<u8>), String>;

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, input: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    let whole = async {
        // Who is refused early may find the connection closed while it sends.
        let _ = stream.write_all(input).await;
        while stream.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {}
    };
    // A proxy that waits for more of a request is not waited for.
    let _ = tokio::time::timeout(PATIENCE, whole).await;
    heard
}

fn statuses(heard: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(heard).into_owned();
    let status = |(at, _): (usize, &str)| text.get(at + 9..at + 12)?.parse().ok();
    let all = text.match_indices("HTTP/1.1 ").filter_map(status);
    all.filter(|status| *status != 100).collect()
}

fn name(input: &Input) -> String {
    let text: String = String::from_utf8_lossy(&input.bytes).chars().flat_map(char::escape_debug).collect();
    text.chars().take(200).collect()
}

async fn outcome(node: &Recorder, stream: impl AsyncRead + AsyncWrite + Unpin, input: &Input) -> Outcome {
    let heard = exchange(stream, &input.bytes).await;
    let all = statuses(&heard);
    let text = String::from_utf8_lossy(&heard).to_ascii_lowercase();
    assert!(!text.contains("\r\nserver:") && !text.contains("pingora"), "{}: {text}", name(input));
    let mut forwarded = Vec::new();
    for request in node.take() {
        match request {
            Ok(request) if request.target == NOWHERE => {}
            Ok(request) => forwarded.push(Ok((request.method, request.target, request.body))),
            Err(problem) => forwarded.push(Err(problem)),
        }
    }
    Outcome { status: all.first().copied().unwrap_or(0), answers: all.len(), forwarded }
}

fn target_of(input: &[u8]) -> Option<String> {
    let line = String::from_utf8_lossy(input.split(|byte| *byte == b'\r').next()?).into_owned();
    let target = line.split(' ').nth(1)?.to_owned();
    let origin = target.split_once("://").map_or(target.clone(), |(_, rest)| {
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        if rest[at..].starts_with('/') { rest[at..].to_owned() } else { format!("/{}", &rest[at..]) }
    });
    // It ends with a fragment, which is an exception of the README.
    origin.split('#').next().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_odd_reaches_a_node_and_nothing_that_nginx_refuses() {
    let node = Recorder::new().await;
    let running = wire::gateway(&[node.address], "timeouts: {idle: 1s, client_headers: 1s, keepalive: 1s}\n").await;
    let nginx_node = Recorder::new().await;
    let nginx = Nginx::new(nginx_node.address).await;
    if nginx.is_none() {
        support::say("skipped: hygiene beside nginx: nginx is not installed");
    }
    // A line without a size is a size of 0 to pingora's reader: the body ends there, for the node, too, and what comes behind
    // it is taken for the client's next request.
    let known = ["\r\n\r\n\r\nabc\r\n0\r\n\r\n"];
    let (mut counts, mut stricter, mut more, mut wrong) = (BTreeMap::new(), 0, Vec::new(), Vec::new());
    let inputs = inputs();
    for input in &inputs {
        let what = name(input);
        let ours = outcome(&node, TcpStream::connect(running.addresses[0]).await.unwrap(), input).await;
        // One request is one well-formed request, to the path that was asked for.
        let is_one = match &ours.forwarded[..] {
            [] => true,
            [Ok((_, target, _))] => ours.status != 0 && Some(target) == target_of(&input.bytes).as_ref(),
            _ => false,
        };
        if !is_one || ours.answers > 1 || ours.status > 501 {
            wrong.push(format!("{what}: {ours:?}"));
        }
        let is_forwarded = !ours.forwarded.is_empty();
        let key = (input.group, if is_forwarded { "forwarded".to_owned() } else { format!("{}", ours.status) });
        *counts.entry(key).or_insert(0) += 1;
        if let Some(nginx) = &nginx {
            // nginx may wait for the rest of what is none.
            let stream = UnixStream::connect(nginx.socket()).await.unwrap();
            let heard = exchange(stream, &input.bytes).await;
            let theirs: Vec<Result<Recorded, String>> = nginx_node.take();
            let is_known = known.iter().any(|known| String::from_utf8_lossy(&input.bytes).contains(known));
            if is_forwarded && theirs.is_empty() && !is_known {
                let status = statuses(&heard);
                more.push(format!("{what}: here {}, nginx {status:?}", ours.status));
            }
            stricter += usize::from(!is_forwarded && !theirs.is_empty());
        }
    }
    running.stop().await;
    let mut table = format!("{:<14} {:<12} {:>6}\n", "inputs", "outcome", "number");
    for ((group, outcome), count) in &counts {
        let _ = writeln!(table, "{group:<14} {outcome:<12} {count:>6}");
    }
    let _ = write!(table, "{} inputs; {stricter} that nginx lets through reach no node here", inputs.len());
    support::say(&table);
    assert!(wrong.is_empty(), "what a node got is not what was asked for:\n{}", wrong.join("\n"));
    assert!(more.is_empty(), "nginx does not let through:\n{}", more.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_users_on_shared_connections_get_their_own_answers() {
    const CONNECTIONS: usize = 24;
    const REQUESTS: usize = 120;
    let answer = |seen: &stub::Seen| {
        let user = seen.header("authorization").unwrap().to_owned();
        let padding = "x".repeat(user.len() * 97 % 5000);
        let body = format!(r#"{{"repositories":["{user}"],"user":"{user}","padding":"{padding}"}}"#);
        let status = if user.ends_with('7') { 401 } else { 200 };
        let mut response = reply(status, body);
        response.headers_mut().insert("x-user", user.parse().unwrap());
        response.headers_mut().insert("set-cookie", format!("user={user}").parse().unwrap());
        response
    };
    let nodes = [Stub::new(answer).await, Stub::new(answer).await];
    let running = wire::gateway(&nodes.each_ref().map(|node| node.address), "").await;
    let to = running.addresses[0];
    let connections = (0..CONNECTIONS).map(|connection| async move {
        let mut client = support::client::Client::new(to);
        for number in 0..REQUESTS {
            let user = format!("user-{connection}-{number}-{}", (connection * 31 + number * 17) % 10);
            let (method, target) = match number % 4 {
                0 => ("GET", "/v2/_catalog".to_owned()),
                1 => ("GET", format!("/v2/r{number}/tags/list")),
                2 => ("PUT", format!("/v2/r{number}/manifests/x")),
                _ => ("GET", "/v2/".to_owned()),
            };
            if number % 13 == 5 {
                // Somebody who leaves in the middle: what was for him is for nobody.
                let mut stream = TcpStream::connect(to).await.unwrap();
                let lost = format!("GET {target} HTTP/1.1\r\nHost: r\r\nAuthorization: lost-{number}\r\n\r\n");
                stream.write_all(lost.as_bytes()).await.unwrap();
                drop(stream);
            }
            let mut lines = vec![("authorization".to_owned(), user.clone())];
            if method == "PUT" {
                lines.push(("content-length".to_owned(), user.len().to_string()));
            }
            let body = (method == "PUT").then_some(user.as_bytes());
            let got = client.send(method, &target, &lines, body).await.unwrap();
            let what = format!("{user}: {method} {target}: {got:?}");
            assert_eq!(got.values("x-user"), [user.as_str()], "{what}");
            let body = String::from_utf8(got.body.clone()).unwrap();
            assert!(body.contains(&format!("\"{user}\"")), "{what}");
            // Nothing in it is anybody else's: not in the body, and in no line of the header.
            let all = format!("{:?} {body}", got.headers);
            let others = all.split("user-").skip(1).filter(|rest| !rest.starts_with(&user[5..])).count();
            assert!(others == 0 && !all.contains("lost-"), "{what}");
            assert_eq!(got.values("set-cookie"), [format!("user={user}")], "{what}");
        }
        REQUESTS
    });
    let asked: usize = futures::future::join_all(connections).await.into_iter().sum();
    running.stop().await;
    support::say(&format!("{asked} requests of as many users on {CONNECTIONS} connections: each got its own answer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_first_nodes_cookies_reach_the_client() {
    let session = |name: &'static str| {
        Stub::new(move |_| {
            let mut response = reply(200, r#"{"repositories":[]}"#);
            response.headers_mut().insert("set-cookie", format!("user={name}").parse().unwrap());
            response
        })
    };
    let nodes = [session("first").await, session("second").await];
    let ask = async |addresses: &[std::net::SocketAddr]| {
        let running = wire::gateway(addresses, "partial: warn\n").await;
        let got = wire::get(running.addresses[0], "/v2/_catalog").await;
        running.stop().await;
        (got.status, got.header("set-cookie").map(str::to_owned))
    };
    let [first, second] = nodes.each_ref().map(|node| node.address);
    assert_eq!(ask(&[first, second]).await, (200, Some("user=first".to_owned())));
    assert_eq!(ask(&[wire::nowhere().await, second]).await, (200, None));
}

/// What a node says that is no good, and what a client gets: of a stream, and of a fan-out.
const ANSWERS: &[(&str, &str, u16, u16)] = &[
    ("plain", "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"repositories\":[]}", 200, 200),
    (
        "a length twice, the same",
        "HTTP/1.1 200 OK\r\nContent-Length: 19\r\nContent-Length: 19\r\n\r\n{\"repositories\":[]}",
        200,
        200,
    ),
    (
        "a length twice, another",
        "HTTP/1.1 200 OK\r\nContent-Length: 19\r\nContent-Length: 2\r\n\r\n{\"repositories\":[]}",
        502,
        502,
    ),
    (
        "a length and chunks",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n13\r\n{\"repositories\":[]}\r\n0\r\n\r\n",
        200,
        200,
    ),
    ("a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}", 502, 502),
    ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", 502, 502),
    ("an unknown encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: cow\r\n\r\n{}", 502, 502),
    (
        "a line that ends with a line feed",
        "HTTP/1.1 200 OK\r\nX: y\nX-Y: z\r\nContent-Length: 19\r\n\r\n{\"repositories\":[]}",
        200,
        200,
    ),
    (
        "a carriage return in a value",
        "HTTP/1.1 200 OK\r\nX: y\rInjected: z\r\nContent-Length: 19\r\n\r\n{\"repositories\":[]}",
        502,
        502,
    ),
    (
        "a NUL in a value",
        "HTTP/1.1 200 OK\r\nX: y\0Injected\r\nContent-Length: 19\r\n\r\n{\"repositories\":[]}",
        502,
        502,
    ),
    (
        "a folded line",
        "HTTP/1.1 200 OK\r\nX: y\r\n X-Y: z\r\nContent-Length: 19\r\n\r\n{\"repositories\":[]}",
        200,
        502,
    ),
    (
        "a name with a space",
        "HTTP/1.1 200 OK\r\nX Injected: z\r\nContent-Length: 19\r\n\r\n{\"repositories\":[]}",
        502,
        502,
    ),
    (
        "hop-by-hop fields",
        "HTTP/1.1 200 OK\r\nConnection: X-Injected\r\nX-Injected: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nContent-Length: 19\r\n\r\n{\"repositories\":[]}",
        200,
        200,
    ),
    (
        "early hints, then an answer",
        "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"repositories\":[]}",
        200,
        200,
    ),
    ("101, unasked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", 502, 502),
    (
        "an answer behind the answer",
        "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"repositories\":[]}HTTP/1.1 200 OK\r\nInjected: x\r\nContent-Length: 8\r\n\r\ninjected",
        200,
        200,
    ),
    (
        "a redirect elsewhere",
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n",
        307,
        502,
    ),
    ("status 99", "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n", 502, 502),
    ("status 1000", "HTTP/1.1 1000 Odd\r\nContent-Length: 0\r\n\r\n", 502, 502),
    ("a status that is none", "HTTP/1.1 abc Odd\r\nContent-Length: 0\r\n\r\n", 502, 502),
    ("another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n", 502, 502),
    ("another version", "HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n", 502, 502),
    ("a body to 204", "HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\ninjected", 204, 502),
    ("a body to 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\ninjected", 304, 502),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_says_is_looked_at() {
    let (mut table, mut wrong) = (String::new(), Vec::new());
    for (name, said, stream, fan_out) in ANSWERS {
        for (target, expected) in [("/v2/a/tags/list", stream), ("/v2/_catalog", fan_out)] {
            let node = Stub::raw(move |mut stream, _| async move {
                while stub::read_header(&mut stream).await.is_some() {
                    if stream.write_all(said.as_bytes()).await.is_err() {
                        return;
                    }
                }
            })
            .await;
            let running = wire::gateway(&[node.address], "timeouts: {headers: 1s, idle: 1s, total: 2s}\n").await;
            let mut got = Vec::new();
            for _ in 0..2 {
                let to = TcpStream::connect(running.addresses[0]).await.unwrap();
                let heard = exchange(to, get(target).as_bytes()).await;
                let text = String::from_utf8_lossy(&heard).to_ascii_lowercase();
                let found: Vec<u16> = statuses(&heard).into_iter().filter(|status| *status > 199).collect();
                let odd = ["injected", "keep-alive", "101 switching", "cow"];
                let is_clean = !odd.iter().any(|odd| text.contains(odd)) && text.matches("content-length").count() < 2;
                if found != [*expected] || !is_clean {
                    wrong.push(format!("{name}: {target}: {found:?} for {expected}: {text:?}"));
                }
                got.push(found.first().copied().unwrap_or(0));
            }
            let _ = writeln!(table, "{name:<40} {target:<16} {}", got[0]);
            running.stop().await;
        }
    }
    support::say(&table);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
