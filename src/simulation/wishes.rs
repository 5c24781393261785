//! What clients that trade ask for, by chance: orders near the market, edits, cancels, repeats of what was not answered. In JSON, or
//! in SBE by those who trade in it and as far as it has a message. PURE.

use super::sbe_trader::{Shape, Terms, amend_order, cancel_order, new_order};
use super::trader::{Asked, Saying, Trader};
use super::trading::is_timed;
use super::world::World;

/// A client's next request.
pub(super) fn wish(world: &mut World, client: usize) -> Saying {
    let trader = trader(world, client);
    trader.count.operations += 1;
    if let Some(label) = trader.unanswered.pop_front()
        && let Some(text) = trader.try_again(label)
    {
        trader.count.repeats_sent += 1;
        return text;
    }
    let is_full = trader.open.len() > super::trading::OPEN_MAX;
    match world.random.below(100) {
        _ if is_full => cancel(world, client),
        0..52 => place(world, client),
        52..66 => edit(world, client),
        66..84 => cancel(world, client),
        84..86 => Saying::Text(cancel_many(world, client)),
        86..88 => Saying::Text(cancel_by_label(world, client)),
        88..93 => repeat(world, client),
        93..97 => Saying::Text(guard(world, client)),
        97 if is_timed(client) => Saying::Text(set_timer(world, client)),
        _ => place(world, client),
    }
}

fn trader(world: &mut World, client: usize) -> &mut Trader {
    world.clients[client].trader.as_mut().expect("it trades")
}

/// A number as JSON has it.
fn decimal(units: i64) -> String {
    format!("{}.{:09}", units / 1_000_000_000, units % 1_000_000_000)
}

fn price_near(world: &mut World, instrument: usize) -> i64 {
    let (tick, _, best) = world.terms(instrument);
    let ticks =
        i64::try_from(world.random.below(13)).expect("invariant: below the bound that was asked for") - 6;
    (best + ticks * tick).max(tick)
}

fn amount(world: &mut World, instrument: usize) -> i64 {
    let (_, lot, _) = world.terms(instrument);
    lot * i64::try_from(world.random.between(1, 7)).expect("invariant: below the bound that was asked for")
}

fn place(world: &mut World, client: usize) -> Saying {
    let listed = world.trading().names.len();
    let instrument = world.random.below(listed);
    let (price, amount) = (price_near(world, instrument), amount(world, instrument));
    let name = world.trading().names[instrument].clone();
    let (price, shape) = match world.random.below(20) {
        0 => (None, Shape::Plain),
        1 => (Some(price), Shape::ImmediateOrCancel),
        2 => (Some(price), Shape::FillOrKill),
        3 => (Some(price), Shape::PostOnly),
        4 => (Some(price), Shape::RejectPostOnly),
        5 => (Some(price), Shape::ReduceOnly),
        _ => (Some(price), Shape::Plain),
    };
    let is_buy = *world.random.pick(&[true, false]);
    let instrument = u32::try_from(instrument).expect("invariant: a world has few accounts and instruments");
    let terms = Terms { instrument, is_buy, price, amount, shape };
    let trader = trader(world, client);
    trader.labels += 1;
    let number = (client as u64) << 32 | trader.labels;
    let label = format!("c{client}-{}", trader.labels);
    let said = match trader.reports {
        Some(_) => Saying::Message(new_order(terms, &label)),
        None => Saying::Text(new_order_text(terms, &name, &label)),
    };
    trader.attempt(number, said)
}

