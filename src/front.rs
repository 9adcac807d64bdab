//! The front: what pingora drives, before one gateway after another.
//!
//! A [`Gateway`] is a snapshot: a configuration, a fleet, and what goes with them, none of which changes. When one of them
//! changes, another gateway takes its place. A request ends on the one that it began with.

use crate::config::Config;
use crate::fleet::Fleet;
use crate::proxy::{self, Gateway};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::{Error, HttpPeer, Result};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use std::sync::Arc;
use std::time::Duration;

/// The gateway that requests begin with.
pub struct Current(ArcSwap<Gateway>);

impl Current {
    /// The first gateway.
    pub fn new(gateway: Gateway) -> Current {
        Current(ArcSwap::from_pointee(gateway))
    }

    /// The gateway that a request that comes now begins with.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.0.load_full()
    }

    /// Lets requests begin with a gateway of this configuration and this fleet from now on. What is known of credentials
    /// and documents goes over to it.
    pub fn replace(&self, config: Arc<Config>, fleet: Arc<Fleet>) {
        let next = self.0.load().succeeded_by(config, fleet);
        self.0.store(Arc::new(next));
    }
}

/// What pingora drives.
pub struct Front(pub Arc<Current>);

/// One request, and the gateway that it began with.
pub struct Ctx {
    gateway: Arc<Gateway>,
    request: proxy::Ctx,
}

/// Ends a client's connection with the answer to come, once requests should go elsewhere: the next one does.
fn send_away(session: &mut Session, ctx: &Ctx) {
    if ctx.gateway.readiness().is_stopping() {
        session.set_keepalive(None);
    }
}

/// Each hook is the gateway's.
#[async_trait]
impl ProxyHttp for Front {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        let gateway = self.0.gateway();
        let request = gateway.new_ctx();
        Ctx { gateway, request }
    }

    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        self.0.gateway().init_downstream_modules(modules);
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        ctx.gateway.early_request_filter(session, &mut ctx.request).await?;
        send_away(session, ctx);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        ctx.gateway.request_filter(session, &mut ctx.request).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        ctx.gateway.upstream_peer(session, &mut ctx.request).await
    }

    fn fail_to_connect(&self, session: &mut Session, peer: &HttpPeer, ctx: &mut Ctx, error: Box<Error>) -> Box<Error> {
        ctx.gateway.fail_to_connect(session, peer, &mut ctx.request, error)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Ctx,
        client_reused: bool,
    ) -> Box<Error> {
        ctx.gateway.error_while_proxy(peer, session, error, &mut ctx.request, client_reused)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.gateway.request_body_filter(session, body, end, &mut ctx.request).await
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.gateway.upstream_request_filter(session, upstream, &mut ctx.request).await
    }

    async fn response_filter(&self, session: &mut Session, upstream: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        send_away(session, ctx);
        ctx.gateway.response_filter(session, upstream, &mut ctx.request).await
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        ctx.gateway.response_body_filter(session, body, end, &mut ctx.request)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        ctx.gateway.fail_to_proxy(session, error, &mut ctx.request).await
    }

    fn suppress_error_log(&self, session: &Session, ctx: &Ctx, error: &Error) -> bool {
        ctx.gateway.suppress_error_log(session, &ctx.request, error)
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        ctx.gateway.logging(session, error, &mut ctx.request).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The functions of the implementation of `ProxyHttp` in a source.
    fn hooks(source: &'static str) -> BTreeSet<&'static str> {
        let after = source.split("\nimpl ProxyHttp for ").nth(1).unwrap();
        let body = after.split("\n}\n").next().unwrap();
        let functions = body.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| !line.starts_with(' '));
        let named = functions.filter_map(|line| line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn "));
        named.filter_map(|line| line.split('(').next()).collect()
    }

    #[test]
    fn no_hook_of_the_gateway_is_left_out() {
        let gateways = hooks(include_str!("proxy.rs"));
        assert!(gateways.len() > 10, "{gateways:?}");
        assert_eq!(hooks(include_str!("front.rs")), gateways);
    }
}
