//! Where a charge can end: a model, idle, or unallocated with its reason.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::map::Map;

/// Part of a model's life that a cost belongs to.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Stage {
    Development,
    Training,
    /// Inference, serving.
    Deployment,
    /// Also the stage of a cost whose model is known and whose stage nobody stated.
    #[default]
    Operations,
    Upgrade,
}

/// What kind of thing was paid for.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Category {
    Compute,
    Storage,
    Network,
    Licence,
    Labour,
    Operations,
    #[default]
    Other,
}

/// A word that names no stage or no category.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}; use one of {known}")]
pub struct UnknownName {
    text: String,
    what: &'static str,
    known: &'static str,
}

macro_rules! named {
    ($type:ident, $what:literal, $known:literal, $($variant:ident = $name:literal $(| $alias:literal)*),+) => {
        impl $type {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in tables and configuration.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        /// Case and blanks around the word do not matter.
        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                match text.trim().to_lowercase().as_str() {
                    $($name $(| $alias)* => Ok(Self::$variant),)+
                    _ => Err(UnknownName { text: text.to_owned(), what: $what, known: $known }),
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = UnknownName;

            fn try_from(text: String) -> Result<Self, UnknownName> {
                text.parse()
            }
        }

        impl From<$type> for &'static str {
            fn from(value: $type) -> Self {
                value.as_str()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

named!(
    Stage,
    "stage",
    "development, training, deployment (or inference, serving), operations, upgrade",
    Development = "development",
    Training = "training",
    Deployment = "deployment" | "inference" | "serving",
    Operations = "operations",
    Upgrade = "upgrade"
);
named!(
    Category,
    "category",
    "compute, storage, network, licence (or license), labour (or labor), operations, other",
    Compute = "compute",
    Storage = "storage",
    Network = "network",
    Licence = "licence" | "license",
    Labour = "labour" | "labor",
    Operations = "operations",
    Other = "other"
);

/// Why an amount has no model and is not idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No rule matched.
    NoRule,
    /// A rule said so.
    ByRule,
    /// The driver has no weight above zero for the charge.
    NoDriver,
    /// The provider split the row and its `AllocatedTags` name no model.
    ProviderSplitNoModel,
    /// Nothing with a positive amount that the tax can follow.
    TaxNoBase,
    /// Nothing with a positive amount that the credit can follow.
    CreditNoBase,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::ByRule => "by_rule",
            Self::NoDriver => "no_driver",
            Self::ProviderSplitNoModel => "provider_split_no_model",
            Self::TaxNoBase => "tax_no_base",
            Self::CreditNoBase => "credit_no_base",
        }
    }
}

/// The end of an amount. The order is the key order of splits: models by
/// (model, version, stage), then idle, then unallocated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    Model(ModelTarget),
    /// Idle capacity; with the machine's pool when something else was busy on it.
    /// Pools are numbered in order of arrival: the number is for this run only, never for output.
    Idle {
        pool: Option<u32>,
    },
    /// Idle of several machines as one: what a tax or a credit that follows them leaves idle. The pools share it at the end.
    IdlePools,
    Unallocated {
        reason: Reason,
    },
}

/// A model's version in one of its stages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelTarget {
    pub model: Arc<str>,
    pub version: Option<Arc<str>>,
    pub stage: Stage,
}

/// Set in the id of an idle pool's target, which is its number otherwise: a month of machine hours has millions, and nothing
/// is kept of them.
const IDLE: u32 = 1 << 31;

/// All targets of a run, each once, by an id, dense but for idle pools.
#[derive(Debug, Default)]
pub(super) struct Targets {
    ids: Map<Target, u32>,
    list: Vec<Target>,
    known: Vec<bool>,
    models: Map<String, Arc<str>>,
    /// Cost pools by their name in lower case, numbered in the order in which they are closed.
    pools: Map<String, u32>,
    /// The targets that stand for cost pools.
    pool_of: Map<u32, u32>,
    /// Raw (model, version, stage) of tags to ids, so that a known one costs no allocation.
    seen: Map<Box<[u8]>, u32>,
    key: Vec<u8>,
}

