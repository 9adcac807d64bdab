//! Every status, header and error body of onezot's own. Nothing else in onezot makes one.

use crate::onward::{self, PARTIAL};
use crate::scatter::{Failure, FailureKind, NodeAnswer};
use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LINK, LOCATION, RETRY_AFTER, TRANSFER_ENCODING, UPGRADE, WARNING,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

/// An answer that onezot writes itself.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header, without `Content-Length`.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

impl Answer {
    fn empty(status: StatusCode) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    fn with_body(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
        let mut answer = Answer { body: body.into(), ..Answer::empty(status) };
        answer.headers.insert(CONTENT_TYPE, content_type);
        answer
    }

    /// An error in the form of the OCI distribution specification ("Error Codes").
    fn oci_error(status: StatusCode, code: &str, message: &str, detail: Value) -> Answer {
        let body = json!({"errors": [{"code": code, "message": message, "detail": detail}]});
        Answer::with_body(status, JSON, go_json(&body))
    }

    /// Any bytes of a given type: status and plans at the admin listener.
    pub fn document(content_type: &'static str, body: impl Into<Bytes>) -> Answer {
        Answer::with_body(StatusCode::OK, HeaderValue::from_static(content_type), body)
    }
}

/// 200, as zot's health routes answer (zot `pkg/api/controller.go`, `healthz`).
pub fn healthy() -> Answer {
    Answer::with_body(StatusCode::OK, TEXT, "ok")
}

/// 503 for a probe that fails. A zot says 500 and `internal server error: not ready yet` (controller-runtime
/// `pkg/healthz/healthz.go`, `CheckHandler`).
pub fn not_ready(why: &str) -> Answer {
    let mut answer = Answer::with_body(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {why}\n"));
    answer.headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    retriable(answer)
}

/// The same in full, for whoever asks for JSON: 200 or 503.
pub fn readiness(document: &Value) -> Answer {
    let is_ok = document["ok"] == true;
    let status = if is_ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    retriable(Answer::with_body(status, JSON, go_json(document)))
}

/// 503 while there is no node to ask.
pub fn no_nodes() -> Answer {
    let message = "the gateway has not found any node yet; try again";
    retriable(Answer::oci_error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message, Value::Null))
}

/// 301 to the clean path, as gorilla/mux writes it: no body.
pub fn redirect(location: &str) -> Answer {
    let mut answer = Answer::empty(StatusCode::MOVED_PERMANENTLY);
    // A location that is no header value cannot come from a request line; it would be sent without.
    if let Ok(location) = HeaderValue::from_str(location) {
        answer.headers.insert(LOCATION, location);
    }
    answer
}

