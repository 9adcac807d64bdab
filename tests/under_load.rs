//! Nothing is lost while it changes: configurations are swapped, and gateways behind a load balancer replaced, under load.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/load.rs"]
mod load;
#[path = "support/wire.rs"]
#[allow(dead_code)]
mod wire;

use load::{Load, fleet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How many configurations follow each other.
const SWAPS: usize = 100;
/// How many times each gateway is replaced.
const ROUNDS: usize = 2;
/// Long enough that only a hang reaches it.
const HANG: Duration = Duration::from_secs(120);

/// Not `println!`, which is swallowed when a test passes.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_configurations_follow_each_other_and_no_request_fails() {
    let (nodes, repositories) = fleet(4).await;
    let at = |index: usize| nodes[index].address();
    // The last one holds nothing; the order is placement.
    let orders = [vec![0, 1, 2], vec![2, 0, 1], vec![1, 2, 0, 3], vec![0, 1, 2]];
    let config = |round: usize| {
        let connect = 2 + round / 4 % 2;
        let yaml = format!(
            "locate: search\ntimeouts: {{connect: {connect}s}}\nlimits: {{in_flight: {}, total_answer_bytes: {}MiB}}\n\
             placement: {{hash_key: sixteen-bytes-{:02}}}\n",
            500 + round,
            500 + round % 3,
            round / 2 % 50
        );
        let order = &orders[round % orders.len()];
        let mut config = wire::config(&order.iter().map(|&index| at(index)).collect::<Vec<_>>(), &yaml);
        // A node keeps its name wherever it is in the order.
        for (node, index) in config.nodes.iter_mut().zip(order) {
            node.name = Some(format!("zot-{index}"));
        }
        config
    };
    let running = onezot::server::start(config(0)).await.unwrap();
    let load = Load::start(running.addresses[0], repositories).await;
    for round in 1..=SWAPS {
        running.succession().reload(config(round)).await.unwrap();
        load.goes_on(20).await;
    }
    let result = load.stop().await;
    say(&format!("reload under load: {SWAPS} swaps, {result}"));
    assert_eq!(result.failures, Vec::<String>::new(), "of {} requests", result.requests);
    assert!(result.requests > 20 * SWAPS);
    running.stop().await;
}

/// A gateway process that ends with the test.
struct Serving {
    child: Child,
    address: SocketAddr,
}

impl Serving {
    fn start(config: &Path) -> Serving {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onezot"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(config).env_remove("ONEZOT_CONFIG");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().split_once("http://").unwrap().1.parse().unwrap();
        Serving { child, address }
    }

    async fn ends(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        until("the gateway's end", || self.child.try_wait().unwrap().is_some()).await;
        assert_eq!(self.child.try_wait().unwrap().unwrap().code(), Some(0));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < HANG, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A load balancer that ends with the test.
struct Haproxy {
    child: Child,
    socket: PathBuf,
    address: SocketAddr,
}

impl Haproxy {
    /// Starts it before these gateways; `None` if there is no such program.
    async fn start(directory: &Path, gateways: &[SocketAddr]) -> Option<Haproxy> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        let program = places.map(|place| place.join("haproxy")).find(|program| program.is_file())?;
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let socket = directory.join("haproxy.sock");
        let servers: String = gateways
            .iter()
            .enumerate()
            .map(|(index, gateway)| format!("  server gateway-{index} {gateway}\n"))
            .collect();
        let config = format!(
            "global\n  stats socket {} level admin\n\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  timeout check 10s\n\
             frontend registry\n  bind {address}\n  default_backend onezot\n\
             backend onezot\n  balance roundrobin\n  option httpchk GET /readyz\n  http-check expect status 200\n  \
             default-server check inter 200ms fall 1 rise 1\n{servers}",
            socket.display()
        );
        let file = directory.join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(program);
        let child = command.arg("-db").arg("-f").arg(file).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let haproxy = Haproxy { child, socket, address };
        until("haproxy", || haproxy.socket.exists()).await;
        for index in 0..gateways.len() {
            haproxy.is_up(index).await;
        }
        Some(haproxy)
    }

    /// What it answers to a command.
    fn tell(&self, command: &str) -> String {
        let Ok(mut stream) = UnixStream::connect(&self.socket) else { return String::new() };
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn status(&self, index: usize) -> String {
        let name = format!("gateway-{index}");
        let stat = self.tell("show stat");
        let rows = stat.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let status = rows.filter(|row| row.get(1) == Some(&name.as_str())).filter_map(|row| row.get(17).copied());
        status.map(str::to_owned).next().unwrap_or_default()
    }

    async fn is_up(&self, index: usize) {
        until("haproxy's word that a gateway is up", || self.status(index) == "UP").await;
    }

    /// Sends requests to another gateway in place of one that has ended.
    async fn replace(&self, index: usize, gateway: SocketAddr) {
        assert_eq!(self.status(index), "DOWN");
        let (ip, port) = (gateway.ip(), gateway.port());
        let said = self.tell(&format!("set server onezot/gateway-{index} addr {ip} port {port}"));
        assert!(said.contains("changed") || said.contains("no need"), "{said}");
        self.is_up(index).await;
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_behind_a_load_balancer_are_replaced_and_no_request_fails() {
    let directory = tempfile::tempdir().unwrap();
    let (nodes, repositories) = fleet(3).await;
    let mut yaml = "locate: search\ntimeouts: {linger: 3s}\nlog: {level: error}\nnodes:\n".to_owned();
    for (index, node) in nodes.iter().enumerate() {
        yaml.push_str(&format!("- {{name: zot-{index}, url: 'http://{}'}}\n", node.address()));
    }
    let config = directory.path().join("onezot.yaml");
    std::fs::write(&config, yaml).unwrap();
    let mut gateways = [Serving::start(&config), Serving::start(&config)];
    let addresses: Vec<_> = gateways.iter().map(|gateway| gateway.address).collect();
    let Some(haproxy) = Haproxy::start(directory.path(), &addresses).await else {
        say("skipped: rolling replacement: haproxy is not installed");
        return;
    };
    let load = Load::start(haproxy.address, repositories).await;
    for _ in 0..ROUNDS {
        for (index, gateway) in gateways.iter_mut().enumerate() {
            load.goes_on(100).await;
            let old = std::mem::replace(gateway, Serving::start(&config));
            old.ends().await;
            haproxy.replace(index, gateway.address).await;
        }
    }
    load.goes_on(100).await;
    let result = load.stop().await;
    say(&format!("rolling replacement behind haproxy: {} gateways replaced, {result}", 2 * ROUNDS));
    assert_eq!(result.failures, Vec::<String>::new(), "of {} requests", result.requests);
}
