//! What another configuration changes, and what of it waits for the next start.

use super::Config;
use serde_json::Value;

/// Keys that count at the start only: what is bound or set up once per process.
const AT_THE_START: &[&str] = &["listen", "admin", "log.format"];

/// What is different between two configurations: keys, never values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// What counts from now on.
    pub now: Vec<String>,
    /// What counts after the next start.
    pub later: Vec<String>,
}

impl Config {
    /// What `self` changes in the configuration that runs. What counts at the start only stays as it is there.
    pub fn replacing(mut self, running: &Config) -> (Config, Changes) {
        let mut changed = Vec::new();
        // Plain structs of strings and numbers: writing them cannot fail.
        let value = |config: &Config| serde_json::to_value(config).unwrap_or_default();
        different(&value(running), &value(&self), &mut String::new(), &mut changed);
        let (later, now) = changed.into_iter().partition(|key| AT_THE_START.contains(&key.as_str()));
        self.listen.clone_from(&running.listen);
        self.admin.clone_from(&running.admin);
        self.log.format = running.log.format;
        (self, Changes { now, later })
    }
}

/// The paths of all that differs. Lists count as one.
fn different(old: &Value, new: &Value, path: &mut String, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                let length = path.len();
                if length > 0 {
                    path.push('.');
                }
                path.push_str(key);
                different(old.get(key).unwrap_or(&Value::Null), value, path, found);
                path.truncate(length);
            }
        }
        (old, new) if old != new => found.push(path.clone()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Locate, LogFormat};
    use super::*;

    #[test]
    fn changes_are_named_and_what_is_bound_stays() {
        let running = Config::default();
        let mut next = Config { listen: vec!["127.0.0.1:1".into()], locate: Locate::Owner, ..Config::default() };
        next.log.format = LogFormat::Json;
        next.log.level = "debug".to_owned();
        next.limits.in_flight += 1;
        let (applied, changes) = next.replacing(&running);
        assert_eq!(changes.now, ["locate", "limits.in_flight", "log.level"]);
        assert_eq!(changes.later, ["listen", "log.format"]);
        assert_eq!((applied.listen, applied.log.format), (running.listen.clone(), running.log.format));
        assert_eq!((applied.locate, applied.log.level.as_str()), (Locate::Owner, "debug"));
        assert_eq!(Config::default().replacing(&running).1, Changes::default());
    }
}
