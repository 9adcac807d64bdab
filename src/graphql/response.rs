//! What nodes answer to documents: `errors`, and `data` whose members stay the bytes that the node wrote.

use crate::answer;
use crate::items::Members;
use crate::scan::Location;
use crate::scatter::{Failure, FailureKind, NodeAnswer, Reply};
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;

/// A GraphQL answer.
#[derive(Deserialize)]
pub struct Body<'a> {
    /// What went wrong.
    #[serde(borrow)]
    pub errors: Option<Vec<Error<'a>>>,
    /// The data; `None` if it is null.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

impl<'a> Body<'a> {
    /// Reads a node's answer.
    ///
    /// # Errors
    ///
    /// It is no GraphQL.
    pub fn read(answered: &'a NodeAnswer) -> Result<Body<'a>, serde_json::Error> {
        serde_json::from_slice(&answered.body)
    }
}

/// One of its errors.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Error<'a>(#[serde(borrow)] &'a RawValue);

impl Error<'_> {
    /// What it says; empty if it says nothing.
    pub fn message(&self) -> Cow<'_, str> {
        let Ok(Members(members)) = serde_json::from_str(self.0.get()) else { return Cow::Borrowed("") };
        let message = members.iter().find(|(name, _)| name == "message").map(|(_, value)| value.get());
        message.and_then(|message| serde_json::from_str::<String>(message).ok()).unwrap_or_default().into()
    }

    /// The keys of its path.
    fn path(&self) -> Vec<String> {
        let Ok(Members(members)) = serde_json::from_str(self.0.get()) else { return Vec::new() };
        let path = members.iter().find(|(name, _)| name == "path").map(|(_, path)| path.get());
        let path: Vec<Value> = path.and_then(|path| serde_json::from_str(path).ok()).unwrap_or_default();
        path.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The key of the root field that it is of; `None` if it is of none.
    pub fn root(&self) -> Option<String> {
        self.path().into_iter().next()
    }

    /// Whether its path has a key for which this holds.
    pub fn is_at(&self, holds: impl Fn(&str) -> bool) -> bool {
        self.path().iter().any(|key| holds(key))
    }

    /// The error as one of the root field `key` of the client's, which was asked for under another key.
    pub fn at_root(&self, key: &str, location: Option<Location>) -> String {
        let Ok(Value::Object(mut members)) = serde_json::from_str::<Value>(&self.at(location)) else {
            return self.0.get().to_owned();
        };
        if let Some(first) = members.get_mut("path").and_then(|path| path.get_mut(0)) {
            *first = key.into();
        }
        answer::go_json(&Value::Object(members))
    }

    /// The error with the location of the client's field, if it has a location: that of a document of onezot's own
    /// says nothing to the client.
    pub fn at(&self, location: Option<Location>) -> String {
        let (Some(location), Ok(Members(members))) = (location, serde_json::from_str(self.0.get())) else {
            return self.0.get().to_owned();
        };
        let member = |(name, value): (Cow<str>, &RawValue)| match &*name {
            "locations" => format!("\"locations\":[{}]", json!(location)),
            name => format!("{}:{}", Value::from(name), value.get()),
        };
        let members: Vec<String> = members.into_iter().map(member).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// A node's part of a fan-out: its answer if it has data; errors alone are a refusal.
pub fn data_of(answered: NodeAnswer) -> Result<Reply<NodeAnswer>, Failure> {
    if answered.status != StatusCode::OK {
        return Ok(Reply::Refusal(answered));
    }
    let has_data = match Body::read(&answered) {
        Ok(body) => body.data.is_some(),
        Err(error) => return Err(answered.unusable(&format!("not GraphQL: {error}"))),
    };
    Ok(if has_data {
        let headers = answered.headers.clone();
        Reply::Part(answered, headers)
    } else {
        Reply::Refusal(answered)
    })
}

/// Whether an answer has data that is not null.
pub fn has_data(answered: &NodeAnswer) -> bool {
    answered.status == StatusCode::OK && Body::read(answered).is_ok_and(|body| body.data.is_some())
}

/// Whether a node says that it does not have what is asked for (zot `errors/errors.go`).
pub fn is_absence(answered: &NodeAnswer) -> bool {
    let Ok(body) = Body::read(answered) else { return false };
    let says = |error: &Error| {
        let message = error.message();
        // A digest beside an image is looked up once the image has been found, and may be that of any repository.
        let is_digest = message.starts_with("image meta not found for digest");
        message.contains("not found") && !is_digest || message.starts_with("can't find image")
    };
    answered.status == StatusCode::OK && body.data.is_none() && body.errors.iter().flatten().any(says)
}

/// What a node said in a GraphQL refusal, for the failure that names it.
pub fn said(answered: &NodeAnswer) -> Option<String> {
    let body = Body::read(answered).ok()?;
    body.errors?.first().map(|error| error.message().into_owned())
}

/// A member of an object.
pub fn member<'a>(object: &'a RawValue, key: &str) -> Option<&'a RawValue> {
    let Members(members) = serde_json::from_str(object.get()).ok()?;
    members.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

/// Whether a status is that of a document that is not valid: one for each media type of answers (gqlgen
/// `graphql/handler/transport/http_get.go`, `statusFor`, `statusForGraphQLResponse`).
pub fn is_invalid(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST)
}

/// What [`FailureKind`] a node's GraphQL refusal is, where others answered.
pub fn refusal_kind(answered: &NodeAnswer) -> FailureKind {
    match said(answered) {
        Some(message) if answered.status == StatusCode::OK || is_invalid(answered.status) => FailureKind::Said(message),
        _ => FailureKind::Refused(answered.status),
    }
}
