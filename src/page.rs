//! Paging, with zot's quirks. Pure.

use crate::merge::directory_order;
use crate::path::escapes_are_valid;
use crate::rules::{LIST_ORDERS, Sort};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// A page of the catalog, as its query asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatalogPage {
    /// How many entries at the most; negative or absent: all.
    pub n: Option<i64>,
    /// The entry that the page begins after; empty: from the start.
    pub last: String,
}

/// One page of the catalog, and the target of its `Link`, if it has one.
#[derive(Debug, PartialEq, Eq)]
pub struct CatalogCut<'a> {
    /// The entries of the page.
    pub entries: &'a [String],
    /// The value of the `Link` header.
    pub link: Option<String>,
}

impl CatalogPage {
    /// Reads `n` and `last` as zot does (zot `pkg/api/routes.go`, `ListRepositories`): the first of each counts, and
    /// an `n` that is not a number of 64 bits is none.
    pub fn from_query(query: Option<&str>) -> CatalogPage {
        let parameter = |name| query.and_then(|query| query_value(query, name));
        CatalogPage {
            n: parameter("n").and_then(|n| n.parse().ok()),
            last: parameter("last").unwrap_or_default().into_owned(),
        }
    }

    /// Cuts the page out of the whole catalog.
    ///
    /// An unknown `last` gives an empty page, as one zot's walk never gets past it. `Link` is there if and only if
    /// the page is full (and `n` is not 0): the walk stops when it *visits* something more, and it always visits the
    /// files of the last repository (zot `pkg/storage/imagestore/imagestore.go`, `GetNextRepositories`).
    ///
    /// `is_hidden`: a `last` that is not in the list is there all the same, but may not be seen by this client.
    pub fn cut<'a>(&self, whole: &'a [String], is_hidden: bool) -> CatalogCut<'a> {
        let after = if self.last.is_empty() {
            whole
        } else {
            match whole.iter().position(|name| *name == self.last) {
                Some(at) => &whole[at + 1..],
                None if is_hidden => {
                    let at = whole.partition_point(|name| directory_order(name, &self.last).is_lt());
                    &whole[at..]
                }
                None => &[],
            }
        };
        let Some(n) = self.n.and_then(|n| usize::try_from(n).ok()) else {
            return CatalogCut { entries: after, link: None };
        };
        let entries = &after[..n.min(after.len())];
        let link = match entries.last() {
            // zot writes the name raw.
            Some(last) if entries.len() == n => Some(format!("</v2/_catalog?n={n}&last={last}>; rel=\"next\"")),
            _ => None,
        };
        CatalogCut { entries, link }
    }
}

impl fmt::Display for CatalogPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.n {
            Some(n) if n >= 0 => write!(f, "at most {n}")?,
            _ => f.write_str("all")?,
        }
        if !self.last.is_empty() {
            write!(f, " after {:?}", self.last)?;
        }
        Ok(())
    }
}

/// A page of the tags of a repository, as its query asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagPage {
    /// How many tags at the most.
    pub n: Option<usize>,
    /// The tag that the page begins after; empty: from the start.
    pub last: String,
}

impl TagPage {
    /// Reads `n` and `last` as zot does (zot `pkg/api/routes.go`, `ListTags`); `None` if zot refuses them.
    pub fn from_query(query: Option<&str>) -> Option<TagPage> {
        let once = |name| {
            let mut values = query_values(query.unwrap_or_default(), name);
            let first = values.next();
            values.next().is_none().then_some(first)
        };
        let n = match once("n")? {
            None => None,
            Some(n) => Some(usize::try_from(n.parse::<i64>().ok()?).ok()?),
        };
        Some(TagPage { n, last: once("last")?.unwrap_or_default().into_owned() })
    }

    /// Cuts the page out of all tags, and tells its last tag if something follows; `None` if there is no tag `last`.
    pub fn cut<'a>(&self, all: &'a [String]) -> Option<(&'a [String], Option<&'a String>)> {
        let rest = match self.last.as_str() {
            "" => all,
            last => &all[all.iter().position(|tag| tag == last)? + 1..],
        };
        let page = &rest[..self.n.unwrap_or(rest.len()).min(rest.len())];
        Some((page, page.last().filter(|_| page.len() < rest.len())))
    }
}

