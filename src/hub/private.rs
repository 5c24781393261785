//! The private topics at their home: what happens to an account's orders, told once for each view that somebody has of it.
//! PURE. Home: the venue's.
//!
//! Invariants: all views of an account share its one sequence, so that one place resumes any of them; a view's events are
//! those of the account that its filter takes, each with the place of the event before it, so that a hole is none;
//! an account's event is looked at for that account's views and no others, and encoded in what these are told in.

use crate::desk::Wanted;
use crate::dialect::json_rpc;
use crate::dialect::sbe::{self, ReportPlace};
use crate::limits;
use crate::model::channel::{PrivateKind, PrivateView, TopicKey};
use crate::model::encoding::Encoding;
use crate::model::ids::{Epoch, InstrumentId, Position, Seq};
use crate::model::instrument::Instrument;
use crate::model::market::InstrumentState;
use crate::model::order::AccountId;
use crate::model::time::Now;
use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, encode_header};

use super::batch::{Batch, ByteRange, byte_range};
use super::home::{Home, HomeTopicSlot};
use super::text_frame::append_text_frame;

/// One event of an account, about one instrument. Texts are JSON objects, with commas between them; there is none where nobody is
/// told in JSON.
#[derive(Clone, Copy, Debug)]
pub struct PrivateEvent<'e> {
    pub account: AccountId,
    pub instrument: InstrumentId,
    /// The account's, beyond that of its event before it.
    pub seq: Seq,
    /// One order, as it is from now on.
    pub order: Option<&'e [u8]>,
    pub trades: Option<&'e [u8]>,
    pub positions: Option<&'e [u8]>,
    /// The same in SBE, if somebody is told in it.
    pub reports: Option<Reports<'e>>,
}

/// Execution reports without their places.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reports<'e> {
    pub order: &'e [u8],
    /// One of each new fill, equally long.
    pub fills: &'e [u8],
    pub fills_count: usize,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Private {
    /// Of all accounts' sequences.
    epoch: Epoch,
    /// By their ids; those that nothing is known of are like new ones.
    accounts: Vec<Account>,
    views: usize,
}

#[derive(Clone, Debug, Default)]
struct Account {
    /// The newest event's.
    seq: Seq,
    views: Vec<View>,
    wanted: Wanted,
}

#[derive(Clone, Debug)]
struct View {
    slot: HomeTopicSlot,
    view: PrivateView,
    /// The channel as clients spell it.
    name: Box<[u8]>,
}

impl Private {
    pub(super) fn new(epoch: Epoch) -> Private {
        Private { epoch, accounts: Vec::new(), views: 0 }
    }

    /// The topic of a view, made if need be; `None` when there is no room for another.
    pub(super) fn intern(
        &mut self,
        home: &mut Home,
        account: AccountId,
        view: PrivateView,
        instruments: &[InstrumentState],
        now: Now,
    ) -> Option<HomeTopicSlot> {
        let (epoch, is_full) = (self.epoch, self.views >= limits::VIEWS_MAX);
        let known = self.account(account);
        let key = TopicKey::Private { account, view };
        let is_new = home.find(&key).is_none();
        if is_new && (is_full || known.views.len() >= limits::VIEWS_PER_ACCOUNT_MAX) {
            return None;
        }
        let slot = home.intern_at(key, Position { epoch, seq: known.seq }, now)?;
        home.stand_at(slot, known.seq);
        if is_new {
            let mut name = Vec::new();
            view.channel(|id| instruments[id.index()].definition.name).write(&mut name);
            known.views.push(View { slot, view, name: name.into() });
            known.wanted = known.wanted.and(view.encoding);
            self.views += 1;
        }
        Some(slot)
    }

    /// Its home has forgotten a view.
    pub(super) fn forget(&mut self, account: AccountId, view: &PrivateView) {
        let known = self.account(account);
        let before = known.views.len();
        known.views.retain(|known| known.view != *view);
        let gone = before - known.views.len();
        known.wanted = known.views.iter().fold(Wanted::default(), |all, of| all.and(of.view.encoding));
        if known.views.is_empty() {
            known.views = Vec::new();
        }
        self.views -= gone;
    }

