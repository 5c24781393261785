//! Between the market's thread and the thread that speaks to NATS: two queues each way, one for orders and their answers, which are few and must arrive, and one for
//! messages, of which there are many; and a pair of their own for who is present.
//!
//! Home: the market's thread has the [`NatsPort`], the other the [`ThreadEnds`]. Invariants: nobody waits for the other side; a queue is bounded in number, that of messages
//! in bytes too, and a single value of more bytes passes where nothing else waits; what was pushed is seen (`sleep.rs`): the market's thread rings for one
//! that sleeps, the other rings once for all that it has said in a round; each counter has one writer.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rtrb::{Consumer, Producer, PushError, RingBuffer};
use tokio::io::unix::AsyncFd;

use crate::cluster::lease::LeaseRequest;
use crate::cluster::names::Place;
use crate::cluster::parts::Part;
use crate::cluster::words::{Asker, PresenceWish, PresenceWord, Wish, Word};
use crate::doorbell::Doorbell;
use crate::limits;
use crate::sleep::{Sleeper, fence_pushes};

/// How long the thread sleeps while an answer to an order does not fit.
pub(super) const RETRY: Duration = Duration::from_millis(1);

/// A wish that is carried out at once.
#[derive(Debug)]
pub(super) enum Order {
    Lease(LeaseRequest),
    Listen(bool),
    Hear(Option<Place>),
}

/// A wish that becomes a message of NATS.
#[derive(Debug)]
pub(super) enum Message {
    Tell(Part),
    Ask(Vec<u8>),
    Answer { to: Asker, bytes: Vec<u8> },
}

/// The market's thread's end.
#[derive(Debug)]
pub struct NatsPort {
    orders: Sender<Order>,
    messages: Sender<Message>,
    presence: Sender<PresenceWish>,
    /// Who waits for each of them.
    inlets: [Waiting; 3],
    answers: Receiver<Word>,
    heard: Receiver<Word>,
    kept: Receiver<PresenceWord>,
}

/// The end of the thread that speaks to NATS.
#[derive(Debug)]
pub(super) struct ThreadEnds {
    pub(super) orders: InletParts<Order>,
    pub(super) messages: InletParts<Message>,
    pub(super) presence: InletParts<PresenceWish>,
    pub(super) outlet: Outlet,
}

/// Who takes from a queue, and how they are woken.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    sleeper: Arc<Sleeper>,
    pub(super) doorbell: Doorbell,
}

/// An [`Inlet`] before there is a runtime that could watch its doorbell.
#[derive(Debug)]
pub(super) struct InletParts<T> {
    pub(super) queue: Receiver<T>,
    pub(super) waiting: Waiting,
    pub(super) stop: Arc<AtomicBool>,
}

/// Where a task waits for what the market's thread wishes.
pub(super) struct Inlet<T> {
    queue: Receiver<T>,
    sleeper: Arc<Sleeper>,
    bell: AsyncFd<Doorbell>,
    stop: Arc<AtomicBool>,
}

/// What the market's thread is told through, by any task.
#[derive(Debug)]
pub(super) struct Outlet {
    answers: RefCell<Sender<Word>>,
    heard: RefCell<Sender<Word>>,
    kept: RefCell<Sender<PresenceWord>>,
    doorbell: Doorbell,
}

#[derive(Debug)]
pub(super) struct Sender<T> {
    queue: Producer<T>,
    bytes_of: fn(&T) -> usize,
    bytes_max: usize,
    /// In all.
    pushed_bytes: u64,
    taken_bytes: Arc<AtomicU64>,
    unannounced: bool,
}

#[derive(Debug)]
pub(super) struct Receiver<T> {
    queue: Consumer<T>,
    bytes_of: fn(&T) -> usize,
    taken_bytes: u64,
    told: Arc<AtomicU64>,
}

