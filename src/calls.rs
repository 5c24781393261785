//! Between the shards and the control thread: calls to backends that control carries, and the text of clients whose protocol is
//! spoken there, a bounded queue each way for each shard.
//!
//! Home: each shard has its [`CallPort`], the control thread the [`Switchboard`]. Invariants:
//! - Nobody waits for the other side: a full queue hands the word back, and the sender says so to whom it concerns.
//! - A word that was pushed is seen: a shard that pushed looks whether control sleeps (`sleep.rs`) and rings its doorbell; control
//!   rings a shard's doorbell once for all that it pushed in a round.
//! - Words of one connection, and those to it, keep their order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rtrb::{Consumer, Producer, PushError, RingBuffer};
use tokio::io::unix::AsyncFd;

use crate::auth::{Level, Reach};
use crate::doorbell::Doorbell;
use crate::limits;
use crate::model::call::{BackendId, Call, CallFailure, CallKey, CallOutcome};
use crate::model::ids::{ConnId, HomeId};
use crate::model::invalidation::Invalidation;
use crate::model::order::AccountId;
use crate::sleep::{Sleeper, fence_pushes};

/// What a shard says.
#[derive(Debug)]
pub enum ToControl {
    Call(OwnedCall),
    /// Nobody waits for it any more: the client cancelled it or is gone, or its time is over.
    Cancel(CallKey),
    /// A client opened a connection whose messages control answers.
    Opened {
        conn: ConnId,
        peer: Peer,
    },
    /// One text message of it.
    Text {
        conn: ConnId,
        text: Box<[u8]>,
    },
    Closed {
        conn: ConnId,
    },
    /// A backend that the shard has links to says that results of it hold no more; of all, where too many say so. This shard has forgotten them.
    Invalidated(Arc<Invalidation>),
}

/// Who opened a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// From where it comes: by which kind of listener, and from which address if it has one.
    pub reach: Reach,
    pub address: Option<SocketAddr>,
    /// What of the scope `backend` it has.
    pub backend: Level,
    /// The `Authorization` of the upgrade, for what control asks in this client's name.
    pub authorization: Option<Arc<str>>,
}

/// What control says to a shard.
#[derive(Debug)]
pub enum FromControl {
    Answered {
        key: CallKey,
        outcome: OwnedOutcome,
    },
    /// The call goes on, and has come so far: one valid JSON value.
    Progressed {
        key: CallKey,
        value: Box<[u8]>,
    },
    /// One text message to such a connection; dropped where that is gone.
    Text {
        conn: ConnId,
        text: Arc<[u8]>,
    },
    /// So many messages of that connection have been dealt with: it may send as many more.
    Taken {
        conn: ConnId,
        messages: usize,
    },
    /// Results that were asked for up to now hold no more.
    Invalidated(Arc<Invalidation>),
    /// End it, with this close code (RFC 6455, 7.4) and reason.
    Close {
        conn: ConnId,
        code: u16,
        reason: &'static str,
    },
}

/// A [`Call`] on its way to another thread.
#[derive(Clone, Debug)]
pub struct OwnedCall {
    pub key: Option<CallKey>,
    pub backend: BackendId,
    pub conn: ConnId,
    pub account: Option<AccountId>,
    pub method: Box<str>,
    pub params: Option<Box<[u8]>>,
    pub trace_parent: Option<Box<str>>,
    pub is_idempotent: bool,
    pub due_ns: u64,
}

impl From<Call<'_>> for OwnedCall {
    fn from(call: Call<'_>) -> OwnedCall {
        let Call { key, backend, conn, account, method, params, trace_parent, is_idempotent, due_ns } = call;
        OwnedCall {
            key,
            backend,
            conn,
            account,
            method: method.into(),
            params: params.map(Into::into),
            trace_parent: trace_parent.map(Into::into),
            is_idempotent,
            due_ns,
        }
    }
}

/// A [`CallOutcome`] on its way to another thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedOutcome {
    Result(Box<[u8]>),
    Error(Box<[u8]>),
    Failed(CallFailure),
}

impl From<CallOutcome<'_>> for OwnedOutcome {
    fn from(outcome: CallOutcome<'_>) -> OwnedOutcome {
        match outcome {
            CallOutcome::Result(value) => OwnedOutcome::Result(value.into()),
            CallOutcome::Error(value) => OwnedOutcome::Error(value.into()),
            CallOutcome::Failed(failure) => OwnedOutcome::Failed(failure),
        }
    }
}

impl OwnedOutcome {
    #[must_use]
    pub fn get(&self) -> CallOutcome<'_> {
        match self {
            OwnedOutcome::Result(value) => CallOutcome::Result(value),
            OwnedOutcome::Error(value) => CallOutcome::Error(value),
            OwnedOutcome::Failed(failure) => CallOutcome::Failed(*failure),
        }
    }
}

