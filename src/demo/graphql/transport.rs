//! What a request says in its query or body, and what zot says to those that say nothing it understands.

use super::bodies;
use super::given::Given;
use crate::demo::exchange::{Asked, Reply, complaint_of_pair};
use crate::demo::go_json;
use http::header::{CONTENT_TYPE, HeaderName, UPGRADE};
use http::{Method, StatusCode};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

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
    /// Whether they came in a form.
    pub is_form: bool,
}

/// Reads the parameters, or refuses. GET has them in its query, POST in its body, and the other place is not looked at.
pub fn parameters(asked: &Asked) -> Result<Parameters, Box<Reply>> {
    if !asked.header(&UPGRADE).is_empty() {
        return Err(no_web_socket(asked));
    }
    if asked.method == Method::GET { from_query(asked) } else { from_body(asked) }
}

/// Whether `Accept` leads to the newer media type of answers: by the first type that is known, or if none is (gqlgen
/// `graphql/handler/transport/headers.go`).
pub fn is_newer(accept: &str) -> bool {
    let mut kinds = accept.split(',').filter_map(|part| Some(bodies::media_type(part.trim())?.0));
    let known = kinds.find_map(|kind| match kind.as_str() {
        "*/*" | "application/*" | "application/json" => Some(false),
        "application/graphql-response+json" => Some(true),
        _ => None,
    });
    known.unwrap_or(!accept.is_empty())
}

/// Errors in answers without a document have neither place nor kind.
fn refused(message: &str) -> Box<Reply> {
    refused_as(StatusCode::BAD_REQUEST, "application/json", message)
}

fn refused_as(status: StatusCode, content_type: &'static str, message: &str) -> Box<Reply> {
    let answer = format!(r#"{{"errors":[{{"message":{}}}],"data":null}}"#, text(message));
    Box::new(Reply::data(status, content_type, answer))
}

/// The type of answers whose type nobody has set.
const PLAIN: &str = "text/plain; charset=utf-8";

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
    if let Some(complaint) = asked.query.split('&').find_map(complaint_of_pair) {
        return Err(refused_as(StatusCode::BAD_REQUEST, PLAIN, &complaint));
    }
    let object = |name: &str| {
        let (given, mut map) = (asked.parameter(name), Map::new());
        if !given.is_empty() {
            let undecodable = || refused(&format!("{name} could not be decoded"));
            if go_json::complaint(given.as_bytes()).is_some() {
                return Err(undecodable());
            }
            Given::read(given.as_bytes()).put_into(&mut map).map_err(|_| undecodable())?;
        }
        Ok(map)
    };
    Ok(Parameters {
        query: asked.parameter("query"),
        operation: asked.parameter("operationName"),
        variables: object("variables")?,
        extensions: object("extensions")?,
        is_form: false,
    })
}

fn from_body(asked: &Asked) -> Result<Parameters, Box<Reply>> {
    let body = &asked.body;
    match bodies::media_type(asked.header(&CONTENT_TYPE)) {
        Some((kind, _)) if kind == "application/json" => from_json(body).map_err(|complaint| {
            let body = String::from_utf8_lossy(body);
            refused(&format!("json request body could not be decoded: {complaint} body:{body}"))
        }),
        Some((kind, with)) if kind == "multipart/form-data" => {
            let parameters = from_form(body, with.get("boundary").map_or("", String::as_str));
            parameters.map_err(|message| refused_as(StatusCode::UNPROCESSABLE_ENTITY, "application/json", &message))
        }
        _ => Err(refused_as(StatusCode::BAD_REQUEST, PLAIN, "transport not supported")),
    }
}

/// Reads a body, or says what Go's decoder says of it. Whatever follows the first value is not looked at.
fn from_json(body: &[u8]) -> Result<Parameters, String> {
    if let Some(complaint) = go_json::complaint(body) {
        return Err(complaint);
    }
    let mut parameters = Parameters::default();
    let misfit = |of: &Given, place: &str| format!("json: cannot unmarshal {} into Go {place}", of.kind());
    let members = match Given::read(body) {
        Given::Object(members) => members,
        Given::Null => Vec::new(),
        other => return Err(misfit(&other, "value of type graphql.RawParams")),
    };
    for (name, value) in members {
        // Of two letters Go thinks that they are `s` and `k` in another case.
        let name = name.to_lowercase().replace('ſ', "s").replace('\u{212a}', "k");
        let (field, text) = match name.as_str() {
            "query" => ("query", &mut parameters.query),
            "operationname" => ("operationName", &mut parameters.operation),
            "variables" | "extensions" => {
                let is_variables = name == "variables";
                let map = if is_variables { &mut parameters.variables } else { &mut parameters.extensions };
                let place = format!("struct field RawParams.{name} of type map[string]interface {{}}");
                value.put_into(map).map_err(|other| misfit(&other, &place))?;
                continue;
            }
            _ => continue,
        };
        match value {
            Given::Text(given) => *text = given,
            Given::Null => {}
            other => return Err(misfit(&other, &format!("struct field RawParams.{field} of type string"))),
        }
    }
    Ok(parameters)
}

/// Reads a form, or says what gqlgen says of it (gqlgen `graphql/handler/transport/http_form_multipart.go`).
fn from_form(body: &[u8], boundary: &str) -> Result<Parameters, String> {
    let parts = bodies::parts(body, boundary).ok_or("failed to parse multipart form")?;
    let mut parts = parts.iter();
    let operations = parts.next().filter(|(name, _)| name == "operations").ok_or("first part must be operations")?;
    let parameters = from_json(operations.1.as_bytes()).map_err(|_| "operations form field could not be decoded")?;
    let map = parts.next().filter(|(name, _)| name == "map").ok_or("second part must be map")?;
    let map: Option<BTreeMap<String, Vec<String>>> =
        serde_json::from_str(&map.1).map_err(|_| "map form field could not be decoded")?;
    let (mut map, mut parameters) = (map.unwrap_or_default(), Parameters { is_form: true, ..parameters });
    for (key, _) in parts {
        let paths = map.remove(key).filter(|paths| !paths.is_empty());
        for path in paths.ok_or_else(|| format!("invalid empty operations paths list for key {key}"))? {
            let name = path.strip_prefix("variables.");
            let name = name.ok_or_else(|| format!("invalid operations paths for key {key}"))?;
            parameters.variables.insert(name.to_owned(), Value::Object(Map::new()));
        }
    }
    match map.keys().next() {
        Some(key) => Err(format!("failed to get key {key} from form")),
        None => Ok(parameters),
    }
}
