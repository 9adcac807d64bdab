//! The succession: when the configuration changes, another gateway takes the place of the one before.
//!
//! One swap at a time, all at once: a request sees the old gateway or the new one, and ends on the one that it began with.
//! The background work of the old fleet ends with the swap.

use crate::config::Config;
use crate::fleet::Fleet;
use crate::front::Current;
use crate::health;
use crate::proxy::Gateway;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// How long a swap waits for the names of nodes that are new; requests are taken all the same after that.
const FIRST_RESOLVE: Duration = Duration::from_secs(3);

/// One gateway after another.
pub struct Succession {
    current: Arc<Current>,
    /// The background work of the fleet that counts; held while it is replaced.
    background: Mutex<AbortOnDropHandle<()>>,
}

impl Succession {
    /// Begins with this configuration and these nodes. `in_flight` counts the requests under way.
    pub async fn begin(config: Arc<Config>, fleet: Fleet, in_flight: TaskTracker) -> Succession {
        resolve(&fleet).await;
        let current = Arc::new(Current::new(Gateway::new(config, Arc::new(fleet), in_flight)));
        let background = Mutex::new(background(&current));
        Succession { current, background }
    }

    /// The gateway that requests begin with.
    pub fn current(&self) -> Arc<Current> {
        self.current.clone()
    }

    /// Goes on with another configuration.
    pub async fn reload(&self, config: Config) {
        let mut running = self.background.lock().await;
        let fleet = config.fleet().succeeding(self.current.gateway().fleet());
        resolve(&fleet).await;
        self.current.replace(Arc::new(config), Arc::new(fleet));
        *running = background(&self.current);
    }
}

/// Looks up the names of nodes that are new, so that the first request does not find them without an address.
async fn resolve(fleet: &Fleet) {
    if timeout(FIRST_RESOLVE, fleet.resolve_new()).await.is_err() {
        tracing::warn!("the names of the nodes take long to look up");
    }
}

/// Starts the background work of the fleet that counts now.
fn background(current: &Current) -> AbortOnDropHandle<()> {
    let gateway = current.gateway();
    let (fleet, scatter, checks) = (gateway.fleet().clone(), gateway.scatter(), gateway.config().health.clone());
    AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::join!(fleet.keep_resolved(), health::check_all(scatter, checks));
    }))
}
