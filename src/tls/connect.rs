//! How the fan-out connects to nodes: in TLS where the node's URL says so, by that node's own [`Trust`](super::Trust).

use crate::fleet::Fleet;
use http::Uri;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;

/// A plain connector with TLS around it.
#[derive(Clone)]
pub struct NodeConnector<P> {
    plain: P,
    /// By authority; nodes in plain HTTP have none.
    secure: Arc<HashMap<String, HttpsConnector<P>>>,
    within: Duration,
}

impl<P: Clone> NodeConnector<P> {
    /// Connects to the nodes of `fleet` over `plain`, TLS included, `within` this time.
    pub fn new(plain: P, fleet: &Fleet, within: Duration) -> NodeConnector<P> {
        let trusting = fleet.nodes().iter().filter_map(|node| Some((node, node.trust()?)));
        let secure = trusting.map(|(node, trust)| {
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config((*trust.client()).clone())
                .https_only()
                .with_server_name_resolver(FixedServerNameResolver::new(trust.name().clone()))
                .enable_http1()
                .wrap_connector(plain.clone());
            (node.url.authority(), connector)
        });
        NodeConnector { secure: Arc::new(secure.collect()), plain, within }
    }
}

type Connected = MaybeHttpsStream<TokioIo<TcpStream>>;
type Failed = Box<dyn Error + Send + Sync>;

impl<P> Service<Uri> for NodeConnector<P>
where
    P: Service<Uri, Response = TokioIo<TcpStream>> + Clone + Send + 'static,
    P::Future: Send + 'static,
    P::Error: Into<Failed>,
{
    type Response = Connected;
    type Error = Failed;
    type Future = futures::future::BoxFuture<'static, Result<Connected, Failed>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.plain.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let within = self.within;
        let is_plain = uri.scheme() == Some(&http::uri::Scheme::HTTP);
        let secure = uri.authority().and_then(|authority| self.secure.get(authority.as_str()));
        let connecting: futures::future::BoxFuture<'static, Result<Connected, Failed>> = match secure {
            Some(secure) => {
                let mut secure = secure.clone();
                Box::pin(async move { secure.call(uri).await })
            }
            None if is_plain => {
                let plain = self.plain.call(uri);
                Box::pin(async move { plain.await.map(MaybeHttpsStream::Http).map_err(Into::into) })
            }
            None => return Box::pin(async { Err("the files for TLS to the node cannot be read".into()) }),
        };
        Box::pin(async move {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
            tokio::time::timeout(within, connecting).await.map_err(late)?
        })
    }
}
