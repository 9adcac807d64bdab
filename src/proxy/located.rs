//! Requests whose repository is not where the placement says: who is asked, and what happens when a node does not have it.
//!
//! A read goes to the first place at once; only when the answer is 404, others are asked, and the read starts again where it
//! was found. Whatever else is asked of a repository waits until it is known where that is.

use super::{Ctx, Gateway};
use crate::answer::{self, Answer};
use crate::locate::{Locator, Sought};
use crate::onward::Sender;
use crate::plan::{Plan, To};
use crate::query::DocumentPlan;
use crate::rules::{By, Class, Part, Route};
use crate::scatter::{Ask, Failure, NodeAnswer};
use crate::session;
use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use pingora::http::RequestHeader;
use pingora::prelude::{Error, ErrorType};

/// What pingora is told when a request starts again at another node.
pub const ELSEWHERE: &str = "the repository is on another node";

/// What it is told when a node failed that may have the repository; the failure is that of the other node.
pub const UNKNOWN: &str = "it is not known where the repository is";

/// A read that may start again.
pub struct Reading {
    ask: Ask,
    repository: String,
    sought: Sought,
}

impl Gateway {
    /// Looks where the repository of a plan is, unless it is a read that finds out by itself; the fleet knows, then. Returns
    /// whether that may change the plan.
    pub(super) async fn locate(&self, plan: &Plan, header: &RequestHeader, sender: &Sender) -> Result<bool, Failure> {
        let (repository, is_of_all) = match plan {
            Plan::Mount(_, mount) => (&mount.repository, false),
            Plan::Forward(route, To::Owner { repository, .. }) if !is_reading(route, &header.method) => {
                (repository, is_of_all_holders(route, &header.method))
            }
            Plan::Forward(route, To::Owner { repository, .. }) if is_of_all_holders(route, &header.method) => {
                (repository, true)
            }
            _ => return Ok(false),
        };
        let ask = self.ask_of(header, sender.clone());
        let locator = Locator { scatter: &self.scatter, ask: &ask };
        let looked = if is_of_all { locator.places(repository).await } else { locator.place(repository).await };
        looked.map(|()| true)
    }

    /// The same for the repositories that a document names.
    pub(super) async fn locate_all(&self, plan: &DocumentPlan, ask: &Ask) -> Result<bool, Failure> {
        let repositories = plan.repositories();
        Locator { scatter: &self.scatter, ask }.all_places(&repositories).await?;
        Ok(!repositories.is_empty())
    }

