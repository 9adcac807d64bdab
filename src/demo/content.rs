//! Filling a node with content that was recorded, or made up in the same form.

use super::meta::Change;
use super::registry::Registry;
use super::time::{self, Time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use std::collections::BTreeMap;

/// When the first push happened: the day of the recordings, so that whatever is pushed later is newer.
const BEGINNING: &str = "2026-11-22T20:00:00Z";

/// Repositories, and what happened to them.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Content {
    /// All manifests by digest.
    #[serde(default)]
    pub manifests: BTreeMap<String, ManifestContent>,
    /// The pushes in their order. The manifests of an index are pushed before it, those that are not listed too.
    #[serde(default)]
    pub pushes: Vec<Push>,
    /// The pulls.
    #[serde(default)]
    pub pulls: Vec<Pull>,
    /// Who starred what.
    #[serde(default)]
    pub stars: Vec<Mark>,
    /// Who bookmarked what.
    #[serde(default)]
    pub bookmarks: Vec<Mark>,
    /// The bytes of every manifest and blob by digest.
    #[serde(skip)]
    pub bytes: BTreeMap<String, Bytes>,
}

/// What belongs to a manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestContent {
    /// Its media type.
    pub media_type: String,
    /// Its configuration and layers.
    #[serde(default)]
    pub blobs: Vec<String>,
    /// The manifests of an index.
    #[serde(default)]
    pub children: Vec<String>,
}

/// A push.
#[derive(Clone, Debug, Deserialize)]
pub struct Push {
    /// The repository.
    pub repository: String,
    /// The tag or digest.
    pub reference: String,
    /// The digest of the manifest.
    pub digest: String,
    /// Who pushed.
    pub user: String,
}

/// Some pulls of one manifest.
#[derive(Clone, Debug, Deserialize)]
pub struct Pull {
    /// The repository.
    pub repository: String,
    /// The tag or digest.
    pub reference: String,
    /// How many.
    pub times: u32,
}

/// A star or bookmark.
#[derive(Clone, Debug, Deserialize)]
pub struct Mark {
    /// The user.
    pub user: String,
    /// The repository.
    pub repository: String,
}

/// Something that happened, here or elsewhere.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A push.
    Push(&'a Push),
    /// Some pulls.
    Pull(&'a Pull),
    /// A star or bookmark.
    Mark(&'a Mark),
}

impl Event<'_> {
    /// The repository.
    pub fn repository(&self) -> &str {
        match self {
            Event::Push(push) => &push.repository,
            Event::Pull(pull) => &pull.repository,
            Event::Mark(mark) => &mark.repository,
        }
    }
}

/// Content that does not fit together.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Not in the form that is expected.
    #[error("the content cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    /// Not base64.
    #[error("the bytes of {0} are not base64")]
    Base64(String),
    /// A digest for which there is nothing.
    #[error("there is nothing with the digest {0}")]
    Missing(String),
    /// A manifest that is not taken.
    #[error("{0} does not take {1}")]
    Refused(String, String),
}

impl Content {
    /// Reads content from its two parts: what there is and what happened, and the bytes.
    pub fn read(content: &[u8], bytes: &[u8]) -> Result<Self, ContentError> {
        let mut read: Self = serde_json::from_slice(content)?;
        let encoded: BTreeMap<String, String> = serde_json::from_slice(bytes)?;
        for (digest, text) in encoded {
            let decoded = STANDARD.decode(text).map_err(|_| ContentError::Base64(digest.clone()))?;
            read.bytes.insert(digest, decoded.into());
        }
        Ok(read)
    }

    /// Does to a registry what happened there. The times are the same for every registry,
    /// so that a fleet that shares the content out has the times that one registry with all of it has.
    pub(super) fn load(&self, registry: &Registry, happened: impl Fn(Event<'_>) -> bool) -> Result<(), ContentError> {
        let mut now = time::parse(BEGINNING).unwrap_or_else(time::epoch);
        for push in &self.pushes {
            now = time::after(now, 1);
            if happened(Event::Push(push)) {
                self.push(registry, push, now)?;
            }
        }
        registry.with(|state| {
            for pull in &self.pulls {
                if !happened(Event::Pull(pull)) {
                    now = time::after(now, i64::from(pull.times));
                    continue;
                }
                let Ok((entry, body)) = state.store.manifest(&pull.repository, &pull.reference) else {
                    return Err(ContentError::Missing(format!("{}:{}", pull.repository, pull.reference)));
                };
                let (media_type, digest, body) = (entry.media_type.clone(), entry.digest.clone(), body.clone());
                let change = Change {
                    repository: &pull.repository,
                    reference: &pull.reference,
                    media_type: &media_type,
                    digest: &digest,
                    body: &body,
                };
                for _ in 0..pull.times {
                    now = time::after(now, 1);
                    state.meta.pulled(change, now);
                }
            }
            for star in self.stars.iter().filter(|star| happened(Event::Mark(star))) {
                state.meta.toggle_star(&star.user, &star.repository);
            }
            for bookmark in self.bookmarks.iter().filter(|bookmark| happened(Event::Mark(bookmark))) {
                state.meta.toggle_bookmark(&bookmark.user, &bookmark.repository);
            }
            state.told(now);
            Ok(())
        })
    }

    fn bytes(&self, digest: &str) -> Result<&Bytes, ContentError> {
        self.bytes.get(digest).ok_or_else(|| ContentError::Missing(digest.to_owned()))
    }

    fn push(&self, registry: &Registry, push: &Push, now: Time) -> Result<(), ContentError> {
        let known = self.manifests.get(&push.digest).ok_or_else(|| ContentError::Missing(push.digest.clone()))?;
        for child in &known.children {
            if registry.with(|state| state.store.blob(&push.repository, child).is_err()) {
                let child = Push { reference: child.clone(), digest: child.clone(), ..push.clone() };
                self.push(registry, &child, now)?;
            }
        }
        let body = self.bytes(&push.digest)?;
        registry.with(|state| {
            for blob in &known.blobs {
                let put = state.store.put_blob(&push.repository, blob, self.bytes(blob)?.clone());
                put.map_err(|_| ContentError::Refused(push.repository.clone(), blob.clone()))?;
            }
            let refused = || ContentError::Refused(push.repository.clone(), push.reference.clone());
            state
                .store
                .put_manifest(&push.repository, &push.reference, &known.media_type, body, &[])
                .map_err(|_| refused())?;
            let repository = state.store.repository(&push.repository).ok_or_else(refused)?;
            let change = Change {
                repository: &push.repository,
                reference: &push.reference,
                media_type: &known.media_type,
                digest: &push.digest,
                body,
            };
            state.meta.pushed(change, repository, &push.user, now).map_err(|_| refused())
        })
    }
}
