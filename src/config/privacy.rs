//! `[privacy]` and `[retention]`: how little is known of people, and for how long.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::Pipeline;
use crate::error::{Error, Result, nearest};
use crate::privacy::{Key, retention};

/// `[privacy]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Privacy {
    /// Whether user ids become pseudonyms before anything is written.
    pub pseudonymise: bool,
    /// The environment variable with the key of pseudonyms, as `"${NAME}"`.
    key: Option<Reference>,
    /// How many people a published aggregate over people is made of at least.
    pub min_group: u32,
    /// Those of keys that were in use before, by which a person is still found in older tables.
    previous_keys: Vec<Reference>,
    /// The key, then those before it.
    #[serde(skip)]
    keys: Vec<Key>,
}

/// A text that is to be a reference to the environment. What it is instead may be a secret, so it is never shown.
#[derive(Clone, Deserialize)]
struct Reference(String);

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reference(…)")
    }
}

impl Reference {
    /// The name of the variable.
    fn name(&self) -> Option<&str> {
        let name = self.0.strip_prefix("${")?.strip_suffix('}')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        (!name.is_empty() && name.chars().all(plain)).then_some(name)
    }

    fn key(&self, of: &str) -> Result<Key> {
        let name = self.name().ok_or_else(|| {
            Error::config(format!(
                "`[privacy] {of}` is written in the file, and a key belongs in the environment"
            ))
            .help(format!("write {of} = \"${{RECOST_PSEUDONYM_KEY}}\" and set that variable; take another key, since this one was in a file"))
        })?;
        let secret = std::env::var(name).map_err(|_| {
            Error::config(format!(
                "`[privacy] {of}`: the environment variable {name} is not set"
            ))
            .help(format!(
                "set it to the key; a new one is made by: export {name}=$(openssl rand -hex 32)"
            ))
        })?;
        let key = Key::new(&secret).map_err(|wrong| {
            Error::config(format!(
                "`[privacy] {of}`: what the environment variable {name} holds {wrong}"
            ))
            .help("a good key is made by: openssl rand -hex 32")
        })?;
        crate::privacy::secrets::remember(&secret, name);
        Ok(key)
    }
}

impl Privacy {
    /// Reads the keys from the environment.
    ///
    /// # Errors
    /// `Kind::Config` for a key that is in the file, not in the environment, or too short; its text is not shown.
    pub(super) fn resolve(&mut self) -> Result<()> {
        if self.pseudonymise && self.key.is_none() {
            return Err(Error::config("`[privacy] pseudonymise` needs a key").help(
                "write key = \"${RECOST_PSEUDONYM_KEY}\" under [privacy] and set that variable",
            ));
        }
        let current = self.key.iter().map(|k| (k, "key"));
        let before = self.previous_keys.iter().map(|k| (k, "previous_keys"));
        self.keys = current
            .chain(before)
            .map(|(reference, of)| reference.key(of))
            .collect::<Result<_>>()?;
        Ok(())
    }

    /// The key by which ids become pseudonyms; `None` where they do not.
    pub fn current_key(&self) -> Option<&Key> {
        self.keys.first().filter(|_| self.pseudonymise)
    }

    /// Every key by which an id may have been given a pseudonym.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}

/// `[retention]`: days that tables keep, by name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Retention(pub BTreeMap<String, Days>);

/// A number of days, written as `"400d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Days(pub u32);

impl<'de> Deserialize<'de> for Days {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let days = text.strip_suffix('d').and_then(|n| n.trim().parse().ok());
        days.filter(|days| (1..=36_500).contains(days))
            .map(Days)
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "`{text}` is no number of days from 1 to 36,500; write it as \"400d\""
                ))
            })
    }
}

impl Pipeline {
    /// Checks `[retention]` against what a night reads.
    pub(super) fn check_retention(&self) -> Result<()> {
        for (name, days) in &self.retention.0 {
            let place = format!("{}: `[retention] {name}`", self.file.display());
            match retention::least(self, name) {
                Err(why) => {
                    let error = Error::config(format!("{place}: {why}"));
                    let near = nearest(name, retention::tables());
                    return Err(match near.filter(|near| near != name) {
                        Some(near) => error.help(format!("did you mean `{near}`?")),
                        None => error.help(format!(
                            "tables that may drop old days: {}",
                            retention::tables().collect::<Vec<_>>().join(", ")
                        )),
                    });
                }
                Ok((least, why)) if days.0 < least => {
                    return Err(Error::config(format!(
                        "{place}: {} days are too few: {why}",
                        days.0
                    ))
                    .help(format!("keep at least \"{least}d\"")));
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    fn refused(more: &str) -> (String, String) {
        let text = format!("name = \"shop\"\n{more}");
        let error = Pipeline::parse(&text, Path::new("/p/pipeline.toml")).unwrap_err();
        let said = error.to_string();
        (said, error.remedy().unwrap_or_default().to_string())
    }

    #[test]
    fn a_key_in_the_file_is_refused_and_not_shown() {
        let secret = "s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t";
        let (said, help) = refused(&format!("[privacy]\nkey = \"{secret}\""));
        assert!(said.contains("belongs in the environment"), "{said}");
        assert!(!said.contains("s3cr3t") && !help.contains("s3cr3t"));
        let (said, _) = refused(&format!("[privacy]\nkey = \"${{HOME}}{secret}\""));
        assert!(said.contains("belongs in the environment") && !said.contains("s3cr3t"));
    }

    #[test]
    fn pseudonyms_need_a_key_and_a_key_its_variable() {
        let (said, _) = refused("[privacy]\npseudonymise = true");
        assert!(said.contains("needs a key"), "{said}");
        let (said, help) = refused("[privacy]\nkey = \"${RECOST_NO_SUCH_VARIABLE}\"");
        assert!(
            said.contains("RECOST_NO_SUCH_VARIABLE is not set"),
            "{said}"
        );
        assert!(help.contains("openssl rand -hex 32"), "{help}");
    }

    #[test]
    fn a_retention_that_a_night_or_a_bill_would_miss_is_refused() {
        let (said, help) = refused("[retention]\nevents = \"40d\"");
        assert!(said.contains("40 days are too few"), "{said}");
        assert!(help.starts_with("keep at least \""), "{help}");
        let (said, _) = refused("[retention]\ncharges = \"400d\"");
        assert!(said.contains("money"), "{said}");
        let (said, help) = refused("[retention]\nevent = \"400d\"");
        assert!(
            said.contains("no such table") && help.contains("events"),
            "{said} {help}"
        );
        let (said, _) = refused("[retention]\nevents = \"3w\"");
        assert!(said.contains("is no number of days"), "{said}");
        let text = "name = \"shop\"\n[retention]\nevents = \"400d\"\nrecommendations = \"30d\"";
        let pipeline = Pipeline::parse(text, Path::new("/p/pipeline.toml")).unwrap();
        assert_eq!(pipeline.retention.0["events"], Days(400));
    }
}
