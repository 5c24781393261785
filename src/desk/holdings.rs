//! What an account holds: a position for each instrument, cash for each quote currency. PURE; integers only.
//!
//! Invariants: a position's cost has its sign, and is 0 where its size is; cash of a currency is Σ (realized − cost) of
//! its instruments, to the unit, since what a closed part cost is taken off the position and never computed twice.

use crate::model::decimal::Amount;
use crate::model::ids::InstrumentId;
use crate::model::instrument::Symbol;
use crate::model::market::Direction;
use crate::model::order::Position;

/// A position, and what the account's open orders could make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    pub position: Position,
    /// What buy and sell orders may still fill: 2^63 each at most, whatever their venues make of them.
    pub working: [i128; 2],
    /// The part of it that is of reduce-only orders.
    pub reducing: [i128; 2],
}

/// Money of one currency, in units of 1e-9, without what the account began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cash {
    pub currency: Symbol,
    pub amount: i128,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// Sorted by instrument.
    held: Vec<Holding>,
    /// Sorted by currency.
    cash: Vec<Cash>,
}

/// Where the numbers of a direction are.
pub(super) const fn side(direction: Direction) -> usize {
    match direction {
        Direction::Buy => 0,
        Direction::Sell => 1,
    }
}

/// 1 to buy, −1 to sell.
pub(super) const fn sign(direction: Direction) -> i64 {
    match direction {
        Direction::Buy => 1,
        Direction::Sell => -1,
    }
}

impl Holding {
    fn new(instrument: InstrumentId) -> Holding {
        let position = Position { instrument, size: 0, cost: 0, realized: 0 };
        Holding { position, working: [0; 2], reducing: [0; 2] }
    }

    /// How much may be traded this way before the position is gone.
    pub(super) fn closable(&self, direction: Direction) -> i64 {
        self.position.size.saturating_mul(-sign(direction)).max(0)
    }

    /// The position, were all open orders of this direction filled; positive in this direction.
    pub(super) fn exposure(&self, direction: Direction) -> i128 {
        i128::from(self.position.size) * i128::from(sign(direction)) + self.working[side(direction)]
    }

    /// Applies a trade of `amount` for `notional`; the profit that it realized, or `None` where the position
    /// would be beyond what can be counted.
    pub(super) fn trade(&mut self, direction: Direction, amount: Amount, notional: i128) -> Option<i128> {
        let position = &mut self.position;
        let traded = amount.0.checked_mul(sign(direction))?;
        let size = position.size.checked_add(traded)?;
        let value = notional * i128::from(sign(direction));
        let is_opposite = position.size.signum() * traded.signum() < 0;
        if !is_opposite {
            position.size = size;
            position.cost += value;
            return Some(0);
        }
        let held = position.size.unsigned_abs();
        let closed = held.min(amount.0.unsigned_abs());
        // Of what is traded, the part that closes; the rest opens the other way.
        let closing_value = share(value, closed, amount.0.unsigned_abs());
        let closed_cost = share(position.cost, closed, held);
        let profit = -closing_value - closed_cost;
        position.size = size;
        position.cost += value - closing_value - closed_cost;
        position.realized += profit;
        Some(profit)
    }
}

impl Holdings {
    /// About what four positions and one currency take.
    pub(super) const USUAL_BYTES: usize = 4 * size_of::<Holding>() + size_of::<Cash>();

    pub(super) fn get(&self, instrument: InstrumentId) -> Option<&Holding> {
        self.find(instrument).ok().map(|at| &self.held[at])
    }

    /// What is held of an instrument; nothing, where it was never traded.
    pub(super) fn of(&self, instrument: InstrumentId) -> Holding {
        self.get(instrument).copied().unwrap_or_else(|| Holding::new(instrument))
    }

    pub(super) fn of_mut(&mut self, instrument: InstrumentId) -> &mut Holding {
        let at = match self.find(instrument) {
            Ok(at) => at,
            Err(at) => {
                self.held.insert(at, Holding::new(instrument));
                at
            }
        };
        &mut self.held[at]
    }

    /// Where an instrument's holding is among all of [`Holdings::iter`].
    pub(super) fn place(&self, instrument: InstrumentId) -> Option<usize> {
        self.find(instrument).ok()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Holding> {
        self.held.iter()
    }

    pub(super) fn cash(&self, currency: Symbol) -> i128 {
        self.find_cash(currency).map_or(0, |at| self.cash[at].amount)
    }

    pub(super) fn add_cash(&mut self, currency: Symbol, amount: i128) {
        let at = match self.find_cash(currency) {
            Ok(at) => at,
            Err(at) => {
                self.cash.insert(at, Cash { currency, amount: 0 });
                at
            }
        };
        self.cash[at].amount += amount;
    }

    fn find(&self, instrument: InstrumentId) -> Result<usize, usize> {
        self.held.binary_search_by_key(&instrument, |holding| holding.position.instrument)
    }

    fn find_cash(&self, currency: Symbol) -> Result<usize, usize> {
        self.cash.binary_search_by_key(&currency, |cash| cash.currency)
    }
}

/// `money` × `part` / `whole`, rounded towards zero, for a part of the whole. No step of it overflows: both are below
/// 2^63, so that the rest of a division times a part is below 2^126.
fn share(money: i128, part: u64, whole: u64) -> i128 {
    let (part, whole) = (i128::from(part), i128::from(whole));
    money / whole * part + money % whole * part / whole
}
