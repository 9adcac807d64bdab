//! Root fields of which several nodes have a part: all of them, or those that have the repository that it names.

use super::copies;
use super::outcome::{Outcome, each_node_once, one_field};
use super::response::{Body, data_of, is_absence, member};
use super::{ask_for, sizes};
use crate::compose::{Asker, Settled, failed, failed_all};
use crate::fleet::Survey;
use crate::items::summary::{self, Part};
use crate::items::{self, Item, Keys, NewestImage, NodePart, Summaries};
use crate::locate::Locator;
use crate::query::{Again, FanOut, Holders, PartKind, Planned, Union};
use crate::rules::Items;
use crate::scatter::{Failure, Gathered, NodeAnswer, Verdict};
use http::HeaderMap;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A node's answer, read.
type Read<'a> = (&'a NodeAnswer, Body<'a>);

/// What the nodes answered, the header of the first, and who is missing.
type Parts = (Vec<NodeAnswer>, HeaderMap, Vec<Failure>);

/// The outcome of a field whose lists are merged.
pub async fn answer(asker: &Asker<'_>, planned: &Planned, fan_out: &FanOut) -> Outcome {
    merged(asker, planned, fan_out).await.unwrap_or_else(|outcome| *outcome)
}

/// The outcome of a field that is a list itself.
pub async fn joined(asker: &Asker<'_>, planned: &Planned, union: &Union) -> Outcome {
    union_of(asker, planned, union).await.unwrap_or_else(|outcome| *outcome)
}

async fn merged(asker: &Asker<'_>, planned: &Planned, fan_out: &FanOut) -> Settled<Outcome> {
    let fleet = asker.scatter.fleet();
    let (answers, headers, mut failures) = asked(asker, planned, fan_out).await?;
    let bodies = read_all(&answers)?;
    let (parts, mut items) = read(fan_out, planned, &bodies)?;
    let more;
    let bodies_of_more;
    match (&fan_out.again, fan_out.items) {
        (Some(again), _) if may_be_split(asker, again, &items).await? => {
            let marked = marked(asker, again, &items).await?;
            let (answers, _, missing) = asked(asker, planned, &again.fan_out).await?;
            more = answers;
            failures.extend(
                missing
                    .into_iter()
                    .filter(|new| failures.iter().all(|known| known.node != new.node))
                    .collect::<Vec<_>>(),
            );
            bodies_of_more = read_all(&more)?;
            let (_, of_all) = read(&again.fan_out, planned, &bodies_of_more)?;
            items = put_together(asker, fan_out, again, (items, of_all, marked), &mut failures).await?;
        }
        (_, Items::Images) if fan_out.is_whole => {
            let conflicts = items::conflicts(&items);
            let note = |item: &&Item| {
                let tag = item.keys.tag.as_deref().unwrap_or_default();
                fleet.conflicts().note(&item.keys.repository, tag, fleet.name(item.node));
            };
            conflicts.iter().filter(|item| !item.keys.digest.is_empty()).for_each(note);
        }
        (_, Items::Images) => items = copies::without_stale(asker, items).await.map_err(failed_all)?,
        _ => {}
    }
    let summaries = summaries(asker, fan_out, &parts, &mut failures).await?;
    let owner = |repository: &str| fleet.owner(repository).node;
    let merged = items::put_together(fan_out, owner, &parts, items, summaries.as_ref());
    let shown = |body: &Body<'_>| {
        let errors = body.errors.iter().flatten().filter(|error| merged.shows_error(&error.message()));
        errors.map(|error| error.at(planned.field.location)).collect::<Vec<_>>()
    };
    let errors = each_node_once(bodies.iter().map(|(_, body)| shown(body)));
    Ok(Outcome { value: Some(merged.value), errors, headers: Some(headers), failures, ..Outcome::default() })
}

/// Asks the nodes. A refusal is the client's answer as it is.
async fn asked(asker: &Asker<'_>, planned: &Planned, fan_out: &FanOut) -> Settled<Parts> {
    let ask = ask_for(asker.ask, &fan_out.upstream);
    let gathered = match &fan_out.holders {
        None => asker.scatter.documents(&ask, data_of).await,
        Some(Holders { nodes, .. }) => asker.scatter.holders(&ask, nodes, data_of, is_absence).await,
    };
    judged(asker, planned, gathered)
}

fn judged(asker: &Asker<'_>, planned: &Planned, gathered: Gathered<NodeAnswer>) -> Settled<Parts> {
    match gathered.judge(asker.ask.terms.partial) {
        Verdict::Failed(failures) => Err(failed_all(failures)),
        Verdict::Refused(refusal) => Err(Box::new(one_field(planned, refusal))),
        Verdict::Parts { parts, headers, failures } => Ok((parts, headers, failures)),
    }
}

fn read_all(answers: &[NodeAnswer]) -> Settled<Vec<Read<'_>>> {
    let read = |answer| match Body::read(answer) {
        Ok(body) => Ok((answer, body)),
        Err(_) => Err(failed(answer.unusable("not GraphQL"))),
    };
    answers.iter().map(read).collect()
}

