//! GraphQL over HTTP: requests decoded as zot's server decodes them, documents carried out, answers put together.
//!
//! Validation is zot's. The client's text goes to one node with the name of an operation that does not exist: gqlgen
//! validates the whole document before it looks for the operation (gqlgen `graphql/executor/executor.go`), so every
//! error of the text comes back in zot's words, and nothing is executed. Variables are looked at after that, so a node is
//! asked for them with the client's fields all skipped.

pub mod copies;
mod fan_out;
mod form;
mod json;
mod media_type;
mod outcome;
mod request;
pub mod response;
mod sizes;
mod unknown;

pub use outcome::Outcome;
pub use response::{refusal_kind, said};

use crate::answer::{self, Answer};
use crate::compose;
use crate::config::{Config, Metadata, Partial, UnknownQueries};
use crate::digest::sha256;
use crate::document::Upstream;
use crate::fleet::Fleet;
use crate::plan::To;
use crate::query::{self, Choices, DocumentPlan, Planned, Request, Step};
use crate::scan::Bounds;
use crate::scatter::{Ask, Failure, NodeAnswer, Scatter};
use futures::future::join_all;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use outcome::one_field;
use request::Parameters;
use response::{Body, has_data, is_invalid};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

/// The path of zot's GraphQL (zot `pkg/api/constants/extensions.go`, `FullSearchPrefix`).
const SEARCH: &str = "/v2/_zot/ext/search";
/// The name of an operation that no document has: [`query::RESERVED`] names are refused.
const NO_OPERATION: &str = "_oz_validate";
/// How long a text that a node found valid is not asked about again; nodes may be replaced by other versions.
const VALID_FOR: Duration = Duration::from_secs(300);
/// How many of them are remembered.
const VALID_MOST: u64 = 10_000;
/// How many bytes of persisted queries are kept.
const PERSISTED_BYTES: u64 = 16 << 20;

/// What GraphQL needs between requests.
pub struct GraphQl {
    choices: Choices,
    unknown: Arc<unknown::UnknownQueries>,
    valid: moka::sync::Cache<u64, ()>,
    persisted: moka::sync::Cache<String, String>,
    hasher: RandomState,
}

/// What the configuration says of planning.
fn choices(config: &Config) -> Choices {
    Choices {
        shared_metadata: config.metadata == Metadata::Shared,
        pass_unknown: config.unknown_queries == UnknownQueries::AnyNode,
        bounds: Bounds {
            tokens: config.limits.graphql_tokens,
            depth: config.limits.graphql_depth,
            root_fields: config.limits.graphql_root_fields,
            selections: config.limits.graphql_selections,
        },
    }
}

