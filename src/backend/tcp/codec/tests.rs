//! Both forms of the venue link: what is written is read back, however it is split, and nothing else is ever taken for it.

use proptest::prelude::*;

use super::super::message::{
    BookUpdate, Command, Filled, Hello, NewCommand, OrderStatus, Print, Report, StatusState, Tick, VERSION,
    Welcome,
};
use super::*;
use crate::model::book::{Level, Side};
use crate::model::market::{Direction, LevelRange, MarketState};
use crate::model::order::{
    AccountId, CancelReason, Label, Liquidity, OrderRefusal, OrderType, PostOnly, TimeInForce,
};

const FORMS: [Form; 2] = [Form::Json, Form::Binary];

fn one_of<T: Copy + fmt::Debug + 'static>(words: &'static words::Words<T>) -> impl Strategy<Value = T> {
    prop::sample::select(words.iter().map(|(_, value)| *value).collect::<Vec<_>>())
}

fn symbols() -> impl Strategy<Value = Symbol> {
    "[A-Za-z0-9_:/-]{1,31}".prop_map(|text| Symbol::parse(text.as_bytes()).unwrap())
}

fn texts() -> impl Strategy<Value = Box<str>> {
    "[^\\p{Cc}]{0,40}".prop_map(Box::from)
}

fn labels() -> impl Strategy<Value = Option<Label>> {
    prop::option::of("[^\\p{Cc}]{1,16}".prop_map(|text| Label::parse(&text).unwrap()))
}

fn prices() -> impl Strategy<Value = Price> {
    any::<i64>().prop_map(|units| Price(units.max(-i64::MAX)))
}

fn amounts() -> impl Strategy<Value = Amount> {
    (1..=i64::MAX).prop_map(Amount)
}

fn levels() -> impl Strategy<Value = Option<Level>> {
    prop::option::of((prices(), amounts()).prop_map(|(price, amount)| Level { price, amount }))
}

fn numbers() -> impl Strategy<Value = u64> {
    1..WHOLE_MAX
}

fn fences() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), numbers()]
}

fn orders() -> impl Strategy<Value = OrderId> {
    numbers().prop_map(OrderId)
}

fn times() -> impl Strategy<Value = u64> {
    0..=TIME_MS_MAX
}

fn instruments() -> impl Strategy<Value = Instrument> {
    let sizes = (1..i64::MAX, 1..i64::MAX, 1..i64::MAX);
    let names = (symbols(), symbols(), symbols());
    (names, one_of(words::KINDS), sizes, prop::option::of(1..=TIME_MS_MAX)).prop_map(
        |((name, base, quote), kind, (tick_size, min_amount, contract_size), expires_ms)| {
            Told { name, kind, base, quote, tick_size, min_amount, contract_size, expires_ms }
                .instrument()
                .unwrap()
        },
    )
}

fn greetings() -> impl Strategy<Value = Message> {
    let common = || (any::<u16>(), texts(), texts(), numbers(), any::<u32>());
    prop_oneof![
        (common(), texts(), texts()).prop_map(
            |((version, venue, session, next, heartbeat_ms), key, peer)| {
                Message::Hello(Hello { version, venue, key, session, peer, next, heartbeat_ms })
            }
        ),
        (common(), any::<bool>(), fences()).prop_map(
            |((version, gateway, session, next, heartbeat_ms), resumed, fence)| {
                Message::Welcome(Welcome { version, gateway, session, next, resumed, heartbeat_ms, fence })
            }
        ),
        texts().prop_map(|reason| Message::Reject { reason }),
        (texts(), fences()).prop_map(|(reason, fence)| Message::Bye { reason, fence }),
        numbers().prop_map(|next| Message::Heartbeat { next }),
        prop::collection::vec(instruments(), 0..4).prop_map(Message::Instruments),
    ]
}

