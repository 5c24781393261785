//! The venue behind the other half of the instruments: the paper market at the other end of a link, both sides of it over a pipe
//! that carries bytes slowly and is cut at any of them. PURE.

use crate::backend::paper::PaperConfig;
use crate::backend::tcp::codec::Form;
use crate::backend::tcp::paper_venue::PaperVenue;
use crate::backend::tcp::session::{Session, SessionConfig};
use crate::backend::tcp::venue::VenueConfig;
use crate::hub::market::Routed;
use crate::model::ids::SourceId;
use crate::model::instrument::Symbol;
use crate::model::market::FeedEvent;
use crate::model::time::Now;

use super::world::World;

pub(super) const LINK: SourceId = SourceId(1);
/// Instruments from this one on are the link's.
pub(super) const FIRST: u32 = 3;
const HEARTBEAT_MS: u32 = 1_000;

/// See the file's head.
#[derive(Debug)]
pub(super) struct VenueLink {
    pub(super) venue: PaperVenue,
    session: Session,
    is_connected: bool,
    pub(super) cuts: u64,
    /// Bytes that were said and lost with a connection.
    pub(super) lost_bytes: u64,
}

impl VenueLink {
    pub(super) fn new(paper: PaperConfig, names: Vec<Symbol>, form: Form) -> VenueLink {
        let key: Box<str> = "k".into();
        let session = Session::new(SessionConfig {
            gateway: "gw".into(),
            venue: "paper".into(),
            key: key.clone(),
            heartbeat_ms: HEARTBEAT_MS,
            fence: 0,
            instruments: names,
        });
        let config = VenueConfig {
            venue: "paper".into(),
            key,
            session: "run".into(),
            form,
            heartbeat_ms: HEARTBEAT_MS,
        };
        let mut venue = PaperVenue::new(paper, config);
        venue.keep_journal();
        VenueLink { venue, session, is_connected: false, cuts: 0, lost_bytes: 0 }
    }

    pub(super) fn resumed_total(&self) -> u64 {
        self.session.counters.resumed_total
    }

    fn connect(&mut self, now: Now) {
        self.session.handle_connected(now);
        self.venue.session().handle_connected(now);
        self.is_connected = true;
    }

    fn cut(&mut self) {
        self.lost_bytes += (self.session.unsent().len() + self.venue.session().unsent().len()) as u64;
        self.session.handle_closed();
        self.venue.session().handle_closed();
        self.is_connected = false;
    }

    /// Carries so many bytes each way; whether there were any.
    fn carry(&mut self, bytes_max: usize, now: Now) -> bool {
        let up = first(self.venue.session().unsent(), bytes_max);
        self.venue.session().handle_sent(up.len());
        self.session.handle_bytes(&up, now);
        let down = first(self.session.unsent(), bytes_max);
        self.session.handle_sent(down.len());
        self.venue.session().handle_bytes(&down, now);
        self.venue.advance(now);
        let is_over = self.session.is_over() || self.venue.session().is_over();
        if is_over && up.is_empty() && down.is_empty() {
            self.cut();
        }
        is_over || !up.is_empty() || !down.is_empty()
    }
}

impl World {
    /// Does something to the link; what was executed is in the ledger, and what was told is with the market.
    pub(super) fn with_link<R>(&mut self, act: impl FnOnce(&mut VenueLink, Now) -> R) -> R {
        let now = self.now;
        let mut link = self.trading().link.take().expect("it is put back below");
        let result = act(&mut link, now);
        link.venue.advance(now);
        for moment in link.venue.take_journal() {
            let ledger = &mut self.trading().ledger;
            moment.request.iter().for_each(|request| ledger.note_request(request));
            ledger.note_events(&own(moment.events, |instrument| instrument >= FIRST), |instrument| {
                instrument.0
            });
        }
        self.with_market(|market, now| market.handle_link(LINK, &mut link.session, now));
        self.trading().link = Some(link);
        result
    }

    pub(super) fn send_over_link(&mut self, routed: &Routed) {
        self.with_link(|link, _| link.session.handle_request(routed.instrument, &routed.request));
    }

    /// It is there again, carries something, or is cut.
    pub(super) fn move_link(&mut self, cut_in: usize) {
        let bytes_max = self.random.between(1, 4_000);
        let is_cut = self.random.below((cut_in * 2 / 5).max(1)) == 0;
        let comes_back = self.random.chance(30);
        self.with_link(|link, now| {
            if !link.is_connected {
                if comes_back {
                    link.connect(now);
                }
                return;
            }
            link.session.handle_timeout(now);
            link.venue.session().handle_timeout(now);
            link.carry(bytes_max, now);
            if is_cut && link.is_connected {
                link.cuts += 1;
                link.cut();
            }
        });
        self.serve_desk();
    }

    /// In a world at rest all is carried; whether anything was.
    pub(super) fn settle_link(&mut self) -> bool {
        self.with_link(|link, now| {
            link.session.handle_timeout(now);
            link.venue.session().handle_timeout(now);
            let was_connected = link.is_connected;
            if !was_connected {
                link.connect(now);
            }
            !was_connected | link.carry(usize::MAX, now)
        })
    }
}

/// What concerns instruments of this kind, and reports.
pub(super) fn own(events: Vec<FeedEvent>, is_own: impl Fn(u32) -> bool) -> Vec<FeedEvent> {
    let is_anothers =
        |event: &FeedEvent| matches!(event, FeedEvent::Trade { instrument, .. } if !is_own(instrument.0));
    events.into_iter().filter(|event| !is_anothers(event)).collect()
}

fn first(bytes: &[u8], bytes_max: usize) -> Vec<u8> {
    bytes[..bytes.len().min(bytes_max)].to_vec()
}
