//! The gateway before stub nodes: what reaches a node, what comes back, and what becomes of both when something fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/stub.rs"]
mod stub;
#[path = "support/wire.rs"]
mod wire;

use onezot::fleet::Placement;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use stub::{Stub, read_header, reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::{Got, config, gateway, get, nowhere, parse, send};

/// Long enough that only a hang reaches it.
const HANG: Duration = Duration::from_secs(20);

async fn ok_nodes(count: usize) -> (Vec<Stub>, Vec<SocketAddr>) {
    let mut stubs = Vec::new();
    for i in 0..count {
        stubs.push(Stub::new(move |_| reply(200, format!("node {i}"))).await);
    }
    let addresses = stubs.iter().map(|stub| stub.address).collect();
    (stubs, addresses)
}

fn json(got: &Got) -> serde_json::Value {
    serde_json::from_slice(&got.body).unwrap()
}

fn error_of(got: &Got) -> (String, String) {
    let error = &json(got)["errors"][0];
    (error["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_repository_is_served_by_its_owner_alone() {
    let (stubs, addresses) = ok_nodes(3).await;
    let running = gateway(&addresses, "locate: owner\n").await;
    for i in 0..60 {
        let repository = format!("team-{}/app-{i}", i % 7);
        let owner = Placement::default().owner(&repository, 3).node;
        for (method, target) in [
            ("GET", format!("/v2/{repository}/tags/list")),
            ("DELETE", format!("/v2/{repository}/manifests/latest")),
            ("PUT", format!("/v2/_zot/ext/userprefs?action=toggleStar&repo={repository}")),
        ] {
            let request = format!("{method} {target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n");
            let got = send(running.addresses[0], request).await;
            assert_eq!((got.status, got.text()), (200, format!("node {owner}").as_str()), "{method} {target}");
        }
    }
    let total: usize = stubs.iter().map(|stub| stub.seen().len()).sum();
    assert_eq!(total, 180, "each request reached one node");
    running.stop().await;
}

#[tokio::test]
async fn a_node_gets_the_request_as_it_was_sent_and_knows_who_sent_it() {
    let (stubs, addresses) = ok_nodes(1).await;
    let running = gateway(&addresses, "").await;
    let request = "PUT /v2/lib/manifests/a%3Ab?x=%2F&y=1;2 HTTP/1.1\r\nHost: registry.example\r\n\
        Authorization: Basic YTpi\r\nCookie: session=1; user=a\r\nUser-Agent: docker/27.0\r\n\
        X-Zot-Cluster-Hop-Count: 1\r\nX-ZOT-API-CLIENT: zot-ui\r\nX-Forwarded-Host: hub.example\r\n\
        X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nForwarded: for=192.0.2.7\r\nX-Mine: 1\r\nTE: trailers\r\n\
        Content-Type: application/x\r\nContent-Length: 5\r\nConnection: close, X-Mine\r\n\r\nhello";
    assert_eq!(send(running.addresses[0], request).await.status, 200);
    let seen = &stubs[0].seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("PUT", "/v2/lib/manifests/a%3Ab?x=%2F&y=1;2"));
    assert_eq!(seen.body, "hello");
    for (name, value) in [
        ("host", Some(addresses[0].to_string().as_str())),
        ("authorization", Some("Basic YTpi")),
        ("cookie", Some("session=1; user=a")),
        ("user-agent", Some("docker/27.0")),
        ("x-zot-api-client", Some("zot-ui")),
        ("content-type", Some("application/x")),
        ("content-length", Some("5")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("registry.example")),
        ("forwarded", None),
        ("x-zot-cluster-hop-count", None),
        ("x-mine", None),
        ("te", None),
    ] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    running.stop().await;

    let behind = gateway(&addresses, "trusted_proxies: [192.0.2.0/24, 127.0.0.1]\n").await;
    assert_eq!(send(behind.addresses[0], request).await.status, 200);
    let seen = &stubs[0].seen()[1];
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.7, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "hub.example"),
        ("forwarded", "for=192.0.2.7"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    behind.stop().await;
}

#[tokio::test]
async fn a_location_at_a_node_becomes_relative_and_others_stay() {
    let node = Stub::new(|seen| {
        let own = format!("http://{}", seen.header("host").unwrap());
        let location = match seen.target.as_str() {
            "/v2/a/blobs/uploads/" => format!("{own}/v2/a/blobs/uploads/1?_state=a%2Fb"),
            "/v2/_zot/ext/cosign" => format!("{own}/v2/_zot/ext/cosign/1"),
            "/v2/a/blobs/sha256:1" => "https://bucket.example/layer?sig=1".to_owned(),
            _ => "/v2/a/blobs/sha256:2".to_owned(),
        };
        let mut response = reply(202, "");
        response.headers_mut().insert("location", location.parse().unwrap());
        response
    })
    .await;
    let running = gateway(&[node.address], "").await;
    for (target, location) in [
        ("/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/1?_state=a%2Fb"),
        ("/v2/a/blobs/sha256:1", "https://bucket.example/layer?sig=1"),
        ("/v2/a/blobs/uploads/1", "/v2/a/blobs/sha256:2"),
    ] {
        assert_eq!(get(running.addresses[0], target).await.header("location"), Some(location), "{target}");
    }
    let post = "POST /v2/_zot/ext/cosign HTTP/1.1\r\nHost: r\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(send(running.addresses[0], post).await.header("location"), Some("/v2/_zot/ext/cosign/1"));
    running.stop().await;
}

#[tokio::test]
async fn odd_paths_never_reach_a_node() {
    let (stubs, addresses) = ok_nodes(2).await;
    let running = gateway(&addresses, "").await;
    for (target, location) in [
        ("/v2//", "/v2/"),
        ("/v2/lib/../solo/tags/list?n=1", "/v2/solo/tags/list?n=1"),
        ("/v2/./lib/tags/list", "/v2/lib/tags/list"),
        ("/../../etc/passwd", "/etc/passwd"),
    ] {
        let got = get(running.addresses[0], target).await;
        assert_eq!((got.status, got.header("location"), got.text()), (301, Some(location), ""), "{target}");
    }
    for target in ["/v2/lib/manifests/%zz", "*", "http://another.example/v2/", "ftp://registry.example/v2/"] {
        assert_eq!(get(running.addresses[0], target).await.status, 400, "{target}");
    }
    assert!(stubs.iter().all(|stub| stub.seen().is_empty()));
    for (target, sent) in [
        ("http://registry.example/v2/?a=%2F", "/v2/?a=%2F"),
        ("HTTP://registry.example", "/"),
        ("http://registry.example/v2/LIB/x", "/v2/-"),
    ] {
        assert_eq!(get(running.addresses[0], target).await.status, 200, "{target}");
        assert_eq!(stubs[0].seen().last().unwrap().target, sent, "{target}");
    }
    for target in [
        "/v2/lib%2Fcore/tags/list",
        "/v2/lib/manifests/..%2f..%2fx",
        "/v2/%2e%2e/solo/tags/list",
        "/v2/lib/manifests/%00",
        "/v2/lib\\core/tags/list",
        "/v2/lib/manifests/a%5cb",
        "/v2/lib/manifests/a%252fb",
        "/v2/l\u{e4}b/tags/list",
        "/v2/LIB/tags/list",
        "/metrics",
        "/v2/_zot/pprof/heap?seconds=1",
    ] {
        assert_eq!(get(running.addresses[0], target).await.text(), "node 0", "{target}");
        assert_eq!(stubs[0].seen().last().unwrap().target, "/v2/-", "{target}: any node says what a zot says");
    }
    running.stop().await;
}

/// A node with a catalog that pages by itself, as other registries do.
async fn catalog_node(names: &'static [&'static str], page: usize) -> Stub {
    Stub::new(move |seen| {
        let last = seen.target.split("last=").nth(1).map(|rest| rest.split('&').next().unwrap());
        let start = last.map_or(0, |last| names.iter().position(|name| *name == last).map_or(names.len(), |at| at + 1));
        let entries = &names[start..names.len().min(start + page)];
        let mut response = reply(200, serde_json::json!({"repositories": entries}).to_string());
        let headers = response.headers_mut();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("access-control-allow-origin", "*".parse().unwrap());
        if start + page < names.len() {
            let link = format!("</v2/_catalog?last={}&n={page}>; rel=\"next\"", entries[entries.len() - 1]);
            headers.insert("link", link.parse().unwrap());
        }
        response
    })
    .await
}

#[tokio::test]
async fn the_catalog_is_the_union_of_all_pages_of_all_nodes() {
    let a = catalog_node(&["a", "a/b", "a-b", "c", "d"], 2).await;
    let b = catalog_node(&["a.b", "c", "e/f"], 100).await;
    let empty = catalog_node(&[], 100).await;
    let running = gateway(&[a.address, b.address, empty.address], "").await;
    let to = running.addresses[0];
    let whole = r#"{"repositories":["a","a/b","a-b","a.b","c","d","e/f"]}"#;
    let got = get(to, "/v2/_catalog").await;
    assert_eq!((got.status, got.text(), got.header("link")), (200, whole, None));
    assert_eq!(got.header("content-type"), Some("application/json"));
    assert_eq!(got.header("access-control-allow-origin"), Some("*"));
    let asked: Vec<String> = a.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(asked, ["/v2/_catalog", "/v2/_catalog?last=a/b&n=2", "/v2/_catalog?last=c&n=2"]);

    let page = get(to, "/v2/_catalog?n=3&last=a/b").await;
    assert_eq!(page.text(), r#"{"repositories":["a-b","a.b","c"]}"#);
    assert_eq!(page.header("link"), Some("</v2/_catalog?n=3&last=c>; rel=\"next\""));
    assert_eq!(get(to, "/v2/_catalog?n=0").await.text(), r#"{"repositories":[]}"#);
    assert_eq!(get(to, "/v2/_catalog?n=-1").await.text(), whole);
    assert_eq!(get(to, "/v2/_catalog?last=nope").await.text(), r#"{"repositories":[]}"#);
    running.stop().await;
}

#[tokio::test]
async fn a_catalog_that_lacks_a_node_is_an_error_unless_that_is_allowed() {
    let good = catalog_node(&["a"], 100).await;
    let quick = "timeouts: {headers: 300ms, idle: 300ms}\nlimits: {answer_bytes: 2KiB}\n";
    let bad_json = Stub::new(|_| reply(200, "<html>")).await;
    let refusing = Stub::new(|_| reply(500, "")).await;
    let unauthorized = Stub::new(|_| reply(401, "")).await;
    let huge = Stub::new(|_| reply(200, vec![b' '; 4096])).await;
    let circle = Stub::new(|_| {
        let mut response = reply(200, r#"{"repositories":[]}"#);
        response.headers_mut().insert("link", "</v2/_catalog?last=x>; rel=\"next\"".parse().unwrap());
        response
    })
    .await;
    let hanging = Stub::raw(|stream, _| async move {
        tokio::time::sleep(HANG).await;
        drop(stream);
    })
    .await;
    let stopping = Stub::raw(|mut stream, _| async move {
        read_header(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"repos").await.unwrap();
        tokio::time::sleep(HANG).await;
    })
    .await;
    let breaking = Stub::raw(|mut stream, _| async move {
        read_header(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"repos").await.unwrap();
    })
    .await;
    for (fault, address, status) in [
        ("nobody listens", nowhere().await, 502),
        ("bad JSON", bad_json.address, 502),
        ("status 500", refusing.address, 502),
        ("401 by one of the others", unauthorized.address, 502),
        ("too large", huge.address, 502),
        ("a circle of links", circle.address, 502),
        ("no answer", hanging.address, 504),
        ("a body that stops", stopping.address, 504),
        ("a body that breaks off", breaking.address, 502),
    ] {
        let strict = gateway(&[good.address, address], quick).await;
        let got = get(strict.addresses[0], "/v2/_catalog").await;
        assert_eq!(got.status, status, "{fault}");
        let (code, message) = error_of(&got);
        assert_eq!(code, "UNAVAILABLE", "{fault}");
        assert!(message.contains("zot-1") && !message.contains("zot-0"), "{fault}: {message}");
        assert!(!message.contains("127.0.0.1"), "an address is for the log: {message}");
        strict.stop().await;

        let lax = gateway(&[good.address, address], &format!("{quick}partial: warn\n")).await;
        let got = get(lax.addresses[0], "/v2/_catalog").await;
        assert_eq!((got.status, got.text()), (200, r#"{"repositories":["a"]}"#), "{fault}");
        assert_eq!(got.header("warning"), Some("199 onezot \"incomplete: no answer from zot-1\""), "{fault}");
        lax.stop().await;
    }
    let none = gateway(&[nowhere().await, nowhere().await], "partial: warn\n").await;
    assert_eq!(get(none.addresses[0], "/v2/_catalog").await.status, 502, "all failed is never success");
    none.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_tried_at_one_node() {
    let answer = |seen: &stub::Seen| match seen.header("authorization") {
        Some("Basic good") => reply(200, r#"{"repositories":["a"]}"#),
        Some(_) => reply(401, "no"),
        None => reply(200, r#"{"repositories":[]}"#),
    };
    let stubs = [Stub::new(answer).await, Stub::new(answer).await, Stub::new(answer).await];
    let addresses: Vec<SocketAddr> = stubs.iter().map(|stub| stub.address).collect();
    let running = gateway(&addresses, "").await;
    let ask = |credentials: &'static str| {
        let to = running.addresses[0];
        async move {
            let line = format!("GET /v2/_catalog HTTP/1.1\r\nHost: r\r\n{credentials}Connection: close\r\n\r\n");
            send(to, line).await
        }
    };
    let counts = || stubs.iter().map(|stub| stub.seen().len()).collect::<Vec<_>>();
    let got = ask("Authorization: Basic bad\r\n").await;
    assert_eq!((got.status, got.text()), (401, "no"));
    assert_eq!(counts(), [1, 0, 0]);
    assert_eq!(ask("Authorization: Basic good\r\n").await.status, 200);
    assert_eq!(counts(), [2, 1, 1]);
    assert_eq!(ask("").await.status, 200);
    assert_eq!(counts(), [3, 2, 2]);
    running.stop().await;
}

/// A node whose connections each answer one request and die on the second, without a word.
async fn forgetful(answered: Arc<AtomicUsize>, died: Arc<AtomicUsize>) -> Stub {
    Stub::raw(move |mut stream, _| {
        let (answered, died) = (answered.clone(), died.clone());
        async move {
            if read_header(&mut stream).await.is_some() {
                answered.fetch_add(1, Ordering::SeqCst);
                let body = r#"{"repositories":[]}"#;
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            if read_header(&mut stream).await.is_some() {
                died.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_read_is_repeated_once_on_a_dead_connection_and_a_write_never() {
    for (method, target, status) in [
        ("GET", "/v2/lib/tags/list", 200),
        ("GET", "/v2/_catalog", 200),
        ("PUT", "/v2/lib/manifests/1", 502),
        ("DELETE", "/v2/lib/manifests/1", 502),
        ("POST", "/v2/lib/blobs/uploads/", 502),
        ("PUT", "/v2/_zot/ext/userprefs?action=toggleStar&repo=lib", 502),
    ] {
        let (answered, died): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let node = forgetful(answered.clone(), died.clone()).await;
        let running = gateway(&[node.address], "").await;
        let first = if target == "/v2/_catalog" { target } else { "/v2/lib/tags/list" };
        assert_eq!(get(running.addresses[0], first).await.status, 200);
        let line = format!("{method} {target} HTTP/1.1\r\nHost: r\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(send(running.addresses[0], line).await.status, status, "{method} {target}");
        assert_eq!(died.load(Ordering::SeqCst), 1, "{method} {target}");
        let repeated = answered.load(Ordering::SeqCst) - 1;
        assert_eq!(repeated, usize::from(status == 200), "{method} {target}");
        running.stop().await;
    }
}

#[tokio::test]
async fn where_any_node_would_do_a_read_goes_on_to_the_next() {
    let (stubs, up) = ok_nodes(1).await;
    let addresses = [nowhere().await, up[0]];
    let running = gateway(&addresses, "").await;
    assert_eq!(get(running.addresses[0], "/v2/").await.text(), "node 0");
    let post = "POST /v2/ HTTP/1.1\r\nHost: r\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(send(running.addresses[0], post).await.status, 200, "the dead node is known by now and asked last");
    assert_eq!(stubs[0].seen().len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_dead_owner_is_502_a_late_one_504_and_never_404() {
    let hanging = Stub::raw(|stream, _| async move {
        tokio::time::sleep(HANG).await;
        drop(stream);
    })
    .await;
    let garbage = Stub::raw(|mut stream, _| async move {
        read_header(&mut stream).await;
        stream.write_all(b"SSH-2.0-OpenSSH\r\n\r\n").await.unwrap();
    })
    .await;
    for (address, status) in [(nowhere().await, 502), (hanging.address, 504), (garbage.address, 502)] {
        let running = gateway(&[address], "timeouts: {headers: 200ms, idle: 200ms}\n").await;
        for target in ["/v2/lib/manifests/1", "/v2/lib/referrers/sha256:1", "/v2/", "/v2/_catalog"] {
            let got = get(running.addresses[0], target).await;
            assert_eq!(got.status, status, "{target}");
            let (code, message) = error_of(&got);
            assert!(code == "UNAVAILABLE" && message.contains("node zot-0"), "{target}: {message}");
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_502_and_no_panic() {
    let mut config = config(&["127.0.0.1:1".parse().unwrap()], "");
    config.nodes[0].url = "http://nowhere.invalid:5000".to_owned().try_into().unwrap();
    let running = onezot::server::start(config).await.unwrap();
    for target in ["/v2/lib/tags/list", "/v2/", "/v2/_catalog"] {
        assert_eq!(get(running.addresses[0], target).await.status, 502, "{target}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_does_not_look_whole() {
    let node = Stub::raw(|mut stream, _| async move {
        read_header(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
    })
    .await;
    let running = gateway(&[node.address], "").await;
    let got = get(running.addresses[0], "/v2/lib/blobs/sha256:1").await;
    assert_eq!((got.header("content-length"), got.text()), (Some("100"), "half"));
    running.stop().await;
}

#[tokio::test]
async fn headers_are_bounded_and_host_is_required() {
    let (stubs, addresses) = ok_nodes(1).await;
    let running = gateway(&addresses, "limits: {header_bytes: 4KiB, header_count: 20}\n").await;
    let request = |lines: &str| format!("GET /v2/ HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
    let many: String = (0..30).map(|i| format!("X-{i}: 1\r\n")).collect();
    for (what, request, status) in [
        ("one large field", request(&format!("Host: r\r\nX-Large: {}\r\n", "x".repeat(5000))), 431),
        ("a long target", request("Host: r\r\n").replace("/v2/", &format!("/v2/?{}", "x".repeat(5000))), 431),
        ("many fields", request(&format!("Host: r\r\n{many}")), 431),
        ("no Host", request(""), 400),
        ("within bounds", request(&format!("Host: r\r\nX-Large: {}\r\n", "x".repeat(3000))), 200),
    ] {
        assert_eq!(send(running.addresses[0], request).await.status, status, "{what}");
    }
    assert_eq!(stubs[0].seen().len(), 1);
    running.stop().await;
}

/// Reads until the other side closes; panics if it does not.
async fn closed(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(HANG, stream.read_to_end(&mut rest)).await.expect("the connection was not closed");
    rest
}

#[tokio::test]
async fn clients_that_take_their_time_are_cut_off() {
    let (_stubs, addresses) = ok_nodes(1).await;
    let quick = "timeouts: {client_headers: 300ms, keepalive: 1s, idle: 500ms}\n";
    let running = gateway(&addresses, quick).await;
    let to = running.addresses[0];

    // A byte at a time, each well within any timeout of a single read.
    let slow = TcpStream::connect(to).await.unwrap();
    let (mut read, mut write) = slow.into_split();
    let dripping = tokio::spawn(async move {
        for byte in b"GET /v2/ HTTP/1.1\r\nHost: r\r\nX-Slow: ".iter().chain([b'x'].iter().cycle()) {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(HANG, read.read_to_end(&mut rest)).await.expect("a slow header is not cut off");
    dripping.abort();

    // The same on the second request of a connection.
    let mut second = TcpStream::connect(to).await.unwrap();
    second.write_all(b"GET /livez HTTP/1.1\r\nHost: r\r\n\r\nGET /v").await.unwrap();
    closed(second).await;

    // Idle after an answer.
    let mut idle = TcpStream::connect(to).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: r\r\n\r\n").await.unwrap();
    assert_eq!(parse(&closed(idle).await).status, 200);

    // A body that does not come.
    let mut body = TcpStream::connect(to).await.unwrap();
    body.write_all(b"PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: r\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
    assert_eq!(parse(&closed(body).await).status, 408);
    running.stop().await;
}

#[tokio::test]
async fn who_does_not_stop_sending_behind_an_answer_is_cut_off() {
    let (_stubs, addresses) = ok_nodes(1).await;
    let running = gateway(&addresses, "").await;
    let endless = TcpStream::connect(running.addresses[0]).await.unwrap();
    let (mut read, mut write) = endless.into_split();
    write.write_all(b"POST /v2//x HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    let sending = tokio::spawn(async move {
        while write.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(HANG, read.read_to_end(&mut answer)).await.expect("the body is read for ever");
    assert_eq!(parse(&answer).status, 301);
    sending.abort();
    running.stop().await;
}

#[tokio::test]
async fn a_body_streams_before_it_is_whole() {
    let (sent, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let node = Stub::raw(move |mut stream, _| {
        let sent = sent.clone();
        async move {
            read_header(&mut stream).await;
            let mut total = 0;
            let mut buffer = vec![0; 65536];
            while total < 3_000_000 {
                let read = stream.read(&mut buffer).await.unwrap();
                total += read;
                sent.send(total).unwrap();
            }
            stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let running = gateway(&[node.address], "").await;
    let mut client = TcpStream::connect(running.addresses[0]).await.unwrap();
    let header =
        "PATCH /v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: r\r\nContent-Length: 3000000\r\nConnection: close\r\n\r\n";
    client.write_all(header.as_bytes()).await.unwrap();
    client.write_all(&vec![1; 1_000_000]).await.unwrap();
    while arrived.recv().await.unwrap() < 1_000_000 {}
    client.write_all(&vec![1; 2_000_000]).await.unwrap();
    assert_eq!(parse(&closed(client).await).status, 201);
    running.stop().await;
}

#[tokio::test]
async fn a_trust_upload_reaches_every_node_or_says_which_lacks_it() {
    let post = "POST /v2/_zot/ext/cosign?x=1 HTTP/1.1\r\nHost: r\r\nContent-Length: 3\r\nConnection: close\r\n\r\nkey";
    let (stubs, addresses) = ok_nodes(3).await;
    let running = gateway(&addresses, "limits: {body_bytes: 1KiB}\n").await;
    assert_eq!(send(running.addresses[0], post).await.text(), "node 0");
    for stub in &stubs {
        let seen = stub.seen();
        assert_eq!(
            (seen.len(), seen[0].target.as_str(), &seen[0].body[..]),
            (1, "/v2/_zot/ext/cosign?x=1", &b"key"[..])
        );
    }
    let large = post.replace("Content-Length: 3", "Content-Length: 2000");
    assert_eq!(send(running.addresses[0], large).await.status, 413);
    let chunked = post.replace("Content-Length: 3", "Transfer-Encoding: chunked").replace("key", "");
    let chunked = format!("{chunked}7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000));
    assert_eq!(send(running.addresses[0], chunked).await.status, 413);
    assert_eq!(stubs[0].seen().len(), 1, "what is too large reaches nobody");

    // A client that waits to be told to go on is told.
    let mut waiting = TcpStream::connect(running.addresses[0]).await.unwrap();
    let (header, body) = post.split_at(post.len() - 3);
    let header = header.replace("Connection: close", "Expect: 100-continue\r\nConnection: close");
    waiting.write_all(header.as_bytes()).await.unwrap();
    assert!(read_header(&mut waiting).await.unwrap().starts_with("HTTP/1.1 100 "));
    waiting.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(parse(&closed(waiting).await).status, 200);
    running.stop().await;

    let refusing = Stub::new(|_| reply(404, "404 page not found\n")).await;
    let off = gateway(&[refusing.address, addresses[0]], "").await;
    assert_eq!(send(off.addresses[0], post).await.text(), "404 page not found\n", "the first node's no is the answer");
    off.stop().await;

    let torn = gateway(&[addresses[0], refusing.address], "partial: warn\n").await;
    let got = send(torn.addresses[0], post).await;
    assert_eq!(got.status, 502);
    assert!(error_of(&got).1.contains("node zot-1 answered 404"), "{}", got.text());
    torn.stop().await;
}

/// What a zot does with keys: each is stored under its digest, so that the same one may come again.
async fn trust_node(refusal: Option<u16>) -> (Stub, Arc<AtomicUsize>) {
    let stored: Arc<AtomicUsize> = Arc::default();
    let count = stored.clone();
    let node = Stub::new(move |seen| match (refusal, seen.header("authorization")) {
        (_, Some("Basic bad")) => reply(401, "who are you"),
        (_, Some("Basic bob")) => reply(403, "not you"),
        (Some(status), _) => reply(status, ""),
        (None, _) if seen.body == "junk" => reply(400, ""),
        (None, _) => {
            count.fetch_add(1, Ordering::SeqCst);
            reply(200, "")
        }
    });
    (node.await, stored)
}

fn trust_upload(kind: &str, user: &str, body: &str) -> String {
    let lines =
        format!("Host: r\r\nAuthorization: Basic {user}\r\nContent-Length: {}\r\nConnection: close", body.len());
    format!("POST /v2/_zot/ext/{kind} HTTP/1.1\r\n{lines}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_trust_upload_that_some_nodes_lack_names_them_and_may_be_repeated() {
    let ((first, first_stored), (last, last_stored)) = (trust_node(None).await, trust_node(None).await);
    let (full, _) = trust_node(Some(500)).await;
    let hanging = Stub::raw(|stream, _| async move {
        tokio::time::sleep(HANG).await;
        drop(stream);
    })
    .await;
    let dead = nowhere().await;
    let quick = "partial: warn\ntimeouts: {headers: 300ms}\n";
    for (addresses, status, missing, accepted, says) in [
        ([first.address, dead, last.address], 502, vec![1], vec![0, 2], "node zot-1 cannot be reached"),
        ([first.address, full.address, last.address], 502, vec![1], vec![0, 2], "node zot-1 answered 500"),
        ([first.address, last.address, hanging.address], 504, vec![2], vec![0, 1], "node zot-2 did not answer in time"),
        ([first.address, full.address, dead], 502, vec![1, 2], vec![0], "zot-1 answered 500; node zot-2 cannot"),
        // What the first node cannot take is tried at no other: all of them lack it.
        ([dead, first.address, last.address], 502, vec![0, 1, 2], vec![], "node zot-0 cannot be reached"),
        ([full.address, first.address, last.address], 502, vec![0, 1, 2], vec![], "node zot-0 answered 500"),
    ] {
        let running = gateway(&addresses, quick).await;
        for kind in ["cosign", "notation?truststoreType=ca"] {
            let got = send(running.addresses[0], trust_upload(kind, "alice", "key")).await;
            assert_eq!(got.status, status, "{}", got.text());
            let (code, message) = error_of(&got);
            assert_eq!(code, "UNAVAILABLE");
            assert!(message.contains("repeating it is safe") && message.contains(says), "{message}");
            let names = |nodes: &[usize]| nodes.iter().map(|node| format!("zot-{node}")).collect::<Vec<_>>();
            let detail = serde_json::json!({"nodes": names(&missing), "accepted": names(&accepted)});
            assert_eq!(json(&got)["errors"][0]["detail"], detail, "{message}");
        }
        running.stop().await;
    }
    // Once the node is back, the same upload is accepted by all, also by those that have it.
    let before = (first_stored.load(Ordering::SeqCst), last_stored.load(Ordering::SeqCst));
    let (again, again_stored) = trust_node(None).await;
    let running = gateway(&[first.address, again.address, last.address], quick).await;
    let got = send(running.addresses[0], trust_upload("cosign", "alice", "key")).await;
    assert_eq!((got.status, got.text()), (200, ""));
    let after = (first_stored.load(Ordering::SeqCst), last_stored.load(Ordering::SeqCst));
    assert_eq!((after, again_stored.load(Ordering::SeqCst)), ((before.0 + 1, before.1 + 1), 1));
    running.stop().await;
}

#[tokio::test]
async fn a_trust_upload_that_all_refuse_is_answered_by_the_first_and_asked_of_no_other() {
    let nodes = [trust_node(None).await.0, trust_node(None).await.0, trust_node(None).await.0];
    let addresses = [nodes[0].address, nodes[1].address, nodes[2].address];
    let running = gateway(&addresses, "").await;
    // Also when the credentials were good a moment ago.
    for (user, body, status, text) in [
        ("bad", "key", 401, "who are you"),
        ("bob", "key", 403, "not you"),
        ("alice", "junk", 400, ""),
        ("alice", "key", 200, ""),
        ("alice", "junk", 400, ""),
        ("bad", "key", 401, "who are you"),
    ] {
        let before = nodes.each_ref().map(|node| node.seen().len());
        let got = send(running.addresses[0], trust_upload("cosign", user, body)).await;
        assert_eq!((got.status, got.text()), (status, text), "{user} {body}");
        let asked: Vec<usize> = nodes.iter().zip(before).map(|(node, before)| node.seen().len() - before).collect();
        assert_eq!(asked, if status == 200 { [1, 1, 1] } else { [1, 0, 0] }, "{user} {body}");
    }
    running.stop().await;
}

#[tokio::test]
async fn stopping_waits_for_requests_in_flight_and_for_nothing_else() {
    let node = Stub::raw(|mut stream, _| async move {
        read_header(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await.unwrap();
    })
    .await;
    let running = gateway(&[node.address], "").await;
    let to = running.addresses[0];
    let idle = TcpStream::connect(to).await.unwrap();
    let request = tokio::spawn(get(to, "/v2/lib/tags/list"));
    while running.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(running.stop().await, 0, "nothing is cut off");
    assert_eq!(request.await.unwrap().text(), "done");
    closed(idle).await;
    assert!(TcpStream::connect(to).await.is_err(), "nobody listens any more");

    let hanging = Stub::raw(|stream, _| async move {
        tokio::time::sleep(HANG).await;
        drop(stream);
    })
    .await;
    let running = gateway(&[hanging.address], "timeouts: {drain: 200ms}\n").await;
    let stuck = tokio::spawn(get(running.addresses[0], "/v2/lib/tags/list"));
    while running.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    assert_eq!(running.stop().await, 1, "what does not end in the drain time is cut off");
    assert!(began.elapsed() < HANG);
    stuck.abort();
}

#[tokio::test]
async fn gateways_come_and_go_in_one_process() {
    // A connection that may be used again is kept for its time, also past the gateway's end: this node keeps none.
    let node = Stub::new(|_| {
        let mut response = reply(200, "");
        response.headers_mut().insert("connection", "close".parse().unwrap());
        response
    })
    .await;
    let addresses = [node.address];
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut after_first = 0;
    for round in 0..10 {
        let mut several = Vec::new();
        for _ in 0..5 {
            several.push(gateway(&addresses, "").await);
        }
        for running in &several {
            assert_eq!(get(running.addresses[0], "/v2/lib/tags/list").await.status, 200);
        }
        for running in several {
            assert_eq!(running.stop().await, 0);
        }
        if round == 0 {
            after_first = descriptors();
        }
    }
    // Other tests of this process open and close some, too; fifty gateways that stayed would be seen.
    assert!(descriptors() < after_first + 40, "{after_first} -> {}", descriptors());
}

#[tokio::test]
async fn a_node_that_cannot_say_what_follows_a_hidden_name_is_missing() {
    let bad: [fn() -> http::Response<http_body_util::Full<bytes::Bytes>>; 3] =
        [|| reply(503, ""), || reply(429, ""), || reply(200, "<html>")];
    for answer in bad {
        let node = Stub::new(move |seen| match seen.target.contains("last=") {
            true => answer(),
            false => reply(200, r#"{"repositories":["a","z"]}"#),
        })
        .await;
        let strict = gateway(&[node.address], "").await;
        let got = get(strict.addresses[0], "/v2/_catalog?n=5&last=hidden").await;
        assert_eq!(got.status, 502, "{}", got.text());
        assert!(error_of(&got).1.contains("node zot-0"), "{}", got.text());
        strict.stop().await;

        let lax = gateway(&[node.address], "partial: warn\n").await;
        let got = get(lax.addresses[0], "/v2/_catalog?n=5&last=hidden").await;
        assert_eq!((got.status, got.text()), (200, r#"{"repositories":[]}"#));
        assert_eq!(got.header("warning"), Some("199 onezot \"incomplete: no answer from zot-0\""));
        lax.stop().await;
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_what_it_understands() {
    let chunked = Stub::raw(|mut stream, _| async move {
        read_header(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let running = gateway(&[chunked.address], "").await;
    let to = running.addresses[0];
    for (connection, target) in
        [("", "/v2/a/tags/list"), ("", "/livez"), ("Connection: keep-alive\r\n", "/v2/a/tags/list")]
    {
        let mut client = TcpStream::connect(to).await.unwrap();
        let request = format!("GET {target} HTTP/1.0\r\nHost: r\r\n{connection}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let got = parse(&closed(client).await);
        assert_eq!((got.status, got.header("transfer-encoding")), (200, None), "{connection}{target}");
        assert_eq!(got.header("connection"), Some("close"), "{connection}{target}");
        assert_eq!(got.text(), if target == "/livez" { "ok" } else { "done" });
    }
    running.stop().await;
}

#[tokio::test]
async fn answers_of_a_gateway_that_stops_close_their_connections() {
    let (go, gone) = tokio::sync::watch::channel(false);
    let node = Stub::raw(move |mut stream, _| {
        let mut gone = gone.clone();
        async move {
            read_header(&mut stream).await;
            gone.wait_for(|gone| *gone).await.unwrap();
            let body = r#"{"repositories":[]}"#;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let running = gateway(&[node.address], "timeouts: {drain: 20s}\n").await;
    let to = running.addresses[0];
    let mut clients = Vec::new();
    for target in ["/v2/a/tags/list", "/v2/_catalog"] {
        let mut client = TcpStream::connect(to).await.unwrap();
        client.write_all(format!("GET {target} HTTP/1.1\r\nHost: r\r\n\r\n").as_bytes()).await.unwrap();
        clients.push(client);
    }
    while running.in_flight() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let stopping = tokio::spawn(running.stop());
    while TcpStream::connect(to).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    go.send_replace(true);
    for client in clients {
        let got = parse(&closed(client).await);
        assert_eq!((got.status, got.header("connection")), (200, Some("close")));
    }
    assert_eq!(stopping.await.unwrap(), 0);
}

#[tokio::test]
async fn a_failure_after_100_continue_is_told() {
    let node = Stub::raw(|mut stream, _| async move {
        read_header(&mut stream).await;
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        stream.read_u8().await.unwrap();
    })
    .await;
    let running = gateway(&[node.address], "").await;
    let mut client = TcpStream::connect(running.addresses[0]).await.unwrap();
    let header = "PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(header.as_bytes()).await.unwrap();
    assert!(read_header(&mut client).await.unwrap().starts_with("HTTP/1.1 100 "));
    client.write_all(b"hello").await.unwrap();
    let got = parse(&closed(client).await);
    assert_eq!(got.status, 502);
    assert!(error_of(&got).1.contains("node zot-0"), "{}", got.text());
    running.stop().await;
}

#[tokio::test]
async fn a_body_for_every_node_that_does_not_come_is_408_and_one_that_is_wrong_400() {
    let (stubs, addresses) = ok_nodes(1).await;
    let post = "POST /v2/_zot/ext/cosign HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\n";
    for timeouts in ["{idle: 300ms}", "{total: 300ms}"] {
        let running = gateway(&addresses, &format!("timeouts: {timeouts}\n")).await;
        let to = running.addresses[0];
        let mut client = TcpStream::connect(to).await.unwrap();
        client.write_all(format!("{post}Expect: 100-continue\r\n\r\n").as_bytes()).await.unwrap();
        assert!(read_header(&mut client).await.unwrap().starts_with("HTTP/1.1 100 "));
        assert_eq!(parse(&closed(client).await).status, 408, "{timeouts}");

        let mut client = TcpStream::connect(to).await.unwrap();
        client.write_all(format!("{post}\r\nkey").as_bytes()).await.unwrap();
        assert_eq!(parse(&closed(client).await).status, 408, "{timeouts}");

        let wrong = post.replace("Content-Length: 5", "Transfer-Encoding: chunked");
        assert_eq!(send(to, format!("{wrong}\r\nxyz\r\n\r\n")).await.status, 400);
        running.stop().await;
    }

    // A byte at a time, each well within any timeout of a single read.
    let running = gateway(&addresses, "timeouts: {total: 500ms}\n").await;
    let (mut read, mut write) = TcpStream::connect(running.addresses[0]).await.unwrap().into_split();
    write.write_all(post.replace(": 5", ": 100000").as_bytes()).await.unwrap();
    write.write_all(b"\r\n").await.unwrap();
    let dripping = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(HANG, read.read_to_end(&mut answer)).await.expect("a slow body is not cut off");
    assert_eq!(parse(&answer).status, 408);
    dripping.abort();
    assert!(stubs[0].seen().is_empty(), "what did not come whole reaches nobody");
    running.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_used_stays_open() {
    let (_stubs, addresses) = ok_nodes(1).await;
    let running = gateway(&addresses, "timeouts: {client_headers: 1s, keepalive: 1s}\n").await;
    let mut client = TcpStream::connect(running.addresses[0]).await.unwrap();
    let began = Instant::now();
    // For longer than a connection without a request would be let to live.
    while began.elapsed() < Duration::from_secs(4) {
        client.write_all(b"GET /livez HTTP/1.1\r\nHost: r\r\n\r\n").await.unwrap();
        let header = read_header(&mut client).await.expect("the connection was closed");
        assert!(header.starts_with("HTTP/1.1 200 "), "{header}");
        client.read_exact(&mut [0; 2]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn a_node_may_take_its_time_over_what_it_was_sent() {
    let node = Stub::raw(|mut stream, _| async move {
        read_header(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    let put = "PUT /v2/a/blobs/uploads/1?digest=sha256:1 HTTP/1.1\r\nHost: r\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (write_answer, status) in [("15s", 201), ("300ms", 504)] {
        let timeouts = format!("timeouts: {{headers: 300ms, idle: 300ms, write_answer: {write_answer}}}\n");
        let running = gateway(&[node.address], &timeouts).await;
        assert_eq!(send(running.addresses[0], put).await.status, status, "{write_answer}");
        running.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_stops_is_not_taken_for_a_late_node() {
    let (_stubs, addresses) = ok_nodes(1).await;
    let running = gateway(&addresses, "timeouts: {headers: 200ms, idle: 200ms, write_answer: 200ms}\n").await;
    let stopping = (0..30).map(|_| async {
        let mut client = TcpStream::connect(running.addresses[0]).await.unwrap();
        let half = b"PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: r\r\nContent-Length: 10\r\n\r\nhalf";
        client.write_all(half).await.unwrap();
        parse(&closed(client).await).status
    });
    for status in futures::future::join_all(stopping).await {
        assert_eq!(status, 408);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_fan_out_whose_lead_fails_goes_no_further_unless_that_is_allowed() {
    let post = "POST /v2/_zot/ext/cosign HTTP/1.1\r\nHost: r\r\nContent-Length: 3\r\nConnection: close\r\n\r\nkey";
    let catalog = "GET /v2/_catalog HTTP/1.1\r\nHost: r\r\nAuthorization: Basic x\r\nConnection: close\r\n\r\n";
    let good = Stub::new(|_| reply(200, r#"{"repositories":["a"]}"#)).await;
    let addresses = [nowhere().await, nowhere().await, good.address];
    for (yaml, request, status, reached) in [
        ("partial: fail\n", catalog, 502, false),
        ("partial: fail\n", post, 502, false),
        ("partial: warn\n", post, 502, false),
        ("partial: warn\n", catalog, 200, true),
    ] {
        let before = good.seen().len();
        let running = gateway(&addresses, yaml).await;
        let got = send(running.addresses[0], request).await;
        assert_eq!(got.status, status, "{yaml}{request}{}", got.text());
        assert_eq!(good.seen().len() > before, reached, "{yaml}{request}");
        running.stop().await;
    }

    let hanging = Stub::raw(|stream, _| async move {
        tokio::time::sleep(HANG).await;
        drop(stream);
    })
    .await;
    let addresses = [hanging.address, good.address];
    let running = gateway(&addresses, "partial: warn\ntimeouts: {total: 500ms}\n").await;
    assert_eq!(send(running.addresses[0], catalog).await.status, 504, "one deadline for all nodes");
    running.stop().await;
}

#[tokio::test]
async fn a_node_that_hangs_does_not_hold_up_what_any_node_answers() {
    let asked: Arc<AtomicUsize> = Arc::default();
    let count = asked.clone();
    let hanging = Stub::raw(move |stream, _| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            std::future::pending::<()>().await;
            drop(stream);
        }
    })
    .await;
    let (_stubs, up) = ok_nodes(1).await;
    // With the default of 60 s between two pieces.
    let running = gateway(&[hanging.address, up[0]], "timeouts: {headers: 300ms}\n").await;
    for target in ["/v2/", "/v2/", "/metrics"] {
        let got = tokio::time::timeout(HANG, get(running.addresses[0], target)).await.expect("held up");
        assert_eq!(got.text(), "node 0", "{target}");
    }
    assert!(asked.load(Ordering::SeqCst) < 3, "it is known to hang");
    running.stop().await;
}

#[tokio::test]
async fn requests_that_come_early_are_answered_in_their_turn() {
    let (began, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let (go, gone) = tokio::sync::watch::channel(false);
    let node = Stub::raw(move |mut stream, _| {
        let (began, mut gone) = (began.clone(), gone.clone());
        async move {
            while let Some(header) = read_header(&mut stream).await {
                began.send(()).unwrap();
                gone.wait_for(|gone| *gone).await.unwrap();
                let target = header.split(' ').nth(1).unwrap();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let running = gateway(&[node.address], "").await;
    let first = "PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: r\r\nContent-Length: 0\r\n\r\n";
    let second = "GET /v2/b/tags/list HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n";
    for early in ["", "\r\n"] {
        go.send_replace(false);
        let mut client = TcpStream::connect(running.addresses[0]).await.unwrap();
        client.write_all(first.as_bytes()).await.unwrap();
        has_begun.recv().await.unwrap();
        client.write_all(format!("{early}{second}").as_bytes()).await.unwrap();
        // The gateway is given the time to see what came early.
        tokio::time::sleep(Duration::from_millis(100)).await;
        go.send_replace(true);
        let answers = String::from_utf8(closed(client).await).unwrap();
        let bodies: Vec<&str> = answers
            .split("HTTP/1.1 200 OK\r\n")
            .skip(1)
            .map(|answer| answer.split_once("\r\n\r\n").unwrap().1)
            .collect();
        assert_eq!(bodies, ["/v2/a/manifests/1", "/v2/b/tags/list"], "{answers}");
        has_begun.recv().await.unwrap();
    }
    running.stop().await;
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing_behind_and_neither_does_the_admin_listener() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = nowhere().await;
    let mut config = config(&[nowhere().await], "");
    config.listen = [free, taken.local_addr().unwrap()].map(|address| address.to_string().as_str().into()).into();
    assert!(onezot::server::start(config.clone()).await.is_err());
    assert!(std::net::TcpListener::bind(free).is_ok(), "the first address is still listened on");

    config.listen.truncate(1);
    config.admin = Some("127.0.0.1:0".to_owned());
    let running = onezot::server::start(config).await.unwrap();
    let mut client = TcpStream::connect(running.admin.unwrap()).await.unwrap();
    client.write_all(b"GET /livez HTTP/1.1\r\nHost: r\r\n\r\n").await.unwrap();
    assert!(read_header(&mut client).await.unwrap().starts_with("HTTP/1.1 200 "));
    running.stop().await;
    closed(client).await;
}

#[tokio::test]
async fn no_more_is_merged_at_a_time_than_is_allowed() {
    let (began, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let hanging = Stub::raw(move |mut stream, _| {
        let began = began.clone();
        async move {
            read_header(&mut stream).await;
            began.send(()).unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let running = gateway(&[hanging.address], "limits: {in_flight: 1}\ntimeouts: {drain: 200ms}\n").await;
    let to = running.addresses[0];
    let first = tokio::spawn(get(to, "/v2/_catalog"));
    has_begun.recv().await.unwrap();
    let post = "POST /v2/_zot/ext/cosign HTTP/1.1\r\nHost: r\r\nContent-Length: 3\r\n\r\nkey";
    let catalog = "GET /v2/_catalog HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n";
    let search = "GET /v2/_zot/ext/search?query={__typename} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n";
    for request in [post, catalog, search] {
        let got = send(to, request).await;
        assert_eq!((got.status, got.header("retry-after")), (503, Some("1")), "{request}");
        assert_eq!(error_of(&got).0, "UNAVAILABLE");
    }
    assert_eq!(get(to, "/livez").await.status, 200);
    first.abort();
    running.stop().await;
}

#[tokio::test]
async fn no_more_is_held_of_answers_than_is_allowed() {
    let large = format!(r#"{{"repositories":["{}"]}}"#, "x".repeat(1500));
    let node = || {
        let large = large.clone();
        Stub::new(move |_| reply(200, large.clone()))
    };
    let (a, b) = (node().await, node().await);
    for partial in ["fail", "warn"] {
        let yaml = format!("partial: {partial}\nlimits: {{total_answer_bytes: 2KiB}}\n");
        let two = gateway(&[a.address, b.address], &yaml).await;
        let got = get(two.addresses[0], "/v2/_catalog").await;
        assert_eq!((got.status, got.header("retry-after")), (503, Some("1")), "{}", got.text());
        two.stop().await;
        let one = gateway(&[a.address], &yaml).await;
        for _ in 0..5 {
            assert_eq!(get(one.addresses[0], "/v2/_catalog").await.status, 200, "room is given back");
        }
        one.stop().await;
    }
}

/// A node that finds every document valid and gives one starred repository.
async fn graphql_node(name: &'static str) -> Stub {
    Stub::new(move |seen| {
        let asked: serde_json::Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        if let Some(operation) = asked["operationName"].as_str() {
            let body = format!(r#"{{"errors":[{{"message":"operation {operation} not found"}}],"data":null}}"#);
            return reply(422, body);
        }
        reply(
            200,
            format!(
                r#"{{"data":{{"s":{{"Results":[{{"_oz_Name":"{name}","_oz_LastUpdated":null,"Name":"{name}"}}]}}}}}}"#
            ),
        )
    })
    .await
}

async fn post_document(to: SocketAddr, document: &str) -> Got {
    let body = serde_json::json!({"query": document}).to_string();
    let header = "POST /v2/_zot/ext/search HTTP/1.1\r\nHost: r\r\nContent-Type: application/json\r\nConnection: close";
    send(to, format!("{header}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await
}

#[tokio::test]
async fn a_list_that_lacks_a_node_is_an_error_unless_that_is_allowed() {
    let good = graphql_node("b").await;
    let second = graphql_node("a").await;
    let document = "{s:StarredRepos{Results{Name}}}";
    let all = gateway(&[good.address, second.address], "").await;
    let got = post_document(all.addresses[0], document).await;
    assert_eq!((got.status, got.text()), (200, r#"{"data":{"s":{"Results":[{"Name":"a"},{"Name":"b"}]}}}"#));
    all.stop().await;

    let refusing = Stub::new(|seen| {
        let is_validation = String::from_utf8_lossy(&seen.body).contains("operationName");
        let error = r#"{"errors":[{"message":"cve search is disabled","path":["s"]}],"data":null}"#;
        if is_validation { reply(500, "") } else { reply(200, error) }
    })
    .await;
    let bad_json = Stub::new(|_| reply(200, "<html>")).await;
    for (fault, address, status, message) in [
        ("nobody listens", nowhere().await, 502, "node zot-1 cannot be reached"),
        ("an error where others have data", refusing.address, 502, "node zot-1 says: cve search is disabled"),
        ("no JSON", bad_json.address, 502, "node zot-1 gave an answer that cannot be used"),
    ] {
        let strict = gateway(&[good.address, address], "").await;
        let got = post_document(strict.addresses[0], document).await;
        assert_eq!(got.status, status, "{fault}");
        assert_eq!(
            (&json(&got)["errors"][0]["message"], &json(&got)["data"]),
            (&message.into(), &serde_json::Value::Null)
        );
        strict.stop().await;
        let lax = gateway(&[good.address, address], "partial: warn\n").await;
        let got = post_document(lax.addresses[0], document).await;
        assert_eq!(got.status, 200, "{fault}: {}", got.text());
        assert_eq!(json(&got)["data"]["s"]["Results"][0]["Name"], "b", "{fault}");
        assert_eq!(json(&got)["extensions"]["onezot"]["nodes"]["failed"][0], "zot-1", "{fault}");
        assert!(got.header("warning").is_some_and(|warning| warning.contains("zot-1")), "{fault}");
        assert!(json(&got)["errors"].is_null(), "{fault}: zot's command line gives up on errors");
        lax.stop().await;
    }
}

#[tokio::test]
async fn documents_are_bounded_before_any_node_is_asked() {
    let node = graphql_node("a").await;
    let running = gateway(&[node.address], "").await;
    let fields: String = (0..40).map(|i| format!("a{i}:StarredRepos{{Results{{Name}}}} ")).collect();
    let mut bomb = "{...F0}".to_owned();
    for i in 0..40 {
        bomb.push_str(&format!(" fragment F{i} on Query{{...F{next} ...F{next}}}", next = i + 1));
    }
    bomb.push_str(" fragment F40 on Query{__typename}");
    for (what, document, status) in [
        ("too many bytes", format!("{{a}} #{}", "x".repeat(70_000)), 413),
        ("nested too deep", "{a".repeat(20_000), 422),
        ("nested lists", format!("{{a(b:{}", "[".repeat(20_000)), 422),
        ("too many tokens", format!("{{{}}}", "a ".repeat(20_000)), 422),
        ("too many root fields", format!("{{{fields}}}"), 422),
        ("fragments that explode", bomb, 422),
        ("reserved names", "{_oz_a:StarredRepos{Results{Name}}}".to_owned(), 422),
    ] {
        let got = post_document(running.addresses[0], &document).await;
        assert_eq!(got.status, status, "{what}: {}", got.text());
        assert!(!json(&got)["errors"][0]["message"].as_str().unwrap().is_empty(), "{what}");
    }
    assert!(node.seen().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_web_socket_is_not_opened_to_one_node() {
    let (stubs, addresses) = ok_nodes(1).await;
    let running = gateway(&addresses, "").await;
    let request = "GET /v2/_zot/ext/search?query={Image(image:%22a:1%22){Tag}} HTTP/1.1\r\nHost: r\r\n\
        Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert_eq!(send(running.addresses[0], request).await.text(), "node 0");
    assert_eq!(stubs[0].seen()[0].header("upgrade"), None);
    running.stop().await;
}