fn market() -> impl Strategy<Value = Message> {
    prop_oneof![
        (symbols(), levels(), levels(), times()).prop_map(|(instrument, bid, ask, time_ms)| Message::Tick(
            Tick { instrument, bid, ask, time_ms }
        )),
        (symbols(), prices(), amounts(), one_of(words::SIDES), times()).prop_map(
            |(instrument, price, amount, side, time_ms)| {
                Message::Trade(Print { instrument, price, amount, side, time_ms })
            }
        ),
        (symbols(), one_of(words::STATES), times()).prop_map(|(instrument, state, time_ms)| Message::State {
            instrument,
            state,
            time_ms
        }),
    ]
}

fn commands() -> impl Strategy<Value = Command> {
    let words = (
        one_of(words::SIDES),
        one_of(words::ORDER_TYPES),
        one_of(words::TIMES_IN_FORCE),
        one_of(words::POST_ONLY),
        any::<bool>(),
    );
    let numbers = (any::<u32>(), prop::option::of(prices()), amounts(), prop::option::of(1..=TIME_MS_MAX));
    prop_oneof![
        (orders(), symbols(), words, numbers, labels()).prop_map(
            |(order, instrument, words, numbers, label)| {
                let (side, order_type, time_in_force, post_only, reduce_only) = words;
                let (account, price, amount, valid_until_ms) = numbers;
                Command::New(NewCommand {
                    order,
                    account: AccountId(account),
                    instrument,
                    side,
                    order_type,
                    price,
                    amount,
                    time_in_force,
                    post_only,
                    reduce_only,
                    label,
                    valid_until_ms,
                })
            }
        ),
        (orders(), prop::option::of(prices()), amounts(), one_of(words::POST_ONLY))
            .prop_map(|(order, price, total, post_only)| Command::Amend { order, price, total, post_only }),
        orders().prop_map(|order| Command::Cancel { order }),
        orders().prop_map(|order| Command::Status { order }),
    ]
}

fn reports() -> impl Strategy<Value = Report> {
    let reason = || one_of(words::REFUSALS);
    let optional = || prop::option::of(prices());
    let zero_too = || (0..=i64::MAX).prop_map(Amount);
    prop_oneof![
        (orders(), labels(), optional()).prop_map(|(order, venue_order, price)| Report::Accepted {
            order,
            venue_order,
            price
        }),
        (orders(), reason()).prop_map(|(order, reason)| Report::Rejected { order, reason }),
        (orders(), prices(), amounts(), one_of(words::LIQUIDITY), any::<bool>(), labels(), times()).prop_map(
            |(order, price, amount, liquidity, print, trade, time_ms)| {
                Report::Filled(Filled { order, price, amount, liquidity, print, trade, time_ms })
            }
        ),
        (orders(), prices(), amounts()).prop_map(|(order, price, total)| Report::Amended {
            order,
            price,
            total
        }),
        (orders(), reason()).prop_map(|(order, reason)| Report::AmendRejected { order, reason }),
        (orders(), one_of(words::CANCEL_REASONS))
            .prop_map(|(order, reason)| Report::Cancelled { order, reason }),
        (orders(), reason()).prop_map(|(order, reason)| Report::CancelRejected { order, reason }),
        (orders(), one_of(words::STATUSES), zero_too(), optional(), optional(), zero_too()).prop_map(
            |(order, state, filled, average, price, amount)| {
                Report::OrderStatus(OrderStatus { order, state, filled, average, price, amount })
            }
        ),
    ]
}

/// A message and the levels that it refers to.
fn messages() -> impl Strategy<Value = (Message, Vec<LevelUpdate>)> {
    let side = |side| {
        prop::collection::vec((prices(), 0..=i64::MAX), 0..5).prop_map(move |pairs| {
            pairs
                .into_iter()
                .map(|(price, amount)| LevelUpdate { side, price, amount: Amount(amount) })
                .collect::<Vec<_>>()
        })
    };
    let books = (symbols(), any::<bool>(), side(Side::Bid), side(Side::Ask), times()).prop_map(
        |(instrument, is_snapshot, bids, asks, time_ms)| {
            let levels = [bids, asks].concat();
            let range = LevelRange { start: 0, count: u32::try_from(levels.len()).unwrap() };
            (Message::Book(BookUpdate { instrument, is_snapshot, levels: range, time_ms }), levels)
        },
    );
    prop_oneof![
        greetings().prop_map(|message| (message, Vec::new())),
        market().prop_map(|message| (message, Vec::new())),
        books,
        (numbers(), commands()).prop_map(|(seq, command)| (Message::Command { seq, command }, Vec::new())),
        (numbers(), reports()).prop_map(|(seq, report)| (Message::Report { seq, report }, Vec::new())),
    ]
}

