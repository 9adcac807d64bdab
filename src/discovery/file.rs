//! Nodes in a file of their own.

use super::{Member, Sighting};
use crate::config::nodes_file;
use crate::watch::Watch;
use std::path::Path;
use tokio::sync::mpsc::Sender;

/// Reads the file at first and whenever it changes.
pub async fn watch(path: &Path, seen: &Sender<Sighting>) {
    let mut watch = Watch::new(path);
    loop {
        let nodes = nodes_file(path).map_err(|error| error.to_string());
        if seen.send(nodes.map(|nodes| nodes.into_iter().map(Member::from).collect())).await.is_err() {
            return;
        }
        watch.changed().await;
    }
}
