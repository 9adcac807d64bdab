//! What clients may have under way, send and ask for, each bound with what happens past it, and that it ends there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/stub.rs"]
mod stub;
#[path = "support/wire.rs"]
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use stub::{Stub, reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// A node that answers when it is let, and the number of requests that it has.
async fn slow_node() -> (Stub, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (gate, has) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (opened, count) = (gate.clone(), has.clone());
    let node = Stub::raw(move |mut stream, _| {
        let (gate, count) = (opened.clone(), count.clone());
        async move {
            while stub::read_header(&mut stream).await.is_some() {
                count.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (node, gate, has)
}

async fn until(reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it comes to that");
}

async fn from(to: SocketAddr, client: &str) -> wire::Got {
    let request = format!(
        "GET /v2/a/tags/list HTTP/1.1\r\nHost: r\r\nConnection: close\r\nX-Forwarded-For: evil, {client}\r\n\r\n"
    );
    wire::send(to, request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_too_many_is_503_and_one_of_a_client_is_429() {
    let (node, gate, has) = slow_node().await;
    let yaml = "limits: {requests: 3, client_requests: 2}\ntrusted_proxies: [127.0.0.1]\n";
    let running = wire::gateway(&[node.address], yaml).await;
    let to = running.addresses[0];
    let mut waiting = Vec::new();
    for (number, client) in ["192.0.2.1", "192.0.2.1", "192.0.2.2"].into_iter().enumerate() {
        if number == 2 {
            let refused = from(to, "192.0.2.1").await;
            assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{}", refused.text());
            assert!(refused.text().contains("TOOMANYREQUESTS"), "{}", refused.text());
        }
        waiting.push(tokio::spawn(async move { from(to, client).await.status }));
        until(|| has.load(Ordering::SeqCst) == number + 1).await;
    }
    let refused = from(to, "192.0.2.3").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{}", refused.text());
    // Whoever asks whether it lives is answered all the same.
    assert_eq!(wire::get(to, "/livez").await.status, 200);
    gate.add_permits(100);
    for request in waiting {
        assert_eq!(request.await.unwrap(), 200);
    }
    // What has ended counts no more: neither in all, nor for a client.
    for _ in 0..4 {
        assert_eq!(from(to, "192.0.2.1").await.status, 200);
    }
    running.stop().await;

    // Without a proxy in front that is trusted, a client is who it is, whatever it says.
    let (node, gate, has) = slow_node().await;
    let running = wire::gateway(&[node.address], "limits: {client_requests: 1}\n").await;
    let to = running.addresses[0];
    let first = tokio::spawn(async move { from(to, "192.0.2.1").await.status });
    until(|| has.load(Ordering::SeqCst) == 1).await;
    assert_eq!(from(to, "192.0.2.2").await.status, 429);
    gate.add_permits(100);
    assert_eq!(first.await.unwrap(), 200);
    // A client that leaves gives its place back.
    let (gate, has) = (gate, has);
    let left = gate.available_permits();
    gate.forget_permits(left);
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"GET /v2/a/tags/list HTTP/1.1\r\nHost: r\r\n\r\n").await.unwrap();
    until(|| has.load(Ordering::SeqCst) == 2).await;
    drop(stream);
    gate.add_permits(100);
    let again = async {
        while from(to, "x").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("the place is given back");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_closed_and_others_go_on() {
    let node = Stub::new(|_| reply(200, "{}")).await;
    let running = wire::gateway(&[node.address], "limits: {connections: 3}\n").await;
    let to = running.addresses[0];
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: r\r\n\r\n").await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"ok") {
            assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "{heard:?}");
        }
        held.push(stream);
    }
    let mut refused = TcpStream::connect(to).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(20), refused.read(&mut [0; 1])).await.expect("it is closed");
    assert!(!closed.is_ok_and(|read| read > 0));
    held.pop();
    let again = async {
        loop {
            let mut stream = TcpStream::connect(to).await.unwrap();
            let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n").await;
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard).await;
            if heard.starts_with(b"HTTP/1.1 200 ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("a place is free again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_streams_is_as_large_as_it_may_be() {
    let node = Stub::new(|seen| reply(201, seen.body.len().to_string())).await;
    let running = wire::gateway(&[node.address], "limits: {upload_bytes: 100KiB}\n").await;
    let to = running.addresses[0];
    let head = "PUT /v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: r\r\nConnection: close\r\n";
    let announced = |length: usize| format!("{head}Content-Length: {length}\r\n\r\n{}", "x".repeat(length));
    let chunked = |chunks: usize| {
        let chunk = format!("{:x}\r\n{}\r\n", 1024, "x".repeat(1024));
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(chunks))
    };
    for (request, expected) in [
        (announced(102_400), 201),
        (announced(102_401), 413),
        (chunked(100), 201),
        (chunked(101), 413),
        (chunked(400), 413),
    ] {
        let before = node.seen().len();
        let got = wire::send(to, &request).await;
        assert_eq!(got.status, expected, "{} bytes: {}", request.len(), got.text());
        let reached = node.seen().len() - before;
        assert_eq!(reached, usize::from(expected == 201), "a node got the whole of what is too large");
    }
    running.stop().await;
}

fn post(document: &str) -> String {
    let body = serde_json::json!({"query": document}).to_string();
    format!(
        "POST /v2/_zot/ext/search HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_bounded_as_configured_and_no_parser_recurses() {
    let node = Stub::new(|_| reply(200, r#"{"data":{}}"#)).await;
    let yaml = "limits: {graphql_bytes: 4MiB, graphql_tokens: 200, graphql_depth: 12, graphql_root_fields: 3, \
                graphql_selections: 100}\n";
    let running = wire::gateway(&[node.address], yaml).await;
    let defaults = wire::gateway(&[node.address], "limits: {graphql_bytes: 4MiB}\n").await;
    let chain = |length: usize, end: &str| {
        let links: String = (0..length).map(|i| format!(" fragment F{i} on Query{{...F{}}}", i + 1)).collect();
        format!("{{...F0}}{links} fragment F{length} on Query{{{end}}}")
    };
    let bomb = |depth: usize| {
        let links: String =
            (0..depth).map(|i| format!(" fragment F{i} on Query{{...F{n} ...F{n}}}", n = i + 1)).collect();
        format!("{{...F0}}{links} fragment F{depth} on Query{{a}}")
    };
    for (document, why) in [
        (format!("{{a{}}}", "(x:1)".repeat(60)), "more than 200 tokens"),
        (format!("{}a{}", "{a".repeat(13), "}".repeat(13)), "deeper than 12 levels"),
        ("{a b c d}".to_owned(), "more than 3 root fields"),
        ("{a:x b:x c:x d:x}".to_owned(), "more than 3 root fields"),
        (bomb(10), "expand to more than 100 selections"),
    ] {
        let got = wire::send(running.addresses[0], post(&document)).await;
        assert_eq!(got.status, 422, "{why}: {}", got.text());
        assert!(got.text().contains(why), "{why}: {}", got.text());
    }
    for document in [
        "{a".repeat(100_000),
        "[".repeat(100_000),
        "(".repeat(100_000),
        format!("{{a(x:{}", "[".repeat(100_000)),
        format!("{{a(x:{}", "{y:".repeat(100_000)),
        format!("query($x:{}Int", "[".repeat(100_000)),
        chain(1000, "a"),
        chain(1000, "...F0"),
        bomb(60),
    ] {
        let got = wire::send(defaults.addresses[0], post(&document)).await;
        assert_eq!(got.status, 422, "{}: {}", &document[..40], got.text());
    }
    // Not of the document, but beside it.
    for variables in ["[".repeat(100_000), "{\"a\":".repeat(100_000)] {
        let body = format!(r#"{{"query":"{{a}}","variables":{{"x":{variables}"#);
        let head =
            "POST /v2/_zot/ext/search HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Type: application/json";
        let got =
            wire::send(defaults.addresses[0], format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        assert!((200..500).contains(&got.status), "{}", got.text());
    }
    assert_eq!(wire::get(defaults.addresses[0], "/livez").await.status, 200);
    running.stop().await;
    defaults.stop().await;
}
