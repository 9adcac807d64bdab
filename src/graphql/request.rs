//! GraphQL requests over HTTP, decoded as zot's server decodes them (gqlgen `graphql/handler/transport`).

use super::form;
use super::json;
use super::media_type::MediaType;
use crate::page::{is_well_formed, query_value};
use crate::scatter::Ask;
use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The parameters of a request (gqlgen `graphql.RawParams`).
#[derive(Default)]
pub(super) struct Parameters {
    pub query: String,
    pub operation_name: String,
    pub variables: Map<String, Value>,
    /// The variables as the client wrote them.
    pub variables_text: String,
    pub extensions: Map<String, Value>,
    /// Whether they came in a form: the answer to one does not depend on `Accept`.
    pub is_form: bool,
}

/// The parameters before their values are looked at.
#[derive(Default)]
struct Raw<'a> {
    query: String,
    operation_name: String,
    variables: Vec<(String, &'a RawValue)>,
    extensions: Vec<(String, &'a RawValue)>,
}

const NO_REQUEST: &str = "the body is no GraphQL request";
const NO_FORM: &str = "the form is none that this gateway takes apart";

impl Parameters {
    /// Those of a request, or why a node refuses it in its own words.
    pub fn of(ask: &Ask) -> Result<Parameters, &'static str> {
        if ask.method == Method::GET {
            return from_query(&ask.target);
        }
        let media_type = ask.headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let media_type = media_type.and_then(|text| MediaType::parse(&text)).ok_or("the type of the body is none")?;
        match media_type.name.as_str() {
            "application/json" => {
                let text = json::cleaned(&ask.body);
                Raw::read(&text).ok_or(NO_REQUEST)?.parameters()
            }
            "multipart/form-data" => from_form(&ask.body, media_type.parameter("boundary").unwrap_or_default()),
            _ => Err("the body is of no type that a zot takes"),
        }
    }
}

impl<'a> Raw<'a> {
    /// Reads a body. `null` where a text belongs changes nothing.
    fn read(text: &'a str) -> Option<Raw<'a>> {
        let mut raw = Raw::default();
        let value = json::first_value(text)?;
        if value.get() == "null" {
            return Some(raw);
        }
        for (name, value) in json::members(value)?.0 {
            let is = |field| json::is_named(&name, field);
            if is("query") || is("operationName") {
                let read: Option<String> = serde_json::from_str(value.get()).ok()?;
                let field = if is("query") { &mut raw.query } else { &mut raw.operation_name };
                *field = read.unwrap_or_else(|| std::mem::take(field));
            } else if is("variables") {
                json::put_into(&mut raw.variables, value)?;
            } else if is("extensions") {
                json::put_into(&mut raw.extensions, value)?;
            }
        }
        Some(raw)
    }

    fn parameters(self) -> Result<Parameters, &'static str> {
        let values = |members: &[_]| json::values(members).ok_or("the variables nest deeper than this gateway looks");
        Ok(Parameters {
            variables: values(&self.variables)?,
            variables_text: json::written(&self.variables),
            extensions: values(&self.extensions)?,
            query: self.query,
            operation_name: self.operation_name,
            is_form: false,
        })
    }
}

fn from_query(target: &str) -> Result<Parameters, &'static str> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    if !is_well_formed(query) {
        return Err("the query of the URL is malformed");
    }
    let parameter = |name| query_value(query, name).unwrap_or_default();
    let object = |name| json::cleaned(parameter(name).as_bytes());
    let (variables, extensions) = (object("variables"), object("extensions"));
    let mut raw = Raw {
        query: parameter("query").into_owned(),
        operation_name: parameter("operationName").into_owned(),
        ..Raw::default()
    };
    for (text, members) in [(&variables, &mut raw.variables), (&extensions, &mut raw.extensions)] {
        if !text.is_empty() {
            let put = json::first_value(text).and_then(|value| json::put_into(members, value));
            put.ok_or("the variables or the extensions are no object")?;
        }
    }
    raw.parameters()
}

/// A form whose files, if it has any, are variables by themselves: no type of zot's schema takes a file, so they are
/// refused, or ignored where the operation does not have the variable.
fn from_form(body: &[u8], boundary: &str) -> Result<Parameters, &'static str> {
    let parts = form::parts(body, boundary).ok_or(NO_FORM)?;
    let [operations, map, files @ ..] = parts.as_slice() else { return Err(NO_FORM) };
    if operations.name != "operations" || map.name != "map" {
        return Err(NO_FORM);
    }
    let text = json::cleaned(operations.content);
    let raw = Raw::read(&text).ok_or(NO_REQUEST)?;
    let has_variables = !raw.variables.is_empty();
    let mut parameters = Parameters { is_form: true, ..raw.parameters()? };
    let map = json::cleaned(map.content);
    let map = json::first_value(&map).ok_or(NO_FORM)?;
    let map: Option<BTreeMap<Cow<str>, Vec<Cow<str>>>> = serde_json::from_str(map.get()).map_err(|_| NO_FORM)?;
    let mut map = map.unwrap_or_default();
    for file in files {
        for path in map.remove(file.name.as_str()).filter(|paths| !paths.is_empty()).ok_or(NO_FORM)? {
            let name = path.strip_prefix("variables.").filter(|name| has_variables && !name.contains('.'));
            parameters.variables.insert(name.ok_or(NO_FORM)?.to_owned(), Value::Object(Map::new()));
        }
    }
    if !map.is_empty() {
        return Err(NO_FORM);
    }
    if !files.is_empty() {
        parameters.variables_text = Value::Object(parameters.variables.clone()).to_string();
    }
    Ok(parameters)
}
