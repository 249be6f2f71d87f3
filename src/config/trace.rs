//! `[trace]`: where the traces of runs go.

use serde::Deserialize;

use super::parse;
use crate::error::Result;

/// Where OTLP over HTTP takes traces, below the address of a collector.
const PATH: &str = "/v1/traces";

/// `[trace]`: where the traces of runs go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trace {
    /// An OpenTelemetry collector that speaks OTLP over HTTP, such as `http://collector:4318`.
    pub url: Option<String>,
}

impl Trace {
    /// What is wrong with what is written, if anything is.
    pub(super) fn mistake(&self) -> Option<String> {
        let url = self.url.as_deref().unwrap_or("http://");
        let right = ["http://", "https://"].iter().any(|s| url.starts_with(s));
        (!right && !url.contains("${"))
            .then(|| "`[trace] url` must begin with http:// or https://".into())
    }

    /// Where traces are posted: by the pipeline file, else by the variables of the OpenTelemetry specification, which
    /// `variable` looks up: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` as it is, `OTEL_EXPORTER_OTLP_ENDPOINT` as a collector.
    ///
    /// # Errors
    /// `Kind::Config` when an environment variable of `url` is not set.
    pub fn endpoint(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Option<String>> {
        let below = |url: String| {
            let (place, query) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
            let place = place.trim_end_matches('/');
            let place = place.strip_suffix(PATH).unwrap_or(place);
            format!("{place}{PATH}{query}")
        };
        if let Some(url) = &self.url {
            let url = parse::expand_env(url).map_err(|e| e.context("[trace] url"))?;
            return Ok(Some(below(url)));
        }
        if variable("OTEL_SDK_DISABLED").is_some_and(|is| is.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let collector = || set("OTEL_EXPORTER_OTLP_ENDPOINT").map(below);
        Ok(set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(collector))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_pipeline_file_goes_before_the_environment_and_paths_are_added_once() {
        let endpoint = |url: Option<&str>, set: &[(&str, &str)]| {
            let trace = Trace {
                url: url.map(str::to_string),
            };
            let variable = |name: &str| {
                let found = set.iter().find(|(of, _)| *of == name);
                found.map(|(_, value)| value.to_string())
            };
            trace.endpoint(variable).unwrap()
        };
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318/");
        let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b/in");
        assert_eq!(endpoint(None, &[]), None);
        assert_eq!(endpoint(None, &[base]).unwrap(), "http://a:4318/v1/traces");
        assert_eq!(endpoint(None, &[base, whole]).unwrap(), "http://b/in");
        let off = ("OTEL_SDK_DISABLED", "true");
        assert_eq!(endpoint(None, &[base, off]), None);
        for url in ["http://c", "http://c/v1/traces"] {
            let found = endpoint(Some(url), &[base]).unwrap();
            assert_eq!(found, "http://c/v1/traces");
        }
        for url in ["http://c/?key=x/y", "http://c/v1/traces?key=x/y"] {
            let found = endpoint(Some(url), &[]).unwrap();
            assert_eq!(found, "http://c/v1/traces?key=x/y");
        }
        let wrong = Trace {
            url: Some("collector:4318".into()),
        };
        assert!(wrong.mistake().is_some());
    }
}
