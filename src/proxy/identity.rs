//! Requests about who asks, and what answers mean for the session of a client.

use super::{Ctx, Gateway, without_node};
use crate::answer::Answer;
use crate::identity::sign_in;
use crate::onward::{PARTIAL, Sender};
use crate::plan::To;
use crate::rules::Act;
use crate::scatter::Ask;
use http::header::{SET_COOKIE, WARNING, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorType, Result};
use pingora::proxy::Session;

/// What pingora is told when a node does not know a session that others know.
pub const FORGOTTEN: &str = "the node does not know the session";

impl Gateway {
    /// Answers a request about who asks; `None` if it streams to the node that the context then names.
    pub(super) async fn answer_identity(
        &self,
        session: &mut Session,
        act: Act,
        ask: Ask,
        ctx: &mut Ctx,
    ) -> Result<Option<Answer>> {
        if act == Act::CallBack {
            match sign_in::called_back(&self.fleet, &ask.target) {
                Some((node, target)) => (ctx.candidates, ctx.in_its_place) = (vec![node], Some(target)),
                None => ctx.candidates = To::Any.candidates(&self.fleet),
            }
            ctx.sender = Some(ask.sender);
            return Ok(None);
        }
        let ask = match ask.method {
            Method::POST => match self.with_body(session, ask, self.config.limits.body_bytes.as_u64()).await? {
                Ok(ask) => ask,
                Err(refusal) => return Ok(Some(refusal)),
            },
            _ => ask,
        };
        Ok(Some(match act {
            Act::LogOut => self.identity.log_out(&self.scatter, &ask).await,
            Act::ApiKeys => self.identity.api_keys(&self.scatter, ask).await,
            Act::SignIn | Act::CallBack => self.identity.sign_in(&self.scatter, &ask).await,
        }))
    }

    /// Settles what an answer that is made here of what nodes said means for the session.
    pub(super) async fn settle_own(&self, header: &RequestHeader, sender: Sender, mut answer: Answer) -> Answer {
        if let Some(line) = self.public_challenge(&answer.headers, &sender, &header.headers) {
            answer.headers.insert(WWW_AUTHENTICATE, line);
        }
        if answer.headers.contains_key(SET_COOKIE) {
            let ask = self.ask_of(header, sender);
            // No node is asked for alone, so that none is at fault.
            let _ = self.identity.settle(&self.scatter, &ask, None, answer.status, &mut answer.headers).await;
        }
        answer
    }

    /// The same for an answer that streams; an error if it is that of a node that does not know the session.
    pub(super) async fn settle_streamed(
        &self,
        header: &RequestHeader,
        answer: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let Some(sender) = ctx.sender.clone() else { return Ok(()) };
        if let Some(line) = self.public_challenge(&answer.headers, &sender, &header.headers) {
            answer.insert_header(WWW_AUTHENTICATE, line)?;
        }
        if !answer.headers.contains_key(SET_COOKIE) {
            return Ok(());
        }
        let ask = self.ask_of(header, sender);
        let node = ctx.candidates.get(ctx.tried).copied();
        let mut headers = answer.headers.clone();
        if let Err(failure) = self.identity.settle(&self.scatter, &ask, node, answer.status, &mut headers).await {
            ctx.failure = Some(failure);
            let mut error = Error::new(ErrorType::new(FORGOTTEN));
            error.as_up();
            return Err(error);
        }
        answer.remove_header(&SET_COOKIE);
        for line in headers.get_all(SET_COOKIE) {
            answer.append_header(SET_COOKIE, line)?;
        }
        for name in [WARNING, PARTIAL] {
            if let Some(value) = headers.get(&name) {
                answer.insert_header(name, value)?;
            }
        }
        Ok(())
    }

    /// The challenge of an answer, if it sends the client to a node for a token: it is to get it here, where any node gives
    /// it. `None` if the challenge stays as it is.
    fn public_challenge(&self, answer: &HeaderMap, sender: &Sender, client: &HeaderMap) -> Option<HeaderValue> {
        let line = answer.get(WWW_AUTHENTICATE)?.to_str().ok()?;
        let at = line.to_ascii_lowercase().find("realm=")? + "realm=".len();
        let (before, rest) = line.split_at(at);
        let (quote, rest) = rest.strip_prefix('"').map_or(("", rest), |rest| ("\"", rest));
        let end = rest.find(['"', ',', ' ']).unwrap_or(rest.len());
        let (realm, after) = rest.split_at(end);
        let path = without_node(&self.fleet, realm)?;
        let origin = sender.origin(client)?;
        HeaderValue::from_str(&format!("{before}{quote}{origin}{path}{after}")).ok()
    }
}
