//! Where the CPU time of onezot goes for small requests, as perf sees it.

use crate::load::{self, Call};
use crate::node::Fleet;
use crate::peer::{self, Peer};
use anyhow::{Result, ensure};
use http::Method;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Connections, as in the table of the report.
const CONNECTIONS: usize = 32;
/// Samples a second; a prime, so that it does not go in step with timers.
const FREQUENCY: &str = "997";

/// Prints the symbols that take the most.
pub async fn print(onezot: &Path, seconds: u64) -> Result<()> {
    let fleet = Fleet { nodes: 1, repositories: 10, tags: 10, blob: 0, delay: 0, slow: None };
    let node = peer::nodes(&fleet).await?;
    let peer = peer::onezot(onezot, &[node.address()]).await?;
    let load = keep_busy(&peer);
    let recorded = tempfile::NamedTempFile::new()?;
    let record = async {
        let mut perf = Command::new("perf");
        perf.args(["record", "--quiet", "-F", FREQUENCY, "-g", "-o"]).arg(recorded.path());
        perf.arg("-p").arg(peer.id().to_string()).args(["--", "sleep", &seconds.to_string()]);
        ensure!(
            perf.kill_on_drop(true).status().await?.success(),
            "perf record failed; it needs the right to see processes"
        );
        Ok(())
    };
    tokio::select! {
        recorded = record => recorded?,
        failed = load => failed?,
    }
    for order in ["dso", "symbol"] {
        let mut perf = Command::new("perf");
        perf.args([
            "report",
            "--stdio",
            "--no-children",
            "-g",
            "none",
            "--percent-limit",
            "0.7",
            "--sort",
            order,
            "-i",
        ]);
        let output = perf.arg(recorded.path()).stderr(Stdio::null()).output().await?;
        for line in String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains('%')) {
            println!("{}", line.trim_end_matches(['-', ' ']));
        }
        println!();
    }
    Ok(())
}

async fn keep_busy(peer: &Peer) -> Result<()> {
    let call = Call::bare(Method::GET, "/v2/team-0000/app-0000001/manifests/1.000.0");
    loop {
        load::run(peer.address(), &call, CONNECTIONS, 10_000).await?;
    }
}
