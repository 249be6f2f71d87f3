//! Items that nobody had taken up before the split, ranked by models with content: what a new item's vector is worth.
//!
//! Only new items are ranked, for the users who then took one up: how warm and new items compete is for the whole ranking to
//! show, where a handful of new items among thousands says little. The baseline ranks a new item by the popularity of its
//! category.

use std::collections::HashMap;

use super::bootstrap::{Estimate, SEED};
use super::evaluation::{Evaluation, Judged};
use super::metric::Metric;
use crate::compute::Device;
use crate::error::{Error, Result};
use crate::features::content::Content;
use crate::features::csr::Csr;
use crate::features::ids::places;
use crate::features::interactions::Interactions;
use crate::model::popular::Popular;
use crate::model::{Factors, Fitted, content};
use crate::recommend::rank::rank;
use crate::recommend::topk::Filters;

/// How the feature of an item's category begins.
const CATEGORY: &str = "category=";

/// Metric, list length, estimate.
pub type Figures = Vec<(&'static str, usize, Estimate)>;

/// New items and who took them up.
pub struct Cold<'a> {
    content: &'a Content,
    train: &'a Interactions,
    /// Rows of the content of items that training does not know.
    items: Vec<usize>,
    /// Rows of the training, ascending.
    users: Vec<u32>,
    /// `[users, items]`.
    relevant: Csr,
}

impl<'a> Cold<'a> {
    /// Of the pairs `unseen` of a row of the training and an item that it does not know; `None` where nobody took up an
    /// item of the catalogue that is new.
    ///
    /// # Errors
    /// None that can happen.
    pub fn new(
        content: &'a Content,
        train: &'a Interactions,
        unseen: &[(u32, String)],
    ) -> Result<Option<Self>> {
        let new = |row: &usize| train.items.binary_search(&content.ids[*row]).is_err();
        let items: Vec<usize> = (0..content.ids.len()).filter(new).collect();
        let column: HashMap<&str, u32> = items
            .iter()
            .map(|&row| content.ids[row].as_str())
            .zip(0u32..)
            .collect();
        let mut pairs: Vec<(u32, u32)> = unseen
            .iter()
            .filter_map(|(user, item)| Some((*user, *column.get(item.as_str())?)))
            .collect();
        pairs.sort_unstable();
        let mut users: Vec<u32> = pairs.iter().map(|pair| pair.0).collect();
        users.dedup();
        if users.is_empty() {
            return Ok(None);
        }
        let place: HashMap<u32, u32> = users.iter().copied().zip(0..).collect();
        let cells: Vec<(u32, u32, f32)> = pairs
            .iter()
            .map(|(user, item)| (place[user], *item, 1.0))
            .collect();
        let relevant = Csr::from_triplets(users.len(), items.len(), &cells)
            .map_err(|e| Error::unexpected(e.to_string()))?;
        Ok(Some(Self {
            content,
            train,
            items,
            users,
            relevant,
        }))
    }

    /// What the vectors are worth that content gives the new items of a model; `None` for a model without vectors.
    ///
    /// # Errors
    /// Those of the device.
    pub fn judge(
        &self,
        device: &dyn Device,
        fitted: &Fitted,
        ks: &[usize],
    ) -> Result<Option<Figures>> {
        let Fitted::Factors(factors) = fitted else {
            return Ok(None);
        };
        let extended = content::extend(&factors.items, &self.train.items, self.content);
        // Extended by all of the content, so every new item is there.
        let ids: Vec<String> = self
            .items
            .iter()
            .map(|&row| self.content.ids[row].clone())
            .collect();
        let rows = places(&ids, &extended.ids).into_iter().flatten();
        let fitted = Fitted::Factors(Factors {
            users: factors.users.clone(),
            items: extended.table.gathered(rows),
        });
        self.figures(device, &fitted, &self.users, ks).map(Some)
    }