/// What a request comes to: a document, or something that a node refuses in its own words, and why onezot thinks so.
type Decoded = Result<Request, Box<(&'static str, Request)>>;

/// What becomes of a document.
pub enum Planning {
    /// A plan to carry out with [`GraphQl::carry_out`].
    Plan(Request, DocumentPlan),
    /// An answer that needs no node.
    Answer(Answer),
}

impl GraphQl {
    /// Nothing is known yet.
    pub fn new(config: &Config) -> GraphQl {
        let weight = |hash: &String, text: &String| u32::try_from(hash.len() + text.len()).unwrap_or(u32::MAX);
        GraphQl {
            choices: choices(config),
            unknown: Arc::default(),
            valid: moka::sync::Cache::builder().max_capacity(VALID_MOST).time_to_live(VALID_FOR).build(),
            persisted: moka::sync::Cache::builder().max_capacity(PERSISTED_BYTES).weigher(weight).build(),
            hasher: RandomState::new(),
        }
    }

    /// The same with another configuration. What nodes found valid is kept if they are the same nodes.
    pub fn succeeded_by(&self, config: &Config, same_nodes: bool) -> GraphQl {
        let fresh = GraphQl::new(config);
        GraphQl {
            valid: if same_nodes { self.valid.clone() } else { fresh.valid },
            unknown: self.unknown.clone(),
            persisted: self.persisted.clone(),
            hasher: self.hasher.clone(),
            ..fresh
        }
    }

    /// Decodes and plans a request, whose body has been read if it has one.
    pub fn plan(&self, fleet: &Fleet, ask: &Ask) -> Planning {
        let (request, plan) = match self.decode(ask) {
            Ok(request) => {
                let plan = query::plan(fleet, &request, self.choices);
                (request, plan)
            }
            Err(refused) => {
                let (why, request) = *refused;
                (request, DocumentPlan::must_fail(why.to_owned()))
            }
        };
        tracing::debug!(plan = %query::Explained { plan: &plan, fleet }, "document planned");
        Planning::Plan(request, plan)
    }

    fn decode(&self, ask: &Ask) -> Decoded {
        let for_a_node = |why| Box::new((why, Request::default()));
        let Parameters { query, operation_name, variables, variables_text, extensions, is_form } =
            Parameters::of(ask).map_err(for_a_node)?;
        let operation = Some(operation_name).filter(|name| !name.is_empty());
        let mut request = Request { text: query, operation, variables, variables_text, is_form, is_by_hash: false };
        if let Some(persisted) = extensions.get("persistedQuery").filter(|persisted| !persisted.is_null()) {
            let hash = persisted_hash(persisted).ok_or_else(|| for_a_node("the persisted query is none"))?;
            if request.text.is_empty() {
                request.is_by_hash = true;
                match self.persisted.get(&*hash) {
                    Some(text) => request.text = text,
                    None => return Err(Box::new(("nobody has sent the document of this hash", request))),
                }
            } else if hash != sha256(request.text.as_bytes()) {
                return Err(for_a_node("the hash is not that of the document"));
            } else {
                self.persisted.insert(hash.into_owned(), request.text.clone());
            }
        }
        if request.text.trim().is_empty() {
            return Err(for_a_node("there is no document"));
        }
        Ok(request)
    }

    /// Carries out a plan.
    pub async fn carry_out(&self, scatter: &Scatter, ask: &Ask, request: &Request, plan: &DocumentPlan) -> Answer {
        match plan {
            DocumentPlan::Refuse(why) => answer::document_refused(why),
            DocumentPlan::Whole { to, must_fail, .. } => {
                let answered = match by_hash(ask, request) {
                    Some(ask) => scatter.one(to, &ask).await,
                    None => scatter.one(to, ask).await,
                };
                match (answered, must_fail) {
                    (Err(failure), _) => answer::document_failed(&[failure]),
                    (Ok(answered), Some(why)) if has_data(&answered) => answer::document_refused(why),
                    (Ok(answered), _) => answer::relay(answered),
                }
            }
            DocumentPlan::Fields { fields, variables } => {
                self.answer_fields(scatter, &as_body(ask, request), request, fields, variables.as_ref()).await
            }
            DocumentPlan::Unknown { names, then } => {
                let text = text_alone(request);
                if let Some(invalid) = self.validate(scatter, &as_body(ask, request), text, is_valid).await {
                    return invalid;
                }
                names.iter().for_each(|name| self.unknown.note(name, then.is_some()));
                match then {
                    None => answer::document_refused(&query::unknown_refused(names)),
                    Some(plan) => Box::pin(self.carry_out(scatter, ask, request, plan)).await,
                }
            }
        }
    }

    /// The queries that only the nodes know, for `/status`.
    pub fn unknown_queries(&self) -> Value {
        self.unknown.status()
    }

    async fn answer_fields(
        &self,
        scatter: &Scatter,
        ask: &Ask,
        request: &Request,
        fields: &[Planned],
        variables: Option<&Upstream>,
    ) -> Answer {
        let steps = join_all(fields.iter().map(|planned| self.answer_field(scatter, ask, planned)));
        let is_accepted = scatter.accepts(&ask.headers);
        let validation = async {
            let text = self.validate(scatter, ask, text_alone(request), is_valid);
            let Some(check) = variables else { return text.await };
            let fit = self.validate(scatter, ask, with_variables(&check.text, None, request), has_data);
            if is_accepted {
                let (invalid, unfit) = tokio::join!(text, fit);
                return invalid.or(unfit);
            }
            match text.await {
                None => fit.await,
                invalid => invalid,
            }
        };
        // Credentials that no node has accepted lately are tried at one.
        let (invalid, answered) = if is_accepted {
            tokio::join!(validation, steps)
        } else {
            match validation.await {
                None => (None, steps.await),
                invalid => (invalid, Vec::new()),
            }
        };
        match invalid {
            Some(answer) => answer,
            None => Self::put_together(ask.terms.partial, scatter.fleet().nodes().len(), fields, answered),
        }
    }

    /// Asks one node whether a request is valid, which shows in its answer; `None` if it is, else the client's answer. What
    /// was found valid is not asked again for a while.
    async fn validate(
        &self,
        scatter: &Scatter,
        ask: &Ask,
        body: String,
        is_valid: impl Fn(&NodeAnswer) -> bool,
    ) -> Option<Answer> {
        let known = self.hasher.hash_one(&body);
        if self.valid.contains_key(&known) && scatter.accepts(&ask.headers) {
            return None;
        }
        let answered = match scatter.one(&To::Any, &upstream(ask, body)).await {
            Err(failure) => return Some(answer::document_failed(&[failure])),
            Ok(answered) => answered,
        };
        let is_graphql = answered.status == StatusCode::OK || is_invalid(answered.status);
        if is_graphql && Body::read(&answered).is_err() {
            return Some(answer::document_failed(&[answered.unusable("not GraphQL")]));
        }
        if !is_valid(&answered) {
            return Some(answer::relay(answered));
        }
        scatter.accept(&ask.headers);
        self.valid.insert(known, ());
        None
    }

    async fn answer_field(&self, scatter: &Scatter, ask: &Ask, planned: &Planned) -> Outcome {
        let asker = compose::Asker { scatter, ask };
        match &planned.step {
            Step::Ask { to, upstream: document, must_fail } => match (asker.one(to, document).await, must_fail) {
                (Err(failure), _) => Outcome::failed(vec![failure]),
                (Ok(answered), Some(why)) if has_data(&answered) => {
                    let error = json!({"message": why, "path": [planned.field.key]}).to_string();
                    Outcome { errors: vec![error], ..Outcome::default() }
                }
                (Ok(answered), _) => one_field(planned, answered),
            },
            Step::FanOut(fan_out) => fan_out::answer(&asker, planned, fan_out).await,
            Step::Union(union) => fan_out::joined(&asker, planned, union).await,
            Step::Compose(recipe) => compose::answer(&asker, planned, recipe).await,
        }
    }

    /// Puts the fields' outcomes together, in the client's order. One field without data makes all of it null.
    fn put_together(partial: Partial, nodes: usize, fields: &[Planned], outcomes: Vec<Outcome>) -> Answer {
        let outcomes: Vec<Outcome> = outcomes.into_iter().map(Outcome::of_valid).collect();
        let failures: Vec<Failure> = outcomes.iter().flat_map(|outcome| outcome.failures.iter().cloned()).collect();
        let is_whole = outcomes.iter().all(|outcome| outcome.value.is_some());
        if !failures.is_empty() && (partial == Partial::Fail || !is_whole) {
            return answer::document_failed(&failures);
        }
        let mut errors: Vec<String> = Vec::new();
        let mut data = String::from("{");
        let mut headers = None;
        for (Planned { field, .. }, outcome) in fields.iter().zip(outcomes) {
            // A refusal (wrong variables, no permission) is about the whole request.
            if let Some(refusal) = outcome.refusal {
                return answer::relay(refusal);
            }
            errors.extend(outcome.errors);
            headers = headers.or(outcome.headers);
            if let Some(value) = outcome.value {
                if data.len() > 1 {
                    data.push(',');
                }
                data.push_str(&Value::from(field.key.as_str()).to_string());
                data.push(':');
                data.push_str(&value);
            }
        }
        data.push('}');
        let data = is_whole.then_some(data.as_str());
        answer::document(headers.unwrap_or_default(), &errors, data, nodes, &failures)
    }
}

/// Whether a node says of a text that it only lacks the operation.
fn is_valid(answered: &NodeAnswer) -> bool {
    let errors = Body::read(answered).ok().and_then(|body| body.errors).unwrap_or_default();
    matches!(errors.as_slice(), [error] if error.message() == format!("operation {NO_OPERATION} not found"))
}

/// The hash of a persisted query, as gqlgen's extension decodes it (gqlgen `graphql/handler/extension/apq.go`): names in
/// any case, and a number is a text. `None` if it refuses it.
fn persisted_hash(persisted: &Value) -> Option<Cow<'_, str>> {
    let persisted = persisted.as_object()?;
    let member = |field: &str| {
        let other_case = || persisted.iter().find(|(name, _)| name.eq_ignore_ascii_case(field)).map(|(_, value)| value);
        persisted.get(field).or_else(other_case)
    };
    if member("version").and_then(Value::as_u64) != Some(1) {
        return None;
    }
    match member("sha256Hash") {
        None | Some(Value::Null) => Some(Cow::Borrowed("")),
        Some(Value::String(hash)) => Some(Cow::Borrowed(hash)),
        Some(Value::Number(number)) => Some(Cow::Owned(number.to_string())),
        Some(_) => None,
    }
}

