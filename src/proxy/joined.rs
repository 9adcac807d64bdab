//! Repositories that lie on several nodes: their tags and referrers are those of all of them, and a manifest that is
//! pushed is not streamed.

use super::Gateway;
use super::located::last_segment;
use crate::answer::{self, Answer};
use crate::merge;
use crate::page::TagPage;
use crate::plan::To;
use crate::push::{self, Push};
use crate::rules::{By, Class, Part, Route};
use crate::scatter::{Ask, Verdict};
use http::Method;
use pingora::prelude::Error;
use pingora::proxy::Session;

impl Gateway {
    /// The answer to a GET of tags or referrers that all these nodes have a part in; `None` if it streams from the first.
    pub(super) async fn joined(&self, route: &Route, repository: &str, holders: &[usize], ask: &Ask) -> Option<Answer> {
        let Class::RouteOnce(By::PathRepository(part)) = route.class else { return None };
        if !matches!(part, Part::Repository | Part::Referrers) {
            return None;
        }
        let Some(_seat) = self.merges.enter().await else { return Some(answer::busy()) };
        match part {
            Part::Repository => self.joined_tags(repository, holders, ask).await,
            _ => self.joined_referrers(holders, ask).await,
        }
    }

    /// The answer to a push of a manifest to a repository that lies on several nodes; `None` if it is none.
    pub(super) async fn pushed(
        &self,
        session: &mut Session,
        route: &Route,
        to: &To,
        ask: &Ask,
    ) -> Result<Option<Answer>, Box<Error>> {
        let (Class::RouteOnce(By::PathRepository(Part::Reference)), To::Owner { repository, .. }, &Method::PUT) =
            (route.class, to, &ask.method)
        else {
            return Ok(None);
        };
        let Some(holders) = self.fleet.split(repository) else { return Ok(None) };
        let ask = match self.with_body(session, ask.clone(), push::MOST_BYTES).await? {
            Ok(ask) => ask,
            Err(refusal) => return Ok(Some(refusal)),
        };
        let reference = last_segment(&ask.target);
        let (scatter, copies) = (&self.scatter, &*self.copies);
        let push = Push { scatter, copies, repository, holders: &holders, reference: &reference, ask: &ask };
        Ok(Some(push.answer().await))
    }

    async fn joined_tags(&self, repository: &str, holders: &[usize], ask: &Ask) -> Option<Answer> {
        let (path, query) = match ask.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (ask.target.as_str(), None),
        };
        // What a zot refuses, the first node refuses in its words.
        let page = TagPage::from_query(query)?;
        let whole = Ask { target: path.to_owned(), ..ask.clone() };
        Some(match self.scatter.tags(&whole, holders).await.judge(ask.terms.partial) {
            Verdict::Parts { parts, headers, failures } => {
                let all = merge::tags(parts);
                let (tags, next) = page.cut(&all)?;
                let n = page.n.unwrap_or_default();
                // zot writes the tag raw.
                let link = next.map(|last| format!("</v2/{repository}/tags/list?n={n}&last={last}>; rel=\"next\""));
                let body = answer::tags(repository, tags);
                answer::merged(headers, body, link.as_deref(), holders.len(), &failures)
            }
            Verdict::Refused(refusal) => answer::relay(refusal),
            Verdict::Failed(failures) => answer::fan_out_failed("the list of tags would be incomplete", &failures),
        })
    }

    async fn joined_referrers(&self, holders: &[usize], ask: &Ask) -> Option<Answer> {
        Some(match self.scatter.some(ask, holders).await.judge(ask.terms.partial) {
            Verdict::Parts { parts, headers, failures } => {
                let bodies: Vec<&[u8]> = parts.iter().map(|part| &*part.body).collect();
                match merge::referrers(&bodies) {
                    Ok(index) => answer::merged(headers, index, None, holders.len(), &failures),
                    Err((at, error)) => super::failed(&parts.get(at)?.unusable(&format!("no index: {error}"))),
                }
            }
            Verdict::Refused(refusal) => answer::relay(refusal),
            Verdict::Failed(failures) => answer::fan_out_failed("the referrers would be incomplete", &failures),
        })
    }
}
