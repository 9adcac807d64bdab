//! GraphQL over HTTP: requests decoded as zot's server decodes them, documents carried out, answers put together.
//!
//! Validation is zot's. The client's text goes to one node with the name of an operation that does not exist: gqlgen
//! validates the whole document before it looks for the operation (gqlgen `graphql/executor/executor.go`), so every
//! error of the text comes back in zot's words, and nothing is executed.

mod outcome;
mod request;
pub mod response;

pub use outcome::Outcome;
pub use response::{refusal_kind, said};

use crate::answer::{self, Answer};
use crate::compose;
use crate::config::{Metadata, Partial};
use crate::document::Upstream;
use crate::fleet::Fleet;
use crate::plan::To;
use crate::query::{self, DocumentPlan, Planned, Request, Step};
use crate::scatter::{Ask, Failure, Scatter, Verdict};
use futures::future::join_all;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use outcome::{merged_field, one_field};
use request::Parameters;
use response::{Body, data_of, has_data};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::hash::{BuildHasher, RandomState};
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
    metadata: Metadata,
    partial: Partial,
    valid: moka::sync::Cache<u64, ()>,
    persisted: moka::sync::Cache<String, String>,
    hasher: RandomState,
}

/// What a request comes to.
enum Decoded {
    /// A document.
    Document(Request),
    /// Something that a node refuses in its own words; why onezot thinks so.
    ForANode(&'static str),
    /// The hash of a document that nobody has sent.
    UnknownHash,
}

/// What becomes of a document.
pub enum Planning {
    /// A plan to carry out with [`GraphQl::carry_out`].
    Plan(Request, DocumentPlan),
    /// An answer that needs no node.
    Answer(Answer),
}

impl GraphQl {
    /// Nothing is known yet.
    pub fn new(metadata: Metadata, partial: Partial) -> GraphQl {
        let weight = |hash: &String, text: &String| u32::try_from(hash.len() + text.len()).unwrap_or(u32::MAX);
        GraphQl {
            metadata,
            partial,
            valid: moka::sync::Cache::builder().max_capacity(VALID_MOST).time_to_live(VALID_FOR).build(),
            persisted: moka::sync::Cache::builder().max_capacity(PERSISTED_BYTES).weigher(weight).build(),
            hasher: RandomState::new(),
        }
    }

    /// Decodes and plans a request, whose body has been read if it has one.
    pub fn plan(&self, fleet: &Fleet, ask: &Ask) -> Planning {
        match self.decode(ask) {
            Decoded::Document(request) => {
                let plan = query::plan(fleet, &request, self.metadata == Metadata::Shared);
                tracing::debug!(plan = %query::Explained { plan: &plan, fleet }, "document planned");
                Planning::Plan(request, plan)
            }
            Decoded::ForANode(why) => {
                let plan = DocumentPlan::must_fail(why.to_owned());
                let request = Request::default();
                Planning::Plan(request, plan)
            }
            Decoded::UnknownHash => Planning::Answer(answer::persisted_query_not_found()),
        }
    }

    fn decode(&self, ask: &Ask) -> Decoded {
        let Parameters { query, operation_name, variables, extensions } = match Parameters::of(ask) {
            Ok(parameters) => parameters,
            Err(why) => return Decoded::ForANode(why),
        };
        let mut text = query.unwrap_or_default();
        let mut is_by_hash = false;
        if let Some(persisted) = extensions.unwrap_or_default().get("persistedQuery") {
            let (Some(1), Some(hash)) = (persisted["version"].as_u64(), persisted["sha256Hash"].as_str()) else {
                return Decoded::ForANode("the persisted query is none");
            };
            if text.is_empty() {
                match self.persisted.get(hash) {
                    Some(known) => (text, is_by_hash) = (known, true),
                    None => return Decoded::UnknownHash,
                }
            } else if hash != sha256(&text) {
                return Decoded::ForANode("the hash is not that of the document");
            } else {
                self.persisted.insert(hash.to_owned(), text.clone());
            }
        }
        if text.trim().is_empty() {
            return Decoded::ForANode("there is no document");
        }
        let variables = variables.unwrap_or_default();
        Decoded::Document(Request { text, operation: operation_name, variables, is_by_hash })
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
            DocumentPlan::Fields(fields) => self.answer_fields(scatter, ask, request, fields).await,
        }
    }

