//! What no key of a pipeline file shows alone: names that clash or lead elsewhere, models made from others, limits.

use std::collections::{BTreeMap, BTreeSet};

use super::parse::nearest_in_message;
use super::{Compressed, LATEST, Model, Pipeline};
use crate::error::{Error, Result, nearest};
use crate::evaluate::protocol::Protocol;
use crate::model::ModelError;
use crate::money::Currency;

/// Bytes of a name.
const LONGEST_NAME: usize = 100;

/// Weight of an event: added up in millionths of a millionth, no number of events leaves 38 digits.
const HIGHEST_WEIGHT: f64 = 1e12;

/// What is wrong with a name from which names of files are made.
fn unfit_name(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        return Some("is empty".into());
    }
    if name.len() > LONGEST_NAME {
        return Some(format!("is longer than {LONGEST_NAME} bytes"));
    }
    let control = name.chars().find(|c| c.is_control());
    control.map(|c| format!("has the character {c:?}: leave it out"))
}

/// What is wrong with the name of a source, which the names of its files in a table begin with: none may lie outside of its
/// folder or be hidden there.
fn unfit_source_name(name: &str) -> Option<String> {
    if let Some(c) = name.chars().find(|c| matches!(c, '/' | '\\')) {
        return Some(format!("has the character {c:?}: leave it out"));
    }
    if name.starts_with(['.', '_']) {
        return Some(
            "begins with `.` or `_`, and files that do so are hidden: begin it otherwise".into(),
        );
    }
    unfit_name(name)
}

