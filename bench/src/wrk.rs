//! Load from wrk, which costs less per request than a client of our own.

use crate::load::Load;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::time::Duration;
use tokio::process::Command;

/// What wrk prints at the end, in a form that is easy to read.
const SCRIPT: &str = r#"
done = function(summary, latency, requests)
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.status + summary.errors.timeout
  io.write(string.format('\n{"requests":%d,"bytes":%d,"microseconds":%d,"errors":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.bytes, summary.duration, errors, latency:percentile(50), latency:percentile(99)))
end
"#;

#[derive(Deserialize)]
struct Printed {
    requests: usize,
    bytes: u64,
    microseconds: u64,
    errors: u64,
    p50: u64,
    p99: u64,
}

/// GETs a URL over so many connections for so long. Certificates are not looked at.
pub async fn run(url: &str, connections: usize, time: Duration) -> Result<Load> {
    let script = tempfile::Builder::new().suffix(".lua").tempfile()?;
    std::fs::write(script.path(), SCRIPT)?;
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "--latency", &format!("-c{connections}"), &format!("-d{}s", time.as_secs().max(1)), "-s"]);
    let output = wrk.arg(script.path()).arg(url).kill_on_drop(true).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with('{')).with_context(|| format!("wrk said: {text}"))?;
    let Printed { requests, bytes, microseconds, errors, p50, p99 } = serde_json::from_str(line)?;
    if errors > 0 || requests == 0 {
        bail!("{errors} of {requests} requests to {url} failed");
    }
    let [elapsed, p50, p99] = [microseconds, p50, p99].map(Duration::from_micros);
    Ok(Load { requests, elapsed, p50, p99, bytes: 0, received: bytes })
}
