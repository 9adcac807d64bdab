//! TLS to clients: what is offered, which certificate is shown to whom, what happens when files change, and who gets in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/stub.rs"]
mod stub;
#[path = "support/mod.rs"]
mod support;

use certificates::{Authority, Pair};
use onezot::config::{CertificateAndKey, ClientCertificate, Config, Listener, ListenerTls};
use onezot::server::{self, Running};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use stub::{Stub, reply};
use support::gateway::{self, load};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

fn listener(pair: &Pair) -> ListenerTls {
    ListenerTls { certificate: pair.certificate.clone(), key: pair.key.clone(), ..ListenerTls::default() }
}

fn at(tls: ListenerTls) -> Listener {
    Listener { tls: Some(tls), .."127.0.0.1:0".into() }
}

async fn node() -> Stub {
    let lists_all = |target: &str| target.starts_with("/v2/_catalog");
    Stub::new(move |seen| match lists_all(&seen.target) {
        true => reply(200, r#"{"repositories":[]}"#),
        false => reply(200, r#"{"name":"a","tags":[]}"#),
    })
    .await
}

async fn start(node: &Stub, listen: Vec<Listener>) -> Running {
    server::start(Config { listen, ..gateway::config(&[node.address]) }).await.unwrap()
}

/// Takes any certificate, and remembers nothing: the test looks at it.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client, which may show a certificate.
fn client(shows: Option<&Pair>) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody));
    match shows {
        Some(pair) => builder.with_client_auth_cert(pair.chain(), pair.private_key()).unwrap(),
        None => builder.with_no_client_auth(),
    }
}

/// Sends a request, and gives the leaf that the server showed, and its answer.
async fn ask(
    config: ClientConfig,
    to: SocketAddr,
    name: &str,
    request: &str,
) -> std::io::Result<(CertificateDer<'static>, String)> {
    let tcp = TcpStream::connect(to).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok((leaf, answer))
}

