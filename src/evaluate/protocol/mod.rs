//! How a test is held out: a protocol divides what happened into folds.
//!
//! Whatever the protocol, a fold is judged the same way: users and items that its training knows, and of those the pairs
//! that its training does not have.

mod cross_validation;
mod given;
mod leave_last_out;
mod temporal;

use std::path::Path;

use chrono::NaiveDate;
use serde::Deserialize;

use crate::config::Pipeline;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::features::csr::Csr;
use crate::features::interactions::Interactions;
use crate::model::stage::INTERACTIONS;
use crate::privacy::EVERYBODY_ELSE;

/// The ways to hold out a test, by their names in the pipeline file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// The last days.
    Temporal,
    /// The newest interaction of each user.
    LeaveLastOut,
    /// Every interaction once, a share at a time.
    CrossValidation,
    /// The rows of the project's `sql/evaluation/test.sql`.
    Given,
}

impl Protocol {
    /// Divides what a source holds.
    ///
    /// # Errors
    /// Those of SQL, and of a split that was given and does not fit the data.
    pub async fn split(self, source: &Source<'_>) -> Result<Split> {
        match self {
            Self::Temporal => temporal::split(source).await,
            Self::LeaveLastOut => leave_last_out::split(source).await,
            Self::CrossValidation => cross_validation::split(source).await,
            Self::Given => given::split(source).await,
        }
    }
}

/// Where a protocol finds what happened.
pub struct Source<'a> {
    /// Holds `[evaluation]`.
    pub pipeline: &'a Pipeline,
    /// Its SQL.
    pub library: &'a Library,
    /// Options of SQL sessions.
    pub options: &'a Options,
    /// The tables.
    pub snapshot: &'a Path,
    /// First and last day.
    pub window: (NaiveDate, NaiveDate),
}

impl Source<'_> {
    /// A session that sees what was known and had happened by the end of `last`, with the interactions as they were then; of the
    /// window's last day what the night sees.
    async fn until(&self, last: NaiveDate) -> Result<Engine> {
        let options = Options {
            date: last,
            ..self.options.clone()
        };
        let engine = Engine::open(&options, Some(self.snapshot), None)?;
        let seen = (self.window.0, last);
        match last == self.window.1 {
            true => engine.restrict_to_night(seen).await?,
            false => engine.restrict_to(seen).await?,
        }
        engine.restrict("events", EVERYBODY_ELSE).await?;
        let interactions = self.library.get("features/interactions.sql")?;
        engine.context().deregister_table("interactions")?;
        engine.view("interactions", interactions).await?;
        Ok(engine)
    }

    /// Interactions as they were at the end of `last`.
    async fn interactions(&self, last: NaiveDate) -> Result<Interactions> {
        Interactions::read(&self.until(last).await?, INTERACTIONS).await
    }
}

/// What a protocol made of a source.
pub struct Split {
    /// How the test was held out, in words.
    pub description: String,
    /// The day by whose end nothing of the test had happened, where there is one: a version of then may start a training.
    pub before: Option<NaiveDate>,
    /// One after the other, so that one is in memory at a time; none where there is nobody to judge by.
    pub folds: Box<dyn Iterator<Item = Result<Fold>> + Send>,
}

impl Split {
    fn one(description: String, before: Option<NaiveDate>, fold: Fold) -> Self {
        Self {
            description,
            before,
            folds: Box::new(std::iter::once(Ok(fold))),
        }
    }
}

/// What one training sees, and what it is judged by.
pub struct Fold {
    /// What models learn from.
    pub train: Interactions,
    /// What they are judged by.
    pub test: Test,
    /// Who, as a row of the training, took up which item that it does not know.
    pub unseen: Vec<(u32, String)>,
}

impl Fold {
    fn new(train: Interactions, test: &[(u32, u32)]) -> Result<Self> {
        let test = Test::new(&train.weights, test)?;
        Ok(Self {
            train,
            test,
            unseen: vec![],
        })
    }

    /// Trains on `all` but the pairs at the places `held` (ascending), and is judged by those.
    fn holding_out(all: &Interactions, held: &[usize]) -> Result<Self> {
        let mut pairs = Vec::with_capacity(held.len());
        let mut row = 0;
        for &at in held {
            while all.weights.indptr()[row + 1] <= at as u64 {
                row += 1;
            }
            pairs.push((row as u32, all.weights.indices()[at]));
        }
        Self::new(all.without(held)?, &pairs)
    }
}

/// What a model is judged by.
#[derive(Debug, Clone)]
pub struct Test {
    /// The users who are judged, as rows of the training, ascending.
    pub users: Vec<u32>,
    /// What they took up that training does not have, `[users, items]`.
    pub relevant: Csr,
    /// What training has of them, `[users, items]`.
    pub seen: Csr,
    /// `[items]`: which items training knows, where it does not know all.
    pub open: Option<Vec<bool>>,
}

impl Test {
    /// `pairs` are of a row and a column of what is `known` to the training, ascending. Left out are those that training
    /// has, and those of a user or an item of which it has nothing.
    ///
    /// # Errors
    /// None that can happen.
    pub fn new(known: &Csr, pairs: &[(u32, u32)]) -> Result<Self> {
        let mut open = vec![false; known.cols()];
        known
            .indices()
            .iter()
            .for_each(|&i| open[i as usize] = true);
        let mut users: Vec<u32> = vec![];
        let (mut relevant, mut seen) = (vec![], vec![]);
        for &(user, item) in pairs {
            let (had, weights) = known.row(user as usize);
            if had.is_empty() || !open[item as usize] || had.binary_search(&item).is_ok() {
                continue;
            }
            let row = |users: &[u32]| u32::try_from(users.len()).unwrap_or(u32::MAX);
            if users.last() != Some(&user) {
                let row = row(&users);
                seen.extend(had.iter().zip(weights).map(|(&i, &w)| (row, i, w)));
                users.push(user);
            }
            relevant.push((row(&users) - 1, item, 1.0));
        }
        let matrix = |triplets: &[(u32, u32, f32)]| {
            Csr::from_triplets(users.len(), known.cols(), triplets)
                .map_err(|e| Error::unexpected(e.to_string()))
        };
        let (relevant, seen) = (matrix(&relevant)?, matrix(&seen)?);
        Ok(Self {
            open: open.contains(&false).then_some(open),
            users,
            relevant,
            seen,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod testing {
    use super::*;

    /// Interactions of `u0…` with `i0…` at times in order of the list.
    pub fn interactions(users: usize, items: usize, pairs: &[(u32, u32)]) -> Interactions {
        let of = |value: &dyn Fn(usize) -> f32| {
            let cells = pairs.iter().zip(0..).map(|(&(u, i), at)| (u, i, value(at)));
            Csr::from_triplets(users, items, &cells.collect::<Vec<_>>()).unwrap()
        };
        let times = of(&|at| at as f32);
        Interactions {
            users: (0..users).map(|u| format!("u{u}")).collect(),
            items: (0..items).map(|i| format!("i{i}")).collect(),
            weights: of(&|_| 1.0),
            times: times.values().iter().map(|&t| t as i64).collect(),
            bought: of(&|_| 1.0),
            hash: String::new(),
        }
    }
}