/// The ends, and what wakes the thread for a stop; `market` is the doorbell of the market's thread.
pub(super) fn lanes(
    market: Doorbell,
    stop: &Arc<AtomicBool>,
) -> io::Result<(NatsPort, ThreadEnds, [Doorbell; 3])> {
    let inlets = [Waiting::new()?, Waiting::new()?, Waiting::new()?];
    let (orders, taken_orders) = queue(limits::NATS_ORDERS_MAX, |_| 0);
    let (messages, taken_messages) = queue(limits::NATS_MESSAGES_MAX, Message::bytes);
    let (answering, answers) = queue(limits::NATS_ORDERS_MAX, |_| 0);
    let (hearing, heard) = queue(limits::NATS_MESSAGES_MAX, bytes_of_word);
    let (presence, taken_presence) = queue(limits::NATS_PRESENCE_WISHES_MAX, |_| 0);
    let (keeping, kept) = queue(limits::NATS_PRESENCE_WORDS_MAX, |_| 0);
    let [for_orders, for_messages, for_presence] = inlets.clone();
    let doorbells = inlets.clone().map(|waiting| waiting.doorbell);
    let ends = ThreadEnds {
        orders: InletParts { queue: taken_orders, waiting: for_orders, stop: Arc::clone(stop) },
        messages: InletParts { queue: taken_messages, waiting: for_messages, stop: Arc::clone(stop) },
        presence: InletParts { queue: taken_presence, waiting: for_presence, stop: Arc::clone(stop) },
        outlet: Outlet {
            answers: answering.into(),
            heard: hearing.into(),
            kept: keeping.into(),
            doorbell: market,
        },
    };
    Ok((NatsPort { orders, messages, presence, inlets, answers, heard, kept }, ends, doorbells))
}

pub(super) fn queue<T>(places: usize, bytes_of: fn(&T) -> usize) -> (Sender<T>, Receiver<T>) {
    let (producer, consumer) = RingBuffer::new(places);
    let taken_bytes = Arc::<AtomicU64>::default();
    let told = Arc::clone(&taken_bytes);
    let bytes_max = limits::NATS_BYTES_MAX;
    let sender =
        Sender { queue: producer, bytes_of, bytes_max, pushed_bytes: 0, taken_bytes, unannounced: false };
    (sender, Receiver { queue: consumer, bytes_of, taken_bytes: 0, told })
}

impl NatsPort {
    /// Takes a wish, to be carried out after the next [`NatsPort::flush`]. Wishes of one kind keep their order.
    ///
    /// # Errors
    /// The thread is behind, or NATS is slower than what it is told: the wish is handed back.
    pub fn send(&mut self, wish: Wish) -> Result<(), Wish> {
        match wish {
            Wish::Lease(request) => self.orders.send(Order::Lease(request)).map_err(Wish::from),
            Wish::Listen(listens) => self.orders.send(Order::Listen(listens)).map_err(Wish::from),
            Wish::Hear(place) => self.orders.send(Order::Hear(place)).map_err(Wish::from),
            Wish::Tell(part) => self.messages.send(Message::Tell(part)).map_err(Wish::from),
            Wish::Ask(bytes) => self.messages.send(Message::Ask(bytes)).map_err(Wish::from),
            Wish::Answer { to, bytes } => {
                self.messages.send(Message::Answer { to, bytes }).map_err(Wish::from)
            }
        }
    }

    /// The same of what is wished of who is present.
    ///
    /// # Errors
    /// The thread is behind: the wish is handed back.
    pub fn send_presence(&mut self, wish: PresenceWish) -> Result<(), PresenceWish> {
        self.presence.send(wish)
    }

    /// The next word of who is present. The caller bounds how many it takes in a turn.
    pub fn receive_presence(&mut self) -> Option<PresenceWord> {
        self.kept.receive()
    }

    /// The next word: answers to orders first. The caller bounds how many it takes in a turn.
    pub fn receive(&mut self) -> Option<Word> {
        self.answers.receive().or_else(|| self.heard.receive())
    }

    /// Whether something was said that was not received yet.
    #[must_use]
    pub fn has_received(&self) -> bool {
        !self.answers.is_empty() || !self.heard.is_empty() || !self.kept.is_empty()
    }

