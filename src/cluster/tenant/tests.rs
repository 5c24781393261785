//! A place by hand: who has asked has departed once, what is not heard is kept, and nothing is told to who comes after.

use super::*;
use crate::cluster::commands::{read_said, write_command};
use crate::model::encoding::Encoding;
use crate::model::ids::{HomeSet, InstrumentId, Ticket};
use crate::model::message::MessageRequest;
use crate::model::order::{Filter, OrderRequest};

const HOME: HomeId = HomeId(5);
const ACCOUNT: AccountId = AccountId(9);

fn tenant() -> Tenant {
    let mut tenant = Tenant::new(HOME, HomeId(1));
    tenant.name_account(ACCOUNT, Name::parse("desk").unwrap(), Some(AccountId(2)));
    tenant
}

fn conn(slot: u32) -> ConnId {
    ConnId { slot, generation: 0 }
}

fn ask(slot: u32, request: OrderRequest) -> Command<'static> {
    let ticket = Ticket { slot, generation: 0 };
    let (conn, encoding) = (conn(slot), Encoding::Json);
    Command::Ask(ForwardedAsk { ticket, account: ACCOUNT, conn, is_connection: true, encoding, request })
}

const SUMMARIES: OrderRequest = OrderRequest::AccountSummaries;

/// What the market's home and the node are told for a command.
fn serve(tenant: &mut Tenant, command: &Command<'_>) -> (Batch, Vec<u8>) {
    let (mut batch, mut refused) = (Batch::default(), Vec::new());
    tenant.serve(command, 3, &mut batch, &mut refused);
    (batch, refused)
}

fn refusal(words: &[u8]) -> OrderRefusal {
    match &read_said(words, HomeSet(u64::MAX)).unwrap()[..] {
        [(_, Said::Answered { outcome: Err(refusal), .. })] => *refusal,
        other => panic!("{other:?}"),
    }
}

fn answered(slot: u32) -> Batch {
    let mut batch = Batch::default();
    let ticket = Ticket { slot, generation: 0 };
    batch.records.push(Record::Answered { ticket, outcome: Err(OrderRefusal::Full) });
    batch
}

fn departed(batch: &Batch) -> Vec<u32> {
    let client = |record: &Record| {
        let Record::Departed { client, how: Departure::Disconnected } = record else {
            assert!(matches!(record, Record::Reset), "{record:?}");
            return None;
        };
        assert_eq!(client.home, HOME);
        Some(client.conn.slot)
    };
    batch.records.iter().filter_map(client).collect()
}

#[test]
fn an_ask_is_handed_on_in_the_name_of_the_node_s_account_as_it_is_known_here() {
    let (batch, refused) = serve(&mut tenant(), &ask(7, SUMMARIES));
    let asked = batch.ask(0);
    assert_eq!((asked.account, asked.client), (AccountId(2), Client { home: HOME, conn: conn(7) }));
    assert!(refused.is_empty());
}

#[test]
fn an_instrument_or_account_that_is_not_known_is_refused() {
    let mut tenant = tenant();
    let filter = Filter { instrument: Some(InstrumentId(3)), ..Filter::default() };
    for request in [
        OrderRequest::CancelAll { filter },
        OrderRequest::Position { instrument: InstrumentId(3) },
        OrderRequest::Positions { filter },
    ] {
        let (batch, refused) = serve(&mut tenant, &ask(1, request));
        assert_eq!((batch.is_empty(), refusal(&refused)), (true, OrderRefusal::VenueUnavailable));
    }
    tenant.name_account(ACCOUNT, Name::parse("desk").unwrap(), None);
    let (batch, refused) = serve(&mut tenant, &ask(1, SUMMARIES));
    assert_eq!((batch.is_empty(), refusal(&refused)), (true, OrderRefusal::Full));
    assert!(tenant.is_free(), "nothing of it is under way");
}

#[test]
fn each_connection_that_has_asked_departs_once() {
    let mut tenant = tenant();
    for slot in [4, 2, 3, 2] {
        serve(&mut tenant, &ask(slot, SUMMARIES));
    }
    let gone = Command::Departed { conn: conn(3), how: Departure::Disconnected };
    assert_eq!(departed(&serve(&mut tenant, &gone).0), [3]);
    assert!(serve(&mut tenant, &gone).0.is_empty(), "it is told of already");
    let written = Command::MessagesWritten { conn: conn(3), count: 1 };
    assert!(serve(&mut tenant, &written).0.is_empty());
    let mut batch = Batch::default();
    tenant.leave(&mut batch);
    assert_eq!(departed(&batch), [2, 4]);
    assert!(matches!(batch.records.last(), Some(Record::Reset)));
}

