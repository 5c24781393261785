//! Owners and followers by hand and by chance: what each node is told is what was said for it, in order, or a loss is noticed.

use super::super::parts::{Part, Parts};
use super::super::records::write_record;
use super::*;
use crate::hub::batch::Record;
use crate::model::ids::{Seq, TopicId};

const MARKET: HomeId = HomeId(2);
const FENCE: Fence = Fence(7);

fn at(ms: u64) -> Now {
    Now { mono_ns: ms * 1_000_000, unix_ns: 0 }
}

fn place(number: u8) -> Place {
    Place::new(number).unwrap()
}

/// A frame whose number says which it is, of so many bytes of payload.
fn say(parts: &mut Parts, audience: Places, number: u64, payload_bytes: usize) -> Vec<u8> {
    let mut batch = Batch::default();
    let mut bytes = vec![0x82, 127];
    bytes.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
    if payload_bytes < 126 {
        bytes = vec![0x82, u8::try_from(payload_bytes).unwrap()];
    }
    bytes.resize(bytes.len() + payload_bytes, b'x');
    let frame = batch.push_bytes(&bytes);
    let topic = TopicId { home: MARKET, slot: 1, generation: 0 };
    let record = Record::Frame { topic, seq: Seq(number), prev_seq: Seq(0), change_id: Seq(0), frame };
    parts.push(audience, &batch, &record);
    let mut written = Vec::new();
    write_record(&mut written, &batch, &record);
    written
}

fn parts(followers: u8) -> Parts {
    let mut parts = Parts::new(FENCE);
    (0..followers).for_each(|number| parts.begin(place(number), 1));
    parts
}

fn drain(parts: &mut Parts) -> Vec<Part> {
    std::iter::from_fn(|| parts.poll()).collect()
}

fn numbers(batch: &Batch) -> Vec<u64> {
    let number = |record: &Record| {
        let Record::Frame { seq, .. } = record else { panic!("only frames were said: {record:?}") };
        seq.0
    };
    batch.records.iter().map(number).collect()
}

/// What a node hears: the numbers of each turn.
fn hear(assembly: &mut Assembly, told: &[Part]) -> Vec<Vec<u64>> {
    let (me, mut turns) = (assembly.me, Vec::new());
    for part in told.iter().filter(|part| part.audience.contains(me)) {
        if assembly.handle_part(&part.bytes, at(0)) == Ok(Heard::Turn) {
            let mut batch = Batch::default();
            assembly.take_turn(MARKET, &mut batch, &mut Vec::new()).unwrap();
            turns.push(numbers(&batch));
        }
    }
    turns
}

#[test]
fn each_node_is_told_its_own_in_the_order_in_which_it_was_said() {
    let mut parts = parts(2);
    let (a, b, both) = (Places(1), Places(2), Places(3));
    for (number, audience) in [(1, both), (2, a), (3, both), (4, b), (5, a), (6, both)] {
        say(&mut parts, audience, number, 10);
    }
    parts.seal();
    let told = drain(&mut parts);
    assert_eq!(told.len(), 3, "one message for each audience");
    let mut first = Assembly::new(place(0), FENCE, 1, at(0));
    let mut second = Assembly::new(place(1), FENCE, 1, at(0));
    assert_eq!(hear(&mut first, &told), [vec![1, 2, 3, 5, 6]]);
    assert_eq!(hear(&mut second, &told), [vec![1, 3, 4, 6]]);
}

#[test]
fn a_long_turn_is_told_in_parts_and_given_whole() {
    let mut parts = parts(1);
    (1..=3).for_each(|number| {
        say(&mut parts, Places(1), number, limits::CLUSTER_PART_BYTES);
    });
    parts.seal();
    let told = drain(&mut parts);
    assert_eq!(told.len(), 4);
    assert!(told.iter().all(|part| part.bytes.len() < limits::CLUSTER_PART_BYTES + 100));
    let mut assembly = Assembly::new(place(0), FENCE, 1, at(0));
    assert_eq!(hear(&mut assembly, &told), [vec![1, 2, 3]]);
}

