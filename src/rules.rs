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
    /// The owner of the repository in the path, as with [`By::PathRepository`]; but a blob that it is to mount and lacks is
    /// brought from another node ([`crate::mount`]).
    Mount,
    /// Every node is asked for its whole catalog; the answers are merged and paged here.
    Catalog,
    /// A GraphQL document, classified field by field by the query table.
    Documents,
    /// Every node gets the request, the first one first; all must accept it. What goes this way may be repeated.
    Broadcast,
    /// What people and machines are known by: each node has its own, and onezot seals them into one ([`crate::identity`]). With
    /// a single node, that node answers.
    Identity(Act),
    /// onezot's own health.
    Probe,
    /// Nothing that the public address serves: no route of a zot, or the inside of one node, which says nothing of the
    /// whole. Any node is asked for [`NOWHERE`] instead, so that the 404 (or 405) is a zot's own.
    Unrouted,
}

/// What is done about who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Begins a sign-in at a provider of identities, at one node.
    SignIn,
    /// Ends it, at the same node.
    CallBack,
    /// Ends a session, at every node.
    LogOut,
    /// Makes, lists and revokes API keys, at every node.
    ApiKeys,
}

/// Which node answers a route-once request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The owner of the repository in the path; what a 404 to a read says is not there.
    PathRepository(Part),
    /// The owner of the repository that this query parameter names; any node when it names none.
    QueryRepository(&'static str),
    /// The first node in order that can be reached: all nodes give the same answer.
    AnyNode,
}

/// What of a repository a read is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The repository.
    Repository,
    /// The tag or digest that the path ends with.
    Reference,
    /// The digest that the path ends with.
    Digest,
    /// What refers to a digest. A node that does not have the repository says that nothing does.
    Referrers,
    /// A 404 says nothing of what is there.
    Untold,
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Class::RouteOnce(_) => "route-once",
            Class::Mount => "mount",
            Class::Catalog => "fan-out",
            Class::Documents => "documents",
            Class::Broadcast => "broadcast",
            Class::Identity(_) => "identity",
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
const GET_POST_DELETE: &[Method] = &[Method::GET, Method::POST, Method::DELETE];

const fn owner(part: Part) -> Class {
    Class::RouteOnce(By::PathRepository(part))
}

const ANY_NODE: Class = Class::RouteOnce(By::AnyNode);

/// A clean path that no registry has: `-` is no name, and nothing follows it. How a zot says so depends on how it was
/// built: one with the web UI has other headers, and 405 where another has 404.
pub const NOWHERE: &str = "/v2/-";

/// Every route of a zot. The first row whose path matches counts.
pub static ROUTES: &[Route] = &[
    route("/v2/", ALL, ANY_NODE),
    route("/v2/_catalog", GET, Class::Catalog),
    route("/v2/<name>/tags/list", ALL, owner(Part::Repository)),
    route("/v2/<name>/manifests/<reference>", ALL, owner(Part::Reference)),
    route("/v2/<name>/blobs/<digest>", ALL, owner(Part::Digest)),
    route("/v2/<name>/blobs/uploads/", ALL, Class::Mount),
    route("/v2/<name>/blobs/uploads/<session>", ALL, owner(Part::Untold)),
    route("/v2/<name>/referrers/<digest>", ALL, owner(Part::Referrers)),
    route("/v2/_oci/ext/discover", ALL, ANY_NODE),
    route("/v2/_zot/ext/mgmt*", ALL, ANY_NODE),
    route("/v2/_zot/ext/search*", GET_POST, Class::Documents),
    route("/v2/_zot/ext/userprefs*", PUT, Class::RouteOnce(By::QueryRepository("repo"))),
    route("/v2/_zot/ext/cosign*", POST, Class::Broadcast),
    route("/v2/_zot/ext/notation*", POST, Class::Broadcast),
    route("/zot/auth/token", ALL, ANY_NODE),
    route("/zot/auth/login", GET_POST, Class::Identity(Act::SignIn)),
    route("/zot/auth/callback/<provider>", GET, Class::Identity(Act::CallBack)),
    route("/zot/auth/logout", POST, Class::Identity(Act::LogOut)),
    route("/zot/auth/apikey*", GET_POST_DELETE, Class::Identity(Act::ApiKeys)),
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

/// The class of a query, as the table of project-zot/zot issue 2434 has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryClass {
    /// The owner of the repository that the query names answers.
    RouteOnce,
    /// Every node answers without paging; merged, sorted and paged here.
    FanOut,
    /// Per-user metadata: a fan-out where each node keeps its own, any node where they share it.
    MetaDependent,
    /// Several requests, the answer computed here ([`crate::compose`]).
    Composed(Composition),
}

