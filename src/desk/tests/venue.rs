//! A price-time book over a list, as plain as can be: what the desk is held against.

use std::collections::VecDeque;

use crate::model::decimal::{Amount, Price};
use crate::model::ids::InstrumentId;
use crate::model::market::Direction;
use crate::model::order::{
    AccountId, CancelReason, NewOrder, OrderId, OrderRefusal, OrderType, PostOnly, TimeInForce, VenueReport,
    VenueRequest,
};

/// What the venue tells, in the order in which it happened.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Report(VenueReport),
    Trade {
        instrument: InstrumentId,
        price: Price,
        amount: Amount,
        direction: Direction,
        maker: Option<OrderId>,
        taker: Option<OrderId>,
    },
}

/// An order at rest; without a number it is the house's.
#[derive(Clone, Debug)]
pub(super) struct Resting {
    pub(super) order: Option<OrderId>,
    pub(super) account: Option<AccountId>,
    pub(super) instrument: InstrumentId,
    pub(super) direction: Direction,
    pub(super) price: Price,
    pub(super) left: Amount,
}

/// One side of a trade, as the venue books it.
#[derive(Clone, Debug)]
pub(super) struct Booked {
    pub(super) order: Option<OrderId>,
    pub(super) account: Option<AccountId>,
    pub(super) direction: Direction,
    pub(super) price: Price,
    pub(super) amount: Amount,
}

#[derive(Debug, Default)]
pub(super) struct Venue {
    /// The older first.
    pub(super) resting: Vec<Resting>,
    pub(super) booked: Vec<Booked>,
    /// Every new order that reached it.
    pub(super) received: Vec<(OrderId, AccountId, NewOrder)>,
}

impl Venue {
    /// Liquidity of the house, in whole numbers.
    pub(super) fn quote(&mut self, instrument: InstrumentId, direction: Direction, price: i64, amount: i64) {
        use crate::model::decimal::UNIT;
        self.resting.push(Resting {
            order: None,
            account: None,
            instrument,
            direction,
            price: Price(price * UNIT),
            left: Amount(amount * UNIT),
        });
    }

    pub(super) fn handle(&mut self, request: &VenueRequest, out: &mut VecDeque<Happening>) {
        match *request {
            VenueRequest::New { order, account, spec } => self.place(order, account, &spec, out),
            VenueRequest::Amend { order, price, total, .. } => {
                let Some(at) = self.resting.iter().position(|resting| resting.order == Some(order)) else {
                    let why = OrderRefusal::AlreadyClosed;
                    out.push_back(Happening::Report(VenueReport::AmendRejected { order, why }));
                    return;
                };
                let mut resting = self.resting.remove(at);
                resting.price = price.unwrap_or(resting.price);
                let total = total.max(self.filled(order));
                resting.left = Amount(total.0 - self.filled(order).0);
                let price = resting.price;
                out.push_back(Happening::Report(VenueReport::Amended { order, price, total }));
                self.trade(&mut resting, out);
                if resting.left > Amount::ZERO {
                    self.resting.push(resting);
                }
            }
            VenueRequest::Cancel { order, .. } => {
                let at = self.resting.iter().position(|resting| resting.order == Some(order));
                out.push_back(Happening::Report(match at {
                    Some(at) => {
                        self.resting.remove(at);
                        VenueReport::Cancelled { order, why: CancelReason::UserRequest }
                    }
                    None => VenueReport::CancelRejected { order, why: OrderRefusal::AlreadyClosed },
                }));
            }
        }
    }

    fn filled(&self, order: OrderId) -> Amount {
        let own = self.booked.iter().filter(|booked| booked.order == Some(order));
        Amount(own.map(|booked| booked.amount.0).sum())
    }

    fn place(&mut self, order: OrderId, account: AccountId, spec: &NewOrder, out: &mut VecDeque<Happening>) {
        assert!(self.received.iter().all(|(known, ..)| *known != order), "an order came twice: {order:?}");
        self.received.push((order, account, *spec));
        let extreme = match spec.direction {
            Direction::Buy => Price(i64::MAX),
            Direction::Sell => Price(i64::MIN),
        };
        let mut incoming = Resting {
            order: Some(order),
            account: Some(account),
            instrument: spec.instrument,
            direction: spec.direction,
            price: spec.price.unwrap_or(extreme),
            left: spec.amount,
        };
        let takes: i64 =
            self.resting.iter().filter(|other| meets(&incoming, other)).map(|other| other.left.0).sum();
        let refusal = if spec.post_only != PostOnly::No && takes > 0 {
            Some(OrderRefusal::PostOnly)
        } else if spec.time_in_force == TimeInForce::FillOrKill && takes < spec.amount.0 {
            Some(OrderRefusal::FillOrKill)
        } else if spec.order_type == OrderType::Market && takes == 0 {
            Some(OrderRefusal::VenueRefused)
        } else {
            None
        };
        if let Some(why) = refusal {
            out.push_back(Happening::Report(VenueReport::Rejected { order, why }));
            return;
        }
        out.push_back(Happening::Report(VenueReport::Accepted { order, price: spec.price }));
        self.trade(&mut incoming, out);
        if incoming.left == Amount::ZERO {
            return;
        }
        let rests =
            spec.order_type == OrderType::Limit && spec.time_in_force == TimeInForce::GoodTilCancelled;
        if rests {
            self.resting.push(incoming);
        } else {
            let why = CancelReason::Immediate;
            out.push_back(Happening::Report(VenueReport::Cancelled { order, why }));
        }
    }

    fn trade(&mut self, incoming: &mut Resting, out: &mut VecDeque<Happening>) {
        while incoming.left > Amount::ZERO {
            let better = |one: &Resting, other: &Resting| match incoming.direction {
                Direction::Buy => one.price < other.price,
                Direction::Sell => one.price > other.price,
            };
            let mut best: Option<usize> = None;
            for (at, other) in self.resting.iter().enumerate() {
                if meets(incoming, other) && best.is_none_or(|best| better(other, &self.resting[best])) {
                    best = Some(at);
                }
            }
            let Some(at) = best else { return };
            let maker = &mut self.resting[at];
            let amount = maker.left.min(incoming.left);
            maker.left.0 -= amount.0;
            incoming.left.0 -= amount.0;
            let (price, instrument) = (maker.price, maker.instrument);
            let maker = maker.clone();
            for side in [&maker, &*incoming] {
                let Resting { order, account, direction, .. } = *side;
                self.booked.push(Booked { order, account, direction, price, amount });
            }
            out.push_back(Happening::Trade {
                instrument,
                price,
                amount,
                direction: incoming.direction,
                maker: maker.order,
                taker: incoming.order,
            });
            if maker.left == Amount::ZERO {
                self.resting.remove(at);
            }
        }
    }
}

fn meets(incoming: &Resting, other: &Resting) -> bool {
    other.instrument == incoming.instrument
        && match (incoming.direction, other.direction) {
            (Direction::Buy, Direction::Sell) => other.price <= incoming.price,
            (Direction::Sell, Direction::Buy) => other.price >= incoming.price,
            (Direction::Buy, Direction::Buy) | (Direction::Sell, Direction::Sell) => false,
        }
}
