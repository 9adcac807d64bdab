//! Reading items: the hidden fields decoded, the rest of each item left as the bytes that the node wrote.

use super::BadPart;
use crate::query::{FanOut, RESERVED};
use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// One node's result: its members, in their order.
pub struct NodePart<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> NodePart<'a> {
    /// Reads a result and the items of its list, which are those of the node at this index.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn read(fan_out: &FanOut, node: usize, result: &'a RawValue) -> Result<(NodePart<'a>, Vec<Item<'a>>), BadPart> {
        let Members(members) = serde_json::from_str(result.get())?;
        let part = NodePart { members };
        let with_keys = part.list(&fan_out.list)?;
        let mut items = Vec::with_capacity(with_keys.len());
        for raw in &with_keys {
            items.push(Item::read(node, raw)?);
        }
        for key in fan_out.list_keys() {
            // The list with the hidden fields has been read; the same items stand under other aliases with other members.
            let list = if *key == fan_out.list { Vec::new() } else { part.list(key)? };
            if *key != fan_out.list && list.len() != items.len() {
                return Err(BadPart("one list is of two lengths under two aliases".to_owned()));
            }
            for (index, item) in items.iter_mut().enumerate() {
                let own = || std::mem::take(&mut item.own);
                let text = list.get(index).map_or_else(own, |raw| Cow::Borrowed(raw.get()));
                item.texts.push(text);
            }
        }
        Ok((part, items))
    }

    /// A member as it was written.
    pub fn raw(&self, key: &str) -> &'a str {
        self.members.iter().find(|(name, _)| name == key).map_or("null", |(_, raw)| raw.get())
    }

    fn list(&self, key: &str) -> Result<Vec<&'a RawValue>, BadPart> {
        let list: Option<Vec<&RawValue>> = serde_json::from_str(self.raw(key))?;
        Ok(list.unwrap_or_default())
    }
}

/// An item and what it is sorted by.
pub struct Item<'a> {
    /// The index of the node whose item it is.
    pub node: usize,
    /// The hidden members.
    pub keys: Keys<'a>,
    /// The item as the client asked for it, once for each alias of the list.
    pub texts: Vec<Cow<'a, str>>,
    /// The item of the list with the hidden members, without them.
    own: Cow<'a, str>,
}

impl<'a> Item<'a> {
    /// An item that was put together.
    pub fn new(node: usize, keys: Keys<'a>, texts: Vec<Cow<'a, str>>) -> Item<'a> {
        Item { node, keys, texts, own: Cow::default() }
    }

    /// The item without the hidden members, where it has been read by itself.
    pub fn own(&self) -> &str {
        &self.own
    }

    /// `repository:tag`, which no other item of a registry has.
    pub fn name(&self) -> String {
        format!("{}:{}", self.keys.repository, self.keys.tag.as_deref().unwrap_or_default())
    }

    /// Reads an item in front of whose members the hidden ones stand.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn read(node: usize, raw: &'a RawValue) -> Result<Item<'a>, BadPart> {
        let keys: Keys = serde_json::from_str(raw.get())?;
        // The hidden members come first, as they were asked for first.
        let rest = raw.get()[keys.end(raw)..].trim_start();
        let own = match rest.strip_prefix(',') {
            Some(rest) => Cow::Owned(format!("{{{rest}")),
            None => Cow::Borrowed("{}"),
        };
        Ok(Item { node, keys, texts: Vec::new(), own })
    }
}

/// The hidden members of an item.
#[derive(Default, Clone)]
pub struct Keys<'a> {
    /// The repository.
    pub repository: Cow<'a, str>,
    /// The tag; repositories have none.
    pub tag: Option<Cow<'a, str>>,
    /// The digest of the image.
    pub digest: Cow<'a, str>,
    /// When it was made; `None` if that is unknown.
    pub updated: Option<Timestamp>,
    /// The same as the node wrote it.
    pub updated_text: &'a str,
    /// How often it was pulled.
    pub downloads: i64,
    /// The rank in a search.
    pub rank: i64,
    /// The manifests of the image.
    pub manifests: Vec<Manifest<'a>>,
    /// The newest image of a repository.
    pub newest: Option<NewestImage<'a>>,
    /// The platforms of a repository.
    pub platforms: Vec<Platform<'a>>,
    /// Whether the client has starred a repository.
    pub is_starred: bool,
    /// Whether the client has bookmarked a repository.
    pub is_bookmarked: bool,
    /// The value of the last of them.
    last: Option<&'a RawValue>,
}

impl Keys<'_> {
    /// Where the hidden members end in the item.
    fn end(&self, item: &RawValue) -> usize {
        self.last.map_or(1, |last| last.get().as_ptr() as usize - item.get().as_ptr() as usize + last.get().len())
    }
}

