//! HTTP/2, in TLS and in plain text: the answers are those that HTTP/1.1 gets, and the nodes see the same requests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/stub.rs"]
mod stub;
#[path = "support/mod.rs"]
mod support;

use bytes::Bytes;
use certificates::Authority;
use futures::StreamExt as _;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use onezot::config::{Config, Listener, ListenerTls};
use onezot::server;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use stub::{Seen, Stub, reply};
use support::client::Client;
use support::gateway;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A gateway that listens in plain HTTP/1.1, in TLS, and in plain text with HTTP/2.
async fn listening(node: &Stub, authority: &Authority, change: impl FnOnce(&mut Config)) -> server::Running {
    let pair = authority.server("server", &["registry.example"]);
    let tls = ListenerTls { certificate: pair.certificate, key: pair.key, ..ListenerTls::default() };
    let any = Listener::from("127.0.0.1:0");
    let listen = vec![any.clone(), Listener { tls: Some(tls), ..any.clone() }, Listener { h2c: true, ..any }];
    let mut config = Config { listen, ..gateway::config(&[node.address]) };
    change(&mut config);
    server::start(config).await.unwrap()
}

async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> SendRequest<Bytes> {
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    send
}

async fn in_tls(
    to: SocketAddr,
    authority: &Authority,
    protocols: &[&str],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let pair = certificates::Pair { certificate: authority.file.clone(), key: authority.file.clone() };
    roots.add_parsable_certificates(pair.chain());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("registry.example").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(to).await.unwrap()).await.unwrap()
}

async fn connect(to: SocketAddr, authority: Option<&Authority>) -> SendRequest<Bytes> {
    match authority {
        Some(authority) => over(in_tls(to, authority, &["h2", "http/1.1"]).await).await,
        None => over(TcpStream::connect(to).await.unwrap()).await,
    }
}

#[derive(Debug, PartialEq)]
struct Got {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

type Lines = Vec<(String, String)>;

async fn ask(
    send: &SendRequest<Bytes>,
    method: &str,
    target: &str,
    lines: &Lines,
    body: &[u8],
) -> Result<Got, h2::Error> {
    let mut request = Request::builder().method(method).uri(format!("https://registry.example{target}"));
    for (name, value) in lines {
        request = request.header(name, value);
    }
    let request = request.body(()).unwrap();
    let mut send = send.clone().ready().await?;
    let (response, mut stream) = send.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(Bytes::copy_from_slice(body), true)?;
    }
    let (parts, mut incoming) = response.await?.into_parts();
    let mut whole = Vec::new();
    while let Some(piece) = incoming.data().await {
        let piece = piece?;
        incoming.flow_control().release_capacity(piece.len())?;
        whole.extend_from_slice(&piece);
    }
    Ok(Got { status: parts.status.as_u16(), headers: lines_of(&parts.headers), body: whole.into() })
}

fn lines_of(headers: &HeaderMap) -> Vec<(String, String)> {
    comparable(headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect())
}

/// Without what speaks of a connection, or of the time.
fn comparable(mut lines: Lines) -> Lines {
    lines
        .retain(|(name, _)| !["date", "connection", "transfer-encoding", "x-forwarded-proto"].contains(&name.as_str()));
    lines.sort();
    lines
}