    /// Wakes the thread if it sleeps and something was sent to it. Free where nothing was.
    pub fn flush(&mut self) {
        let has_sent = [
            self.orders.take_unannounced(),
            self.messages.take_unannounced(),
            self.presence.take_unannounced(),
        ];
        if has_sent == [false; 3] {
            return;
        }
        for (inlet, _) in self.inlets.iter().zip(has_sent).filter(|(_, has_sent)| *has_sent) {
            inlet.wake();
        }
    }
}

impl Waiting {
    pub(super) fn new() -> io::Result<Waiting> {
        Ok(Waiting { sleeper: Arc::default(), doorbell: Doorbell::new()? })
    }

    /// After something was pushed: rings for one that sleeps.
    pub(super) fn wake(&self) {
        fence_pushes();
        if self.sleeper.is_sleeping() {
            self.doorbell.ring();
        }
    }
}

impl<T> InletParts<T> {
    /// Within the runtime.
    #[expect(
        deprecated,
        reason = "a doorbell has the same descriptor as long as it lives: what makes the call unsound is not so here"
    )]
    pub(super) fn watch(self) -> io::Result<Inlet<T>> {
        let InletParts { queue, waiting: Waiting { sleeper, doorbell }, stop } = self;
        Ok(Inlet { queue, sleeper, bell: AsyncFd::new(doorbell)?, stop })
    }
}

impl<T> Inlet<T> {
    /// The next one; `None` after a stop, once there is none left. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<T> {
        loop {
            // Before the queue: what was pushed before the stop is seen.
            let is_stopped = self.stop.load(Ordering::Acquire);
            if let Some(value) = self.queue.receive() {
                return Some(value);
            }
            if is_stopped {
                return None;
            }
            self.sleeper.prepare();
            if !self.queue.is_empty() || self.stop.load(Ordering::Acquire) {
                self.sleeper.wake();
                continue;
            }
            let ready = self.bell.readable().await;
            self.sleeper.wake();
            // Edges count, not what is in the eventfd, which is never read.
            ready.expect("invariant: the runtime lives as long as its tasks").clear_ready();
        }
    }
}

