//! What `deploy/` has for other programs fits this one: configurations are accepted, and ports, paths and names agree.
//!
//! That those programs accept it is checked by `tests/run` (step "deploy"), with helm and what docker reads files with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use onezot::config::{Config, Flags};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The documents of a file of YAML.
fn documents(text: &str) -> Vec<Value> {
    let parts = text.split("\n---\n").map(|part| serde_saphyr::from_str(part).unwrap());
    parts.filter(|value: &Value| !value.is_null()).collect()
}

/// What `onezot verify` says of a configuration, which must be good.
fn verified(text: &str) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_onezot")).arg("verify").arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stderr));
    Config::load(Some(file.path()), [], &Flags::default()).unwrap()
}

fn node_urls(config: &Config) -> Vec<String> {
    config.nodes.iter().map(|node| node.url.to_string()).collect()
}

fn port(address: &str) -> u64 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// `onezot ARGUMENTS --help` knows the command and its options.
fn is_understood(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_onezot")).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

fn objects(file: &str, kind: &str) -> Vec<Value> {
    documents(&read(file)).into_iter().filter(|object| object["kind"] == kind).collect()
}

/// The container `onezot` of the only object of a kind.
fn container(object: &Value) -> &Value {
    let containers = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    containers.iter().find(|container| container["name"] == "onezot").unwrap()
}

fn config_files(file: &str) -> serde_json::Map<String, Value> {
    let all = objects(file, "ConfigMap");
    all.iter().find(|map| map["metadata"]["name"] == "onezot").unwrap()["data"].as_object().unwrap().clone()
}

/// What the kubelet does with a container, against what the configuration and the binary say.
fn agrees(container: &Value, config: &Config) {
    let ports = container["ports"].as_array().unwrap();
    let http = ports.iter().find(|port| port["name"] == "http").unwrap();
    let listen = serde_json::to_value(config).unwrap()["listen"].clone();
    assert_eq!(strings(&listen).into_iter().map(port).collect::<Vec<_>>(), [http["containerPort"].as_u64().unwrap()]);
    for (probe, path) in [("startupProbe", "/startupz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        let get = &container[probe]["httpGet"];
        assert_eq!((get["path"].as_str(), get["port"].as_str()), (Some(path), Some("http")), "{probe}");
        let plan = Command::new(env!("CARGO_BIN_EXE_onezot"))
            .args(["explain", "GET", path, "--node", "http://127.0.0.1:9"])
            .output()
            .unwrap();
        let plan = String::from_utf8(plan.stdout).unwrap();
        assert!(plan.starts_with("class: probe\n"), "{path}: {plan}");
    }
    let arguments = strings(&container["args"]);
    is_understood(&arguments);
    assert_eq!(arguments[..2], ["serve", "--config"]);
}

#[test]
fn the_compose_file_starts_the_nodes_that_its_configuration_names() {
    let compose: Value = serde_saphyr::from_str(&read("deploy/compose.yaml")).unwrap();
    let services = compose["services"].as_object().unwrap();
    let config = verified(&read("deploy/compose/onezot.yaml"));
    let zot: Value = serde_json::from_str(&read("deploy/compose/zot.json")).unwrap();
    let zots: Vec<_> = services.keys().filter(|name| *name != "onezot").collect();
    let port_of_zot = zot["http"]["port"].as_str().unwrap();
    assert_eq!(node_urls(&config), zots.iter().map(|name| format!("http://{name}:{port_of_zot}")).collect::<Vec<_>>());
    assert_eq!(
        config.nodes.iter().map(|node| node.name()).collect::<Vec<_>>(),
        zots.into_iter().cloned().collect::<Vec<_>>()
    );
    let onezot = &services["onezot"];
    let command = strings(&onezot["command"]);
    is_understood(&command);
    assert!(onezot["volumes"].as_array().unwrap().iter().any(|volume| volume["target"] == command[2]), "{command:?}");
    let (_, inside) = strings(&onezot["ports"])[0].rsplit_once(':').unwrap();
    assert_eq!(inside, "5000", "where the health check of the image asks");
    assert_eq!(onezot["read_only"], true);
}

#[test]
fn the_image_is_made_of_what_the_context_has_and_starts_this_program() {
    let dockerfile = read("deploy/Dockerfile");
    let last = dockerfile.rsplit_once("\nFROM ").unwrap().1;
    let list = |instruction: &str| -> Vec<String> {
        let line = last.lines().find_map(|line| line.strip_prefix(&format!("{instruction} ")));
        serde_json::from_str(&line.unwrap()[line.unwrap().find('[').unwrap()..]).unwrap()
    };
    let entry = list("ENTRYPOINT");
    assert!(dockerfile.contains(&format!("/release/onezot {}\n", entry[0])), "{entry:?}");
    is_understood(&list("CMD").iter().map(String::as_str).collect::<Vec<_>>());
    let health = list("HEALTHCHECK");
    assert_eq!(health[0], entry[0]);
    is_understood(&health[1..].iter().map(String::as_str).collect::<Vec<_>>());
    let rust = dockerfile.split_once("FROM rust:").unwrap().1.split('-').next().unwrap();
    assert!(read("Cargo.toml").contains(&format!("rust-version = \"{rust}\"")), "built with {rust}");

    // The context is what .dockerignore lets in: Cargo must find all that Cargo.toml names in it.
    let context = tempfile::tempdir().unwrap();
    let ignore = read(".dockerignore");
    let mut lines = ignore.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"));
    for line in lines {
        let source = line.strip_prefix('!').unwrap();
        let folder = context.path().join(Path::new(source).parent().unwrap());
        std::fs::create_dir_all(&folder).unwrap();
        let copy = format!("cp -R {source} {}/", folder.display());
        assert!(Command::new("sh").args(["-c", &copy]).status().unwrap().success(), "{copy}");
    }
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--locked"])
        .current_dir(context.path())
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
}

#[test]
fn the_gateways_of_the_chart_find_a_statefulset_by_its_headless_service() {
    let file = "deploy/kubernetes/gateway.yaml";
    let files = config_files(file);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["onezot.yaml"]);
    let config = verified(files["onezot.yaml"].as_str().unwrap());
    let urls: Vec<_> = (0..3).map(|n| format!("http://zot-{n}.zot-headless.zot.svc.cluster.local:5000")).collect();
    assert_eq!(node_urls(&config), urls);
    let [deployment] = &objects(file, "Deployment")[..] else { panic!("one deployment") };
    let container = container(deployment);
    agrees(container, &config);
    assert_eq!(container["args"][2], "/etc/onezot/onezot.yaml");
    let grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    let wanted = config.timeouts.linger + config.timeouts.drain;
    assert!(grace > wanted.as_secs() && !config.timeouts.linger.is_zero(), "it has {grace} s to end");
    let limit = container["resources"]["limits"]["memory"].as_str().unwrap();
    let limit: bytesize::ByteSize = format!("{limit}B").parse().unwrap();
    assert!(limit > config.limits.total_answer_bytes, "{limit}");
}

#[test]
fn the_gateways_may_watch_the_service_that_they_find_nodes_by() {
    let file = "deploy/kubernetes/discovery.yaml";
    let text = config_files(file)["onezot.yaml"].as_str().unwrap().to_owned();
    let config: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(config["discovery"]["kubernetes"], "zot/zot-headless:zot");
    assert_eq!(config["discovery"]["at_least"], 3, "fewer would be another placement");
    // Whether it is taken depends on how this onezot is built; the image is built with it.
    let by_dns = text.replace("kubernetes: zot/zot-headless:zot", "dns: _zot._tcp.zot-headless.zot.svc.cluster.local");
    verified(&by_dns);
    if cfg!(feature = "kubernetes") {
        verified(&text);
    }
    assert!(read("deploy/Dockerfile").contains("FEATURES=demo,kubernetes\n"));
    let [role] = &objects(file, "Role")[..] else { panic!("one role") };
    assert_eq!(role["metadata"]["namespace"], "zot");
    assert_eq!(strings(&role["rules"][0]["verbs"]), ["get", "list", "watch"]);
    let [deployment] = &objects(file, "Deployment")[..] else { panic!("one deployment") };
    assert_eq!(deployment["spec"]["template"]["spec"]["automountServiceAccountToken"], true);
}

#[test]
fn each_sidecar_has_its_own_node_at_localhost_and_all_have_the_same_nodes() {
    let file = "deploy/kubernetes/sidecar.yaml";
    let [set] = &objects(file, "StatefulSet")[..] else { panic!("one set") };
    let files = config_files(file);
    assert_eq!(files.len() as u64, set["spec"]["replicas"].as_u64().unwrap());
    let container = container(set);
    assert_eq!(container["args"][2], "/etc/onezot/$(POD_NAME).yaml");
    let headless = set["spec"]["serviceName"].as_str().unwrap();
    let zot = &set["spec"]["template"]["spec"]["containers"][0];
    let port = &zot["ports"][0]["containerPort"];
    for number in 0..files.len() {
        let pod = format!("{}-{number}", set["metadata"]["name"].as_str().unwrap());
        let config = verified(files[&format!("{pod}.yaml")].as_str().unwrap());
        agrees(container, &config);
        for (other, node) in config.nodes.iter().enumerate() {
            let name = format!("onezot-{other}");
            let host =
                if name == pod { "127.0.0.1".to_owned() } else { format!("{name}.{headless}.zot.svc.cluster.local") };
            assert_eq!((node.name(), node.url.to_string()), (name, format!("http://{host}:{port}")));
        }
        assert_eq!(config.nodes.len(), files.len());
    }
    let zot_files = objects(file, "ConfigMap").into_iter().find(|map| map["metadata"]["name"] == "onezot-zot").unwrap();
    let zot_config: Value = serde_json::from_str(zot_files["data"]["config.json"].as_str().unwrap()).unwrap();
    assert_eq!(zot_config["http"]["port"], port.to_string());
    let mounts = zot["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| mount["mountPath"] == zot_config["storage"]["rootDirectory"]));
    assert_eq!(set["spec"]["podManagementPolicy"], "Parallel", "no node waits for a fleet that waits for it");

    // The service of the fleet leads to onezot, not to zot.
    let services = objects(file, "Service");
    let service = services.iter().find(|service| service["metadata"]["name"] == "onezot").unwrap();
    assert_eq!(service["spec"]["ports"][0]["targetPort"], container["ports"][0]["name"]);
}

#[test]
fn the_chart_and_the_images_have_one_version_each() {
    let chart: Value = serde_saphyr::from_str(&read("deploy/helm/onezot/Chart.yaml")).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let values: Value = serde_saphyr::from_str(&read("deploy/helm/onezot/values.yaml")).unwrap();
    let image = &values["sidecar"]["zot"]["image"];
    let zot = format!("{}:{}", image["repository"].as_str().unwrap(), image["tag"].as_str().unwrap());
    assert!(read("deploy/compose.yaml").contains(&format!("image: {zot}\n")), "{zot}");
}

#[test]
fn the_unit_starts_this_program_and_its_examples_are_valid() {
    let unit = read("deploy/systemd/onezot.service");
    let line = |key: &str| unit.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).unwrap().to_owned();
    let start = line("ExecStart");
    let words: Vec<_> = start.split_whitespace().collect();
    is_understood(&words[1..]);
    let check = line("ExecStartPre");
    let check: Vec<_> = check.split_whitespace().collect();
    is_understood(&check[1..2]);
    assert_eq!(check[2], words[3], "what is checked is what is served");
    let config = verified(&read("deploy/systemd/onezot.yaml"));
    let stop: u64 = line("TimeoutStopSec").parse().unwrap();
    assert!(stop > config.timeouts.drain.as_secs());

    // Each line of the environment file is a key, with a value that is taken.
    let environment = read("deploy/systemd/onezot.env");
    let assignments = environment.lines().filter_map(|line| line.trim_start_matches('#').trim().split_once('='));
    let assignments = assignments.filter(|(name, _)| name.starts_with("ONEZOT_"));
    let mut found = 0;
    for (name, value) in assignments {
        let loaded = Config::load(
            None,
            [(name.to_owned(), value.to_owned())],
            &Flags { nodes: vec!["http://127.0.0.1:9".to_owned()], ..Flags::default() },
        );
        assert_ne!(loaded.unwrap(), default_with_that_node(), "{name} changes nothing");
        found += 1;
    }
    assert!(found > 0);
}

fn default_with_that_node() -> Config {
    Config::load(None, [], &Flags { nodes: vec!["http://127.0.0.1:9".to_owned()], ..Flags::default() }).unwrap()
}

/// The documents about deploying.
const DOCUMENTS: [&str; 5] =
    ["README.md", "CONTRIBUTING.md", "deploy/README.md", "deploy/MIGRATE.md", "deploy/OPERATIONS.md"];

#[test]
fn what_the_documents_name_is_there() {
    let chart = "deploy/helm/onezot/README.md";
    let values: Value = serde_saphyr::from_str(&read("deploy/helm/onezot/values.yaml")).unwrap();
    let mut seen = [0; 3];
    for file in DOCUMENTS.into_iter().chain([chart]) {
        let text = read(file);
        let folder = Path::new(file).parent().unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            if path.starts_with("http") {
                continue;
            }
            let target = if path.is_empty() { file.into() } else { folder.join(path) };
            assert!(target.exists(), "{file}: {link}");
            let slug = |heading: &str| heading.to_lowercase().replace(' ', "-").replace(['\'', ','], "");
            let found = anchor.is_empty()
                || read(target.to_str().unwrap())
                    .lines()
                    .any(|line| slug(line.trim_start_matches(['#', ' '])) == anchor);
            assert!(found, "{file}: {link}");
            seen[0] += 1;
        }
        // Commands, in blocks and between backticks.
        let blocks = text.lines().filter_map(|line| line.trim_start().strip_prefix("$ "));
        for command in blocks.chain(text.split('`').filter(|code| !code.contains('\n'))) {
            let words: Vec<&str> = command.split_whitespace().collect();
            if words.first() == Some(&"onezot") && words.len() > 2 && !command.contains(['…', '[']) {
                let words: Vec<_> = words[1..].iter().map(|word| word.trim_matches('\'')).collect();
                is_understood(&words);
                seen[1] += 1;
            }
            for (at, _) in
                words.iter().enumerate().filter(|(_, word)| **word == "--set" && words.contains(&"deploy/helm/onezot"))
            {
                let path = words[at + 1].split_once('=').unwrap().0;
                assert!(values.pointer(&format!("/{}", path.replace('.', "/"))).is_some(), "{file}: {path}");
                seen[2] += 1;
            }
            for word in words.iter().filter(|word| word.starts_with("deploy/") && !word.contains('*')) {
                assert!(Path::new(word).exists(), "{file}: {word}");
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 3), "{seen:?}");
}

#[test]
fn the_configurations_of_the_way_here_are_valid() {
    let text = read("deploy/MIGRATE.md");
    let blocks: Vec<_> = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let indented =
        |block: &str| block.lines().map(|line| line.strip_prefix("   ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
    for block in &blocks {
        // In a list, a block is set in.
        let block = if block.starts_with("   ") { indented(block) } else { (*block).to_owned() };
        assert!(verified(&block).nodes.len() > 1, "{block}");
    }
    assert_eq!(blocks.len(), 3);
}