/// A page of a list, as the argument `requestedPage` asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPage {
    /// How many items; 0 with an `offset` of 0: all.
    pub limit: u64,
    /// How many items before the page.
    pub offset: u64,
    /// The order of the list.
    pub order: Sort,
}

/// A page that zot refuses, in words that depend on the query: a node has to say them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPage;

impl ListPage {
    /// The whole list.
    pub fn all(order: Sort) -> ListPage {
        ListPage { limit: 0, offset: 0, order }
    }

    /// Reads the argument, with the order that holds without one.
    ///
    /// # Errors
    ///
    /// What zot refuses: negative numbers, other types, fields that are none, an order that lists do not have.
    pub fn from_argument(argument: Option<&Value>, order: Sort) -> Result<ListPage, InvalidPage> {
        ListPage::in_orders(argument, order, LIST_ORDERS)
    }

    /// The same where a list has other orders.
    ///
    /// # Errors
    ///
    /// As [`ListPage::from_argument`].
    pub fn in_orders(argument: Option<&Value>, order: Sort, orders: &[Sort]) -> Result<ListPage, InvalidPage> {
        let mut page = ListPage::all(order);
        let fields = match argument {
            None | Some(Value::Null) => return Ok(page),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(InvalidPage),
        };
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("limit" | "offset" | "sortBy", Value::Null) => {}
                // gqlparser lets it pass in variables (`validator/vars.go`), and nobody reads it.
                ("__typename", _) => {}
                ("limit", value) => page.limit = count_of(value)?,
                ("offset", value) => page.offset = count_of(value)?,
                ("sortBy", Value::String(name)) => page.order = Sort::from_name(name).ok_or(InvalidPage)?,
                _ => return Err(InvalidPage),
            }
        }
        if orders.contains(&page.order) { Ok(page) } else { Err(InvalidPage) }
    }

    /// The part of a list of `total` items that the page shows (zot `pkg/extensions/search/pagination/`): an offset
    /// alone, or one beyond the end, shows nothing.
    pub fn range(&self, total: usize) -> Range<usize> {
        if self.limit == 0 && self.offset == 0 {
            return 0..total;
        }
        // Beyond 64 bits zot's sum overflows and it panics; such a page simply ends with the list.
        let end = self.offset.saturating_add(self.limit).min(total as u64);
        self.offset.min(end) as usize..end as usize
    }
}

/// A number that is not negative. In variables, zot's server takes a string that is one, too: it decodes all numbers as
/// strings (gqlparser `validator/vars.go`, `IsValidIntString`).
fn count_of(value: &Value) -> Result<u64, InvalidPage> {
    let number = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.and_then(|number| u64::try_from(number).ok()).ok_or(InvalidPage)
}

impl fmt::Display for ListPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.limit, self.offset) {
            (0, 0) => f.write_str("all")?,
            (limit, 0) => write!(f, "at most {limit}")?,
            (limit, offset) => write!(f, "at most {limit} after {offset}")?,
        }
        write!(f, " by {}", self.order.name())
    }
}

/// The first value of a query parameter, as Go's `url.Query().Get` reads it.
pub fn query_value<'a>(query: &'a str, name: &'a str) -> Option<Cow<'a, str>> {
    query_values(query, name).next()
}

/// The values of a query parameter, as Go reads them: pairs with a semicolon or a broken escape do not count
/// (Go `net/url`, `parseQuery`).
pub fn query_values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
    query
        .split('&')
        .filter(|pair| !pair.contains(';') && escapes_are_valid(pair))
        .filter_map(move |pair| form_urlencoded::parse(pair.as_bytes()).find(|(key, _)| key == name))
        .map(|(_, value)| value)
}

/// Whether Go reads all of a query (Go `net/url`, `parseQuery`): what it does not read is an error where that is looked at.
pub fn is_well_formed(query: &str) -> bool {
    query.split('&').all(|pair| !pair.contains(';') && escapes_are_valid(pair))
}

/// The query without the parameters `names`; the other pairs keep their bytes and their order.
pub fn without_parameters(query: &str, names: &[&str]) -> String {
    let kept = query
        .split('&')
        .filter(|pair| !form_urlencoded::parse(pair.as_bytes()).any(|(key, _)| names.contains(&key.as_ref())));
    kept.collect::<Vec<_>>().join("&")
}