const GET: &str = "GET /v2/a/tags/list HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_that_of_the_name_that_is_asked_for() {
    let authority = Authority::new("ours");
    let default = authority.server("default", &["default.example"]);
    let one = authority.server("one", &["one.example", "uno.example"]);
    let any = authority.server("any", &["*.any.example"]);
    let more = [&one, &any]
        .map(|pair| CertificateAndKey { certificate: pair.certificate.clone(), key: pair.key.clone() })
        .to_vec();
    let node = node().await;
    let running = start(&node, vec![at(ListenerTls { more, ..listener(&default) })]).await;
    assert!(running.urls[0].starts_with("https://127.0.0.1:"), "{:?}", running.urls);
    for (name, expected) in [
        ("default.example", &default),
        ("one.example", &one),
        ("UNO.example", &one),
        ("x.any.example", &any),
        ("x.y.any.example", &default),
        ("any.example", &default),
        ("other.example", &default),
        // A client that goes to an address asks for no name.
        ("127.0.0.1", &default),
    ] {
        let (leaf, answer) = ask(client(None), running.addresses[0], name, GET).await.unwrap();
        assert_eq!(leaf, expected.chain()[0], "{name}");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{name}: {answer}");
    }
    let seen = node.seen();
    assert!(seen.iter().all(|seen| seen.header("x-forwarded-proto") == Some("https")), "{seen:?}");
    assert!(seen.iter().all(|seen| seen.header("x-forwarded-for") == Some("127.0.0.1")), "{seen:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_prove_who_they_are_where_they_must() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let pair = ours.server("server", &["r"]);
    let (alice, mallory, server) =
        (ours.client("alice"), others.client("mallory"), ours.server("not-a-client", &["x"]));
    let with = |client_certificate| {
        at(ListenerTls { client_ca: Some(ours.file.clone()), client_certificate, ..listener(&pair) })
    };
    let listen = vec![
        with(None),
        with(Some(ClientCertificate::Required)),
        with(Some(ClientCertificate::Requested)),
        at(listener(&pair)),
        "127.0.0.1:0".into(),
    ];
    let node = node().await;
    let mut config = Config { listen, ..gateway::config(&[node.address]) };
    config.client_subject_header = Some("X-Client-Subject".to_owned().try_into().unwrap());
    let running = server::start(config.clone()).await.unwrap();
    let lying = GET.replace("Host: r", "Host: r\r\nx-client-SUBJECT: CN=root\r\nX-Client-Subject: CN=root");
    for (at, shows, expected) in [
        (0, None, None),
        (0, Some(&alice), Some(Some("CN=alice"))),
        (0, Some(&mallory), None),
        (0, Some(&server), None),
        (1, None, None),
        (1, Some(&alice), Some(Some("CN=alice"))),
        (2, None, Some(None)),
        (2, Some(&alice), Some(Some("CN=alice"))),
        (2, Some(&mallory), None),
        // Nobody is asked here, and so nobody is verified.
        (3, Some(&alice), Some(None)),
        (3, None, Some(None)),
    ] {
        for target in ["/v2/a/tags/list", "/v2/_catalog"] {
            let before = node.seen().len();
            let request = lying.replace("/v2/a/tags/list", target);
            let answer = ask(client(shows), running.addresses[at], "r", &request).await;
            let what = format!("listener {at}, {shows:?}, {target}: {answer:?}");
            let Some(subject) = expected else {
                assert!(answer.is_err(), "{what}");
                assert_eq!(node.seen().len(), before, "{what}");
                continue;
            };
            assert!(answer.unwrap().1.starts_with("HTTP/1.1 200 "), "{what}");
            assert_eq!(node.seen()[before].header("x-client-subject"), subject, "{what}");
        }
    }
    // In plain HTTP, nobody is anybody.
    let mut plain = TcpStream::connect(running.addresses[4]).await.unwrap();
    plain.write_all(lying.as_bytes()).await.unwrap();
    plain.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(node.seen().last().unwrap().header("x-client-subject"), None);
    assert_eq!(node.seen().last().unwrap().header("x-forwarded-proto"), Some("http"));
    running.stop().await;

    // Nothing is told to nodes that is not configured to be told.
    let running = server::start(Config { client_subject_header: None, ..config }).await.unwrap();
    ask(client(Some(&alice)), running.addresses[0], "r", GET).await.unwrap();
    let told = format!("{:?}", node.seen().last().unwrap().headers);
    assert!(!told.contains("alice"), "{told}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_has_to_come_in_time_and_in_tls() {
    let authority = Authority::new("ours");
    let node = node().await;
    let mut config =
        Config { listen: vec![at(listener(&authority.server("server", &["r"])))], ..gateway::config(&[node.address]) };
    config.timeouts.client_headers = Duration::from_millis(300);
    let running = server::start(config).await.unwrap();
    for said in ["", "\x16\x03\x01", GET] {
        let mut stream = TcpStream::connect(running.addresses[0]).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        // It is closed, whatever else is said: an alert, or nothing.
        let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut heard)).await.expect("closed");
        assert!(!heard.starts_with(b"HTTP"), "{heard:?}");
    }
    let (_, answer) = ask(client(None), running.addresses[0], "r", GET).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(node.seen().len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_one_request_after_the_other() {
    let authority = Authority::new("ours");
    let node = node().await;
    let running = start(&node, vec![at(listener(&authority.server("server", &["r"])))]).await;
    let requests =
        format!("{}{}{GET}", GET.replace("Connection: close\r\n", ""), GET.replace("Connection: close\r\n", ""));
    let (_, answer) = ask(client(None), running.addresses[0], "r", &requests).await.unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 3, "{answer}");
    running.stop().await;
}

