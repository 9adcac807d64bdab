//! Random kills of embedded nodes. `ONEZOT_MINUTES` asks for more time than the 20 s that it takes, and `ONEZOT_SEED` for other
//! kills.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/kills.rs"]
mod kills;
#[path = "support/whole.rs"]
mod whole;
#[path = "support/wire.rs"]
mod wire;

use http::StatusCode;
use kills::{Kill, Run, Victims, number};
use onezot::demo::{Fault, Node, Setup};
use onezot::fleet::Placement;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;

struct Embedded {
    nodes: Vec<Node>,
    breaks: AtomicUsize,
}

impl Victims for Embedded {
    async fn kill(&self, node: usize, kill: Kill) {
        let fault = match kill {
            Kill::Die => Fault::Down,
            Kill::Hang => Fault::Hang,
            Kill::Break if self.breaks.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => Fault::Reset,
            Kill::Break => Fault::Status(StatusCode::INTERNAL_SERVER_ERROR),
        };
        self.nodes[node].faults().set(fault);
    }

    async fn mend(&self, node: usize) {
        self.nodes[node].faults().clear();
        while TcpStream::connect(self.nodes[node].address()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_there_and_a_failure_is_no_absence() {
    let mut nodes = Vec::new();
    for seed in 0..3 {
        nodes.push(Node::start(Setup { seed, ..Setup::default() }).await.unwrap());
    }
    let addresses: Vec<SocketAddr> = nodes.iter().map(Node::address).collect();
    let yaml = "locate: search\nhealth: {interval: 200ms, timeout: 500ms}\n\
                timeouts: {headers: 1s, write_answer: 1s, idle: 1s, total: 2s, drain: 100ms}\n";
    let running = wire::gateway(&addresses, yaml).await;
    let owner = |name: &str| Placement::default().owner(name, 3).node;
    let run = Run::begin(running.addresses[0], &addresses, owner, "").await;
    let minutes = number("ONEZOT_MINUTES", 0);
    let time = if minutes == 0 { Duration::from_secs(20) } else { Duration::from_secs(60 * minutes) };
    let victims = Arc::new(Embedded { nodes, breaks: AtomicUsize::new(0) });
    run.go(victims, number("ONEZOT_SEED", 1), time, &[Kill::Die, Kill::Hang, Kill::Break]).await;
    running.stop().await;
    run.settle(&format!("random kills, {} s", time.as_secs()), 5 + 15 * usize::try_from(minutes).unwrap());
}
