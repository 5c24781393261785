//! The domain's words: PURE values that every other layer is written in. Home: every thread.

pub mod book;
pub mod call;
pub mod channel;
pub mod decimal;
pub mod encoding;
pub mod grouping;
pub mod hasher;
pub mod ids;
pub mod instrument;
pub mod invalidation;
pub mod link;
pub mod market;
pub mod message;
pub mod order;
pub mod presence;
pub mod storage;
pub mod time;
