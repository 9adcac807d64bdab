//! Where nodes are found, and what becomes of the membership when that changes: one table of events for all sources.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(feature = "kubernetes")]
#[path = "support/api_server.rs"]
#[allow(dead_code)]
mod api_server;
#[path = "support/dnsmasq.rs"]
#[allow(dead_code)]
mod dnsmasq;
#[path = "support/stub.rs"]
#[allow(dead_code)]
mod stub;
#[path = "support/wire.rs"]
#[allow(dead_code)]
mod wire;

use dnsmasq::{Dnsmasq, NAME};
use onezot::config::{Config, Flags};
use onezot::proxy::Gateway;
use onezot::server::{self, Running};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use stub::{Stub, reply};
use wire::get;

/// Long enough that only a hang reaches it.
const HANG: Duration = Duration::from_secs(60);

/// A configuration that finds its nodes.
fn config(discovery: &str) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    let yaml = format!("admin: 127.0.0.1:0\ndiscovery: {{settle: 50ms, forget_after: 1500ms, {discovery}}}\n");
    std::fs::write(file.path(), yaml).unwrap();
    let flags = Flags { listen: vec!["127.0.0.1:0".to_owned()], ..Flags::default() };
    Config::load(Some(file.path()), [], &flags).unwrap()
}

fn current(running: &Running) -> Arc<Gateway> {
    running.succession().current().gateway()
}

/// The members in order with their ports; those that are away in brackets.
fn members(running: &Running) -> String {
    let gateway = current(running);
    let member = |node: &Arc<onezot::fleet::Node>| match node.address() {
        Some(address) => format!("{}:{}", node.name, address.port()),
        None => format!("({})", node.name),
    };
    gateway.fleet().nodes().iter().map(member).collect::<Vec<_>>().join(" ")
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool, now: impl Fn() -> String) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(HANG, wait).await.is_ok(), "{what} did not come; it is: {}", now());
}

async fn until_members(running: &Running, expected: &str, what: &str) {
    until(&format!("{what}: {expected}"), || members(running) == expected, || members(running)).await;
}

fn problem(running: &Running) -> Option<Arc<String>> {
    current(running).readiness().discovery_problem()
}

