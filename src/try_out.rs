//! `onezot demo`: embedded nodes with sample content, the gateway in front of them, and what to do with it.

use super::{Exit, say};
use onezot::config::{Config, Flags};
use onezot::demo::{ContentError, Node, Sample};
use onezot::{server, telemetry};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often the nodes forget the requests that they received, which they remember for tests.
const FORGET: Duration = Duration::from_secs(1);

impl From<ContentError> for Exit {
    fn from(error: ContentError) -> Exit {
        Exit { message: error.to_string(), code: 1 }
    }
}

/// Runs until SIGINT or SIGTERM.
pub fn run(nodes: u8, listen: String) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let sample = Sample::new()?;
        let mut fleet = Vec::new();
        for seed in 0..nodes {
            fleet.push(Node::start(sample.setup(seed.into())?).await?);
        }
        let named = fleet.iter().enumerate().map(|(index, node)| format!("zot-{index}={}", node.url()));
        let flags = Flags { listen: vec![listen], nodes: named.collect(), ..Flags::default() };
        let mut config = Config::load(None, [], &flags)?;
        config.log.level = "warn".to_owned();
        telemetry::start_log(&config.log);

        let placed = config.fleet();
        for (index, node) in fleet.iter().enumerate() {
            node.load(&sample.content, |repository| placed.owner(repository).node == index)?;
        }
        let running = server::start(config)
            .await
            .map_err(|error| Exit { message: format!("{error}; --listen 127.0.0.1:0 takes a free port"), code: 1 })?;
        let address = running.addresses.first().copied().unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        say(&introduction(address, &flags.nodes, sample.repositories().len()))?;

        let mut forget = tokio::time::interval(FORGET);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = forget.tick() => fleet.iter().for_each(|node| drop(node.take_seen())),
            }
        }
        running.stop().await;
        for node in fleet {
            node.stop().await;
        }
        Ok(())
    })
}

/// What is printed: addresses, and commands to try.
fn introduction(listening: SocketAddr, nodes: &[String], repositories: usize) -> String {
    let mut text = format!("onezot: listening on http://{listening}\n\n");
    let _ = writeln!(text, "{repositories} repositories on {} nodes that live in this process:", nodes.len());
    for node in nodes {
        let (name, url) = node.split_once('=').unwrap_or(("", node));
        let _ = writeln!(text, "  {name}  {url}");
    }
    text.push_str("Everybody may read and write; there is a user alice, with the password alice-pw.\n");
    let at = reachable(listening);
    let arguments: Vec<String> = nodes.iter().map(|node| format!("--node {node}")).collect();
    let search = "{GlobalSearch(query:\"app\",requestedPage:{limit:5,sortBy:DOWNLOADS}){Page{TotalCount ItemCount} \
        Repos{Name DownloadCount NewestImage{Tag IsSigned Vulnerabilities{MaxSeverity Count}}}}}";
    let vulnerable = "{ImageListForCVE(id:\"CVE-2099-1001\",requestedPage:{limit:5}){Page{TotalCount} \
        Results{RepoName Tag}}}";
    let ask =
        |document: &str| format!("curl -sS --get http://{at}/v2/_zot/ext/search --data-urlencode 'query={document}'");
    // skopeo needs to be told where there is no policy file, and what to take on a machine that is no Linux.
    let skopeo = "skopeo --insecure-policy --override-os linux copy";
    let program = std::env::current_exe().map_or_else(|_| "onezot".to_owned(), |path| path.display().to_string());
    let why = format!("What onezot does with a request, and why (onezot is {program})");
    let commands = [
        ("A page of the catalog, and the Link to the next one", format!("curl -sSi 'http://{at}/v2/_catalog?n=5'")),
        ("A search over all nodes", ask(search)),
        ("Which images have a CVE", ask(vulnerable)),
        ("Tags", format!("skopeo list-tags --tls-verify=false docker://{at}/platform/base/debian")),
        ("A pull", format!("{skopeo} --src-tls-verify=false docker://{at}/team-a/app:latest oci:onezot-demo:latest")),
        ("The same with crane", format!("crane manifest --insecure {at}/team-a/app:latest")),
        ("", format!("crane pull --insecure {at}/team-a/app:latest onezot-demo.tar")),
        ("A push", format!("{skopeo} --dest-tls-verify=false oci:onezot-demo:latest docker://{at}/my-team/my-app:1.0")),
        ("", format!("skopeo list-tags --tls-verify=false docker://{at}/my-team/my-app")),
        (&why, format!("onezot explain GET '/v2/_catalog?n=5' {}", arguments.join(" "))),
    ];
    for (about, command) in commands {
        if !about.is_empty() {
            let _ = writeln!(text, "\n{about}:");
        }
        let _ = writeln!(text, "  $ {command}");
    }
    text.push_str("\nCtrl-C ends it all.\n");
    text
}

/// Where clients on this machine find what listens on all addresses.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}
