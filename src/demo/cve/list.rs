//! `CVEListForImage`, and what the difference of two images shares with it.

use super::{Cve, Cves, Reports, Summary, badness, is_scannable};
use crate::demo::digest;
use crate::demo::search::{
    Answered, Arguments, Call, Failure, Page, check_page, cut, object, page_info, split, summary_value, text,
};
use async_graphql::Value;
use std::cmp::Reverse;

/// The largest page of CVEs.
const LARGEST: i64 = 4096;
const ORDERS: [&str; 3] = ["ALPHABETIC_ASC", "ALPHABETIC_DSC", "SEVERITY"];

/// What CVEs are asked for.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Only those in which this occurs.
    pub searched: &'a str,
    /// And not those in which this does, unless it is empty.
    pub excluded: &'a str,
    /// Only those of this severity, unless it is empty.
    pub severity: &'a str,
}

impl<'a> Wanted<'a> {
    /// What the arguments ask for.
    pub fn read(arguments: &'a Arguments) -> Self {
        Self {
            searched: text(arguments, "searchedCVE"),
            excluded: text(arguments, "excludedCVE"),
            severity: text(arguments, "severity"),
        }
    }

    /// Whether a CVE is among them.
    pub fn includes(&self, cve: &Cve) -> bool {
        (self.severity.is_empty() || badness(&cve.severity) == badness(self.severity))
            && (self.excluded.is_empty() || !mentions(cve, self.excluded))
            && mentions(cve, self.searched)
    }
}

/// Whether a text occurs anywhere in a CVE, in capitals or not.
fn mentions(cve: &Cve, text: &str) -> bool {
    let text = text.to_uppercase();
    let own = [&cve.title, &cve.id, &cve.severity, &cve.reference, &cve.description];
    let of_packages = cve
        .package_list
        .iter()
        .flat_map(|package| [&package.name, &package.fixed_version, &package.installed_version, &package.package_path]);
    own.into_iter().chain(of_packages).any(|part| part.to_uppercase().contains(&text))
}

/// Repository and tag or digest. An `@` says that what follows is a digest, and is not believed.
fn reference(image: &str) -> (&str, &str) {
    image.split_once('@').unwrap_or_else(|| split(image))
}

/// All CVEs of an image; nothing if it cannot be scanned and zot does not say why.
pub fn cves(call: &Call<'_>, reports: &Reports, name: &str, reference: &str) -> Result<Option<Cves>, Failure> {
    // A digest is looked up in the whole registry, whatever the repository.
    let target = if digest::is_digest(reference) {
        reference
    } else {
        let repo = call.meta.repos.get(name).ok_or("repo metadata not found for given repo name")?;
        let tag = repo.tags.get(reference).ok_or("tag metadata not found for given repo and tag names")?;
        &tag.digest
    };
    let image = call.meta.images.get(target).ok_or("manifest not found")?;
    if !is_scannable(call.meta, name, image)? {
        return Ok(None);
    }
    Ok(Some(reports.scan(call.meta, image)?))
}

/// A page of CVEs, and how many there are. The page is checked even if there is nothing.
pub fn page(page: &Page, mut cves: Vec<Cve>) -> Result<(Vec<Cve>, usize), Failure> {
    if page.limit > LARGEST {
        return Err("pagination limit has excessive value".into());
    }
    check_page(page, &ORDERS, "CVEs")?;
    let total = cves.len();
    match &*page.sort {
        "ALPHABETIC_ASC" => cves.sort_by(|one, other| one.id.cmp(&other.id)),
        "ALPHABETIC_DSC" => cves.sort_by(|one, other| other.id.cmp(&one.id)),
        _ => cves.sort_by(|one, other| {
            (Reverse(badness(&one.severity)), &one.id).cmp(&(Reverse(badness(&other.severity)), &other.id))
        }),
    }
    Ok((cut(page, cves)?, total))
}

/// A CVE as it is shown. Differences do not show the paths of packages.
pub fn shown(cve: &Cve, with_paths: bool) -> Value {
    let string = |text: &String| Value::String(text.clone());
    let packages = cve.package_list.iter().map(|package| {
        object([
            ("Name", string(&package.name)),
            ("PackagePath", if with_paths { string(&package.package_path) } else { Value::Null }),
            ("InstalledVersion", string(&package.installed_version)),
            ("FixedVersion", string(&package.fixed_version)),
        ])
    });
    object([
        ("Id", string(&cve.id)),
        ("Title", string(&cve.title)),
        ("Description", string(&cve.description)),
        ("Reference", string(&cve.reference)),
        ("Severity", string(&cve.severity)),
        ("PackageList", Value::List(packages.collect())),
    ])
}

/// `CVEListForImage`.
pub fn for_image(call: &Call<'_>, reports: &Reports, arguments: &Arguments) -> Answered {
    let (name, reference) = reference(text(arguments, "image"));
    if !call.may_read(name) {
        return Ok(object([]));
    }
    if reference.is_empty() {
        return Err("no reference provided".into());
    }
    let asked = Page::read(arguments, "SEVERITY");
    let (on_page, total, summary) = match cves(call, reports, name, reference)? {
        None => (Vec::new(), 0, Summary::default()),
        Some(found) => {
            let wanted = Wanted::read(arguments);
            let fitting = found.values().filter(|cve| wanted.includes(cve)).cloned().collect();
            let (on_page, total) = page(&asked, fitting)?;
            (on_page, total, Summary::of(found.values(), "NONE"))
        }
    };
    let here = on_page.len();
    Ok(object([
        ("Tag", Value::from(reference)),
        ("CVEList", Value::List(on_page.iter().map(|cve| shown(cve, true)).collect())),
        ("Summary", summary_value(&summary)),
        ("Page", page_info(total, here)),
    ]))
}
