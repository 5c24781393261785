//! What the desk says in SBE: acknowledgements and reports. PURE. What it says in JSON is said at the same places.

use crate::dialect::sbe;
use crate::model::order::ExecType;

use super::Desk;
use super::orders::{NOWHERE, Slot};
use super::output::{ByteRange, SbeEvent};
use super::waiting::Wait;

impl Desk {
    /// The answer to who has waited for the order: with its fills since the last settlement, but to a cancel.
    pub(super) fn write_ack(&mut self, slot: Slot, wait: Wait) -> ByteRange {
        let start = self.bytes.len();
        let held = &self.orders[slot];
        let (is_repeat, mut next) = match wait {
            Wait::Place | Wait::Edit { .. } => (false, held.fresh.head),
            Wait::Repeat => (true, held.fresh.head),
            Wait::Cancel => (false, NOWHERE),
        };
        let fresh = &self.fresh;
        let fills = std::iter::from_fn(|| {
            let told = (next != NOWHERE).then(|| &fresh[next as usize])?;
            next = told.next;
            Some(&told.fill)
        });
        sbe::write_order_ack(&mut self.bytes, &held.order, is_repeat, fills);
        self.range_from(start)
    }

    /// The order of a label that was used before, as it is now, with its fills that are kept.
    pub(super) fn write_repeat_ack(&mut self, slot: Slot) -> ByteRange {
        let mut ack = Vec::new();
        sbe::write_order_ack(&mut ack, &self.orders[slot].order, true, self.kept_fills(slot));
        self.write(|out| out.extend_from_slice(&ack))
    }

    /// The order's event: a report of the order, and one of each fill since the last settlement.
    pub(super) fn write_reports(&mut self, slot: Slot) -> SbeEvent {
        let start = self.bytes.len();
        let held = &self.orders[slot];
        let why = held.touched.unwrap_or(ExecType::Status);
        sbe::write_order_report(&mut self.bytes, &held.order, why);
        let order = self.range_from(start);
        let start = self.bytes.len();
        let mut next = self.orders[slot].fresh.head;
        while next != NOWHERE {
            let told = &self.fresh[next as usize];
            sbe::write_fill_report(&mut self.bytes, &told.fill);
            next = told.next;
        }
        SbeEvent { order, fills: self.range_from(start), fills_count: self.orders[slot].fresh.len }
    }
}