impl Pipeline {
    /// Gives compressed models the family and hyperparameters that follow from what they are made from.
    pub(super) fn resolve_models(&mut self) -> Result<()> {
        let trained: Vec<Model> = self.models.clone();
        for model in &mut self.models {
            let Some(Compressed { from, compression }) = &model.compressed else {
                continue;
            };
            let wrong = |message: String| {
                Error::config(format!(
                    "{}: model `{}`: {message}",
                    self.file.display(),
                    model.id
                ))
            };
            let Some(parent) = trained.iter().find(|other| other.id == *from) else {
                let error = wrong(format!(
                    "`from = \"{from}\"`: the pipeline has no such model"
                ));
                let known = trained.iter().map(|other| other.id.as_str());
                return Err(match nearest(from, known) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => error,
                });
            };
            if let Some(further) = &parent.compressed {
                return Err(wrong(format!(
                    "`from = \"{from}\"`: that model is itself made from `{}`",
                    further.from
                ))
                .help(
                    "name a model that is trained; one `compression` may combine several steps",
                ));
            }
            let explain = |e: ModelError| wrong(e.to_string());
            (model.family, model.params) = compression
                .resolve(parent.family, &parent.params)
                .map_err(explain)?;
        }
        Ok(())
    }

    /// Checks what one key alone cannot show.
    pub(super) fn validate(&self) -> Result<()> {
        let wrong =
            |message: String| Err(Error::config(format!("{}: {message}", self.file.display())));
        let mut names = BTreeSet::new();
        for source in &self.sources {
            if !names.insert(&source.name) {
                return wrong(format!("two sources are named `{}`", source.name));
            }
            if let Some(mistake) = unfit_source_name(&source.name) {
                return wrong(format!("source name {:?} {mistake}", source.name));
            }
            if let Some(wrong_keys) = source.contradiction() {
                return wrong(wrong_keys);
            }
        }
        if let Some(name) = self.retired_sources.iter().find(|n| names.contains(n)) {
            return wrong(format!(
                "`{name}` is both a source and one of `retired_sources`"
            ));
        }
        for entry in &self.attribution.resources {
            if entry.resource_id.is_none() && entry.sub_account_id.is_none() {
                return wrong(format!(
                    "an entry of `[[attribution.resources]]` for the model `{}` names neither `resource_id` nor `sub_account_id`",
                    entry.model
                ));
            }
        }
        if let Some(code) = &self.attribution.reporting_currency
            && Currency::parse(code).map_or(true, |known| known.code() != code)
        {
            return wrong(format!(
                "`[attribution] reporting_currency` {code:?} is no ISO 4217 currency code; write it as \"EUR\""
            ));
        }
        if let Some(mistake) = self.attribution.service_life.mistake() {
            return wrong(mistake);
        }
        let known = self.models.iter().map(|m| m.id.as_str());
        let known = known.chain(self.attribution.known_models.iter().map(String::as_str));
        let known: Vec<&str> = known.collect();
        let named = self.attribution.service_life.models.keys();
        if let Some(id) = named.into_iter().find(|id| !known.contains(&id.as_str())) {
            let error = Error::config(format!(
                "{}: `[attribution.service_life.models.{id}]` is for a model that the pipeline does not list",
                self.file.display()
            ));
            return Err(match nearest(id, known) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error
                    .help("models that are not trained here go under `[attribution] known_models`"),
            });
        }
        let mut ids = BTreeSet::new();
        let mut files = BTreeMap::new();
        for model in &self.models {
            if model.id.is_empty() || !ids.insert(&model.id) {
                return wrong(format!(
                    "model ids must be unique and not empty: `{}`",
                    model.id
                ));
            }
            if let Some(mistake) = unfit_name(&model.id) {
                return wrong(format!("model id {:?} {mistake}", model.id));
            }
            let file = crate::model::stage::file_name(&model.id);
            if let Some(other) = files.insert(file, &model.id) {
                return wrong(format!(
                    "the models `{other}` and `{}` would lie in one file: their ids differ only in characters that the name of a file does not take",
                    model.id
                ));
            }
            let mistake = |what: &str, message: &str| {
                let (file, id) = (self.file.display(), &model.id);
                let error = Error::config(format!("{file}: model `{id}`: {what}{message}"));
                match nearest_in_message(message) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => error,
                }
            };
            let configured = model.family.configure(&model.params);
            configured.map_err(|e| mistake("", &e.to_string()))?;
            if let Some(search) = &model.search {
                search
                    .validate(model)
                    .map_err(|e| mistake("search: ", &e))?;
            }
        }
        if let Some(mistake) = self.store.as_ref().and_then(super::Store::mistake) {
            return wrong(mistake);
        }
        if self.run.retries > 20 {
            return wrong("`[run] retries` must be at most 20".into());
        }
        if self.run.deadline.is_some_and(|span| span.0.is_zero()) {
            return wrong(
                "`[run] deadline` must be longer than nothing; leave it out for none".into(),
            );
        }
        if let Some(mistake) = self.lineage.mistake() {
            return wrong(mistake);
        }
        if let Some(mistake) = self.trace.mistake() {
            return wrong(mistake);
        }
        let metrics = self.run.metrics.as_ref();
        if metrics.is_some_and(|file| file.extension().is_none_or(|e| e != "prom")) {
            return wrong(
                "`[run] metrics` must be a file that ends in .prom, for the collector reads no other"
                    .into(),
            );
        }
        if !(1..=36_500).contains(&self.run.history_days) {
            return wrong("`[run] history_days` must be between 1 and 36,500".into());
        }
        if self.run.lateness_days > self.run.history_days.min(LATEST) {
            return wrong(format!(
                "`[run] lateness_days` must be at most {LATEST}, and at most `history_days`"
            ));
        }
        if self.engine.threads == Some(0) {
            return wrong("`[engine] threads` must be at least 1".into());
        }
        if self.engine.memory.0 < 64 << 20 {
            return wrong("`[engine] memory` must be at least 64MiB".into());
        }
        if self.recommend.k == 0 || self.recommend.k > 10_000 {
            return wrong("`[recommend] k` must be between 1 and 10,000".into());
        }
        if self.evaluation.k.is_empty()
            || self.evaluation.k.iter().any(|k| !(1..=10_000).contains(k))
        {
            return wrong("`[evaluation] k` needs cut-offs between 1 and 10,000".into());
        }
        if self.evaluation.enabled
            && !(1..self.run.history_days.max(2)).contains(&self.evaluation.holdout_days)
        {
            return wrong(
                "`[evaluation] holdout_days` must be at least 1 and less than `[run] history_days`"
                    .into(),
            );
        }
        if let Some(folds) = self.evaluation.folds {
            if self.evaluation.protocol != Protocol::CrossValidation {
                return wrong(
                    "`[evaluation] folds` is for `protocol = \"cross_validation\"`".into(),
                );
            }
            if !(2..=100).contains(&folds) {
                return wrong(
                    "`[evaluation] folds` must be between 2 and 100; each costs a training of every model"
                        .into(),
                );
            }
        }
        for (name, value) in self.settings() {
            let never_zero = ["half_life_days", "session_gap_minutes"].contains(&name.as_str());
            if !value.is_finite() || value < 0.0 || (value == 0.0 && never_zero) {
                return wrong(format!("`[features]` {name} must be a positive number"));
            }
            if name.starts_with("weight_") && value > HIGHEST_WEIGHT {
                return wrong(format!(
                    "`[features]` {name} must be at most {HIGHEST_WEIGHT}; what counts is how much more one event says than another"
                ));
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

    fn refused(text: &str) -> String {
        let parsed = Pipeline::parse(text, Path::new("/p/pipeline.toml"));
        parsed.unwrap_err().to_string()
    }

    #[test]
    fn a_weight_that_no_sum_could_hold_is_refused() {
        let weights = |view: &str| format!("name = \"s\"\n[features.weights]\nview = {view}\n");
        assert!(Pipeline::parse(&weights("1e12"), Path::new("/p/pipeline.toml")).is_ok());
        let said = refused(&weights("1.1e12"));
        assert!(said.contains("weight_view must be at most"), "{said}");
    }

    #[test]
    fn names_of_which_files_are_named_lead_nowhere_else() {
        let source = |name: &str| {
            let name = toml::Value::from(name);
            format!(
                "name = \"s\"\n[[sources]]\nname = {name}\nkind = \"events\"\npath = \"x\"\ndialect = \"recost\"\n"
            )
        };
        let long = "n".repeat(300);
        for name in [
            "../../out",
            "/etc/cron.d/x",
            "a/b",
            "a\\b",
            "a\0b",
            "a\nb",
            ".",
            "..",
            ".hidden",
            "_hidden",
            "",
            " ",
            &long,
        ] {
            let said = refused(&source(name));
            assert!(said.contains("source name"), "{name:?}: {said}");
        }
        let good = Pipeline::parse(&source("north (EU) – é=1"), Path::new("/p/pipeline.toml"));
        assert!(good.is_ok(), "{good:?}");

        let models = |ids: &[&str]| {
            let model = |id: &&str| {
                let id = toml::Value::from(*id);
                format!("[[models]]\nid = {id}\nfamily = \"popular\"\n")
            };
            let models: String = ids.iter().map(model).collect();
            format!("name = \"s\"\n{models}")
        };
        for id in ["", " ", "a\0b", "a\tb", &long] {
            let said = refused(&models(&[id]));
            assert!(said.contains("model id"), "{id:?}: {said}");
        }
        let said = refused(&models(&["team/a", "team:a"]));
        assert!(said.contains("would lie in one file"), "{said}");
        for id in ["../../out", "/etc/passwd", "..", "<script>"] {
            assert!(Pipeline::parse(&models(&[id]), Path::new("/p/pipeline.toml")).is_ok());
            let file = crate::model::stage::file_name(id);
            assert!(
                !file.contains('/') && file.ends_with(".safetensors"),
                "{file}"
            );
        }
    }
}
