//! The hub under arbitrary sequences of operations: one to three hubs and the market's home on a virtual clock, a mesh that
//! loses batches, networks that cut and stall, clients that keep the rules and clients that keep none.
//!
//! Property: nothing panics; bytes queued for a connection never exceed its bound; every client that keeps the rules is told
//! what a naive model knows (`tickring::simulation`: order, nothing lost in the lossless class, books, values, resume, exactly
//! one reply to each request); one that keeps none is told of nothing that it did not ask for, of no event twice or out of
//! order, and gets exactly one reply to each request that its hub has read; once all have gone, nothing is held.
//!
//! Input: the choices of a small simulated world, one or two bytes for each.

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    _ = tickring::simulation::run_script(input);
}
