//! When a search ends: after so many passes, so much time, or so much money.

use std::path::Path;

use chrono::NaiveDate;

use super::halving::Plan;
use super::search::Trial;
use super::settings::{MoneyBudget, Settings};
use crate::engine::rows::map;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::model::Family;
use crate::money::{Currency, Money};

/// Days of bills from which the price of the machine's hour is worked out.
const BILLED_DAYS: u64 = 62;

/// A budget of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// The plan says all.
    Plan,
    /// Seconds of all trials.
    Seconds(f64),
}

impl Budget {
    /// Whether another trial may begin.
    pub fn allows(self, done: &[Trial]) -> bool {
        match self {
            Self::Plan => true,
            Self::Seconds(most) => done.iter().map(|t| t.seconds).sum::<f64>() < most,
        }
    }
}

/// The plan for a model with all its `passes`, cut down to the budget in passes where there is one.
///
/// # Errors
/// `Kind::Config` when the budget does not pay for one trial.
pub fn plan(settings: &Settings, family: Family, passes: Option<usize>) -> Result<Plan> {
    let Some(budget) = settings.budget_passes else {
        return Ok(Plan::new(settings.trials, passes));
    };
    Plan::within(budget, settings.trials, passes).ok_or_else(|| {
        let key = family.passes().unwrap_or("passes");
        Error::config(format!(
            "`budget_passes` = {budget} is too small for one trial, which takes {} passes",
            passes.unwrap_or(1)
        ))
        .help(format!(
            "raise it, or lower `{key}` in the model's `params`"
        ))
    })
}

/// What an hour of the machine costs, and who says so.
pub struct Price {
    /// Cost of so many seconds.
    pub cost: Money,
    /// Microseconds that it paid for.
    pub micros: i64,
    /// In words.
    pub source: String,
}

impl Price {
    /// Seconds that `amount` pays for, to the microsecond below.
    pub fn seconds(&self, amount: Money) -> Option<f64> {
        let micros = amount.0.checked_mul(i128::from(self.micros))? / self.cost.0;
        Some(micros as f64 / 1e6)
    }

    /// By the newest bills of the machine `resource_id`, else by what the pipeline file states.
    ///
    /// # Errors
    /// `Kind::Config` when neither says anything.
    pub async fn find(
        budget: &MoneyBudget,
        library: &Library,
        options: &Options,
        snapshot: &Path,
        resource_id: &str,
    ) -> Result<Self> {
        let (_, currency, per_hour) = budget.read().map_err(Error::config)?;
        let billed = billed(library, options, snapshot, resource_id, currency).await?;
        if let Some((cost, micros, first, last)) = billed {
            return Ok(Self {
                cost,
                micros,
                source: format!("the bills of {resource_id} from {first} to {last}"),
            });
        }
        let Some(cost) = per_hour else {
            return Err(Error::config(format!(
                "`budget_money`: no bill in {currency} says what an hour of `{resource_id}` costs"
            ))
            .help("state it: budget_money = { amount = \"2.50\", currency = \"USD\", per_hour = \"0.35\" }"));
        };
        Ok(Self {
            cost,
            micros: 3_600_000_000,
            source: "`per_hour` of the pipeline file".into(),
        })
    }
}

type Billed = (Money, i64, NaiveDate, NaiveDate);

async fn billed(
    library: &Library,
    options: &Options,
    snapshot: &Path,
    resource_id: &str,
    currency: Currency,
) -> Result<Option<Billed>> {
    let engine = Engine::open(options, Some(snapshot), None)?;
    let first = options.date - chrono::Days::new(BILLED_DAYS);
    let quoted = resource_id.replace('\'', "''");
    let of_machine = format!(
        "resource_id = '{quoted}' and billing_currency = '{currency}'
         and cast(charge_period_start as date) between date '{first}' and date '{}'",
        options.date
    );
    engine.restrict("charges", &of_machine).await?;
    let place = library.describe("tune/machine_price.sql");
    let rows = engine.collect(library.get("tune/machine_price.sql")?).await;
    let rows = rows.map_err(|e| e.context(&place))?;
    let found = map(&rows, |row| {
        let cost = row.decimal("effective_cost", 18)?.map(Money);
        let (micros, days) = (
            row.int("micros")?,
            (row.day("first_day")?, row.day("last_day")?),
        );
        Ok(cost.zip(micros).zip(days.0.zip(days.1)))
    })
    .map_err(|e| e.context(place))?;
    let found = found.into_iter().flatten().next();
    Ok(found
        .map(|((cost, micros), (first, last))| (cost, micros, first, last))
        .filter(|(cost, micros, ..)| cost.0 > 0 && *micros > 0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn money_buys_seconds_at_the_price_of_the_hour() {
        let money = |text| Money::parse(text).unwrap().0;
        let price = Price {
            cost: money("0.35"),
            micros: 3_600_000_000,
            source: String::new(),
        };
        // 2.50 / 0.35 hours = 25714.285714… seconds.
        assert_eq!(price.seconds(money("2.50")), Some(25_714.285_714));
        let bill = Price {
            cost: money("24"),
            micros: 24 * 3_600_000_000,
            source: String::new(),
        };
        assert_eq!(bill.seconds(money("0.5")), Some(1800.0));
        assert_eq!(bill.seconds(Money(i128::MAX)), None);
    }

    #[test]
    fn a_budget_in_passes_too_small_for_one_trial_is_refused() {
        let family: Family = "als".parse().unwrap();
        let settings = Settings {
            budget_passes: Some(9),
            ..Settings::default()
        };
        let error = plan(&settings, family, Some(10)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("too small for one trial, which takes 10 passes")
        );
        assert!(error.remedy().unwrap().contains("`iterations`"));
        let settings = Settings {
            budget_passes: Some(40),
            ..Settings::default()
        };
        assert!(plan(&settings, family, Some(10)).unwrap().passes() <= 40);
    }
}