/// The results of the nodes, and the items of their lists.
fn read<'a>(fan_out: &FanOut, planned: &Planned, bodies: &[Read<'a>]) -> Settled<(Vec<NodePart<'a>>, Vec<Item<'a>>)> {
    let (mut parts, mut items) = (Vec::with_capacity(bodies.len()), Vec::new());
    for (answer, body) in bodies {
        let Some(result) = body.data.and_then(|data| member(data, &planned.field.key)) else { continue };
        let read = NodePart::read(fan_out, answer.node, result);
        let (part, more) = read.map_err(|bad| failed(answer.unusable(&bad.to_string())))?;
        parts.push(part);
        items.extend(more);
    }
    Ok((parts, items))
}

/// Whether some repositories have to be put together: two nodes list them, or the client chooses among them, and some are
/// known to lie on several nodes.
async fn may_be_split(asker: &Asker<'_>, again: &Again, items: &[Item<'_>]) -> Settled<bool> {
    let mut seen = HashMap::with_capacity(items.len());
    if items.iter().any(|item| *seen.entry(&item.keys.repository).or_insert(item.node) != item.node) {
        return Ok(true);
    }
    Ok(again.filter.chooses() && !survey(asker).await?.0.is_empty())
}

async fn survey(asker: &Asker<'_>) -> Settled<Arc<Survey>> {
    let locator = Locator { scatter: asker.scatter, ask: asker.ask };
    locator.survey(asker.ask.terms.partial).await.map_err(failed_all)
}

/// The nodes of the repositories that the client has marked, where a list is of those: the first of them says so, even if
/// it has no tags.
async fn marked(asker: &Asker<'_>, again: &Again, items: &[Item<'_>]) -> Settled<HashMap<String, Vec<usize>>> {
    if !again.filter.marked {
        return Ok(HashMap::new());
    }
    let survey = survey(asker).await?;
    let nodes_of = |item: &Item| {
        let nodes = survey.0.get(&*item.keys.repository).filter(|nodes| nodes.first() == Some(&item.node))?;
        Some((item.keys.repository.to_string(), nodes.clone()))
    };
    Ok(items.iter().filter_map(nodes_of).collect())
}

/// The items, with those in the place of which there are several on as many nodes.
async fn put_together<'a>(
    asker: &Asker<'_>,
    fan_out: &FanOut,
    again: &Again,
    (listed, of_all, marked): (Vec<Item<'a>>, Vec<Item<'a>>, HashMap<String, Vec<usize>>),
    failures: &mut Vec<Failure>,
) -> Settled<Vec<Item<'a>>> {
    let fleet = asker.scatter.fleet();
    let mut parts: HashMap<Cow<'a, str>, Vec<Item<'a>>> = HashMap::new();
    for item in of_all {
        parts.entry(item.keys.repository.clone()).or_default().push(item);
    }
    let is_marked = again.filter.marked;
    parts.retain(|name, parts| parts.len() > 1 || marked.contains_key(&**name));
    for (name, parts) in &mut parts {
        let owner = fleet.owner(name).node;
        parts.sort_by_key(|part| (part.node != owner, part.node));
    }
    let mut items = Vec::with_capacity(listed.len());
    let mut firsts: HashMap<Cow<'a, str>, Item<'a>> = HashMap::new();
    for item in listed {
        let name = item.keys.repository.clone();
        match parts.get(&name) {
            None => items.push(item),
            Some(_) if is_marked && marked.get(&*name).and_then(|nodes| nodes.first()) == Some(&item.node) => {
                firsts.insert(name, item);
            }
            Some(_) => {}
        }
    }
    for (name, parts) in &parts {
        let keys = keys_of(parts, is_marked);
        let is_listed = if is_marked { firsts.contains_key(name) } else { again.filter.takes(&keys) };
        let node = parts.first().map_or(0, |part| part.node);
        items.extend(is_listed.then(|| Item::new(node, keys, Vec::new())));
    }
    // Only what is shown is worth more requests.
    let shown: HashSet<Cow<'a, str>> = items::on_page(fan_out, &mut items)
        .iter()
        .map(|item| item.keys.repository.clone())
        .filter(|name| parts.contains_key(name))
        .collect();
    let is_sized = again.names.iter().flatten().any(|(_, name)| name == "Size");
    let sized: Vec<(&str, Vec<usize>)> = shown
        .iter()
        .filter_map(|name| Some((&**name, parts.get(name)?.iter().map(|part| part.node).collect())))
        .filter(|_| is_sized)
        .collect();
    let sizes = sizes::of(asker, &sized, failures).await?;
    for item in items.iter_mut().filter(|item| shown.contains(&item.keys.repository)) {
        let name = item.keys.repository.clone();
        let Some(parts) = parts.get(&name) else { continue };
        item.texts.clear();
        for (alias, names) in again.names.iter().enumerate() {
            // Marked repositories have a rank of their own, and are marked where they may have no tags.
            let first = firsts.get(&name);
            let is_first = |part: &&Item<'a>| first.is_some_and(|first| first.node == part.node);
            let of_first = first.map(|first| (first, parts.iter().find(is_first).map(|part| &part.keys)));
            let others = parts.iter().filter(|part| !is_first(part)).map(|part| (part, Some(&part.keys)));
            let mut read = Vec::with_capacity(parts.len());
            for (part, keys) in of_first.into_iter().chain(others) {
                let text = part.texts.get(alias).map_or("null", |text| text);
                let part_of_it = Part::read(text, keys).map_err(|bad| bad_part(asker, part.node, &bad))?;
                read.extend(part_of_it);
            }
            let whole = summary::joined(names, &read, sizes.get(&*name).copied());
            item.texts.push(Cow::Owned(whole.map_err(|bad| bad_part(asker, item.node, &bad))?));
        }
    }
    Ok(items)
}

