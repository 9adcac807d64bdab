//! Logging in and out at every node.
//!
//! A zot begins a session whenever zot's web UI sends a name and a password, whatever it asks for (zot `pkg/api/authn.go`,
//! `basicAuthn`). The answer of the one node that was asked says that the credentials are good; only then the other nodes
//! are told them, too, so that a wrong password counts once.
//!
//! With OpenID Connect or GitHub, a user comes to be known where the callback lands, and nowhere else. So it works where
//! the nodes share their users and sessions (`metadata: shared`): the state of the sign-in names the node that began it.

use super::seal::{Bundle, tag};
use super::session;
use super::{Identity, to_base, to_each};
use crate::answer::{self, Answer};
use crate::fleet::Fleet;
use crate::page::{query_value, without_parameters};
use crate::plan::To;
use crate::scatter::{Ask, Failure, FailureKind, NodeAnswer, Outcome, Reply, Scatter};
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};

/// What stands between the state of a node's sign-in and the name of the node.
const NODE: &str = ".oz1-";

impl Identity {
    /// Settles what the answer of a node (or of several, `None`) means for the session of the client that asked: one that
    /// begins is begun at every node and sealed, one that ended at a single node goes on.
    ///
    /// # Errors
    ///
    /// The answer is that of a node which does not know the session, and others do.
    pub async fn settle(
        &self,
        scatter: &Scatter,
        ask: &Ask,
        node: Option<usize>,
        status: StatusCode,
        answer: &mut HeaderMap,
    ) -> Result<(), Failure> {
        if node.is_none() && !self.is_alone {
            session::keep_zots_cookies(answer);
        }
        if self.is_alone {
        } else if session::begun(answer).is_some() {
            self.complete(scatter, ask, node, answer).await;
        } else if session::is_ended(answer) {
            let name = node.map_or("", |node| scatter.fleet().name(node));
            match ask.sender.presented.forgotten(scatter, ask, name, answer).await {
                // What nobody in particular may see is right all the same where a single repository is asked for.
                Some(failure) if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                    told(&failure);
                    session::take(answer);
                }
                Some(failure) => return Err(failure),
                None => session::forget(&ask.headers, answer),
            }
        }
        if ask.sender.came_by_tls(&ask.headers) {
            session::secure(answer);
        }
        Ok(())
    }

    /// Begins a session that one node began at the others, too, and seals all of them in its place. What fails is missing,
    /// and the session is one of the others.
    async fn complete(&self, scatter: &Scatter, ask: &Ask, node: Option<usize>, answer: &mut HeaderMap) {
        let Some((value, attributes)) = session::begun(answer) else { return };
        let (value, attributes) = (value.to_owned(), attributes.to_owned());
        session::take(answer);
        let mut missing = Vec::new();
        let bundle = if ask.headers.contains_key(AUTHORIZATION) {
            let mut bundle = Bundle::default();
            if let Some(node) = node {
                bundle.insert(scatter.fleet().name(node), &value);
            }
            let mut asks = to_each(scatter, &to_base(ask));
            asks.retain(|(other, _)| Some(*other) != node);
            for reply in scatter.each(&asks, accepted).await.into_replies() {
                match reply {
                    Ok(Reply::Part(part, _)) => {
                        // A node where nobody logs in begins no session, and needs none.
                        if let Some((value, _)) = session::begun(&part.headers) {
                            bundle.insert(&part.name, value);
                        }
                    }
                    Ok(Reply::Refusal(refusal)) => missing.push(refused(&refusal)),
                    Err(failure) => missing.push(failure),
                }
            }
            bundle
        } else if self.shares_users {
            Bundle::for_all(&value, 0)
        } else {
            // There is nothing with which to log in at the others.
            return;
        };
        missing.iter().for_each(told);
        match session::write(&self.seal, bundle, &attributes, &ask.headers, answer) {
            Ok(()) => answer::incomplete(answer, scatter.fleet().nodes().len(), &missing),
            Err(problem) => tracing::error!(problem, "a session cannot be sealed; its user is not logged in"),
        }
    }

    /// Logs out at every node. Those that cannot be reached forget the session when its time is over.
    pub async fn log_out(&self, scatter: &Scatter, ask: &Ask) -> Answer {
        ask.sender.presented.is_over();
        let (mut parts, mut refusals, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for reply in scatter.each(&to_each(scatter, ask), accepted).await.into_replies() {
            match reply {
                Ok(Reply::Part(part, _)) => parts.push(part),
                Ok(Reply::Refusal(refusal)) => refusals.push(refusal),
                Err(failure) => failures.push(failure),
            }
        }
        // Where the sign-in was at a provider of identities, the node that knows of it says where to go on.
        let further = parts.iter().position(|part| part.body.windows(13).any(|text| text == b"endSessionUrl"));
        if parts.is_empty() {
            return match refusals.into_iter().next() {
                Some(refusal) if failures.is_empty() => answer::relay(refusal),
                _ => answer::fan_out_failed("no node could be told", &failures),
            };
        }
        let mut answer = answer::relay(parts.swap_remove(further.unwrap_or_default()));
        failures.extend(refusals.iter().map(refused));
        failures.iter().for_each(told);
        answer::incomplete(&mut answer.headers, scatter.fleet().nodes().len(), &failures);
        answer
    }

    /// Begins a sign-in at a provider of identities. A node says whether there is one.
    pub async fn sign_in(&self, scatter: &Scatter, ask: &Ask) -> Answer {
        let answer = match scatter.one(&To::Any, ask).await {
            Ok(answer) if answer.status.is_redirection() => answer,
            Ok(answer) => return answer::relay(answer),
            Err(failure) => return answer::node_failed(&failure),
        };
        if !self.shares_users {
            return answer::no_sign_in();
        }
        let mut answer = answer;
        if let Some(location) = answer.headers.get(LOCATION).and_then(|at| pinned(at, &answer.name)) {
            answer.headers.insert(LOCATION, location);
        }
        answer::relay(answer)
    }
}

