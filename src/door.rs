//! The door: where clients' connections come in.
//!
//! pingora gives each *read* of a request's header its time, so a client that sends a byte a minute holds a connection
//! for ever. The door bounds the time in which a whole header has to come, by closing the connection.

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

tokio::task_local! {
    /// Whether the connection of this task has a request under way. HTTP/1 requests of one connection are handled one
    /// after the other in the connection's own task.
    static BUSY: watch::Sender<bool>;
}

/// Tells the door that the header of a request is complete.
pub fn request_began() {
    // Outside a door there is nobody to tell.
    let _ = BUSY.try_with(|busy| busy.send_replace(true));
}

/// Tells the door that the connection waits for the next request.
pub fn request_ended() {
    let _ = BUSY.try_with(|busy| busy.send_replace(false));
}

/// An application behind the door.
pub struct Door<A> {
    app: Arc<A>,
    header_within: Duration,
    keepalive: Duration,
}

impl<A> Door<A> {
    /// Lets connections in to `app`. A header comes whole within `header_within`; between two requests, a connection
    /// may be idle for `keepalive`.
    pub fn new(app: A, header_within: Duration, keepalive: Duration) -> Door<A> {
        Door { app: Arc::new(app), header_within, keepalive }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Door<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let (busy, mut is_busy) = watch::channel(false);
        let serve = BUSY.scope(busy, self.app.process_new(stream, shutdown));
        tokio::pin!(serve);
        let mut patience = self.header_within;
        loop {
            let busy = *is_busy.borrow_and_update();
            tokio::select! {
                rest = &mut serve => return rest,
                // Whatever happened since: requests may come and go between two looks.
                _ = is_busy.changed() => patience = self.keepalive + self.header_within,
                () = tokio::time::sleep(patience), if !busy => {
                    tracing::debug!("a client did not send the header of a request in time");
                    return None;
                }
            }
        }
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}
