//! `CVEDiffListForImages`: what one image has and another one has not.

use super::list::{Wanted, cves, page, shown};
use super::{Cve, Reports, Summary};
use crate::demo::meta::{Image, ManifestMeta};
use crate::demo::oci::Platform;
use crate::demo::search::{
    Answered, Arguments, Call, Failure, Found, Page, find_images, object, page_info, summary_value, text,
};
use async_graphql::Value;
use std::collections::{BTreeMap, BTreeSet};

/// An image as it is given, and as it is answered.
#[derive(Clone, Debug, Default)]
struct Named {
    repo: String,
    tag: String,
    digest: Option<String>,
    /// Operating system and architecture, each of which may be absent.
    platform: Option<(Option<String>, Option<String>)>,
}

impl Named {
    fn read(arguments: &Arguments, name: &str) -> Self {
        let Some(Value::Object(given)) = arguments.get(name) else { return Self::default() };
        let optional = |given: &Arguments, name: &str| match given.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            _ => None,
        };
        let platform = match given.get("Platform") {
            Some(Value::Object(platform)) => Some((optional(platform, "Os"), optional(platform, "Arch"))),
            _ => None,
        };
        Self {
            repo: text(given, "Repo").to_owned(),
            tag: text(given, "Tag").to_owned(),
            digest: optional(given, "Digest"),
            platform,
        }
    }

    /// Operating system and architecture, if both are given.
    fn whole_platform(&self) -> Option<(&str, &str)> {
        let (os, arch) = self.platform.as_ref()?;
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if given(os) && given(arch) { Some((os.as_deref()?, arch.as_deref()?)) } else { None }
    }

    /// What it is called in complaints.
    fn called(&self) -> String {
        let mut name = if self.repo.is_empty() { "<empty>".to_owned() } else { self.repo.clone() };
        let digest = self.digest.as_deref().unwrap_or_default();
        if !self.tag.is_empty() {
            name = format!("{name}:{}", self.tag);
        } else if !digest.is_empty() {
            name = format!("{name}@{digest}");
        }
        match self.whole_platform() {
            Some((os, arch)) => format!("{name} ({os}/{arch})"),
            None => name,
        }
    }

    fn shown(&self) -> Value {
        let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::String);
        let platform = match &self.platform {
            Some((os, arch)) => object([("Os", text(os)), ("Arch", text(arch))]),
            None => Value::Null,
        };
        object([
            ("Repo", Value::String(self.repo.clone())),
            ("Tag", Value::String(self.tag.clone())),
            ("Digest", text(&self.digest)),
            ("Platform", platform),
        ])
    }

    /// The same image with the digest of one manifest. A plain image has but one, whatever digest is given; of an index it
    /// is the first that has the digest or the platform (`resolveImageData`).
    fn resolved(mut self, call: &Call<'_>) -> Result<Self, String> {
        if self.repo.is_empty() {
            return Err("repo name can't be empty string".to_owned());
        }
        if self.tag.is_empty() {
            return Err("tag can't be empty string".to_owned());
        }
        let repo = call.meta.repos.get_key_value(&self.repo);
        let (name, repo) = repo.ok_or("repo metadata not found for given repo name")?;
        let found = Found::whole(call, name, repo, &self.tag).ok_or("image not found")?;
        if let Image::Manifest(manifest) = found.image {
            self.digest = Some(manifest.digest.clone());
            return Ok(self);
        }
        let digest = self.digest.clone().unwrap_or_default();
        if digest.is_empty() && self.whole_platform().is_none() {
            return Err("input is not specific enough: platform or specific manifest digest needed".to_owned());
        }
        let (os, arch) = self.platform.clone().unwrap_or_default();
        let (os, arch) = (os.unwrap_or_default(), arch.unwrap_or_default());
        for manifest in &found.manifests {
            let platform = found.platform(manifest);
            if manifest.digest == digest || (platform.os == os && arch_of(&platform) == arch) {
                self.digest = Some(manifest.digest.clone());
                self.platform = Some((Some(platform.os.clone()), Some(arch_of(&platform))));
                return Ok(self);
            }
        }
        Err("image not found".to_owned())
    }
}

/// A variant without an architecture is dropped here.
fn arch_of(platform: &Platform) -> String {
    if platform.architecture.is_empty() { String::new() } else { platform.arch() }
}

