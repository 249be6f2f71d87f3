//! `[models.search]` of a pipeline file.

use serde::Deserialize;
use toml::Table;

use super::search::Target;
use super::space::Space;
use crate::config::{Model, TimeSpan};
use crate::error::nearest;
use crate::evaluate::metric::Metric;
use crate::model::Family;
use crate::money::{Currency, Money};

/// How a model's hyperparameters are searched. At most one budget; without any, the search goes to its end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Wall-clock time of all trials, such as `"600s"`.
    pub budget: Option<TimeSpan>,
    /// Passes over the interactions of all trials.
    pub budget_passes: Option<usize>,
    /// What all trials may cost.
    pub budget_money: Option<MoneyBudget>,
    /// What is to be high, such as `"ndcg@20"`.
    pub metric: String,
    /// Settings that are tried at first, 1 to 10,000.
    pub trials: usize,
    /// Share of the training interactions that is held back to judge by, the newest; above 0, below 1.
    pub validation: f64,
    /// Of the draws, and of a split where nobody knows times.
    pub seed: u64,
    /// Hyperparameters and their values; by default the family's own.
    pub space: Option<Table>,
}

/// An amount, and the price of the machine's hour where no bill tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoneyBudget {
    /// A decimal, as text.
    pub amount: String,
    /// ISO 4217 code.
    pub currency: String,
    /// A decimal, as text.
    #[serde(default)]
    pub per_hour: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            budget: None,
            budget_passes: None,
            budget_money: None,
            metric: "ndcg@20".into(),
            trials: 27,
            validation: 0.1,
            seed: 7,
            space: None,
        }
    }
}

impl Settings {
    /// Names what is wrong.
    ///
    /// # Errors
    /// What is wrong, with its key.
    pub fn validate(&self, model: &Model) -> Result<(), String> {
        self.target()?;
        self.space(model.family, &model.params)?;
        if !(1..=10_000).contains(&self.trials) {
            return Err("`trials` must be between 1 and 10,000".into());
        }
        if !(self.validation > 0.0 && self.validation < 1.0) {
            return Err("`validation` must be above 0 and below 1".into());
        }
        let given = [
            self.budget.is_some(),
            self.budget_passes.is_some(),
            self.budget_money.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() > 1 {
            return Err("there is more than one budget: keep one of `budget`, `budget_passes`, `budget_money`".into());
        }
        if self.budget.is_some_and(|span| span.0.is_zero()) {
            return Err("`budget` must be above 0".into());
        }
        match &self.budget_money {
            Some(money) => money.read().map(|_| ()),
            None => Ok(()),
        }
    }

    /// The metric and its list length.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn target(&self) -> Result<Target, String> {
        let text = &self.metric;
        let (name, k) = text.split_once('@').unwrap_or((text, "0"));
        let known = || Metric::ALL.into_iter().filter(|m| m.is_accuracy());
        let Some(metric) = known().find(|m| m.name() == name) else {
            let names: Vec<&str> = known().map(Metric::name).collect();
            let near = nearest(name, names.iter().copied());
            let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!(
                "`metric` {text:?}: write one of {}{hint}",
                names.join(", ")
            ));
        };
        let k = k.parse().ok().filter(|k| *k <= 10_000);
        match (metric.has_cutoff(), k) {
            (true, Some(k)) if k > 0 => Ok((metric, k)),
            (false, Some(0)) => Ok((metric, 0)),
            (true, _) => Err(format!(
                "`metric` {text:?}: write a list length from 1 to 10,000 after it, such as \"{name}@20\""
            )),
            (false, _) => Err(format!(
                "`metric` {text:?}: it is of the whole ranking; write \"{name}\""
            )),
        }
    }

    /// What is searched.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn space(&self, family: Family, params: &Table) -> Result<Space, String> {
        match &self.space {
            Some(table) => Space::parse(table, family, params).map_err(|e| format!("space: {e}")),
            None => Space::of_family(family, params),
        }
    }
}

impl MoneyBudget {
    /// Amount, currency, and price of an hour.
    ///
    /// # Errors
    /// What is wrong, with its key.
    pub fn read(&self) -> Result<(Money, Currency, Option<Money>), String> {
        let amount = |key: &str, text: &str| match Money::parse(text) {
            Ok((money, residue)) if residue.0 == 0 && money.0 > 0 => Ok(money),
            _ => Err(format!(
                "`budget_money` {key} {text:?}: write an amount above 0 with up to 18 places, such as \"2.50\""
            )),
        };
        let currency = Currency::parse(&self.currency).ok();
        let currency = currency.filter(|c| c.code() == self.currency).ok_or_else(|| {
            format!("`budget_money` currency {:?} is no ISO 4217 currency code; write it as \"EUR\"", self.currency)
        })?;
        let per_hour = self
            .per_hour
            .as_deref()
            .map(|text| amount("per_hour", text));
        Ok((
            amount("amount", &self.amount)?,
            currency,
            per_hour.transpose()?,
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mistake(family: &str, text: &str) -> String {
        let model = Model {
            id: "m".into(),
            family: family.parse().unwrap(),
            params: Table::new(),
            warm_start: false,
            train_every: 1,
            content: false,
            fusion: false,
            compressed: None,
            search: None,
        };
        let settings: Settings = toml::from_str(text).unwrap();
        settings.validate(&model).err().unwrap_or_default()
    }

    #[test]
    fn the_defaults_are_right_and_what_is_wrong_is_named() {
        assert_eq!(mistake("softmax", ""), "");
        assert_eq!(mistake("als", "budget = '600s'\nmetric = 'auc'"), "");
        for (text, wanted) in [
            (
                "metric = 'ndgc@20'",
                "`metric` \"ndgc@20\": write one of recall, precision, ndcg, hit_rate, mrr, f1, map, auc; did you mean `ndcg`?",
            ),
            (
                "metric = 'novelty@20'",
                "`metric` \"novelty@20\": write one of recall",
            ),
            ("metric = 'ndcg'", "`metric` \"ndcg\": write a list length"),
            (
                "metric = 'ndcg@0'",
                "`metric` \"ndcg@0\": write a list length",
            ),
            (
                "metric = 'auc@20'",
                "`metric` \"auc@20\": it is of the whole ranking",
            ),
            ("trials = 0", "`trials` must be"),
            ("validation = 1.0", "`validation` must be"),
            ("validation = nan", "`validation` must be"),
            (
                "budget = '10m'\nbudget_passes = 9",
                "there is more than one budget",
            ),
            ("budget = '0s'", "`budget` must be above 0"),
            (
                "budget_money = { amount = '2.5x', currency = 'USD' }",
                "`budget_money` amount \"2.5x\": write an amount",
            ),
            (
                "budget_money = { amount = '-1', currency = 'USD' }",
                "`budget_money` amount \"-1\"",
            ),
            (
                "budget_money = { amount = '1', currency = 'usd' }",
                "`budget_money` currency \"usd\"",
            ),
            (
                "budget_money = { amount = '1', currency = 'USD', per_hour = '0' }",
                "`budget_money` per_hour \"0\"",
            ),
            ("[space]", "space: the search space has no members"),
            (
                "[space]\nalfa = [1.0]",
                "space: unknown field `alfa`, expected one of",
            ),
        ] {
            let found = mistake("als", text);
            assert!(found.starts_with(wanted), "{text}: {found}");
        }
        assert!(mistake("popular", "").starts_with("the family popular has no hyperparameters"));
    }
}
