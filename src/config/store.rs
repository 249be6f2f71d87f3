//! `[store]`: the object store that the published tables are mirrored to, and how long old snapshots stay.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::Deserialize;

use super::{Run, TimeSpan, parse};
use crate::error::{Error, Result};

/// `[store]`: where the published tables are mirrored to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// `s3://bucket/prefix`, `gs://…`, `az://container/…`, or `file:///…` for a mounted file system.
    pub url: String,
    /// Settings of the store's client, by the names that `object_store` gives them, such as `endpoint`. A secret is written
    /// as `${NAME}` and stays so in here: it is looked up when the store is opened, and never shown.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// How long a request is tried again before the store counts as out of reach.
    #[serde(default = "patience")]
    pub patience: TimeSpan,
}

fn patience() -> TimeSpan {
    TimeSpan(TimeDelta::minutes(3))
}

impl Store {
    /// What is wrong with what is written, if anything is.
    pub(super) fn mistake(&self) -> Option<String> {
        let literal = |(key, value): (&String, &String)| is_secret(key) && !value.contains("${");
        let written = self.options.iter().find(|option| literal(*option))?;
        Some(format!(
            "`[store] options.{}` is a secret and is written in the file: write `\"${{NAME}}\"`, which reads the environment variable NAME",
            written.0
        ))
    }

    /// The options with environment variables in place of their `${NAME}`.
    ///
    /// # Errors
    /// `Kind::Config` when one is not set.
    pub fn resolved(&self) -> Result<BTreeMap<String, String>> {
        let expand = |(key, value): (&String, &String)| {
            let value = parse::expand_env(value)
                .map_err(|e| e.context(format!("[store] options.{key}")))?;
            Ok((key.to_ascii_lowercase(), value))
        };
        self.options.iter().map(expand).collect()
    }

    /// The URL with environment variables in place of their `${NAME}`.
    ///
    /// # Errors
    /// `Kind::Config` when one is not set.
    pub fn location(&self) -> Result<String> {
        parse::expand_env(&self.url).map_err(|e: Error| e.context("[store] url"))
    }
}

/// Whether a client's setting is something to keep to oneself.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let about = [
        "secret",
        "token",
        "password",
        "sas",
        "private",
        "access_key",
        "account_key",
        "master_key",
        "service_account_key",
    ];
    let harmless = ["_id", "_file", "_path", "_uri", "_url"];
    about.iter().any(|part| key.contains(part)) && !harmless.iter().any(|end| key.ends_with(end))
}

/// Which older snapshots stay when a new one is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// At least so many.
    pub snapshots: usize,
    /// And all that ceased to be the current one less than so long ago.
    pub since: Option<TimeDelta>,
}

impl From<usize> for Keep {
    fn from(snapshots: usize) -> Self {
        Keep {
            snapshots,
            since: None,
        }
    }
}

impl Run {
    /// Which older snapshots stay.
    pub fn keep(&self) -> Keep {
        Keep {
            snapshots: self.keep_snapshots,
            since: self.keep_for.map(|span| span.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_what_may_be_read() {
        for key in [
            "secret_access_key",
            "AWS_SESSION_TOKEN",
            "azure_storage_sas_token",
            "account_key",
            "azure_storage_master_key",
            "google_service_account_key",
            "password",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in [
            "access_key_id",
            "endpoint",
            "region",
            "web_identity_token_file",
            "service_account_path",
        ] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