#[test]
fn what_finds_no_room_is_told_next_until_too_much_waits_and_then_the_loss_is_noticed() {
    let mut parts = parts(1);
    say(&mut parts, Places(1), 1, 10);
    parts.seal();
    let first = parts.poll().unwrap();
    parts.put_back(first.clone());
    assert_eq!(parts.poll(), Some(first.clone()), "it is the next again");
    parts.put_back(first);
    for number in 0..limits::CLUSTER_UNTOLD_BYTES_MAX as u64 / (1 << 20) {
        say(&mut parts, Places(1), 2 + number, 1 << 20);
        parts.seal();
    }
    assert!(parts.memory_bytes() > limits::CLUSTER_UNTOLD_BYTES_MAX);
    let refused = parts.poll().unwrap();
    let waiting = parts.memory_bytes();
    parts.put_back(refused);
    assert_eq!((parts.memory_bytes(), parts.poll()), (0, None), "{waiting} bytes are dropped");
    assert!(parts.dropped_total > 1_000);
    say(&mut parts, Places(1), 1_000, 10);
    parts.seal();
    let told = drain(&mut parts);
    let mut assembly = Assembly::new(place(0), FENCE, 1, at(0));
    let heard = assembly.handle_part(&told[0].bytes, at(0));
    assert!(matches!(heard, Err(Loss::Missing { .. })), "{heard:?}");
}

#[test]
fn a_turn_with_too_many_audiences_is_told_to_more_and_to_all_it_was_for() {
    let mut parts = parts(16);
    let audience = |number: u8| Places(1 << number | 1 << ((number + 1) % 16));
    for number in 0..16 {
        say(&mut parts, audience(number), u64::from(number), 10);
    }
    parts.seal();
    assert_eq!(parts.widened_total, 8);
    let told = drain(&mut parts);
    assert_eq!(told.len(), limits::CLUSTER_AUDIENCES_PER_TURN_MAX + 1);
    for node in 0..16 {
        let mut assembly = Assembly::new(place(node), FENCE, 1, at(0));
        let heard = hear(&mut assembly, &told).concat();
        assert!(heard.is_sorted());
        for number in (0..16).filter(|number| audience(*number).contains(place(node))) {
            assert!(heard.contains(&u64::from(number)), "{number} was for {node}");
        }
    }
}

#[test]
fn a_turn_that_says_nothing_makes_no_message_but_a_heartbeat_does() {
    let mut parts = parts(1);
    say(&mut parts, Places(2), 1, 10);
    parts.seal();
    assert_eq!(parts.poll(), None, "nobody at that place follows");
    parts.heartbeat();
    let told = drain(&mut parts);
    let mut assembly = Assembly::new(place(0), FENCE, 1, at(0));
    assert_eq!(hear(&mut assembly, &told), [vec![0_u64; 0]]);
}

#[test]
fn a_part_that_is_missing_is_noticed_at_the_next_and_nothing_is_given_after_it() {
    let mut parts = parts(1);
    for number in 1..=3 {
        say(&mut parts, Places(1), number, 10);
        parts.seal();
    }
    let told = drain(&mut parts);
    let mut assembly = Assembly::new(place(0), FENCE, 1, at(0));
    assert_eq!(hear(&mut assembly, &told[..1]), [[1]]);
    assert_eq!(assembly.handle_part(&told[2].bytes, at(1)), Err(Loss::Missing { expected: 2, came: 3 }));
    assert_eq!(assembly.handle_part(&told[1].bytes, at(1)), Ok(Heard::Nothing));
    assert_eq!(assembly.poll_timeout(), None);
}