#[test]
fn who_asks_beyond_the_connections_that_a_node_may_have_is_refused_and_who_is_known_is_not() {
    let mut tenant = tenant();
    let most = u32::try_from(limits::CLUSTER_CLIENTS_MAX).unwrap();
    serve(&mut tenant, &ask(0, SUMMARIES));
    tenant.asked.extend((1..most).map(conn));
    let (batch, refused) = serve(&mut tenant, &ask(most, SUMMARIES));
    assert_eq!((batch.is_empty(), refusal(&refused)), (true, OrderRefusal::Full));
    let ticket = Ticket { slot: 1, generation: 0 };
    let (by, conn) = (By::Account(ACCOUNT), conn(most));
    let request = MessageRequest::Unsubscribe;
    let message =
        Command::MessageAsk(ForwardedMessageAsk { ticket, by, conn, is_connection: true, request }, b"");
    let (batch, refused) = serve(&mut tenant, &message);
    assert!(batch.is_empty() && !refused.is_empty());
    assert_eq!(serve(&mut tenant, &ask(7, SUMMARIES)).0.records.len(), 1);
    // One that goes leaves its place.
    serve(&mut tenant, &Command::Departed { conn, how: Departure::Disconnected });
    let gone = Command::Departed { conn: ConnId { slot: 3, generation: 0 }, how: Departure::Disconnected };
    assert_eq!(departed(&serve(&mut tenant, &gone).0), [3]);
    assert_eq!(serve(&mut tenant, &ask(most, SUMMARIES)).0.records.len(), 1);
}

#[test]
fn a_place_is_free_when_all_is_answered_and_the_market_s_home_has_said_that_it_knows() {
    let mut tenant = tenant();
    serve(&mut tenant, &ask(1, SUMMARIES));
    serve(&mut tenant, &ask(2, SUMMARIES));
    let mut batch = Batch::default();
    tenant.leave(&mut batch);
    let mut words = Vec::new();
    tenant.handle_words(&answered(1), &mut words);
    batch.records = vec![Record::Reset];
    tenant.handle_words(&batch, &mut words);
    assert!(!tenant.is_free(), "an answer is to come");
    tenant.handle_words(&answered(2), &mut words);
    assert!(tenant.is_free() && words.is_empty(), "nobody is told of it");
}

#[test]
fn a_node_that_asked_nothing_leaves_a_place_that_is_free_at_once() {
    let (mut tenant, mut batch) = (tenant(), Batch::default());
    tenant.leave(&mut batch);
    assert!(batch.is_empty() && tenant.is_free());
}

#[test]
fn words_are_kept_until_the_node_has_them_and_no_more_than_it_may_leave_unheard() {
    let mut tenant = tenant();
    let kept = |tenant: &Tenant| tenant.unacknowledged().map(|(number, _)| number).collect::<Vec<_>>();
    assert_eq!((0..3).map(|_| tenant.keep(vec![1]).unwrap().0).collect::<Vec<_>>(), [1, 2, 3]);
    tenant.acknowledge(2);
    assert_eq!(kept(&tenant), [3]);
    tenant.acknowledge(1);
    tenant.acknowledge(9);
    assert_eq!((kept(&tenant), tenant.keep(vec![1]).map(|(number, _)| number)), (vec![], Some(4)));
    let most = vec![0; limits::CLUSTER_WORDS_BYTES_MAX / 4];
    assert_eq!(
        (0..5).take_while(|_| tenant.keep(most.clone()).is_some()).count(),
        3,
        "with the one byte before"
    );
}

#[test]
fn a_backend_asks_in_its_own_name_and_an_account_in_its() {
    let mut tenant = tenant();
    let by = By::Processor(crate::model::message::processor_of("sms").unwrap());
    for by in [by, By::Account(ACCOUNT)] {
        let ticket = Ticket { slot: 1, generation: 0 };
        let request = MessageRequest::Unsubscribe;
        let ask = ForwardedMessageAsk { ticket, by, conn: conn(1), is_connection: true, request };
        let command = Command::MessageAsk(ask, b"1");
        write_command(&mut Vec::new(), &command);
        let (batch, _) = serve(&mut tenant, &command);
        let asked = batch.message_ask(0);
        let expected = match by {
            By::Processor(name) => (AccountId(u32::MAX), name),
            By::Account(_) => (AccountId(2), Name::parse("desk").unwrap()),
        };
        assert_eq!((asked.account, asked.user, asked.client.home), (expected.0, expected.1, HOME));
    }
}
