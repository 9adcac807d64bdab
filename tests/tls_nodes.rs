//! TLS to nodes: the stream and the fan-out trust the same nodes, and nobody else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/mod.rs"]
mod support;

use certificates::{Authority, Pair, Time};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use onezot::config::{Config, Health, Locate, NodeConfig, NodeTls};
use onezot::fleet::{NodeUrl, Placement};
use onezot::server;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::client::Client;
use support::gateway::load;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What a node speaks.
enum Speaks {
    Tls(Arc<ServerConfig>),
    /// These bytes, whatever the client says first.
    Bytes(&'static [u8]),
}

/// The hello of a server that knows TLS 1.1 and nothing newer.
const TLS_1_1: &[u8] = &[
    22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 0, 0xc0, 0x13, 0,
];
/// What such a server says when it reads that the client wants a newer one: a fatal alert, protocol_version.
const PROTOCOL_VERSION: &[u8] = &[21, 3, 1, 0, 2, 2, 70];
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A node, which ends with the test.
struct Node {
    address: SocketAddr,
    answered: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Node {
    async fn new(speaks: Speaks) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answered = Arc::new(AtomicUsize::new(0));
        let (count, speaks) = (answered.clone(), Arc::new(speaks));
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (count, speaks) = (count.clone(), speaks.clone());
                tokio::spawn(async move {
                    let config = match &*speaks {
                        Speaks::Tls(config) => config.clone(),
                        Speaks::Bytes(bytes) => {
                            let _ = stream.read(&mut [0; 4096]).await;
                            let _ = stream.write_all(bytes).await;
                            let _ = stream.read(&mut [0; 4096]).await;
                            return;
                        }
                    };
                    let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else { return };
                    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
                        count.fetch_add(1, Ordering::Relaxed);
                        let is_catalog = request.uri().path() == "/v2/_catalog";
                        let body = if is_catalog { r#"{"repositories":["a"]}"# } else { r#"{"name":"a","tags":[]}"# };
                        async move { Ok::<_, hyper::Error>(http::Response::new(Full::new(body.as_bytes()))) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Node { address, answered, task }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];

fn tls(pair: &Pair, versions: &[&'static SupportedProtocolVersion], clients: Option<&Authority>) -> Speaks {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let pair = Pair { certificate: authority.file.clone(), key: authority.file.clone() };
            roots.add_parsable_certificates(pair.chain());
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap(),
            )
        }
        None => builder.with_no_client_auth(),
    };
    Speaks::Tls(Arc::new(builder.with_single_cert(pair.chain(), pair.private_key()).unwrap()))
}

/// The configuration of a gateway over nodes that are reached at `host`, all with the same TLS.
fn config(nodes: &[&Node], host: &str, tls: Option<&NodeTls>) -> Config {
    let nodes = nodes.iter().enumerate().map(|(index, node)| {
        let url = NodeUrl::try_from(format!("https://{host}:{}", node.address.port())).unwrap();
        NodeConfig { tls: tls.cloned(), ..NodeConfig::at(Some(format!("zot-{index}")), url) }
    });
    // Nodes are asked what a test asks.
    let health = Health { interval: Duration::ZERO, ..Health::default() };
    // What one does is seen where no other is asked for the same.
    let locate = Locate::Owner;
    Config { listen: vec!["127.0.0.1:0".into()], nodes: nodes.collect(), health, locate, ..Config::default() }
}

struct Case {
    name: &'static str,
    speaks: Speaks,
    host: &'static str,
    tls: NodeTls,
    is_good: bool,
}

fn cases(ours: &Authority, others: &Authority) -> Vec<Case> {
    let local = ["localhost", "127.0.0.1"];
    let good = ours.server("good", &local);
    let trusting = NodeTls { ca: Some(ours.file.clone()), ..NodeTls::default() };
    let showing = |pair: &Pair| NodeTls {
        certificate: Some(pair.certificate.clone()),
        key: Some(pair.key.clone()),
        ..trusting.clone()
    };
    let named = |name: &str| NodeTls { server_name: Some(name.to_owned()), ..trusting.clone() };
    let anybody = NodeTls { dangerously_skip_verification: true, ..NodeTls::default() };
    let expired = ours.server_at("expired", &local, Time::Past);
    let future = ours.server_at("future", &local, Time::Future);
    let elsewhere = ours.server("elsewhere", &["zot.example"]);
    let only_name = ours.server("only-name", &["localhost"]);
    let own = ours.self_signed("own", &local);
    let case = |name, is_good, speaks, host, tls: &NodeTls| Case { name, speaks, host, tls: tls.clone(), is_good };
    vec![
        case("an address in the certificate", true, tls(&good, BOTH, None), "127.0.0.1", &trusting),
        case("a name in the certificate", true, tls(&good, BOTH, None), "localhost", &trusting),
        case("TLS 1.2 only", true, tls(&good, &[&version::TLS12], None), "localhost", &trusting),
        case("TLS 1.3 only", true, tls(&good, &[&version::TLS13], None), "localhost", &trusting),
        case(
            "another name, which is configured",
            true,
            tls(&elsewhere, BOTH, None),
            "127.0.0.1",
            &named("zot.example"),
        ),
        case("another name, which is not", false, tls(&elsewhere, BOTH, None), "localhost", &trusting),
        case("the name, but another is configured", false, tls(&good, BOTH, None), "localhost", &named("zot.example")),
        case("a name only, asked by address", false, tls(&only_name, BOTH, None), "127.0.0.1", &trusting),
        case(
            "an address only by name, configured",
            true,
            tls(&only_name, BOTH, None),
            "127.0.0.1",
            &named("localhost"),
        ),
        case("another authority", false, tls(&others.server("good", &local), BOTH, None), "localhost", &trusting),
        case("an authority that the system has not", false, tls(&good, BOTH, None), "localhost", &NodeTls::default()),
        case("expired", false, tls(&expired, BOTH, None), "localhost", &trusting),
        case("not valid yet", false, tls(&future, BOTH, None), "localhost", &trusting),
        case("self-signed", false, tls(&own, BOTH, None), "localhost", &trusting),
        case("self-signed, not verified", true, tls(&own, BOTH, None), "localhost", &anybody),
        case("a client's certificate", false, tls(&ours.client("client-0"), BOTH, None), "localhost", &trusting),
        case("wants a certificate, gets none, TLS 1.3", false, tls(&good, BOTH, Some(others)), "localhost", &trusting),
        case(
            "wants a certificate, gets none, TLS 1.2",
            false,
            tls(&good, &[&version::TLS12], Some(others)),
            "localhost",
            &trusting,
        ),
        case(
            "wants a certificate, and gets it",
            true,
            tls(&good, BOTH, Some(others)),
            "localhost",
            &showing(&others.client("onezot")),
        ),
        case(
            "wants a certificate, gets another authority's",
            false,
            tls(&good, BOTH, Some(others)),
            "localhost",
            &showing(&ours.client("onezot")),
        ),
        case("TLS 1.1", false, Speaks::Bytes(TLS_1_1), "localhost", &trusting),
        case("TLS 1.1, not verified", false, Speaks::Bytes(TLS_1_1), "localhost", &anybody),
        case("an alert of TLS 1.1", false, Speaks::Bytes(PROTOCOL_VERSION), "localhost", &trusting),
        case("plain HTTP", false, Speaks::Bytes(PLAIN), "localhost", &trusting),
        case("plain HTTP, not verified", false, Speaks::Bytes(PLAIN), "localhost", &anybody),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_to_a_node_trust_the_same_nodes() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let mut table = vec![format!("{:<50} {:>7} {:>7} {:>7} {:>7}", "node", "stream", "write", "fan-out", "asked")];
    for Case { name, speaks, host, tls, is_good } in cases(&ours, &others) {
        let node = Node::new(speaks).await;
        let running = server::start(config(&[&node], host, Some(&tls))).await.unwrap();
        let mut client = Client::new(running.addresses[0]);
        let mut statuses = Vec::new();
        // Twice: the second goes over what the first has left behind.
        for round in 0..2 {
            for (method, target) in [("GET", "/v2/a/tags/list"), ("PUT", "/v2/a/manifests/x"), ("GET", "/v2/_catalog")]
            {
                let lines = [("content-length".to_owned(), "0".to_owned())];
                let answer = client.send(method, target, &lines.to_vec(), None).await.unwrap();
                let expected = if is_good { 200 } else { 502 };
                assert_eq!(answer.status, expected, "{name}, {round}: {method} {target}: {answer:?}");
                let body = String::from_utf8(answer.body).unwrap();
                assert_eq!(body.contains("node zot-0 cannot be reached"), !is_good, "{name}: {target}: {body}");
                assert!(!body.contains(".pem") && !body.contains("ertificate"), "{name}: {body}");
                statuses.push(answer.status);
            }
        }
        assert_eq!(node.answered(), if is_good { 6 } else { 0 }, "{name}");
        let row = format!("{:>7} {:>7} {:>7} {:>7}", statuses[0], statuses[1], statuses[2], node.answered());
        table.push(format!("{name:<50} {row}"));
        running.stop().await;
    }
    support::say(&table.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_node_is_verified_by_its_own_configuration() {
    // The same certificate, and only one of the nodes trusts its authority.
    let authority = Authority::new("ours");
    let pair = authority.server("good", &["localhost"]);
    let nodes = [Node::new(tls(&pair, BOTH, None)).await, Node::new(tls(&pair, BOTH, None)).await];
    let trusting = NodeTls { ca: Some(authority.file.clone()), ..NodeTls::default() };
    let mut config = config(&[&nodes[0], &nodes[1]], "localhost", Some(&trusting));
    config.nodes[1].tls = None;
    let on = |index: usize| {
        let owner = |name: &String| Placement::default().owner(name, 2).node == index;
        (0..).map(|number| format!("r{number}")).find(owner).unwrap()
    };
    let running = server::start(config).await.unwrap();
    let mut client = Client::new(running.addresses[0]);
    for (target, expected) in [
        (format!("/v2/{}/tags/list", on(0)), 200),
        (format!("/v2/{}/tags/list", on(1)), 502),
        ("/v2/_catalog".to_owned(), 502),
    ] {
        let answer = client.send("GET", &target, &Vec::new(), None).await.unwrap();
        assert_eq!(answer.status, expected, "{target}: {answer:?}");
    }
    assert_eq!(nodes[1].answered(), 0);
    running.stop().await;
}

/// pingora verifies nothing where it has no name to verify.
#[test]
fn no_peer_of_pingora_is_without_a_name() {
    let authority = Authority::new("ours");
    let ca = authority.file.clone();
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    for url in ["https://zot", "https://127.0.0.1:5000", "https://[::1]:5000", "https://zot.example."] {
        for skips in [false, true] {
            let tls = NodeTls { ca: Some(ca.clone()), dangerously_skip_verification: skips, ..NodeTls::default() };
            let url = NodeUrl::try_from(url.to_owned()).unwrap();
            let config = NodeConfig { tls: Some(tls), ..NodeConfig::at(None, url.clone()) };
            let fleet = Config { nodes: vec![config], ..Config::default() }.fleet();
            let peer = onezot::tls::peer(&fleet.nodes()[0], address).unwrap();
            assert!(peer.is_tls() && !peer.sni.is_empty(), "{url}: {peer:?}");
            assert_eq!((peer.options.verify_cert, peer.options.verify_hostname), (!skips, !skips), "{url}");
            assert!(peer.options.ca.as_ref().is_some_and(|roots| !roots.is_empty()), "{url}");
        }
    }
    // Files that cannot be read leave no way to the node, and none that is not verified.
    let url = NodeUrl::try_from("https://zot".to_owned()).unwrap();
    let tls = NodeTls { ca: Some("/nonexistent/ca.pem".into()), ..NodeTls::default() };
    let fleet =
        Config { nodes: vec![NodeConfig { tls: Some(tls), ..NodeConfig::at(None, url) }], ..Config::default() }.fleet();
    assert!(onezot::tls::peer(&fleet.nodes()[0], address).is_none());
    // And no other place makes a peer.
    let mut makers = Vec::new();
    let mut directories = vec![std::path::PathBuf::from("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if std::fs::read_to_string(&path).unwrap().contains("HttpPeer::new") {
                makers.push(path.display().to_string());
            }
        }
    }
    assert_eq!(makers, ["src/tls/node.rs"]);
}

#[test]
fn what_is_wrong_with_a_nodes_tls_is_named_by_its_key() {
    let authority = Authority::new("ours");
    let (one, other) = (authority.client("one"), authority.client("other"));
    let ca = authority.file.display().to_string();
    let show = |pair: &std::path::Path| pair.display().to_string();
    let (certificate, key, other_key) = (show(&one.certificate), show(&one.key), show(&other.key));
    for (node, expected) in [
        ("{url: 'http://a', tls: {}}".to_owned(), "tls: http://a is plain HTTP; write https://"),
        (format!("{{url: 'https://a', tls: {{ca: '{ca}', certificate: '{certificate}'}}}}"), "belong together"),
        (format!("{{url: 'https://a', tls: {{ca: '{ca}', key: '{key}'}}}}"), "nodes[0].tls.key: a certificate and its"),
        ("{url: 'https://a', tls: {ca: /nonexistent}}".to_owned(), "nodes[0].tls.ca: /nonexistent cannot be read: No"),
        (format!("{{url: 'https://a', tls: {{ca: '{key}'}}}}"), "has no certificate; it must be PEM"),
        (
            format!("{{url: 'https://a', tls: {{ca: '{ca}', certificate: '{certificate}', key: '{certificate}'}}}}"),
            "has no private key that can be read; it must be PEM, not encrypted",
        ),
        (
            format!("{{url: 'https://a', tls: {{ca: '{ca}', certificate: '{certificate}', key: '{other_key}'}}}}"),
            "nodes[0].tls.key: does not fit to the certificate",
        ),
        (format!("{{url: 'https://a', tls: {{ca: '{ca}', server_name: ''}}}}"), "\"\" is no name that a certificate"),
        (format!("{{url: 'https://a', tls: {{ca: '{ca}', server_name: 'a b'}}}}"), "\"a b\" is no name that"),
        (format!("{{url: 'https://a', tls: {{ca: '{ca}', server_name: a_b.c}}}}"), "which has an underscore; name in"),
        (format!("{{url: 'https://a_b', tls: {{ca: '{ca}'}}}}"), "nodes[0].url: no certificate is for \"a_b\""),
        (
            format!("{{url: 'https://a', tls: {{ca: '{ca}', insecure_skip_verify: true}}}}"),
            "unknown field `insecure_skip_verify`, expected one of ca, certificate, key, server_name, \
             dangerously_skip_verification",
        ),
    ] {
        let problem = load(&format!("nodes:\n- {node}\n")).unwrap_err();
        assert!(problem.starts_with("FILE:2:") && problem.contains(expected), "{node}: {problem}");
        assert!(!problem.contains("PRIVATE KEY"), "{problem}");
    }
}

#[test]
fn verify_tells_what_is_allowed_and_should_be_known() {
    let authority = Authority::new("ours");
    let pair = authority.client("onezot");
    let yaml = format!(
        "nodes:\n- {{name: a, url: 'https://a', tls: {{ca: '{ca}', dangerously_skip_verification: true}}}}\n\
         - {{name: b, url: 'https://b', tls: {{ca: '{ca}', certificate: '{certificate}', key: '{key}'}}}}\n\
         - {{name: c, url: 'https://c', tls: {{ca: '{ca}'}}}}\n- {{name: d, url: 'http://d'}}\n",
        ca = authority.file.display(),
        certificate = pair.certificate.display(),
        key = pair.key.display(),
    );
    let file = authority.directory().join("onezot.yaml");
    std::fs::write(&file, yaml).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_onezot")).arg("verify").arg(&file).output().unwrap();
    assert!(output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].contains("warning: the certificate of node a is not verified (dangerously_skip_verif"), "{told}");
    assert!(lines[1].contains("warning: onezot shows a certificate to node b: a zot with tls.cacert"), "{told}");
}

/// A request to a process, and the whole answer.
fn ask(address: &str, target: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn the_systems_authorities_count_where_none_is_named() {
    let authority = Authority::new("ours");
    let pair = authority.server("good", &["localhost"]);
    let node = Node::new(tls(&pair, BOTH, None)).await;
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_onezot"))
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--node"])
        .arg(format!("zot-0=https://localhost:{}", node.address.port()))
        .env("SSL_CERT_FILE", &authority.file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(gateway.stdout.take().unwrap());
    let mut address = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line.trim_end().split_once("http://").unwrap().1.to_owned()
    };
    let (public, admin) = (address(), address());
    let answers = tokio::task::spawn_blocking(move || {
        let targets = [(&public, "/v2/a/tags/list"), (&public, "/v2/_catalog"), (&admin, "/status")];
        targets.map(|(address, target)| ask(address, target))
    });
    let answers = answers.await.unwrap();
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    for answer in &answers {
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert!(answers[2].contains("\"verified\":true"), "{}", answers[2]);
}