/// The target of the `next` link in a `Link` header (RFC 8288), as the registries write it: `<target>; rel="next"`.
pub fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>')?;
        let (target, after) = (&rest[start + 1..end], &rest[end + 1..]);
        let parameters = after.find('<').map_or(after, |next| &after[..next]);
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
        });
        if is_next {
            return Some(target);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn page(query: &str) -> CatalogPage {
        CatalogPage::from_query(Some(query))
    }

    #[test]
    fn n_is_read_as_go_reads_it() {
        for (query, n) in [
            ("", None),
            ("n=", None),
            ("n=3", Some(3)),
            ("n=%2B3", Some(3)),
            ("n=+3", None),
            ("n=-1", Some(-1)),
            ("n=007", Some(7)),
            ("n=1.5", None),
            ("n=0x3", None),
            ("n=abc", None),
            ("n=99999999999999999999", None),
            ("n=2&n=5", Some(2)),
            ("n=;2&n=5", Some(5)),
            ("n=%zz&n=5", Some(5)),
            ("N=2", None),
        ] {
            assert_eq!(page(query).n, n, "{query}");
        }
        assert_eq!(CatalogPage::from_query(None), CatalogPage::default());
        assert_eq!(page("last=team-a%2Fapp&last=x").last, "team-a/app");
    }

    #[test]
    fn pages_of_tags_are_stricter() {
        for (query, page) in [
            (None, Some((None, ""))),
            (Some("n=2"), Some((Some(2), ""))),
            (Some("n=0&last=1"), Some((Some(0), "1"))),
            (Some("n=-1"), None),
            (Some("n="), None),
            (Some("n=x"), None),
            (Some("n=1&n=1"), None),
            (Some("last=a&last=b"), None),
            (Some("n=99999999999999999999"), None),
        ] {
            let page = page.map(|(n, last)| TagPage { n, last: last.to_owned() });
            assert_eq!(TagPage::from_query(query), page, "{query:?}");
        }
        let all = ["1", "2", "3"].map(str::to_owned);
        let cut =
            |query: &str| TagPage::from_query(Some(query)).unwrap().cut(&all).map(|(page, next)| (page.len(), next));
        assert_eq!(cut(""), Some((3, None)));
        assert_eq!(cut("n=2"), Some((2, Some(&all[1]))));
        assert_eq!(cut("n=2&last=1"), Some((2, None)));
        assert_eq!(cut("n=0"), Some((0, None)));
        assert_eq!(cut("last=4"), None);
    }

    #[test]
    fn link_is_there_if_and_only_if_the_page_is_full() {
        let whole = ["a", "a/b", "c"].map(str::to_owned);
        let link = |query: &str| page(query).cut(&whole, false).link;
        assert_eq!(link("n=2").as_deref(), Some("</v2/_catalog?n=2&last=a/b>; rel=\"next\""));
        assert_eq!(link("n=3").as_deref(), Some("</v2/_catalog?n=3&last=c>; rel=\"next\""), "though nothing follows");
        assert_eq!(link("n=4"), None);
        assert_eq!(link("n=0"), None);
        assert_eq!(link("n=-3"), None);
        assert_eq!(link("n=9223372036854775807"), None);
        assert_eq!(link("n=1&last=c"), None);
    }

    #[test]
    fn an_unknown_last_is_an_empty_page() {
        let whole = ["a", "a/b", "c"].map(str::to_owned);
        for last in ["0", "b", "zzz", "A", "a/"] {
            assert!(page(&format!("last={last}")).cut(&whole, false).entries.is_empty(), "{last}");
        }
    }

    #[test]
    fn a_hidden_last_is_continued_after() {
        let whole = ["a", "a/b", "a.b", "c"].map(str::to_owned);
        let after = |last: &str| page(&format!("n=9&last={last}")).cut(&whole, true).entries.to_vec();
        assert_eq!(after("a/a"), ["a/b", "a.b", "c"]);
        assert_eq!(after("a/c"), ["a.b", "c"]);
        assert_eq!(after("0"), whole);
        assert!(after("d").is_empty());
    }

    #[test]
    fn links_of_nodes_are_understood() {
        assert_eq!(next_link("</v2/_catalog?last=b&n=100>; rel=\"next\""), Some("/v2/_catalog?last=b&n=100"));
        assert_eq!(next_link("<a>; rel=prev, <b?x=<>; rel=next"), Some("b?x=<"));
        assert_eq!(next_link("<a>; title=\"x\"; REL=NEXT"), Some("a"));
        assert_eq!(next_link("<a>"), None);
        assert_eq!(next_link("<a; rel=next"), None);
        assert_eq!(next_link(""), None);
    }

    #[test]
    fn other_parameters_stay_as_they_are() {
        assert_eq!(without_parameters("n=1&x=%2f&last=b&y", &["n", "last"]), "x=%2f&y");
        assert_eq!(without_parameters("%6e=1", &["n"]), "");
        assert_eq!(without_parameters("", &["n"]), "");
    }

    #[test]
    fn list_pages_are_read_as_zot_reads_them() {
        let read = |argument: Value| ListPage::from_argument(Some(&argument), Sort::UpdateTime);
        let page = |limit, offset, order| Ok(ListPage { limit, offset, order });
        assert_eq!(ListPage::from_argument(None, Sort::Relevance), page(0, 0, Sort::Relevance));
        assert_eq!(read(json!(null)), page(0, 0, Sort::UpdateTime));
        assert_eq!(read(json!({"limit": null, "sortBy": null})), page(0, 0, Sort::UpdateTime));
        assert_eq!(read(json!({"limit": 3, "offset": 2, "sortBy": "DOWNLOADS"})), page(3, 2, Sort::Downloads));
        assert_eq!(read(json!({"limit": "3"})), page(3, 0, Sort::UpdateTime));
        assert_eq!(read(json!({"limit": 2147483648u64})), page(2147483648, 0, Sort::UpdateTime));
        for refused in [
            json!({"limit": -1}),
            json!({"offset": -1}),
            json!({"limit": 1.5}),
            json!([]),
            json!(3),
            json!({"sortBy": "SEVERITY"}),
            json!({"sortBy": "STARS"}),
            json!({"sortBy": "nope"}),
            json!({"sortBy": 1}),
            json!({"page": 1}),
        ] {
            assert_eq!(read(refused.clone()), Err(InvalidPage), "{refused}");
        }
    }

    #[test]
    fn list_pages_are_cut_as_zot_cuts_them() {
        let range = |limit, offset, total| ListPage { limit, offset, order: Sort::Relevance }.range(total);
        assert_eq!(range(0, 0, 5), 0..5);
        assert_eq!(range(2, 0, 5), 0..2);
        assert_eq!(range(2, 4, 5), 4..5);
        assert_eq!(range(9, 0, 5), 0..5);
        assert!(range(0, 2, 5).is_empty(), "an offset alone");
        assert!(range(2, 5, 5).is_empty() && range(2, 99, 5).is_empty() && range(2, 0, 0).is_empty());
        assert_eq!(range(u64::MAX, 1, 5), 1..5);
    }

    proptest! {
        #[test]
        fn list_pages_joined_are_the_whole(total in 0usize..60, limit in 1u64..9) {
            let mut joined = Vec::new();
            for offset in (0..total as u64 + limit).step_by(limit as usize) {
                joined.extend(ListPage { limit, offset, order: Sort::Relevance }.range(total));
            }
            prop_assert_eq!(joined, (0..total).collect::<Vec<_>>());
        }

        #[test]
        fn pages_joined_are_the_whole(names in prop::collection::btree_set("[a-z]{1,6}", 0..50), n in 1..9i64) {
            let whole: Vec<String> = names.into_iter().collect();
            let mut joined: Vec<String> = Vec::new();
            let mut current = CatalogPage { n: Some(n), last: String::new() };
            loop {
                let cut = current.cut(&whole, false);
                joined.extend_from_slice(cut.entries);
                let Some(link) = cut.link else { break };
                let target = next_link(&link).unwrap().to_owned();
                current = CatalogPage::from_query(target.split_once('?').map(|(_, query)| query));
            }
            prop_assert_eq!(joined, whole);
        }

        #[test]
        fn no_link_header_makes_it_panic(header in "[<>a;,= \"relnxt]{0,30}") {
            let _ = next_link(&header);
        }
    }
}
