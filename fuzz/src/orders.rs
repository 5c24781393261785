//! Orders under arbitrary sequences of operations: two hubs, the market's home, the desk and the paper venue on a virtual clock,
//! with clients that trade and are cut off, and a link to the venue that is slow and is cut at times.
//!
//! Property: nothing panics; each request has one reply, or its connection is gone; what each client has rebuilt from its private
//! channel and what the desk tells of an account are what the venue's trades add up to; nothing is filled beyond its amount, lost
//! or doubled by a cut; at rest what is open is what rests in the venue's books, and once all have gone nothing is held
//! (`tickring::simulation`, the judges of its runs of orders).
//!
//! Input: a byte for the seed of the market and its network, then the choices of the world, one or two bytes for each.

use std::collections::BTreeMap;

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    _ = coverage(input);
}

/// Checks an input and says how often what happened.
///
/// # Panics
/// Where the property does not hold.
#[must_use]
pub fn coverage(input: &[u8]) -> BTreeMap<&'static str, u64> {
    tickring::simulation::run_orders_script(input)
}
