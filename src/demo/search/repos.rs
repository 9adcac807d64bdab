//! The queries about repositories.

use super::find::Found;
use super::page::{Sortable, check_common, of};
use super::{Answered, Arguments, Call, Failure, Filter, Page, Remarks, object, page_info, summary, text};
use super::{page, vulnerabilities};
use crate::demo::meta::{Marks, Repo};
use crate::demo::time::{self, Time};
use async_graphql::{Name, Value};
use std::collections::BTreeSet;

/// A repository on its way to a page.
#[derive(Debug)]
pub struct Listed<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is known of it.
    pub repo: &'a Repo,
    /// How well it fits.
    pub rank: i64,
}

impl Sortable for Listed<'_> {
    fn name(&self) -> (&str, &str) {
        (self.name, "")
    }

    /// The latest of the newest image and the births of all tags.
    fn updated(&self) -> Time {
        let newest = self.repo.newest.as_ref().and_then(|newest| newest.updated);
        let tagged = self.repo.tags.values().filter_map(|tag| tag.tagged);
        newest.into_iter().chain(tagged).max().unwrap_or_else(time::zero)
    }

    fn downloads(&self) -> i64 {
        self.repo.downloads()
    }

    fn rank(&self) -> Option<i64> {
        Some(self.rank)
    }
}

impl<'a> Listed<'a> {
    fn newest(&self, call: &Call<'a>) -> Option<Found<'a>> {
        let newest = self.repo.newest.as_ref()?;
        let tagged = self.repo.tags.get(&newest.tag).and_then(|tag| tag.tagged);
        Found::of(call, self.name, self.repo, &newest.tag, tagged, &newest.digest)
    }

    fn passes(&self, call: &Call<'a>, marks: &Marks, filter: &Filter) -> bool {
        if filter.signed && !self.newest(call).is_some_and(|newest| newest.is_signed()) {
            return false;
        }
        let differs = |wanted: Option<bool>, marked: &BTreeSet<String>| {
            wanted.is_some_and(|wanted| wanted != marked.contains(self.name))
        };
        if differs(filter.bookmarked, &marks.bookmarks) || differs(filter.starred, &marks.stars) {
            return false;
        }
        let platforms = self.repo.platforms.iter().map(|platform| (platform.os.clone(), platform.arch()));
        filter.takes(&platforms.collect::<Vec<_>>())
    }

    /// `RepoSummary`.
    fn summary(&self, call: &Call<'a>, marks: &Marks, vulnerable: bool, remarks: &mut Remarks) -> Value {
        let newest = self.newest(call).map_or(Value::Null, |found| {
            let candidates = summary::candidates(vec![found], &mut Remarks::new());
            let mut shown = candidates.iter().map(|newest| vulnerabilities::image(call, newest, vulnerable, remarks));
            shown.next().unwrap_or(Value::Null)
        });
        // Out of a map, once and for all in one process.
        let mut platforms: Vec<Value> = self.repo.platforms.iter().map(summary::platform).collect();
        call.ties.lasting().order(&mut platforms);
        let mut vendors: Vec<Value> = self.repo.vendors.iter().map(|vendor| Value::from(vendor.as_str())).collect();
        call.ties.lasting().order(&mut vendors);
        object([
            ("Name", Value::from(self.name)),
            ("LastUpdated", summary::moment(self.updated())),
            ("Size", Value::String(self.repo.size.to_string())),
            ("Platforms", Value::List(platforms)),
            ("Vendors", Value::List(vendors)),
            ("NewestImage", newest),
            ("DownloadCount", Value::from(self.repo.downloads())),
            ("StarCount", Value::from(self.repo.stars)),
            ("IsBookmarked", Value::from(marks.bookmarks.contains(self.name))),
            ("IsStarred", Value::from(marks.stars.contains(self.name))),
            ("Rank", Value::from(self.rank)),
        ])
    }
}

/// A page of repositories.
pub fn listed<'a>(
    call: &Call<'a>,
    page: &Page,
    filter: &Filter,
    mut repos: Vec<Listed<'a>>,
    vulnerable: bool,
    remarks: &mut Remarks,
) -> Result<(Vec<Value>, Value), Failure> {
    check_common(page)?;
    let marks = call.meta.marks(call.user);
    // Histories are remarked on even if their repository is not on the page.
    for newest in repos.iter().filter_map(|listed| listed.newest(call)) {
        summary::candidates(vec![newest], remarks);
    }
    repos.retain(|listed| listed.passes(call, &marks, filter));
    // Unlike images, repositories come in a fixed order: their ties stay the same in one process.
    let (on_page, total) = of(page, repos, call.ties.lasting())?;
    let items: Vec<Value> = on_page.iter().map(|listed| listed.summary(call, &marks, vulnerable, remarks)).collect();
    let info = page_info(total, items.len());
    Ok((items, info))
}