/// Asks until the server shows this certificate.
async fn until_shown(to: SocketAddr, pair: &Pair) {
    let waiting = async {
        while ask(client(None), to, "r", GET).await.unwrap().0 != pair.chain()[0] {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("the new certificate is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_again_when_they_change_and_what_is_wrong_is_refused() {
    let authority = Authority::new("ours");
    let [live, second, third] = ["live", "second", "third"].map(|name| authority.server(name, &["r"]));
    let first = live.chain()[0].clone();
    let node = node().await;
    let config = format!(
        "listen: [{{address: '127.0.0.1:0', tls: {{certificate: '{}', key: '{}'}}}}]\nnodes: [{{url: 'http://{}'}}]\n",
        live.certificate.display(),
        live.key.display(),
        node.address
    );
    let file = authority.directory().join("onezot.yaml");
    std::fs::write(&file, config).unwrap();
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_onezot"))
        .args(["serve", "--config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(gateway.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim_end().split_once("https://").unwrap().1.parse().unwrap();
    let (log, mut logged) = tokio::sync::mpsc::unbounded_channel();
    let errors = BufReader::new(gateway.stderr.take().unwrap());
    std::thread::spawn(move || errors.lines().map_while(Result::ok).all(|line| log.send(line).is_ok()));
    let refused = "certificates that have changed cannot be used";

    assert_eq!(ask(client(None), address, "r", GET).await.unwrap().0, first);
    live.replace(&second);
    until_shown(address, &second).await;
    // A key that does not belong to the certificate, then no certificate at all: what was there stays.
    for wrong in [std::fs::read(&third.key).unwrap(), b"nothing".to_vec()] {
        let place = if wrong == b"nothing" { &live.certificate } else { &live.key };
        std::fs::write(place, &wrong).unwrap();
        let told = async {
            loop {
                let line = logged.recv().await.expect("the gateway runs");
                // Between two writes the pair may have been seen in halves; that is told, too.
                if line.contains(refused) && !line.contains(&String::from_utf8_lossy(&wrong).into_owned()) {
                    return line;
                }
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(60), told).await.expect("it is told");
        assert!(told.contains("tls.key: ") || told.contains("tls.certificate: "), "{told}");
        assert!(!told.contains("PRIVATE KEY"), "{told}");
        assert_eq!(ask(client(None), address, "r", GET).await.unwrap().0, second.chain()[0]);
    }
    live.replace(&third);
    until_shown(address, &third).await;
    gateway.kill().unwrap();
    gateway.wait().unwrap();
}

#[test]
fn what_is_wrong_with_a_listener_is_named_by_its_key() {
    let authority = Authority::new("ours");
    let (one, other) = (authority.server("one", &["one"]), authority.server("other", &["other"]));
    let show = |path: &std::path::Path| path.display().to_string();
    let (certificate, key, other_key) = (show(&one.certificate), show(&one.key), show(&other.key));
    let pair = format!("certificate: '{certificate}', key: '{key}'");
    for (listen, expected) in [
        ("5000".to_owned(), "listen[0]"),
        ("'5000'".to_owned(), "listen[0]: \"5000\" is no address"),
        (format!("{{address: '5000', tls: {{{pair}}}}}"), "listen[0].address: \"5000\" is no address"),
        ("{address: 'a:1', tls: {certificate: x}}".to_owned(), "missing field `key`"),
        ("{address: 'a:1', tls: {certificate: /no, key: /no}}".to_owned(), "listen[0].tls.certificate: /no cannot be"),
        (
            format!("{{address: 'a:1', tls: {{certificate: '{certificate}', key: '{other_key}'}}}}"),
            "listen[0].tls.key: ",
        ),
        (
            format!(
                "{{address: 'a:1', tls: {{{pair}, more: [{{certificate: '{certificate}', key: '{other_key}'}}]}}}}"
            ),
            "listen[0].tls.more[0].key: ",
        ),
        (format!("{{address: 'a:1', tls: {{{pair}, client_ca: '{key}'}}}}"), "listen[0].tls.client_ca: "),
        (
            format!("{{address: 'a:1', tls: {{{pair}, client_certificate: requested}}}}"),
            "listen[0].tls.client_certificate: nobody is trusted to sign",
        ),
        (format!("{{address: 'a:1', tls: {{{pair}, ca: x}}}}"), "unknown field `ca`"),
        ("{address: 'a:1', tsl: {}}".to_owned(), "unknown field `tsl`, expected one of address, tls, h2c"),
    ] {
        let problem = load(&format!("nodes: [{{url: 'http://a'}}]\nlisten:\n- {listen}\n")).unwrap_err();
        assert!(problem.starts_with("FILE:3:") && problem.contains(expected), "{listen}: {problem}");
        assert!(!problem.contains("PRIVATE KEY"), "{problem}");
    }
    let problem = load("nodes: [{url: 'http://a'}]\nclient_subject_header: Authorization\n").unwrap_err();
    assert!(problem.contains("client_subject_header: \"Authorization\" cannot be the name"), "{problem}");
}

/// One handshake of `openssl s_client`; what was agreed on, if anything.
fn handshake(to: SocketAddr, options: &[&str]) -> Option<(String, String)> {
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &to.to_string(), "-servername", "r", "-brief"]).args(options);
    let output = client.stdin(Stdio::null()).output().unwrap();
    // What is agreed on is told on standard error.
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
    let established = text.contains("CONNECTION ESTABLISHED");
    established.then(|| (value("Protocol version:").unwrap(), value("Ciphersuite:").unwrap()))
}

/// What openssl knows, in its own names, weak ones included.
fn ciphers(version: &str) -> Vec<String> {
    let output = Command::new("openssl").args(["ciphers", "-s", version, "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.trim_end().split(':').map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tls_1_2_and_1_3_are_offered_with_ciphers_that_keep_secrets() {
    let authority = Authority::new("ours");
    let node = node().await;
    let running = start(&node, vec![at(listener(&authority.server("server", &["r"])))]).await;
    let to = running.addresses[0];
    let table = tokio::task::spawn_blocking(move || {
        let mut table = String::from("protocol  cipher                            offered\n");
        for (option, name, expected) in [
            ("-tls1", "TLSv1", false),
            ("-tls1_1", "TLSv1.1", false),
            ("-tls1_2", "TLSv1.2", true),
            ("-tls1_3", "TLSv1.3", true),
        ] {
            let agreed = handshake(to, &[option, "-cipher", "ALL:@SECLEVEL=0"]);
            assert_eq!(agreed.as_ref().map(|(version, _)| version.as_str()), expected.then_some(name), "{option}");
            let _ = writeln!(table, "{name:<9} {:<33} {}", "(any)", if expected { "yes" } else { "no" });
        }
        let mut offered = Vec::new();
        for (version, choice) in [("-tls1_2", "-cipher"), ("-tls1_3", "-ciphersuites")] {
            for cipher in ciphers(version).iter().filter(|cipher| cipher.starts_with("TLS_") == (version == "-tls1_3"))
            {
                let wanted = if version == "-tls1_2" { format!("{cipher}:@SECLEVEL=0") } else { cipher.clone() };
                let is_offered = handshake(to, &[version, choice, &wanted]).is_some();
                if is_offered {
                    offered.push(cipher.clone());
                }
                let _ = writeln!(table, "{version:<9} {cipher:<33} {}", if is_offered { "yes" } else { "no" });
            }
        }
        (table, offered)
    });
    let (table, offered) = table.await.unwrap();
    support::say(&table);
    assert!(table.lines().count() > 40, "openssl knows too few ciphers to tell anything");
    // Forward secrecy and authenticated encryption, all of them. The key of the certificate is one of ECDSA.
    assert_eq!(
        offered,
        [
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_AES_128_GCM_SHA256",
        ]
    );
    running.stop().await;
}