/// The address of a provider, with the name of the node in the state that comes back with the callback.
fn pinned(location: &HeaderValue, node: &str) -> Option<HeaderValue> {
    let mut url = url::Url::parse(location.to_str().ok()?).ok()?;
    let mark = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| match &*name {
        "state" => (name.into_owned(), format!("{value}{NODE}{}", hex(node))),
        _ => (name.into_owned(), value.into_owned()),
    };
    let pairs: Vec<(String, String)> = url.query_pairs().map(mark).collect();
    url.query_pairs_mut().clear().extend_pairs(pairs);
    HeaderValue::from_str(url.as_str()).ok()
}

/// The node that the state of a callback names, and the target that it gets; `None` if it names none of the fleet.
pub fn called_back(fleet: &Fleet, target: &str) -> Option<(usize, String)> {
    let (path, query) = target.split_once('?')?;
    let state = query_value(query, "state")?;
    let (state, name) = state.rsplit_once(NODE)?;
    let node = fleet.nodes().iter().position(|node| hex(&node.name) == name)?;
    let rest = without_parameters(query, &["state"]);
    let state = form_urlencoded::Serializer::new(String::new()).append_pair("state", state).finish();
    let query = if rest.is_empty() { state } else { format!("{rest}&{state}") };
    Some((node, format!("{path}?{query}")))
}

fn hex(node: &str) -> String {
    format!("{:016x}", u64::from_be_bytes(tag(node)))
}

/// Whether a node has taken a request.
fn accepted(answer: NodeAnswer) -> Outcome<NodeAnswer> {
    Ok(if answer.status.is_success() {
        let headers = answer.headers.clone();
        Reply::Part(answer, headers)
    } else {
        Reply::Refusal(answer)
    })
}

fn refused(answer: &NodeAnswer) -> Failure {
    let kind = FailureKind::Refused(answer.status);
    Failure { node: answer.name.clone(), kind, cause: format!("status {}", answer.status) }
}

fn told(failure: &Failure) {
    let Failure { node, kind, cause } = failure;
    tracing::warn!(node, %kind, cause, "a node has no part in a session");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Node, NodeUrl, Placement};

    #[test]
    fn a_callback_goes_where_its_sign_in_began() {
        let node = |name: &str| Node::new(name.to_owned(), NodeUrl::try_from(format!("http://{name}:5000")).unwrap());
        let fleet = Fleet::new(vec![node("zot-0"), node("zot-1")], Placement::default());
        let location =
            HeaderValue::from_static("https://id.example/authorize?client_id=zot&state=1-2%2F3&scope=openid");
        let location = pinned(&location, "zot-1").unwrap();
        let url = url::Url::parse(location.to_str().unwrap()).unwrap();
        let (_, state) = url.query_pairs().find(|(name, _)| name == "state").unwrap();
        let (_, scope) = url.query_pairs().find(|(name, _)| name == "scope").unwrap();
        assert_eq!(scope, "openid");
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("state", &state).finish();
        let back = called_back(&fleet, &format!("/zot/auth/callback/oidc?code=c%2B1&{query}"));
        assert_eq!(back, Some((1, "/zot/auth/callback/oidc?code=c%2B1&state=1-2%2F3".to_owned())));
        for foreign in ["state=1-2", "code=1", "state=1.oz1-0011223344556677", "state=.oz1-"] {
            assert_eq!(called_back(&fleet, &format!("/zot/auth/callback/oidc?{foreign}")), None);
        }
    }
}
