//! From events to features, by SQL, and from the interaction table to the sparse matrices that models train on.

pub mod content;
pub mod csr;
mod divide;
pub mod ids;
pub mod interactions;
pub mod stage;
