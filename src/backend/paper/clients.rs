//! What becomes of clients' requests on one instrument: checks, post-only, fill or kill, amendments. PURE.
//! Home: the venue thread.
//!
//! Invariants: what is refused changes nothing; what is accepted is over when the request is over, but for what rests.
//! The simulated traders do nothing here and no random number is drawn: they answer in moments of their own. A request
//! costs a search among the levels, and so much for each order that it meets: at most those in the book, which
//! `limits::PAPER_CLIENT_ORDERS_PER_BOOK_MAX` bounds.

use super::book::{Outcome, Owner, Placed, Resting, other};
use super::traders::{Pit, TICKS_MAX};
use crate::limits;
use crate::model::book::Side;
use crate::model::decimal::{Amount, Price};
use crate::model::market::Direction;
use crate::model::order::{
    AccountId, CancelReason, NewOrder, OrderId, OrderRefusal, OrderType, PostOnly, TimeInForce, VenueReport,
    VenueRequest,
};

/// What clients' orders may make one side of a book hold: far from what 64 bits count, also for who adds up its levels.
const SIDE_AMOUNT_MAX: i64 = i64::MAX / 4;

/// What a request did, besides what it met and touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executed {
    /// To be told first.
    pub answer: VenueReport,
    /// Whose order met what `Outcome::met` has.
    pub taker: Option<OrderId>,
    /// To be told after the fills.
    pub end: Option<VenueReport>,
}

impl Executed {
    const fn only(answer: VenueReport) -> Executed {
        Executed { answer, taker: None, end: None }
    }
}

impl Pit {
    /// Does what a client asks for; what it met and touched is in `out`.
    pub fn execute(&mut self, request: &VenueRequest, out: &mut Outcome) -> Executed {
        let executed = match request {
            VenueRequest::New { order, account, spec } => {
                self.place(Owner { account: *account, order: *order }, spec, out)
            }
            VenueRequest::Amend { order, instrument: _, price, total, post_only } => {
                self.amend(*order, *price, *total, *post_only, out)
            }
            VenueRequest::Cancel { order, instrument: _ } => Executed::only(self.withdraw(*order, out)),
        };
        self.book.settle(out);
        executed
    }

    fn place(&mut self, owner: Owner, spec: &NewOrder, out: &mut Outcome) -> Executed {
        let order = owner.order;
        let price = match self.admit(owner.account, spec) {
            Ok(price) => price,
            Err(why) => return Executed::only(VenueReport::Rejected { order, why }),
        };
        let side = side_of(spec.direction);
        let may_rest = price.filter(|_| spec.time_in_force == TimeInForce::GoodTilCancelled);
        let left_over = match may_rest {
            Some(limit) => {
                let (amount, filled) = (spec.amount, Amount::ZERO);
                self.rest_behind(Resting { side, price: limit, amount, filled, owner: Some(owner) }, out);
                false
            }
            None => {
                let filled = self.book.place_immediate(side, price, spec.amount, Some(owner.account), out);
                filled.expect("invariant: the amount was checked") < spec.amount
            }
        };
        let end = left_over.then_some(VenueReport::Cancelled { order, why: CancelReason::Immediate });
        Executed { answer: VenueReport::Accepted { order, price }, taker: Some(order), end }
    }

    /// An order of which no less was filled than it is to be in all is over, as in FIX: its amount is then what was filled.
    fn amend(
        &mut self,
        order: OrderId,
        price: Option<Price>,
        total: Amount,
        post_only: PostOnly,
        out: &mut Outcome,
    ) -> Executed {
        let refused = |why| Executed::only(VenueReport::AmendRejected { order, why });
        let found = self.book.find(order).and_then(|id| Some((id, self.book.order(id)?)));
        let Some((id, resting)) = found else { return refused(OrderRefusal::OrderNotFound) };
        let account = resting.owner.map(|owner| owner.account);
        let wanted = price.unwrap_or(resting.price);
        if let Err(why) = self.check_amount(total).and_then(|()| self.check_price(wanted)) {
            return refused(why);
        }
        if total <= resting.filled {
            self.book.cancel(id, out);
            let answer = VenueReport::Amended { order, price: resting.price, total: resting.filled };
            return Executed::only(answer);
        }
        let amount = Amount(total.0 - resting.filled.0);
        let price = match self.keep_from_taking(resting.side, wanted, post_only) {
            Ok(price) => price,
            Err(why) => return refused(why),
        };
        if price == resting.price && amount <= resting.amount {
            self.book.reduce(id, amount, out);
        } else {
            let others = self.book.client_order_count() - 1;
            if !self.has_room(others, resting.side, price, amount, account) {
                return refused(OrderRefusal::VenueRefused);
            }
            self.book.cancel(id, out);
            self.rest_behind(Resting { price, amount, ..resting }, out);
        }
        let answer = VenueReport::Amended { order, price, total };
        Executed { answer, taker: Some(order), end: None }
    }