#[test]
fn a_stream_that_is_begun_anew_counts_from_one_and_leaves_the_old_one_behind() {
    let mut parts = parts(1);
    say(&mut parts, Places(1), 1, 10);
    parts.seal();
    let old = drain(&mut parts);
    parts.begin(place(0), 2);
    say(&mut parts, Places(1), 2, 10);
    parts.seal();
    let new = drain(&mut parts);
    let mut assembly = Assembly::new(place(0), FENCE, 2, at(0));
    assert_eq!(hear(&mut assembly, &[old, new].concat()), [[2]]);
}

#[test]
fn silence_is_a_loss_and_a_heartbeat_breaks_it() {
    let mut parts = parts(1);
    parts.heartbeat();
    let told = drain(&mut parts);
    let mut assembly = Assembly::new(place(0), FENCE, 1, at(0));
    assert_eq!(assembly.handle_timeout(at(2_999)), Ok(()));
    assert_eq!(assembly.handle_part(&told[0].bytes, at(2_999)), Ok(Heard::Turn));
    assembly.take_turn(MARKET, &mut Batch::default(), &mut Vec::new()).unwrap();
    assert_eq!(assembly.handle_timeout(at(5_998)), Ok(()));
    assert_eq!(assembly.handle_timeout(at(5_999)), Err(Loss::Silent));
    assert_eq!(assembly.handle_timeout(at(9_000)), Ok(()), "it is told once");
}

#[test]
fn an_older_owner_says_nothing_and_a_later_one_is_heard_of() {
    let tell = |fence: u64| {
        let mut parts = Parts::new(Fence(fence));
        parts.begin(place(0), 1);
        parts.heartbeat();
        parts.poll().unwrap().bytes
    };
    let mut assembly = Assembly::new(place(0), FENCE, 1, at(0));
    assert_eq!(assembly.handle_part(&tell(6), at(0)), Ok(Heard::Nothing));
    assert_eq!(assembly.handle_part(&tell(8), at(0)), Ok(Heard::LaterOwner(Fence(8))));
    assert_eq!(assembly.handle_part(&tell(7), at(0)), Ok(Heard::Turn));
}

#[test]
fn a_turn_that_is_too_long_to_keep_is_a_loss() {
    let mut parts = parts(1);
    for number in 0..65 {
        say(&mut parts, Places(1), number, 1 << 20);
    }
    parts.seal();
    let mut assembly = Assembly::new(place(0), FENCE, 1, at(0));
    let losses = drain(&mut parts)
        .iter()
        .filter_map(|part| assembly.handle_part(&part.bytes, at(0)).err())
        .collect::<Vec<_>>();
    assert_eq!(losses, [Loss::TurnTooLong]);
}

#[test]
fn bytes_that_are_no_part_are_a_loss_that_says_why() {
    let mut parts = parts(1);
    say(&mut parts, Places(1), 1, 10);
    parts.seal();
    let good = parts.poll().unwrap().bytes;
    let mut other_version = good.clone();
    other_version[0] = 9;
    let mut other_kind = good.clone();
    other_kind[1] = 2;
    let cases = [
        (&b""[..], WireFault::Short),
        (&good[..20], WireFault::Short),
        (&other_version, WireFault::Version(9)),
        (&other_kind, WireFault::Value),
    ];
    for (bytes, fault) in cases {
        let mut assembly = Assembly::new(place(0), FENCE, 1, at(0));
        assert_eq!(assembly.handle_part(bytes, at(0)), Err(Loss::Damaged(fault)));
    }
    let mut assembly = Assembly::new(place(0), FENCE, 1, at(0));
    assert_eq!(assembly.handle_part(&good[..good.len() - 1], at(0)), Ok(Heard::Turn));
    assert_eq!(
        assembly.take_turn(MARKET, &mut Batch::default(), &mut Vec::new()),
        Err(Loss::Damaged(WireFault::Short))
    );
}

