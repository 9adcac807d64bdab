//! What goes to one node: onezot beside other proxies, all in front of the same node.

use crate::load::{self, Call, Connection, Load};
use crate::node::Fleet;
use crate::peer::{self, Certificate, Peer, Programs};
use crate::scale::Scale;
use crate::table::{Sample, Table};
use crate::wrk;
use anyhow::Result;
use bytes::Bytes;
use futures::future::try_join_all;
use http::Method;
use std::net::SocketAddr;
use std::time::Duration;

const MANIFEST: &str = "/v2/team-0000/app-0000001/manifests/1.000.0";
const BLOB: &str = "/v2/team-0000/app-0000001/blobs/sha256:0000";
const UPLOAD: &str = "/v2/team-0000/app-0000001/blobs/uploads/1?digest=sha256:0000";
/// As short as wrk can be told.
const SHORTEST: Duration = Duration::from_secs(1);
/// Connections that are opened at the same time.
const AT_ONCE: usize = 100;

/// A proxy, or the node itself, under one of its addresses.
struct Subject<'a> {
    name: String,
    address: SocketAddr,
    /// Whose CPU time and memory count; the node's own do not.
    peer: Option<&'a Peer>,
}

impl Subject<'_> {
    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }
}

/// Everything that goes to one node.
pub async fn measure(programs: &Programs, scale: &Scale) -> Result<Vec<Table>> {
    let node =
        peer::nodes(&Fleet { nodes: 1, repositories: 10, tags: 10, blob: scale.blob, delay: 0, slow: None }).await?;
    let nginx = peer::nginx(programs, node.address(), None).await?;
    let haproxy = peer::haproxy(programs, node.address(), None).await?;
    let onezot = peer::onezot(&programs.onezot, &[node.address()]).await?;
    let peers: Vec<&Peer> = nginx.iter().chain(&haproxy).chain([&onezot]).collect();
    let mut subjects = vec![Subject { name: "direct".to_owned(), address: node.address(), peer: None }];
    for peer in &peers {
        subjects.push(Subject { name: peer.name.clone(), address: peer.address(), peer: Some(peer) });
    }
    let mut tables = Vec::new();
    for (title, call, connections) in [
        ("GET of a manifest (2 KiB), 1 connection", Call::bare(Method::GET, MANIFEST), 1),
        ("GET of a manifest (2 KiB), 32 connections", Call::bare(Method::GET, MANIFEST), 32),
        ("HEAD of a manifest, 32 connections", Call::bare(Method::HEAD, MANIFEST), 32),
    ] {
        tables.push(small(title, &call, connections, &subjects, programs, scale).await?);
    }
    if let Some(nginx) = &nginx {
        let (name, address) = ("nginx, buffering in memory".to_owned(), nginx.addresses[1]);
        subjects.insert(2, Subject { name, address, peer: Some(nginx) });
    }
    let body = Some((Bytes::from(vec![0x5a; scale.blob]), "application/octet-stream"));
    let upload = Call { method: Method::PUT, target: UPLOAD.to_owned(), body };
    let mib = scale.blob >> 20;
    for (title, call) in [
        (format!("Blob of {mib} MiB down, 2 connections"), Call::bare(Method::GET, BLOB)),
        (format!("Blob of {mib} MiB up, 2 connections"), upload),
    ] {
        tables.push(blobs(&title, &call, &subjects, scale).await?);
    }
    drop(peers);
    tables.push(idle(programs, &node, scale).await?);
    if let Some(certificate) = Certificate::made().await?.filter(|_| programs.wrk) {
        tables.extend(over_tls(programs, &node, &certificate, scale).await?);
    }
    Ok(tables)
}

