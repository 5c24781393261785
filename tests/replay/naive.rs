//! A book rebuilt from a recording without any of the product's code: a map of orders and nothing else.

use std::collections::{BTreeMap, HashMap};

use dbn::{Action, MboMsg, Side as DbnSide};

/// Price in units of 1e-9 and the number of contracts, the worst price first for bids, the best first for asks.
pub(crate) type Sums = (BTreeMap<i64, u64>, BTreeMap<i64, u64>);

/// A rebuild without any of the player's code: a map of orders and nothing else; levels are summed when asked for.
#[derive(Default)]
pub(crate) struct Naive {
    orders: HashMap<u64, (DbnSide, i64, u32)>,
}

impl Naive {
    pub(crate) fn apply(&mut self, message: &MboMsg) {
        match message.action().unwrap() {
            Action::Add | Action::Modify => {
                self.orders.insert(message.order_id, (message.side().unwrap(), message.price, message.size));
            }
            Action::Cancel => {
                if let Some(order) = self.orders.get_mut(&message.order_id) {
                    order.2 -= message.size;
                    if order.2 == 0 {
                        self.orders.remove(&message.order_id);
                    }
                }
            }
            Action::Clear => self.orders.clear(),
            Action::Trade | Action::Fill | Action::None => {}
        }
    }

    #[expect(clippy::disallowed_methods, reason = "sums do not depend on the order")]
    pub(crate) fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for (side, price, size) in self.orders.values() {
            let map = if *side == DbnSide::Bid { &mut sums.0 } else { &mut sums.1 };
            *map.entry(*price).or_default() += u64::from(*size);
        }
        sums
    }
}
