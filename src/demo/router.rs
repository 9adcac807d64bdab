//! Which route a path takes: what zot's router (gorilla/mux) makes of it.
//!
//! Paths are matched as they were sent, with their escapes (`UseEncodedPath`); one that is not clean is answered with a
//! redirect to the clean one before anything else is looked at.

use http::Method;

/// A route of a zot with search, management and user preferences, and without web UI and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/_oci/ext/discover`
    Discover,
    /// `/v2/<name>/tags/list`
    Tags(String),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(String, String),
    /// `/v2/<name>/blobs/<digest>`
    Blob(String, String),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(String),
    /// `/v2/<name>/blobs/uploads/<session>`
    Upload(String, String),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(String, String),
    /// `/v2/_zot/ext/search…`
    Search,
    /// `/v2/_zot/ext/mgmt…`
    Management,
    /// `/v2/_zot/ext/userprefs…`
    Preferences,
    /// `/zot/auth/logout`
    Logout,
    /// `/zot/auth/apikey…`
    Keys,
    /// `/livez`, `/readyz`, `/startupz`
    Health,
}

impl Route {
    fn takes(&self, method: &Method) -> bool {
        let methods: &[&str] = match self {
            Self::Base | Self::Catalog | Self::Discover | Self::Tags(_) | Self::Referrers(..) | Self::Management => {
                &["GET", "OPTIONS"]
            }
            Self::Manifest(..) => &["HEAD", "GET", "PUT", "DELETE", "OPTIONS"],
            Self::Blob(..) => &["HEAD", "GET", "DELETE"],
            Self::Uploads(_) => &["POST"],
            Self::Upload(..) => &["GET", "PATCH", "PUT", "DELETE"],
            Self::Search => &["GET", "POST", "OPTIONS"],
            Self::Preferences => &["PUT", "OPTIONS"],
            Self::Logout => &["POST", "OPTIONS"],
            Self::Keys => &["GET", "POST", "DELETE", "OPTIONS"],
            Self::Health => return true,
        };
        methods.contains(&method.as_str())
    }

    /// The repository of a route that has one in its path.
    pub fn repository(&self) -> Option<&str> {
        match self {
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Referrers(name, _) => Some(name),
            _ => None,
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routed {
    /// It takes a route.
    To(Route),
    /// Its path is not clean: this is.
    Moved(String),
    /// A route of the path does not take the method.
    WrongMethod,
    /// There is no such route.
    Nowhere,
}

/// Routes a request.
pub fn route(method: &Method, path: &str) -> Routed {
    let clean = cleaned(path);
    if clean != path {
        return Routed::Moved(clean);
    }
    let candidates = candidates(path);
    if candidates.is_empty() {
        return Routed::Nowhere;
    }
    candidates.into_iter().find(|route| route.takes(method)).map_or(Routed::WrongMethod, Routed::To)
}

/// The routes of a path, in the order in which zot registers them.
fn candidates(path: &str) -> Vec<Route> {
    match path {
        "/v2/" => return vec![Route::Base],
        "/v2/_catalog" => return vec![Route::Catalog],
        "/v2/_oci/ext/discover" => return vec![Route::Discover],
        "/zot/auth/logout" => return vec![Route::Logout],
        "/livez" | "/readyz" | "/startupz" => return vec![Route::Health],
        _ if path.starts_with("/zot/auth/apikey") => return vec![Route::Keys],
        _ => {}
    }
    let Some(path) = path.strip_prefix("/v2/") else { return Vec::new() };
    for (prefix, route) in [
        ("_zot/ext/search", Route::Search),
        ("_zot/ext/mgmt", Route::Management),
        ("_zot/ext/userprefs", Route::Preferences),
    ] {
        if path.starts_with(prefix) {
            return vec![route];
        }
    }
    let segments: Vec<&str> = path.split('/').collect();
    let mut found = Vec::new();
    let mut add = |name: &[&str], route: &dyn Fn(String) -> Route| {
        let name = name.join("/");
        if is_name(&name) {
            found.push(route(name));
        }
    };
    match segments.as_slice() {
        [name @ .., "tags", "list"] => add(name, &Route::Tags),
        [name @ .., "manifests", reference] if !reference.is_empty() => {
            add(name, &|name| Route::Manifest(name, (*reference).to_owned()));
        }
        [name @ .., "blobs", digest] if !digest.is_empty() => {
            add(name, &|name| Route::Blob(name, (*digest).to_owned()));
        }
        [name @ .., "blobs", "uploads", ""] => add(name, &Route::Uploads),
        [name @ .., "blobs", "uploads", session] => add(name, &|name| Route::Upload(name, (*session).to_owned())),
        [name @ .., "referrers", digest] if !digest.is_empty() => {
            add(name, &|name| Route::Referrers(name, (*digest).to_owned()));
        }
        _ => {}
    }
    found
}

/// Whether a name is one that a repository can have: components of lower-case letters and digits, with single dots, one
/// or two underscores, or any number of dashes between them (`pkg/regexp`).
fn is_name(name: &str) -> bool {
    let alphanumeric = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.split('/').all(|component| {
        component.starts_with(alphanumeric)
            && component.ends_with(alphanumeric)
            && component.split(alphanumeric).all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
            })
    })
}

/// A path without empty and dot segments (Go's `path.Clean`, but a slash at the end stays).
fn cleaned(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let mut clean = format!("/{}", segments.join("/"));
    if path.ends_with('/') && clean != "/" {
        clean.push('/');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_routed_as_the_router_of_zot_does() {
        let of = |method: &str, path: &str| route(&Method::from_bytes(method.as_bytes()).unwrap(), path);
        assert_eq!(of("GET", "/v2/a/b/tags/list"), Routed::To(Route::Tags("a/b".into())));
        assert_eq!(of("GET", "/v2//"), Routed::Moved("/v2/".into()));
        assert_eq!(of("GET", "/v2/lib/../solo/tags/list"), Routed::Moved("/v2/solo/tags/list".into()));
        assert_eq!(of("GET", "/v2"), Routed::Nowhere);
        assert_eq!(of("GET", "/v2/lib%2Fcore/tags/list"), Routed::Nowhere);
        assert_eq!(of("GET", "/v2/-a/tags/list"), Routed::Nowhere);
        assert_eq!(of("GET", "/v2/a__b.c--d/tags/list"), Routed::To(Route::Tags("a__b.c--d".into())));
        assert_eq!(of("GET", "/v2/a___b/tags/list"), Routed::Nowhere);
        assert_eq!(of("HEAD", "/v2/"), Routed::WrongMethod);
        assert_eq!(of("POST", "/v2/lib/blobs/uploads"), Routed::WrongMethod);
        assert_eq!(of("GET", "/v2/lib/blobs/uploads/"), Routed::WrongMethod);
        assert_eq!(of("GET", "/v2/_zot/ext/searchx"), Routed::To(Route::Search));
    }
}