fn encoded(form: Form, message: &Message, levels: &[LevelUpdate]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(form, message, levels, &mut out);
    out
}

fn fault(form: Form, bytes: &[u8]) -> Fault {
    decode(form, bytes, &mut Vec::new()).unwrap_err()
}

fn json_fault(line: &str) -> Fault {
    fault(Form::Json, format!("{line}\n").as_bytes())
}

#[test]
fn a_new_order_looks_like_this_in_json() {
    let command = Command::New(NewCommand {
        order: OrderId(7),
        account: AccountId(3),
        instrument: Symbol::parse(b"EURUSD").unwrap(),
        side: Direction::Buy,
        order_type: OrderType::Limit,
        price: Some(Price(1_121_250_000)),
        amount: Amount(1_000_000_000_000),
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::No,
        reduce_only: false,
        label: Label::parse("a \"b\""),
        valid_until_ms: None,
    });
    let line = encoded(Form::Json, &Message::Command { seq: 1, command }, &[]);
    assert_eq!(
        String::from_utf8(line).unwrap(),
        "{\"type\":\"new\",\"seq\":1,\"order\":7,\"account\":3,\"instrument\":\"EURUSD\",\"side\":\"buy\",\
         \"order_type\":\"limit\",\"price\":1.12125,\"amount\":1000,\"time_in_force\":\"gtc\",\
         \"post_only\":\"no\",\"reduce_only\":false,\"label\":\"a \\\"b\\\"\"}\n"
    );
}

