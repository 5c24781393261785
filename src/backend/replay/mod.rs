//! Replay.
use crate::model::market::FeedBuffer;
use crate::model::time::Now;
pub mod error;
pub use error::FeedError;
/// A recording that is played.
#[derive(Debug)]
pub struct Replay {}
impl Replay {
    /// See [`super::Feed::poll`].
    ///
    /// # Errors
    /// See [`super::Feed::poll`].
    pub fn poll(&mut self, _now: Now, _out: &mut FeedBuffer, _events_max: usize) -> Result<(), FeedError> {
        Ok(())
    }
    /// See [`super::Feed::poll_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        None
    }
    /// See [`super::Feed::is_finished`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        true
    }
}