/// A request whose document came as a hash, with the document; if nobody has sent that, with a hash that no document has.
fn by_hash(ask: &Ask, request: &Request) -> Option<Ask> {
    if !request.is_by_hash {
        return None;
    }
    let body = if request.text.is_empty() {
        json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": ""}}}).to_string()
    } else {
        with_variables(&request.text, request.operation.as_deref(), request)
    };
    Some(upstream(&as_body(ask, request), body))
}

/// The request as one with a body that is no form: the answer to a form does not depend on `Accept`.
fn as_body<'a>(ask: &'a Ask, request: &Request) -> Cow<'a, Ask> {
    if !request.is_form {
        return Cow::Borrowed(ask);
    }
    let mut ask = ask.clone();
    ask.headers.remove(ACCEPT);
    Cow::Owned(ask)
}

/// The text alone, with an operation that it does not have.
fn text_alone(request: &Request) -> String {
    json!({"query": request.text, "operationName": NO_OPERATION}).to_string()
}

/// A request for an operation of a text, with the variables as the client wrote them.
fn with_variables(text: &str, operation: Option<&str>, request: &Request) -> String {
    let (text, operation) = (Value::from(text), Value::from(operation));
    format!(r#"{{"query":{text},"operationName":{operation},"variables":{}}}"#, request.variables_text)
}

/// What a node is asked with a document of onezot's own.
pub fn ask_for(ask: &Ask, document: &Upstream) -> Ask {
    upstream(ask, json!({"query": document.text, "variables": document.variables}).to_string())
}

/// What a node is asked on behalf of a client. Only queries go this way, so it may be repeated.
fn upstream(ask: &Ask, body: String) -> Ask {
    let mut headers = ask.headers.clone();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.remove(CONTENT_ENCODING);
    Ask {
        method: Method::POST,
        target: SEARCH.to_owned(),
        headers,
        sender: ask.sender.clone(),
        body: body.into(),
        is_read: true,
        share: ask.share.clone(),
        terms: ask.terms,
    }
}
