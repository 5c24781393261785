//! What operators ask the venue's thread: the office of messages, one question at a time. Home: that thread, once a turn.

use crate::inspect::{InspectPort, Question, Reply};

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
