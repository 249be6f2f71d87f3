//! Ranked lists for users: personal ones from what was fitted, the popular items for everyone else.

mod lists;
pub(crate) mod neighbours;
pub mod rank;
pub mod reasons;
pub mod stage;
pub mod topk;