fn paginated<'a>(call: &Call<'a>, arguments: &Arguments, repos: Vec<Listed<'a>>, remarks: &mut Remarks) -> Answered {
    let page = Page::read(arguments, "UPDATE_TIME");
    let vulnerable = call.wants("Results.NewestImage.Vulnerabilities");
    let (items, info) = listed(call, &page, &Filter::default(), repos, vulnerable, remarks)?;
    Ok(object([("Page", info), ("Results", Value::List(items))]))
}

/// The repositories with a tag that may be read and whose names fit a text (`SearchRepos`).
pub fn search<'a>(call: &Call<'a>, text: &str) -> Vec<Listed<'a>> {
    let readable = call.meta.repos.iter().filter(|(name, repo)| call.may_read(name) && !repo.tags.is_empty());
    readable.filter_map(|(name, repo)| Some(Listed { name, repo, rank: super::global::rank(text, name)? })).collect()
}

/// `RepoListWithNewestImage`: the search for nothing, in which everything has the rank 1.
pub fn newest(call: &Call<'_>, arguments: &Arguments, remarks: &mut Remarks) -> Answered {
    paginated(call, arguments, search(call, ""), remarks)
}

/// `StarredRepos` and `BookmarkedRepos`: rank 0, and repositories without a tag too.
pub fn marked(
    call: &Call<'_>,
    arguments: &Arguments,
    remarks: &mut Remarks,
    which: impl Fn(&Marks) -> &BTreeSet<String>,
) -> Answered {
    let marks = if call.user.is_empty() { Marks::default() } else { call.meta.marks(call.user) };
    let marked = which(&marks);
    let readable = call.meta.repos.iter().filter(|(name, _)| marked.contains(*name) && call.may_read(name));
    let repos = readable.map(|(name, repo)| Listed { name, repo, rank: 0 }).collect();
    paginated(call, arguments, repos, remarks)
}

/// `ExpandedRepoInfo`: all there is, newest first. Only here are images told to be deletable or not.
pub fn expanded(call: &Call<'_>, arguments: &Arguments, remarks: &mut Remarks) -> Answered {
    let name = text(arguments, "repo");
    if !call.may_read(name) {
        return Ok(object([]));
    }
    let unknown = "repo metadata not found for given repo name";
    let (name, repo) = call.meta.repos.get_key_value(name).ok_or(unknown)?;
    let vulnerable = call.wants("Summary.NewestImage.Vulnerabilities") || call.wants("Images.Vulnerabilities");
    let found = repo.tags.keys().filter_map(|tag| Found::whole(call, name, repo, tag)).collect();
    let candidates = summary::candidates(found, remarks);
    let order = Page { limit: 0, offset: 0, sort: "UPDATE_TIME".to_owned() };
    let (sorted, _) = page::of(&order, candidates, call.ties.fresh())?;
    let deletable = call.access.allows(call.user, "delete", name);
    let images = sorted.iter().map(|candidate| {
        let mut image = vulnerabilities::image(call, candidate, vulnerable, remarks);
        if let Value::Object(fields) = &mut image {
            fields.insert(Name::new("IsDeletable"), Value::from(deletable));
        }
        image
    });
    let images = images.collect();
    let listed = Listed { name, repo, rank: 0 };
    // What the newest image was, it may be no longer: only what has a tag is shown.
    let is_tagged = |digest: &str| repo.tags.values().any(|tag| tag.digest == digest);
    let mut shown = listed.summary(call, &call.meta.marks(call.user), vulnerable, remarks);
    if let (Value::Object(fields), Some(newest)) = (&mut shown, &repo.newest)
        && !is_tagged(&newest.digest)
    {
        fields.insert(Name::new("NewestImage"), Value::Null);
    }
    Ok(object([("Images", Value::List(images)), ("Summary", shown)]))
}
