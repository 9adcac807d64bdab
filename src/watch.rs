//! Watching a file: by the system's notices of its directory, and slowly by looking.
//!
//! It is the directory that is watched, because editors and Kubernetes do not write into a file but put another one in its
//! place: what a ConfigMap mounts is a link to `..data/…`, and `..data` a link that is replaced.

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// How often the file is looked at when nobody tells: where there are no notices (network file systems), or not of this.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long a file that changes is left alone: who writes in pieces is not done after the first.
const WRITE_OUT: Duration = Duration::from_millis(100);

/// A file that is watched.
pub struct Watch {
    path: PathBuf,
    notices: Arc<Notify>,
    /// What was in it.
    seen: Option<Vec<u8>>,
    /// Ends with the watch.
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches from now on.
    pub fn new(path: &Path) -> Watch {
        let notices = Arc::new(Notify::new());
        let watcher = watcher(path, notices.clone());
        if let Err(error) = &watcher {
            tracing::warn!(file = %path.display(), %error, "changes are not told at once; the file is looked at slowly");
        }
        Watch { seen: read(path), path: path.to_owned(), notices, _watcher: watcher.ok() }
    }

    /// Waits until what is in the file is different, or the file is gone or there again.
    pub async fn changed(&mut self) {
        loop {
            if timeout(LOOK_EVERY, self.notices.notified()).await.is_ok() {
                sleep(WRITE_OUT).await;
            }
            let now = read(&self.path);
            if now != self.seen {
                self.seen = now;
                return;
            }
        }
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(path).ok()
}

fn watcher(path: &Path, notices: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the file is an event, too.
        let is_reading = event.as_ref().is_ok_and(
            |event| matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)),
        );
        if !is_reading {
            notices.notify_one();
        }
    })?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
