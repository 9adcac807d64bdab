//! What a request says in its query or body, and what zot says to those that say nothing it understands.

use crate::demo::exchange::{Asked, Reply};
use crate::demo::go_json;
use http::header::{CONTENT_TYPE, HeaderName, UPGRADE};
use http::{Method, StatusCode};
use serde_json::{Map, Value};

/// A document and what belongs to it.
#[derive(Debug, Default)]
pub struct Parameters {
    /// The document.
    pub query: String,
    /// Which of its operations; empty for the only one.
    pub operation: String,
    /// The variables.
    pub variables: Map<String, Value>,
    /// Extensions: persisted queries.
    pub extensions: Map<String, Value>,
}

/// Reads the parameters, or refuses. GET has them in its query, POST in its body, and the other place is not looked at.
pub fn parameters(asked: &Asked) -> Result<Parameters, Box<Reply>> {
    if !asked.header(&UPGRADE).is_empty() {
        return Err(no_web_socket(asked));
    }
    if asked.method == Method::GET { from_query(asked) } else { from_body(asked) }
}

/// Errors in answers without a document have neither place nor kind.
fn refused(message: &str) -> Box<Reply> {
    let answer = format!(r#"{{"errors":[{{"message":{}}}],"data":null}}"#, text(message));
    Box::new(Reply::data(StatusCode::BAD_REQUEST, "application/json", answer))
}

fn text(message: &str) -> String {
    String::from_utf8(go_json::encode(message)).unwrap_or_default()
}

/// Nobody needs subscriptions here; what is left of them is this refusal.
fn no_web_socket(asked: &Asked) -> Box<Reply> {
    let version = asked.header(&HeaderName::from_static("sec-websocket-version"));
    let told = format!("unsupported WebSocket protocol version (only 13 is supported): {}\n", text(version));
    let answer = format!(r#"{told}{{"errors":[{{"message":"unable to upgrade"}}],"data":null}}"#);
    Box::new(Reply::data(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", answer))
}

fn from_query(asked: &Asked) -> Result<Parameters, Box<Reply>> {
    let object = |name: &str| {
        let given = asked.parameter(name);
        if given.is_empty() {
            return Ok(Map::new());
        }
        match serde_json::from_str(&given) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(Value::Null) => Ok(Map::new()),
            _ => Err(refused(&format!("{name} could not be decoded"))),
        }
    };
    Ok(Parameters {
        query: asked.parameter("query"),
        operation: asked.parameter("operationName"),
        variables: object("variables")?,
        extensions: object("extensions")?,
    })
}

fn from_body(asked: &Asked) -> Result<Parameters, Box<Reply>> {
    let media_type = asked.header(&CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let answer = r#"{"errors":[{"message":"transport not supported"}],"data":null}"#;
        return Err(Box::new(Reply::data(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", answer)));
    }
    let body = &asked.body;
    let undecodable = |complaint: &str| {
        let body = String::from_utf8_lossy(body);
        refused(&format!("json request body could not be decoded: {complaint} body:{body}"))
    };
    if let Some(complaint) = go_json::complaint(body) {
        return Err(undecodable(&complaint));
    }
    // Whatever follows the first value is not looked at.
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let mut given = match values.next() {
        Some(Ok(Value::Object(given))) => given,
        Some(Ok(Value::Null)) => Map::new(),
        Some(Ok(other)) => {
            let kind = go_kind(&other);
            return Err(undecodable(&format!("json: cannot unmarshal {kind} into Go value of type graphql.RawParams")));
        }
        _ => return Err(undecodable("unexpected EOF")),
    };
    let misfit = |name: &str, value: &Value, kind: &str| {
        let of = go_kind(value);
        undecodable(&format!("json: cannot unmarshal {of} into Go struct field RawParams.{name} of type {kind}"))
    };
    let mut string = |name: &str| match given.remove(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(misfit(name, &other, "string")),
    };
    let (query, operation) = (string("query")?, string("operationName")?);
    let mut object = |name: &str| match given.remove(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object),
        Some(other) => Err(misfit(name, &other, "map[string]interface {}")),
    };
    Ok(Parameters { query, operation, variables: object("variables")?, extensions: object("extensions")? })
}

/// What Go's decoder calls a value.
fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Null => "null",
    }
}
