//! The queries of zot's search extension, answered from the metadata (`pkg/extensions/search/resolver.go`).

mod arguments;
mod find;
mod global;
mod images;
mod page;
mod repos;
mod summary;
mod vulnerabilities;

use super::access::Access;
use super::cve::{self, Reports};
use super::meta::Meta;
use super::ties::Ties;
use async_graphql::indexmap::IndexMap;
use async_graphql::{Name, Value};
use std::collections::BTreeSet;

pub use arguments::{Filter, Page, text};
pub use find::{Found, find_images};
pub use images::{paginated, split};
pub use page::{check as check_page, cut};
pub use vulnerabilities::value as summary_value;

/// The arguments of a query, its defaults put in.
pub type Arguments = IndexMap<Name, Value>;

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// What zot says.
    Said(String),
    /// Nothing that zot says: it falls over (and catches itself).
    Panic,
}

impl<T: Into<String>> From<T> for Failure {
    fn from(text: T) -> Self {
        Self::Said(text.into())
    }
}

/// What a query is answered with.
pub type Answered = Result<Value, Failure>;

/// A query, and what is needed to answer it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What is known of the images.
    pub meta: &'a Meta,
    /// Who may do what.
    pub access: &'a Access,
    /// What scanning finds, if images are scanned.
    pub cve: Option<&'a Reports>,
    /// Arbitrary order.
    pub ties: &'a Ties,
    /// Who asks; empty for nobody in particular.
    pub user: &'a str,
    /// The paths of the fields that are asked for.
    pub wanted: &'a BTreeSet<String>,
}

impl Call<'_> {
    /// Whether the user may read a repository, be there one or not.
    pub fn may_read(&self, name: &str) -> bool {
        self.access.allows(self.user, "read", name)
    }

    /// Whether a field is asked for.
    pub fn wants(&self, path: &str) -> bool {
        self.wanted.contains(path)
    }
}

/// Errors that go with an answer instead of in its place.
pub type Remarks = Vec<String>;

/// Answers a query.
pub fn answer(call: &Call<'_>, query: &str, arguments: &Arguments, remarks: &mut Remarks) -> Answered {
    match query {
        "GlobalSearch" => global::search(call, arguments, remarks),
        "ImageList" => images::list(call, arguments, remarks),
        "ImageListForDigest" => images::for_digest(call, arguments, remarks),
        "DerivedImageList" => images::related(call, arguments, remarks, images::Relation::Derived),
        "BaseImageList" => images::related(call, arguments, remarks, images::Relation::Base),
        "Image" => images::image(call, arguments, remarks),
        "Referrers" => images::referrers(call, arguments),
        "RepoListWithNewestImage" => repos::newest(call, arguments, remarks),
        "StarredRepos" => repos::marked(call, arguments, remarks, |marks| &marks.stars),
        "BookmarkedRepos" => repos::marked(call, arguments, remarks, |marks| &marks.bookmarks),
        "ExpandedRepoInfo" => repos::expanded(call, arguments, remarks),
        _ => cve::answer(call, query, arguments, remarks),
    }
}

/// An object with its fields.
pub fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (Name::new(name), value)).collect())
}

/// How many there are, and how many of them are here.
pub fn page_info(total: usize, here: usize) -> Value {
    object([("TotalCount", Value::from(total)), ("ItemCount", Value::from(here))])
}