    fn withdraw(&mut self, order: OrderId, out: &mut Outcome) -> VenueReport {
        match self.book.find(order).and_then(|id| self.book.cancel(id, out)) {
            Some(_) => VenueReport::Cancelled { order, why: CancelReason::UserRequest },
            None => VenueReport::CancelRejected { order, why: OrderRefusal::OrderNotFound },
        }
    }

    /// Whether a new order may be executed, and at which price: `None` of a market order.
    fn admit(&self, account: AccountId, spec: &NewOrder) -> Result<Option<Price>, OrderRefusal> {
        let (side, amount) = (side_of(spec.direction), spec.amount);
        self.check_amount(amount)?;
        let limit = match (spec.order_type, spec.price, spec.post_only) {
            (OrderType::Market, _, PostOnly::Slide | PostOnly::Reject) => return Err(OrderRefusal::PostOnly),
            (OrderType::Market, _, PostOnly::No) => {
                self.book.best(other(side)).ok_or(OrderRefusal::VenueRefused)?;
                None
            }
            (OrderType::Limit, None, _) => return Err(OrderRefusal::PriceTick),
            (OrderType::Limit, Some(price), post_only) => {
                self.check_price(price)?;
                Some(self.keep_from_taking(side, price, post_only)?)
            }
        };
        match (spec.time_in_force, limit) {
            (TimeInForce::FillOrKill, _)
                if self.book.reachable(side, limit, amount, Some(account)) < amount =>
            {
                Err(OrderRefusal::FillOrKill)
            }
            (TimeInForce::GoodTilCancelled, Some(price))
                if !self.has_room(self.book.client_order_count(), side, price, amount, Some(account)) =>
            {
                Err(OrderRefusal::VenueRefused)
            }
            (TimeInForce::GoodTilCancelled | TimeInForce::ImmediateOrCancel | TimeInForce::FillOrKill, _) => {
                Ok(limit)
            }
        }
    }

    fn check_amount(&self, amount: Amount) -> Result<(), OrderRefusal> {
        if amount <= Amount::ZERO || amount.0 % self.lot != 0 {
            return Err(OrderRefusal::InvalidAmount);
        }
        Ok(())
    }

    fn check_price(&self, price: Price) -> Result<(), OrderRefusal> {
        if price.0 <= 0 || price.0 % self.tick != 0 {
            return Err(OrderRefusal::PriceTick);
        }
        if price.0 / self.tick > TICKS_MAX {
            return Err(OrderRefusal::PriceTooHigh);
        }
        Ok(())
    }

    /// The price of an order, moved or refused if it must not take and would, whoever's the best order of the other
    /// side is.
    fn keep_from_taking(&self, side: Side, price: Price, post_only: PostOnly) -> Result<Price, OrderRefusal> {
        let best = self.book.best(other(side)).map(|level| level.price);
        let met = best.filter(|best| match side {
            Side::Bid => price >= *best,
            Side::Ask => price <= *best,
        });
        match (post_only, met) {
            (PostOnly::No, _) | (PostOnly::Slide | PostOnly::Reject, None) => Ok(price),
            (PostOnly::Reject, Some(_)) => Err(OrderRefusal::PostOnly),
            (PostOnly::Slide, Some(best)) => {
                let moved = match side {
                    Side::Bid => Price(best.0 - self.tick),
                    Side::Ask => Price(best.0 + self.tick),
                };
                self.check_price(moved).map_err(|_| OrderRefusal::PostOnly)?;
                Ok(moved)
            }
        }
    }

    /// Whether what such an order leaves may rest beside `others` clients' orders. What leaves nothing needs no room; what
    /// leaves something needs it as the book is before, although the order may make some.
    fn has_room(
        &self,
        others: u32,
        side: Side,
        price: Price,
        amount: Amount,
        account: Option<AccountId>,
    ) -> bool {
        let has_level = self.book.amount_at(side, price) > Amount::ZERO
            || self.book.level_count(side) < limits::PAPER_LEVELS_PER_SIDE_MAX;
        let is_counted = self.book.side_amount(side).0.saturating_add(amount.0) <= SIDE_AMOUNT_MAX;
        (others < limits::PAPER_CLIENT_ORDERS_PER_BOOK_MAX && has_level && is_counted)
            || self.book.reachable(side, Some(price), amount, account) == amount
    }

    fn rest_behind(&mut self, order: Resting, out: &mut Outcome) -> Placed {
        self.book
            .place_limit(order, out)
            .expect("invariant: the amount was checked, and the book holds clients' and traders' orders")
    }
}

const fn side_of(direction: Direction) -> Side {
    match direction {
        Direction::Buy => Side::Bid,
        Direction::Sell => Side::Ask,
    }
}

#[cfg(test)]
mod tests;
