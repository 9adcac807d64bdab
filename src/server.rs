//! Starting and stopping a gateway: its listeners, its background work, its drain. Several can run in one process.

use crate::config::Config;
use crate::door::{Door, Patience};
use crate::fleet::Fleet;
use crate::front::Front;
use crate::succession::Succession;
use crate::telemetry;
use pingora::apps::HttpServerOptions;
use pingora::proxy::HttpProxy;
use pingora::server::Fds;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address as configured.
        address: String,
        /// What the system says.
        cause: std::io::Error,
    },
}

/// A gateway that runs.
pub struct Running {
    /// The public addresses, with the ports that were taken.
    pub addresses: Vec<SocketAddr>,
    /// The address of the admin listener.
    pub admin: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    background: Vec<AbortOnDropHandle<()>>,
    in_flight: TaskTracker,
    succession: Arc<Succession>,
}

/// Starts a gateway on the current tokio runtime.
///
/// # Errors
///
/// An address cannot be listened on. Nodes that cannot be reached are no reason not to start.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let fleet = config.fleet();
    start_with(Arc::new(config), fleet).await
}

async fn start_with(config: Arc<Config>, fleet: Fleet) -> Result<Running, StartError> {
    let in_flight = TaskTracker::new();
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }

    // pingora takes listeners over as descriptors under the name of their address, so that port 0 is known at once.
    let listeners = config.listen.iter().map(|address| listen(address)).collect::<Result<Vec<_>, _>>()?;
    let admin = config.admin.as_deref().map(listen).transpose()?;
    let addresses: Vec<SocketAddr> = listeners.iter().map(|(_, taken)| *taken).collect();
    let mut descriptors = Fds::new();
    for (listener, taken) in listeners {
        descriptors.add(taken.to_string(), listener.into_raw_fd());
    }

    let (stop, stopping) = watch::channel(false);
    let succession = Succession::begin(config.clone(), fleet, in_flight.clone()).await;
    let current = succession.current();
    // The gateway itself bounds how often it tries: by the nodes and their addresses.
    let conf = ServerConf { max_retries: usize::MAX, ..ServerConf::default() };
    let mut proxy = HttpProxy::new(Front(current.clone()), Arc::new(conf));
    proxy.handle_init_modules();
    proxy.server_options = Some(HttpServerOptions::default());
    let patient = current.clone();
    let door = Door::new(proxy, move || {
        let gateway = patient.gateway();
        let timeouts = &gateway.config().timeouts;
        Patience { header: timeouts.client_headers, keepalive: timeouts.keepalive }
    });
    let mut service = Service::new("onezot".to_owned(), door);
    for address in &addresses {
        service.add_tcp(&address.to_string());
    }
    let descriptors = Arc::new(parking_lot::Mutex::new(descriptors));
    let accepting = tokio::spawn(async move { service.start_service(Some(descriptors), stopping, 1).await });

    let mut admin_address = None;
    let mut background = Vec::new();
    if let Some((listener, address)) = admin {
        admin_address = Some(address);
        background.push(AbortOnDropHandle::new(tokio::spawn(telemetry::serve_admin(listener, current))));
    }
    Ok(Running { addresses, admin: admin_address, stop, accepting, background, in_flight, succession })
}

fn listen(address: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |cause| StartError::Listen { address: address.to_owned(), cause };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let taken = listener.local_addr().map_err(failed)?;
    Ok((listener, taken))
}

impl Running {
    /// How many requests are under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// What replaces the configuration and the nodes while it runs.
    pub fn succession(&self) -> &Arc<Succession> {
        &self.succession
    }

    /// Stops: it is not ready any more at once, and lingers for who sends requests here to learn that. Then no new
    /// connections, idle ones are closed, and requests in flight get the drain time to finish.
    ///
    /// Returns how many were cut off.
    pub async fn stop(self) -> usize {
        let gateway = self.succession.current().gateway();
        gateway.readiness().stop();
        tokio::time::sleep(gateway.config().timeouts.linger).await;
        let began = Instant::now();
        // Nobody listens to the signal only when the accept loop has ended already.
        let _ = self.stop.send(true);
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "the accept loop failed");
        }
        self.in_flight.close();
        let drain = self.succession.current().gateway().config().timeouts.drain;
        let left = drain.saturating_sub(began.elapsed());
        let _ = tokio::time::timeout(left, self.in_flight.wait()).await;
        drop(self.background);
        self.in_flight.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Node, Placement};
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn any_request_goes_to_the_next_address_when_there_is_no_connection_to_the_first() {
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for request in ["POST /v2/a/blobs/uploads/", "GET /v2/a/tags/list", "GET /v2/_catalog"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move {
                let mut stream = BufReader::new(listener.accept().await.unwrap().0);
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    stream.read_line(&mut line).await.unwrap();
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"repositories\":[]}";
                stream.write_all(answer).await.unwrap();
            });
            // Its URL is an address, so that nothing is resolved.
            let node = Node::at(&format!("http://{address}"), vec![nobody, address]);
            let fleet = Fleet::new(vec![node], Placement::default());
            let health = crate::config::Health { interval: std::time::Duration::ZERO, ..Default::default() };
            let config = Config { listen: vec!["127.0.0.1:0".to_owned()], health, ..Config::default() };
            let running = start_with(Arc::new(config), fleet).await.unwrap();
            let mut client = TcpStream::connect(running.addresses[0]).await.unwrap();
            let request = format!("{request} HTTP/1.1\r\nHost: r\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{request}{answer}");
            running.stop().await;
        }
    }
}