/// The same behind TLS; the connection to the node is plain. The load is wrk's, which speaks HTTP/1.1.
async fn over_tls(programs: &Programs, node: &Peer, certificate: &Certificate, scale: &Scale) -> Result<Vec<Table>> {
    let nginx = peer::nginx(programs, node.address(), Some(certificate)).await?;
    let haproxy = peer::haproxy(programs, node.address(), Some(certificate)).await?;
    let onezot = peer::onezot_with(&programs.onezot, node.address(), certificate).await?;
    let peers: Vec<&Peer> = nginx.iter().chain(&haproxy).chain([&onezot]).collect();
    let names: Vec<String> = peers.iter().map(|peer| peer.name.clone()).collect();
    let time = scale.wrk.unwrap_or(SHORTEST);
    let mut tables = Vec::new();
    for (title, target, connections, columns, compared) in [
        (
            "GET of a manifest (2 KiB) over TLS, 32 connections",
            MANIFEST,
            32,
            ["requests/s", "CPU µs/request", "p99 ms"],
            ["CPU µs/request", "requests/s"],
        ),
        ("Blob down over TLS, 2 connections", BLOB, 2, ["MiB/s", "CPU s/GiB", "p99 ms"], ["CPU s/GiB", "MiB/s"]),
    ] {
        let about = "Load: wrk, one thread, HTTP/1.1. The proxy's connections to the node are plain.";
        let mut table = Table::new(title, about, &columns, &names).comparing("onezot", &others(&names), &compared);
        table
            .fill(scale.rounds, async |index| {
                let peer = peers[index];
                let address = peer.addresses.last().copied().unwrap_or(peer.address());
                let subject = Subject { name: peer.name.clone(), address, peer: Some(peer) };
                // By name: an address is none that a client may send as the name of a server.
                let url = format!("https://localhost:{}{target}", address.port());
                let (load, cpu) = accounted(&subject, wrk::run(&url, connections, time)).await?;
                let (seconds, cpu) = (load.elapsed.as_secs_f64(), cpu.unwrap_or_default());
                let mib = load.received as f64 / f64::from(1 << 20);
                Ok(Sample::from([
                    ("requests/s", load.requests as f64 / seconds),
                    ("CPU µs/request", cpu * 1e6 / load.requests as f64),
                    ("MiB/s", mib / seconds),
                    ("CPU s/GiB", cpu * 1024.0 / mib),
                    ("p99 ms", load.p99.as_secs_f64() * 1e3),
                ]))
            })
            .await?;
        tables.push(table);
    }
    Ok(tables)
}

fn names(subjects: &[Subject]) -> Vec<String> {
    subjects.iter().map(|subject| subject.name.clone()).collect()
}

/// The proxies other than onezot.
fn others(names: &[String]) -> Vec<String> {
    names.iter().filter(|name| *name != "direct" && *name != "onezot").cloned().collect()
}