/// What is known of the newest image of a repository.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub struct NewestImage<'a> {
    /// When it was made, as the node wrote it.
    #[serde(borrow, rename = "LastUpdated", default)]
    pub updated: Option<&'a RawValue>,
    /// When it got its tag, as the node wrote it.
    #[serde(borrow, rename = "TaggedTimestamp", default)]
    pub tagged: Option<&'a RawValue>,
    /// Whether it is signed.
    #[serde(rename = "IsSigned", default)]
    pub is_signed: bool,
}

impl NewestImage<'_> {
    /// What the newest has most of: when it was made; of equal times, the one that was tagged first (zot
    /// `pkg/meta/common`, `AddImageMetaToRepoMeta`).
    pub fn age(&self) -> (Option<Timestamp>, std::cmp::Reverse<Option<Timestamp>>) {
        let time = |raw: Option<&RawValue>| raw.and_then(|raw| time_of(raw.get()));
        (time(self.updated), std::cmp::Reverse(time(self.tagged)))
    }
}

/// An operating system and an architecture.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Platform<'a> {
    /// The operating system.
    #[serde(borrow, rename = "Os", default)]
    pub os: Cow<'a, str>,
    /// The architecture.
    #[serde(borrow, rename = "Arch", default)]
    pub arch: Cow<'a, str>,
}

/// A manifest of an image.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Manifest<'a> {
    /// The digest.
    #[serde(borrow, rename = "Digest")]
    pub digest: Cow<'a, str>,
    /// The digest of the configuration.
    #[serde(borrow, rename = "ConfigDigest", default)]
    pub config: Cow<'a, str>,
    /// What it takes with all it refers to (bytes).
    #[serde(borrow, rename = "Size", default)]
    pub size: Cow<'a, str>,
    /// When it was made, as the node wrote it.
    #[serde(borrow, rename = "LastUpdated", default)]
    pub updated: Option<&'a RawValue>,
    /// The layers, in their order.
    #[serde(borrow, rename = "Layers", default)]
    pub layers: Option<Vec<Layer<'a>>>,
}

/// A layer of a manifest.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Layer<'a> {
    /// The digest.
    #[serde(borrow, rename = "Digest")]
    pub digest: Cow<'a, str>,
    /// What it takes (bytes).
    #[serde(borrow, rename = "Size", default)]
    pub size: Cow<'a, str>,
}

impl Manifest<'_> {
    /// The digests of the layers, in their order.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = &str> {
        self.layers.as_deref().unwrap_or_default().iter().map(|layer| &*layer.digest)
    }
}

/// A time as zot writes it; `None` if there is none. The year 1 is how Go writes that.
pub fn time_of(text: &str) -> Option<Timestamp> {
    text.trim_matches('"').parse().ok().filter(|time| *time > GO_ZERO)
}

impl<'de> Deserialize<'de> for Keys<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keys<'de>, D::Error> {
        struct Hidden;

        impl<'de> Visitor<'de> for Hidden {
            type Value = Keys<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an item of a list")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys<'de>, A::Error> {
                let mut keys = Keys::default();
                while let Some(Text(name)) = map.next_key()? {
                    let Some(name) = name.strip_prefix(RESERVED) else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    let raw: &'de RawValue = map.next_value()?;
                    let error = serde::de::Error::custom;
                    match name {
                        "RepoName" | "Name" => {
                            keys.repository = read::<Option<Text>>(raw).map_err(error)?.unwrap_or_default().0
                        }
                        "Tag" => keys.tag = read::<Option<Text>>(raw).map_err(error)?.map(|text| text.0),
                        "DownloadCount" => {
                            keys.downloads = read::<Option<i64>>(raw).map_err(error)?.unwrap_or_default()
                        }
                        "Rank" => keys.rank = read::<Option<i64>>(raw).map_err(error)?.unwrap_or_default(),
                        "LastUpdated" => {
                            keys.updated_text = raw.get();
                            keys.updated = time_of(raw.get());
                        }
                        "NewestImage" => keys.newest = read(raw).map_err(error)?,
                        "Platforms" => {
                            keys.platforms = read::<Option<Vec<Platform>>>(raw).map_err(error)?.unwrap_or_default();
                        }
                        "IsStarred" => keys.is_starred = read::<Option<bool>>(raw).map_err(error)?.unwrap_or_default(),
                        "IsBookmarked" => {
                            keys.is_bookmarked = read::<Option<bool>>(raw).map_err(error)?.unwrap_or_default();
                        }
                        "Digest" => keys.digest = read::<Option<Text>>(raw).map_err(error)?.unwrap_or_default().0,
                        "Manifests" => {
                            keys.manifests = read::<Option<Vec<Manifest>>>(raw).map_err(error)?.unwrap_or_default();
                        }
                        _ => {}
                    }
                    keys.last = Some(raw);
                }
                Ok(keys)
            }
        }

        deserializer.deserialize_map(Hidden)
    }
}

fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, serde_json::Error> {
    serde_json::from_str(raw.get())
}

/// Go's zero time: the first second of the year 1.
const GO_ZERO: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// A string that borrows where it can.
#[derive(Default, serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of an object, in their order.
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(All)
    }
}
