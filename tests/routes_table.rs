//! The table of routes against the list of a zot's routes, both ways: nothing that zot serves is missing, nothing that
//! zot does not serve is in it, and each route is treated as the list says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use http::Method;
use onezot::plan::{Plan, To, plan};
use onezot::rules::{By, Class, ROUTES, Route};
use support::{gateway, golden, say};

/// Rows for what is no route of a zot. They come last, so that they take nothing from the others.
const CATCH_ALLS: &[(&str, Class, &str)] = &[
    ("/v2*", Class::Unrouted, "begins as the registry does, but is none of its routes: unrouted, whatever a node says"),
    ("/*", Class::RouteOnce(By::AnyNode), "files of the web UI, or a 404 that is zot's own"),
];

/// The class in the words of the list.
fn words(class: Class) -> String {
    match class {
        Class::RouteOnce(By::PathRepository(_)) | Class::Mount => "owner".to_owned(),
        Class::RouteOnce(By::QueryRepository(parameter)) => format!("owner of ?{parameter}="),
        Class::RouteOnce(By::AnyNode) => "any node".to_owned(),
        Class::Catalog => "fan-out".to_owned(),
        Class::Documents => "query table".to_owned(),
        Class::Broadcast => "all nodes".to_owned(),
        Class::Identity(_) => "identity".to_owned(),
        Class::Probe => "own".to_owned(),
        Class::Unrouted => "unrouted".to_owned(),
    }
}

/// The path of a row as the list has it: that slashes may be escaped in the rest is onezot's own affair.
fn listed(route: &Route) -> String {
    route.path.replace("**", "*")
}

fn is_catch_all(route: &Route) -> bool {
    CATCH_ALLS.iter().any(|(path, _, _)| *path == route.path)
}

/// Requests that a path of the list stands for.
fn examples(path: &str) -> Vec<String> {
    let filled = path
        .replace("<name>", "team-a/app")
        .replace("<reference>", "1.0")
        .replace("<digest>", "sha256:5ce290151b7d1f86347a6fb2c3cae5bbd009b900596ef3db28ecd704da5a63b5")
        .replace("<session>", "9a5b9b6a-436a-4bc3-ab15-567577be11ed")
        .replace("<provider>", "github");
    match filled.strip_suffix('*') {
        Some(prefix) => vec![prefix.to_owned(), format!("{prefix}{}x", if prefix.ends_with('/') { "" } else { "/" })],
        None => vec![filled],
    }
}

/// What a plan does, in the words of the list, and the path of its row (a refusal names none).
fn planned(plan: &Plan) -> (String, Option<&'static str>) {
    match plan {
        Plan::Forward(route, To::Owner { .. }) => match route.class {
            Class::RouteOnce(By::QueryRepository(parameter)) => (format!("owner of ?{parameter}="), Some(route.path)),
            _ => ("owner".to_owned(), Some(route.path)),
        },
        Plan::Mount(route, _) => ("owner".to_owned(), Some(route.path)),
        Plan::Forward(route, To::Any) => ("any node".to_owned(), Some(route.path)),
        Plan::Catalog(route, _) => ("fan-out".to_owned(), Some(route.path)),
        Plan::Broadcast(route) => ("all nodes".to_owned(), Some(route.path)),
        Plan::Identity(route, _) => ("identity".to_owned(), Some(route.path)),
        Plan::Probe(route) => ("own".to_owned(), Some(route.path)),
        Plan::Unrouted => ("unrouted".to_owned(), None),
        Plan::Documents(route) => ("query table".to_owned(), Some(route.path)),
        Plan::Refuse(other) => (format!("{other:?}"), None),
    }
}

#[test]
fn each_listed_route_is_in_the_table_and_treated_as_listed() {
    let mut wrong = Vec::new();
    let list = golden::routes();
    for (path, methods, class) in &list {
        // `/` alone has no row: it is the shortest of the web UI's files.
        let row = ROUTES.iter().find(|route| listed(route) == *path);
        let row = row.or_else(|| ROUTES.iter().find(|route| path == "/" && route.path == "/*"));
        let Some(row) = row else {
            wrong.push(format!("{path}: listed, and has no row"));
            continue;
        };
        if words(row.class) != *class {
            wrong.push(format!("{path}: {:?} in the table, {class:?} listed", words(row.class)));
        }
        for method in methods {
            let method: Method = method.parse().unwrap();
            // OPTIONS says the same on every node, so it needs no fan-out.
            if !row.methods.is_empty() && !row.methods.contains(&method) && method != Method::OPTIONS {
                wrong.push(format!("{path}: the row is not for {method}"));
            }
        }
        for method in row.methods {
            if !methods.contains(&method.to_string()) {
                wrong.push(format!("{path}: the row is for {method}, which is not listed"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    say(&format!("routes: {} listed, {} rows, {} of them catch-alls", list.len(), ROUTES.len(), CATCH_ALLS.len()));
}

#[test]
fn each_row_is_listed_once_apart_from_the_catch_alls() {
    let list: Vec<String> = golden::routes().into_iter().map(|(path, _, _)| path).collect();
    let mut wrong = Vec::new();
    for path in &list {
        if list.iter().filter(|other| *other == path).count() > 1 {
            wrong.push(format!("{path}: listed twice"));
        }
    }
    for route in ROUTES.iter().filter(|route| !is_catch_all(route)) {
        if !list.contains(&listed(route)) {
            wrong.push(format!("{}: in the table, and not a listed route of a zot", route.path));
        }
        if ROUTES.iter().filter(|other| other.path == route.path).count() > 1 {
            wrong.push(format!("{}: two rows", route.path));
        }
    }
    let last = &ROUTES[ROUTES.len() - CATCH_ALLS.len()..];
    for (route, (path, class, reason)) in last.iter().zip(CATCH_ALLS) {
        if (route.path, route.class, route.methods.is_empty()) != (*path, *class, true) {
            wrong.push(format!("{path} ({reason}) is expected at the end, for all methods; there is {route:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A row that an earlier one hides would be right in the table, and never used.
#[test]
fn requests_of_each_listed_route_are_planned_by_its_row() {
    let nodes: Vec<_> = (5001..5004).map(|port| format!("127.0.0.1:{port}").parse().unwrap()).collect();
    let fleet = gateway::config(&nodes).fleet();
    let mut wrong = Vec::new();
    for (path, methods, class) in golden::routes() {
        for (method, example) in methods.iter().flat_map(|method| examples(&path).into_iter().map(move |e| (method, e)))
        {
            let query = if class.contains('?') { "?action=toggleStar&repo=lib" } else { "" };
            let target = format!("{example}{query}");
            let method: Method = method.parse().unwrap();
            let (does, row) = planned(&plan(&fleet, &method, target.as_bytes()));
            let other_method = ROUTES
                .iter()
                .any(|route| listed(route) == path && !route.methods.is_empty() && !route.methods.contains(&method));
            let expected = if other_method { "any node" } else { class.as_str() };
            if does != expected {
                wrong.push(format!("{method} {target}: {does}, and {expected} expected"));
            }
            let row = row.map(|row| row.replace("**", "*"));
            if row.as_ref().is_some_and(|row| *row != path && !(path == "/" && row == "/*")) {
                wrong.push(format!("{method} {target}: planned by the row {row:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
