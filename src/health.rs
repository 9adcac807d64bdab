//! Checks of the nodes: each is asked, again and again, whether it answers, so that one that fails is known to before a
//! request waits for it, and one that is back is known to before a request tries it.
//!
//! A check asks for `/readyz`, or for `/v2/` where that is unknown (registries other than zot, older zots): both are reads
//! that change nothing. Who asks for credentials is there.

use crate::config;
use crate::fleet::Node;
use crate::scatter::{FailureKind, Scatter};
use futures::future::join_all;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// How soon a node that failed is checked again.
const SOON: Duration = Duration::from_secs(1);

/// Checks all nodes of a fan-out client's fleet, for ever; at once if no checks are wanted.
pub async fn check_all(scatter: Arc<Scatter>, config: config::Health) {
    if !config.interval.is_zero() {
        join_all(scatter.fleet().nodes().iter().map(|node| keep_checked(&scatter, node, &config))).await;
    }
}

async fn keep_checked(scatter: &Scatter, node: &Arc<Node>, config: &config::Health) {
    let soon = SOON.min(config.interval);
    loop {
        check(scatter, node, config.timeout).await;
        if node.health.is_failing() {
            tokio::time::sleep(soon).await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(config.interval) => {}
            () = node.health.failure() => {}
        }
    }
}

/// Checks a node once; what it says or fails to say is noted.
async fn check(scatter: &Scatter, node: &Arc<Node>, within: Duration) {
    let mut answered = scatter.probe(node, "/readyz", within).await;
    if matches!(answered, Ok(StatusCode::NOT_FOUND)) {
        answered = scatter.probe(node, "/v2/", within).await;
    }
    match answered {
        Ok(status) if is_alive(status) => {}
        Ok(status) => scatter.fleet().was_unreachable(node, &format!("a check was answered {status}")),
        Err(failure) if failure.kind == FailureKind::Late => {}
        Err(failure) => scatter.fleet().was_unreachable(node, &failure.cause),
    }
}

/// Whether a status is that of a registry that works.
fn is_alive(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection() || matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}
