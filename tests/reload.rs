//! One gateway takes the place of another: what ends on the old one, what the new one does, and what goes over.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/stub.rs"]
#[allow(dead_code)]
mod stub;
#[path = "support/wire.rs"]
#[allow(dead_code)]
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use stub::{Stub, read_header, reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use wire::{config, gateway, get, parse, send};

/// A node that answers a request when it is told to: how many have arrived, and how many answers may go.
async fn slow(body: &'static str) -> (Stub, Arc<Semaphore>, Arc<Semaphore>) {
    let (arrived, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let signals = (arrived.clone(), go_on.clone());
    let node = Stub::raw(move |mut stream, _| {
        let (arrived, go_on) = signals.clone();
        async move {
            while read_header(&mut stream).await.is_some() {
                arrived.add_permits(1);
                go_on.acquire().await.unwrap().forget();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (node, arrived, go_on)
}

#[tokio::test]
async fn a_request_ends_on_the_nodes_that_it_began_with() {
    let (slow, arrived, go_on) = slow("old").await;
    let other = Stub::new(|_| reply(200, "new")).await;
    let running = gateway(&[slow.address], "").await;
    let under_way = tokio::spawn(get(running.addresses[0], "/v2/a/tags/list"));
    arrived.acquire().await.unwrap().forget();
    running.succession().reload(config(&[other.address], "")).await.unwrap();
    assert_eq!(get(running.addresses[0], "/v2/a/tags/list").await.text(), "new");
    go_on.add_permits(1);
    assert_eq!(under_way.await.unwrap().text(), "old");
    running.stop().await;
}

#[tokio::test]
async fn limits_hold_over_both_gateways() {
    let (slow, arrived, go_on) = slow(r#"{"repositories":[]}"#).await;
    let running = gateway(&[slow.address], "limits: {in_flight: 1}").await;
    let to = running.addresses[0];
    let first = tokio::spawn(get(to, "/v2/_catalog"));
    arrived.acquire().await.unwrap().forget();
    for most in [1, 2] {
        running.succession().reload(config(&[slow.address], &format!("limits: {{in_flight: {most}}}"))).await.unwrap();
        if most == 1 {
            assert_eq!(get(to, "/v2/_catalog").await.status, 503);
        }
    }
    let second = tokio::spawn(get(to, "/v2/_catalog"));
    arrived.acquire().await.unwrap().forget();
    running.succession().reload(config(&[slow.address], "limits: {in_flight: 1}")).await.unwrap();
    go_on.add_permits(1);
    // Whichever ends first, there is still one under way, and no room for another.
    let (ended, left) = match futures::future::select(first, second).await {
        futures::future::Either::Left(both) | futures::future::Either::Right(both) => both,
    };
    assert_eq!(ended.unwrap().status, 200);
    assert_eq!(get(to, "/v2/_catalog").await.status, 503);
    go_on.add_permits(2);
    assert_eq!(left.await.unwrap().status, 200);
    assert_eq!(get(to, "/v2/_catalog").await.status, 200);
    running.stop().await;
}

/// A node that answers on connections that stay, and counts them.
async fn counting() -> (Stub, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let node = Stub::raw(move |mut stream, _| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            while read_header(&mut stream).await.is_some() {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"repositories\":[]}";
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    (node, connections)
}

#[tokio::test]
async fn connections_to_nodes_and_of_clients_go_over() {
    let (node, connections) = counting().await;
    let running = gateway(&[node.address], "").await;
    let mut client = TcpStream::connect(running.addresses[0]).await.unwrap();
    for round in 0..20 {
        // The order of nodes, a limit, and a node that is not asked change; the node stays.
        let yaml = format!("limits: {{in_flight: {}}}", 10 + round);
        running.succession().reload(config(&[node.address], &yaml)).await.unwrap();
        for target in ["/v2/_catalog", "/v2/a/tags/list"] {
            client.write_all(format!("GET {target} HTTP/1.1\r\nHost: r\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = vec![0; 4096];
            let mut length = 0;
            while !answer[..length].ends_with(b"[]}") {
                let read = client.read(&mut answer[length..]).await.unwrap();
                assert!(read > 0, "the client's connection ended");
                length += read;
            }
            assert_eq!(parse(&answer[..length]).status, 200);
        }
    }
    // One of what is merged, one of what streams.
    assert_eq!(connections.load(Ordering::Relaxed), 2);
    running.stop().await;
}

#[tokio::test]
async fn what_a_node_is_known_for_goes_over_with_it() {
    let dead = wire::nowhere().await;
    let alive = Stub::new(|_| reply(200, "alive")).await;
    let running = gateway(&[dead, alive.address], "admin: 127.0.0.1:0").await;
    let to = running.addresses[0];
    assert_eq!(send(to, "GET /v2/ HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n").await.text(), "alive");
    running
        .succession()
        .reload(config(&[dead, alive.address], "admin: 127.0.0.1:0\ntimeouts: {idle: 9s}"))
        .await
        .unwrap();
    let status: serde_json::Value = serde_json::from_slice(&get(running.admin.unwrap(), "/status").await.body).unwrap();
    assert_eq!(
        [&status["nodes"][0]["health"]["suspect"], &status["nodes"][1]["health"]["suspect"]],
        [true, false],
        "{status}"
    );
    running.stop().await;
}
