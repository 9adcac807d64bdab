//! The door: where clients' connections come in.
//!
//! pingora gives each *read* of a request's header its time, so a client that sends a byte a minute holds a connection
//! for ever. The door bounds the time in which a whole header has to come, by closing the connection; the handshake of TLS,
//! which is made here, counts as part of the first one.

use crate::tls::{self, Entered};
use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as Tcp;
use pingora::server::ShutdownWatch;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// How many connections there may be, on all doors.
    pub connections: usize,
}

/// A connection; it counts until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An application behind the door.
pub struct Door<A, P> {
    app: Arc<A>,
    tls: Option<Arc<tls::Acceptor>>,
    /// Whether HTTP/2 is spoken without TLS, too.
    takes_h2c: bool,
    patience: P,
    /// How many connections there are, on all doors.
    connections: Arc<AtomicUsize>,
}

impl<A, P: Fn() -> Patience> Door<A, P> {
    /// Lets connections in to `app`, and asks `patience` how long they may take. Doors that share `connections` let in as
    /// many together as one may.
    pub fn new(app: Arc<A>, patience: P, connections: Arc<AtomicUsize>) -> Door<A, P> {
        Door { app, tls: None, takes_h2c: false, patience, connections }
    }

    /// The same, in TLS if there is any, or with HTTP/2 in plain text if that is taken.
    pub fn speaking(self, tls: Option<Arc<tls::Acceptor>>, takes_h2c: bool) -> Door<A, P> {
        Door { tls, takes_h2c, ..self }
    }

    /// Lets a connection in: makes the handshake of TLS, where there is one to be made, and sees what is spoken.
    async fn enter(&self, stream: Stream) -> io::Result<Stream> {
        if let Some(socket) = stream.get_socket_digest() {
            // It is looked up when it is first asked for, which may be when the connection is another's.
            socket.peer_addr();
        }
        let Ok(tcp) = stream.into_any().downcast::<Tcp>() else {
            return Err(io::Error::other("a connection that is not one of TCP"));
        };
        let entered = match &self.tls {
            Some(tls) => Entered::secure(tls.current(), *tcp).await?,
            None if self.takes_h2c => Entered::plain(*tcp).await?,
            None => Entered::http1(*tcp),
        };
        if entered.is_http2() {
            // Its requests have tasks of their own, and pingora closes it when there is none for a while.
            request_began();
        }
        Ok(Box::new(entered))
    }
}

#[async_trait]
impl<A, P> ServerApp for Door<A, P>
where
    A: ServerApp + Send + Sync + 'static,
    P: Fn() -> Patience + Send + Sync + 'static,
{
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let most = (self.patience)().connections;
        let earlier = self.connections.fetch_add(1, Ordering::Relaxed);
        let _counted = Counted(self.connections.clone());
        if earlier >= most {
            tracing::debug!(most, "a client was not let in: limits.connections is reached");
            return None;
        }
        let (busy, mut is_busy) = watch::channel(false);
        let serve = BUSY.scope(busy, async {
            match self.enter(stream).await {
                Ok(stream) => self.app.process_new(stream, shutdown).await,
                Err(error) => {
                    tracing::debug!(%error, "a client was not let in");
                    None
                }
            }
        });
        tokio::pin!(serve);
        let mut patience = (self.patience)().header;
        loop {
            let busy = *is_busy.borrow_and_update();
            tokio::select! {
                rest = &mut serve => return rest,
                // Whatever happened since: requests may come and go between two looks.
                _ = is_busy.changed() => {
                    let Patience { header, keepalive, .. } = (self.patience)();
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
