//! The tables: what onezot does with each route of a zot. Data only; [`crate::plan`] applies it.
//!
//! The routes are those that zot registers (zot `pkg/api/routes.go`, `pkg/extensions/extension_*.go`). A test compares
//! this table with the list of them in `tests/golden/routes.tsv`, both ways.

use http::Method;

/// What onezot does with the requests of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// One node answers, and the request and the answer stream through.
    RouteOnce(By),
    /// Every node is asked for its whole catalog; the answers are merged and paged here.
    Catalog,
    /// A GraphQL document, classified field by field by the query table.
    Documents,
    /// Every node gets the request; they must agree.
    Broadcast,
    /// onezot's own health.
    Probe,
    /// Nothing that the public address serves: no route of a zot, or the inside of one node, which says nothing of the
    /// whole. Any node is asked for [`NOWHERE`] instead, so that the 404 (or 405) is a zot's own.
    Unrouted,
}

/// Which node answers a route-once request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The owner of the repository in the path.
    PathRepository,
    /// The owner of the repository that this query parameter names; any node when it names none.
    QueryRepository(&'static str),
    /// The first node in order that can be reached: all nodes give the same answer.
    AnyNode,
    /// Always the first node in order: what it stores is on no other node.
    FirstNode,
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Class::RouteOnce(_) => "route-once",
            Class::Catalog => "fan-out",
            Class::Documents => "documents",
            Class::Broadcast => "broadcast",
            Class::Probe => "probe",
            Class::Unrouted => "unrouted",
        })
    }
}

/// One row: a path, the methods that the class is for, and the class.
///
/// Another method on the path is sent where a route-once request would go, or else to any node, whose 405 (or answer
/// to `OPTIONS`) is the client's.
#[derive(Debug)]
pub struct Route {
    /// Segments separated by `/`. `<name>` is one or more segments that are a repository name, any other `<…>` is
    /// one segment. A final `*` is any rest, an empty one included; `**` also where slashes are escaped in it.
    pub path: &'static str,
    /// The methods that the class is for; empty: all.
    pub methods: &'static [Method],
    /// What is done.
    pub class: Class,
}

const fn route(path: &'static str, methods: &'static [Method], class: Class) -> Route {
    Route { path, methods, class }
}

const ALL: &[Method] = &[];
const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];
const PUT: &[Method] = &[Method::PUT];
const GET_HEAD: &[Method] = &[Method::GET, Method::HEAD];
const GET_POST: &[Method] = &[Method::GET, Method::POST];

const OWNER: Class = Class::RouteOnce(By::PathRepository);
const ANY_NODE: Class = Class::RouteOnce(By::AnyNode);
const FIRST_NODE: Class = Class::RouteOnce(By::FirstNode);

/// A clean path that no registry has: `-` is no name, and nothing follows it. How a zot says so depends on how it was
/// built: one with the web UI has other headers, and 405 where another has 404.
pub const NOWHERE: &str = "/v2/-";

/// Every route of a zot. The first row whose path matches counts.
pub static ROUTES: &[Route] = &[
    route("/v2/", ALL, ANY_NODE),
    route("/v2/_catalog", GET, Class::Catalog),
    route("/v2/<name>/tags/list", ALL, OWNER),
    route("/v2/<name>/manifests/<reference>", ALL, OWNER),
    route("/v2/<name>/blobs/<digest>", ALL, OWNER),
    route("/v2/<name>/blobs/uploads/", ALL, OWNER),
    route("/v2/<name>/blobs/uploads/<session>", ALL, OWNER),
    route("/v2/<name>/referrers/<digest>", ALL, OWNER),
    route("/v2/_oci/ext/discover", ALL, ANY_NODE),
    route("/v2/_zot/ext/mgmt*", ALL, ANY_NODE),
    route("/v2/_zot/ext/search*", GET_POST, Class::Documents),
    route("/v2/_zot/ext/userprefs*", PUT, Class::RouteOnce(By::QueryRepository("repo"))),
    route("/v2/_zot/ext/cosign*", POST, Class::Broadcast),
    route("/v2/_zot/ext/notation*", POST, Class::Broadcast),
    route("/zot/auth/token", ALL, ANY_NODE),
    route("/zot/auth/login", ALL, FIRST_NODE),
    route("/zot/auth/callback/<provider>", ALL, FIRST_NODE),
    route("/zot/auth/logout", ALL, FIRST_NODE),
    route("/zot/auth/apikey*", ALL, FIRST_NODE),
    route("/livez", GET_HEAD, Class::Probe),
    route("/readyz", GET_HEAD, Class::Probe),
    route("/startupz", GET_HEAD, Class::Probe),
    route("/metrics*", ALL, Class::Unrouted),
    route("/v2/_zot/pprof/*", ALL, Class::Unrouted),
    route("/v2/_zot/debug/graphql-playground*", ALL, Class::Unrouted),
    route("/swagger/v2/*", ALL, Class::Unrouted),
    // The web UI escapes the slashes of repository names.
    route("/home**", ALL, ANY_NODE),
    route("/login**", ALL, ANY_NODE),
    route("/explore**", ALL, ANY_NODE),
    route("/image**", ALL, ANY_NODE),
    route("/user**", ALL, ANY_NODE),
    // Whatever else begins with /v2/ is no route of a zot, and what another registry makes of it would be one
    // node's part. The rest is a file of the web UI, or a 404 that is zot's own.
    route("/v2*", ALL, Class::Unrouted),
    route("/*", ALL, ANY_NODE),
];
