//! `/v2/_zot/ext/search`: GraphQL over HTTP as zot's server (gqlgen) has it.
//!
//! Parsing, validating and executing documents is async-graphql's work. Its words for documents that are wrong are not
//! zot's, and need not be: a gateway passes them on. Statuses, the form of answers, variables, persisted queries and
//! everything that zot's resolvers say are zot's.

mod bodies;
mod given;
mod literals;
mod run;
mod schema;
mod transport;
mod variables;

use super::digest;
use super::exchange::{Asked, Reply};
use super::go_json;
use super::registry::Registry;
use async_graphql::dynamic::Schema;
use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationDefinition};
use async_graphql::{Pos, Request, ServerError, Value};
use http::StatusCode;
use http::header::{ACCEPT, X_CONTENT_TYPE_OPTIONS};
use parking_lot::Mutex;
use run::{Kind, Problem, Run};
use schema::Inputs;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use transport::Parameters;

const PARSE_FAILED: &str = "GRAPHQL_PARSE_FAILED";
const VALIDATION_FAILED: &str = "GRAPHQL_VALIDATION_FAILED";
const NOT_PERSISTED: &str = "PERSISTED_QUERY_NOT_FOUND";

/// Documents that clients may name by their hash. A zot keeps a hundred, in its process.
#[derive(Debug, Default)]
pub struct Persisted(Mutex<BTreeMap<String, String>>);

/// An answer: errors come before data, and data is always there.
#[derive(Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Problem>,
    data: Value,
}

/// The search extension.
pub struct Search {
    schema: Option<(Schema, Inputs)>,
}

impl std::fmt::Debug for Search {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Search").finish_non_exhaustive()
    }
}

/// A problem of a request, of some kind.
fn problem(message: impl Into<String>, code: &'static str, place: Option<Pos>) -> Problem {
    Problem {
        message: message.into(),
        path: Vec::new(),
        locations: place.into_iter().map(Into::into).collect(),
        extensions: Some(Kind { code }),
    }
}

impl Search {
    /// Sets it up.
    pub fn new() -> Self {
        Self { schema: schema::build().ok() }
    }

    /// Answers a request.
    pub async fn answer(&self, registry: &Arc<Registry>, asked: &Asked, user: &str) -> Reply {
        let parameters = match transport::parameters(asked) {
            Ok(parameters) => parameters,
            Err(refused) => return refused.with(X_CONTENT_TYPE_OPTIONS, "nosniff"),
        };
        let is_form = parameters.is_form;
        let answered = self.on_parameters(registry, parameters, user).await;
        // A client that asks for the newer media type gets the status that goes with it.
        let newer = !is_form && transport::is_newer(asked.header(&ACCEPT));
        let content_type = if newer { "application/graphql-response+json" } else { "application/json" };
        let (status, answer) = match answered {
            Ok(answer) => (StatusCode::OK, answer),
            Err(errors) => {
                let status = if newer { StatusCode::BAD_REQUEST } else { StatusCode::UNPROCESSABLE_ENTITY };
                (status, Answer { errors, data: Value::Null })
            }
        };
        Reply::data(status, content_type, go_json::encode(&answer)).with(X_CONTENT_TYPE_OPTIONS, "nosniff")
    }

