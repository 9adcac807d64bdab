//! Requests as a node reads them and replies as it writes them, apart from any HTTP library.

use super::go_json;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;

/// The header by which zot's web UI is known.
pub const UI_CLIENT: HeaderName = HeaderName::from_static("x-zot-api-client");

/// A request, its body read.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The path as sent, still encoded.
    pub path: String,
    /// The query as sent, without its question mark.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Asked {
    /// The values of a query parameter, in their order.
    pub fn parameters(&self, name: &str) -> Vec<String> {
        let is_read = |pair: &&str| complaint_of_pair(pair).is_none();
        let pairs = self.query.split('&').filter(is_read).flat_map(|pair| form_urlencoded::parse(pair.as_bytes()));
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    }

    /// The first value of a query parameter, or nothing at all, as Go's `Values.Get` has it.
    pub fn parameter(&self, name: &str) -> String {
        self.parameters(name).into_iter().next().unwrap_or_default()
    }

    /// A header as text; empty if it is absent.
    pub fn header(&self, name: &HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether zot's web UI asks.
    pub fn by_ui(&self) -> bool {
        self.header(&UI_CLIENT) == "zot-ui"
    }
}

/// Why Go does not read a pair of a query (Go `net/url`, `parseQuery`); `None` if it does.
pub fn complaint_of_pair(pair: &str) -> Option<String> {
    if pair.contains(';') {
        return Some("invalid semicolon separator in query".to_owned());
    }
    let is_hex = |escape: &[u8]| escape.len() == 3 && escape[1..].iter().all(u8::is_ascii_hexdigit);
    let mut escapes = pair.match_indices('%').map(|(at, _)| &pair.as_bytes()[at..pair.len().min(at + 3)]);
    let bad = escapes.find(|escape| !is_hex(escape))?;
    Some(format!("invalid URL escape {:?}", String::from_utf8_lossy(bad)))
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers, without those of the transport.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A status and nothing else.
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A body of some type.
    pub fn data(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut reply = Self { body: body.into(), ..Self::empty(status) };
        reply.set(CONTENT_TYPE, content_type);
        reply
    }

    /// A JSON body.
    pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Self {
        Self::data(status, "application/json", go_json::encode(value))
    }

    /// What Go's `http.NotFound` writes: the answer of routes that do not exist.
    pub fn not_found() -> Self {
        let mut reply = Self::data(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n");
        reply.set(http::header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        reply
    }

    /// Sets a header. A value that no header can hold is left out.
    pub fn set(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
    }

    /// The same reply with a header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// The reply to HEAD: the length of the body instead of the body.
    #[must_use]
    pub fn headed(mut self) -> Self {
        if !self.headers.contains_key(CONTENT_LENGTH) && !self.body.is_empty() {
            let length = self.body.len().to_string();
            self.set(CONTENT_LENGTH, &length);
        }
        self.body = Bytes::new();
        self
    }
}

/// Which of the CORS headers a route carries. They differ by route and by method (`getUIHeadersHandler`,
/// `applyCORSHeaders` in `pkg/api/routes.go`).
#[derive(Clone, Copy, Debug)]
pub enum Cors {
    /// None: blobs, uploads, PUT of manifests.
    None,
    /// Only the origin: GET and DELETE of manifests.
    Origin,
    /// All three, with the methods of the route.
    Methods(&'static str),
}

impl Cors {
    /// Adds the headers to a reply.
    pub fn apply(self, reply: &mut Reply) {
        if let Self::None = self {
            return;
        }
        reply.set(http::header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        if let Self::Methods(methods) = self {
            reply.set(http::header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            reply.set(http::header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization,content-type,X-ZOT-API-CLIENT");
        }
    }
}
