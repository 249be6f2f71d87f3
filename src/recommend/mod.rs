//! Ranked lists for users: personal ones from factors, the popular items for everyone else.

pub mod stage;
pub mod topk;
