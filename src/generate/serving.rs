//! The models that the shop serves, and their versions.

use serde::{Deserialize, Serialize};

/// A served model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Model {
    HomeAls,
    SimilarItems,
    Trending,
}

impl Model {
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::HomeAls => "home-als",
            Self::SimilarItems => "similar-items",
            Self::Trending => "trending",
        }
    }

    /// The version that serves on a day; `home-als` is upgraded from v7 to v8.
    pub(super) fn version(self, upgraded: bool) -> &'static str {
        match self {
            Self::HomeAls if upgraded => "v8",
            Self::HomeAls => "v7",
            Self::SimilarItems => "v3",
            Self::Trending => "v1",
        }
    }
}

/// What a cost was incurred for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stage {
    Development,
    Training,
    Deployment,
    Operations,
    Upgrade,
}

impl Stage {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Training => "training",
            Self::Deployment => "deployment",
            Self::Operations => "operations",
            Self::Upgrade => "upgrade",
        }
    }
}

/// A model's version at a stage: what a cost can belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) model: &'static str,
    pub(super) version: &'static str,
    pub(super) stage: Stage,
}

impl Owner {
    pub(super) fn new(model: Model, version: &'static str, stage: Stage) -> Self {
        Self {
            model: model.id(),
            version,
            stage,
        }
    }

    /// The version that serves on a day, at a stage.
    pub(super) fn serving(model: Model, upgraded: bool, stage: Stage) -> Self {
        Self::new(model, model.version(upgraded), stage)
    }
}
