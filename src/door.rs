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

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the whole header of a request.
    pub header: Duration,
    /// Between two requests.
    pub keepalive: Duration,
}

/// An application behind the door.
pub struct Door<A, P> {
    app: Arc<A>,
    patience: P,
}

impl<A, P: Fn() -> Patience> Door<A, P> {
    /// Lets connections in to `app`, and asks `patience` how long they may take.
    pub fn new(app: A, patience: P) -> Door<A, P> {
        Door { app: Arc::new(app), patience }
    }
}

#[async_trait]
impl<A, P> ServerApp for Door<A, P>
where
    A: ServerApp + Send + Sync + 'static,
    P: Fn() -> Patience + Send + Sync + 'static,
{
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let (busy, mut is_busy) = watch::channel(false);
        let serve = BUSY.scope(busy, self.app.process_new(stream, shutdown));
        tokio::pin!(serve);
        let mut patience = (self.patience)().header;
        loop {
            let busy = *is_busy.borrow_and_update();
            tokio::select! {
                rest = &mut serve => return rest,
                // Whatever happened since: requests may come and go between two looks.
                _ = is_busy.changed() => {
                    let Patience { header, keepalive } = (self.patience)();
                    patience = header + keepalive;
                }
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
