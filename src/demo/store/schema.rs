//! What zot's JSON schemas say of manifests that lack something.
//!
//! Only what is required is checked: properties of manifests, indexes and of the descriptors in them. The words are those
//! of zot's validator, since they are part of the answer.

use crate::demo::oci;
use serde_json::Value;

const PLACE: &str = "https://opencontainers.org/schema/image/";
const DESCRIPTOR: [&str; 3] = ["mediaType", "size", "digest"];

/// What is wrong with a manifest of one of OCI's types, if anything is.
pub fn violation(media_type: &str, value: &Value) -> Option<String> {
    let (name, go, required): (&str, &str, &[&str]) = if media_type == oci::INDEX {
        ("index", "v1.Index", &["schemaVersion", "manifests"])
    } else {
        ("manifest", "v1.Manifest", &["schemaVersion", "config", "layers"])
    };
    let kind = match value {
        Value::Object(_) => None,
        Value::Null => {
            return Some(invalid("", &format!("{name}#/type"), "expected object, but got null"));
        }
        Value::Array(_) => Some("array"),
        Value::String(_) => Some("string"),
        Value::Number(_) => Some("number"),
        Value::Bool(_) => Some("bool"),
    };
    if let Some(kind) = kind {
        return Some(format!("manifest format mismatch: json: cannot unmarshal {kind} into Go value of type {go}"));
    }
    missing(value, required)
        .map(|properties| invalid("", &format!("{name}#/required"), &properties))
        .or_else(|| in_descriptors(name, value))
}

fn in_descriptors(name: &str, value: &Value) -> Option<String> {
    let single = value.get("config").and_then(|config| {
        let rule = format!("{name}#/properties/config/$ref/required");
        missing(config, &DESCRIPTOR).map(|properties| invalid("/config", &rule, &properties))
    });
    let list = if name == "index" { "manifests" } else { "layers" };
    let in_list = || {
        let items = value.get(list)?.as_array()?;
        let rule = format!("{name}#/properties/{list}/items/required");
        items.iter().enumerate().find_map(|(index, item)| {
            missing(item, &DESCRIPTOR).map(|properties| invalid(&format!("/{list}/{index}"), &rule, &properties))
        })
    };
    single.or_else(in_list)
}

fn missing(value: &Value, required: &[&str]) -> Option<String> {
    let lacking: Vec<String> =
        required.iter().filter(|name| value.get(name).is_none()).map(|name| format!("'{name}'")).collect();
    (!lacking.is_empty()).then(|| format!("missing properties: {}", lacking.join(", ")))
}

fn invalid(at: &str, rule: &str, what: &str) -> String {
    format!("validation failed: jsonschema: '{at}' does not validate with {PLACE}{rule}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_lacks_is_named() {
        let of = |kind, value: Value| violation(kind, &value).unwrap_or_default();
        assert!(of(oci::MANIFEST, json!({})).ends_with("missing properties: 'schemaVersion', 'config', 'layers'"));
        assert!(of(oci::INDEX, json!([])).ends_with("cannot unmarshal array into Go value of type v1.Index"));
        let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": "a/b", "size": 1}]});
        assert!(of(oci::INDEX, index).contains("'/manifests/0'"));
        assert_eq!(of(oci::INDEX, json!({"schemaVersion": 2, "manifests": []})), "");
    }
}