    /// The same of popularity in the category of each new item.
    ///
    /// # Errors
    /// None that can happen.
    pub fn baseline(&self, device: &dyn Device, ks: &[usize]) -> Result<Figures> {
        let names = &self.content.names;
        let category = |row: usize| {
            let (features, _) = self.content.features.row(row);
            let mut features = features.iter().copied();
            features.find(|&feature| names[feature as usize].starts_with(CATEGORY))
        };
        let popular = Popular::train(&self.train.weights);
        let mut sums: HashMap<u32, f64> = HashMap::new();
        for (row, id) in self.content.ids.iter().enumerate() {
            if let (Some(category), Ok(at)) = (category(row), self.train.items.binary_search(id)) {
                *sums.entry(category).or_default() += f64::from(popular.scores()[at]);
            }
        }
        let of = |&row: &usize| category(row).and_then(|c| sums.get(&c)).copied();
        // Above 0, so that an item without a category comes last, and is still in the list.
        let scores = self
            .items
            .iter()
            .map(|row| (of(row).unwrap_or(0.0) + 1e-6) as f32);
        let fitted = Fitted::Popular(Popular::new(scores.collect()));
        let everyone: Vec<u32> = (0..).take(self.users.len()).collect();
        self.figures(device, &fitted, &everyone, ks)
    }

    fn figures(
        &self,
        device: &dyn Device,
        fitted: &Fitted,
        users: &[u32],
        ks: &[usize],
    ) -> Result<Figures> {
        let empty = Csr::from_triplets(self.users.len(), self.items.len(), &[])
            .map_err(|e| Error::unexpected(e.to_string()))?;
        let judged = Judged::new(&empty, &self.relevant, None);
        let metrics = [Metric::Recall, Metric::Ndcg];
        let mut evaluation = Evaluation::new(&metrics, ks, self.items.len());
        let filters = Filters {
            k: ks.iter().copied().max().unwrap_or(1),
            ..Filters::default()
        };
        rank::<Error>(device, fitted, &empty, users, &filters, |first, lists| {
            evaluation.add(&judged, first, &lists);
            Ok(())
        })?;
        let named = |metric| match metric {
            Metric::Recall => "cold_recall",
            _ => "cold_ndcg",
        };
        let estimates = evaluation.estimates(SEED).into_iter();
        Ok(estimates
            .map(|(metric, k, e)| (named(metric), k, e))
            .collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::protocol::testing::interactions;
    use super::*;
    use crate::compute::{CpuDevice, Matrix};

    /// Items 0 to 3 are known, 4 to 7 new; even ones are shoes, odd ones hats. Users 0 and 1 like shoes, 2 hats.
    fn content() -> Content {
        let cells: Vec<(u32, u32, f32)> = (0..8).map(|item| (item, item % 2, 1.0)).collect();
        Content {
            ids: (0..8).map(|item| format!("i{item}")).collect(),
            names: vec!["category=shoes".into(), "category=hats".into()],
            features: Csr::from_triplets(8, 2, &cells).unwrap(),
        }
    }

    #[test]
    fn new_items_go_to_those_who_like_such_and_the_baseline_to_all_alike() {
        let content = content();
        let train = interactions(3, 4, &[(0, 0), (0, 2), (1, 0), (2, 1), (2, 3)]);
        let unseen = [
            (0, "i4".to_string()),
            (1, "i6".to_string()),
            (2, "i5".to_string()),
            (2, "gone".to_string()),
        ];
        let cold = Cold::new(&content, &train, &unseen).unwrap().unwrap();
        let fitted = Fitted::Factors(Factors {
            users: Matrix::new(3, 2, vec![1.0, 0.0, 1.0, 0.0, 0.0, 1.0]).unwrap(),
            items: Matrix::new(4, 2, vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]).unwrap(),
        });
        let device = CpuDevice::new();
        let figures = cold.judge(&device, &fitted, &[2]).unwrap().unwrap();
        assert_eq!(figures.len(), 2);
        assert_eq!(
            (figures[0].0, figures[0].1, figures[0].2.mean),
            ("cold_recall", 2, 1.0)
        );
        // Shoes are the popular category: two users of three find what they took up.
        let baseline = cold.baseline(&device, &[2]).unwrap();
        assert!((baseline[0].2.mean - 2.0 / 3.0).abs() < 1e-9);
        let popular = Fitted::Popular(Popular::new(vec![1.0; 4]));
        assert!(cold.judge(&device, &popular, &[2]).unwrap().is_none());
    }

    #[test]
    fn nothing_new_is_nothing_to_judge() {
        let content = content();
        let train = interactions(1, 8, &[(0, 0)]);
        let unseen = [(0, "gone".to_string())];
        assert!(Cold::new(&content, &train, &unseen).unwrap().is_none());
    }
}
