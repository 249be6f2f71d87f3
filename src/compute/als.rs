//! ALS over many iterations: two tables of factors solved in turn against the same interactions.

use super::{AlsSolve, ComputeError, Device, Matrix};
use crate::features::csr::Csr;

/// A table of factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Users,
    Items,
}

/// What ALS learns from.
#[derive(Debug, Clone, Copy)]
pub struct Interactions<'a> {
    /// `[users, items]`.
    pub by_user: &'a Csr,
    /// `[items, users]`, the same transposed.
    pub by_item: &'a Csr,
}

impl<'a> Interactions<'a> {
    /// Rows of one side.
    pub(crate) fn of(self, side: Side) -> &'a Csr {
        match side {
            Side::Users => self.by_user,
            Side::Items => self.by_item,
        }
    }
}

/// Tables and interactions on a device: see [`Device::als`].
pub trait Als {
    /// Improves every row of one side while the other is held: see [`Device::als_half`].
    fn half(&mut self, side: Side) -> Result<(), ComputeError>;

    /// The tables `(users, items)` as they are now.
    fn tables(self: Box<Self>) -> Result<(Matrix, Matrix), ComputeError>;
}

/// Tables in the host's memory, of which a device gets a half at a time.
struct HostAls<'a> {
    device: &'a dyn Device,
    interactions: Interactions<'a>,
    solve: AlsSolve,
    users: Matrix,
    items: Matrix,
}

/// ALS by [`Device::als_half`] alone.
pub(super) fn by_halves<'a>(
    device: &'a dyn Device,
    interactions: Interactions<'a>,
    (users, items): (Matrix, Matrix),
    solve: AlsSolve,
) -> Box<dyn Als + 'a> {
    Box::new(HostAls {
        device,
        interactions,
        solve,
        users,
        items,
    })
}

impl Als for HostAls<'_> {
    fn half(&mut self, side: Side) -> Result<(), ComputeError> {
        let (fixed, x) = match side {
            Side::Users => (&self.items, &mut self.users),
            Side::Items => (&self.users, &mut self.items),
        };
        let interactions = self.interactions.of(side);
        self.device
            .als_half(fixed.view(), interactions, self.solve, x)
    }

    fn tables(self: Box<Self>) -> Result<(Matrix, Matrix), ComputeError> {
        Ok((self.users, self.items))
    }
}