/// `CVEDiffListForImages`.
pub fn for_images(call: &Call<'_>, reports: &Reports, arguments: &Arguments) -> Answered {
    let (minuend, subtrahend) = (Named::read(arguments, "minuend"), Named::read(arguments, "subtrahend"));
    let complain =
        |which: &str, image: &Named, what: String| Failure::Said(format!("{which} image {}: {what}", image.called()));
    if minuend.repo.is_empty() {
        return Err(complain("minuend", &minuend, "repo name can't be empty string".to_owned()));
    }
    if !call.may_read(&minuend.repo) {
        return Ok(object([]));
    }
    let minuend = minuend.clone().resolved(call).map_err(|what| complain("minuend", &minuend, what))?;
    let digest = minuend.digest.clone().unwrap_or_default();
    let (shown_subtrahend, subtrahend) = if subtrahend.repo.is_empty() {
        match base(call, &minuend, &digest)? {
            Some(base) => (base.shown(), base),
            // Nothing found: nothing is shown, and nothing will be found under no name.
            None => (Named::default().shown(), subtrahend),
        }
    } else {
        if !call.may_read(&subtrahend.repo) {
            return Ok(object([]));
        }
        let resolved = subtrahend.clone().resolved(call).map_err(|what| complain("subtrahend", &subtrahend, what))?;
        (resolved.shown(), resolved)
    };
    let wanted = Wanted { severity: "", ..Wanted::read(arguments) };
    let of = |image: &Named| -> Result<BTreeMap<String, Cve>, Failure> {
        let digest = image.digest.as_deref().unwrap_or_default();
        let mut found = cves(call, reports, &image.repo, digest)?.unwrap_or_default();
        found.retain(|_, cve| wanted.includes(cve));
        Ok(found)
    };
    let mut left = of(&minuend)?;
    let taken = of(&subtrahend)?;
    left.retain(|id, _| !taken.contains_key(id));
    let summary = Summary::of(left.values(), "");
    let (on_page, _) = page(&Page::read(arguments, "SEVERITY"), left.into_values().collect())?;
    Ok(object([
        ("Minuend", minuend.shown()),
        ("Subtrahend", shown_subtrahend),
        ("Summary", summary_value(&summary)),
        ("CVEList", Value::List(on_page.iter().map(|cve| shown(cve, false)).collect())),
        // zot does not fill it in.
        ("Page", page_info(0, 0)),
    ]))
}

/// The image of the same repository that has most layers in common with a manifest and none besides; of several any.
fn base(call: &Call<'_>, minuend: &Named, digest: &str) -> Result<Option<Named>, Failure> {
    let manifests: Vec<_> = match call.meta.images.get(digest) {
        Some(Image::Manifest(manifest)) => vec![std::sync::Arc::clone(manifest)],
        Some(Image::Index(index)) => call.meta.contained(&index.index),
        None => return Ok(None),
    };
    let layers = |manifest: &ManifestMeta| -> BTreeSet<String> {
        manifest.manifest.layers.iter().map(|layer| layer.digest.clone()).collect()
    };
    let is_base = |candidate: &ManifestMeta| {
        let own = layers(candidate);
        !manifests.iter().any(|manifest| manifest.digest == candidate.digest)
            && manifests.iter().any(|manifest| own.is_subset(&layers(manifest)))
    };
    let mut candidates = find_images(call, |name, _| name == minuend.repo, |_, _, manifest| is_base(manifest));
    call.ties.fresh().order(&mut candidates);
    let whole = manifests.first().map(|manifest| layers(manifest)).unwrap_or_default();
    let (mut most, mut best) = (0, None);
    for candidate in &candidates {
        let Some(first) = candidate.manifests.first() else { continue };
        for manifest in &candidate.manifests {
            let common = manifest.manifest.layers.iter().filter(|layer| whole.contains(&layer.digest)).count();
            if common > most {
                most = common;
                let platform = &first.config.platform;
                best = Some(Named {
                    repo: candidate.name.to_owned(),
                    tag: candidate.tag.to_owned(),
                    digest: Some(first.digest.clone()),
                    platform: Some((Some(platform.os.clone()), Some(arch_of(platform)))),
                });
            }
        }
    }
    Ok(best)
}
