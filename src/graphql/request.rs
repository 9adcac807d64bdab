//! GraphQL requests over HTTP, decoded as zot's server decodes them (gqlgen `graphql/handler/transport`).

use crate::page::query_value;
use crate::scatter::Ask;
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The parameters of a request (gqlgen `graphql.RawParams`).
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Parameters {
    pub query: Option<String>,
    #[serde(rename = "operationName")]
    pub operation_name: Option<String>,
    pub variables: Option<Map<String, Value>>,
    pub extensions: Option<Map<String, Value>>,
}

impl Parameters {
    /// Those of a request, or why a node refuses it in its own words.
    pub fn of(ask: &Ask) -> Result<Parameters, &'static str> {
        if ask.method == Method::GET { from_query(&ask.target) } else { from_body(ask) }
    }
}

fn from_query(target: &str) -> Result<Parameters, &'static str> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let parameter = |name| query_value(query, name).filter(|value| !value.is_empty());
    let object = |name| parameter(name).map(|text| serde_json::from_str(&text)).transpose();
    Ok(Parameters {
        query: parameter("query").map(Cow::into_owned),
        operation_name: parameter("operationName").map(Cow::into_owned),
        variables: object("variables").map_err(|_| "the variables are no object")?,
        extensions: object("extensions").map_err(|_| "the extensions are no object")?,
    })
}

fn from_body(ask: &Ask) -> Result<Parameters, &'static str> {
    let media_type = ask.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") || ask.headers.contains_key(CONTENT_ENCODING) {
        return Err("the body is of no type that a zot takes");
    }
    // Go's decoder takes the first value and leaves what follows.
    Option::<Parameters>::deserialize(&mut serde_json::Deserializer::from_slice(&ask.body))
        .map(Option::unwrap_or_default)
        .map_err(|_| "the body is no GraphQL request")
}