/// How the answer to a composed query is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Composition {
    /// Images on all nodes whose layers begin those of an image, or begin with them.
    Lineage(Direction),
    /// What is found in one image and not in the one that this argument names.
    CveDiff {
        /// The argument.
        subtrahend: &'static str,
    },
}

/// Which relations of an image are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Images that begin with its layers.
    Derived,
    /// Images whose layers it begins with.
    Base,
}

impl std::fmt::Display for QueryClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            QueryClass::RouteOnce => "route-once",
            QueryClass::FanOut => "fan-out",
            QueryClass::MetaDependent => "meta-dependent",
            QueryClass::Composed(_) => "composed",
        })
    }
}

/// How a query names a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// It names none.
    Nothing,
    /// An argument is the name; empty: all repositories.
    Repository(&'static str),
    /// An argument is `repo:tag` or `repo@digest`.
    Image(&'static str),
    /// An argument is an input object with the fields `Repo` and `Tag`.
    ImageInput(&'static str),
    /// An argument is a search, whose form decides.
    Search(&'static str),
}

impl Names {
    /// The argument, if there is one.
    pub fn argument(self) -> Option<&'static str> {
        match self {
            Names::Nothing => None,
            Names::Repository(name) | Names::Image(name) | Names::ImageInput(name) | Names::Search(name) => Some(name),
        }
    }
}

/// What a merged list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Items {
    /// `ImageSummary`: one for each repository and tag.
    Images,
    /// `RepoSummary`: one for each name.
    Repositories,
}

/// The orders of zot's `SortCriteria`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Images by name, repositories by rank.
    Relevance,
    /// The newest first; none and the year 1 last.
    UpdateTime,
    /// By name.
    AlphabeticAsc,
    /// By name, backwards.
    AlphabeticDsc,
    /// The worst first; only CVEs have it.
    Severity,
    /// No list has it.
    Stars,
    /// The most downloaded first.
    Downloads,
}

impl Sort {
    /// Every order, with its name in the schema.
    pub const ALL: [(&'static str, Sort); 7] = [
        ("RELEVANCE", Sort::Relevance),
        ("UPDATE_TIME", Sort::UpdateTime),
        ("ALPHABETIC_ASC", Sort::AlphabeticAsc),
        ("ALPHABETIC_DSC", Sort::AlphabeticDsc),
        ("SEVERITY", Sort::Severity),
        ("STARS", Sort::Stars),
        ("DOWNLOADS", Sort::Downloads),
    ];

    /// The order of a name in the schema.
    pub fn from_name(name: &str) -> Option<Sort> {
        Sort::ALL.iter().find(|(known, _)| *known == name).map(|(_, sort)| *sort)
    }

    /// The name in the schema.
    pub fn name(self) -> &'static str {
        Sort::ALL.iter().find(|(_, sort)| *sort == self).map_or("", |(name, _)| name)
    }
}

/// The orders in which zot can sort images and repositories (zot `pkg/extensions/search/pagination/`).
pub const LIST_ORDERS: &[Sort] =
    &[Sort::Relevance, Sort::UpdateTime, Sort::AlphabeticAsc, Sort::AlphabeticDsc, Sort::Downloads];

/// The orders in which zot can sort CVEs (zot `pkg/extensions/search/cve/pagination.go`).
pub const CVE_ORDERS: &[Sort] = &[Sort::Severity, Sort::AlphabeticAsc, Sort::AlphabeticDsc];

/// How the answers to a query are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// The list of the result that is merged, and what it holds. A search has two, and its form decides.
    pub lists: &'static [(&'static str, Items)],
    /// The order without `sortBy`.
    pub order: Sort,
}