    async fn answer_fields(&self, scatter: &Scatter, ask: &Ask, request: &Request, fields: &[Planned]) -> Answer {
        let steps = join_all(fields.iter().map(|planned| self.answer_field(scatter, ask, planned)));
        let text = self.hasher.hash_one(&request.text);
        let validation = self.validate(scatter, ask, request, text);
        let (invalid, answered) = if !scatter.accepts(&ask.headers) {
            // Credentials that no node has accepted lately are tried at one.
            match validation.await {
                None => (None, steps.await),
                invalid => (invalid, Vec::new()),
            }
        } else if self.valid.contains_key(&text) {
            (None, steps.await)
        } else {
            tokio::join!(validation, steps)
        };
        match invalid {
            Some(answer) => answer,
            None => self.put_together(scatter.fleet().nodes().len(), fields, answered),
        }
    }

    /// Asks one node whether the text (with this hash) is valid; `None` if it is, else the client's answer.
    async fn validate(&self, scatter: &Scatter, ask: &Ask, request: &Request, text: u64) -> Option<Answer> {
        let body = json!({"query": request.text, "operationName": NO_OPERATION});
        let answered = match scatter.one(&To::Any, &upstream(ask, &body)).await {
            Err(failure) => return Some(answer::document_failed(&[failure])),
            Ok(answered) => answered,
        };
        let errors = Body::read(&answered).ok().and_then(|body| body.errors).unwrap_or_default();
        let is_valid = match errors.as_slice() {
            [error] => error.message() == format!("operation {NO_OPERATION} not found"),
            _ => false,
        };
        if !is_valid {
            return Some(answer::relay(answered));
        }
        scatter.accept(&ask.headers);
        self.valid.insert(text, ());
        None
    }

    async fn answer_field(&self, scatter: &Scatter, ask: &Ask, planned: &Planned) -> Outcome {
        match &planned.step {
            Step::Ask { to, upstream: document, must_fail } => {
                match (scatter.one(to, &ask_for(ask, document)).await, must_fail) {
                    (Err(failure), _) => Outcome::failed(vec![failure]),
                    (Ok(answered), Some(why)) if has_data(&answered) => {
                        let error = json!({"message": why, "path": [planned.field.key]}).to_string();
                        Outcome { errors: vec![error], ..Outcome::default() }
                    }
                    (Ok(answered), _) => one_field(planned, answered),
                }
            }
            Step::FanOut(fan_out) => {
                let gathered = scatter.documents(&ask_for(ask, &fan_out.upstream), data_of).await;
                match gathered.judge(self.partial) {
                    Verdict::Failed(failures) => Outcome::failed(failures),
                    Verdict::Refused(refusal) => one_field(planned, refusal),
                    Verdict::Parts { parts, headers, failures } => {
                        merged_field(planned, fan_out, scatter.fleet(), &parts, headers, failures)
                    }
                }
            }
            Step::Compose(recipe) => {
                let asker = compose::Asker { scatter, ask, partial: self.partial };
                compose::answer(&asker, planned, recipe).await
            }
        }
    }

    /// Puts the fields' outcomes together, in the client's order. One field without data makes all of it null.
    fn put_together(&self, nodes: usize, fields: &[Planned], outcomes: Vec<Outcome>) -> Answer {
        let failures: Vec<Failure> = outcomes.iter().flat_map(|outcome| outcome.failures.iter().cloned()).collect();
        let is_whole = outcomes.iter().all(|outcome| outcome.value.is_some());
        if !failures.is_empty() && (self.partial == Partial::Fail || !is_whole) {
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

/// A request whose document came as a hash, with the document.
fn by_hash(ask: &Ask, request: &Request) -> Option<Ask> {
    request.is_by_hash.then(|| {
        let body = json!({"query": request.text, "operationName": request.operation, "variables": request.variables});
        upstream(ask, &body)
    })
}

/// What a node is asked with a document of onezot's own.
pub fn ask_for(ask: &Ask, document: &Upstream) -> Ask {
    upstream(ask, &json!({"query": document.text, "variables": document.variables}))
}

/// What a node is asked on behalf of a client. Only queries go this way, so it may be repeated.
fn upstream(ask: &Ask, body: &Value) -> Ask {
    let mut headers = ask.headers.clone();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ask {
        method: Method::POST,
        target: SEARCH.to_owned(),
        headers,
        sender: ask.sender.clone(),
        body: body.to_string().into(),
        is_read: true,
        share: ask.share.clone(),
    }
}

fn sha256(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
