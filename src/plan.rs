//! From a request to what is done with it. Pure: the plan is what `onezot explain` prints, what the log shows and what
//! the proxy carries out.

use crate::digest::BlobDigest;
use crate::fleet::{Fleet, Owner, Why};
use crate::page::{CatalogPage, query_value, query_values, without_parameters};
use crate::path::{self, Target};
use crate::rules::{Act, By, Class, NOWHERE, ROUTES, Route};
use http::Method;
use std::fmt;

/// What is done with a request.
#[derive(Debug)]
pub enum Plan {
    /// It streams to one node, and the node's answer streams back.
    Forward(&'static Route, To),
    /// The owner of a repository gets it, and if it lacks the blob, a copy from another node.
    Mount(&'static Route, Mount),
    /// Every node is asked for its catalog.
    Catalog(&'static Route, CatalogAsk),
    /// Every node gets it.
    Broadcast(&'static Route),
    /// A GraphQL document, which is planned when its body has been read.
    Documents(&'static Route),
    /// It is about who asks, which every node knows by itself.
    Identity(&'static Route, Act),
    /// onezot answers for itself: it is alive.
    Probe(&'static Route),
    /// Any node is asked for [`NOWHERE`] in its place, and its answer streams back.
    Unrouted,
    /// No node gets it.
    Refuse(Refusal),
}

/// The node that a request streams to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// The owner of a repository.
    Owner {
        /// The repository.
        repository: String,
        /// Its owner.
        owner: Owner,
    },
    /// The first node in order that can be reached.
    Any,
}

impl To {
    /// The nodes that may answer, in the order in which they are tried.
    pub fn candidates(&self, fleet: &Fleet) -> Vec<usize> {
        match self {
            To::Owner { owner, .. } => vec![owner.node],
            To::Any => fleet.any_order().collect(),
        }
    }
}

/// A blob that a repository is to have without an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The repository.
    pub repository: String,
    /// Its owner.
    pub owner: Owner,
    /// The blob.
    pub digest: BlobDigest,
    /// The repository that the client says has it, and the owner of that. A hint: one zot does not look at it.
    pub from: Option<(String, Owner)>,
}

/// What every node is asked for its catalog, and the page that is cut out of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogAsk {
    /// Path and query, without the paging.
    pub upstream: String,
    /// Path and query as the client wrote them.
    pub target: String,
    /// The page of the client.
    pub page: CatalogPage,
}

/// Why no node gets a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// zot's router redirects it.
    Redirect(String),
    /// Not a request target.
    Malformed,
}

/// Plans a request by its method and the bytes of its target.
pub fn plan(fleet: &Fleet, method: &Method, target: &[u8]) -> Plan {
    let (path, query) = match path::inspect(target) {
        Target::Clean { path, query } => (path, query),
        Target::Redirect(location) => return Plan::Refuse(Refusal::Redirect(location)),
        Target::NotFound => return Plan::Unrouted,
        Target::Malformed => return Plan::Refuse(Refusal::Malformed),
    };
    let Some((route, repository)) = ROUTES.iter().find_map(|route| Some((route, capture(route.path, path)?))) else {
        return Plan::Unrouted;
    };
    let owner = |repository: &str| To::Owner { repository: repository.to_owned(), owner: fleet.owner(repository) };
    if !route.methods.is_empty() && !route.methods.contains(method) {
        return Plan::Forward(route, To::Any);
    }
    match route.class {
        Class::RouteOnce(By::PathRepository(_)) => Plan::Forward(route, repository.map_or(To::Any, owner)),
        Class::RouteOnce(By::QueryRepository(name)) => {
            let repository = query.and_then(|query| query_value(query, name)).filter(|name| !name.is_empty());
            Plan::Forward(route, repository.map_or(To::Any, |repository| owner(&repository)))
        }
        Class::RouteOnce(By::AnyNode) => Plan::Forward(route, To::Any),
        Class::Mount => {
            let mount = repository.filter(|_| method == Method::POST).and_then(|name| Mount::new(fleet, name, query));
            match mount {
                Some(mount) => Plan::Mount(route, mount),
                None => Plan::Forward(route, repository.map_or(To::Any, owner)),
            }
        }
        Class::Catalog => Plan::Catalog(route, CatalogAsk::new(path, query)),
        Class::Documents => Plan::Documents(route),
        Class::Broadcast => Plan::Broadcast(route),
        // One zot does it all by itself.
        Class::Identity(_) if fleet.nodes().len() < 2 => Plan::Forward(route, To::Any),
        Class::Identity(act) => Plan::Identity(route, act),
        Class::Probe => Plan::Probe(route),
        Class::Unrouted => Plan::Unrouted,
    }
}

impl Mount {
    /// The mount that a query asks for; `None` if it asks for none that could need another node than the owner.
    ///
    /// A `mount` that comes twice is refused, and one that is no digest is an upload (zot `pkg/api/routes.go`,
    /// `CreateBlobUpload`): the owner says so.
    fn new(fleet: &Fleet, repository: &str, query: Option<&str>) -> Option<Mount> {
        let mut mounted = query_values(query?, "mount");
        let digest = BlobDigest::parse(&mounted.next()?)?;
        if mounted.next().is_some() || fleet.nodes().len() < 2 {
            return None;
        }
        let from = query_value(query?, "from").filter(|name| path::is_repository_name(name));
        let from = from.map(|name| (name.to_string(), fleet.owner(&name)));
        Some(Mount { repository: repository.to_owned(), owner: fleet.owner(repository), digest, from })
    }

    /// Where the request itself goes.
    pub fn to(&self) -> To {
        To::Owner { repository: self.repository.clone(), owner: self.owner }
    }

    /// The node where the client says the blob is, if that is another than the owner.
    pub fn hint(&self) -> Option<(usize, &str)> {
        let (name, owner) = self.from.as_ref()?;
        (owner.node != self.owner.node).then_some((owner.node, name.as_str()))
    }
}

impl CatalogAsk {
    fn new(path: &str, query: Option<&str>) -> CatalogAsk {
        let rest = query.map(|query| without_parameters(query, &["n", "last"])).unwrap_or_default();
        let upstream = if rest.is_empty() { path.to_owned() } else { format!("{path}?{rest}") };
        let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        CatalogAsk { upstream, target, page: CatalogPage::from_query(query) }
    }
}

/// Matches a path of the table: `None` if it does not match, else the repository that it names, if it names one.
fn capture<'a>(pattern: &str, path: &'a str) -> Option<Option<&'a str>> {
    if let Some(prefix) = pattern.strip_suffix("**") {
        return (path.starts_with(prefix) && path::decodes_cleanly(path)).then_some(None);
    }
    if let Some(prefix) = pattern.strip_suffix('*') {
        return (path.starts_with(prefix) && !path::hides_structure(path)).then_some(None);
    }
    let Some((before, after)) = pattern.split_once("<name>") else {
        return segments_match(pattern, path).then_some(None);
    };
    let rest = path.strip_prefix(before)?;
    let slashes = after.matches('/').count();
    let (end, _) = rest.rmatch_indices('/').nth(slashes.checked_sub(1)?)?;
    let (name, tail) = rest.split_at(end);
    (path::is_repository_name(name) && segments_match(after, tail)).then_some(Some(name))
}

fn segments_match(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    pattern.split('/').all(|expected| {
        segments.next().is_some_and(|segment| {
            if expected.starts_with('<') {
                !segment.is_empty() && !path::hides_structure(segment)
            } else {
                segment == expected
            }
        })
    }) && segments.next().is_none()
}

/// A plan with all that its text needs.
pub struct Explained<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The fleet that it was made for.
    pub fleet: &'a Fleet,
    /// The method of the request.
    pub method: &'a Method,
    /// The target of the request.
    pub target: &'a str,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, target) = (self.method, self.target);
        match self.plan {
            Plan::Forward(route, to) => {
                writeln!(f, "class: route-once")?;
                writeln!(f, "route: {}", route.path)?;
                match to {
                    To::Owner { repository, owner } => {
                        writeln!(f, "repo:  {repository}")?;
                        writeln!(f, "node:  {}", Ownership { fleet: self.fleet, owner: *owner })?;
                    }
                    To::Any => self.any_node(f)?,
                }
                writeln!(f, "sends: {method} {target}")
            }
            Plan::Mount(route, mount) => {
                writeln!(f, "class: {}", route.class)?;
                writeln!(f, "route: {}", route.path)?;
                writeln!(f, "repo:  {}", mount.repository)?;
                writeln!(f, "node:  {}", Ownership { fleet: self.fleet, owner: mount.owner })?;
                writeln!(f, "sends: {method} {target}")?;
                self.copies(f, mount)
            }
            Plan::Catalog(route, ask) => {
                writeln!(f, "class: {}", route.class)?;
                writeln!(f, "route: {}", route.path)?;
                self.all_nodes(f)?;
                writeln!(f, "sends: GET {}, and on along each node's own Link", ask.upstream)?;
                writeln!(f, "merge: union, each name once, in the order of a directory walk")?;
                writeln!(f, "page:  {}, cut here", ask.page)
            }
            Plan::Broadcast(route) => {
                writeln!(f, "class: {}", route.class)?;
                writeln!(f, "route: {}", route.path)?;
                self.all_nodes(f)?;
                writeln!(f, "sends: {method} {target}, to the first node first; all must accept it")
            }
            Plan::Documents(route) => {
                writeln!(f, "class: {}", route.class)?;
                writeln!(f, "route: {}", route.path)
            }
            Plan::Identity(route, act) => {
                writeln!(f, "class: {}", route.class)?;
                writeln!(f, "route: {}", route.path)?;
                match act {
                    Act::SignIn => {
                        self.any_node(f)?;
                        writeln!(f, "sends: {method} {target}; the state of the sign-in names the node")
                    }
                    Act::CallBack => {
                        writeln!(f, "node:  the one that the state names, any if it names none")?;
                        // The query has the code of the sign-in.
                        let path = target.split('?').next().unwrap_or_default();
                        writeln!(f, "sends: {method} {path}, with the state as that node gave it")
                    }
                    Act::LogOut => {
                        self.all_nodes(f)?;
                        writeln!(f, "sends: {method} {target}, to each with its own session")
                    }
                    Act::ApiKeys => {
                        self.all_nodes(f)?;
                        match method.as_str() {
                            "POST" => {
                                writeln!(f, "sends: {method} {target}, to the first node first; all must make a key")?
                            }
                            "DELETE" => writeln!(f, "sends: the list of keys, and {method} with each node's own id")?,
                            _ => writeln!(f, "sends: {method} {target}")?,
                        }
                        writeln!(f, "seals: the keys of all nodes in one, if there is a seal key; else 501")
                    }
                }
            }
            Plan::Probe(route) => {
                writeln!(f, "class: {}", route.class)?;
                writeln!(f, "route: {}", route.path)?;
                writeln!(f, "node:  none, onezot answers for itself")
            }
            Plan::Unrouted => {
                writeln!(f, "class: {}", Class::Unrouted)?;
                self.any_node(f)?;
                writeln!(f, "sends: {method} {NOWHERE} in its place: no public route, and the answer is a zot's own")
            }
            Plan::Refuse(refusal) => {
                writeln!(f, "class: refused")?;
                writeln!(f, "node:  none")?;
                match refusal {
                    Refusal::Redirect(location) => {
                        writeln!(f, "why:   the path is not clean; 301 to {location}, as a zot answers")
                    }
                    Refusal::Malformed => writeln!(f, "why:   not the target of a request; 400"),
                }
            }
        }
    }
}