    /// An answer, or what is wrong with the document or its variables.
    async fn on_parameters(
        &self,
        registry: &Arc<Registry>,
        mut parameters: Parameters,
        user: &str,
    ) -> Result<Answer, Vec<Problem>> {
        if let Err(problem) = registry.persisted.replace(&mut parameters) {
            return Ok(Answer { errors: vec![problem], data: Value::Null });
        }
        let Some((schema, inputs)) = &self.schema else { return Err(Vec::new()) };
        if parameters.query.trim().is_empty() {
            return Err(vec![problem("no operation provided", VALIDATION_FAILED, None)]);
        }
        let document = async_graphql::parser::parse_query(&parameters.query).map_err(|error| {
            let place = error.positions().next();
            vec![problem(error.to_string(), PARSE_FAILED, place)]
        })?;
        let quoted = || literals::quoted(&document, inputs);
        if let Some((message, place)) = literals::nullable(&document, inputs).or_else(quoted) {
            return Err(vec![problem(message, VALIDATION_FAILED, Some(place))]);
        }
        let operation = operation(&document, &parameters.operation);
        let coerced = operation
            .map(|operation| variables::coerce(&operation.variable_definitions, &parameters.variables, inputs));
        let variables = match coerced {
            Some(Ok(variables)) => variables,
            // What is wrong with the document is said before what is wrong with its variables or its name.
            Some(Err(unfit)) => {
                validate(schema, &parameters.query).await?;
                return Err(vec![Problem { path: unfit.path, ..problem(unfit.message, VALIDATION_FAILED, None) }]);
            }
            None => {
                validate(schema, &parameters.query).await?;
                let message = format!("operation {} not found", parameters.operation);
                return Err(vec![problem(message, VALIDATION_FAILED, None)]);
            }
        };
        let run = Run::new(Arc::clone(registry), user);
        let noted = run.ledger();
        let mut request = Request::new(&parameters.query).variables(variables).data(run);
        if !parameters.operation.is_empty() {
            request = request.operation_name(&parameters.operation);
        }
        let response = schema.execute(request).await;
        if !response.errors.is_empty() {
            return Err(response.errors.into_iter().map(invalid).collect());
        }
        let (errors, fatal) = noted();
        Ok(Answer { errors, data: if fatal { Value::Null } else { response.data } })
    }
}

fn invalid(error: ServerError) -> Problem {
    problem(error.message, VALIDATION_FAILED, error.locations.first().copied())
}

/// Validates a document without executing it, by asking for an operation that cannot exist.
async fn validate(schema: &Schema, document: &str) -> Result<(), Vec<Problem>> {
    let response = schema.execute(Request::new(document).operation_name(" ")).await;
    let of_the_name = |error: &ServerError| error.locations.is_empty() && error.message.contains("operation");
    let problems: Vec<Problem> = response.errors.into_iter().filter(|error| !of_the_name(error)).map(invalid).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The operation that is asked for: the only one, if none is named.
fn operation<'a>(document: &'a ExecutableDocument, name: &str) -> Option<&'a OperationDefinition> {
    match &document.operations {
        DocumentOperations::Single(operation) => name.is_empty().then_some(&operation.node),
        DocumentOperations::Multiple(operations) if name.is_empty() && operations.len() == 1 => {
            operations.values().next().map(|operation| &operation.node)
        }
        DocumentOperations::Multiple(operations) => operations.get(name).map(|operation| &operation.node),
    }
}

impl Persisted {
    /// Puts the document in the place of its hash, or remembers it under that (gqlgen's `AutomaticPersistedQuery`).
    fn replace(&self, parameters: &mut Parameters) -> Result<(), Problem> {
        let Some(persisted) = parameters.extensions.get("persistedQuery") else { return Ok(()) };
        let refused = |message: &str| Problem { message: message.to_owned(), ..Problem::default() };
        let invalid = || refused("invalid APQ extension data");
        if persisted.is_null() {
            return Ok(());
        }
        // Names in any case, a number for a text.
        let persisted = persisted.as_object().ok_or_else(invalid)?;
        let member = |field: &str| {
            let found = persisted.iter().find(|(name, _)| name.eq_ignore_ascii_case(field));
            found.map(|(_, value)| value).filter(|value| !value.is_null())
        };
        let version = member("version").map_or(Some(0), serde_json::Value::as_i64).ok_or_else(invalid)?;
        let hash = match member("sha256Hash") {
            None => String::new(),
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(serde_json::Value::Number(number)) => number.to_string(),
            Some(_) => return Err(invalid()),
        };
        if version != 1 {
            return Err(refused("unsupported APQ version"));
        }
        let mut known = self.0.lock();
        if parameters.query.is_empty() {
            let text = known.get(&hash).ok_or_else(|| problem("PersistedQueryNotFound", NOT_PERSISTED, None))?;
            parameters.query.clone_from(text);
            return Ok(());
        }
        if digest::hexadecimal_of(parameters.query.as_bytes()) != hash {
            return Err(refused("provided APQ hash does not match query"));
        }
        known.insert(hash, parameters.query.clone());
        Ok(())
    }
}
