//! Nodes that are silent, full or missing: who waits for them, who is told, and what an operator sees.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/stub.rs"]
mod stub;
#[path = "support/wire.rs"]
mod wire;

use onezot::config::Config;
use onezot::fleet::Placement;
use onezot::server::{self, Running};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use stub::{Stub, read_header, reply};
use tokio::io::AsyncWriteExt;
use wire::{Got, get, nowhere, send};

/// A repository on a node of two.
fn on(node: usize) -> String {
    let owner = |name: &String| Placement::default().owner(name, 2).node;
    (0..).map(|number| format!("r{number}")).find(|name| owner(name) == node).unwrap()
}

fn tags(node: usize) -> String {
    format!("/v2/{}/tags/list", on(node))
}

/// A node that answers everything with an empty catalog.
async fn well() -> Stub {
    Stub::new(|_| reply(200, r#"{"repositories":[]}"#)).await
}

/// A node that accepts connections and reads requests, and answers only while it is told to; and how many requests that
/// were no checks it has got.
async fn moody() -> (Stub, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let (answers, got): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
    let (says, counted) = (answers.clone(), got.clone());
    let node = Stub::raw(move |mut stream, _| {
        let (says, counted) = (says.clone(), counted.clone());
        async move {
            while let Some(header) = read_header(&mut stream).await {
                if !header.starts_with("GET /readyz ") {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                if !says.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"repositories\":[]}";
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    (node, answers, got)
}

/// What one node does is seen where no other is asked for the same.
fn config(nodes: &[SocketAddr], yaml: &str) -> Config {
    wire::config(nodes, &format!("locate: owner\n{yaml}"))
}

async fn gateway(nodes: &[SocketAddr], yaml: &str) -> Running {
    server::start(config(nodes, yaml)).await.unwrap()
}

async fn with_admin(nodes: &[SocketAddr], yaml: &str) -> Running {
    server::start(Config { admin: Some("127.0.0.1:0".to_owned()), ..config(nodes, yaml) }).await.unwrap()
}

/// What `/status` says of a node.
async fn status(running: &Running, node: usize) -> Value {
    let got = get(running.admin.unwrap(), "/status").await;
    serde_json::from_slice::<Value>(&got.body).unwrap()["nodes"][node].clone()
}

/// Waits until the breaker of a node is in a state.
async fn until(running: &Running, node: usize, state: &str) -> Value {
    loop {
        let status = status(running, node).await;
        if status["health"]["state"] == state {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn message(got: &Got) -> String {
    serde_json::from_slice::<Value>(&got.body).unwrap()["errors"][0]["message"].as_str().unwrap().to_owned()
}

const CHECKED: &str = "timeouts: {headers: 2s, idle: 1s, drain: 100ms}\nhealth: {interval: 100ms, timeout: 1s}\n";

#[tokio::test]
async fn a_silent_node_costs_a_deadline_once_until_it_answers() {
    let (silent, answers, got) = moody().await;
    let well = well().await;
    let running = with_admin(&[silent.address, well.address], CHECKED).await;
    let to = running.addresses[0];
    let first = get(to, &tags(0)).await;
    assert_eq!((first.status, message(&first).as_str()), (504, "node zot-0 did not answer in time"));
    let shown = until(&running, 0, "open").await;
    assert_eq!(shown["health"]["suspect"], true);
    assert!(shown["health"]["last_failure"]["cause"].as_str().unwrap().contains("ime"), "{shown}");
    assert!(shown["health"]["since"].as_str().unwrap().ends_with('Z'), "{shown}");
    // Nobody else waits: it is not even asked.
    let before = got.load(Ordering::SeqCst);
    for target in [&tags(0), "/v2/_catalog"] {
        let fast = get(to, target).await;
        assert_eq!(fast.status, 504, "{target}");
        assert!(message(&fast).contains("node zot-0 did not answer in time"), "{}", message(&fast));
    }
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let request = format!(
            "{method} /v2/{}/blobs/uploads/x HTTP/1.1\r\nHost: r\r\nContent-Length: 0\r\n\
                               Connection: close\r\n\r\n",
            on(0)
        );
        assert_eq!(send(to, &request).await.status, 504, "{method}");
    }
    for (target, status) in [(tags(1).as_str(), 200), ("/v2/", 200)] {
        assert_eq!(get(to, target).await.status, status, "{target}");
    }
    assert_eq!(got.load(Ordering::SeqCst), before);
    answers.store(true, Ordering::SeqCst);
    until(&running, 0, "closed").await;
    assert_eq!(get(to, &tags(0)).await.status, 200);
    assert_eq!(get(to, "/v2/_catalog").await.status, 200);
    assert_eq!(status(&running, 1).await["health"]["state"], "closed");
    running.stop().await;
}

#[tokio::test]
async fn without_checks_one_request_at_a_time_tries_a_silent_node() {
    let (silent, answers, got) = moody().await;
    let well = well().await;
    let running =
        with_admin(&[silent.address, well.address], "timeouts: {headers: 300ms, idle: 300ms, drain: 100ms}\n").await;
    let to = running.addresses[0];
    for _ in 0..3 {
        assert_eq!(status(&running, 0).await["health"]["state"], "closed");
        assert_eq!(get(to, &tags(0)).await.status, 504);
    }
    assert_eq!(status(&running, 0).await["health"]["state"], "open");
    assert_eq!((get(to, &tags(0)).await.status, got.load(Ordering::SeqCst)), (504, 3));
    answers.store(true, Ordering::SeqCst);
    // After a while, one is let through.
    while get(to, &tags(0)).await.status != 200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(
        (status(&running, 0).await["health"]["state"].as_str(), got.load(Ordering::SeqCst)),
        (Some("closed"), 4)
    );
    running.stop().await;
}

#[tokio::test]
async fn a_node_that_is_late_with_one_thing_is_not_silent() {
    let late = format!("GET {} ", tags(0));
    let slow = Stub::raw(move |mut stream, _| {
        let late = late.clone();
        async move {
            while let Some(header) = read_header(&mut stream).await {
                if header.starts_with(&late) {
                    std::future::pending::<()>().await;
                }
                stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    let running =
        with_admin(&[slow.address, well().await.address], "timeouts: {headers: 500ms, idle: 500ms, drain: 100ms}\n")
            .await;
    let to = running.addresses[0];
    for _ in 0..5 {
        let other = format!("/v2/{}/manifests/1", on(0));
        let late = tokio::spawn(async move { get(to, &tags(0)).await.status });
        while !late.is_finished() {
            assert_eq!(get(to, &other).await.status, 404);
        }
        assert_eq!(late.await.unwrap(), 504);
        assert_eq!(status(&running, 0).await["health"]["state"], "closed");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_node_that_is_full_takes_no_room_from_the_others() {
    let (silent, _, got) = moody().await;
    let well = well().await;
    let yaml = "limits: {in_flight: 4, node_in_flight: 2, queue: 50ms}\ntimeouts: {drain: 100ms}\n";
    let running = with_admin(&[silent.address, well.address], yaml).await;
    let to = running.addresses[0];
    let hanging: Vec<_> = (0..2).map(|_| tokio::spawn(async move { get(to, "/v2/_catalog").await })).collect();
    while got.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(status(&running, 0).await["in_flight"], 2);
    for target in ["/v2/_catalog", &tags(0), "/v2/_catalog", &tags(0), "/v2/_catalog"] {
        let full = get(to, target).await;
        assert_eq!((full.status, full.header("retry-after")), (503, Some("1")), "{target}");
        assert!(
            message(&full).contains("node zot-0 is asked as much as it may be at the moment"),
            "{}",
            message(&full)
        );
    }
    let document = format!("/v2/_zot/ext/search?query={{ExpandedRepoInfo(repo:%22{}%22){{Summary{{Name}}}}}}", on(1));
    for target in [tags(1).as_str(), "/v2/", &document] {
        assert_eq!(get(to, target).await.status, 200, "{target}");
    }
    assert_eq!(got.load(Ordering::SeqCst), 2);
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    running.stop().await;
}

#[tokio::test]
async fn clients_may_ask_for_the_whole_or_where_allowed_for_what_there_is() {
    let lists = r#"{"data":{"RepoListWithNewestImage":{"Results":[]}}}"#;
    let valid = r#"{"errors":[{"message":"operation _oz_validate not found"}],"data":null}"#;
    let query = r#"{"query":"{RepoListWithNewestImage{Results{Name}}}"}"#;
    for (yaml, wish, status) in [
        ("", "", 502),
        ("", "X-Onezot-Partial: warn\r\n", 502),
        ("allow_partial: true\n", "X-Onezot-Partial: Warn\r\n", 200),
        ("allow_partial: true\n", "", 502),
        ("allow_partial: true\n", "X-Onezot-Partial: perhaps\r\n", 502),
        ("partial: warn\n", "", 200),
        ("partial: warn\n", "X-Onezot-Partial: warn\r\n", 200),
        ("partial: warn\n", "X-Onezot-Partial: fail\r\n", 502),
    ] {
        let node = Stub::new(move |seen| {
            let body = String::from_utf8_lossy(&seen.body).into_owned();
            let answer = match seen.target.as_str() {
                "/v2/_catalog" => r#"{"repositories":["a"]}"#,
                _ if body.contains("_oz_validate") => valid,
                _ => lists,
            };
            reply(200, answer)
        })
        .await;
        let running = gateway(&[node.address, nowhere().await], yaml).await;
        let to = running.addresses[0];
        let catalog = format!("GET /v2/_catalog HTTP/1.1\r\nHost: r\r\nConnection: close\r\n{wish}\r\n");
        let length = query.len();
        let document = format!(
            "POST /v2/_zot/ext/search HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Type: application/json\r\n\
             {wish}Content-Length: {length}\r\n\r\n{query}"
        );
        for request in [catalog, document] {
            let got = send(to, &request).await;
            assert_eq!(got.status, status, "{yaml}{request}{}", got.text());
            let told = (got.header("x-onezot-partial"), got.header("warning"));
            match status {
                200 => {
                    let warning = "199 onezot \"incomplete: no answer from zot-1\"";
                    assert_eq!(told, (Some("1/2; nodes=\"zot-1\""), Some(warning)), "{request}");
                }
                _ => assert_eq!(told, (None, None)),
            }
        }
        let streamed = format!("GET {} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n{wish}\r\n", tags(0));
        assert_eq!(send(to, &streamed).await.status, 200);
        let seen = node.seen();
        assert!(seen.len() >= 4 && seen.iter().all(|seen| !seen.headers.contains_key("x-onezot-partial")), "{seen:?}");
        running.stop().await;
    }
}

#[tokio::test]
async fn checks_bring_the_nodes_own_credentials_and_clients_their_own() {
    // A registry that knows no /readyz, and asks who is there.
    let node = Stub::new(|seen| match (seen.target.as_str(), seen.header("authorization")) {
        ("/readyz", _) => reply(404, ""),
        (_, Some(_)) => reply(200, r#"{"repositories":[]}"#),
        (_, None) => reply(401, ""),
    })
    .await;
    let other = Stub::new(|_| reply(401, "")).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "gate:way\n").unwrap();
    let mut config = config(&[node.address, other.address], "health: {interval: 50ms}\n");
    let path = file.path().display();
    let nodes = format!(
        "[{{name: zot-0, url: \"http://{}\", credentials_file: {path}}}, {{name: zot-1, url: \"http://{}\"}}]",
        node.address, other.address
    );
    let environment = [("ONEZOT_NODES".to_owned(), nodes)];
    config.nodes = Config::load(None, environment, &onezot::config::Flags::default()).unwrap().nodes;
    config.admin = Some("127.0.0.1:0".to_owned());
    let running = server::start(config).await.unwrap();
    let to = running.addresses[0];
    let authorization = |seen: &stub::Seen| seen.header("authorization").map(str::to_owned);
    let checks =
        |stub: &Stub| stub.seen().iter().filter(|seen| seen.target == "/v2/").map(authorization).collect::<Vec<_>>();
    while checks(&node).len() < 2 || other.seen().len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(checks(&node).iter().all(|sent| sent.as_deref() == Some("Basic Z2F0ZTp3YXk=")));
    // 401 is the answer of a registry that works.
    assert!(other.seen().iter().all(|seen| authorization(seen).is_none() && seen.target == "/readyz"));
    assert_eq!(status(&running, 1).await["health"]["suspect"], false);
    for target in [tags(0).as_str(), "/v2/_catalog"] {
        assert_eq!(get(to, target).await.status, 401, "the client brought nothing");
    }
    let shown = get(running.admin.unwrap(), "/status").await;
    assert!(!shown.text().contains("way") && !shown.text().contains("Z2F0"), "{}", shown.text());
    running.stop().await;
}