impl Explained<'_> {
    fn copies(&self, f: &mut fmt::Formatter<'_>, mount: &Mount) -> fmt::Result {
        let nodes = self.fleet.nodes();
        writeln!(
            f,
            "on 202: the blob streams to the owner from the first of these that has it, and the answer is 201"
        )?;
        if let Some((node, name)) = mount.hint().and_then(|(node, name)| Some((nodes.get(node)?, name))) {
            writeln!(f, "       {name} on {} ({})", node.name, node.url)?;
        }
        let others = nodes.iter().enumerate().filter(|(index, _)| *index != mount.owner.node);
        let others: Vec<&str> = others.map(|(_, node)| node.name.as_str()).collect();
        writeln!(f, "       what ImageListForDigest names on {}", others.join(", "))
    }

    fn any_node(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.fleet.nodes().iter().map(|node| node.name.as_str()).collect();
        writeln!(f, "node:  any, the first that can be reached of {}", names.join(", "))
    }

    fn all_nodes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.fleet.nodes().iter().enumerate() {
            let label = if index == 0 { "nodes:" } else { "      " };
            writeln!(f, "{label} {} ({})", node.name, node.url)?;
        }
        Ok(())
    }
}

/// An owner and the reason, as `onezot where` prints it.
pub struct Ownership<'a> {
    /// The fleet.
    pub fleet: &'a Fleet,
    /// The owner.
    pub owner: Owner,
}

