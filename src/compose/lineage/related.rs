//! Which images are related to one, and what of an index is shown when only some of its manifests are.

use super::annotations::{Annotated, Bytes};
use super::lists::Place;
use super::update_time::{Observation, Time, decided, possible};
use crate::items::{BadPart, Item, Manifest, Members, Named};
use crate::rules::Direction;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// A manifest of the image whose relations are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The digest.
    pub digest: String,
    /// The digests of the layers, in their order.
    pub layers: Vec<String>,
}

impl From<&Manifest<'_>> for Subject {
    fn from(manifest: &Manifest) -> Subject {
        Subject { digest: manifest.digest.to_string(), layers: manifest.layers().map(str::to_owned).collect() }
    }
}

/// Whether a manifest is related to one of `subjects`: the layers of one begin with all layers of the other, which has
/// some, and they are not the same manifest (zot `pkg/extensions/search/resolver.go`, `filterDerivedImages` and
/// `filterBaseImages`).
pub fn is_related(direction: Direction, subjects: &[Subject], manifest: &Manifest) -> bool {
    subjects.iter().any(|subject| {
        let (own, other) = (manifest.layers().len(), subject.layers.len());
        let shorter = own.min(other);
        let is_longer = match direction {
            Direction::Derived => own >= other,
            Direction::Base => own <= other,
        };
        manifest.digest != *subject.digest
            && shorter > 0
            && is_longer
            && manifest.layers().zip(&subject.layers).all(|(own, other)| own == other)
    })
}

/// What the candidates of a node come to.
#[derive(Default)]
pub struct Sorted<'a> {
    /// Related images, as they are shown.
    pub whole: Vec<Item<'a>>,
    /// Indexes of which no candidate shows just the related manifests.
    pub partial: Vec<Partial<'a>>,
    /// What is not shown, as far as errors may speak of it.
    pub hidden: Vec<Named>,
}

/// An index of which some manifests are related.
pub struct Partial<'a> {
    /// What was found of it first, and further times: each time with some of its manifests.
    found: (Item<'a>, Vec<Item<'a>>),
    /// The digests of the related ones.
    related: HashSet<String>,
}

/// Sorts the candidates out. An index may be among them several times, each time with the manifests that have some layer.
pub fn sort_out<'a>(
    direction: Direction,
    subjects: &[Subject],
    candidates: impl Iterator<Item = Item<'a>>,
) -> Sorted<'a> {
    let mut by_name: Vec<Vec<Item>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for item in candidates {
        let place = *places.entry(item.name()).or_insert_with(|| {
            by_name.push(Vec::new());
            by_name.len() - 1
        });
        by_name[place].push(item);
    }
    let mut sorted = Sorted::default();
    for mut parts in by_name {
        sorted.hidden.extend(parts.iter().map(|part| Named::from(&part.keys)));
        let manifests = parts.iter().flat_map(|part| &part.keys.manifests);
        let related = manifests.filter(|manifest| is_related(direction, subjects, manifest));
        let related: HashSet<String> = related.map(|manifest| manifest.digest.to_string()).collect();
        let shows_just_these = |part: &Item| {
            let shown: HashSet<&str> = part.keys.manifests.iter().map(|manifest| &*manifest.digest).collect();
            shown.len() == related.len() && shown.iter().all(|digest| related.contains(*digest))
        };
        if related.is_empty() {
            continue;
        }
        match parts.iter().position(shows_just_these) {
            Some(place) => sorted.whole.push(parts.swap_remove(place)),
            None => {
                let first = parts.swap_remove(0);
                sorted.partial.push(Partial { found: (first, parts), related });
            }
        }
    }
    sorted
}

/// Why an index cannot be shown yet.
#[derive(Debug, PartialEq, Eq)]
pub enum Lacks {
    /// It has to be seen with this manifest alone.
    First(String),
    /// Whether these say when they were made.
    Annotations(Bytes),
    /// The image is another one by now.
    Image,
}

/// What is known of the annotations of an index.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Annotations {
    /// Nothing yet.
    #[default]
    Unknown,
    /// Nothing, and there are too many to read them all.
    NotToBeHad,
    /// All that matters.
    Known(Annotated),
}

impl<'a> Partial<'a> {
    /// The index of the node that has it.
    pub fn node(&self) -> usize {
        self.found.0.node
    }

    /// The repository.
    pub fn repository(&self) -> &str {
        &self.found.0.keys.repository
    }

    /// Where it is in a list that its node was asked for.
    pub fn found_by(&self, value: &str) -> Place {
        (self.node(), value.to_owned(), self.found.0.name())
    }

