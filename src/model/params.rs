//! Hyperparameters: what the pipeline file gives laid over a family's defaults, and the checks that families share.

use super::ModelError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// `defaults` with what `given` says instead.
///
/// # Errors
/// A key that is not among the defaults, or a value of another type.
pub(super) fn fill<T: Serialize + DeserializeOwned>(
    defaults: T,
    given: &toml::Table,
) -> Result<T, ModelError> {
    let known = object(&defaults)?;
    refuse_unknown(given, known.keys())?;
    overlay(known, given)
}

/// Names the first key of `given` that is not `known`.
pub(super) fn refuse_unknown<'a>(
    given: &toml::Table,
    known: impl Iterator<Item = &'a String>,
) -> Result<(), ModelError> {
    let known: Vec<&String> = known.collect();
    let Some(key) = given.keys().find(|key| !known.contains(key)) else {
        return Ok(());
    };
    let listed: Vec<String> = known.iter().map(|k| format!("`{k}`")).collect();
    let expected = match &listed[..] {
        [] => "there are none".to_string(),
        _ => format!("expected one of {}", listed.join(", ")),
    };
    Err(ModelError::Hyperparameters(format!(
        "unknown field `{key}`, {expected}"
    )))
}

/// `defaults` with those values of `given` that it has a key for.
pub(super) fn overlay<T: DeserializeOwned>(
    defaults: Map<String, Value>,
    given: &toml::Table,
) -> Result<T, ModelError> {
    let read = |changed: Map<String, Value>| serde_json::from_value::<T>(Value::Object(changed));
    let mut all = defaults.clone();
    for (key, value) in given {
        if !defaults.contains_key(key) {
            continue;
        }
        let value = serde_json::to_value(value).map_err(unexpected)?;
        // One at a time, so that an error can name its key.
        let mut one = defaults.clone();
        one.insert(key.clone(), value.clone());
        read(one).map_err(|error| ModelError::Hyperparameters(format!("`{key}`: {error}")))?;
        all.insert(key.clone(), value);
    }
    read(all).map_err(unexpected)
}

/// The keys and values of a struct.
pub(super) fn object(of: &impl Serialize) -> Result<Map<String, Value>, ModelError> {
    match serde_json::to_value(of).map_err(unexpected)? {
        Value::Object(map) => Ok(map),
        other => Err(ModelError::Hyperparameters(format!("{other} has no keys"))),
    }
}

/// A struct as JSON text.
pub(super) fn json(of: &impl Serialize) -> Result<String, ModelError> {
    serde_json::to_string(of).map_err(unexpected)
}

fn unexpected(error: serde_json::Error) -> ModelError {
    ModelError::Hyperparameters(error.to_string())
}

/// Checks a whole number.
pub(super) fn within(
    name: &'static str,
    value: usize,
    least: usize,
    most: usize,
) -> Result<(), ModelError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ModelError::Parameter {
        name,
        value: value.to_string(),
        wanted: format!("write a whole number from {least} to {most}"),
    })
}

/// Checks a number that must be above 0.
pub(super) fn above_zero(name: &'static str, value: f32) -> Result<(), ModelError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(ModelError::Parameter {
        name,
        value: value.to_string(),
        wanted: "write a number above 0".into(),
    })
}

/// Checks a number that must be at least `least` and below `end`.
pub(super) fn between(
    name: &'static str,
    value: f32,
    least: f32,
    end: f32,
) -> Result<(), ModelError> {
    if (least..end).contains(&value) {
        return Ok(());
    }
    let wanted = if end == f32::INFINITY {
        format!("write a number of {least} and above")
    } else {
        format!("write a number of {least} and above, below {end}")
    };
    Err(ModelError::Parameter {
        name,
        value: value.to_string(),
        wanted,
    })
}
