//! Starting and stopping a gateway: its listeners, its background work, its drain. Several can run in one process.

use crate::config::{Config, Listener};
use crate::door::{Door, Patience};
use crate::fleet::Fleet;
use crate::front::Front;
use crate::succession::Succession;
use crate::telemetry;
use crate::tls;
use pingora::apps::HttpServerOptions;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::proxy::HttpProxy;
use pingora::server::Fds;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// How much of a request's body a client of HTTP/2 may send before it is read: enough for a fast link.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for all requests of one connection.
const CONNECTION_WINDOW: u32 = 4 << 20;

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
    /// The files of a listener's TLS cannot be used.
    #[error("no TLS at {address}: {cause}")]
    Tls {
        /// The address as configured.
        address: String,
        /// What is wrong with them.
        cause: tls::Problem,
    },
}

/// A gateway that runs.
pub struct Running {
    /// The public addresses, with the ports that were taken.
    pub addresses: Vec<SocketAddr>,
    /// The same as URLs.
    pub urls: Vec<String>,
    /// The address of the admin listener.
    pub admin: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    accepting: Vec<JoinHandle<()>>,
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
    let listeners = config.listen.iter().map(|it| listen(&it.address)).collect::<Result<Vec<_>, _>>()?;
    let acceptors = config.listen.iter().map(acceptor).collect::<Result<Vec<_>, _>>()?;
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
    let mut options = HttpServerOptions::default();
    // It is refused like other methods, in our own words.
    options.allow_connect_method_proxying = true;
    options.h2_idle_timeout = Some(config.timeouts.keepalive);
    proxy.server_options = Some(options);
    proxy.h2_options = Some(http2(&config));
    let proxy = Arc::new(proxy);
    let patient = current.clone();
    let patience = move || {
        let gateway = patient.gateway();
        let Config { timeouts, limits, .. } = &**gateway.config();
        let (header, keepalive) = (timeouts.client_headers, timeouts.keepalive);
        Patience { header, keepalive, connections: limits.connections }
    };
    let connections = Arc::new(AtomicUsize::new(0));
    let descriptors = Arc::new(parking_lot::Mutex::new(descriptors));
    let (mut accepting, mut urls, mut background) = (Vec::new(), Vec::new(), Vec::new());
    for ((address, acceptor), listener) in addresses.iter().zip(acceptors).zip(&config.listen) {
        urls.push(format!("{}://{address}", if acceptor.is_some() { "https" } else { "http" }));
        background.extend(acceptor.clone().map(|acceptor| AbortOnDropHandle::new(tokio::spawn(acceptor.keep_fresh()))));
        let door = Door::new(proxy.clone(), patience.clone(), connections.clone());
        let mut service = Service::new("onezot".to_owned(), door.speaking(acceptor, listener.h2c));
        service.add_tcp(&address.to_string());
        let (descriptors, stopping) = (descriptors.clone(), stopping.clone());
        accepting.push(tokio::spawn(async move { service.start_service(Some(descriptors), stopping, 1).await }));
    }

    let mut admin_address = None;
    if let Some((listener, address)) = admin {
        admin_address = Some(address);
        background.push(AbortOnDropHandle::new(tokio::spawn(telemetry::serve_admin(listener, current))));
    }
    Ok(Running { addresses, urls, admin: admin_address, stop, accepting, background, in_flight, succession })
}

/// What a client of HTTP/2 may send. Requests over the bound on headers are answered with 431 by the library itself.
fn http2(config: &Config) -> H2Options {
    let mut options = default_h2_options();
    let header_bytes = u32::try_from(config.limits.header_bytes.as_u64()).unwrap_or(u32::MAX);
    options.max_header_list_size(header_bytes).initial_window_size(STREAM_WINDOW);
    options.initial_connection_window_size(CONNECTION_WINDOW);
    options
}

fn acceptor(listener: &Listener) -> Result<Option<Arc<tls::Acceptor>>, StartError> {
    let Some(files) = &listener.tls else { return Ok(None) };
    let failed = |cause| StartError::Tls { address: listener.address.clone(), cause };
    Ok(Some(Arc::new(tls::Acceptor::load(files).map_err(failed)?)))
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
        for accepting in self.accepting {
            if let Err(error) = accepting.await {
                tracing::error!(%error, "an accept loop failed");
            }
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
            let config = Config { listen: vec!["127.0.0.1:0".into()], health, ..Config::default() };
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
