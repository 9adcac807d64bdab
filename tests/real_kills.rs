//! Random kills of three real zots, when `ONEZOT_ZOT` names a binary: they are stopped and go on, or killed and started again on
//! the same disk. `ONEZOT_MINUTES` asks for more time than the 30 s that it takes, and `ONEZOT_SEED` for other kills.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/kills.rs"]
mod kills;
#[path = "support/whole.rs"]
mod whole;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/zots.rs"]
mod zots;

use kills::{Kill, Run, Victims, number};
use onezot::fleet::Placement;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use zots::Zot;

/// How a zot was made to fail.
struct Victim {
    zot: Zot,
    failed: Option<Kill>,
}

struct Zots {
    binary: PathBuf,
    zots: Vec<Mutex<Victim>>,
}

impl Victims for Zots {
    async fn kill(&self, node: usize, kill: Kill) {
        let mut victim = self.zots[node].lock().await;
        match kill {
            Kill::Die => victim.zot.stop(),
            Kill::Hang | Kill::Break => victim.zot.signal("STOP"),
        }
        victim.failed = Some(kill);
    }

    async fn mend(&self, node: usize) {
        let mut victim = self.zots[node].lock().await;
        match victim.failed.take() {
            Some(Kill::Die) => victim.zot.restart(&self.binary).await,
            Some(_) => victim.zot.signal("CONT"),
            None => {}
        }
        victim.zot.is_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_there_and_a_failure_is_no_absence() {
    let Some(binary) = zots::binary() else {
        println!("skipped: real zot: ONEZOT_ZOT names no binary");
        return;
    };
    let (a, b, c) = tokio::join!(Zot::start(&binary), Zot::start(&binary), Zot::start(&binary));
    let addresses: Vec<SocketAddr> = [&a, &b, &c].map(|zot| zot.address).to_vec();
    let yaml = "locate: search\nhealth: {interval: 200ms, timeout: 1s}\n\
                timeouts: {headers: 2s, write_answer: 2s, idle: 2s, total: 4s, drain: 100ms}\n";
    let running = wire::gateway(&addresses, yaml).await;
    let owner = |name: &str| Placement::default().owner(name, 3).node;
    let alice = "Authorization: Basic YWxpY2U6YWxpY2UtcHc=\r\n";
    let run = Run::begin(running.addresses[0], &addresses, owner, alice).await;
    let minutes = number("ONEZOT_MINUTES", 0);
    let time = if minutes == 0 { Duration::from_secs(30) } else { Duration::from_secs(60 * minutes) };
    let zots = [a, b, c].map(|zot| Mutex::new(Victim { zot, failed: None })).into();
    run.go(Arc::new(Zots { binary, zots }), number("ONEZOT_SEED", 1), time, &[Kill::Die, Kill::Hang]).await;
    running.stop().await;
    run.settle(&format!("random kills of real zots, {} s", time.as_secs()), 2 + 5 * usize::try_from(minutes).unwrap());
}
