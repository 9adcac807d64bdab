//! What is refused before anything is asked of a node.

use super::Gateway;
use crate::answer::{self, Answer};
use crate::clients::{TooMany, Visit};
use crate::onward::Sender;
use http::header::{self, HOST};
use http::{HeaderMap, Method, Version};
use pingora::http::RequestHeader;
use pingora::prelude::{Error, ErrorType};
use pingora::proxy::Session;
use std::net::IpAddr;

/// A body that is larger than it may be.
const TOO_LARGE: &str = "TooLarge";

impl Gateway {
    /// The answer to a request that no node needs to hear of.
    pub(super) fn refuse(&self, session: &Session) -> Option<Answer> {
        let header = session.req_header();
        refuse_method(&header.method)
            .or_else(|| self.refuse_header(header))
            .or_else(|| refuse_framing(session))
            .or_else(|| self.refuse_length(&header.headers))
    }

    /// A body that is announced to be larger than it may be. One that is read whole has a bound of its own.
    fn refuse_length(&self, headers: &HeaderMap) -> Option<Answer> {
        let length = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
        if self.is_over(length) { self.too_large() } else { None }
    }

    /// Whether a body of this many bytes is larger than it may be.
    pub(super) fn is_over(&self, bytes: u64) -> bool {
        self.config.limits.upload_bytes.is_some_and(|most| bytes > most.as_u64())
    }

    /// The answer to a body that is larger than it may be.
    pub(super) fn too_large(&self) -> Option<Answer> {
        self.config.limits.upload_bytes.map(|most| answer::body_too_large(most.as_u64()))
    }

    /// Counts a request as one of its client's, or refuses it.
    pub(super) fn visit(&self, sender: &Sender, headers: &HeaderMap) -> Result<Visit, Answer> {
        let limits = &self.config.limits;
        let client = if sender.is_trusted { told(headers) } else { sender.address };
        self.clients.enter(client, limits.requests, limits.client_requests).map_err(|too_many| match too_many {
            TooMany::InAll => answer::busy(),
            TooMany::OfOne => answer::too_many_of_one(),
        })
    }

    /// Refuses what no registry could answer, before the path is looked at.
    fn refuse_header(&self, request: &RequestHeader) -> Option<Answer> {
        let bytes: usize = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let bytes = bytes + request.raw_path().len();
        let limits = &self.config.limits;
        if bytes as u64 > limits.header_bytes.as_u64() || request.headers.len() > limits.header_count {
            return Some(answer::header_too_large());
        }
        if !request.headers.contains_key(HOST) && request.version == Version::HTTP_11 {
            return Some(answer::bad_request("missing required Host header"));
        }
        None
    }
}

/// The client that a trusted proxy tells of: the last one in its line, which is the one that the proxy has seen itself.
fn told(headers: &HeaderMap) -> Option<IpAddr> {
    let line = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    line.rsplit(',').next()?.trim().parse().ok()
}

/// The error of a body that turns out to be larger than it may be.
pub(super) fn too_large() -> Box<Error> {
    let mut error = Error::new(ErrorType::new(TOO_LARGE));
    error.as_down();
    error
}

/// Whether an error is [`too_large`].
pub(super) fn is_too_large(error: &Error) -> bool {
    *error.etype() == ErrorType::new(TOO_LARGE)
}

/// Refuses a request that tells twice, or in an unknown way, where its body ends. Go takes some of these; nobody sends
/// them but to be read in one way by a proxy and in another by the node.
fn refuse_framing(session: &Session) -> Option<Answer> {
    let headers = &session.req_header().headers;
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(encoding) = encodings.next() {
        if encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Some(answer::unsupported_encoding());
        }
        // pingora has left out the length by now.
        let raw = session.as_ref().to_h1_raw();
        let name = b"\ncontent-length";
        let has_length = raw.windows(name.len()).any(|line| line.eq_ignore_ascii_case(name));
        return has_length.then(|| answer::bad_request(""));
    }
    let is_list = lengths.next().is_some_and(|length| length.as_bytes().contains(&b','));
    (is_list || lengths.next().is_some()).then(|| answer::bad_request(""))
}

/// Refuses methods that a node should not even hear of: one that asks for a tunnel, one that shows a client its own secrets,
/// and what is none to something in between and another one to the node.
fn refuse_method(method: &Method) -> Option<Answer> {
    let is_odd = [Method::CONNECT, Method::TRACE].contains(method);
    (is_odd || method.as_str().bytes().any(|byte| byte.is_ascii_lowercase())).then(answer::unknown_method)
}