/// The other side's queue is full; the word is handed back.
#[derive(Debug)]
pub struct Full<T>(pub T);

/// A shard's end.
#[derive(Debug)]
pub struct CallPort {
    words: Producer<ToControl>,
    answers: Consumer<FromControl>,
    sleeper: Arc<Sleeper>,
    doorbell: Doorbell,
    /// Something was pushed since the doorbell was last considered.
    unannounced: bool,
}

/// The control thread's end of all shards.
#[derive(Debug)]
pub struct Switchboard {
    lines: Vec<Line>,
    sleeper: Arc<Sleeper>,
    doorbell: Doorbell,
    /// Where `receive` looks first.
    next: usize,
}

#[derive(Debug)]
struct Line {
    words: Consumer<ToControl>,
    answers: Producer<FromControl>,
    doorbell: Doorbell,
    unannounced: bool,
}

/// The ends for shards with these doorbells, in the order of their homes.
///
/// # Errors
/// The process is out of descriptors.
pub fn lines(shards: impl IntoIterator<Item = Doorbell>) -> io::Result<(Switchboard, Vec<CallPort>)> {
    let (sleeper, doorbell) = (Arc::<Sleeper>::default(), Doorbell::new()?);
    let (mut lines, mut ports) = (Vec::new(), Vec::new());
    for shard in shards {
        let (words, hearing) = RingBuffer::new(limits::CALL_WORDS_PER_SHARD_MAX);
        let (saying, answers) = RingBuffer::new(limits::CALL_WORDS_PER_SHARD_MAX);
        lines.push(Line { words: hearing, answers: saying, doorbell: shard, unannounced: false });
        let (sleeper, doorbell) = (Arc::clone(&sleeper), doorbell.clone());
        ports.push(CallPort { words, answers, sleeper, doorbell, unannounced: false });
    }
    Ok((Switchboard { lines, sleeper, doorbell, next: 0 }, ports))
}

impl CallPort {
    /// How many words may still be pushed; at least so many.
    #[must_use]
    pub fn room(&self) -> usize {
        self.words.slots()
    }

    /// Pushes a word, to be announced by the next [`CallPort::announce`].
    ///
    /// # Errors
    /// Control is behind, or has ended.
    pub fn send(&mut self, word: ToControl) -> Result<(), Full<ToControl>> {
        self.words.push(word).map_err(|PushError::Full(word)| Full(word))?;
        self.unannounced = true;
        Ok(())
    }

    /// Wakes control if it was told something and sleeps. Free where nothing was pushed.
    pub fn announce(&mut self) {
        if std::mem::take(&mut self.unannounced) {
            fence_pushes();
            if self.sleeper.is_sleeping() {
                self.doorbell.ring();
            }
        }
    }

    /// The next word of control; the caller bounds how many it takes in a turn.
    pub fn receive(&mut self) -> Option<FromControl> {
        self.answers.pop().ok()
    }

    /// Whether control has said something that was not received yet.
    #[must_use]
    pub fn has_received(&self) -> bool {
        !self.answers.is_empty()
    }
}

impl Switchboard {
    /// Waits until a shard has said something; control's own doorbell is `bell`.
    ///
    /// # Errors
    /// The runtime can't watch the doorbell.
    pub async fn wait(&mut self, bell: &AsyncFd<Doorbell>) -> io::Result<()> {
        loop {
            self.sleeper.prepare();
            if self.has_received() {
                self.sleeper.wake();
                return Ok(());
            }
            let ready = bell.readable().await;
            self.sleeper.wake();
            // Edges count, not what is in the eventfd, which is never read.
            ready?.clear_ready();
            if self.has_received() {
                return Ok(());
            }
        }
    }

