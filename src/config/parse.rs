//! From text to types: TOML with its errors placed and explained, byte sizes, environment references.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer};

use super::{Bytes, Compressed, Compression, Model, TimeSpan};
use crate::error::{Error, Result, Span, nearest};
use crate::model::{Family, popular};

/// Deserialises `text`, turning a failure into an error that shows the place and names the nearest known key.
pub(super) fn from_toml<T: DeserializeOwned>(text: &str, file: &Path) -> Result<T> {
    toml::from_str(text).map_err(|e| {
        let message = e.message().trim().to_string();
        let mut error = Error::config(format!("{}: {message}", file.display()));
        if let Some(near) = nearest_in_message(&message) {
            error = error.help(format!("did you mean `{near}`?"));
        }
        match e.span() {
            Some(range) => error.at(Span {
                name: file.display().to_string(),
                text: text.to_string(),
                start: range.start,
                len: range.len(),
            }),
            None => error,
        }
    })
}

/// Serde lists the known names after the unknown one, all in backquotes: picks the nearest.
pub(super) fn nearest_in_message(message: &str) -> Option<&str> {
    if !message.contains("unknown field `") && !message.starts_with("unknown ") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    nearest(unknown, names)
}

/// Replaces each `${NAME}` by the environment variable of that name.
///
/// # Errors
/// `Kind::Config` when the variable is not set or the reference is not closed.
pub(super) fn expand_env(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        out.push_str(&rest[..at]);
        let reference = &rest[at + 2..];
        let end = reference.find('}').ok_or_else(|| {
            Error::config(format!("`{text}` has a `${{` without its `}}`")).help("write ${NAME}")
        })?;
        let name = &reference[..end];
        let value = std::env::var(name).map_err(|_| {
            Error::config(format!("the environment variable {name} is not set"))
                .help(format!("set it, for instance: export {name}=…"))
        })?;
        crate::privacy::secrets::remember(&value, name);
        out.push_str(&value);
        rest = &reference[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit()).len();
        let unit = match text[digits..].trim() {
            "KiB" => 1usize << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => 0,
        };
        text[..digits]
            .parse::<usize>()
            .ok()
            .filter(|_| unit > 0)
            .and_then(|n| n.checked_mul(unit))
            .map(Bytes)
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "`{text}` is no size; write a whole number and KiB, MiB or GiB, such as \"4GiB\""
                ))
            })
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.num_seconds();
        let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")];
        let whole = units.into_iter().find(|(unit, _)| seconds % unit == 0);
        let (unit, name) = whole.unwrap_or((1, "s"));
        write!(f, "{}{name}", seconds / unit)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit()).len();
        let seconds = match text[digits..].trim() {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            _ => 0,
        };
        let count = text[..digits].parse::<u32>().ok().filter(|_| seconds > 0);
        count
            .map(|n| TimeSpan(chrono::TimeDelta::seconds(i64::from(n) * seconds)))
            .filter(|span| span.0 <= chrono::TimeDelta::days(365))
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "`{text}` is no length of time up to a year; write a whole number and s, m, h or d, such as \"24h\""
                ))
            })
    }
}

/// Days from one training to the next that a pipeline file may ask for.
const TRAIN_EVERY: RangeInclusive<u32> = 1..=365;

/// A model as the pipeline file has it: trained, or made from another.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeclaredModel {
    id: String,
    family: Option<Family>,
    params: Option<toml::Table>,
    warm_start: Option<bool>,
    train_every: Option<u32>,
    content: Option<bool>,
    fusion: Option<bool>,
    search: Option<crate::tune::settings::Settings>,
    from: Option<String>,
    compression: Option<Compression>,
}

impl TryFrom<DeclaredModel> for Model {
    type Error = String;

    fn try_from(declared: DeclaredModel) -> std::result::Result<Self, String> {
        let DeclaredModel {
            id,
            family,
            params,
            warm_start,
            train_every,
            content,
            fusion,
            search,
            from,
            compression,
        } = declared;
        let (family, compressed) = match (family, from, compression) {
            (Some(family), None, None) => (family, None),
            (None, Some(_), Some(_)) if params.is_some() => {
                return Err(format!(
                    "model `{id}` is made from another and takes its `params`; a student's belong under `compression.distil`"
                ));
            }
            (None, Some(_), Some(_))
                if warm_start.is_some()
                    || train_every.is_some()
                    || content.is_some()
                    || fusion.is_some()
                    || search.is_some() =>
            {
                return Err(format!(
                    "model `{id}` is made from another: `warm_start`, `train_every`, `content`, `fusion` and `search` belong to models that are trained"
                ));
            }
            // The family is that of the other model: `resolve_models` looks it up.
            (None, Some(from), Some(compression)) => {
                (popular::FAMILY, Some(Compressed { from, compression }))
            }
            (Some(_), Some(_), _) => {
                return Err(format!(
                    "model `{id}` has both `family` and `from`: it is trained, or made from another model"
                ));
            }
            (Some(_), None, Some(_)) => {
                return Err(format!(
                    "model `{id}` is trained and cannot be compressed as well: declare another model with `from = \"{id}\"` and this `compression`"
                ));
            }
            (None, Some(_), None) => {
                return Err(format!(
                    "model `{id}` is made from another: missing field `compression`"
                ));
            }
            (None, None, _) => return Err(format!("model `{id}`: missing field `family`")),
        };
        if fusion == Some(true) && content != Some(true) {
            return Err(format!(
                "model `{id}`: `fusion` weighs what was learnt against content: write `content = true` as well"
            ));
        }
        match train_every {
            Some(days) if !TRAIN_EVERY.contains(&days) => {
                return Err(format!(
                    "model `{id}`: `train_every = {days}`: write the days from one training to the next, {} to {}",
                    TRAIN_EVERY.start(),
                    TRAIN_EVERY.end()
                ));
            }
            Some(_) if !family.has_vectors() => {
                return Err(format!(
                    "model `{id}`: `train_every` is for families that learn vectors, into which new rows can be folded: leave it out for `{family}`"
                ));
            }
            _ => {}
        }
        Ok(Model {
            id,
            family,
            params: params.unwrap_or_default(),
            warm_start: warm_start.unwrap_or(false),
            train_every: train_every.unwrap_or(1),
            content: content.unwrap_or(false),
            fusion: fusion.unwrap_or(false),
            search,
            compressed,
        })
    }
}
