//! The summary of a repository that lies on several nodes, put together from what each has of it. Pure.

use super::{BadPart, Keys, Members, NewestImage, Platform, time_of};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;

/// What one node has of a repository.
pub struct Part<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
    newest: Option<NewestImage<'a>>,
    platforms: Vec<Platform<'a>>,
}

impl<'a> Part<'a> {
    /// Reads a summary, whose hidden members have been read, or else stand in it; `None` if it is null.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn read(text: &'a str, keys: Option<&Keys<'a>>) -> Result<Option<Part<'a>>, BadPart> {
        let Some(Members(members)) = serde_json::from_str(text)? else { return Ok(None) };
        let read;
        let Keys { newest, platforms, .. } = match keys {
            Some(keys) => keys,
            None => {
                read = serde_json::from_str(text)?;
                &read
            }
        };
        Ok(Some(Part { members, newest: newest.clone(), platforms: platforms.clone() }))
    }

    fn raw(&self, key: &str) -> &'a str {
        self.members.iter().find(|(name, _)| name == key).map_or("null", |(_, raw)| raw.get())
    }
}

/// The summary that one zot would give of all the parts, the first of which is that of the node whose word counts.
/// `members` are the client's keys and their names in the schema; `size` is what all blobs take (bytes), if that is known.
///
/// # Errors
///
/// A part is none.
pub fn joined(members: &[(String, String)], parts: &[Part], size: Option<u64>) -> Result<String, BadPart> {
    let Some(first) = parts.first() else { return Ok("null".to_owned()) };
    let mut text = String::from("{");
    for (key, name) in members {
        let raws = || parts.iter().map(|part| part.raw(key));
        let value: Cow<str> = match name.as_str() {
            // Pulls were counted where they were served.
            "DownloadCount" => {
                let counts = raws().map(serde_json::from_str::<Option<i64>>).collect::<Result<Vec<_>, _>>()?;
                counts.into_iter().flatten().fold(0, i64::saturating_add).to_string().into()
            }
            "Size" => match size {
                Some(size) => format!("\"{size}\"").into(),
                None => first.raw(key).into(),
            },
            "LastUpdated" => {
                let newest = raws().enumerate().max_by_key(|(at, raw)| (time_of(raw), std::cmp::Reverse(*at)));
                newest.map_or("null", |(_, raw)| raw).into()
            }
            "Platforms" => {
                union(raws(), |at| parts[at].platforms.iter().map(|platform| format!("{platform:?}")))?.into()
            }
            "Vendors" => {
                let vendors = raws().map(serde_json::from_str::<Option<Vec<String>>>).collect::<Result<Vec<_>, _>>()?;
                union(raws(), |at| vendors[at].iter().flatten().cloned())?.into()
            }
            "NewestImage" => {
                let age = |part: &Part| part.newest.as_ref().map(NewestImage::age);
                let newest = parts.iter().enumerate().max_by_key(|(at, part)| (age(part), std::cmp::Reverse(*at)));
                newest.map_or("null", |(_, part)| part.raw(key)).into()
            }
            // Marks are set on the first node; names are the same everywhere.
            _ => first.raw(key).into(),
        };
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&serde_json::Value::from(key.as_str()).to_string());
        text.push(':');
        text.push_str(&value);
    }
    text.push('}');
    Ok(text)
}

/// Lists as one, each item once: `names` tells the items of one list apart, whatever of them is selected.
fn union<'a, N: Iterator<Item = String>>(
    lists: impl Iterator<Item = &'a str>,
    names: impl Fn(usize) -> N,
) -> Result<String, BadPart> {
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for (at, list) in lists.enumerate() {
        let items: Option<Vec<&RawValue>> = serde_json::from_str(list)?;
        let items = items.into_iter().flatten().map(RawValue::get);
        all.extend(items.zip(names(at)).filter(|(_, name)| seen.insert(name.clone())).map(|(item, _)| item));
    }
    Ok(format!("[{}]", all.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_together() {
        let names = [
            ("n", "Name"),
            ("LastUpdated", "LastUpdated"),
            ("Size", "Size"),
            ("p", "Platforms"),
            ("v", "Vendors"),
            ("i", "NewestImage"),
            ("d", "DownloadCount"),
            ("s", "IsStarred"),
        ];
        let names = names.map(|(key, name)| (key.to_owned(), name.to_owned()));
        let part = |day: u8, hidden: &str, platform: &str, image: &str, downloads: u8| {
            format!(
                r#"{{"_oz_NewestImage":{hidden},"_oz_Platforms":[{{"Os":"linux"}},{platform}],"n":"lib","LastUpdated":"2024-01-{day:02}T00:00:00Z","Size":"7","p":[{{"Os":"linux"}},{platform}],"v":null,"i":{image},"d":{downloads},"s":{}}}"#,
                day == 1
            )
        };
        let first = part(1, r#"{"LastUpdated":"2024-01-01T00:00:00Z"}"#, r#"{"Os":"a"}"#, r#"{"Tag":"1"}"#, 3);
        let second = part(3, r#"{"LastUpdated":"2024-01-02T00:00:00Z"}"#, r#"{"Os":"b"}"#, r#"{"Tag":"2"}"#, 4);
        let third = part(2, "null", r#"{"Os":"a"}"#, "null", 0);
        let texts = [&*first, &second, &third];
        let parts: Vec<Part> = texts.into_iter().map(|text| Part::read(text, None).unwrap().unwrap()).collect();
        let expected = r#"{"n":"lib","LastUpdated":"2024-01-03T00:00:00Z","Size":"99","p":[{"Os":"linux"},{"Os":"a"},{"Os":"b"}],"v":[],"i":{"Tag":"2"},"d":7,"s":true}"#;
        assert_eq!(joined(&names, &parts, Some(99)).unwrap(), expected);
        assert!(Part::read("null", None).unwrap().is_none());
        assert!(Part::read("[]", None).is_err());
    }
}
