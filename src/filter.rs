//! The filter of a search for repositories, where it applies to what was put together here. Pure.

use crate::items::Keys;
use crate::query::text_of;
use serde_json::Value;

/// Which repositories are asked for (zot `pkg/extensions/search/convert/utils.go`, `RepoSumAcceptedByFilter`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    os: Option<Vec<String>>,
    arch: Option<Vec<String>>,
    signed: bool,
    bookmarked: Option<bool>,
    starred: Option<bool>,
    /// Whether the list is of those that the client has marked: one that the first node does not list is not marked.
    pub marked: bool,
}

impl Filter {
    /// Reads the argument, and cleans it as zot does (zot `pkg/extensions/search/resolver.go`, `cleanFilter`): lower case,
    /// without blanks, without what is left empty.
    pub fn of(argument: Option<&Value>) -> Filter {
        let member = |name: &str| argument.and_then(|filter| filter.get(name)).filter(|value| !value.is_null());
        let list = |name: &str| {
            let texts = match member(name)? {
                Value::Array(items) => items.iter().filter_map(text_of).collect(),
                single => vec![text_of(single)?],
            };
            let cleaned = texts.iter().map(|text| text.to_lowercase().trim().to_owned());
            Some(cleaned.filter(|text| !text.is_empty()).collect())
        };
        Filter {
            os: list("Os"),
            arch: list("Arch"),
            signed: member("HasToBeSigned").and_then(flag) == Some(true),
            bookmarked: member("IsBookmarked").and_then(flag),
            starred: member("IsStarred").and_then(flag),
            marked: false,
        }
    }

    /// Whether anything is asked for, so that a node's list may lack repositories that others list.
    pub fn chooses(&self) -> bool {
        *self != Filter::default()
    }

    /// Whether a repository will do.
    pub fn takes(&self, keys: &Keys) -> bool {
        let is = |wanted: Option<bool>, actual: bool| wanted.is_none_or(|wanted| wanted == actual);
        let is_signed = keys.newest.as_ref().is_some_and(|newest| newest.is_signed);
        if self.signed && !is_signed || !is(self.bookmarked, keys.is_bookmarked) || !is(self.starred, keys.is_starred) {
            return false;
        }
        if keys.platforms.is_empty() && self.os.is_none() && self.arch.is_none() {
            return true;
        }
        let fits = |wanted: &Option<Vec<String>>, actual: &str| {
            let wanted = wanted.as_deref().unwrap_or_default();
            wanted.is_empty() || wanted.iter().any(|wanted| *wanted == actual.to_lowercase())
        };
        keys.platforms.iter().any(|platform| fits(&self.os, &platform.os) && fits(&self.arch, &platform.arch))
    }
}

/// A boolean as zot's server coerces it (gqlgen `graphql/bool.go`).
fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => Some(text.eq_ignore_ascii_case("true")),
        Value::Number(number) => Some(number.as_f64() != Some(0.0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::{NewestImage, Platform};
    use serde_json::json;

    #[test]
    fn repositories_are_chosen_as_zot_chooses_them() {
        let platform = |os: &str, arch: &str| Platform { os: os.to_owned().into(), arch: arch.to_owned().into() };
        let newest = NewestImage { is_signed: true, ..NewestImage::default() };
        let mut keys = Keys::default();
        keys.newest = Some(newest);
        keys.platforms = vec![platform("linux", "amd64"), platform("windows", "arm")];
        keys.is_starred = true;
        let bare = Keys::default();
        for (filter, takes, takes_bare) in [
            (json!(null), true, true),
            (json!({}), true, true),
            (json!({"Os": null, "HasToBeSigned": false}), true, true),
            (json!({"Os": []}), true, false),
            (json!({"Os": [" LINUX "]}), true, false),
            (json!({"Os": "linux", "Arch": ["arm"]}), false, false),
            (json!({"Os": "linux", "Arch": ["arm", "AMD64"]}), true, false),
            (json!({"HasToBeSigned": true}), true, false),
            (json!({"IsStarred": true}), true, false),
            (json!({"IsStarred": "false"}), false, true),
            (json!({"IsBookmarked": true}), false, false),
        ] {
            let read = Filter::of(Some(&filter));
            assert_eq!((read.takes(&keys), read.takes(&bare)), (takes, takes_bare), "{filter}");
        }
    }
}