    /// The index with the related manifests only, given the whole of it, and what it is with the first of them alone if
    /// that was asked. `names` are the client's keys and their names in
    /// the schema, for each alias of the list.
    ///
    /// # Errors
    ///
    /// What is lacking; or the items are none.
    pub fn shown(
        &self,
        whole: &Item<'a>,
        alone: Option<&Item<'a>>,
        annotated: Annotations,
        names: &[Vec<(String, String)>],
    ) -> Result<Result<Item<'a>, Lacks>, BadPart> {
        let manifests = &whole.keys.manifests;
        let shown: Vec<usize> =
            (0..manifests.len()).filter(|&index| self.related.contains(&*manifests[index].digest)).collect();
        let Some(&first) = shown.first().filter(|_| whole.keys.digest == self.found.0.keys.digest) else {
            return Ok(Err(Lacks::Image));
        };
        let places = |item: &Item| -> Vec<usize> {
            let has = |digest: &str| item.keys.manifests.iter().any(|manifest| manifest.digest == digest);
            (0..manifests.len()).filter(|&index| has(&manifests[index].digest)).collect()
        };
        let seen: Vec<(Vec<usize>, &Item)> = std::iter::once(whole)
            .chain(alone)
            .chain([&self.found.0])
            .chain(&self.found.1)
            .map(|item| (places(item), item))
            .collect();
        let observations: Vec<Observation> = seen
            .iter()
            .map(|(shown, item)| Observation { shown: shown.clone(), updated: Time::read(item.keys.updated_text) })
            .collect();
        let updates: Vec<Time> =
            manifests.iter().map(|manifest| Time::read(manifest.updated.map_or("null", RawValue::get))).collect();
        // What the first manifest shown is annotated with stands in the fields of the index.
        let alike = seen.iter().find(|(places, _)| places.first() == Some(&first)).map(|(_, item)| *item);
        // Of very many, the fields of the whole index are the best guess.
        let alike = alike.or((annotated == Annotations::NotToBeHad).then_some(whole));
        let Some(alike) = alike else { return Ok(Err(Lacks::First(manifests[first].digest.to_string()))) };
        let updated = match (possible(&updates, &observations, &shown).as_slice(), annotated) {
            (&[updated], _) | (&[updated, ..], Annotations::NotToBeHad) => updated,
            (_, Annotations::Known(annotated)) => decided(&updates, &observations, &shown, annotated),
            _ => {
                let digests = [&whole.keys.digest, &manifests[first].digest, &manifests[first].config];
                return Ok(Err(Lacks::Annotations(Bytes {
                    node: whole.node,
                    repository: whole.keys.repository.to_string(),
                    digests: digests.map(ToString::to_string),
                })));
            }
        };
        let size = shown.iter().fold(0_u64, |size, &index| size.saturating_add(size_of(&manifests[index])));
        let mut texts = Vec::with_capacity(alike.texts.len());
        for (alias, (like, all)) in alike.texts.iter().zip(&whole.texts).enumerate() {
            let names = names.get(alias).map(Vec::as_slice).unwrap_or_default();
            texts.push(Cow::Owned(rewritten(like, all, names, &shown, &format!("\"{size}\""), updated.text)?));
        }
        let mut keys = alike.keys.clone();
        keys.updated = updated.at;
        keys.manifests = shown.iter().map(|&index| manifests[index].clone()).collect();
        Ok(Ok(Item::new(alike.node, keys, texts)))
    }
}

/// The image `like` with the manifests that `all` has at the places `shown`, and the size and time that follow from them.
fn rewritten(
    like: &str,
    all: &str,
    names: &[(String, String)],
    shown: &[usize],
    size: &str,
    updated: &str,
) -> Result<String, BadPart> {
    let Members(members) = serde_json::from_str(like)?;
    let Members(whole) = serde_json::from_str(all)?;
    let mut text = String::with_capacity(all.len());
    text.push('{');
    for (key, raw) in members {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&serde_json::Value::from(&*key).to_string());
        text.push(':');
        let name = names.iter().find(|(known, _)| *known == key).map(|(_, name)| name.as_str());
        match name {
            Some("Size") => text.push_str(size),
            Some("LastUpdated") => text.push_str(updated),
            Some("Manifests") => {
                let manifests = whole.iter().find(|(known, _)| *known == key).map(|(_, raw)| raw.get());
                let manifests: Vec<&RawValue> = serde_json::from_str(manifests.unwrap_or("[]"))?;
                let shown = shown.iter().filter_map(|&index| manifests.get(index)).map(|raw| raw.get());
                text.push('[');
                text.push_str(&shown.collect::<Vec<_>>().join(","));
                text.push(']');
            }
            _ => text.push_str(raw.get()),
        }
    }
    text.push('}');
    Ok(text)
}

/// What a manifest adds to the size of its index (bytes): a blob that it refers to twice counts once there, though twice
/// in the manifest's own size (zot `pkg/extensions/search/convert/metadb.go`, `getImageBlobsInfo`).
fn size_of(manifest: &Manifest) -> u64 {
    let number = |text: &str| text.parse::<u64>().unwrap_or_default();
    let mut known = HashSet::from([&*manifest.config]);
    let layers = manifest.layers.as_deref().unwrap_or_default();
    // Of a digest the last size counts, which is the size of all others unless the manifest lies.
    let twice = layers.iter().filter(|layer| !known.insert(&layer.digest)).map(|layer| number(&layer.size));
    number(&manifest.size).saturating_sub(twice.fold(0, u64::saturating_add))
}