/// How a query that names a repository is answered when that lies on several nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// The first of them that has what is asked for answers.
    First,
    /// This list of images is merged, in this order without `sortBy`.
    Images(&'static str, Sort),
    /// The result is a list, in which each item is there once: this field tells them apart.
    Union(&'static str),
    /// The images of the repository and its summary.
    Repository {
        /// The list of images.
        images: &'static str,
        /// The summary.
        summary: &'static str,
    },
}

/// One row: a field of zot's `Query` type (zot `pkg/extensions/search/schema.graphql`).
#[derive(Debug, PartialEq, Eq)]
pub struct Query {
    /// The field.
    pub name: &'static str,
    /// What is done.
    pub class: QueryClass,
    /// How it names a repository.
    pub names: Names,
    /// How the answers of several nodes are merged; `None`: they never are.
    pub merged: Option<Merged>,
    /// How the answers of several nodes that have the repository are joined.
    pub joined: Joined,
    /// Whether it takes `requestedPage`.
    pub paged: bool,
}

impl Query {
    const fn joined(self, joined: Joined) -> Query {
        Query { joined, ..self }
    }
}

const fn one(name: &'static str, class: QueryClass, names: Names, paged: bool) -> Query {
    Query { name, class, names, merged: None, joined: Joined::First, paged }
}

const fn all(name: &'static str, class: QueryClass, names: Names, items: Items, order: Sort) -> Query {
    let lists: &[(&str, Items)] = match items {
        Items::Images => &[("Results", Items::Images)],
        Items::Repositories => &[("Results", Items::Repositories)],
    };
    Query { name, class, names, merged: Some(Merged { lists, order }), joined: Joined::First, paged: true }
}

const CVE_DIFF: QueryClass = QueryClass::Composed(Composition::CveDiff { subtrahend: "subtrahend" });

const fn lineage(direction: Direction) -> QueryClass {
    QueryClass::Composed(Composition::Lineage(direction))
}

/// Every field of zot's `Query` type.
pub static QUERIES: &[Query] = &[
    one("CVEListForImage", QueryClass::RouteOnce, Names::Image("image"), true),
    one("CVEDiffListForImages", CVE_DIFF, Names::ImageInput("minuend"), true),
    all("ImageListForCVE", QueryClass::FanOut, Names::Nothing, Items::Images, Sort::UpdateTime),
    // Names a repository, so only its holder can answer; elsewhere it is an error.
    one("ImageListWithCVEFixed", QueryClass::RouteOnce, Names::Image("image"), true)
        .joined(Joined::Images("Results", Sort::UpdateTime)),
    all("ImageListForDigest", QueryClass::FanOut, Names::Nothing, Items::Images, Sort::Relevance),
    all("RepoListWithNewestImage", QueryClass::FanOut, Names::Nothing, Items::Repositories, Sort::UpdateTime),
    all("ImageList", QueryClass::FanOut, Names::Repository("repo"), Items::Images, Sort::Relevance)
        .joined(Joined::Images("Results", Sort::Relevance)),
    one("ExpandedRepoInfo", QueryClass::RouteOnce, Names::Repository("repo"), false)
        .joined(Joined::Repository { images: "Images", summary: "Summary" }),
    Query {
        name: "GlobalSearch",
        class: QueryClass::FanOut,
        names: Names::Search("query"),
        merged: Some(Merged {
            lists: &[("Repos", Items::Repositories), ("Images", Items::Images)],
            order: Sort::Relevance,
        }),
        joined: Joined::Images("Images", Sort::Relevance),
        paged: true,
    },
    all("DerivedImageList", lineage(Direction::Derived), Names::Image("image"), Items::Images, Sort::UpdateTime),
    all("BaseImageList", lineage(Direction::Base), Names::Image("image"), Items::Images, Sort::UpdateTime),
    one("Image", QueryClass::RouteOnce, Names::Image("image"), false),
    one("Referrers", QueryClass::RouteOnce, Names::Repository("repo"), false).joined(Joined::Union("Digest")),
    all("StarredRepos", QueryClass::MetaDependent, Names::Nothing, Items::Repositories, Sort::UpdateTime),
    all("BookmarkedRepos", QueryClass::MetaDependent, Names::Nothing, Items::Repositories, Sort::UpdateTime),
];

/// The row of a field of the root.
pub fn query(name: &str) -> Option<&'static Query> {
    QUERIES.iter().find(|query| query.name == name)
}
