//! What the office counts. PURE.

use crate::model::storage::StoreState;

/// What the office did, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfficeCounters {
    pub asks_total: u64,
    pub answers_total: u64,
    /// Answers that were refusals.
    pub refusals_total: u64,
    /// Refusals because a bound of memory was reached.
    pub full_total: u64,
    /// Refusals because the store is absent, loads, fails or has enough to do.
    pub store_refusals_total: u64,
    /// Messages that were accepted, by `Priority`; one to a group counts once a receiver.
    pub accepted_total: [u64; 4],
    /// Of those, the ones to be delivered at least once.
    pub durable_total: u64,
    /// Sends that were recognised as repeated by their name.
    pub repeats_total: u64,
    /// Deliveries, one for each connection.
    pub deliveries_total: u64,
    /// Deliveries that the receiver may have had before.
    pub redeliveries_total: u64,
    pub confirmed_total: u64,
    pub rejected_total: u64,
    /// Deliveries that nobody confirmed in time.
    pub ack_timeouts_total: u64,
    /// Messages that came back because all connections that had them went.
    pub returned_total: u64,
    /// Deliveries to processors that did not reach their backend.
    pub handed_back_total: u64,
    pub cancelled_total: u64,
    /// Messages whose time to live was over, durable or not.
    pub expired_total: u64,
    /// Messages that became dead letters, by `DeathCause`.
    pub dead_total: [u64; 5],
    /// Dead letters that were dropped to keep newer ones.
    pub dead_dropped_total: u64,
    pub dead_requeued_total: u64,
    pub dead_purged_total: u64,
    /// Scheduled messages that came due.
    pub due_total: u64,
    pub receipts_total: u64,
    /// Receipts that were not told because the sender's connection had no room.
    pub receipts_dropped_total: u64,
    pub presence_total: u64,
    /// Changes of who is present that were handed out to be kept for the next owner of a cluster's market.
    pub presence_kept_total: u64,
    /// Those of users who are away that were not, since too many waited: what is kept of them is forgotten by itself.
    pub presence_unwritten_total: u64,
    /// Users who were held as present since the owner before left them so; of them, those who were seen again, and those who were not.
    pub presence_held_total: u64,
    pub presence_seen_again_total: u64,
    pub presence_lapsed_total: u64,
    /// Users whom it left and who were not held, for lack of room.
    pub presence_unheld_total: u64,
    /// Names that were forgotten before their window was over, to remember newer ones.
    pub names_forgotten_total: u64,
    /// Groups whose lifetime was over.
    pub groups_expired_total: u64,
    pub batches_total: u64,
    pub batch_ops_total: u64,
    pub batches_refused_total: u64,
    /// Messages that were forgotten, and their senders told so, because the store refused them.
    pub store_lost_total: u64,
    /// Messages, dead letters, groups and names that the store told at the start.
    pub loaded_total: u64,
    /// Entries of the store that cannot be read: they are left as they are.
    pub unreadable_total: u64,
    /// Words of the store that no batch of ours explains.
    pub strange_words_total: u64,
}

/// What the office holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfficeGauges {
    /// Messages that are not over.
    pub messages: u64,
    pub message_bytes: u64,
    /// Messages that wait for a connection with room, by `Priority`.
    pub queued: [u64; 4],
    /// Messages that wait for their next attempt.
    pub resting: u64,
    /// Delivered, and not confirmed.
    pub unconfirmed: u64,
    pub scheduled: u64,
    /// On their way to the disk, their senders not yet answered.
    pub storing: u64,
    pub dead_letters: u64,
    pub dead_letter_bytes: u64,
    pub users: u64,
    pub users_present: u64,
    /// Of those, the ones that are held from the owner before and have no connection that is known.
    pub users_held: u64,
    pub sessions: u64,
    pub groups: u64,
    pub topics: u64,
    /// Names that are remembered of messages that are over.
    pub names: u64,
    /// Batches at the store that it has not answered, and changes that no batch has taken yet.
    pub batches_under_way: u64,
    pub changes_waiting: u64,
    pub store: StoreState,
}