    /// Prepares a request to the owner of a repository; an answer if it does not stream.
    pub(super) async fn located(
        &self,
        route: &Route,
        to: &To,
        ask: Ask,
        ctx: &mut Ctx,
    ) -> Result<Option<Answer>, Failure> {
        let To::Owner { repository, .. } = to else { return Ok(None) };
        let last = last_segment(&ask.target);
        let holders = self.fleet.split(repository);
        if let (Some(holders), true) = (&holders, ask.method == Method::GET)
            && let Some(answer) = self.joined(route, repository, holders, &ask).await
        {
            return Ok(Some(answer));
        }
        match route.class {
            Class::RouteOnce(By::PathRepository(part)) if is_reading(route, &ask.method) => {
                let sought = match part {
                    Part::Reference => Sought::reference(&last),
                    Part::Digest => Sought::Digest(last),
                    Part::Repository | Part::Referrers | Part::Untold => Sought::Repository,
                };
                ctx.reading = Some(Box::new(Reading { ask, repository: repository.clone(), sought }));
                Ok(None)
            }
            Class::RouteOnce(By::PathRepository(Part::Reference)) if ask.method == Method::DELETE => {
                self.delete(repository, ask, ctx).await
            }
            Class::RouteOnce(By::PathRepository(_)) | Class::Mount => {
                if let Some((name, target)) = session::marked_node(&ask.target) {
                    ctx.in_its_place = Some(target);
                    if let Some(node) = self.fleet.nodes().iter().position(|node| node.name == name) {
                        ctx.candidates = vec![node];
                    }
                }
                ctx.opens_session = true;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// A manifest or tag is deleted wherever it is: one that stays somewhere would come back.
    async fn delete(&self, repository: &str, ask: Ask, ctx: &mut Ctx) -> Result<Option<Answer>, Failure> {
        let locator = Locator { scatter: &self.scatter, ask: &ask };
        let holders = locator.holders(repository).await?;
        if holders.len() < 2 {
            ctx.candidates =
                holders.first().copied().map_or_else(|| std::mem::take(&mut ctx.candidates), |node| vec![node]);
            return Ok(None);
        }
        let ask = Ask { body: Bytes::new(), is_read: false, ..ask };
        let mut answers: Vec<NodeAnswer> = Vec::with_capacity(holders.len());
        for node in holders.iter().filter_map(|&holder| self.fleet.nodes().get(holder)) {
            answers.push(self.scatter.write(node, &ask).await?);
        }
        self.fleet.forget(repository);
        let deleted = answers.iter().position(|answer| answer.status.is_success());
        let refused = answers
            .iter()
            .position(|answer| answer.status != StatusCode::NOT_FOUND && answer.status != StatusCode::BAD_REQUEST);
        // Who refuses what another one deletes still has it.
        let counts = refused.filter(|&at| !answers[at].status.is_success()).or(deleted).unwrap_or_default();
        Ok(Some(answer::relay(answers.swap_remove(counts))))
    }

    /// What a 404 means for a read: an error that starts it again elsewhere, or that a node failed which may have it.
    pub(super) async fn absent(&self, status: StatusCode, ctx: &mut Ctx) -> Result<(), Box<Error>> {
        let Some(reading) = ctx.reading.take_if(|_| status == StatusCode::NOT_FOUND) else { return Ok(()) };
        let Reading { ask, repository, sought } = *reading;
        let Some(&node) = ctx.candidates.get(ctx.tried) else { return Ok(()) };
        let locator = Locator { scatter: &self.scatter, ask: &ask };
        let mut error = match locator.elsewhere(&repository, &sought, node).await {
            Ok(None) => return Ok(()),
            Ok(Some(other)) => {
                (ctx.candidates, ctx.tried, ctx.addresses_tried) = (vec![other], 0, 0);
                Error::new(ErrorType::new(ELSEWHERE))
            }
            Err(failure) => {
                ctx.failure = Some(failure);
                Error::new(ErrorType::new(UNKNOWN))
            }
        };
        error.as_up();
        Err(error)
    }

    /// The `Location` of an upload session on a node, which names the node.
    pub(super) fn marked_session(&self, node: usize, headers: &HeaderMap) -> Option<HeaderValue> {
        let location = headers.get(LOCATION)?.to_str().ok()?;
        let is_session = self.fleet.locates() && location.contains("/blobs/uploads/");
        is_session.then(|| session::marked(location, self.fleet.name(node))).flatten()
    }
}

/// The last segment of the path of a target.
pub fn last_segment(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    percent_decode_str(path.rsplit('/').next().unwrap_or_default()).decode_utf8_lossy().into_owned()
}

/// Whether a request is a read whose 404 says that something is not on this node.
fn is_reading(route: &Route, method: &Method) -> bool {
    let is_read = *method == Method::GET || *method == Method::HEAD;
    is_read
        && matches!(route.class, Class::RouteOnce(By::PathRepository(part)) if !matches!(part, Part::Referrers | Part::Untold))
}

/// Whether all nodes that have the repository have a part in the answer, or in what a write comes to.
fn is_of_all_holders(route: &Route, method: &Method) -> bool {
    let Class::RouteOnce(By::PathRepository(part)) = route.class else { return false };
    match part {
        Part::Repository | Part::Referrers => *method == Method::GET,
        Part::Reference => *method == Method::PUT,
        Part::Digest | Part::Untold => false,
    }
}