async fn small(
    title: &str,
    call: &Call,
    connections: usize,
    subjects: &[Subject<'_>],
    programs: &Programs,
    scale: &Scale,
) -> Result<Table> {
    // wrk waits for the body of a HEAD.
    let by_wrk = scale.wrk.filter(|_| programs.wrk && call.method == Method::GET);
    let load = if by_wrk.is_some() { "wrk, one thread" } else { "a client of our own" };
    let names = names(subjects);
    let compared = ["CPU µs/request", "requests/s", "p50 ms", "p99 ms"];
    let columns = ["requests/s", "CPU µs/request", "p50 ms", "p99 ms", "p50 added ms", "p99 added ms", "memory MiB"];
    let about = format!(
        "Load: {load}. `direct` is the node without a proxy; *added* is what a proxy takes beyond it in the same round."
    );
    let mut table = Table::new(title, &about, &columns, &names).comparing("onezot", &others(&names), &compared);
    for subject in subjects {
        load::run(subject.address, call, connections, connections * 2).await?;
    }
    table
        .fill(scale.rounds, async |index| {
            let subject = &subjects[index];
            let (load, cpu) = accounted(subject, async {
                match by_wrk {
                    Some(time) => wrk::run(&subject.url(&call.target), connections, time).await,
                    None => load::run(subject.address, call, connections, scale.requests).await,
                }
            })
            .await?;
            let mut sample = Sample::from([
                ("requests/s", load.requests as f64 / load.elapsed.as_secs_f64()),
                ("p50 ms", load.p50.as_secs_f64() * 1e3),
                ("p99 ms", load.p99.as_secs_f64() * 1e3),
            ]);
            if let (Some(cpu), Some(peer)) = (cpu, subject.peer) {
                sample.insert("CPU µs/request", cpu * 1e6 / load.requests as f64);
                sample.insert("memory MiB", peer.processes()?.memory()?);
            }
            Ok(sample)
        })
        .await?;
    table.add_beyond("direct", "p50 ms", "p50 added ms");
    table.add_beyond("direct", "p99 ms", "p99 added ms");
    Ok(table)
}

async fn blobs(title: &str, call: &Call, subjects: &[Subject<'_>], scale: &Scale) -> Result<Table> {
    let names = names(subjects);
    let columns = ["MiB/s", "CPU s/GiB", "memory MiB"];
    let about = "Load: a client of our own. The proxy shares the cores with the client and the node.";
    let mut table =
        Table::new(title, about, &columns, &names).comparing("onezot", &others(&names), &["CPU s/GiB", "MiB/s"]);
    table
        .fill(scale.rounds, async |index| {
            let subject = &subjects[index];
            let (load, cpu) = accounted(subject, load::run(subject.address, call, 2, scale.blobs)).await?;
            let mib = (load.requests * scale.blob) as f64 / f64::from(1 << 20);
            let mut sample = Sample::from([("MiB/s", mib / load.elapsed.as_secs_f64())]);
            if let (Some(cpu), Some(peer)) = (cpu, subject.peer) {
                sample.insert("CPU s/GiB", cpu * 1024.0 / mib);
                sample.insert("memory MiB", peer.processes()?.memory()?);
            }
            Ok(sample)
        })
        .await?;
    Ok(table)
}

/// A load, and the CPU time that the subject took for it (seconds).
async fn accounted(subject: &Subject<'_>, load: impl Future<Output = Result<Load>>) -> Result<(Load, Option<f64>)> {
    let processes = subject.peer.map(Peer::processes).transpose()?;
    let before = processes.as_ref().map(|processes| processes.cpu()).transpose()?;
    let load = load.await?;
    let after = processes.as_ref().map(|processes| processes.cpu()).transpose()?;
    Ok((load, after.zip(before).map(|(after, before)| after.saturating_sub(before).as_secs_f64())))
}

/// Connections that have had one answer and wait. Each proxy is started anew for each sample: memory that it has once had
/// would not show.
async fn idle(programs: &Programs, node: &Peer, scale: &Scale) -> Result<Table> {
    let node = node.address();
    let mut names = vec!["onezot".to_owned()];
    names.extend(programs.nginx.as_ref().map(|_| "nginx".to_owned()));
    names.extend(programs.haproxy.as_ref().map(|_| "haproxy".to_owned()));
    let connections = scale.idle.min(usize::try_from(peer::most_connections())?);
    let title = format!("{connections} idle connections");
    let about = "Each has had the answer to one GET of a manifest, and waits for the next.";
    let column = "memory KiB/connection";
    let mut table =
        Table::new(&title, about, &[column, "memory MiB"], &names).comparing("onezot", &names[1..], &[column]);
    let call = Call::bare(Method::GET, MANIFEST);
    table
        .fill(scale.rounds.min(3), async |index| {
            let peer = match names[index].as_str() {
                "nginx" => peer::nginx(programs, node, None).await?,
                "haproxy" => peer::haproxy(programs, node, None).await?,
                _ => Some(peer::onezot(&programs.onezot, &[node]).await?),
            };
            let Some(peer) = peer else { return Ok(Sample::new()) };
            load::run(peer.address(), &call, 2, 200).await?;
            let processes = peer.processes()?;
            let before = processes.memory()?;
            let mut open = Vec::with_capacity(connections);
            while open.len() < connections {
                let some = AT_ONCE.min(connections - open.len());
                let opened = (0..some).map(|_| async {
                    let mut connection = Connection::open(peer.address()).await?;
                    connection.drain(&call).await?;
                    Ok::<_, anyhow::Error>(connection)
                });
                open.extend(try_join_all(opened).await?);
            }
            let after = processes.memory()?;
            let per_connection = (after - before) * 1024.0 / connections as f64;
            Ok(Sample::from([(column, per_connection), ("memory MiB", after)]))
        })
        .await?;
    Ok(table)
}
