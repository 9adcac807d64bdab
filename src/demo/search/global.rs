//! `GlobalSearch`: one text for repositories, images, tags and digests.

use super::arguments::check_length;
use super::find::{Found, find_images};
use super::{Answered, Arguments, Call, Filter, Page, Remarks, images, object, repos, text};
use async_graphql::Value;

/// Answers a search. The form of the text decides what is searched.
pub fn search(call: &Call<'_>, arguments: &Arguments, remarks: &mut Remarks) -> Answered {
    let query = text(arguments, "query");
    let page = Page::read(arguments, "RELEVANCE");
    check_length("query", query)?;
    let filter = Filter::read(arguments)?;
    filter.check()?;
    page.check_early()?;
    let filter = filter.cleaned();
    let query = query.trim().trim_matches('/').to_lowercase();

    let in_images = call.wants("Images.Vulnerabilities");
    let found = if !query.contains([':', '@']) {
        let fitting = repos::search(call, &query);
        let vulnerable = call.wants("Repos.NewestImage.Vulnerabilities");
        let (items, info) = repos::listed(call, &page, &filter, fitting, vulnerable, remarks)?;
        return Ok(result(info, Value::List(Vec::new()), Value::List(items)));
    } else if query.starts_with("sha256:") {
        find_images(call, |_, _| true, |_, image, manifest| images::has_digest(image, manifest, &query))
    } else {
        match query.split_once(':') {
            Some((repo, _)) if !repo.is_empty() => in_repo(call, &query)?,
            Some((_, tag)) if !tag.is_empty() => {
                find_images(call, |_, actual| actual.to_lowercase().contains(tag), |_, _, _| true)
            }
            _ => return Err("invalid search query".into()),
        }
    };
    let (items, info) = images::listed(call, &page, &filter, found, in_images, remarks)?;
    // Where images are searched, repositories are not even an empty list.
    Ok(result(info, Value::List(items), Value::Null))
}

fn result(page: Value, images: Value, repos: Value) -> Value {
    object([("Page", page), ("Images", images), ("Repos", repos), ("Layers", Value::List(Vec::new()))])
}

/// The tags of one repository that begin with a text (`SearchTags`). An index without manifests is among them.
fn in_repo<'a>(call: &Call<'a>, query: &str) -> Result<Vec<Found<'a>>, super::Failure> {
    let [searched, prefix] = query.split(':').collect::<Vec<_>>()[..] else {
        let complaint = "invalid image reference format, use [repo:tag] or [repo@digest]";
        return Err(format!("failed to parse search text, invalid format {complaint}").into());
    };
    let (searched, prefix) = (searched.trim(), prefix.trim());
    let Some((name, repo)) = call.meta.repos.get_key_value(searched) else { return Ok(Vec::new()) };
    if !call.may_read(name) {
        return Ok(Vec::new());
    }
    let tags = repo.tags.keys().filter(|tag| tag.starts_with(prefix));
    Ok(tags.filter_map(|tag| Found::whole(call, name, repo, tag)).collect())
}

/// How well a name fits a text: the smaller the better, nothing if it does not (`RankRepoName`).
pub fn rank(text: &str, name: &str) -> Option<i64> {
    let text = text.trim_matches('/');
    let (sought, parts): (Vec<&str>, Vec<&str>) = (text.split('/').collect(), name.split('/').collect());
    if sought.len() > parts.len() {
        return None;
    }
    if text == name {
        return Some(0);
    }
    let within = |part: &str, text: &str, weight: i64| {
        part.find(text).and_then(|at| i64::try_from(at).ok()).map(|at| (at + 1) * weight)
    };
    let (first, last) = (parts.first()?, parts.last()?);
    if sought.len() == 1 {
        let found = within(last, text, 1).or_else(|| within(first, text, 10));
        if found.is_some() {
            return found;
        }
    }
    let (sought_last, sought_above) = sought.split_last()?;
    if parts.starts_with(sought_above)
        && let Some(found) = within(last, sought_last, 1)
    {
        return Some(found);
    }
    if name.starts_with(text) { Some(10) } else { within(name, text, 100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ranked_as_zot_ranks_them() {
        for (text, name, expected) in [
            ("lib", "lib", Some(0)),
            ("", "lib/core", Some(1)),
            ("app", "team-a/app", Some(1)),
            ("ore", "lib/core", Some(2)),
            ("team", "team-a/app", Some(10)),
            ("eam", "team-a/app", Some(20)),
            ("lib/co", "lib/core", Some(1)),
            ("foo/bar/b", "foo/bar/baz/repo", Some(10)),
            ("bar/ba", "foo/bar/baz/repo", Some(500)),
            ("a/b/c", "a/b", None),
            ("x", "lib", None),
        ] {
            assert_eq!(rank(text, name), expected, "{text} {name}");
        }
    }
}
