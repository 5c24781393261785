//! Both sides under random acts and cuts: what must hold for a script holds for each of these.

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Place,
    Cancel(prop::sample::Index),
    Amend(prop::sample::Index, i64),
    Fill(prop::sample::Index, i64),
    Carry,
    CarryBytes(usize),
    Cut,
    Connect,
    Restart(bool),
    Slow(bool),
    Answer,
    Pass(u64),
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Place),
        3 => any::<prop::sample::Index>().prop_map(Act::Cancel),
        2 => (any::<prop::sample::Index>(), 1..20i64).prop_map(|(at, lots)| Act::Amend(at, lots * LOT)),
        3 => (any::<prop::sample::Index>(), 1..10i64).prop_map(|(at, lots)| Act::Fill(at, lots * LOT)),
        6 => Just(Act::Carry),
        6 => (0..200usize).prop_map(Act::CarryBytes),
        2 => Just(Act::Cut),
        6 => Just(Act::Connect),
        1 => any::<bool>().prop_map(Act::Restart),
        1 => any::<bool>().prop_map(Act::Slow),
        2 => Just(Act::Answer),
        2 => (0..3_000u64).prop_map(Act::Pass),
    ]
}

impl World {
    fn act(&mut self, act: &Act) {
        let orders: Vec<OrderId> = self.seen.keys().copied().collect();
        let chosen = |at: &prop::sample::Index| (!orders.is_empty()).then(|| orders[at.index(orders.len())]);
        match act {
            Act::Place => drop(self.place()),
            Act::Cancel(at) => chosen(at).into_iter().for_each(|order| self.cancel(order)),
            Act::Amend(at, amount) => chosen(at).into_iter().for_each(|order| self.amend(order, *amount)),
            Act::Fill(at, amount) => {
                chosen(at).into_iter().for_each(|order| self.venue.fill(order, *amount));
            }
            Act::Carry => self.carry(),
            Act::CarryBytes(bytes) => {
                self.budget = *bytes;
                self.carry();
                self.budget = usize::MAX;
            }
            Act::Cut => self.cut(),
            Act::Connect if !self.is_connected => self.connect(),
            Act::Connect => {}
            Act::Restart(remembers) => {
                self.cut();
                self.venue.restart(*remembers);
            }
            Act::Slow(is_slow) => self.venue.is_slow = *is_slow,
            Act::Answer => self.venue.answer_waiting(),
            Act::Pass(ms) => self.pass(*ms),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_cut_both_agree_in_the_end(
        is_json in any::<bool>(),
        acts in prop::collection::vec(acts(), 0..80),
    ) {
        let mut world = World::new(if is_json { Form::Json } else { Form::Binary });
        for act in &acts {
            world.act(act);
        }
        world.venue.is_slow = false;
        settle(&mut world);
        world.check_agreement();
    }

    #[test]
    fn garbage_never_harms_either_side(
        is_after_greeting in any::<bool>(),
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..8),
    ) {
        for form in [Form::Json, Form::Binary] {
            let mut world = World::new(form);
            if is_after_greeting {
                world.connect();
            } else {
                world.gateway.handle_connected(world.now);
                world.venue.session.handle_connected(world.now);
            }
            for chunk in &chunks {
                world.gateway.handle_bytes(chunk, world.now);
                world.venue.session.handle_bytes(chunk, world.now);
            }
        }
    }
}