/// Method and parameters.
fn new_order_text(terms: Terms, name: &str, label: &str) -> String {
    let Terms { is_buy, price, amount, shape, .. } = terms;
    let method = if is_buy { "private/buy" } else { "private/sell" };
    let price =
        price.map_or(r#""type":"market""#.to_owned(), |price| format!(r#""price":{}"#, decimal(price)));
    let shape = match shape {
        Shape::Plain => "",
        Shape::ImmediateOrCancel => r#","time_in_force":"immediate_or_cancel""#,
        Shape::FillOrKill => r#","time_in_force":"fill_or_kill""#,
        Shape::PostOnly => r#","post_only":true"#,
        Shape::RejectPostOnly => r#","post_only":true,"reject_post_only":true"#,
        Shape::ReduceOnly => r#","reduce_only":true"#,
    };
    let amount = decimal(amount);
    format!(r#"{method} {{"instrument_name":"{name}","amount":{amount},"label":"{label}",{price}{shape}}}"#)
}

/// One of its open orders, or a number that none has.
fn some_order(world: &mut World, client: usize) -> u64 {
    let open: Vec<u64> = trader(world, client).open.keys().copied().collect();
    if open.is_empty() || world.random.chance(3) { 7 } else { *world.random.pick(&open) }
}

fn edit(world: &mut World, client: usize) -> Saying {
    let id = some_order(world, client);
    let told = trader(world, client).open.get(&id).cloned().unwrap_or_default();
    let names = &world.trading().names;
    let instrument = names.iter().position(|name| told.contains(&format!(":\"{name}\"")));
    let instrument = instrument.unwrap_or_default();
    let (price, amount) = (price_near(world, instrument), amount(world, instrument));
    let (amount, price) = match world.random.below(3) {
        0 => (Some(amount), None),
        1 => (None, Some(price)),
        _ => (Some(amount), Some(price)),
    };
    let trader = trader(world, client);
    if trader.reports.is_some() {
        return Saying::Message(trader.call_in_sbe(Asked::Order { id }, amend_order(id, price, amount)));
    }
    let amount = amount.map_or_else(String::new, |amount| format!(r#","amount":{}"#, decimal(amount)));
    let price = price.map_or_else(String::new, |price| format!(r#","price":{}"#, decimal(price)));
    let params = format!(r#"{{"order_id":"{id}"{amount}{price}}}"#);
    Saying::Text(trader.call(Asked::Order { id }, "private/edit", &params))
}

fn cancel(world: &mut World, client: usize) -> Saying {
    let id = some_order(world, client);
    let trader = trader(world, client);
    if trader.reports.is_some() {
        return Saying::Message(trader.call_in_sbe(Asked::Order { id }, cancel_order(id)));
    }
    let params = format!(r#"{{"order_id":"{id}"}}"#);
    Saying::Text(trader.call(Asked::Order { id }, "private/cancel", &params))
}

fn cancel_many(world: &mut World, client: usize) -> String {
    let listed = world.trading().names.len();
    let instrument = world.random.below(listed);
    let name = world.trading().names[instrument].clone();
    let is_all = world.random.chance(50);
    let trader = trader(world, client);
    if is_all {
        return trader.call(Asked::Many, "private/cancel_all", "{}");
    }
    let params = format!(r#"{{"instrument_name":"{name}"}}"#);
    trader.call(Asked::Many, "private/cancel_all_by_instrument", &params)
}

fn cancel_by_label(world: &mut World, client: usize) -> String {
    let newest = trader(world, client).labels.max(1);
    let back = world.random.below(10) as u64;
    let params = format!(r#"{{"label":"c{client}-{}"}}"#, newest.saturating_sub(back).max(1));
    trader(world, client).call(Asked::Many, "private/cancel_by_label", &params)
}

/// The same order under the same label, although nothing was lost.
fn repeat(world: &mut World, client: usize) -> Saying {
    let labels: Vec<u64> = trader(world, client).attempts.iter().map(|(label, _)| *label).collect();
    if labels.is_empty() {
        return place(world, client);
    }
    let label = *world.random.pick(&labels);
    let trader = trader(world, client);
    trader.count.repeats_sent += 1;
    trader.try_again(label).expect("it is one of them")
}

fn guard(world: &mut World, client: usize) -> String {
    let method = if world.random.chance(75) {
        "private/enable_cancel_on_disconnect"
    } else {
        "private/disable_cancel_on_disconnect"
    };
    trader(world, client).call(Asked::Many, method, "{}")
}

fn set_timer(world: &mut World, client: usize) -> String {
    let timeout = *world.random.pick(&[0, 100, 500]);
    let params = format!(r#"{{"timeout":{timeout}}}"#);
    trader(world, client).call(Asked::Many, "private/cancel_all_after", &params)
}