/// What happens. Nodes are written `name:port`.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// These are the nodes, in this order.
    Are(&'static str),
    /// Who knows the nodes cannot be asked.
    Gone,
    /// They can be asked again, and these are the nodes.
    Back(&'static str),
    /// A node goes, and comes back at once.
    Flaps(&'static str, &'static str),
}
use Event::{Are, Back, Flaps, Gone};

/// What each source makes of it.
struct Row {
    what: &'static str,
    event: Event,
    /// Where somebody writes a list.
    listed: &'static str,
    /// Where nodes are seen, and may be away. What there is at last; in between, the last ones may be away.
    seen: &'static str,
}

const TABLE: &[Row] = &[
    Row {
        what: "the first",
        event: Are("zot-0:5000 zot-1:5001"),
        listed: "zot-0:5000 zot-1:5001",
        seen: "zot-0:5000 zot-1:5001",
    },
    Row {
        what: "added",
        event: Are("zot-0:5000 zot-1:5001 zot-2:5002"),
        listed: "zot-0:5000 zot-1:5001 zot-2:5002",
        seen: "zot-0:5000 zot-1:5001 zot-2:5002",
    },
    Row {
        what: "numbers are numbers",
        event: Are("zot-10:5010 zot-0:5000 zot-9:5009 zot-8:5008 zot-7:5007 zot-6:5006 \
        zot-5:5005 zot-4:5004 zot-3:5003 zot-2:5002 zot-1:5001"),
        listed: "zot-10:5010 zot-0:5000 zot-9:5009 zot-8:5008 zot-7:5007 zot-6:5006 zot-5:5005 zot-4:5004 zot-3:5003 \
            zot-2:5002 zot-1:5001",
        seen: "zot-0:5000 zot-1:5001 zot-2:5002 zot-3:5003 zot-4:5004 zot-5:5005 zot-6:5006 zot-7:5007 zot-8:5008 \
            zot-9:5009 zot-10:5010",
    },
    Row {
        what: "many removed",
        event: Are("zot-0:5000 zot-1:5001 zot-2:5002"),
        listed: "zot-0:5000 zot-1:5001 zot-2:5002",
        seen: "zot-0:5000 zot-1:5001 zot-2:5002",
    },
    Row {
        what: "gone",
        event: Gone,
        listed: "zot-0:5000 zot-1:5001 zot-2:5002",
        seen: "zot-0:5000 zot-1:5001 zot-2:5002",
    },
    Row {
        what: "back with another",
        event: Back("zot-0:5000 zot-1:5001 zot-2:5002 zot-3:5003"),
        listed: "zot-0:5000 zot-1:5001 zot-2:5002 zot-3:5003",
        seen: "zot-0:5000 zot-1:5001 zot-2:5002 zot-3:5003",
    },
    Row {
        what: "flapping",
        event: Flaps("zot-0:5000 zot-1:5001 zot-2:5002", "zot-0:5000 zot-1:5001 zot-2:5002 zot-3:5003"),
        listed: "zot-0:5000 zot-1:5001 zot-2:5002 zot-3:5003",
        seen: "zot-0:5000 zot-1:5001 zot-2:5002 zot-3:5003",
    },
    Row {
        what: "one in the middle away",
        event: Are("zot-0:5000 zot-2:5002 zot-3:5003"),
        listed: "zot-0:5000 zot-2:5002 zot-3:5003",
        seen: "zot-0:5000 (zot-1) zot-2:5002 zot-3:5003",
    },
    Row {
        what: "back elsewhere",
        event: Are("zot-0:5000 zot-1:6001 zot-2:5002 zot-3:5003"),
        listed: "zot-0:5000 zot-1:6001 zot-2:5002 zot-3:5003",
        seen: "zot-0:5000 zot-1:6001 zot-2:5002 zot-3:5003",
    },
    Row {
        what: "removed",
        event: Are("zot-0:5000 zot-1:6001"),
        listed: "zot-0:5000 zot-1:6001",
        seen: "zot-0:5000 zot-1:6001",
    },
    Row { what: "none", event: Are(""), listed: "zot-0:5000 zot-1:6001", seen: "zot-0:5000 zot-1:6001" },
    Row {
        what: "renamed",
        event: Are("new-0:5000 new-1:6001"),
        listed: "new-0:5000 new-1:6001",
        seen: "new-0:5000 new-1:6001",
    },
];

/// The nodes of a text.
fn nodes(text: &str) -> Vec<(&str, SocketAddr)> {
    let pairs = text.split_whitespace().map(|part| part.split_once(':').unwrap());
    pairs.map(|(name, port)| (name, (Ipv4Addr::LOCALHOST, port.parse().unwrap()).into())).collect()
}

/// A way to find nodes.
trait Knows {
    /// These are the nodes from now on.
    async fn are(&mut self, nodes: &[(&str, SocketAddr)]);
    /// Nobody can be asked.
    async fn gone(&mut self);
}

async fn carry_out(discovery: &str, source: &mut impl Knows, outcome: impl Fn(&Row) -> &'static str) {
    source
        .are(&nodes(match TABLE[0].event {
            Are(first) => first,
            _ => unreachable!("it begins with nodes"),
        }))
        .await;
    let running = server::start(config(discovery)).await.unwrap();
    for row in TABLE {
        let before = current(&running);
        match row.event {
            Are(text) | Back(text) => {
                source.are(&nodes(text)).await;
                if text.is_empty() {
                    until(row.what, || problem(&running).is_some(), || members(&running)).await;
                }
            }
            Gone => {
                source.gone().await;
                until(row.what, || problem(&running).is_some(), || members(&running)).await;
            }
            Flaps(away, back) => {
                source.are(&nodes(away)).await;
                source.are(&nodes(back)).await;
            }
        }
        until_members(&running, outcome(row), row.what).await;
        if matches!(row.event, Gone) || row.what == "none" {
            assert!(Arc::ptr_eq(&before, &current(&running)), "{}: nothing has been replaced", row.what);
        }
        for node in current(&running).fleet().nodes() {
            let known = before.fleet().nodes().iter().find(|known| known.is_same(node));
            assert!(known.is_none_or(|known| Arc::ptr_eq(known, node)), "{}: {} is another one", row.what, node.name);
        }
    }
    running.stop().await;
}

/// A list in a file.
struct InFile(PathBuf);

fn yaml(nodes: &[(&str, SocketAddr)]) -> String {
    let mut text = String::new();
    for (name, address) in nodes {
        writeln!(text, "- {{name: {name}, url: 'http://{address}'}}").unwrap();
    }
    text
}

impl Knows for InFile {
    async fn are(&mut self, nodes: &[(&str, SocketAddr)]) {
        // As an editor does it.
        let new = self.0.with_extension("new");
        std::fs::write(&new, yaml(nodes)).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }

    async fn gone(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[tokio::test]
async fn a_file_of_nodes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nodes.yaml");
    carry_out(&format!("file: {}", file.display()), &mut InFile(file), |row| row.listed).await;
}

/// A list in a ConfigMap, as the kubelet mounts it: another directory takes the place of the one before, all at once
/// (Kubernetes `pkg/volume/util/atomic_writer.go`).
struct Mounted {
    directory: PathBuf,
    generation: u32,
}

impl Mounted {
    fn swap(&mut self, file: Option<String>) {
        self.generation += 1;
        let name = format!("..2026_{}", self.generation);
        std::fs::create_dir(self.directory.join(&name)).unwrap();
        if let Some(text) = file {
            std::fs::write(self.directory.join(&name).join("nodes.yaml"), text).unwrap();
        }
        let link = self.directory.join("..data_tmp");
        std::os::unix::fs::symlink(&name, &link).unwrap();
        std::fs::rename(link, self.directory.join("..data")).unwrap();
        let file = self.directory.join("nodes.yaml");
        if std::fs::symlink_metadata(&file).is_err() {
            std::os::unix::fs::symlink("..data/nodes.yaml", file).unwrap();
        }
        let old = format!("..2026_{}", self.generation - 1);
        let _ = std::fs::remove_dir_all(self.directory.join(old));
    }
}

impl Knows for Mounted {
    async fn are(&mut self, nodes: &[(&str, SocketAddr)]) {
        self.swap(Some(yaml(nodes)));
    }

    async fn gone(&mut self) {
        self.swap(None);
    }
}

#[tokio::test]
async fn a_config_map() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nodes.yaml");
    let mut map = Mounted { directory: directory.path().to_owned(), generation: 0 };
    carry_out(&format!("file: {}", file.display()), &mut map, |row| row.listed).await;
}

impl Knows for Dnsmasq {
    async fn are(&mut self, nodes: &[(&str, SocketAddr)]) {
        self.serve(nodes);
    }

    async fn gone(&mut self) {
        self.stop();
    }
}

/// A name server, or word that there is none.
fn name_server() -> Option<Dnsmasq> {
    let server = Dnsmasq::new();
    if server.is_none() {
        println!("skipped: discovery by DNS: dnsmasq is not installed");
    }
    server
}

#[tokio::test]
async fn srv_records() {
    let Some(mut server) = name_server() else { return };
    let discovery = format!("dns: {NAME}, dns_server: '{}'", server.address);
    carry_out(&discovery, &mut server, |row| row.seen).await;
}

#[tokio::test]
async fn requests_reach_nodes_that_dns_names_and_follow_them_when_they_move() {
    let Some(mut server) = name_server() else { return };
    let (first, second) = (Stub::new(|_| reply(200, "first")).await, Stub::new(|_| reply(200, "second")).await);
    server.serve(&[("zot-0", first.address)]);
    let running = server::start(config(&format!("dns: {NAME}, dns_server: '{}'", server.address))).await.unwrap();
    until("a node", || !members(&running).is_empty(), || server.log()).await;
    let got = get(running.addresses[0], "/v2/a/tags/list").await;
    assert_eq!((got.status, got.text()), (200, "first"), "{}", server.log());
    server.serve(&[("zot-0", second.address)]);
    until_members(&running, &format!("zot-0:{}", second.address.port()), "moved").await;
    assert_eq!(get(running.addresses[0], "/v2/a/tags/list").await.text(), "second");
    running.stop().await;
}

#[tokio::test]
async fn before_the_first_membership_it_is_alive_and_not_ready() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nodes.yaml");
    let running = server::start(config(&format!("file: {}", file.display()))).await.unwrap();
    let (public, admin) = (running.addresses[0], running.admin.unwrap());
    for target in ["/v2/", "/v2/_catalog", "/v2/a/tags/list", "/v2/_zot/ext/search?query={a}", "/"] {
        let got = get(public, target).await;
        assert_eq!((got.status, got.header("retry-after")), (503, Some("1")), "{target}");
        assert!(got.text().starts_with(r#"{"errors":[{"code":"UNAVAILABLE","#), "{}", got.text());
    }
    for port in [public, admin] {
        for (probe, status) in [("/livez", 200), ("/readyz", 503), ("/startupz", 503)] {
            assert_eq!(get(port, probe).await.status, status, "{probe}");
        }
        assert_eq!(get(port, "/readyz").await.text(), "not ready: no node has been found yet\n");
    }
    let asked = "GET /readyz HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nConnection: close\r\n\r\n";
    let got = wire::send(admin, asked).await;
    let document: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!((got.status, &document["why_not"]), (503, &"no node has been found yet".into()));
    assert!(document["discovery_problem"].as_str().unwrap().contains("cannot be read"), "{document}");

    let node = Stub::new(|_| reply(200, "node")).await;
    InFile(file).are(&[("zot-0", node.address)]).await;
    until("a member", || !members(&running).is_empty(), String::new).await;
    assert_eq!(get(public, "/v2/").await.text(), "node");
    for port in [public, admin] {
        for probe in ["/livez", "/readyz", "/startupz"] {
            let got = get(port, probe).await;
            assert_eq!((got.status, got.text()), (200, "ok"), "{probe}");
        }
    }
    let document: serde_json::Value = serde_json::from_slice(&wire::send(admin, asked).await.body).unwrap();
    assert_eq!((&document["ok"], &document["nodes"][0]["name"]), (&true.into(), &"zot-0".into()), "{document}");
    running.stop().await;
}

#[tokio::test]
async fn nodes_that_cannot_be_used_together_are_refused_and_the_members_stay() {
    let directory = tempfile::tempdir().unwrap();
    let path: &Path = directory.path();
    let file = path.join("nodes.yaml");
    let mut list = InFile(file.clone());
    list.are(&nodes("zot-0:5000")).await;
    let running = server::start(config(&format!("file: {}", file.display()))).await.unwrap();
    until_members(&running, "zot-0:5000", "the first").await;
    for (text, expected) in [
        (
            "- {name: a, url: 'http://a:1'}\n- {name: a, url: 'http://b:1'}\n",
            "nodes.yaml:2:10: nodes[1].name: the name",
        ),
        ("- {name: a, url: 'http://a:1', x: 1}\n", "nodes.yaml:1:32: [0].x: unknown field `x`"),
        ("[]", "nodes.yaml: there are no nodes in it"),
        ("{", "nodes.yaml:1"),
    ] {
        std::fs::write(&file, text).unwrap();
        let told = || problem(&running).is_some_and(|problem| problem.contains(expected));
        until(expected, told, || format!("{:?}", problem(&running))).await;
        assert_eq!(members(&running), "zot-0:5000");
    }
    list.are(&nodes("zot-0:5001")).await;
    until_members(&running, "zot-0:5001", "a good one again").await;
    running.stop().await;
}

#[tokio::test]
async fn nodes_that_another_configuration_fits_are_taken_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nodes.yaml");
    let mut list = InFile(file.clone());
    list.are(&nodes("zot-0:5000 zot-1:5001")).await;
    let configuration = |node: &str| {
        let mut config = config(&format!("file: {}", file.display()));
        config.placement = serde_json::from_value(serde_json::json!({
            "strategy": "map", "map": [{"prefix": "team-a", "node": node}]
        }))
        .unwrap();
        config
    };
    let running = server::start(configuration("zot-1")).await.unwrap();
    until_members(&running, "zot-0:5000 zot-1:5001", "the first").await;
    list.are(&nodes("zot-0:5000 zot-2:5002")).await;
    let expected = "placement.map[0].node: \"zot-1\" is no node";
    let told = || problem(&running).is_some_and(|problem| problem.contains(expected));
    until(expected, told, || format!("{:?}", problem(&running))).await;
    assert_eq!(members(&running), "zot-0:5000 zot-1:5001");
    // That names a node which is not a member yet: refused, too.
    let error = running.succession().reload(configuration("zot-2")).await.unwrap_err();
    assert_eq!(error.0, "placement.map[0].node");
    let both = Config { placement: onezot::fleet::Placement::default(), ..configuration("zot-0") };
    running.succession().reload(both).await.unwrap();
    until_members(&running, "zot-0:5000 zot-2:5002", "the new ones").await;
    running.succession().reload(configuration("zot-2")).await.unwrap();
    running.stop().await;
}

#[cfg(feature = "kubernetes")]
mod kubernetes {
    use super::*;
    use api_server::{ApiServer, TOKEN};
    use serde_json::{Value, json};

    /// A file that says how to reach the server.
    fn kubeconfig(server: &ApiServer) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             contexts: [{{name: test, context: {{cluster: test, user: test, namespace: registry}}}}]\n\
             clusters: [{{name: test, cluster: {{server: 'http://{}'}}}}]\n\
             users: [{{name: test, user: {{token: {TOKEN}}}}}]\n",
            server.address
        );
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn endpoint(name: &str, address: &str, is_ready: bool) -> Value {
        let pod = json!({"kind": "Pod", "name": name, "namespace": "registry"});
        json!({"addresses": [address], "conditions": {"ready": is_ready}, "hostname": name, "targetRef": pod})
    }

    fn slice(endpoints: &[Value], port: u16) -> Value {
        json!({"endpoints": endpoints, "ports": [{"name": "http", "port": port, "protocol": "TCP"}]})
    }

    /// A server whose slices are one for each node, so that each has a port of its own.
    struct Slices(ApiServer, Vec<String>);

    impl Knows for Slices {
        async fn are(&mut self, nodes: &[(&str, SocketAddr)]) {
            self.0.back_if_gone().await;
            let gone: Vec<String> =
                self.1.iter().filter(|name| nodes.iter().all(|(it, _)| it != name)).cloned().collect();
            for name in gone {
                self.1.retain(|known| *known != name);
                self.0.put(&format!("zot-{name}"), "zot", None);
            }
            for (name, address) in nodes {
                let ip = address.ip().to_string();
                self.0.put(&format!("zot-{name}"), "zot", Some(slice(&[endpoint(name, &ip, true)], address.port())));
                if !self.1.iter().any(|known| known == name) {
                    self.1.push((*name).to_owned());
                }
            }
        }

        async fn gone(&mut self) {
            self.0.gone();
        }
    }

    #[tokio::test]
    async fn endpoint_slices() {
        let server = ApiServer::start().await;
        // That of another service is none of ours.
        server.put("other-1", "other", Some(slice(&[endpoint("other-0", "192.0.2.9", true)], 1)));
        let file = kubeconfig(&server);
        let discovery = format!("kubernetes: 'registry/zot:http', kubeconfig: {}", file.path().display());
        carry_out(&discovery, &mut Slices(server, Vec::new()), |row| row.seen).await;
    }

    fn addresses(running: &Running) -> String {
        let gateway = current(running);
        let node = |node: &Arc<onezot::fleet::Node>| {
            let ips: Vec<String> = node.addresses().iter().map(|address| address.ip().to_string()).collect();
            format!("{}={}", node.name, ips.join(","))
        };
        gateway.fleet().nodes().iter().map(node).collect::<Vec<_>>().join(" ")
    }

    async fn until_addresses(running: &Running, expected: &str) {
        until(expected, || addresses(running) == expected, || addresses(running)).await;
    }

    #[tokio::test]
    async fn the_watch_goes_on_where_it_ended_whatever_ends_it() {
        let mut server = ApiServer::start().await;
        let file = kubeconfig(&server);
        let both = |second: &str, is_ready| {
            slice(&[endpoint("zot-0", "192.0.2.1", true), endpoint("zot-1", second, is_ready)], 5000)
        };
        server.put("zot-a", "zot", Some(both("192.0.2.2", false)));
        // A second slice, for the other family of addresses.
        server.put("zot-b", "zot", Some(slice(&[endpoint("zot-0", "2001:db8::1", true)], 5000)));
        let discovery = format!("kubernetes: zot, kubeconfig: {}", file.path().display());
        let running = server::start(config(&discovery)).await.unwrap();
        // Whoever is not ready is a member.
        until_addresses(&running, "zot-0=192.0.2.1,2001:db8::1 zot-1=192.0.2.2").await;
        let seen = server.take_seen();
        assert!(
            !seen[0].contains("watch=") && seen.iter().all(|query| query.contains("service-name%3Dzot")),
            "{seen:?}"
        );

        // A pod that restarts is the same node at another address.
        let before = current(&running).fleet().nodes()[1].clone();
        server.put("zot-a", "zot", Some(both("192.0.2.3", false)));
        until_addresses(&running, "zot-0=192.0.2.1,2001:db8::1 zot-1=192.0.2.3").await;
        assert!(Arc::ptr_eq(&before, &current(&running).fleet().nodes()[1]));

        // The connection is cut: it goes on from the last bookmark, without another list.
        let bookmark = server.bookmark();
        server.put("zot-b", "zot", Some(slice(&[endpoint("zot-0", "2001:db8::2", true)], 5000)));
        until_addresses(&running, "zot-0=192.0.2.1,2001:db8::2 zot-1=192.0.2.3").await;
        let bookmark_after = server.bookmark();
        assert!(bookmark_after > bookmark);
        server.put("zot-b", "zot", Some(slice(&[endpoint("zot-0", "2001:db8::3", true)], 5000)));
        until_addresses(&running, "zot-0=192.0.2.1,2001:db8::3 zot-1=192.0.2.3").await;
        let last = server.bookmark();
        // A change that is seen says that the bookmark was, too.
        server.take_seen();
        server.back().await;
        server.put("zot-a", "zot", Some(both("192.0.2.4", true)));
        until_addresses(&running, "zot-0=192.0.2.1,2001:db8::3 zot-1=192.0.2.4").await;
        let seen = server.take_seen();
        assert!(seen.iter().all(|query| query.contains("watch=true")), "there was another list: {seen:?}");
        let from = |query: &String| {
            let version = query.split("resourceVersion=").nth(1).unwrap().split('&').next().unwrap();
            version.parse::<u64>().unwrap()
        };
        assert!(seen.iter().map(from).all(|version| version == last || version + 1 == last), "{last}: {seen:?}");

        // While nobody is there, versions expire: what changed meanwhile is listed again.
        server.gone();
        server.put("zot-a", "zot", Some(both("192.0.2.5", true)));
        server.expire();
        server.back().await;
        until_addresses(&running, "zot-0=192.0.2.1,2001:db8::3 zot-1=192.0.2.5").await;
        let seen = server.take_seen();
        assert!(seen.iter().any(|query| query.contains("watch=true")), "{seen:?}");
        assert!(seen.iter().any(|query| !query.contains("watch=")), "{seen:?}");
        running.stop().await;
    }

    #[tokio::test]
    async fn what_has_no_number_or_no_port_is_refused_and_the_members_stay() {
        let server = ApiServer::start().await;
        let file = kubeconfig(&server);
        let good = slice(&[endpoint("zot-0", "192.0.2.1", true)], 5000);
        server.put("zot-a", "zot", Some(good.clone()));
        let discovery = format!("kubernetes: zot, kubeconfig: {}", file.path().display());
        let running = server::start(config(&discovery)).await.unwrap();
        until_addresses(&running, "zot-0=192.0.2.1").await;
        let random = slice(&[endpoint("zot-7d9f-x2b", "192.0.2.7", true)], 5000);
        let mut ports = good.clone();
        ports["ports"] = json!([{"name": "http", "port": 5000}, {"name": "metrics", "port": 9100}]);
        for (bad, expected) in [(random, "pod zot-7d9f-x2b is not numbered"), (ports, "write SERVICE:PORT")] {
            server.put("zot-a", "zot", Some(bad));
            let told = || problem(&running).is_some_and(|problem| problem.contains(expected));
            until(expected, told, || format!("{:?}", problem(&running))).await;
            assert_eq!(addresses(&running), "zot-0=192.0.2.1");
            server.put("zot-a", "zot", Some(good.clone()));
            until("good again", || problem(&running).is_none(), || format!("{:?}", problem(&running))).await;
        }
        running.stop().await;
    }
}