impl Targets {
    /// With the ids of all models, and the names of all cost pools in the order in which they are closed.
    pub fn new(models: &[String], pools: &[String]) -> Self {
        let models = models
            .iter()
            .map(|id| (id.to_lowercase(), Arc::from(id.as_str())));
        let pools = pools.iter().map(|name| name.to_lowercase()).zip(0..);
        Self {
            models: models.collect(),
            pools: pools.collect(),
            ..Self::default()
        }
    }

    /// The cost pool that the target stands for: where the money does not stay.
    pub fn pool(&self, id: u32) -> Option<u32> {
        self.pool_of.get(&id).copied()
    }

    pub fn get(&self, id: u32) -> Cow<'_, Target> {
        match id & IDLE {
            0 => Cow::Borrowed(&self.list[id as usize]),
            _ => Cow::Owned(Target::Idle {
                pool: Some(id & !IDLE),
            }),
        }
    }

    /// Whether the target is a model of this pipeline.
    pub fn is_known(&self, id: u32) -> bool {
        id & IDLE == 0 && self.known[id as usize]
    }

    pub fn id(&mut self, target: Target) -> u32 {
        if let Target::Idle { pool: Some(pool) } = target {
            return IDLE | pool;
        }
        if let Some(&id) = self.ids.get(&target) {
            return id;
        }
        let id = self.list.len() as u32;
        self.ids.insert(target.clone(), id);
        let is_known =
            |target: &ModelTarget| self.models.contains_key(&target.model.to_lowercase());
        self.known
            .push(matches!(&target, Target::Model(target) if is_known(target)));
        self.list.push(target);
        id
    }

    /// A model id that differs from a known one only by case is that one. The name of a cost pool gives the target
    /// that stands for the pool, whatever the version and stage.
    pub fn model(&mut self, model: &str, version: Option<&str>, stage: Stage) -> u32 {
        self.key.clear();
        // Stage and length of the model keep the fields apart.
        self.key
            .extend_from_slice(&[stage as u8, u8::from(version.is_some())]);
        self.key
            .extend_from_slice(&(model.len() as u64).to_le_bytes());
        self.key.extend_from_slice(model.as_bytes());
        self.key.extend_from_slice(version.unwrap_or("").as_bytes());
        if let Some(&id) = self.seen.get(self.key.as_slice()) {
            return id;
        }
        let name = model.to_lowercase();
        let pool = self.pools.get(&name).copied();
        let (version, stage) = match pool {
            Some(_) => (None, Stage::default()),
            None => (version, stage),
        };
        let known = self.models.get(&name);
        let target = Target::Model(ModelTarget {
            model: known.map_or_else(|| Arc::from(model), Arc::clone),
            version: version.map(Arc::from),
            stage,
        });
        let id = self.id(target);
        if let Some(pool) = pool {
            self.pool_of.insert(id, pool);
            self.known[id as usize] = true;
        }
        self.seen.insert(self.key.as_slice().into(), id);
        id
    }

    pub fn compare(&self, a: u32, b: u32) -> Ordering {
        self.get(a).cmp(&self.get(b))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_synonyms_are_known() {
        for stage in Stage::ALL {
            assert_eq!(stage.as_str().parse::<Stage>().unwrap(), *stage);
        }
        for category in Category::ALL {
            assert_eq!(category.as_str().parse::<Category>().unwrap(), *category);
        }
        assert_eq!(" Inference ".parse::<Stage>().unwrap(), Stage::Deployment);
        assert_eq!("Serving".parse::<Stage>().unwrap(), Stage::Deployment);
        assert!(
            "servng"
                .parse::<Stage>()
                .unwrap_err()
                .to_string()
                .contains("deployment")
        );
    }

    #[test]
    fn models_are_one_whatever_their_case_when_known() {
        let mut targets = Targets::new(&["Als-Main".to_owned()], &[]);
        let first = targets.model("als-main", Some("1"), Stage::Training);
        assert_eq!(targets.model("ALS-MAIN", Some("1"), Stage::Training), first);
        assert_ne!(targets.model("als-main", None, Stage::Training), first);
        assert_ne!(
            targets.model("other", None, Stage::Training),
            targets.model("Other", None, Stage::Training)
        );
        assert!(
            matches!(&*targets.get(first), Target::Model(target) if &*target.model == "Als-Main")
        );
    }
}