fn answer(seen: &Seen) -> http::Response<http_body_util::Full<Bytes>> {
    let path = seen.target.split('?').next().unwrap();
    let mut response = match (seen.method.as_str(), path) {
        (_, "/v2/_catalog") => reply(200, r#"{"repositories":["a","b","c"]}"#),
        ("POST", path) if path.ends_with("/uploads/") => reply(202, ""),
        ("PUT" | "PATCH", _) => reply(201, format!("{} bytes", seen.body.len())),
        (_, "/v2/") if !seen.headers.contains_key("authorization") => reply(401, "{}"),
        (_, path) if path.ends_with("/gone") => reply(404, "{}"),
        _ => reply(200, format!("{} {}", seen.method, seen.target)),
    };
    let headers = response.headers_mut();
    headers.insert(
        "location",
        format!("http://{}/v2/a/blobs/uploads/1", seen.headers["host"].to_str().unwrap()).parse().unwrap(),
    );
    headers.insert("docker-distribution-api-version", "registry/2.0".parse().unwrap());
    headers.insert("keep-alive", "timeout=5".parse().unwrap());
    if seen.method == Method::HEAD {
        *response.body_mut() = http_body_util::Full::default();
    }
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_in_http_2_is_answered_as_in_http_1() {
    let authority = Authority::new("ours");
    let node = Stub::new(answer).await;
    let running = listening(&node, &authority, |config| config.limits.graphql_bytes = bytesize::ByteSize::kib(1)).await;
    let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let big = vec![b'x'; 3 << 20];
    let many: Lines = (0..220).map(|number| line(&format!("x-{number}"), "y")).collect();
    let cases: Vec<(&str, &str, Lines, &[u8])> = vec![
        ("GET", "/v2/", Vec::new(), b""),
        ("GET", "/v2/", vec![line("authorization", "Basic YTpi"), line("cookie", "a=b")], b""),
        ("GET", "/v2/_catalog?n=2", Vec::new(), b""),
        ("HEAD", "/v2/_catalog", Vec::new(), b""),
        ("GET", "/v2/a/tags/list?n=1&last=%41", vec![line("accept", "a"), line("accept", "b")], b""),
        ("HEAD", "/v2/a/manifests/x", Vec::new(), b""),
        ("GET", "/v2/a/manifests/gone", Vec::new(), b""),
        ("POST", "/v2/a/blobs/uploads/", vec![line("content-length", "0")], b""),
        ("PATCH", "/v2/a/blobs/uploads/1", vec![line("content-length", "3145728")], &big),
        ("PUT", "/v2/a/manifests/x", vec![line("content-length", "3"), line("content-type", "text/plain")], b"abc"),
        ("DELETE", "/v2/a/manifests/x", Vec::new(), b""),
        ("GET", "/v2//a/tags/list", Vec::new(), b""),
        ("GET", "/v2/a/../b/tags/list", Vec::new(), b""),
        ("GET", "/v2/%2e%2e/b/tags/list", Vec::new(), b""),
        ("GET", "/metrics", Vec::new(), b""),
        ("TRACE", "/v2/a/tags/list", Vec::new(), b""),
        ("get", "/v2/a/tags/list", Vec::new(), b""),
        ("GET", "/livez", Vec::new(), b""),
        ("HEAD", "/livez", Vec::new(), b""),
        ("GET", "/v2/a/tags/list", many, b""),
        (
            "GET",
            "/v2/a/tags/list",
            vec![line("x-forwarded-for", "192.0.2.1"), line("x-zot-cluster-hop-count", "1")],
            b"",
        ),
        ("POST", "/v2/_zot/ext/search", vec![line("content-length", "2000")], &big[..2000]),
        ("POST", "/v2/_zot/ext/cosign", vec![line("content-length", "3")], b"key"),
    ];
    let mut plain = Client::new(running.addresses[0]);
    for (way, to, authority) in
        [("TLS", running.addresses[1], Some(&authority)), ("plain text", running.addresses[2], None)]
    {
        let send = connect(to, authority).await;
        for (method, target, lines, body) in &cases {
            let before = node.seen().len();
            let expected = plain.send(method, target, lines, Some(body)).await.unwrap();
            let between = node.seen().len();
            let got = ask(&send, method, target, lines, body).await.unwrap();
            let what = format!("{way}: {method} {target}");
            let lines = comparable(expected.headers);
            let expected = Got { status: expected.status, headers: lines, body: expected.body.into() };
            assert_eq!(got, expected, "{what}");
            let seen = node.seen();
            let (first, second) = (&seen[before..between], &seen[between..]);
            assert_eq!(first.len(), second.len(), "{what}");
            for (first, second) in first.iter().zip(second) {
                assert_eq!((&first.method, &first.target, &first.body), (&second.method, &second.target, &second.body));
                let host = |headers: &HeaderMap| {
                    let mut lines = lines_of(headers);
                    // Cookies may be split in HTTP/2, and are one line here.
                    lines.retain(|(name, _)| name != "user-agent");
                    lines
                };
                assert_eq!(host(&first.headers), host(&second.headers), "{what}");
                let scheme = if authority.is_some() { "https" } else { "http" };
                assert_eq!(second.header("x-forwarded-proto"), Some(scheme), "{what}");
                assert_eq!(second.header("x-forwarded-host"), Some("registry.example"), "{what}");
            }
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_is_spoken_beside_it() {
    let authority = Authority::new("ours");
    let node = Stub::new(answer).await;
    let running = listening(&node, &authority, |_| ()).await;
    for protocols in [&["http/1.1"][..], &[]] {
        let mut stream = in_tls(running.addresses[1], &authority, protocols).await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    }
    // The shortest request is shorter than what HTTP/2 begins with; others begin in the same way.
    for request in ["GET / HTTP/1.0\r\n\r\n", "PRI /x HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n"] {
        let mut stream = TcpStream::connect(running.addresses[2]).await.unwrap();
        for byte in request.bytes() {
            stream.write_all(&[byte]).await.unwrap();
        }
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert!(heard.starts_with("HTTP/1.1 "), "{request:?}: {heard}");
    }
    // Where it is not configured, it is not spoken in plain text.
    let mut stream = TcpStream::connect(running.addresses[0]).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&heard));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_too_long_is_cut_off_and_who_works_is_not() {
    let authority = Authority::new("ours");
    // A node that takes its time, longer than a client may.
    let node = Stub::raw(|mut stream, _| async move {
        stub::read_header(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let _ = stream.read(&mut [0; 1]).await;
    })
    .await;
    let running = listening(&node, &authority, |config| {
        config.timeouts.client_headers = Duration::from_millis(300);
        config.timeouts.keepalive = Duration::from_millis(300);
    })
    .await;
    for (to, authority) in [(running.addresses[1], Some(&authority)), (running.addresses[2], None)] {
        let send = connect(to, authority).await;
        let got = ask(&send, "GET", "/v2/a/tags/list", &Vec::new(), b"").await.unwrap();
        assert_eq!((got.status, &got.body[..]), (200, &b"ok"[..]));
        // The connection is closed when there is nothing more to do.
        let closed = async {
            while send.clone().ready().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), closed).await.expect("an idle connection is closed");
    }
    // Half of what HTTP/2 begins with, and nothing more.
    let mut halves: Vec<Box<dyn AsyncReadWrite>> = Vec::new();
    halves.push(Box::new(TcpStream::connect(running.addresses[2]).await.unwrap()));
    halves.push(Box::new(in_tls(running.addresses[1], &authority, &["h2"]).await));
    for mut half in halves {
        half.write_all(&PREFACE[..10]).await.unwrap();
        half.flush().await.unwrap();
        let heard = tokio::time::timeout(Duration::from_secs(20), half.read_to_end(&mut Vec::new())).await;
        assert!(heard.is_ok(), "it is not closed");
    }
    running.stop().await;
}

trait AsyncReadWrite: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> AsyncReadWrite for T {}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_in_its_body_is_not_the_nodes_fault() {
    let authority = Authority::new("ours");
    let node = Stub::new(answer).await;
    let running = listening(&node, &authority, |config| {
        config.timeouts.write_answer = Duration::from_millis(300);
        config.timeouts.idle = Duration::from_millis(300);
    })
    .await;
    let send = connect(running.addresses[2], None).await;
    let request = Request::put("http://registry.example/v2/a/manifests/x").header("content-length", "10");
    let mut ready = send.clone().ready().await.unwrap();
    let (response, mut stream) = ready.send_request(request.body(()).unwrap(), false).unwrap();
    stream.send_data(Bytes::from_static(b"abc"), false).unwrap();
    let response = tokio::time::timeout(Duration::from_secs(20), response).await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    // The others on the connection go on, and the node is none that failed.
    let got = ask(&send, "GET", "/v2/a/tags/list", &Vec::new(), b"").await.unwrap();
    assert_eq!(got.status, 200);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_to_go_on_and_whoever_goes_on_is_answered() {
    let authority = Authority::new("ours");
    let node = Stub::new(answer).await;
    let running = listening(&node, &authority, |_| ()).await;
    let send = connect(running.addresses[2], None).await;
    // One that streams, and two whose bodies are read whole.
    for target in ["/v2/a/manifests/x", "/v2/_zot/ext/cosign", "/v2/_zot/ext/search"] {
        let method = if target.contains("_zot") { "POST" } else { "PUT" };
        let lines =
            [("expect", "100-continue"), ("content-length", "3")].map(|(name, value)| (name.into(), value.into()));
        let got = ask(&send, method, target, &lines.to_vec(), b"abc").await.unwrap();
        assert!((200..500).contains(&got.status), "{target}: {got:?}");
    }
    assert_eq!(node.seen()[0].body, "abc");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_users_on_one_connection_get_their_own_answers() {
    let authority = Authority::new("ours");
    let node = Stub::new(|seen| {
        let user = seen.header("authorization").unwrap().to_owned();
        let mut response = reply(200, format!(r#"{{"repositories":["{user}"],"user":"{user}"}}"#));
        response.headers_mut().insert("x-user", user.parse().unwrap());
        response
    })
    .await;
    let running = listening(&node, &authority, |_| ()).await;
    for (to, authority) in [(running.addresses[1], Some(&authority)), (running.addresses[2], None)] {
        let send = connect(to, authority).await;
        let asks = (0..400).map(|number| {
            let send = send.clone();
            async move {
                let user = format!("user-{number}");
                let target = if number % 2 == 0 { "/v2/a/tags/list" } else { "/v2/_catalog" };
                let lines = vec![("authorization".to_owned(), user.clone())];
                let got = ask(&send, "GET", target, &lines, b"").await.unwrap();
                assert_eq!(got.status, 200);
                let body = String::from_utf8(got.body.to_vec()).unwrap();
                assert!(body.contains(&format!("\"{user}\"")) && body.matches("user-").count() <= 2, "{user}: {body}");
                assert!(got.headers.contains(&("x-user".to_owned(), user)), "{:?}", got.headers);
            }
        });
        // As many at a time as the gateway says it takes on one connection.
        futures::stream::iter(asks).buffer_unordered(90).for_each(|()| async {}).await;
    }
    running.stop().await;
}
