//! What operators ask the venue's thread: the office of messages, one question at a time. Home: that thread, once a turn.

use crate::inspect::{InspectPort, Question, Reply};
use crate::model::message::MessageRefusal;

use super::Venue;

/// The venue's end, and whether what was asked is not answered yet.
#[derive(Debug)]
pub(super) struct Asking {
    port: InspectPort,
    is_asked: bool,
}

impl Asking {
    pub(super) fn new(port: InspectPort) -> Asking {
        Asking { port, is_asked: false }
    }
}

impl Venue {
    /// There is no office here: it is with the node that owns the market.
    pub(super) fn refuse_question(&mut self) {
        let Asking { port, is_asked } = &mut self.asking;
        let refusal = if std::mem::take(is_asked) {
            // The office that was has perhaps done it.
            MessageRefusal::OwnerLost
        } else if port.receive().is_some() {
            MessageRefusal::OwnerAway
        } else {
            return;
        };
        port.answer(Reply::Office(Err(refusal)));
    }

    /// Asks the office what an operator asks, and answers once it has said something.
    pub(super) fn take_question(&mut self) {
        if !self.asking.is_asked {
            match self.asking.port.receive() {
                None => return,
                Some(Question::Office(request)) => {
                    self.asking.is_asked = true;
                    self.is_busy = true;
                    self.market.handle_operator(request, self.now);
                }
                Some(other) => unreachable!("invariant: shards are asked for all else: {other:?}"),
            }
        }
        if let Some(outcome) = self.market.take_operator_answer() {
            self.asking.is_asked = false;
            self.asking.port.answer(Reply::Office(outcome));
        }
    }
}