    /// What events of an account are to be encoded in: nothing where nobody has a view of it.
    pub(super) fn wanted(&self, account: AccountId) -> Wanted {
        self.accounts.get(account.index()).map_or(Wanted::default(), |known| known.wanted)
    }

    /// Tells an event to those views of its account that it is for.
    pub(super) fn tell(
        &mut self,
        event: &PrivateEvent<'_>,
        definition: &Instrument,
        home: &mut Home,
        out: &mut Batch,
        now: Now,
    ) {
        let account = self.account(event.account);
        assert!(event.seq > account.seq, "invariant: an account's events rise in sequence");
        account.seq = event.seq;
        for View { slot, view, name } in &account.views {
            if !view.takes(event.instrument, definition) || !event.concerns(view) {
                continue;
            }
            let Position { epoch, seq: prev_seq } = home.newest_position(*slot);
            let frame = match view.encoding {
                Encoding::Json => append_text_frame(&mut out.bytes, |bytes| {
                    json_rpc::open_notification(bytes, name);
                    event.write(bytes, view.what, definition);
                    json_rpc::close_private_notification(bytes, epoch, event.seq, prev_seq, now.unix_ns);
                }),
                Encoding::Sbe => {
                    let place = ReportPlace { epoch, seq: event.seq, prev_seq, unix_ns: now.unix_ns };
                    event.append_reports(&mut out.bytes, view.what, place)
                }
            };
            home.publish_at(*slot, event.seq, Seq(0), frame, out, now);
        }
    }

    /// Bytes of memory that accounts and views take, names not counted.
    pub(super) fn memory_bytes(&self) -> usize {
        self.accounts.capacity() * size_of::<Account>() + self.views * 2 * size_of::<View>()
    }

    fn account(&mut self, account: AccountId) -> &mut Account {
        if self.accounts.len() <= account.index() {
            assert!(account.0 < limits::ACCOUNTS_MAX, "invariant: the authority gives no more ids");
            self.accounts.resize(account.index() + 1, Account::default());
        }
        &mut self.accounts[account.index()]
    }
}

impl PrivateEvent<'_> {
    fn concerns(&self, view: &PrivateView) -> bool {
        match (view.encoding, view.what) {
            (Encoding::Json, PrivateKind::Orders) => self.order.is_some(),
            (Encoding::Json, PrivateKind::Trades) => self.trades.is_some(),
            (Encoding::Json, PrivateKind::Changes) => true,
            (Encoding::Sbe, PrivateKind::Orders) => self.reports.is_some(),
            (Encoding::Sbe, PrivateKind::Trades) => {
                self.reports.is_some_and(|reports| reports.fills_count > 0)
            }
            (Encoding::Sbe, PrivateKind::Changes) => {
                panic!("invariant: {view:?} is told in JSON, by `view_of`")
            }
        }
    }

    /// Appends a binary frame of each report, one behind the other without anything between, and says where they are.
    fn append_reports(&self, out: &mut Vec<u8>, what: PrivateKind, place: ReportPlace) -> ByteRange {
        let Reports { order, fills, fills_count } = self.reports.unwrap_or_default();
        let (reports, report_bytes) = match what {
            PrivateKind::Orders | PrivateKind::Changes => (order, order.len()),
            PrivateKind::Trades => (fills, fills.len() / fills_count),
        };
        let start = out.len();
        for report in reports.chunks_exact(report_bytes) {
            let mut header = [0; SERVER_HEADER_BYTES_MAX];
            let header_bytes = encode_header(Opcode::Binary, report.len(), &mut header);
            out.extend_from_slice(&header[..header_bytes]);
            sbe::write_report_at(out, report, place);
        }
        byte_range(start, out.len() - start)
    }

    fn write(&self, out: &mut Vec<u8>, what: PrivateKind, definition: &Instrument) {
        let [order, trades, positions] =
            [self.order, self.trades, self.positions].map(Option::unwrap_or_default);
        match what {
            PrivateKind::Orders => out.extend_from_slice(order),
            PrivateKind::Trades => {
                out.push(b'[');
                out.extend_from_slice(trades);
                out.push(b']');
            }
            PrivateKind::Changes => {
                json_rpc::write_changes(out, definition.name.as_str(), order, trades, positions);
            }
        }
    }
}
