//! The registry API and zot's own routes beside it, except GraphQL.

mod blobs;
pub mod extensions;
mod lists;
mod manifests;
mod ranges;
mod uploads;

use super::exchange::{Asked, Reply};
use super::registry::Registry;
use super::router::Route;
use http::StatusCode;

/// Answers a request whose sender may make it. `user` is empty for nobody in particular.
pub fn answer(registry: &Registry, route: &Route, asked: &Asked, user: &str) -> Reply {
    match route {
        Route::Base => extensions::base(registry, asked),
        Route::Discover => extensions::discover(),
        Route::Management => extensions::management(registry),
        Route::Preferences => extensions::preferences(registry, asked, user),
        Route::Catalog => lists::catalog(registry, asked, user),
        Route::Tags(name) => lists::tags(registry, asked, name),
        Route::Referrers(name, digest) => lists::referrers(registry, asked, name, digest),
        Route::Manifest(name, reference) => manifests::answer(registry, asked, user, name, reference),
        Route::Blob(name, digest) => blobs::answer(registry, asked, user, name, digest),
        Route::Uploads(name) => uploads::begin(registry, asked, user, name),
        Route::Upload(name, session) => uploads::answer(registry, asked, name, session),
        Route::Search | Route::Logout | Route::Keys | Route::Health => Reply::empty(StatusCode::NOT_FOUND),
    }
}