#[test]
fn a_cancel_looks_like_this_in_bytes() {
    let bytes = encoded(
        Form::Binary,
        &Message::Command { seq: 2, command: Command::Cancel { order: OrderId(513) } },
        &[],
    );
    assert_eq!(bytes, [17, 0, 0, 0, 0x22, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_simple_venue_may_write_json_as_it_comes() {
    let line =
        b"\r\n \n{ \"order\": 5, \"price\": \"1.5\", \"amount\": 1e-3, \"seq\": 9, \"liquidity\": \"maker\",\
                 \"time_ms\": 1, \"comment\": {\"a\": [1]}, \"trade\": null, \"type\": \"filled\" }\r\n{";
    let (message, used) = decode(Form::Json, line, &mut Vec::new()).unwrap().unwrap();
    let filled = Filled {
        order: OrderId(5),
        price: Price(1_500_000_000),
        amount: Amount(1_000_000),
        liquidity: Liquidity::Maker,
        print: true,
        trade: None,
        time_ms: 1,
    };
    assert_eq!(message, Message::Report { seq: 9, report: Report::Filled(filled) });
    assert_eq!(used, line.len() - 1);
}

#[test]
fn a_reason_that_is_not_known_is_a_refusal_all_the_same() {
    let line = b"{\"type\":\"rejected\",\"seq\":1,\"order\":2,\"reason\":\"market is on fire\"}\n";
    let (message, _) = decode(Form::Json, line, &mut Vec::new()).unwrap().unwrap();
    let report = Report::Rejected { order: OrderId(2), reason: OrderRefusal::VenueRefused };
    assert_eq!(message, Message::Report { seq: 1, report });
    let line = b"{\"type\":\"cancelled\",\"seq\":1,\"order\":2,\"reason\":\"end of day\"}\n";
    let (message, _) = decode(Form::Json, line, &mut Vec::new()).unwrap().unwrap();
    let report = Report::Cancelled { order: OrderId(2), reason: CancelReason::Venue };
    assert_eq!(message, Message::Report { seq: 1, report });
}

#[test]
fn says_what_is_wrong_with_a_line() {
    for (line, expected) in [
        ("{", Fault::NotJson),
        ("{} {}", Fault::NotJson),
        ("[]", Fault::NotObject),
        ("{}", Fault::Missing("type")),
        ("{\"type\":1}", Fault::Invalid("type")),
        ("{\"type\":\"dance\"}", Fault::UnknownType),
        ("{\"type\":\"bye\",\"type\":\"bye\"}", Fault::Repeated),
        ("{\"type\":\"heartbeat\"}", Fault::Missing("next")),
        ("{\"type\":\"heartbeat\",\"next\":0}", Fault::Invalid("next")),
        ("{\"type\":\"heartbeat\",\"next\":-1}", Fault::Invalid("next")),
        ("{\"type\":\"heartbeat\",\"next\":1.0}", Fault::Invalid("next")),
        ("{\"type\":\"heartbeat\",\"next\":9007199254740992}", Fault::Invalid("next")),
        ("{\"type\":\"cancel\",\"order\":1}", Fault::Missing("seq")),
        ("{\"type\":\"cancel\",\"seq\":1,\"order\":0}", Fault::Invalid("order")),
        (
            "{\"type\":\"state\",\"instrument\":\"A.B\",\"state\":\"open\",\"time_ms\":1}",
            Fault::Invalid("instrument"),
        ),
        (
            "{\"type\":\"state\",\"instrument\":\"A\",\"state\":\"ajar\",\"time_ms\":1}",
            Fault::Invalid("state"),
        ),
        ("{\"type\":\"tick\",\"instrument\":\"A\",\"bid\":1,\"time_ms\":1}", Fault::Missing("bid_amount")),
        (
            "{\"type\":\"tick\",\"instrument\":\"A\",\"ask\":1,\"ask_amount\":0,\"time_ms\":1}",
            Fault::Invalid("ask_amount"),
        ),
        (
            "{\"type\":\"book\",\"instrument\":\"A\",\"snapshot\":true,\"bids\":[[1]],\"time_ms\":1}",
            Fault::Invalid("bids"),
        ),
        (
            "{\"type\":\"book\",\"instrument\":\"A\",\"snapshot\":true,\"asks\":[[1,2,3]],\"time_ms\":1}",
            Fault::Invalid("asks"),
        ),
        ("{\"type\":\"instruments\",\"instruments\":{}}", Fault::Invalid("instruments")),
        ("{\"type\":\"instruments\",\"instruments\":[1]}", Fault::NotObject),
        (
            "{\"type\":\"trade\",\"instrument\":\"A\",\"price\":0.0000000001,\"amount\":1,\"side\":\"buy\",\"time_ms\":1}",
            Fault::Invalid("price"),
        ),
    ] {
        assert_eq!(json_fault(line), expected, "{line}");
    }
    assert_eq!(fault(Form::Json, b"\"\xff\"\n"), Fault::NotUtf8);
    let many: Vec<String> = (0..40).map(|field| format!("\"f{field}\":1")).collect();
    assert_eq!(json_fault(&format!("{{{}}}", many.join(","))), Fault::TooManyFields);
}

#[test]
fn says_what_is_wrong_with_bytes() {
    for (body, expected) in [
        (&[0x99][..], Fault::UnknownType),
        (&[], Fault::Truncated),
        (&[0x05, 1, 0], Fault::Truncated),
        (&[0x05, 1, 0, 0, 0, 0, 0, 0, 0, 9], Fault::Surplus),
        (&[0x05, 0, 0, 0, 0, 0, 0, 0, 0], Fault::Invalid("next")),
        (&[0x03, 2, 0xff, 0xff], Fault::Invalid("reason")),
        (&[0x11, 1, b'A', 2], Fault::Invalid("bid")),
        (&[0x10, 0xff, 0xff], Fault::Invalid("instruments")),
        (&[0x14, 1, b'A', 7], Fault::Invalid("state")),
        (&[0x12, 1, b'A', 0, 0, 0, 0, 0, 0, 0, 0x80], Fault::Invalid("price")),
    ] {
        let mut bytes = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend_from_slice(body);
        assert_eq!(fault(Form::Binary, &bytes), expected, "{body:?}");
    }
}

#[test]
fn a_message_without_an_end_is_given_up_at_the_bound() {
    let most = limits::LINK_MESSAGE_BYTES_MAX;
    assert_eq!(decode(Form::Json, &vec![b' '; most - 1], &mut Vec::new()), Ok(None));
    assert_eq!(fault(Form::Json, &vec![b' '; most]), Fault::TooLong);
    let head = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    assert_eq!(decode(Form::Binary, &head(most - 4), &mut Vec::new()), Ok(None));
    assert_eq!(fault(Form::Binary, &head(most - 3)), Fault::TooLong);
}

#[test]
fn the_largest_book_and_the_longest_list_fit_a_message() {
    let level = |at: usize| LevelUpdate {
        side: if at.is_multiple_of(2) { Side::Bid } else { Side::Ask },
        price: Price(-i64::MAX),
        amount: Amount(i64::MAX),
    };
    let name = Symbol::parse(&[b'X'; 31]).unwrap();
    let levels: Vec<_> = (0..limits::LINK_LEVELS_PER_MESSAGE_MAX).map(level).collect();
    let range = LevelRange { start: 0, count: u32::try_from(levels.len()).unwrap() };
    let book = BookUpdate { instrument: name, is_snapshot: true, levels: range, time_ms: TIME_MS_MAX };
    let told = Told {
        name,
        kind: InstrumentKind::FutureCombo,
        base: name,
        quote: name,
        tick_size: i64::MAX,
        min_amount: i64::MAX,
        contract_size: i64::MAX,
        expires_ms: Some(TIME_MS_MAX),
    };
    let list = vec![told.instrument().unwrap(); limits::LINK_INSTRUMENTS_PER_MESSAGE_MAX];
    for form in FORMS {
        for message in [Message::Book(book), Message::Instruments(list.clone())] {
            let bytes = encoded(form, &message, &levels);
            assert!(bytes.len() <= limits::LINK_MESSAGE_BYTES_MAX, "{form:?}: {} bytes", bytes.len());
            let mut read = Vec::new();
            assert!(decode(form, &bytes, &mut read).unwrap().is_some());
        }
    }
}

#[test]
fn the_first_byte_says_which_form() {
    assert_eq!(Form::of(b'{'), Ok((Form::Json, 0)));
    assert_eq!(Form::of(1), Ok((Form::Binary, 1)));
    assert_eq!(Form::of(b'G'), Err(Fault::NeitherForm(b'G')));
    assert_eq!((Form::Json.preamble(), Form::Binary.preamble()), (&[][..], &[1][..]));
    assert_eq!((VERSION, StatusState::Pending, MarketState::Open).0, 2);
}

#[test]
fn a_message_without_a_fence_is_as_peers_know_it_that_have_none() {
    let welcome = |fence| {
        let (gateway, session) = ("g".into(), "s".into());
        Message::Welcome(Welcome {
            version: 1,
            gateway,
            session,
            next: 1,
            resumed: false,
            heartbeat_ms: 9,
            fence,
        })
    };
    let bye = |fence| Message::Bye { reason: "r".into(), fence };
    for (without, with, kind) in [(welcome(0), welcome(7), 2), (bye(0), bye(7), 4)] {
        let text = String::from_utf8(encoded(Form::Json, &without, &[])).unwrap();
        assert!(!text.contains("fence"), "{text}");
        let text = text.replace("}\n", ",\"fence\":7}\n");
        assert_eq!(String::from_utf8(encoded(Form::Json, &with, &[])).unwrap(), text);
        for (fence, expected) in [
            ("0", Some(&without)),
            ("null", Some(&without)),
            ("7", Some(&with)),
            ("-1", None),
            ("9007199254740992", None),
        ] {
            let text = text.replace(":7}", &format!(":{fence}}}"));
            let read = decode(Form::Json, text.as_bytes(), &mut Vec::new());
            let expected = expected.cloned().ok_or(Fault::Invalid("fence"));
            assert_eq!(read.map(|read| read.unwrap().0), expected, "{text}");
        }
        let (short, long) = (encoded(Form::Binary, &without, &[]), encoded(Form::Binary, &with, &[]));
        assert_eq!((long[4], &long[5..short.len()]), (kind, &short[5..]));
        assert_eq!(long[short.len()..], 7_u64.to_le_bytes());
        let mut zero = long;
        *zero.iter_mut().rev().nth(7).unwrap() = 0;
        assert_eq!(decode(Form::Binary, &zero, &mut Vec::new()), Err(Fault::Invalid("fence")));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back((message, levels) in messages()) {
        for form in FORMS {
            let mut bytes = encoded(form, &message, &levels);
            prop_assert!(bytes.len() <= limits::LINK_MESSAGE_BYTES_MAX);
            let length = bytes.len();
            // Whatever follows is another message's.
            bytes.extend_from_slice(b"{\"");
            let mut read = Vec::new();
            let (again, used) = decode(form, &bytes, &mut read).unwrap().unwrap();
            prop_assert_eq!(&again, &message, "{:?}", form);
            prop_assert_eq!(&read, &levels);
            prop_assert_eq!(used, length);
            for cut in 0..length {
                prop_assert_eq!(decode(form, &bytes[..cut], &mut Vec::new()), Ok(None), "{:?} at {}", form, cut);
            }
        }
    }

    #[test]
    fn garbage_is_a_fault_or_waits_for_more(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for form in FORMS {
            let _ = decode(form, &bytes, &mut Vec::new());
        }
    }

    #[test]
    fn a_damaged_message_is_a_fault_or_another_message(
        (message, levels) in messages(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        for form in FORMS {
            let mut bytes = encoded(form, &message, &levels);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(Some((_, used))) = decode(form, &bytes, &mut Vec::new()) {
                prop_assert!(used <= bytes.len());
            }
        }
    }
}

/// The fenced blocks of a language in the page that describes the wire.
fn blocks(language: &str) -> Vec<&'static str> {
    const PAGE: &str = include_str!("../../../../docs/venue-link.md");
    let fence = format!("```{language}\n");
    PAGE.split(fence.as_str()).skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
}

#[test]
fn every_example_of_the_page_is_a_message_and_every_message_has_one() {
    let mut types = std::collections::BTreeSet::new();
    for line in blocks("json").iter().flat_map(|block| block.lines()) {
        let mut levels = Vec::new();
        let (message, _) = decode(Form::Json, format!("{line}\n").as_bytes(), &mut levels)
            .unwrap_or_else(|fault| panic!("{line}: {fault}"))
            .unwrap_or_else(|| panic!("{line} has no end"));
        for form in FORMS {
            let bytes = encoded(form, &message, &levels);
            let (again, _) = decode(form, &bytes, &mut Vec::new()).unwrap().unwrap();
            assert_eq!(again, message, "{line}");
        }
        types.insert(line.split('"').nth(3).unwrap());
    }
    let expected = "accepted amend amend_rejected amended book bye cancel cancel_rejected cancelled filled heartbeat \
                    hello instruments new order_status reject rejected state status tick trade welcome";
    assert_eq!(types.into_iter().collect::<Vec<_>>().join(" "), expected);
    assert_eq!((blocks("json").len(), blocks("python").len()), (9, 1));
}

#[test]
fn the_page_has_every_word() {
    const PAGE: &str = include_str!("../../../../docs/venue-link.md");
    let refusals = words::REFUSALS.iter().map(|(word, _)| *word);
    let reasons = words::CANCEL_REASONS.iter().map(|(word, _)| *word);
    let states = words::STATUSES.iter().map(|(word, _)| *word);
    let kinds = words::KINDS.iter().map(|(word, _)| *word);
    for word in refusals.chain(reasons).chain(states).chain(kinds) {
        assert!(PAGE.contains(&format!("`{word}`")), "{word}");
    }
}
