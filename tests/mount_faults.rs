//! Mounts over nodes that fail: nothing that is wrong is stored, the client gets a session that works, and a copy that
//! nobody waits for ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/stub.rs"]
mod stub;
#[path = "support/wire.rs"]
mod wire;

use http::Method;
use onezot::demo::{Fault, Node, Setup};
use onezot::fleet::Placement;
use onezot::server::Running;
use sha2::{Digest, Sha256, Sha512};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use stub::{Stub, read_header, reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::{Got, get, nowhere, parse, send};

/// A gateway whose repositories are where the placement says: what is counted and compared here is what mounts cost.
async fn gateway(nodes: &[SocketAddr], yaml: &str) -> Running {
    wire::gateway(nodes, &format!("locate: owner\n{yaml}")).await
}

/// Longer than anything here takes that does not hang.
const HANG: Duration = Duration::from_secs(20);

/// A repository on a node of two.
fn on(node: usize) -> String {
    let owner = |name: &String| Placement::default().owner(name, 2).node;
    (0..).map(|number| format!("r{number}")).find(|name| owner(name) == node).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Asks for a mount of a blob into the first node's repository from the second's.
fn mount(digest: &str) -> String {
    let (to, from) = (on(0), on(1));
    let lines = "Host: r\r\nAuthorization: Basic YTpi\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    format!("POST /v2/{to}/blobs/uploads/?mount={digest}&from={from} HTTP/1.1\r\n{lines}")
}

async fn put(to: SocketAddr, target: &str, body: &[u8]) -> Got {
    let lines = "Host: r\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n";
    let header = format!("PUT {target} HTTP/1.1\r\n{lines}Content-Length: {}\r\n\r\n", body.len());
    send(to, [header.as_bytes(), body].concat()).await
}

/// An answer of a holder: a header and what comes of the body before the connection ends.
async fn holder(answer: &'static str, body: Vec<u8>) -> Stub {
    let body = Arc::new(body);
    Stub::raw(move |mut stream, _| {
        let body = body.clone();
        async move {
            let Some(header) = read_header(&mut stream).await else { return };
            // There is no search here.
            let (answer, body) = match header.starts_with("GET /v2/") && header.contains("/blobs/") {
                true => (answer, body.as_slice()),
                false => ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n", &[][..]),
            };
            let _ = stream.write_all(format!("{answer}Connection: close\r\n\r\n").as_bytes()).await;
            let _ = stream.write_all(body).await;
        }
    })
    .await
}

async fn owner() -> Node {
    Node::start(Setup::default()).await.unwrap()
}

/// What the owner was asked, without the names of sessions.
fn asked(node: &Node) -> Vec<String> {
    let session = |target: &str| target.rsplit_once("uploads/").map_or(target.len(), |(before, _)| before.len() + 8);
    node.take_seen().iter().map(|seen| format!("{} {}", seen.method, &seen.target[..session(&seen.target)])).collect()
}

#[tokio::test]
async fn what_the_holder_breaks_is_not_stored_and_the_client_uploads_it() {
    let blob: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    let mut wrong = blob.clone();
    wrong[299_999] ^= 1;
    let name = digest(&blob);
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n";
    for (fault, answer, body, was_used) in [
        ("wrong bytes", whole, wrong, true),
        ("dies in the middle", whole, blob[..150_000].to_vec(), true),
        ("dies before the last byte", whole, blob[..299_999].to_vec(), true),
        ("less than the blob", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n", blob[..10].to_vec(), true),
        ("nothing of it", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", Vec::new(), false),
        ("no length", "HTTP/1.1 200 OK\r\n", blob.clone(), false),
        ("encoded", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 300000\r\n", blob.clone(), false),
        ("a part", "HTTP/1.1 206 Partial Content\r\nContent-Length: 300000\r\n", blob.clone(), false),
        (
            "elsewhere",
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n",
            Vec::new(),
            false,
        ),
        ("unknown", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n", Vec::new(), false),
        ("forbidden", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n", Vec::new(), false),
        ("broken", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n", Vec::new(), false),
        ("no HTTP", "SSH-2.0-OpenSSH\r\n", Vec::new(), false),
    ] {
        let (owner, holder) = (owner().await, holder(answer, body).await);
        let running = gateway(&[owner.address(), holder.address], "").await;
        let to = running.addresses[0];
        let got = send(to, mount(&name)).await;
        assert_eq!((got.status, got.header("range"), got.text()), (202, Some("0-0"), ""), "{fault}");
        let before = format!("/v2/{}/blobs/uploads/", on(0));
        let begun = format!("POST {before}");
        let seen = asked(&owner);
        if was_used {
            // What broke off never came whole, and does not stand here.
            assert_eq!(seen, [begun.clone(), format!("DELETE {before}"), begun], "{fault}");
        } else {
            assert_eq!(seen, [begun], "{fault}");
        }
        assert_eq!(get(to, &format!("/v2/{}/blobs/{name}", on(0))).await.status, 404, "{fault}");
        let session = got.header("location").unwrap();
        assert!(session.starts_with(&before), "{session}");
        let stored = put(to, &format!("{session}?digest={name}"), &blob).await;
        assert_eq!(stored.status, 201, "{fault}: {}", stored.text());
        running.stop().await;
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_asked_has_no_blob() {
    let hanging = Stub::raw(|stream, _| async move {
        tokio::time::sleep(HANG).await;
        drop(stream);
    })
    .await;
    for holder in [nowhere().await, hanging.address] {
        let owner = owner().await;
        let running = gateway(&[owner.address(), holder], "timeouts: {headers: 300ms}\n").await;
        let got = send(running.addresses[0], mount(&digest(b"x"))).await;
        assert_eq!(got.status, 202);
        assert_eq!(asked(&owner).len(), 1);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_blob_of_any_algorithm_and_an_empty_one_are_brought() {
    let sha512 = |bytes: &[u8]| format!("sha512:{}", hex(&Sha512::digest(bytes)));
    for (name, blob) in [
        (digest(b"some bytes"), b"some bytes".to_vec()),
        (sha512(b"some bytes"), b"some bytes".to_vec()),
        (digest(b""), Vec::new()),
    ] {
        let owner = Stub::new(|seen| {
            let (status, location) = match seen.method {
                Method::POST => (202, "http://r/v2/r/blobs/uploads/1?_state=a%2Fb".to_owned()),
                _ => (201, "/elsewhere".to_owned()),
            };
            let mut response = reply(status, "");
            let repository = seen.target.split('/').nth(2).unwrap();
            let location = location.replace("/r/blobs", &format!("/{repository}/blobs"));
            response.headers_mut().insert("location", location.parse().unwrap());
            response.headers_mut().insert("docker-content-digest", "x".parse().unwrap());
            response
        })
        .await;
        let length = blob.len();
        let sent = blob.clone();
        let holder = Stub::new(move |_| reply(200, sent.clone())).await;
        let running = gateway(&[owner.address, holder.address], "").await;
        let got = send(running.addresses[0], mount(&name)).await;
        assert_eq!((got.status, got.text()), (201, ""), "{name}");
        assert_eq!(got.header("location"), Some(format!("/v2/{}/blobs/{name}", on(0)).as_str()));
        assert_eq!(got.header("docker-content-digest"), None, "one zot does not say it");
        let [post, put] = owner.seen().try_into().unwrap_or_else(|seen| panic!("{seen:?}"));
        assert_eq!(post.target, format!("/v2/{}/blobs/uploads/?mount={name}&from={}", on(0), on(1)));
        assert_eq!(put.target, format!("/v2/{}/blobs/uploads/1?_state=a%2Fb&digest={name}", on(0)));
        assert_eq!((put.method, &put.body[..]), (Method::PUT, &blob[..]));
        let [read] = holder.seen().try_into().unwrap_or_else(|seen| panic!("{seen:?}"));
        assert_eq!((read.method, read.target.as_str()), (Method::GET, format!("/v2/{}/blobs/{name}", on(1)).as_str()));
        let length = length.to_string();
        for (seen, name, value) in [
            (&post.headers, "content-length", Some("0")),
            (&put.headers, "content-length", Some(length.as_str())),
            (&put.headers, "content-type", Some("application/octet-stream")),
            (&put.headers, "authorization", Some("Basic YTpi")),
            (&read.headers, "authorization", Some("Basic YTpi")),
            (&read.headers, "x-forwarded-for", Some("127.0.0.1")),
            (&read.headers, "range", None),
            (&read.headers, "content-length", None),
        ] {
            assert_eq!(seen.get(name).map(|value| value.to_str().unwrap()), value, "{name}");
        }
        running.stop().await;
    }
}

/// An owner that fails at the bytes is asked for a new session; one that fails at that, too, is what the client is told.
#[tokio::test]
async fn an_owner_that_does_not_take_the_bytes_gives_a_new_session() {
    let blob = vec![7; 100_000];
    let name = digest(&blob);
    for (second, status) in [(202, 202), (201, 201), (403, 403), (500, 500)] {
        for refusal in [400, 401, 413, 500, 507] {
            let posts = AtomicUsize::new(0);
            let owner = Stub::new(move |seen| {
                let number = posts.fetch_add(usize::from(seen.method == Method::POST), Ordering::SeqCst);
                let status = match seen.method {
                    Method::POST if number == 0 => 202,
                    Method::POST => second,
                    Method::DELETE => 204,
                    _ => refusal,
                };
                let mut response = reply(status, "");
                let location = format!("/v2/{}/blobs/uploads/{number}", on(0));
                response.headers_mut().insert("location", location.parse().unwrap());
                response
            })
            .await;
            let sent = blob.clone();
            let holder = Stub::new(move |_| reply(200, sent.clone())).await;
            let running = gateway(&[owner.address, holder.address], "").await;
            let got = send(running.addresses[0], mount(&name)).await;
            let session = format!("/v2/{}/blobs/uploads/1", on(0));
            assert_eq!((got.status, got.header("location")), (status, Some(session.as_str())), "{refusal}");
            let methods: Vec<Method> = owner.seen().into_iter().map(|seen| seen.method).collect();
            assert_eq!(methods, [Method::POST, Method::PUT, Method::DELETE, Method::POST], "{refusal}");
            running.stop().await;
        }
    }
}

#[tokio::test]
async fn an_owner_that_is_down_or_gives_no_session_of_its_own_ends_it_there() {
    let blob = vec![7; 10];
    let holder = Stub::new(move |_| reply(200, blob.clone())).await;
    let name = digest(&[7; 10]);
    let down = gateway(&[nowhere().await, holder.address], "").await;
    let got = send(down.addresses[0], mount(&name)).await;
    assert!(got.status == 502 && got.text().contains("node zot-0"), "{}", got.text());
    down.stop().await;
    for location in ["", "/v2/another/blobs/uploads/1", "http://storage.example/upload", "//x/v2/", "/v2/../x", "junk"]
    {
        let owner = Stub::new(move |_| {
            let mut response = reply(202, "");
            response.headers_mut().insert("location", location.parse().unwrap());
            response
        })
        .await;
        let running = gateway(&[owner.address, holder.address], "").await;
        let got = send(running.addresses[0], mount(&name)).await;
        assert_eq!((got.status, got.header("location")), (202, Some(location)));
        assert_eq!(owner.seen().len(), 1, "{location}");
        running.stop().await;
    }
    assert!(holder.seen().is_empty());
}

/// A holder that sends a blob of this many bytes and counts what it got rid of.
async fn large_holder(length: usize, stop_at: usize, sent: Arc<AtomicUsize>) -> Stub {
    Stub::raw(move |mut stream, _| {
        let sent = sent.clone();
        async move {
            read_header(&mut stream).await;
            let header = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(header.as_bytes()).await.unwrap();
            while sent.load(Ordering::SeqCst) < stop_at {
                if stream.write_all(&[9; 65536]).await.is_err() {
                    return;
                }
                sent.fetch_add(65536, Ordering::SeqCst);
            }
            // Nothing more; the end of the connection is told.
            let _ = stream.read_to_end(&mut Vec::new()).await;
            sent.store(usize::MAX, Ordering::SeqCst);
        }
    })
    .await
}

/// An owner that opens sessions, and reads the bytes of a blob when it is told to.
async fn slow_owner(
    go: tokio::sync::watch::Receiver<bool>,
    got: Arc<AtomicUsize>,
    log: Arc<parking_lot::Mutex<String>>,
) -> Stub {
    Stub::raw(move |mut stream, _| {
        let (mut go, got, log) = (go.clone(), got.clone(), log.clone());
        async move {
            while let Some(header) = read_header(&mut stream).await {
                let method = header.split(' ').next().unwrap().to_owned();
                log.lock().push_str(&format!("{method} "));
                let mut answer = format!(
                    "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nLocation: /v2/{}/blobs/uploads/1\r\n\r\n",
                    on(0)
                );
                if method == "PUT" {
                    let length = header.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                    let length: usize = length.parse().unwrap();
                    go.wait_for(|go| *go).await.unwrap();
                    let (mut hash, mut read, mut buffer) = (Sha256::new(), 0, vec![0; 65536]);
                    while read < length {
                        match stream.read(&mut buffer).await {
                            Ok(0) | Err(_) => {
                                log.lock().push_str("broken ");
                                return;
                            }
                            Ok(some) => {
                                hash.update(&buffer[..some]);
                                read += some;
                                got.store(read, Ordering::SeqCst);
                            }
                        }
                    }
                    log.lock().push_str(&hex(&hash.finalize()));
                    answer = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n".to_owned();
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_blob_waits_for_the_owner_and_not_in_memory() {
    const LENGTH: usize = 64 << 20;
    let (go, gone) = tokio::sync::watch::channel(false);
    let (sent, got, log) = (Arc::default(), Arc::default(), Arc::default());
    let holder = large_holder(LENGTH, LENGTH, Arc::clone(&sent)).await;
    let owner = slow_owner(gone, Arc::clone(&got), Arc::clone(&log)).await;
    let running = gateway(&[owner.address, holder.address], "").await;
    let name = digest(&vec![9; LENGTH]);
    let mounting = tokio::spawn(send(running.addresses[0], mount(&name)));
    // As long as the owner does not read, the holder gets no further than the buffers of two connections.
    let mut before = usize::MAX;
    while before != sent.load(Ordering::SeqCst) || before == 0 {
        before = sent.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(before < LENGTH / 2, "{before} bytes are held");
    go.send_replace(true);
    let answer = mounting.await.unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(*log.lock(), format!("POST PUT {}", &name["sha256:".len()..]));
    println!("a blob of 64 MiB: {:.1} MiB were under way while the owner waited", before as f64 / 1_048_576.0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_for_a_client_that_goes_away_is_dropped() {
    let (_go, gone) = tokio::sync::watch::channel(true);
    let (sent, got, log): (Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<parking_lot::Mutex<String>>) = Default::default();
    let holder = large_holder(10 << 20, 1 << 20, Arc::clone(&sent)).await;
    let owner = slow_owner(gone, Arc::clone(&got), Arc::clone(&log)).await;
    let running = gateway(&[owner.address, holder.address], "").await;
    let mut client = TcpStream::connect(running.addresses[0]).await.unwrap();
    client.write_all(mount(&digest(b"x")).as_bytes()).await.unwrap();
    let until = async |what: &dyn Fn() -> bool| {
        while !what() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(HANG, until(&|| got.load(Ordering::SeqCst) > 100_000)).await.unwrap();
    drop(client);
    let over = || {
        let log = log.lock();
        log.contains("broken") && log.contains("DELETE") && sent.load(Ordering::SeqCst) == usize::MAX
    };
    let ended = tokio::time::timeout(HANG, until(&|| over() && running.in_flight() == 0)).await;
    assert!(ended.is_ok(), "{} {} {}", log.lock(), sent.load(Ordering::SeqCst), running.in_flight());
    assert_eq!(log.lock().matches("POST").count(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_stops_on_its_way_is_given_up() {
    for (stop_at, owner_reads) in [(1 << 20, true), (64 << 20, false)] {
        let (_go, gone) = tokio::sync::watch::channel(owner_reads);
        let (sent, got, log): (Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<parking_lot::Mutex<String>>) =
            Default::default();
        let holder = large_holder(64 << 20, stop_at, sent).await;
        let owner = slow_owner(gone, got, Arc::clone(&log)).await;
        let running = gateway(&[owner.address, holder.address], "timeouts: {idle: 500ms}\n").await;
        let answer = tokio::time::timeout(HANG, send(running.addresses[0], mount(&digest(b"x")))).await.unwrap();
        assert_eq!(answer.status, 202);
        assert_eq!(log.lock().matches("POST").count(), 2, "a new session");
        running.stop().await;
    }
}

/// One copy of a blob at a time, and two of all: the next client uploads.
#[tokio::test]
async fn without_room_for_a_copy_the_client_uploads() {
    let owner = owner().await;
    let (began, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let holder = Stub::raw(move |mut stream, _| {
        let began = began.clone();
        async move {
            read_header(&mut stream).await;
            began.send(()).unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let running = gateway(&[owner.address(), holder.address], "limits: {mounts: 2}\ntimeouts: {drain: 100ms}\n").await;
    let to = running.addresses[0];
    let mut under_way = Vec::new();
    for blob in [b"x", b"y"] {
        under_way.push(tokio::spawn(send(to, mount(&digest(blob)))));
        has_begun.recv().await.unwrap();
        // The same blob is under way; then there is no room for another.
        for blob in [blob, b"z"].into_iter().take(under_way.len()) {
            assert_eq!(send(to, mount(&digest(blob))).await.status, 202);
            assert!(has_begun.try_recv().is_err(), "nobody is asked for it");
        }
    }
    under_way.iter().for_each(tokio::task::JoinHandle::abort);
    running.stop().await;
}

/// The next request on a connection may come while a blob is under way.
#[tokio::test]
async fn a_request_that_comes_early_is_answered_behind_a_mount() {
    let owner = owner().await;
    let blob = b"some bytes".to_vec();
    let sent = blob.clone();
    let holder = Stub::raw(move |mut stream, _| {
        let sent = sent.clone();
        async move {
            read_header(&mut stream).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len()).as_bytes())
                .await
                .unwrap();
            stream.write_all(&sent).await.unwrap();
        }
    })
    .await;
    let running = gateway(&[owner.address(), holder.address], "").await;
    let first = mount(&digest(&blob)).replace("Connection: close\r\n", "");
    let second = format!("GET /v2/{}/blobs/{} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n", on(0), digest(&blob));
    let mut client = TcpStream::connect(running.addresses[0]).await.unwrap();
    client.write_all(first.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.write_all(second.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).await.unwrap();
    assert_eq!(parse(&answers).status, 201);
    let answers = String::from_utf8(answers).unwrap();
    assert!(answers.contains("HTTP/1.1 200 OK") && answers.ends_with("some bytes"), "{answers}");
    running.stop().await;
}

/// A node that is asked for its part of a search and hangs does not hold up what another one says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_has_no_need_of_every_node() {
    let blob = b"some bytes".to_vec();
    let name = digest(&blob);
    let owner = owner().await;
    let (sent, wanted) = (blob.clone(), name.clone());
    let holder = Stub::new(move |seen| match seen.target.as_str() {
        "/v2/_zot/ext/search" => {
            let asked: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
            assert_eq!(asked["variables"]["id"], wanted.as_str());
            let results = r#"[{"RepoName":"../x"},{"RepoName":"gone"},{"RepoName":"here"},{"RepoName":"here"}]"#;
            reply(200, format!(r#"{{"data":{{"ImageListForDigest":{{"Results":{results}}}}}}}"#))
        }
        target if target.starts_with("/v2/here/blobs/") => reply(200, sent.clone()),
        _ => reply(404, ""),
    })
    .await;
    let hanging = Node::start(Setup::default()).await.unwrap();
    hanging.faults().set(Fault::Hang);
    let running = gateway(&[owner.address(), holder.address, hanging.address()], "").await;
    let names = (0..).map(|number| format!("r{number}"));
    let repository = names.into_iter().find(|name| Placement::default().owner(name, 3).node == 0).unwrap();
    let lines = "Host: r\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let request = format!("POST /v2/{repository}/blobs/uploads/?mount={name} HTTP/1.1\r\n{lines}");
    let got = tokio::time::timeout(HANG, send(running.addresses[0], request)).await.unwrap();
    assert_eq!(got.status, 201);
    let targets: Vec<String> = holder.seen().into_iter().map(|seen| seen.target).collect();
    let blobs = ["gone", "here"].map(|repository| format!("/v2/{repository}/blobs/{name}"));
    assert_eq!(targets, ["/v2/_zot/ext/search".to_owned(), blobs[0].clone(), blobs[1].clone()]);
    running.stop().await;
}