fn bad_part(asker: &Asker<'_>, node: usize, bad: &items::BadPart) -> Box<Outcome> {
    let node = asker.scatter.fleet().name(node).to_owned();
    failed(Failure { node, kind: crate::scatter::FailureKind::Unusable, cause: bad.to_string() })
}

/// What a repository on several nodes is sorted and chosen by.
fn keys_of<'a>(parts: &[Item<'a>], is_marked: bool) -> Keys<'a> {
    let Some(first) = parts.first() else { return Keys::default() };
    let mut keys = first.keys.clone();
    for part in &parts[1..] {
        if keys.updated < part.keys.updated {
            (keys.updated, keys.updated_text) = (part.keys.updated, part.keys.updated_text);
        }
        keys.downloads = keys.downloads.saturating_add(part.keys.downloads);
        keys.platforms.extend(part.keys.platforms.iter().cloned());
    }
    let age = |part: &Item| part.keys.newest.as_ref().map(NewestImage::age);
    let newest = parts.iter().enumerate().max_by_key(|(at, part)| (age(part), Reverse(*at)));
    keys.newest = newest.and_then(|(_, part)| part.keys.newest.clone());
    keys.rank = if is_marked { 0 } else { keys.rank };
    keys
}

/// What one zot would say of the repository that the field names, for each key of the client's.
async fn summaries(
    asker: &Asker<'_>,
    fan_out: &FanOut,
    parts: &[NodePart<'_>],
    failures: &mut Vec<Failure>,
) -> Settled<Option<Summaries>> {
    let Some(Holders { repository, nodes }) = &fan_out.holders else { return Ok(None) };
    let wanted = fan_out.parts.iter().filter_map(|part| match &part.kind {
        PartKind::Summary(names) => Some((&part.key, names)),
        _ => None,
    });
    let wanted: Vec<_> = wanted.collect();
    let is_sized = wanted.iter().any(|(_, names)| names.iter().any(|(_, name)| name == "Size"));
    let sized = [(repository.as_str(), nodes.to_vec())];
    let sizes = sizes::of(asker, if is_sized { &sized } else { &[] }, failures).await?;
    let mut summaries = HashMap::new();
    for (key, names) in wanted {
        let node = nodes.first().copied().unwrap_or_default();
        let read = parts.iter().map(|part| Part::read(part.raw(key), None));
        let read: Vec<Option<Part>> = read.collect::<Result<_, _>>().map_err(|bad| bad_part(asker, node, &bad))?;
        let read: Vec<Part> = read.into_iter().flatten().collect();
        let whole = summary::joined(names, &read, sizes.get(repository).copied());
        summaries.insert(key.clone(), whole.map_err(|bad| bad_part(asker, node, &bad))?);
    }
    Ok(Some(summaries))
}

async fn union_of(asker: &Asker<'_>, planned: &Planned, union: &Union) -> Settled<Outcome> {
    let ask = ask_for(asker.ask, &union.upstream);
    let gathered = asker.scatter.holders(&ask, &union.holders.nodes, data_of, is_absence).await;
    let (answers, headers, failures) = judged(asker, planned, gathered)?;
    let bodies = read_all(&answers)?;
    let (mut seen, mut all) = (HashSet::new(), Vec::new());
    for (answer, body) in &bodies {
        let unusable = |error: String| failed(answer.unusable(&error));
        let list = body.data.and_then(|data| member(data, &planned.field.key));
        let list: Option<Vec<&RawValue>> = match list {
            Some(list) => serde_json::from_str(list.get()).map_err(|error| unusable(error.to_string()))?,
            None => None,
        };
        for raw in list.into_iter().flatten() {
            let item = Item::read(answer.node, raw).map_err(|bad| unusable(bad.to_string()))?;
            if seen.insert(item.keys.digest.to_string()) {
                all.push(item.own().to_owned());
            }
        }
    }
    let said = |body: &Body<'_>| {
        let errors = body.errors.iter().flatten();
        errors.map(|error| error.at(planned.field.location)).collect::<Vec<_>>()
    };
    let errors = each_node_once(bodies.iter().map(|(_, body)| said(body)));
    let value = Some(format!("[{}]", all.join(",")));
    Ok(Outcome { value, errors, headers: Some(headers), failures, ..Outcome::default() })
}
