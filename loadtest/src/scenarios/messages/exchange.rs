//! Connections of users that send and receive messages, on the load thread's ring: who sends to whom, what waits for its answer,
//! what is confirmed. Home: the load thread.
//! Invariant: every answer and every delivery goes through the ledger before anything is counted.

use std::ops::Range;

use crate::client::{Clients, Outbox, Single};
use crate::clock;
use crate::failure::{Failure, Result};
use crate::ring::Slot;
use crate::scenarios::DRAIN_DEADLINE_NS;
use crate::scenarios::messages::ledger::{Ledger, Waiting};
use crate::scenarios::messages::texts::{AckFrame, Delivered, Reader, Said, SendFrame};

/// What is heard, after it was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// A send is accepted that ought to have left at that time.
    Accepted { intended_ns: u64 },
    /// The first delivery of a message.
    Delivered(Delivered),
    /// The result of a request that was no send.
    Result,
}

/// One connection.
pub(super) struct Member {
    line: Single,
    send: Option<SendFrame>,
    confirms: bool,
}

impl Member {
    /// It sends nothing and confirms nothing.
    pub(super) fn over(line: Single) -> Member {
        Member { line, send: None, confirms: false }
    }

    pub(super) fn sending(line: Single, send: SendFrame) -> Member {
        Member { send: Some(send), ..Member::over(line) }
    }

    pub(super) fn confirming(line: Single) -> Member {
        Member { confirms: true, ..Member::over(line) }
    }
}

/// What the members have said and heard, by their slots.
pub(super) struct Mail {
    pub(super) ledger: Ledger,
    sends: Vec<Option<SendFrame>>,
    waiting: Vec<Waiting>,
    confirms: Vec<bool>,
    ack: AckFrame,
    /// Sends that were accepted.
    pub(super) accepted: u64,
}

impl Mail {
    /// Sends a member's next message; `stamp_ns` is when it ought to leave, or what else its content is to tell.
    pub(super) fn post(
        &mut self,
        outbox: &mut Outbox<'_>,
        slot: Slot,
        stamp_ns: u64,
        due_ms: u64,
    ) -> Result<()> {
        let send = self.sends[slot].as_mut().expect("invariant: only those that send are asked to");
        let number = self.ledger.send(send.stream());
        if send.is_answered() {
            self.waiting[slot].push(stamp_ns);
        }
        outbox.send(slot, send.patched(number, stamp_ns, due_ms))
    }

    /// Sends that are not answered.
    pub(super) fn unanswered(&self) -> u64 {
        self.waiting.iter().map(Waiting::count).sum()
    }
}

/// See the file's head.
pub(super) struct Exchange {
    pub(super) clients: Clients,
    pub(super) mail: Mail,
    reader: Reader,
}

impl Exchange {
    /// Slots are the members' places.
    pub(super) fn new(members: Vec<Member>, ledger: Ledger) -> Result<Exchange> {
        let mut clients = Clients::new()?;
        let mut mail = Mail {
            ledger,
            sends: Vec::new(),
            waiting: vec![Waiting::default(); members.len()],
            confirms: Vec::new(),
            ack: AckFrame::new(),
            accepted: 0,
        };
        for Member { line, send, confirms } in members {
            clients.add(line.into_line()?);
            mail.sends.push(send);
            mail.confirms.push(confirms);
        }
        Ok(Exchange { clients, mail, reader: Reader::new() })
    }

    /// Sends a member's next message.
    pub(super) fn post(&mut self, slot: Slot, stamp_ns: u64, due_ms: u64) -> Result<()> {
        self.mail.post(&mut self.clients.outbox(), slot, stamp_ns, due_ms)
    }

    /// One turn; `handle` is given what was heard. Returns the time at its start.
    pub(super) fn turn(
        &mut self,
        mut handle: impl FnMut(&mut Mail, &mut Outbox<'_>, Slot, Heard) -> Result<()>,
    ) -> Result<u64> {
        let Exchange { clients, mail, reader } = self;
        clients.turn(|outbox, slot, message| match reader.read(message)? {
            Said::Accepted(number) => {
                let intended_ns = mail.waiting[slot].take(number)?;
                mail.accepted += 1;
                handle(mail, outbox, slot, Heard::Accepted { intended_ns })
            }
            Said::Message(delivered) => {
                let is_first = mail.ledger.receive(&delivered)?;
                if mail.confirms[slot] {
                    outbox.send(slot, mail.ack.patched(delivered.message))?;
                }
                if is_first { handle(mail, outbox, slot, Heard::Delivered(delivered)) } else { Ok(()) }
            }
            Said::Result(_) => handle(mail, outbox, slot, Heard::Result),
        })
    }

    /// Turns until `is_over`, or nothing is heard for as long as a run waits for its last answers.
    pub(super) fn turn_until(
        &mut self,
        what: &str,
        is_over: impl Fn(&Mail) -> bool,
        mut handle: impl FnMut(&mut Mail, &mut Outbox<'_>, Slot, Heard) -> Result<()>,
    ) -> Result<()> {
        let mut heard_ns = clock::mono_ns();
        while !is_over(&self.mail) {
            let mut is_silent = true;
            let now_ns = self.turn(|mail, outbox, slot, heard| {
                is_silent = false;
                handle(mail, outbox, slot, heard)
            })?;
            if !is_silent {
                heard_ns = now_ns;
            } else if heard_ns + DRAIN_DEADLINE_NS < now_ns {
                let (unanswered, missing) = (self.mail.unanswered(), self.mail.ledger.missing());
                return Err(Failure::Deadline(format!(
                    "{what}: {unanswered} sends are not answered, {missing} are not delivered"
                )));
            }
        }
        Ok(())
    }

    /// Lets each of `slots` send `each` messages, so many at a time of each, until all are accepted. `stamp` gives what the message
    /// of that slot and number tells, and when it is due.
    pub(super) fn fill(
        &mut self,
        slots: Range<Slot>,
        each: u64,
        window: u64,
        stamp: impl Fn(Slot, u64) -> (u64, u64),
    ) -> Result<()> {
        let mut sent = vec![0; slots.end];
        for slot in slots {
            for number in 0..window.min(each) {
                let (stamp_ns, due_ms) = stamp(slot, number);
                self.post(slot, stamp_ns, due_ms)?;
                sent[slot] += 1;
            }
        }
        self.turn_until(
            "messages to be queued",
            |mail| mail.unanswered() == 0,
            |mail, outbox, slot, heard| match heard {
                Heard::Accepted { .. } if sent[slot] < each => {
                    let (stamp_ns, due_ms) = stamp(slot, sent[slot]);
                    sent[slot] += 1;
                    mail.post(outbox, slot, stamp_ns, due_ms)
                }
                Heard::Accepted { .. } | Heard::Delivered(_) | Heard::Result => Ok(()),
            },
        )
    }
}
