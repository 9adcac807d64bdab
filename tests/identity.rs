//! Who asks, over nodes that share nothing: sessions of the web UI and API keys, through two gateways that share nothing but
//! the seal key.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What other tests use of what is shared.
#![allow(dead_code)]

#[path = "support/people.rs"]
mod people;
#[path = "support/stub.rs"]
mod stub;
#[path = "support/wire.rs"]
mod wire;

use onezot::demo::Fault;
use people::{Browser, Fleet, UI, basic, key_file, sealed};
use serde_json::{Value, json};
use stub::{Stub, reply};
use wire::Got;

/// The names in a catalog; the answer must be one.
fn names(got: &Got) -> Vec<String> {
    assert_eq!(got.status, 200, "{}", got.text());
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    body["repositories"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_login_is_good_at_every_node_and_through_every_gateway() {
    let key = key_file("one");
    let mut fleet = Fleet::start(3, people::CLOSED).await;
    let gateways = [fleet.gateway(&sealed(&[&key])).await, fleet.gateway(&sealed(&[&key])).await];
    let everything = fleet.repositories();
    let mut browser = Browser::default();
    // Nobody in particular may see nothing.
    assert_eq!(browser.get(&gateways[0], "/v2/_catalog").await.status, 401);
    fleet.forget_requests();
    let got = browser.log_in(&gateways[0], "alice", "alice-pw").await;
    assert_eq!((got.status, got.header("docker-distribution-api-version")), (200, Some("registry/2.0")));
    assert_eq!(browser.cookies["user"], "alice");
    let line = got.headers.iter().find(|(_, value)| value.starts_with("session=")).unwrap().1.clone();
    assert!(line.starts_with("session=oz1-1.") && line.ends_with("Max-Age=7200; HttpOnly"), "{line}");
    assert!(line.contains("; Path=/; Expires=") && !line.contains("Secure") && !line.contains("SameSite"), "{line}");
    // Each node was told the password once.
    assert_eq!(fleet.told("authorization"), [1, 1, 1]);
    for gateway in &gateways {
        assert_eq!(names(&browser.get(gateway, "/v2/_catalog").await), everything);
        for name in &everything {
            assert_eq!(browser.get(gateway, &format!("/v2/{name}/tags/list")).await.status, 200, "{name}");
        }
        let query = "/v2/_zot/ext/search?query={GlobalSearch(query:%22%22){Repos{Name}}}";
        let found: Value = serde_json::from_slice(&browser.get(gateway, query).await.body).unwrap();
        assert_eq!(found["data"]["GlobalSearch"]["Repos"].as_array().unwrap().len(), everything.len(), "{found}");
    }
    // Preferences are those of the person.
    let target = format!("/v2/_zot/ext/userprefs?action=toggleStar&repo={}", everything[1]);
    assert_eq!(browser.send(&gateways[1], "PUT", &target, "").await.status, 200);
    // A node gets no session but its own.
    for node in 0..3 {
        for seen in fleet.seen(node) {
            let cookie = seen.headers.get("cookie").map_or("", |line| line.to_str().unwrap());
            assert!(!cookie.contains("oz1-"), "{cookie}");
        }
    }
    // Logging out reaches all of them.
    let before = browser.clone();
    let got = browser.send(&gateways[1], "POST", "/zot/auth/logout", "").await;
    assert_eq!((got.status, got.text()), (200, "{}"));
    assert!(!browser.cookies.contains_key("session"), "{:?}", got.headers);
    let mut stolen = before;
    for node in 0..3 {
        let target = format!("/v2/{}/tags/list", fleet.of_node(node));
        assert_eq!(stolen.clone().get(&gateways[0], &target).await.status, 401, "node {node}");
    }
    // The session lives nowhere, so that the browser is told.
    assert_eq!(stolen.get(&gateways[0], "/v2/_catalog").await.status, 401);
    assert!(!stolen.cookies.contains_key("session"));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_begins_anywhere_begins_everywhere() {
    let key = key_file("any");
    let mut fleet = Fleet::start(3, people::CLOSED).await;
    let gateway = fleet.gateway(&sealed(&[&key])).await;
    let everything = fleet.repositories();
    let tags = format!("/v2/{}/tags/list", everything[0]);
    let search = "/v2/_zot/ext/search?query={GlobalSearch(query:%22%22){Repos{Name}}}";
    for target in ["/v2/_catalog", tags.as_str(), search] {
        let mut browser = Browser::default();
        let got = browser.with_password(&gateway, target, "bob", "bob-pw").await;
        assert_eq!(got.status, 200, "{target}");
        assert_eq!(browser.cookies["user"], "bob", "{target}");
        assert_eq!(names(&browser.get(&gateway, "/v2/_catalog").await), everything, "{target}");
    }
    // Whoever is no browser gets no cookie.
    let got = wire::send(gateway.addresses[0], basic("GET", "/v2/", "bob", "bob-pw", "")).await;
    assert!(got.status == 200 && got.header("set-cookie").is_none());
    // Another person takes over the browser.
    let mut browser = Browser::default();
    browser.log_in(&gateway, "bob", "bob-pw").await;
    browser.log_in(&gateway, "alice", "alice-pw").await;
    assert_eq!(browser.cookies["user"], "alice");
    assert_eq!(names(&browser.get(&gateway, "/v2/_catalog").await), everything);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_counts_once() {
    let key = key_file("wrong");
    let mut fleet = Fleet::start(3, people::CLOSED).await;
    let gateway = fleet.gateway(&sealed(&[&key])).await;
    let mut browser = Browser::default();
    fleet.forget_requests();
    let got = browser.log_in(&gateway, "alice", "wrong").await;
    assert_eq!(got.status, 401);
    assert!(got.header("www-authenticate").is_none() && browser.cookies.is_empty(), "{got:?}");
    assert_eq!(fleet.told("authorization").iter().sum::<usize>(), 1);
    // The challenge of a client that is no browser is the node's own.
    let got = wire::send(gateway.addresses[0], basic("GET", "/v2/", "alice", "wrong", "")).await;
    assert_eq!(got.header("www-authenticate"), Some(r#"Basic realm="one realm""#));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_down_at_login_or_forgets_is_missing_and_logs_nobody_out() {
    let key = key_file("down");
    let mut fleet = Fleet::start(3, people::CLOSED).await;
    let gateway = fleet.gateway(&format!("locate: owner\n{}", sealed(&[&key]))).await;
    let everything = fleet.repositories();
    for down in 0..3 {
        let name = format!("zot-{down}");
        let mut browser = Browser::default();
        fleet.take_down(down).await;
        let got = browser.log_in(&gateway, "alice", "alice-pw").await;
        assert_eq!(got.status, 200, "{name}");
        assert!(got.header("warning").unwrap().contains(&name), "{got:?}");
        fleet.put_right(down).await;
        // It is up again, and does not know the session: its part is missing, whatever it says, and by name.
        let search = "/v2/_zot/ext/search?query={GlobalSearch(query:%22%22){Repos{Name}}}".to_owned();
        let star = format!("/v2/_zot/ext/userprefs?action=toggleStar&repo={}", fleet.of_node(down));
        assert_eq!(browser.send(&gateway, "PUT", &star, "").await.status, 502);
        for target in ["/v2/_catalog".to_owned(), search, format!("/v2/{}/tags/list", fleet.of_node(down))] {
            let got = browser.get(&gateway, &target).await;
            assert_eq!(got.status, 502, "{target}");
            assert!(got.text().contains(&format!("node {name} answered 401")), "{}", got.text());
            assert!(browser.cookies["session"].starts_with("oz1-"), "the session lives");
        }
        let got = browser.get(&gateway, &format!("/v2/{}/tags/list", fleet.of_node((down + 1) % 3))).await;
        assert_eq!(got.status, 200);
        // Where any node would do, another one answers.
        assert_eq!(browser.get(&gateway, "/v2/").await.status, 200);
        // Logging in again puts it right.
        assert!(browser.log_in(&gateway, "alice", "alice-pw").await.header("warning").is_none());
        assert_eq!(names(&browser.get(&gateway, "/v2/_catalog").await), everything);
        // A node that starts again has forgotten.
        fleet.restart(down).await;
        let got = browser.get(&gateway, "/v2/_catalog").await;
        assert_eq!((got.status, browser.cookies.contains_key("session")), (502, true), "{}", got.text());
        let some = fleet.gateway(&format!("{}partial: warn\n", sealed(&[&key]))).await;
        let got = browser.get(&some, "/v2/_catalog").await;
        let lacking: Vec<_> = everything.iter().filter(|name| fleet.owner(name) != down).cloned().collect();
        assert_eq!(names(&got), lacking);
        assert!(got.header("warning").unwrap().contains(&name), "{got:?}");
        assert_eq!(browser.get(&some, &format!("/v2/{}/tags/list", fleet.of_node(down))).await.status, 502);
        assert!(browser.cookies.contains_key("session"));
    }
    // When none knows it any more, it is over.
    let mut browser = Browser::default();
    browser.log_in(&gateway, "alice", "alice-pw").await;
    for node in 0..3 {
        fleet.restart(node).await;
    }
    let got = browser.get(&gateway, &format!("/v2/{}/tags/list", everything[0])).await;
    assert_eq!((got.status, browser.cookies.contains_key("session")), (401, false));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_anybody_may_see_is_no_part_of_what_a_person_sees() {
    let key = key_file("mixed");
    let mut fleet = Fleet::start(3, people::MIXED).await;
    let gateway = fleet.gateway(&sealed(&[&key])).await;
    let everything = fleet.repositories();
    let mut nobody = Browser::default();
    let public: Vec<String> = everything.iter().filter(|name| name.starts_with("public/")).cloned().collect();
    assert_eq!(names(&nobody.get(&gateway, "/v2/_catalog").await), public);
    let mut browser = Browser::default();
    browser.log_in(&gateway, "alice", "alice-pw").await;
    assert_eq!(names(&browser.get(&gateway, "/v2/_catalog").await), everything);
    fleet.restart(1).await;
    // The node would list what is public, as it does not know her.
    let got = browser.get(&gateway, "/v2/_catalog").await;
    assert_eq!((got.status, browser.cookies.contains_key("session")), (502, true), "{}", got.text());
    // When all have forgotten her, she sees what anybody sees, as at one zot.
    fleet.restart(0).await;
    fleet.restart(2).await;
    assert_eq!(names(&browser.get(&gateway, "/v2/_catalog").await), public);
    assert!(!browser.cookies.contains_key("session"));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_that_were_changed_are_refused_and_cleared() {
    let key = key_file("tamper");
    let mut fleet = Fleet::start(3, people::CLOSED).await;
    let gateway = fleet.gateway(&sealed(&[&key])).await;
    let foreign = fleet.gateway(&sealed(&[&key_file("foreign")])).await;
    let mut browser = Browser::default();
    browser.log_in(&foreign, "alice", "alice-pw").await;
    let from_elsewhere = browser.cookies["session"].clone();
    browser.log_in(&gateway, "alice", "alice-pw").await;
    let good = browser.cookies["session"].clone();
    let nodes_own = {
        fleet.forget_requests();
        browser.get(&gateway, "/v2/_catalog").await;
        fleet.seen(0)[0].headers["cookie"].to_str().unwrap().split(';').next().unwrap()[8..].to_owned()
    };
    let mut variants = vec![
        from_elsewhere,
        nodes_own,
        String::new(),
        good.replace("oz1-1.", "oz1-2."),
        good.replace("oz1-1.", "oz1-0."),
        good.replace("oz1-", "oz2-"),
        good[6..].to_owned(),
        "oz1-1.".to_owned(),
        format!("{good}A"),
        format!("oz1-1.{}", "A".repeat(40_000)),
        good.to_uppercase(),
    ];
    for at in (6..good.len()).step_by(7) {
        let other = if &good[at..=at] == "A" { "B" } else { "A" };
        variants.push([&good[..at], other, &good[at + 1..]].concat());
    }
    for length in (0..good.len()).step_by(41) {
        variants.push(good[..length].to_owned());
    }
    assert!(variants.len() > 100, "{}", variants.len());
    for (number, variant) in variants.iter().enumerate() {
        fleet.forget_requests();
        let mut browser = Browser::default();
        browser.cookies.insert("session".to_owned(), variant.clone());
        browser.cookies.insert("session-2".to_owned(), "AAAA".to_owned());
        let got = browser.get(&gateway, &format!("/v2/{}/tags/list", fleet.of_node(number % 3))).await;
        assert_eq!(got.status, 401, "{variant}");
        assert!(browser.cookies.is_empty(), "{variant}: {:?}", got.headers);
        // No node gets anything of it.
        assert_eq!(fleet.told("cookie").iter().sum::<usize>(), 0, "{variant}");
    }
    println!("{} changed cookies are refused and cleared", variants.len());
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seal_keys_rotate() {
    let (old, new) = (key_file("old"), key_file("new"));
    let mut fleet = Fleet::start(3, people::CLOSED).await;
    let before = fleet.gateway(&sealed(&[&old])).await;
    let between = fleet.gateway(&sealed(&[&new, &old])).await;
    let after = fleet.gateway(&sealed(&[&new])).await;
    let mut early = Browser::default();
    early.log_in(&before, "alice", "alice-pw").await;
    let old_key = people::create_key(&before, "alice", "alice-pw", "early").await;
    let mut late = Browser::default();
    late.log_in(&between, "alice", "alice-pw").await;
    let new_key = people::create_key(&between, "alice", "alice-pw", "late").await;
    let by_key = async |gateway: &_, key: &Value| people::with_key(gateway, "/v2/_catalog", "alice", key).await.status;
    assert_eq!(early.clone().get(&between, "/v2/_catalog").await.status, 200);
    assert_eq!(by_key(&between, &old_key).await, 200);
    assert_eq!(late.clone().get(&after, "/v2/_catalog").await.status, 200);
    assert_eq!(by_key(&after, &new_key).await, 200);
    assert_eq!(early.get(&after, "/v2/_catalog").await.status, 401);
    assert_eq!(by_key(&after, &old_key).await, 401);
    assert_eq!(late.get(&before, "/v2/_catalog").await.status, 401);
    assert_eq!(by_key(&before, &new_key).await, 401);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_seal_key_sessions_are_those_of_the_process_and_api_keys_are_refused() {
    let mut fleet = Fleet::start(2, people::CLOSED).await;
    let gateway = fleet.gateway("").await;
    let mut browser = Browser::default();
    browser.log_in(&gateway, "alice", "alice-pw").await;
    assert_eq!(browser.get(&gateway, "/v2/_catalog").await.status, 200);
    fleet.forget_requests();
    for method in ["GET", "POST", "DELETE"] {
        let got = browser.send(&gateway, method, "/zot/auth/apikey?id=1", "{}").await;
        assert_eq!(got.status, 501, "{method}");
        assert!(got.text().contains("identity.seal_keys") && got.text().contains("--seal-key-file"), "{}", got.text());
    }
    for node in 0..2 {
        assert!(fleet.seen(node).iter().all(|seen| seen.method == "OPTIONS"), "nothing was made or revoked");
    }
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_is_left_alone() {
    let mut fleet = Fleet::start(1, people::CLOSED).await;
    let gateway = fleet.gateway("").await;
    let mut browser = Browser::default();
    browser.log_in(&gateway, "alice", "alice-pw").await;
    assert!(!browser.cookies["session"].starts_with("oz1-"));
    let key = people::create_key(&gateway, "alice", "alice-pw", "plain").await;
    assert_eq!(key["apiKey"].as_str().unwrap().len(), 36);
    assert_eq!(people::with_key(&gateway, "/v2/_catalog", "alice", &key).await.status, 200);
    let got = browser.send(&gateway, "POST", "/zot/auth/logout", "").await;
    assert!(got.status == 200 && !browser.cookies.contains_key("session"));
    // A session of a time with more nodes is none here.
    browser.cookies.insert("session".to_owned(), "oz1-1.AAAA".to_owned());
    assert_eq!(browser.get(&gateway, "/v2/_catalog").await.status, 401);
    assert!(!browser.cookies.contains_key("session"));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_tls_cookies_are_for_tls_only() {
    let key = key_file("secure");
    let mut fleet = Fleet::start(2, people::CLOSED).await;
    let gateway = fleet.gateway(&format!("{}trusted_proxies: [127.0.0.1]\n", sealed(&[&key]))).await;
    for (told, is_secure) in
        [("X-Forwarded-Proto: https\r\n", true), ("X-Forwarded-Proto: http\r\n", false), ("", false)]
    {
        let got =
            wire::send(gateway.addresses[0], basic("GET", "/v2/", "alice", "alice-pw", &format!("{UI}{told}"))).await;
        let lines: Vec<&String> = got
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
            .map(|(_, line)| line)
            .collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.iter().all(|line| line.ends_with("; Secure") == is_secure), "{told}: {lines:?}");
    }
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_many_nodes_are_cut_into_cookies() {
    let key = key_file("many");
    let mut fleet = Fleet::start(30, people::CLOSED).await;
    let gateway = fleet.gateway(&sealed(&[&key])).await;
    let mut browser = Browser::default();
    browser.log_in(&gateway, "alice", "alice-pw").await;
    let sizes: Vec<usize> = ["session", "session-2"].map(|name| browser.cookies[name].len()).into();
    assert!(sizes.iter().all(|size| *size < 4000) && sizes.iter().sum::<usize>() > 5000, "{sizes:?}");
    assert_eq!(names(&browser.get(&gateway, "/v2/_catalog").await), fleet.repositories());
    let got = browser.send(&gateway, "POST", "/zot/auth/logout", "").await;
    assert!(got.status == 200 && browser.cookies.keys().all(|name| name == "user"), "{:?}", browser.cookies.keys());
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_and_mounts_over_nodes_are_those_of_the_user() {
    let key = key_file("push");
    let mut fleet = Fleet::start(3, people::CLOSED).await;
    let gateway = fleet.gateway(&sealed(&[&key])).await;
    let made = people::create_key(&gateway, "alice", "alice-pw", "ci").await;
    let password = made["apiKey"].as_str().unwrap();
    let mut browser = Browser::default();
    browser.log_in(&gateway, "alice", "alice-pw").await;
    let octets = "Content-Type: application/octet-stream\r\n";
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let there = fleet.of_node(from);
        for by_browser in [false, true] {
            // A blob that only this node has.
            let bytes = format!("{from} {by_browser}");
            let blob = people::digest(bytes.as_bytes());
            let push = format!("/v2/{there}/blobs/uploads/?digest={blob}");
            let got = browser.ask(&gateway, "POST", &push, octets, &bytes).await;
            assert_eq!(got.status, 201, "{}", got.text());
            let target = format!("/v2/{}/blobs/uploads/?mount={blob}&from={there}", fleet.of_node(to));
            let got = match by_browser {
                true => browser.send(&gateway, "POST", &target, "").await,
                false => wire::send(gateway.addresses[0], basic("POST", &target, "alice", password, "")).await,
            };
            assert_eq!(got.status, 201, "{target}: {}", got.text());
        }
    }
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_names_the_gateway_and_no_node() {
    // A zot that gives tokens itself, with its own address in its configuration.
    let challenging = || {
        Stub::new(|seen| {
            let own = seen.header("host").unwrap();
            let challenge = match &*seen.target {
                "/v2/" => format!("bearer realm=http://{own}/zot/auth/token"),
                "/v2/elsewhere/tags/list" => {
                    r#"Bearer realm="https://id.example/token",service="zot",scope="""#.to_owned()
                }
                _ => format!(r#"Bearer realm="http://{own}/zot/auth/token",service="zot",scope="registry:catalog:*""#),
            };
            let mut answer = reply(401, "");
            answer.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
            answer
        })
    };
    let nodes = [challenging().await, challenging().await];
    let addresses = nodes.each_ref().map(|node| node.address);
    let gateway = wire::gateway(&addresses, "trusted_proxies: [127.0.0.1]\n").await;
    let elsewhere = r#"Bearer realm="https://id.example/token",service="zot",scope="""#;
    for (target, lines, expected) in [
        ("/v2/", "", "bearer realm=http://registry.example/zot/auth/token"),
        (
            "/v2/_catalog",
            "",
            r#"Bearer realm="http://registry.example/zot/auth/token",service="zot",scope="registry:catalog:*""#,
        ),
        (
            "/v2/lib/tags/list",
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: hub.example\r\n",
            r#"Bearer realm="https://hub.example/zot/auth/token",service="zot",scope="registry:catalog:*""#,
        ),
        ("/v2/elsewhere/tags/list", "", elsewhere),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: registry.example\r\n{lines}Connection: close\r\n\r\n");
        let got = wire::send(gateway.addresses[0], request).await;
        assert_eq!((got.status, got.header("www-authenticate")), (401, Some(expected)), "{target}");
    }
    gateway.stop().await;
}

/// A node that has a provider of identities, as far as onezot can tell; it remembers its state in a cookie.
async fn with_provider(name: &'static str) -> Stub {
    Stub::new(move |seen| {
        let path = seen.target.split('?').next().unwrap();
        let mut answer = reply(200, "");
        let mut set = |status: u16, lines: &[(&str, String)]| {
            *answer.status_mut() = status.try_into().unwrap();
            for (line, value) in lines {
                answer.headers_mut().append(http::HeaderName::try_from(*line).unwrap(), value.parse().unwrap());
            }
        };
        match path {
            "/zot/auth/login" => set(
                302,
                &[
                    (
                        "location",
                        format!("https://id.example/authorize?client_id=zot&state=state-of-{name}&scope=openid"),
                    ),
                    ("set-cookie", format!("statecookie={name}; Path=/zot/auth/callback; HttpOnly")),
                ],
            ),
            "/zot/auth/callback/oidc" if seen.target == format!("{path}?code=c1&state=state-of-{name}") => set(
                302,
                &[
                    ("location", "/home".to_owned()),
                    ("set-cookie", "session=shared==; Path=/; Max-Age=7200; HttpOnly".to_owned()),
                    ("set-cookie", "user=carol; Path=/; Max-Age=7200".to_owned()),
                ],
            ),
            "/zot/auth/callback/oidc" => set(401, &[]),
            _ if seen.header("cookie").is_some_and(|line| line.starts_with("session=shared==")) => {
                answer = reply(200, r#"{"repositories":[]}"#);
            }
            _ => set(401, &[("set-cookie", "session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT".to_owned())]),
        }
        answer
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_at_a_provider_stays_at_its_node_and_is_refused_where_it_would_reach_one_only() {
    let key = key_file("oidc");
    let nodes = [with_provider("a").await, with_provider("b").await];
    let addresses = nodes.each_ref().map(|node| node.address);
    let login = "GET /zot/auth/login?provider=oidc HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n";
    let gateway = wire::gateway(&addresses, &sealed(&[&key])).await;
    let got = wire::send(gateway.addresses[0], login).await;
    assert_eq!(got.status, 501);
    assert!(got.text().contains("metadata: shared") && got.header("location").is_none(), "{}", got.text());
    // A callback that comes all the same leaves no half of a session behind.
    let got = wire::get(gateway.addresses[0], "/zot/auth/callback/oidc?code=c1&state=state-of-a").await;
    let session = got.headers.iter().any(|(_, value)| value.starts_with("session="));
    assert!(got.status == 302 && !session, "{got:?}");
    gateway.stop().await;

    let gateway = wire::gateway(&addresses, &format!("metadata: shared\n{}", sealed(&[&key]))).await;
    let got = wire::send(gateway.addresses[0], login).await;
    assert_eq!(got.status, 302);
    let location = url::Url::parse(got.header("location").unwrap()).unwrap();
    let state = location.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    assert!(state.starts_with("state-of-a.oz1-"), "{state}");
    // The first node is in trouble by now; the callback goes where the sign-in began, and nowhere else.
    let mut browser = Browser::default();
    let got = browser.get(&gateway, &format!("/zot/auth/callback/oidc?code=c1&state={state}")).await;
    assert_eq!((got.status, got.header("location")), (302, Some("/home")));
    assert_eq!(browser.cookies["user"], "carol");
    assert!(nodes[1].seen().iter().all(|seen| !seen.target.contains("callback")));
    // All know the session, as they share it.
    assert_eq!(browser.get(&gateway, "/v2/_catalog").await.status, 200);
    // A state of another node.
    let other = state.replace("state-of-a", "state-of-b");
    let got = browser.get(&gateway, &format!("/zot/auth/callback/oidc?code=c1&state={other}")).await;
    assert_eq!(got.status, 401);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn api_keys_are_made_used_listed_and_revoked_everywhere() {
    let key = key_file("keys");
    let mut fleet = Fleet::start(3, people::CLOSED).await;
    let gateways = [fleet.gateway(&sealed(&[&key])).await, fleet.gateway(&sealed(&[&key])).await];
    let everything = fleet.repositories();
    let mut browser = Browser::default();
    browser.log_in(&gateways[0], "alice", "alice-pw").await;
    // Made in the browser, and by a client with a password.
    let body = r#"{"label":"ci <1>","scopes":["x"],"expirationDate":"2099-01-01T00:00:00Z"}"#;
    let got = browser.send(&gateways[0], "POST", "/zot/auth/apikey", body).await;
    assert_eq!((got.status, got.header("content-type")), (201, Some("application/json")));
    assert!(got.text().contains(r#""label":"ci \u003c1\u003e","scopes":["x"],"uuid":""#), "{}", got.text());
    let first: Value = serde_json::from_slice(&got.body).unwrap();
    let second = people::create_key(&gateways[1], "alice", "alice-pw", "").await;
    assert_eq!(second["label"], "");
    let sizes = [&first, &second].map(|key| key["apiKey"].as_str().unwrap().len());
    assert_eq!(sizes, [171, 166]);
    for gateway in &gateways {
        for key in [&first, &second] {
            assert_eq!(names(&people::with_key(gateway, "/v2/_catalog", "alice", key).await), everything);
            for name in &everything {
                let got = people::with_key(gateway, &format!("/v2/{name}/tags/list"), "alice", key).await;
                assert_eq!(got.status, 200, "{name}");
            }
            // It is hers, and begins no session.
            assert_eq!(people::with_key(gateway, "/v2/_catalog", "bob", key).await.status, 401);
            let password = key["apiKey"].as_str().unwrap();
            let got = wire::send(gateway.addresses[0], basic("GET", "/v2/", "alice", password, UI)).await;
            assert!(got.status == 200 && got.header("set-cookie").is_none(), "{got:?}");
        }
    }
    // Listed once each, the oldest first, and as one zot lists them.
    let listed = people::keys(&gateways[1], "alice", "alice-pw").await;
    assert_eq!(listed.len(), 2, "{listed:?}");
    for (told, made) in listed.iter().zip([&first, &second]) {
        let fields: Vec<&String> = told.as_object().unwrap().keys().collect();
        let expected = [
            "createdAt",
            "expirationDate",
            "isExpired",
            "creatorUa",
            "generatedBy",
            "lastUsed",
            "label",
            "scopes",
            "uuid",
        ];
        assert_eq!(fields, expected);
        for field in ["createdAt", "expirationDate", "label", "scopes", "uuid"] {
            assert_eq!(told[field], made[field], "{field}");
        }
        assert_ne!(told["lastUsed"], "0001-01-01T00:00:00Z");
    }
    assert!(people::keys(&gateways[0], "bob", "bob-pw").await.is_empty());
    // A key that a node made by itself is listed and can be revoked, too.
    let own = wire::send(fleet.node(1).address(), people::posted("alice", "alice-pw", r#"{"label":"own"}"#)).await;
    let own: Value = serde_json::from_slice(&own.body).unwrap();
    assert_eq!(people::keys(&gateways[0], "alice", "alice-pw").await.len(), 3);
    for gone in [&own, &first] {
        let target = format!("/zot/auth/apikey?id={}", gone["uuid"].as_str().unwrap());
        let got = browser.send(&gateways[1], "DELETE", &target, "").await;
        assert_eq!((got.status, got.text()), (200, ""));
    }
    for gateway in &gateways {
        assert_eq!(people::with_key(gateway, "/v2/_catalog", "alice", &first).await.status, 401);
        assert_eq!(people::with_key(gateway, "/v2/_catalog", "alice", &second).await.status, 200);
    }
    for node in 0..3 {
        assert_eq!(people::keys(&fleet.node(node).address(), "alice", "alice-pw").await.len(), 1);
    }
    // As one zot answers: what is not there is gone, and what is no request is none.
    for (method, target, body, status) in [
        ("DELETE", "/zot/auth/apikey?id=nope", "", 200),
        ("DELETE", "/zot/auth/apikey", "", 400),
        ("DELETE", "/zot/auth/apikey?id=1&id=2", "", 400),
        ("POST", "/zot/auth/apikey", "{\"label\":1}", 400),
        ("POST", "/zot/auth/apikey", "", 400),
        ("POST", "/zot/auth/apikey", "{\"expirationDate\":\"2009-01-01T00:00:00Z\"}", 400),
        ("PUT", "/zot/auth/apikey", "", 405),
        ("OPTIONS", "/zot/auth/apikey", "", 204),
    ] {
        let got = browser.send(&gateways[0], method, target, body).await;
        assert_eq!((got.status, got.body.len()), (status, 0), "{method} {target} {body}");
    }
    let got = wire::send(gateways[0].addresses[0], basic("GET", "/zot/auth/apikey", "alice", "wrong", "")).await;
    assert_eq!(got.status, 401);
    assert_eq!(Browser::default().get(&gateways[0], "/zot/auth/apikey").await.status, 401);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_not_every_node_makes_is_none() {
    let key = key_file("partial");
    let mut fleet = Fleet::start(3, people::CLOSED).await;
    let gateway = fleet.gateway(&sealed(&[&key])).await;
    for down in 0..3 {
        for fault in [Fault::Down, Fault::Status(http::StatusCode::SERVICE_UNAVAILABLE), Fault::BadJson] {
            match &fault {
                Fault::Down => fleet.take_down(down).await,
                other => fleet.node(down).faults().set_for("/zot/auth/apikey", other.clone()),
            }
            let got = wire::send(gateway.addresses[0], people::posted("alice", "alice-pw", r#"{"label":"x"}"#)).await;
            // The first node's own refusal is the client's.
            let relayed = down == 0 && fault != Fault::Down;
            if !relayed {
                assert_eq!(got.status, 502, "{down} {fault:?} {}", got.text());
                assert!(got.text().contains(&format!("zot-{down}")), "{}", got.text());
            }
            assert!(!got.text().contains("zak_"));
            fleet.put_right(down).await;
            for node in 0..3 {
                let left = people::keys(&fleet.node(node).address(), "alice", "alice-pw").await;
                assert!(left.is_empty(), "{down} {fault:?} node {node}: {left:?}");
            }
        }
    }
    // Revoking reaches whom it can, says whom it cannot, and can be repeated.
    let made = people::create_key(&gateway, "alice", "alice-pw", "x").await;
    let target = format!("/zot/auth/apikey?id={}", made["uuid"].as_str().unwrap());
    fleet.take_down(1).await;
    let got = wire::send(gateway.addresses[0], basic("DELETE", &target, "alice", "alice-pw", "")).await;
    assert_eq!(got.status, 502);
    assert!(got.text().contains("node zot-1 cannot be reached"), "{}", got.text());
    fleet.put_right(1).await;
    let left = async |node: usize| people::keys(&fleet.node(node).address(), "alice", "alice-pw").await;
    assert_eq!([left(0).await.len(), left(1).await.len(), left(2).await.len()], [0, 1, 0]);
    let got = wire::send(gateway.addresses[0], basic("DELETE", &target, "alice", "alice-pw", "")).await;
    assert_eq!((got.status, left(1).await.len()), (200, 0));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_later_does_not_take_what_was_sealed_before() {
    let key = key_file("later");
    let mut fleet = Fleet::start(3, people::MIXED).await;
    let two = fleet.gateway_over(2, &sealed(&[&key])).await;
    let three = fleet.gateway(&sealed(&[&key])).await;
    let mut browser = Browser::default();
    browser.log_in(&two, "alice", "alice-pw").await;
    let made = people::create_key(&two, "alice", "alice-pw", "early").await;
    assert_eq!(people::with_key(&two, "/v2/_catalog", "alice", &made).await.status, 200);
    assert_eq!(browser.get(&two, "/v2/_catalog").await.status, 200);
    // The new node is missing by name, and does not answer with what anybody may see.
    for got in
        [people::with_key(&three, "/v2/_catalog", "alice", &made).await, browser.get(&three, "/v2/_catalog").await]
    {
        assert_eq!(got.status, 502);
        assert!(got.text().contains("node zot-2 answered 401"), "{}", got.text());
    }
    assert!(browser.cookies.contains_key("session"));
    // A new login and a new key are good everywhere; the list has both keys.
    browser.log_in(&three, "alice", "alice-pw").await;
    assert_eq!(browser.get(&three, "/v2/_catalog").await.status, 200);
    let again = people::create_key(&three, "alice", "alice-pw", "again").await;
    assert_eq!(people::with_key(&three, "/v2/_catalog", "alice", &again).await.status, 200);
    let labels: Vec<Value> =
        people::keys(&three, "alice", "alice-pw").await.iter().map(|key| key["label"].clone()).collect();
    assert_eq!(labels, [json!("early"), json!("again")]);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_were_changed_are_nobodys() {
    let key = key_file("changed");
    let mut fleet = Fleet::start(3, people::MIXED).await;
    let gateway = fleet.gateway(&sealed(&[&key])).await;
    let made = people::create_key(&gateway, "alice", "alice-pw", "x").await;
    let good = made["apiKey"].as_str().unwrap();
    let mut browser = Browser::default();
    browser.log_in(&gateway, "alice", "alice-pw").await;
    let session = format!("zak_oz1_{}", &browser.cookies["session"][6..]);
    let mut variants = vec![session, "zak_oz1_".to_owned(), format!("{good}A"), good.replace("oz1", "oz2")];
    for at in (8..good.len()).step_by(5) {
        let other = if &good[at..=at] == "A" { "B" } else { "A" };
        variants.push([&good[..at], other, &good[at + 1..]].concat());
        variants.push(good[..at].to_owned());
    }
    for variant in &variants {
        for target in ["/v2/_catalog".to_owned(), "/v2/".to_owned(), format!("/v2/{}/tags/list", fleet.of_node(1))] {
            let got = people::with_key(&gateway, &target, "alice", &json!({"apiKey": variant})).await;
            assert_eq!(got.status, 401, "{target} {variant}");
        }
    }
    println!("{} changed keys are refused", variants.len());
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_at_some_nodes_only_gets_no_part_for_the_whole() {
    let key = key_file("policies");
    let mut fleet = Fleet::start_with(3, |node| {
        let mut users = people::users();
        if node == 2 {
            users.remove("bob");
        }
        (people::CLOSED, users)
    })
    .await;
    let gateway = fleet.gateway(&format!("locate: owner\n{}", sealed(&[&key]))).await;
    let mut browser = Browser::default();
    let got = browser.log_in(&gateway, "bob", "bob-pw").await;
    assert_eq!(got.status, 200);
    assert!(got.header("warning").unwrap().contains("zot-2"), "{got:?}");
    let got = browser.get(&gateway, "/v2/_catalog").await;
    assert_eq!(got.status, 502);
    assert!(got.text().contains("node zot-2 answered 401"), "{}", got.text());
    let got = wire::send(gateway.addresses[0], basic("GET", "/v2/_catalog", "bob", "bob-pw", "")).await;
    assert_eq!(got.status, 502, "with his password, too");
    let got = wire::send(gateway.addresses[0], people::posted("bob", "bob-pw", "{}")).await;
    assert_eq!(got.status, 502);
    assert!(people::keys(&fleet.node(0).address(), "bob", "bob-pw").await.is_empty());
    assert_eq!(browser.get(&gateway, &format!("/v2/{}/tags/list", fleet.of_node(0))).await.status, 200);
    assert!(browser.cookies.contains_key("session"));
    fleet.stop().await;
}
