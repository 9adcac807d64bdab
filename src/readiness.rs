//! Whether this gateway wants requests: what probes and load balancers are told.
//!
//! Started: there has been a membership. Ready: it can serve something, and is not about to end. Alive: it answers.

use crate::fleet::{Fleet, Node};
use arc_swap::ArcSwapOption;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What there is to know beside the fleet.
#[derive(Debug, Default)]
pub struct Readiness {
    is_stopping: AtomicBool,
    /// Why the members cannot be found or used at the moment, where they are looked for.
    discovery: ArcSwapOption<String>,
}

impl Readiness {
    /// From now on, requests should go elsewhere.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Whether requests should go elsewhere.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Notes why the members cannot be found or used at the moment; `None`: they can.
    pub fn discovery_says(&self, problem: Option<String>) {
        self.discovery.store(problem.map(Arc::new));
    }

    /// Why the members cannot be found or used at the moment.
    pub fn discovery_problem(&self) -> Option<Arc<String>> {
        self.discovery.load_full()
    }

    /// Why a probe (`/livez`, `/readyz` or `/startupz`) fails; `None` if it does not.
    pub fn why_not(&self, probe: &str, fleet: &Fleet) -> Option<&'static str> {
        let has_started = !fleet.nodes().is_empty();
        match probe {
            "/livez" => None,
            "/readyz" if self.is_stopping() => Some("this gateway is about to stop"),
            "/readyz" if has_started && fleet.nodes().iter().all(|node| node.health.is_suspect()) => {
                Some("no node could be reached lately")
            }
            _ if !has_started => Some("no node has been found yet"),
            _ => None,
        }
    }

    /// The same in full, as JSON.
    pub fn document(&self, probe: &str, fleet: &Fleet) -> Value {
        let why_not = self.why_not(probe, fleet);
        let nodes: Vec<Value> = fleet.nodes().iter().map(|node| of_node(node)).collect();
        json!({
            "ok": why_not.is_none(),
            "why_not": why_not,
            "members_since": fleet.since(),
            "discovery_problem": self.discovery_problem().as_deref(),
            "nodes": nodes,
        })
    }
}

/// What is known of a node.
pub fn of_node(node: &Node) -> Value {
    json!({
        "name": node.name,
        "url": node.url,
        "addresses": node.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "verified": node.verified(),
        "health": node.health.shown(),
        "in_flight": node.in_flight(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Placement;

    #[test]
    fn it_is_ready_while_it_can_serve_something_and_does_not_stop() {
        let readiness = Readiness::default();
        let nobody = Fleet::new(Vec::new(), Placement::default());
        let node = |port| Node::at(&format!("http://192.0.2.1:{port}"), Vec::new());
        let fleet = Fleet::new(vec![node(1), node(2)], Placement::default());
        let ok = |fleet: &Fleet| ["/livez", "/startupz", "/readyz"].map(|p| readiness.why_not(p, fleet).is_none());
        assert_eq!(ok(&nobody), [true, false, false]);
        assert_eq!(ok(&fleet), [true, true, true]);
        fleet.was_unreachable(&fleet.nodes()[0], "refused");
        assert_eq!(ok(&fleet), [true, true, true]);
        let document = readiness.document("/readyz", &fleet);
        let why = |node: usize| document["nodes"][node]["health"]["last_failure"]["cause"].clone();
        assert_eq!([why(0), why(1)], ["refused".into(), Value::Null]);
        fleet.was_unreachable(&fleet.nodes()[1], "refused");
        assert_eq!(ok(&fleet), [true, true, false]);
        fleet.was_heard(&fleet.nodes()[1]);
        readiness.stop();
        assert_eq!(ok(&fleet), [true, true, false]);
        assert_eq!(readiness.document("/readyz", &fleet)["why_not"], "this gateway is about to stop");
    }
}
