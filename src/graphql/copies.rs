//! Images that are shadowed: their tag is another image on a node whose word counts more, which the list at hand does not
//! show because that image is none of what was asked for.

use crate::compose::Asker;
use crate::items::Item;
use crate::locate::Locator;
use crate::scatter::Failure;
use futures::stream::{self, StreamExt};
use std::collections::{BTreeSet, HashMap, HashSet};

/// How many lists of tags are asked for at the same time.
const AT_A_TIME: usize = 16;

/// The items without those that are shadowed. Where every item is on the node that the placement says, there are none, and
/// nobody is asked.
///
/// # Errors
///
/// Nodes failed that may have another image of a tag.
pub async fn without_stale<'a>(asker: &Asker<'_>, items: Vec<Item<'a>>) -> Result<Vec<Item<'a>>, Vec<Failure>> {
    let fleet = asker.scatter.fleet();
    let is_elsewhere = |item: &Item| item.node != fleet.placed(&item.keys.repository).node;
    if !fleet.locates() || !items.iter().any(is_elsewhere) {
        return Ok(items);
    }
    let locator = &Locator { scatter: asker.scatter, ask: asker.ask };
    let survey = locator.survey(asker.ask.terms.partial).await?;
    // The nodes whose word counts more than that of the item's.
    let above = |item: &Item| -> Vec<usize> {
        let nodes = survey.0.get(&*item.keys.repository).map(Vec::as_slice).unwrap_or_default();
        nodes.iter().copied().take_while(|&node| node != item.node).collect()
    };
    let wanted: BTreeSet<(String, usize)> = items
        .iter()
        .flat_map(|item| above(item).into_iter().map(|node| (item.keys.repository.to_string(), node)))
        .collect();
    let asked: Vec<_> = wanted
        .into_iter()
        .map(|(repository, node)| async move {
            let tags = locator.tags(node, &repository).await;
            ((repository, node), tags)
        })
        .collect();
    let asked = stream::iter(asked);
    let mut known: HashMap<(String, usize), HashSet<String>> = HashMap::new();
    for (place, tags) in asked.buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await {
        known.insert(place, tags.map_err(|failure| vec![failure])?);
    }
    let is_shadowed = |item: &Item| {
        let has = |node| {
            known
                .get(&(item.keys.repository.to_string(), node))
                .is_some_and(|tags| item.keys.tag.as_deref().is_some_and(|tag| tags.contains(tag)))
        };
        above(item).into_iter().any(has)
    };
    Ok(items.into_iter().filter(|item| !is_shadowed(item)).collect())
}
