//! `[lineage]`: where OpenLineage events go.

use std::path::PathBuf;

use serde::Deserialize;

use super::parse;
use crate::error::Result;

/// `[lineage]`: where OpenLineage events go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lineage {
    /// A file to which each event is added as a line of JSON.
    pub file: Option<PathBuf>,
    /// An HTTP endpoint to which each event is posted, such as `http://marquez:5000/api/v1/lineage`.
    pub url: Option<String>,
    /// A bearer token for it, as `${NAME}`. It stays so in here: it is looked up when an event is sent, and never shown.
    pub token: Option<String>,
    /// Namespace of the jobs.
    pub namespace: Option<String>,
}

impl Lineage {
    /// What is wrong with what is written, if anything is.
    pub(super) fn mistake(&self) -> Option<String> {
        let url = self.url.as_deref().unwrap_or("http://");
        if !["http://", "https://"].iter().any(|s| url.starts_with(s)) && !url.contains("${") {
            return Some("`[lineage] url` must begin with http:// or https://".into());
        }
        let token = self.token.as_deref().unwrap_or("${}");
        if !token.starts_with("${") || token.find('}') != Some(token.len() - 1) {
            return Some(
                "`[lineage] token` is a secret and is written in the file: write `\"${NAME}\"`, which reads the environment \
                 variable NAME"
                    .into(),
            );
        }
        (self.token.is_some() && self.url.is_none())
            .then(|| "`[lineage] token` is for a `url`, and there is none".into())
    }

    /// The URL and the token with environment variables in place of their `${NAME}`.
    ///
    /// # Errors
    /// `Kind::Config` when one is not set.
    pub fn endpoint(&self) -> Result<Option<(String, Option<String>)>> {
        let Some(url) = &self.url else {
            return Ok(None);
        };
        let url = parse::expand_env(url).map_err(|e| e.context("[lineage] url"))?;
        let token = self.token.as_deref().map(parse::expand_env).transpose();
        Ok(Some((
            url,
            token.map_err(|e| e.context("[lineage] token"))?,
        )))
    }
}
