//! A book's levels in groups of ticks: what `book.{i}.{group}.{depth}.{interval}` tells, in whichever encoding. PURE.
//! Invariant: bids are rounded down and asks up, away from the middle; a group has the sum of its levels.

use super::book::Level;
use super::channel::{Depth, Group};
use super::decimal::Price;
use super::market::InstrumentState;

/// The levels of one side whose prices are rounded to the same: both in units of 1e-9, and wider than a price or an amount,
/// since rounding up and adding lead beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupedLevel {
    pub price: i128,
    pub amount: i128,
}

/// The best bids in groups, at most as many as the depth says.
pub fn grouped_bids(
    state: &InstrumentState,
    group: Group,
    depth: Depth,
) -> impl Iterator<Item = GroupedLevel> + '_ {
    let step = step(state, group);
    groups(state.book.bids(), depth, move |price| i128::from(price.0).div_euclid(step) * step)
}

/// The best asks in groups, at most as many as the depth says.
pub fn grouped_asks(
    state: &InstrumentState,
    group: Group,
    depth: Depth,
) -> impl Iterator<Item = GroupedLevel> + '_ {
    let step = step(state, group);
    groups(state.book.asks(), depth, move |price| -((-i128::from(price.0)).div_euclid(step) * step))
}

fn step(state: &InstrumentState, group: Group) -> i128 {
    i128::from(state.definition.tick_size.0).max(1) * i128::from(group.ticks())
}

/// Levels come best first, so a group's levels are neighbours.
fn groups(
    levels: impl Iterator<Item = Level>,
    depth: Depth,
    round: impl Fn(Price) -> i128,
) -> impl Iterator<Item = GroupedLevel> {
    let mut levels = levels.peekable();
    std::iter::from_fn(move || {
        let first = levels.next()?;
        let (price, mut amount) = (round(first.price), i128::from(first.amount.0));
        while let Some(more) = levels.next_if(|level| round(level.price) == price) {
            amount += i128::from(more.amount.0);
        }
        Some(GroupedLevel { price, amount })
    })
    .take(depth.levels())
}
