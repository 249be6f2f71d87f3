//! What the environment keeps secret: values that `${NAME}` stood for are not told again, in whatever text they come.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{PoisonError, RwLock};

/// Bytes of a value at least: shorter ones, such as `/` or `prod`, stand everywhere.
const SHORTEST: usize = 8;

/// Names by value.
static KNOWN: RwLock<BTreeMap<String, String>> = RwLock::new(BTreeMap::new());

/// Takes the value of the environment variable `name` as one that is not to be told.
pub fn remember(value: &str, name: &str) {
    if value.len() >= SHORTEST {
        let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(value.to_string(), name.to_string());
    }
}

/// The text as it may be told: with `${NAME}` in the place of each value, as the pipeline file has it.
pub fn hidden(text: &str) -> Cow<'_, str> {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    let mut told = Cow::Borrowed(text);
    // The longest first: one may be a part of another.
    let mut values: Vec<_> = known.iter().collect();
    values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    for (value, name) in values {
        if told.contains(value.as_str()) {
            told = Cow::Owned(told.replace(value.as_str(), &format!("${{{name}}}")));
        }
        // As JSON and `Debug` write it.
        let escaped = serde_json::Value::String(value.clone()).to_string();
        let escaped = escaped.trim_matches('"');
        if escaped != value && told.contains(escaped) {
            told = Cow::Owned(told.replace(escaped, &format!("${{{name}}}")));
        }
    }
    told
}

/// A writer of text that hides them. Each write must be whole lines.
pub struct Hiding<W>(pub W);

impl<W: Write> Write for Hiding<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.0.write_all(hidden(text).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_by_its_name_and_a_short_one_is_none() {
        remember("hunter22-of-tests", "TESTS_A");
        remember("hunter22-of-tests/and more", "TESTS_B");
        remember("hun", "TESTS_C");
        let text = "/data/hunter22-of-tests/x hunter22-of-tests/and more hun";
        assert_eq!(hidden(text), "/data/${TESTS_A}/x ${TESTS_B} hun");
        let mut out = Hiding(vec![]);
        writeln!(out, "hunter22-of-tests").unwrap();
        assert!(!String::from_utf8(out.0).unwrap().contains("hunter"));
        assert!(matches!(hidden("nothing"), Cow::Borrowed(_)));
    }
}
