//! The published tables: their contracts, the files they lie in, and the one step in which a run replaces them.

pub mod contract;
pub mod evolution;
pub mod layers;
pub(crate) mod lease;
pub(crate) mod ledgers;
pub(crate) mod manifest;
pub(crate) mod mirror;
mod names;
mod order;
pub mod origins;
pub mod pointer;
mod remote;
pub mod store;
pub mod tables;
mod tables_focus;
pub mod writer;

pub use contract::{Check, Column, Partition, Table, Type};
pub use store::{Committed, Lock, Prepared, Staging, Warehouse};
pub use tables::{TABLES, table};
pub use writer::TableWriter;