/// 404, as Go's `http.NotFound` writes it.
pub fn not_found() -> Answer {
    let mut answer = Answer::with_body(StatusCode::NOT_FOUND, TEXT, "404 page not found\n");
    answer.headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

/// 405 at the admin listener.
pub fn method_not_allowed(allowed: &'static str) -> Answer {
    let mut answer = Answer::empty(StatusCode::METHOD_NOT_ALLOWED);
    answer.headers.insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// 405, as gorilla/mux answers a method that a route does not have: without a body, and without a word on those it has.
pub fn unknown_method() -> Answer {
    closing(Answer::empty(StatusCode::METHOD_NOT_ALLOWED))
}

/// 501, as Go's HTTP server answers an encoding of a body that it does not know.
pub fn unsupported_encoding() -> Answer {
    closing(Answer::with_body(StatusCode::NOT_IMPLEMENTED, TEXT, "Unsupported transfer encoding"))
}

/// 400, as Go's HTTP server writes it: `400 Bad Request`, and the reason if it names one.
pub fn bad_request(reason: &str) -> Answer {
    let body = if reason.is_empty() { "400 Bad Request".to_owned() } else { format!("400 Bad Request: {reason}") };
    closing(Answer::with_body(StatusCode::BAD_REQUEST, TEXT, body))
}

/// 431, as Go's HTTP server writes it.
pub fn header_too_large() -> Answer {
    let body = "431 Request Header Fields Too Large";
    closing(Answer::with_body(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, TEXT, body))
}

/// 413 for a body over the limit.
pub fn body_too_large(limit: u64) -> Answer {
    let message = format!("the body of the request is larger than the {limit} bytes that are allowed here");
    closing(Answer::oci_error(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", &message, json!({"limit": limit})))
}

/// 408 for a client that does not send the body it announced.
pub fn client_too_slow() -> Answer {
    let message = "the body of the request did not arrive in time";
    closing(Answer::oci_error(StatusCode::REQUEST_TIMEOUT, "UNKNOWN", message, Value::Null))
}

/// 500: a defect of onezot, which its log explains.
pub fn internal_error() -> Answer {
    let message = "the gateway failed to handle this request; its log says why";
    Answer::oci_error(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", message, Value::Null)
}

/// A document that onezot does not carry out: 422 in the form of a GraphQL error, as zot answers what is not valid.
pub fn document_refused(why: &str) -> Answer {
    let body = json!({"errors": [{"message": why, "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}], "data": null});
    Answer::with_body(StatusCode::UNPROCESSABLE_ENTITY, JSON, go_json(&body))
}

/// 502 or 504 in the form of a GraphQL error, naming the nodes.
pub fn document_failed(failures: &[Failure]) -> Answer {
    let errors: Vec<Value> = failures
        .iter()
        .map(|failure| {
            let message = format!("node {} {}", failure.node, failure.kind);
            json!({"message": message, "extensions": {"code": "UNAVAILABLE", "node": failure.node}})
        })
        .collect();
    let body = json!({"errors": errors, "data": null});
    retriable(Answer::with_body(failed_status(failures), JSON, go_json(&body)))
}

/// 200 with errors (JSON each, already escaped) before data, with the header of a node's own answer, and what is
/// missing.
pub fn document(
    mut like: HeaderMap,
    errors: &[String],
    data: Option<&str>,
    nodes: usize,
    failures: &[Failure],
) -> Answer {
    strip_framing(&mut like);
    let mut body = String::from("{");
    if !errors.is_empty() {
        body.push_str(&format!("\"errors\":[{}],", errors.join(",")));
    }
    body.push_str("\"data\":");
    body.push_str(data.unwrap_or("null"));
    if !failures.is_empty() {
        warn(&mut like, nodes, failures);
        let extensions = json!({"onezot": {"nodes": {"total": nodes, "failed": named_once(failures)}}});
        body.push_str(&format!(",\"extensions\":{}", go_json(&extensions)));
    }
    body.push('}');
    Answer { status: StatusCode::OK, headers: like, body: body.into() }
}

/// 502 or 504 naming the node that one request needed.
pub fn node_failed(failure: &Failure) -> Answer {
    let message = format!("node {} {}", failure.node, failure.kind);
    failed(std::slice::from_ref(failure), &message)
}

/// 502 or 504 naming the nodes that a fan-out lacks.
pub fn fan_out_failed(what: &str, failures: &[Failure]) -> Answer {
    failed(failures, &format!("{what}: {}", each(failures)))
}

/// 502 or 504 for an upload that every node must have and only some have: which, which not, and what to do.
///
/// It may be repeated as often as need be: a zot stores a key or certificate under the digest of its bytes, and writes the
/// same file again (zot `pkg/extensions/imagetrust/cosign.go`, `StorePublicKey`; `notation.go`, `StoreCertificate`).
pub fn not_everywhere(failures: &[Failure], nodes: &[&str], accepted: &[String]) -> Answer {
    let missing: Vec<&&str> = nodes.iter().filter(|node| !accepted.iter().any(|name| name == *node)).collect();
    let message = format!("not every node has accepted it; repeating it is safe: {}", each(failures));
    let detail = json!({"nodes": missing, "accepted": accepted});
    retriable(Answer::oci_error(failed_status(failures), "UNAVAILABLE", &message, detail))
}

fn failed(failures: &[Failure], message: &str) -> Answer {
    let nodes: Vec<&str> = failures.iter().map(|failure| failure.node.as_str()).collect();
    retriable(Answer::oci_error(failed_status(failures), "UNAVAILABLE", message, json!({"nodes": nodes})))
}

fn each(failures: &[Failure]) -> String {
    let each: Vec<String> = failures.iter().map(|f| format!("node {} {}", f.node, f.kind)).collect();
    each.join("; ")
}

/// 501: API keys over several nodes are sealed, and there is no key to seal them with.
pub fn no_seal_key() -> Answer {
    let message =
        "API keys for several nodes need a seal key: name its file in identity.seal_keys or with --seal-key-file";
    Answer::oci_error(StatusCode::NOT_IMPLEMENTED, "UNSUPPORTED", message, Value::Null)
}

/// 501: a sign-in at a provider of identities would make the user known at one node only.
pub fn no_sign_in() -> Answer {
    let message = "signing in at a provider of identities would reach one node only: the nodes have to share their users \
                   and sessions, and onezot to know it (metadata: shared)";
    Answer::oci_error(StatusCode::NOT_IMPLEMENTED, "UNSUPPORTED", message, Value::Null)
}

/// 502 or 504 for an API key that not every node could make. `left` are those where it could not be taken back: what is
/// there is listed, and can be used by nobody.
pub fn no_key_made(failures: &[Failure], left: &[Failure]) -> Answer {
    let nodes: Vec<&str> = failures.iter().map(|failure| failure.node.as_str()).collect();
    let left: Vec<&str> = left.iter().map(|failure| failure.node.as_str()).collect();
    let message = format!("no API key was made, as not every node could make one: {}", each(failures));
    let detail = json!({"nodes": nodes, "left": left});
    retriable(Answer::oci_error(failed_status(failures), "UNAVAILABLE", &message, detail))
}

/// 502 or 504 for an API key that some nodes may still take.
pub fn not_revoked(failures: &[Failure]) -> Answer {
    let message = format!("the API key may still be taken by some nodes; repeating it is safe: {}", each(failures));
    failed(failures, &message)
}

/// A node's answer with another body, which is JSON.
pub fn of_json(like: NodeAnswer, body: &Value) -> Answer {
    Answer { body: go_json(body).into(), ..relay(like) }
}

/// Says that an answer is incomplete, if it is.
pub fn incomplete(headers: &mut HeaderMap, nodes: usize, failures: &[Failure]) {
    if !failures.is_empty() {
        warn(headers, nodes, failures);
    }
}

/// 503 for a request that there is no room for at the moment.
pub fn busy() -> Answer {
    let message = "the gateway puts together as many answers as it may at the moment; try again";
    retriable(Answer::oci_error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message, Value::Null))
}

/// 429 for a client that has as many requests under way as it may.
pub fn too_many_of_one() -> Answer {
    let message = "as many requests of this client are under way as may be; try again";
    retriable(Answer::oci_error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message, Value::Null))
}

/// A 503 or 429 says when to try again.
fn retriable(mut answer: Answer) -> Answer {
    if matches!(answer.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        answer.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// 503 if it is for want of room here, 504 if every node was merely late, else 502.
fn failed_status(failures: &[Failure]) -> StatusCode {
    if failures.iter().any(|failure| failure.kind.is_want_of_room()) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let all_late = failures.iter().all(|failure| failure.kind == FailureKind::Late);
    if all_late { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY }
}

/// A page of the catalog, with the header of a node's own catalog answer (its CORS and challenge lines).
pub fn catalog(
    mut like: HeaderMap,
    entries: &[String],
    link: Option<&str>,
    nodes: usize,
    failures: &[Failure],
) -> Answer {
    strip_framing(&mut like);
    like.remove(LINK);
    // Names that cannot stand in a header cannot be pushed to a zot either; such a page has no Link.
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(link).ok()) {
        like.insert(LINK, link);
    }
    if !failures.is_empty() {
        warn(&mut like, nodes, failures);
    }
    let body = go_json(&json!({"repositories": entries}));
    Answer { status: StatusCode::OK, headers: like, body: body.into() }
}

/// Says that an answer is incomplete: for people (RFC 7234 section 5.5, code 199), and for programs.
fn warn(headers: &mut HeaderMap, nodes: usize, failures: &[Failure]) {
    let failed = named_once(failures);
    let warning = format!("199 onezot \"incomplete: no answer from {}\"", failed.join(", "));
    let partial = format!("{}/{nodes}; nodes=\"{}\"", failed.len(), failed.join(","));
    for (name, text) in [(WARNING, warning), (PARTIAL, partial)] {
        // The names of nodes are those of the configuration, which has no quotes or spaces in them.
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
}

/// The names of the nodes that failed, each once.
fn named_once(failures: &[Failure]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for failure in failures {
        if !names.contains(&failure.node.as_str()) {
            names.push(&failure.node);
        }
    }
    names
}

/// A node's answer, passed on whole.
pub fn relay(answer: NodeAnswer) -> Answer {
    let NodeAnswer { status, mut headers, body, .. } = answer;
    strip_framing(&mut headers);
    Answer { status, headers, body }
}

fn strip_framing(headers: &mut HeaderMap) {
    for name in onward::of_the_connection(headers) {
        headers.remove(name);
    }
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE] {
        headers.remove(name);
    }
}

/// 201 for a blob that has been brought from another node, as one zot answers a mount: no more than where the blob is
/// (zot `pkg/api/routes.go`, `CreateBlobUpload`). The header is that of the owner's answer to the upload, which says more.
pub fn mounted(mut like: HeaderMap, location: &str) -> Answer {
    strip_framing(&mut like);
    for name in ["docker-content-digest", "blob-upload-uuid", "docker-upload-uuid", "range"] {
        like.remove(name);
    }
    if let Ok(location) = HeaderValue::from_str(location) {
        like.insert(LOCATION, location);
    }
    Answer { status: StatusCode::CREATED, headers: like, body: Bytes::new() }
}

/// Marks an answer after which the rest of the connection cannot be trusted.
fn closing(mut answer: Answer) -> Answer {
    answer.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// JSON as Go writes it: compact, and `<`, `>`, `&`, U+2028 and U+2029 escaped (Go `encoding/json`, `HTMLEscape`).
pub fn go_json(value: &Value) -> String {
    let plain = value.to_string();
    let mut escaped = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(node: &str, kind: FailureKind) -> Failure {
        Failure { node: node.to_owned(), kind, cause: "secret cause".to_owned() }
    }

    #[test]
    fn json_is_escaped_as_go_escapes_it() {
        assert_eq!(go_json(&json!({"a": "<b>&\u{2028}ä\""})), r#"{"a":"\u003cb\u003e\u0026\u2028ä\""}"#);
    }

    #[test]
    fn a_failure_names_the_node_and_keeps_the_cause_for_the_log() {
        let answer = node_failed(&failure("zot-1", FailureKind::Down));
        assert_eq!(answer.status, 502);
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(body.contains("zot-1") && !body.contains("secret"), "{body}");
        assert_eq!(node_failed(&failure("zot-1", FailureKind::Late)).status, 504);
    }

    #[test]
    fn a_fan_out_that_lacks_a_dead_node_is_not_merely_late() {
        let failures = [failure("a", FailureKind::Late), failure("b", FailureKind::Down)];
        assert_eq!(fan_out_failed("the catalog", &failures).status, 502);
        assert_eq!(fan_out_failed("the catalog", &failures[..1]).status, 504);
    }

    #[test]
    fn an_answer_that_lacks_nodes_names_each_once() {
        let failures = ["b", "a", "b"].map(|node| failure(node, FailureKind::Late));
        let answer = document(HeaderMap::new(), &[], Some("{}"), 3, &failures);
        assert_eq!(answer.headers[PARTIAL], "2/3; nodes=\"b,a\"");
        assert_eq!(answer.headers[WARNING], "199 onezot \"incomplete: no answer from b, a\"");
        assert!(answer.body.ends_with(b"\"failed\":[\"b\",\"a\"]}}}}"));
    }

    #[test]
    fn a_hostile_name_does_not_split_a_header() {
        let answer = catalog(HeaderMap::new(), &["a\r\nX: y".to_owned()], Some("<a\r\nX: y>"), 1, &[]);
        assert!(!answer.headers.contains_key(LINK));
    }
}