impl Outlet {
    /// Answers an order, or tells of NATS or the lease: waits for room.
    pub(super) async fn answer(&self, mut word: Word) {
        loop {
            let sent = self.answers.borrow_mut().send(word);
            match sent {
                Ok(()) => return self.ring(),
                Err(back) => word = back,
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Tells of who is kept as present: waits for room.
    pub(super) async fn tell_presence(&self, mut word: PresenceWord) {
        loop {
            let sent = self.kept.borrow_mut().send(word);
            match sent {
                Ok(()) => return self.ring(),
                Err(back) => word = back,
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Tells what was heard, from the next [`Outlet::ring`] on; whether there was room.
    pub(super) fn hear(&self, word: Word) -> bool {
        self.heard.borrow_mut().send(word).is_ok()
    }

    /// Wakes the market's thread if it was told something since.
    pub(super) fn ring(&self) {
        let answers = self.answers.borrow_mut().take_unannounced();
        let heard = self.heard.borrow_mut().take_unannounced();
        let kept = self.kept.borrow_mut().take_unannounced();
        if answers || heard || kept {
            self.doorbell.ring();
        }
    }
}

impl<T> Sender<T> {
    pub(super) fn send(&mut self, value: T) -> Result<(), T> {
        let bytes = (self.bytes_of)(&value) as u64;
        let waiting = self.pushed_bytes - self.taken_bytes.load(Ordering::Acquire);
        if waiting > 0 && waiting + bytes > self.bytes_max as u64 {
            return Err(value);
        }
        self.queue.push(value).map_err(|PushError::Full(value)| value)?;
        self.pushed_bytes += bytes;
        self.unannounced = true;
        Ok(())
    }

    /// Whether nobody is there any more who could take anything.
    pub(super) fn is_abandoned(&self) -> bool {
        self.queue.is_abandoned()
    }

    pub(super) fn take_unannounced(&mut self) -> bool {
        std::mem::take(&mut self.unannounced)
    }
}

impl<T> Receiver<T> {
    pub(super) fn receive(&mut self) -> Option<T> {
        let value = self.queue.pop().ok()?;
        self.taken_bytes += (self.bytes_of)(&value) as u64;
        self.told.store(self.taken_bytes, Ordering::Release);
        Some(value)
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Message {
    fn bytes(&self) -> usize {
        match self {
            Message::Tell(part) => part.bytes.len(),
            Message::Ask(bytes) => bytes.len(),
            Message::Answer { to, bytes } => to.0.len() + bytes.len(),
        }
    }
}

fn bytes_of_word(word: &Word) -> usize {
    match word {
        Word::Part(bytes) | Word::Answered(bytes) => bytes.len(),
        Word::Asked { from, bytes } => from.0.len() + bytes.len(),
        Word::IsUp(_) | Word::LeaseAnswered(_) | Word::LeaseSeen(_) | Word::Hearing(_) => 0,
    }
}

impl From<Order> for Wish {
    fn from(order: Order) -> Wish {
        match order {
            Order::Lease(request) => Wish::Lease(request),
            Order::Listen(listens) => Wish::Listen(listens),
            Order::Hear(place) => Wish::Hear(place),
        }
    }
}

impl From<Message> for Wish {
    fn from(message: Message) -> Wish {
        match message {
            Message::Tell(part) => Wish::Tell(part),
            Message::Ask(bytes) => Wish::Ask(bytes),
            Message::Answer { to, bytes } => Wish::Answer { to, bytes },
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::PollTimeout;

    use super::*;
    use crate::cluster::names::{Fence, Places};
    use crate::model::presence::KeptWord;

    fn tell(bytes: usize) -> Wish {
        Wish::Tell(Part { audience: Places(1), bytes: vec![0; bytes] })
    }

    fn ends() -> (NatsPort, ThreadEnds, [Doorbell; 3], Doorbell) {
        let market = Doorbell::new().unwrap();
        let (port, ends, bells) = lanes(market.clone(), &Arc::default()).unwrap();
        (port, ends, bells, market)
    }

    #[test]
    fn messages_are_bounded_in_number_and_in_bytes_and_orders_pass_all_the_same() {
        let (mut port, mut ends, ..) = ends();
        for _ in 0..limits::NATS_MESSAGES_MAX {
            port.send(tell(1)).unwrap();
        }
        assert_eq!(port.send(tell(1)), Err(tell(1)));
        port.send(Wish::Lease(LeaseRequest::Read)).unwrap();
        while ends.messages.queue.receive().is_some() {}

        port.send(tell(limits::NATS_BYTES_MAX - 1)).unwrap();
        port.send(Wish::Ask(vec![0])).unwrap();
        let answer = Wish::Answer { to: Asker(String::new()), bytes: vec![0] };
        assert!(matches!(port.send(answer), Err(Wish::Answer { .. })));
        assert!(ends.messages.queue.receive().is_some());
        port.send(tell(limits::NATS_BYTES_MAX - 1)).unwrap();
    }

    #[test]
    fn one_message_that_is_longer_than_all_may_be_passes_alone() {
        let (mut port, mut ends, ..) = ends();
        port.send(tell(limits::NATS_BYTES_MAX + 1)).unwrap();
        assert!(port.send(tell(1)).is_err());
        assert!(ends.messages.queue.receive().is_some());
        port.send(tell(1)).unwrap();
        assert!(port.send(tell(limits::NATS_BYTES_MAX)).is_err());
    }

    #[test]
    fn orders_are_bounded_too_and_handed_back() {
        let (mut port, ..) = ends();
        for _ in 0..limits::NATS_ORDERS_MAX {
            port.send(Wish::Listen(true)).unwrap();
        }
        assert_eq!(port.send(Wish::Hear(None)), Err(Wish::Hear(None)));
        assert_eq!(port.send(Wish::Listen(false)), Err(Wish::Listen(false)));
    }

    #[test]
    fn what_is_wished_of_presence_is_bounded_by_itself_and_handed_back() {
        let (mut port, ends, _, market) = ends();
        for _ in 0..limits::NATS_PRESENCE_WISHES_MAX {
            port.send_presence(PresenceWish::End).unwrap();
        }
        assert_eq!(port.send_presence(PresenceWish::End), Err(PresenceWish::End));
        port.send(Wish::Lease(LeaseRequest::Read)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(ends.outlet.tell_presence(PresenceWord { fence: Fence(1), word: KeptWord::Read }));
        assert_eq!(market.rings(PollTimeout::ZERO), 1);
        assert!(port.has_received() && port.receive().is_none());
        assert_eq!(port.receive_presence(), Some(PresenceWord { fence: Fence(1), word: KeptWord::Read }));
    }

    #[test]
    fn a_sleeper_is_rung_for_once_for_all_that_it_was_sent() {
        let (mut port, ends, bells, _) = ends();
        let rings = || bells.each_ref().map(|bell| bell.rings(PollTimeout::ZERO));
        port.send(tell(1)).unwrap();
        port.flush();
        assert_eq!(rings(), [0, 0, 0], "nobody sleeps");
        ends.orders.waiting.sleeper.prepare();
        ends.messages.waiting.sleeper.prepare();
        ends.presence.waiting.sleeper.prepare();
        port.flush();
        assert_eq!(rings(), [0, 0, 0], "nothing was sent");
        port.send(tell(1)).unwrap();
        port.send(tell(1)).unwrap();
        port.flush();
        assert_eq!(rings(), [0, 1, 0]);
        port.send(Wish::Listen(true)).unwrap();
        port.flush();
        assert_eq!(rings(), [1, 0, 0]);
        port.send_presence(PresenceWish::End).unwrap();
        port.flush();
        assert_eq!(rings(), [0, 0, 1]);
    }

    #[test]
    fn answers_come_before_what_was_heard_and_the_market_s_thread_is_rung_for_once() {
        let (mut port, ends, _, market) = ends();
        assert!(ends.outlet.hear(Word::Part(vec![1])) && ends.outlet.hear(Word::Part(vec![2])));
        assert!(port.has_received());
        assert_eq!(market.rings(PollTimeout::ZERO), 0);
        ends.outlet.ring();
        ends.outlet.ring();
        assert_eq!(market.rings(PollTimeout::ZERO), 1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(ends.outlet.answer(Word::IsUp(true)));
        assert_eq!(market.rings(PollTimeout::ZERO), 1);
        let words: Vec<Word> = std::iter::from_fn(|| port.receive()).collect();
        assert_eq!(words, [Word::IsUp(true), Word::Part(vec![1]), Word::Part(vec![2])]);
        assert!(!port.has_received());
    }

    /// 20,000 round trips with a task that waits whenever it can: a lost wake-up would hang here.
    #[test]
    fn a_task_that_waits_is_woken_every_time_and_a_stop_ends_it_behind_what_was_sent() {
        const ROUNDS: usize = 20_000;
        let market = Doorbell::new().unwrap();
        let stop = Arc::<AtomicBool>::default();
        let (mut port, ends, bells) = lanes(market.clone(), &stop).unwrap();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async {
                let mut orders = ends.orders.watch().unwrap();
                let mut count = 0;
                while orders.next().await.is_some() {
                    count += 1;
                    assert!(ends.outlet.hear(Word::Part(Vec::new())));
                    ends.outlet.ring();
                }
                count
            })
        });
        for _ in 0..ROUNDS {
            port.send(Wish::Listen(true)).unwrap();
            port.flush();
            while port.receive().is_none() {
                market.rings(PollTimeout::NONE);
            }
        }
        port.send(Wish::Listen(false)).unwrap();
        stop.store(true, Ordering::Release);
        bells.iter().for_each(Doorbell::ring);
        assert_eq!(thread.join().unwrap(), ROUNDS + 1);
    }
}
