//! Reading the configuration again: on SIGHUP, and when its file changes. One that is wrong changes nothing.

use crate::config::{Config, ConfigError, Reload};
use crate::succession::Succession;
use crate::watch::Watch;
use std::sync::Arc;
use tokio::signal::unix::Signal;

/// Reloads for ever. `watch` is that of the file, and began before the file was read first.
pub async fn follow(
    succession: &Arc<Succession>,
    load: impl Fn() -> Result<Config, ConfigError>,
    mut watch: Option<Watch>,
    mut hangup: Signal,
) {
    loop {
        let is_watched = succession.current().gateway().config().reload == Reload::Watch;
        let cause = match watch.as_mut().filter(|_| is_watched) {
            Some(watch) => tokio::select! {
                received = hangup.recv() => received.map(|()| "SIGHUP"),
                () = watch.changed() => Some("the file changed"),
            },
            None => hangup.recv().await.map(|()| "SIGHUP"),
        };
        let Some(cause) = cause else { return };
        match load() {
            Ok(config) => again(succession, config, cause).await,
            Err(error) => tracing::error!(cause, %error, "the new configuration is wrong; the old one stays"),
        }
    }
}

async fn again(succession: &Arc<Succession>, config: Config, cause: &str) {
    match succession.reload(config).await {
        Ok(changes) => {
            if changes.now.is_empty() {
                tracing::info!(cause, "no key of the configuration changed; the files that it names are read again");
            } else {
                tracing::info!(cause, changed = changes.now.join(", "), "another configuration counts");
            }
            if !changes.later.is_empty() {
                tracing::warn!(ignored = changes.later.join(", "), "this counts after the next start only");
            }
        }
        Err((key, problem)) => {
            tracing::error!(cause, key, problem, "the new configuration is wrong; the old one stays");
        }
    }
}