impl fmt::Display for Ownership<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner { node: index, why } = self.owner;
        let nodes = self.fleet.nodes();
        if let Some(node) = nodes.get(index) {
            write!(f, "{} ({}), ", node.name, node.url)?;
        }
        match why {
            Why::Hash(hash) => write!(f, "owner by hash: {hash:016x} mod {} is {index}", nodes.len()),
            Why::Rendezvous(weight) => {
                write!(f, "owner by rendezvous: {weight:016x} is the largest of {}", nodes.len())
            }
            Why::Map(at) => {
                let prefix = self.fleet.placement().map.get(at).map_or("", |entry| entry.prefix.as_str());
                write!(f, "owner by the map: {prefix:?} is the longest prefix")
            }
            Why::Found => f.write_str("found there"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Node, NodeUrl, Placement};
    use proptest::prelude::*;

    fn fleet() -> Fleet {
        let node = |i: u16| {
            let url = NodeUrl::try_from(format!("http://127.0.0.1:{}", 5001 + i)).unwrap();
            Node::new(format!("zot-{i}"), url)
        };
        Fleet::new((0..3).map(node).collect(), Placement::default())
    }

    fn repository_of(target: &str) -> Option<String> {
        match plan(&fleet(), &Method::GET, target.as_bytes()) {
            Plan::Forward(_, To::Owner { repository, .. }) => Some(repository),
            _ => None,
        }
    }

    #[test]
    fn repositories_are_found_in_every_repository_route() {
        for (target, repository) in [
            ("/v2/lib/tags/list", "lib"),
            ("/v2/lib/core/tags/list?n=1", "lib/core"),
            ("/v2/a/b/c/manifests/latest", "a/b/c"),
            ("/v2/a/manifests/sha256%3Aab", "a"),
            ("/v2/a/blobs/sha256:ab", "a"),
            ("/v2/a/blobs/uploads/", "a"),
            ("/v2/a/blobs/uploads", "a"),
            ("/v2/a/blobs/uploads/123", "a"),
            ("/v2/a/referrers/sha256:ab", "a"),
            ("/v2/tags/tags/list", "tags"),
            ("/v2/a/blobs/uploads/tags/list", "a/blobs/uploads"),
            ("/v2/manifests/manifests/blobs/x", "manifests/manifests"),
        ] {
            assert_eq!(repository_of(target).as_deref(), Some(repository), "{target}");
        }
    }

    #[test]
    fn what_is_no_public_route_is_not_sent_as_it_stands() {
        for target in [
            "/v2",
            "/v2/tags/list",
            "/v2/-a/tags/list",
            "/v2/a_/tags/list",
            "/v2/A/tags/list",
            "/v2/lib/tags/list/",
            "/v2/lib%2Fcore/tags/list",
            "/v2/l%69b/tags/list",
            "/v2/lib/manifests/a%2Fb",
            "/v2/lib/manifests/",
            "/v2/lib/blobs/",
            "/v2/lib/manifests/%2e%2e",
            "/v2/lib/blobs/%00",
            "/v2/_catalog/",
            "/v2/_zot/ext/nope",
            "/v2/_zot/pprof/heap",
            "/metrics",
            "/swagger/v2/index.html",
            "/v2/_zot/debug/graphql-playground",
            "/%2e%2e/etc",
            "/home/..%2f..%2fv2",
            "/image/a%5cb",
            "/v2/_zot/ext/mgmt%2f..%2fsearch",
        ] {
            let plan = plan(&fleet(), &Method::GET, target.as_bytes());
            assert!(matches!(plan, Plan::Unrouted), "{target}: {plan:?}");
        }
    }

    #[test]
    fn the_web_ui_may_escape_the_slashes_of_a_repository() {
        let plan = plan(&fleet(), &Method::GET, b"/image/team-a%2Fapp/tag/1.0");
        assert!(matches!(plan, Plan::Forward(_, To::Any)), "{plan:?}");
    }

    #[test]
    fn preferences_go_to_the_owner_of_the_repository_in_the_query() {
        let target = b"/v2/_zot/ext/userprefs?action=toggleStar&repo=team-a%2Fapp";
        let Plan::Forward(_, To::Owner { repository, owner }) = plan(&fleet(), &Method::PUT, target) else {
            panic!("not forwarded to an owner")
        };
        assert_eq!(repository, "team-a/app");
        assert_eq!(owner, fleet().owner("team-a/app"));
        for (method, target) in [
            (Method::PUT, "/v2/_zot/ext/userprefs?action=toggleStar"),
            (Method::PUT, "/v2/_zot/ext/userprefs?action=toggleStar&repo="),
            (Method::GET, "/v2/_zot/ext/userprefs?action=toggleStar&repo=lib"),
        ] {
            let plan = plan(&fleet(), &method, target.as_bytes());
            assert!(matches!(plan, Plan::Forward(_, To::Any)), "{method} {target}: {plan:?}");
        }
    }

    #[test]
    fn the_catalog_is_asked_without_its_paging() {
        let Plan::Catalog(_, ask) = plan(&fleet(), &Method::GET, b"/v2/_catalog?n=2&x=1&last=a%2Fb") else {
            panic!("no catalog")
        };
        assert_eq!(ask.upstream, "/v2/_catalog?x=1");
        assert_eq!(ask.page, CatalogPage { n: Some(2), last: "a/b".to_owned() });
        assert!(matches!(plan(&fleet(), &Method::HEAD, b"/v2/_catalog"), Plan::Forward(_, To::Any)));
    }

    proptest! {
        #[test]
        fn a_repository_that_is_hashed_is_the_one_that_is_sent(target in "/v2/[a-z0-9A%2f./_-]{0,24}") {
            if let Some(repository) = repository_of(&target) {
                prop_assert!(path::is_repository_name(&repository));
                let prefix = format!("/v2/{repository}/");
                prop_assert!(target.starts_with(&prefix));
            }
        }
    }
}
