//! Paging, with zot's quirks. Pure.

use std::borrow::Cow;
use std::fmt;

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
    pub fn cut<'a>(&self, whole: &'a [String]) -> CatalogCut<'a> {
        let after = if self.last.is_empty() {
            whole
        } else {
            match whole.iter().position(|name| *name == self.last) {
                Some(at) => &whole[at + 1..],
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

/// The first value of a query parameter, as Go's `url.Query().Get` reads it: pairs with a semicolon or a broken escape
/// do not count (Go `net/url`, `parseQuery`).
pub fn query_value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    query
        .split('&')
        .filter(|pair| !pair.contains(';') && !has_broken_escape(pair))
        .find_map(|pair| form_urlencoded::parse(pair.as_bytes()).find(|(key, _)| key == name))
        .map(|(_, value)| value)
}

/// The query without the parameters `names`; the other pairs keep their bytes and their order.
pub fn without_parameters(query: &str, names: &[&str]) -> String {
    let kept = query
        .split('&')
        .filter(|pair| !form_urlencoded::parse(pair.as_bytes()).any(|(key, _)| names.contains(&key.as_ref())));
    kept.collect::<Vec<_>>().join("&")
}

fn has_broken_escape(pair: &str) -> bool {
    pair.split('%')
        .skip(1)
        .any(|after| !matches!(after.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
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
    fn link_is_there_if_and_only_if_the_page_is_full() {
        let whole = ["a", "a/b", "c"].map(str::to_owned);
        let link = |query: &str| page(query).cut(&whole).link;
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
            assert!(page(&format!("last={last}")).cut(&whole).entries.is_empty(), "{last}");
        }
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

    proptest! {
        #[test]
        fn pages_joined_are_the_whole(names in prop::collection::btree_set("[a-z]{1,6}", 0..50), n in 1..9i64) {
            let whole: Vec<String> = names.into_iter().collect();
            let mut joined: Vec<String> = Vec::new();
            let mut current = CatalogPage { n: Some(n), last: String::new() };
            loop {
                let cut = current.cut(&whole);
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