    /// What [`Switchboard::wait`] watches.
    ///
    /// # Errors
    /// The runtime can't watch it.
    #[expect(
        deprecated,
        reason = "a doorbell has the same descriptor as long as it lives: what makes the call unsound is not so here"
    )]
    pub fn bell(&self) -> io::Result<AsyncFd<Doorbell>> {
        AsyncFd::new(self.doorbell.clone())
    }

    fn has_received(&self) -> bool {
        self.lines.iter().any(|line| !line.words.is_empty())
    }

    /// The next word of any shard; each has its turn.
    pub fn receive(&mut self) -> Option<(HomeId, ToControl)> {
        for _ in 0..self.lines.len() {
            let shard = self.next;
            self.next = if shard + 1 == self.lines.len() { 0 } else { shard + 1 };
            if let Ok(word) = self.lines[shard].words.pop() {
                return Some((crate::shard::home(shard), word));
            }
        }
        None
    }

    /// Pushes a word to a shard, to be announced by the next [`Switchboard::announce`].
    ///
    /// # Errors
    /// The shard is behind, or has ended: the word is to be kept and sent later.
    pub fn send(&mut self, shard: HomeId, word: FromControl) -> Result<(), Full<FromControl>> {
        let line = &mut self.lines[shard.index()];
        line.answers.push(word).map_err(|PushError::Full(word)| Full(word))?;
        line.unannounced = true;
        Ok(())
    }

    /// The homes of the shards.
    pub fn shards(&self) -> impl Iterator<Item = HomeId> + use<> {
        (0..self.lines.len()).map(crate::shard::home)
    }

    /// Rings for the shards that were told something.
    pub fn announce(&mut self) {
        for line in &mut self.lines {
            if std::mem::take(&mut line.unannounced) {
                line.doorbell.ring();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::PollTimeout;

    use super::*;

    const CONN: ConnId = ConnId { slot: 1, generation: 2 };

    fn text(text: &[u8]) -> ToControl {
        ToControl::Text { conn: CONN, text: text.into() }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap()
    }

    /// What it says, by shard.
    fn heard(board: &mut Switchboard) -> Vec<(u8, String)> {
        std::iter::from_fn(|| board.receive())
            .map(|(shard, word)| match word {
                ToControl::Text { text, .. } => (shard.0, String::from_utf8(text.into_vec()).unwrap()),
                other @ (ToControl::Call(_)
                | ToControl::Cancel(_)
                | ToControl::Opened { .. }
                | ToControl::Closed { .. }
                | ToControl::Invalidated(_)) => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn each_shard_has_its_turn_and_what_one_says_stays_in_order() {
        let bells = [Doorbell::new().unwrap(), Doorbell::new().unwrap()];
        let (mut board, mut ports) = lines(bells).unwrap();
        for word in [b"a", b"b"] {
            ports[0].send(text(word)).unwrap();
            ports[1].send(text(word)).unwrap();
        }
        let said = [(0, "a"), (1, "a"), (0, "b"), (1, "b")].map(|(shard, word)| (shard, word.to_owned()));
        assert_eq!(heard(&mut board), said);
    }

    #[test]
    fn a_full_queue_hands_the_word_back() {
        let (mut board, mut ports) = lines([Doorbell::new().unwrap()]).unwrap();
        for _ in 0..limits::CALL_WORDS_PER_SHARD_MAX {
            ports[0].send(text(b"x")).unwrap();
        }
        assert_eq!(ports[0].room(), 0);
        let Err(Full(ToControl::Text { text: back, .. })) = ports[0].send(text(b"y")) else { panic!() };
        assert_eq!(&*back, b"y");
        for _ in 0..limits::CALL_WORDS_PER_SHARD_MAX {
            board.send(HomeId(0), FromControl::Taken { conn: CONN, messages: 1 }).unwrap();
        }
        let word = FromControl::Close { conn: CONN, code: 1011, reason: "why" };
        assert!(matches!(board.send(HomeId(0), word), Err(Full(FromControl::Close { code: 1011, .. }))));
    }

    #[test]
    fn a_shard_is_rung_for_once_for_all_that_it_is_told() {
        let bells = [Doorbell::new().unwrap(), Doorbell::new().unwrap()];
        let (mut board, mut ports) = lines(bells.clone()).unwrap();
        for messages in 1..4 {
            board.send(HomeId(1), FromControl::Taken { conn: CONN, messages }).unwrap();
        }
        board.announce();
        board.announce();
        assert_eq!(bells.map(|bell| bell.rings(PollTimeout::ZERO)), [0, 1]);
        assert!(!ports[0].has_received() && ports[1].has_received());
        let taken = std::iter::from_fn(|| ports[1].receive()).count();
        assert_eq!(taken, 3);
    }

    /// 20,000 round trips between a thread and one that waits whenever it can: a lost wake-up would hang here.
    #[test]
    fn control_that_waits_is_woken_every_time() {
        const ROUNDS: u64 = 20_000;
        let bell = Doorbell::new().unwrap();
        let (mut board, mut ports) = lines([bell.clone()]).unwrap();
        let shard = std::thread::spawn(move || {
            for _ in 0..ROUNDS {
                ports[0].send(text(b"ping")).unwrap();
                ports[0].announce();
                while ports[0].receive().is_none() {
                    bell.rings(PollTimeout::NONE);
                }
            }
        });
        runtime().block_on(async {
            let own = board.bell().unwrap();
            let mut answered = 0;
            while answered < ROUNDS {
                board.wait(&own).await.unwrap();
                while let Some((home, _)) = board.receive() {
                    board.send(home, FromControl::Taken { conn: CONN, messages: 1 }).unwrap();
                    answered += 1;
                }
                board.announce();
            }
        });
        shard.join().unwrap();
    }
}
