//! What `onezot where REPO --all` prints: how the placement decides, and which nodes have the repository.

use crate::budget::Budget;
use crate::config::Config;
use crate::fleet::{Fleet, Why};
use crate::onward::Sender;
use crate::plan::Ownership;
use crate::scatter::{Ask, Failure, Scatter};
use bytes::Bytes;
use futures::future::join_all;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use std::fmt::Write;
use std::sync::Arc;

/// The owner of a repository, and then each node in order: what speaks for it, and whether it has the repository.
pub async fn tell(config: &Config, repository: &str) -> String {
    let fleet = Arc::new(config.fleet());
    fleet.resolve().await;
    let scatter = Scatter::new(config, fleet.clone());
    let owner = fleet.placed(repository);
    let mut text = format!("{}\n", Ownership { fleet: &fleet, owner });
    let budget = Budget::new(config.limits.total_answer_bytes.as_u64());
    let ask = Ask {
        method: Method::GET,
        target: format!("/v2/{repository}/tags/list?n=1"),
        // What a node lets nobody read it does not tell here.
        headers: HeaderMap::new(),
        sender: Sender::default(),
        body: Bytes::new(),
        is_read: true,
        share: budget.share(),
        terms: scatter.terms(config.partial),
    };
    let nodes = fleet.nodes().iter().enumerate();
    let answers = join_all(nodes.map(async |(index, node)| {
        // With what the configuration has for onezot's own reads.
        let credentials = node.credentials().map(|credentials| (AUTHORIZATION, credentials.header().clone()));
        let ask = Ask { headers: credentials.into_iter().collect(), ..ask.clone() };
        (node, scatter.at(index, &ask).await)
    }));
    let answers = answers.await;
    let width = answers.iter().map(|(node, _)| node.name.chars().count()).max().unwrap_or_default();
    for (index, (node, answer)) in answers.iter().enumerate() {
        let says = match answer {
            Ok(answer) if answer.status.is_success() => "has it".to_owned(),
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => "does not have it".to_owned(),
            Ok(answer) if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                format!("does not tell ({})", answer.status.as_u16())
            }
            Ok(answer) => format!("answers {}", answer.status.as_u16()),
            Err(Failure { kind, cause, .. }) => format!("{kind} ({cause})"),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {:width$}  {}  {says}", node.name, reason(&fleet, repository, index));
    }
    text
}

/// What speaks for a node as the owner.
fn reason(fleet: &Fleet, repository: &str, node: usize) -> String {
    let owner = fleet.placed(repository);
    let is_owner = if owner.node == node { "owner" } else { "     " };
    match owner.why {
        Why::Rendezvous(_) => {
            let name = fleet.name(node);
            format!("{is_owner}  {:016x}", fleet.placement().weight(repository, name))
        }
        Why::Hash(_) => format!("{is_owner}  {node}"),
        Why::Map(_) | Why::Found => is_owner.to_owned(),
    }
}
