//! Who may do what: the part of zot's configuration that the recordings use.

use super::glob;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The configuration of a node, in the form of a zot's own (`http` and `extensions`).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Settings {
    /// The HTTP part.
    #[serde(default)]
    pub http: HttpSettings,
    /// The extensions.
    #[serde(default)]
    pub extensions: Extensions,
}

/// The `http` part.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpSettings {
    /// The realm of the challenge.
    #[serde(default)]
    pub realm: String,
    /// `["docker2s2"]` lets Docker's media types in.
    #[serde(default)]
    pub compat: Vec<String>,
    /// How users prove who they are, beside their passwords.
    #[serde(default)]
    pub auth: Auth,
    /// Who may do what; everybody everything if it is absent.
    pub access_control: Option<AccessControl>,
}

/// The `auth` part. Passwords come with the [`Setup`](super::Setup).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Auth {
    /// Whether users can make API keys.
    #[serde(default)]
    pub apikey: bool,
}

/// The `accessControl` part.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessControl {
    /// Patterns of names and what holds for the repositories that match.
    #[serde(default)]
    pub repositories: BTreeMap<String, PolicyGroup>,
    /// Who may do things everywhere.
    #[serde(default)]
    pub admin_policy: Policy,
}

/// What holds for the repositories of one pattern.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyGroup {
    /// For named users.
    #[serde(default)]
    pub policies: Vec<Policy>,
    /// For everybody who is logged in.
    #[serde(default)]
    pub default_policy: Vec<String>,
    /// For everybody who is not.
    #[serde(default)]
    pub anonymous_policy: Vec<String>,
}

/// Users and their actions.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Policy {
    /// The users.
    #[serde(default)]
    pub users: BTreeSet<String>,
    /// `read`, `create`, `update`, `delete`, `detectManifestCollision`.
    #[serde(default)]
    pub actions: BTreeSet<String>,
}

/// The `extensions` part.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Extensions {
    /// The search extension.
    #[serde(default)]
    pub search: Search,
}

/// The search extension.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Search {
    /// Present if images are scanned; how is of no interest here.
    pub cve: Option<serde::de::IgnoredAny>,
}

impl AccessControl {
    /// Whether a user (nobody in particular: the empty name) may do something with a repository.
    ///
    /// Only the longest pattern that matches counts (`matchesRepo`, `pkg/requestcontext/user_access_control.go`).
    fn allows(&self, user: &str, action: &str, repository: &str) -> bool {
        if self.admin_policy.users.contains(user) && action != "detectManifestCollision" {
            return true;
        }
        let longest = self
            .repositories
            .iter()
            .filter(|(pattern, _)| glob::matches(pattern, repository))
            .max_by_key(|(pattern, _)| pattern.len());
        longest.is_some_and(|(_, group)| {
            let everybody = if user.is_empty() { &group.anonymous_policy } else { &group.default_policy };
            everybody.iter().any(|granted| granted == action)
                || group.policies.iter().any(|policy| policy.users.contains(user) && policy.actions.contains(action))
        })
    }

    fn lets_anybody_in(&self) -> bool {
        self.repositories.values().any(|group| !group.anonymous_policy.is_empty())
    }

    /// Whether there are things for everybody beside things for users: Docker is then asked for a password at once.
    fn is_mixed(&self) -> bool {
        self.lets_anybody_in()
            && self.repositories.values().any(|group| !group.policies.is_empty() || !group.default_policy.is_empty())
    }
}

/// The users of a node and what they may do.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Names and passwords. Without any, everybody is let in.
    pub users: BTreeMap<String, String>,
    /// Whether users can make API keys.
    pub has_keys: bool,
    /// The rules.
    pub rules: Option<AccessControl>,
}

impl Access {
    /// Whether a user may do something with a repository.
    pub fn allows(&self, user: &str, action: &str, repository: &str) -> bool {
        match &self.rules {
            Some(rules) => rules.allows(user, action, repository),
            None => action != "detectManifestCollision",
        }
    }

    /// Whether those who do not say who they are get as far as the rules.
    pub fn admits_anonymous(&self) -> bool {
        self.users.is_empty() || self.rules.as_ref().is_some_and(AccessControl::lets_anybody_in)
    }

    /// Whether Docker is asked for a password on `/v2/` although nobody else is (`pkg/api/authn.go`).
    pub fn challenges_docker(&self) -> bool {
        !self.users.is_empty() && self.rules.as_ref().is_some_and(AccessControl::is_mixed)
    }

    /// Whether name and password belong together.
    pub fn knows(&self, name: &str, password: &str) -> bool {
        self.users.get(name).is_some_and(|expected| expected == password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pattern_alone_decides() {
        let rules: AccessControl = serde_json::from_str(
            r#"{"repositories": {
                "**": {"policies": [{"users": ["alice"], "actions": ["read", "create"]}], "defaultPolicy": ["read"]},
                "team/**": {"policies": [{"users": ["bob"], "actions": ["read"]}], "anonymousPolicy": ["read"]}}}"#,
        )
        .unwrap();
        assert!(rules.allows("alice", "create", "lib"));
        assert!(rules.allows("carol", "read", "lib") && !rules.allows("", "read", "lib"));
        assert!(!rules.allows("alice", "read", "team/app"), "a longer pattern that does not name her shuts her out");
        assert!(rules.allows("bob", "read", "team/app") && rules.allows("", "read", "team/app"));
    }
}