/// Numbers by chance, as a seed has them.
fn next(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

/// Turns for any audiences, told by a network that loses, repeats, reorders and damages: each node is given the records that were said for it, byte by byte and turn
/// by turn, none left out and none invented; else it notices, and a new stream begins behind what it was told.
#[test]
fn whatever_the_network_does_a_node_has_what_was_said_for_it_or_knows_of_a_loss() {
    let (mut losses, mut turns, mut unharmed) = (0, 0, 0);
    for seed in 0..300 {
        let mut chance = seed;
        let is_faulty = seed % 3 > 0;
        // Of three nodes there are no more audiences than are told apart.
        let nodes = 1 + u8::try_from(next(&mut chance, 3)).unwrap();
        let mut parts = parts(nodes);
        let mut assemblies: Vec<Assembly> =
            (0..nodes).map(|node| Assembly::new(place(node), FENCE, 1, at(0))).collect();
        let mut said = 0;
        for _ in 0..40 {
            // What is to come to each node in this turn.
            let mut expected: Vec<Vec<Vec<u8>>> = vec![Vec::new(); usize::from(nodes)];
            for _ in 0..next(&mut chance, 12) {
                said += 1;
                let audience = Places(u16::try_from(next(&mut chance, 1 << nodes)).unwrap());
                let long = if next(&mut chance, 20) == 0 { 300_000 } else { next(&mut chance, 100) };
                let bytes = say(&mut parts, audience, said, usize::try_from(long).unwrap());
                audience.iter().for_each(|place| expected[place.index()].push(bytes.clone()));
            }
            parts.seal();
            let mut told = drain(&mut parts);
            if is_faulty && !told.is_empty() && next(&mut chance, 6) == 0 {
                let at = usize::try_from(next(&mut chance, told.len() as u64)).unwrap();
                match next(&mut chance, 4) {
                    0 => drop(told.remove(at)),
                    1 => told.insert(at, told[at].clone()),
                    2 => told.rotate_left(1),
                    _ => told[at].bytes.truncate(30),
                }
            }
            for (assembly, expected) in assemblies.iter_mut().zip(expected) {
                let (me, mut heard, mut loss) = (assembly.me, Vec::new(), false);
                for part in told.iter().filter(|part| part.audience.contains(me)) {
                    match assembly.handle_part(&part.bytes, at(0)) {
                        Ok(Heard::Turn) => {
                            let mut batch = Batch::default();
                            match assembly.take_turn(MARKET, &mut batch, &mut Vec::new()) {
                                Ok(()) => heard.push(batch),
                                Err(_) => loss = true,
                            }
                        }
                        Ok(Heard::Part | Heard::Nothing) => {}
                        Ok(Heard::LaterOwner(_)) => panic!("seed {seed}: there is one owner"),
                        Err(_) => loss = true,
                    }
                }
                if heard.is_empty() && !expected.is_empty() && !loss {
                    // The loss of a last part: the next one tells.
                    assert!(is_faulty, "seed {seed}: a turn is missing without a fault");
                    loss = true;
                }
                if loss {
                    losses += 1;
                    assert!(heard.is_empty(), "seed {seed}: a turn is whole or lost");
                    let stream = assembly.stream + 1;
                    parts.begin(assembly.me, stream);
                    *assembly = Assembly::new(assembly.me, FENCE, stream, at(0));
                    continue;
                }
                turns += heard.len();
                unharmed += usize::from(!is_faulty);
                assert!(heard.len() <= 1, "seed {seed}: a turn is given once");
                let given: Vec<Vec<u8>> = heard.iter().flat_map(rewritten).collect();
                assert_eq!(given, expected, "seed {seed}");
            }
        }
    }
    assert!(losses > 300 && turns > 10_000 && unharmed > 5_000, "{losses} losses, {turns} turns, {unharmed}");
}

fn rewritten(batch: &Batch) -> Vec<Vec<u8>> {
    let rewrite = |record: &Record| {
        let mut bytes = Vec::new();
        write_record(&mut bytes, batch, record);
        bytes
    };
    batch.records.iter().map(rewrite).collect()
}
