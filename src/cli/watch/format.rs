//! One notification → one line for people. PURE: JSON text in, text out.
//!
//! Numbers are printed as they were received, digit for digit. What a stranger published cannot steer the
//! terminal: control characters come out as `\u{fffd}`.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;
use sonic_rs::LazyValue;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub colour: Colour,
    /// Book levels or trades that are spelt out; the rest is counted.
    pub items_max: usize,
    /// Columns for the channel's name, so that what follows lines up.
    pub channel_columns: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Never,
    Ansi,
}

/// What a piece of text is, for its colour.
#[derive(Clone, Copy)]
enum Ink {
    Channel,
    Bid,
    Ask,
    Dim,
}

impl Layout {
    fn paint(self, ink: Ink, text: &str) -> String {
        let code = match (self.colour, ink) {
            (Colour::Never, _) => return text.to_owned(),
            (Colour::Ansi, Ink::Channel) => "1;36",
            (Colour::Ansi, Ink::Bid) => "32",
            (Colour::Ansi, Ink::Ask) => "31",
            (Colour::Ansi, Ink::Dim) => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[derive(Deserialize)]
struct TopOfBook<'a> {
    #[serde(borrow)]
    best_bid_price: LazyValue<'a>,
    #[serde(borrow)]
    best_bid_amount: LazyValue<'a>,
    #[serde(borrow)]
    best_ask_price: LazyValue<'a>,
    #[serde(borrow)]
    best_ask_amount: LazyValue<'a>,
    #[serde(borrow, default)]
    last_price: Option<LazyValue<'a>>,
    #[serde(default)]
    timestamp: Option<u64>,
}

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(borrow)]
    price: LazyValue<'a>,
    #[serde(borrow)]
    amount: LazyValue<'a>,
    #[serde(borrow)]
    direction: Cow<'a, str>,
    #[serde(default)]
    timestamp: Option<u64>,
}

#[derive(Deserialize)]
struct Book<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Cow<'a, str>>,
    /// `[action, price, amount]`, or `[price, amount]` where the book is grouped.
    #[serde(borrow)]
    bids: Vec<Vec<LazyValue<'a>>>,
    #[serde(borrow)]
    asks: Vec<Vec<LazyValue<'a>>>,
    #[serde(default)]
    change_id: Option<u64>,
    #[serde(default)]
    timestamp: Option<u64>,
}

/// The line for one notification, without its line break. `data` is the JSON text of `params.data`.
pub(super) fn line(channel: &str, seq: Option<u64>, data: &str, layout: Layout) -> String {
    let (timestamp_ms, body) = match channel.split('.').next() {
        Some("ticker" | "quote") => top_of_book(data, layout),
        Some("trades") => trades(data, layout),
        Some("book") => book(data, layout),
        _ => None,
    }
    .unwrap_or_else(|| (None, clean(data).into_owned()));
    let time = timestamp_ms.map_or_else(|| " ".repeat(12), time_of_day);
    let name = format!("{:<width$}", clean(channel), width = layout.channel_columns);
    let seq = seq.map_or_else(String::new, |seq| layout.paint(Ink::Dim, &format!("  #{seq}")));
    format!("{}  {}  {body}{seq}", layout.paint(Ink::Dim, &time), layout.paint(Ink::Channel, &name))
}

type Body = Option<(Option<u64>, String)>;

fn top_of_book(data: &str, layout: Layout) -> Body {
    let top: TopOfBook<'_> = sonic_rs::from_str(data).ok()?;
    let bid = format!("bid {:>12} x {:<10}", number(&top.best_bid_price), number(&top.best_bid_amount));
    let ask = format!("ask {:>12} x {:<10}", number(&top.best_ask_price), number(&top.best_ask_amount));
    let mut body = format!("{}  {}", layout.paint(Ink::Bid, &bid), layout.paint(Ink::Ask, &ask));
    if let Some(last) = &top.last_price {
        let _ = write!(body, "  last {:>12}", number(last));
    }
    Some((top.timestamp, body))
}

fn trades(data: &str, layout: Layout) -> Body {
    let trades: Vec<Trade<'_>> = sonic_rs::from_str(data).ok()?;
    let shown = trades.iter().take(layout.items_max).map(|trade| {
        let ink = if trade.direction == "buy" { Ink::Bid } else { Ink::Ask };
        let text = format!(
            "{:<4} {:>12} x {:<10}",
            clean(&trade.direction),
            number(&trade.price),
            number(&trade.amount)
        );
        layout.paint(ink, &text)
    });
    let body = joined(shown.collect(), trades.len());
    Some((trades.last().and_then(|trade| trade.timestamp), body))
}

fn book(data: &str, layout: Layout) -> Body {
    let book: Book<'_> = sonic_rs::from_str(data).ok()?;
    let id = book.change_id.map_or_else(String::new, |id| format!("{id} "));
    if book.kind.as_deref() == Some("change") {
        let levels = |side: &[Vec<LazyValue<'_>>], name, ink| -> Vec<String> {
            side.iter().map(|level| layout.paint(ink, &format!("{name} {}", change(level)))).collect()
        };
        let mut shown = levels(&book.bids, "bid", Ink::Bid);
        shown.extend(levels(&book.asks, "ask", Ink::Ask));
        let count = shown.len();
        shown.truncate(layout.items_max);
        return Some((book.timestamp, format!("change   {id}{}", joined(shown, count))));
    }
    let best = |side: &[Vec<LazyValue<'_>>]| match side.first().map(Vec::as_slice) {
        Some([.., price, amount]) => format!("{} x {}", number(price), number(amount)),
        Some(_) | None => "none".to_owned(),
    };
    let bid = layout.paint(Ink::Bid, &format!("bid {} ({} levels)", best(&book.bids), book.bids.len()));
    let ask = layout.paint(Ink::Ask, &format!("ask {} ({} levels)", best(&book.asks), book.asks.len()));
    Some((book.timestamp, format!("snapshot {id}{bid}  {ask}")))
}

/// `new 100.5 x 10`, `delete 100.5`.
fn change(level: &[LazyValue<'_>]) -> String {
    match level {
        [action, price, _] if action.as_raw_str() == "\"delete\"" => format!("delete {}", number(price)),
        [action, price, amount] => {
            let action = clean(action.as_raw_str().trim_matches('"')).into_owned();
            format!("{action} {} x {}", number(price), number(amount))
        }
        other => other.iter().map(number).collect::<Vec<_>>().join(" "),
    }
}

fn joined(shown: Vec<String>, count: usize) -> String {
    let more = count - shown.len();
    let mut body = shown.join(", ");
    if more > 0 {
        let _ = write!(body, ", and {more} more");
    }
    body
}

fn number(value: &LazyValue<'_>) -> String {
    match value.as_raw_str() {
        "null" => "-".to_owned(),
        digits => clean(digits).into_owned(),
    }
}

fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        Cow::Owned(text.replace(char::is_control, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// `HH:MM:SS.mmm` of the day in UTC.
fn time_of_day(timestamp_ms: u64) -> String {
    let (s, ms) = (timestamp_ms / 1000, timestamp_ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", s / 3600 % 24, s / 60 % 60, s % 60)
}

/// How the stream does, in one line for the bottom of a terminal.
pub(super) fn rate_line(
    updates_per_s: u64,
    updates: u64,
    skipped: u64,
    place: &str,
    layout: Layout,
) -> String {
    layout.paint(
        Ink::Dim,
        &format!("{updates_per_s} updates/s, {updates} in all, {skipped} skipped by seq, {place}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Layout = Layout { colour: Colour::Never, items_max: 3, channel_columns: 10 };

    fn check(channel: &str, data: &str, expected: &str) {
        assert_eq!(line(channel, Some(42), data, PLAIN), expected);
    }

    #[test]
    fn lines_up_a_ticker_and_a_quote() {
        check(
            "ticker.A.raw",
            r#"{"timestamp":3723004,"best_bid_price":100.50,"best_bid_amount":10,"best_ask_price":null,"best_ask_amount":0,"last_price":1e2}"#,
            "01:02:03.004  ticker.A.raw  bid       100.50 x 10          ask            - x 0           last          1e2  #42",
        );
        check(
            "quote.A",
            r#"{"best_bid_price":1,"best_bid_amount":2,"best_ask_price":3,"best_ask_amount":4}"#,
            "              quote.A     bid            1 x 2           ask            3 x 4           #42",
        );
    }

    #[test]
    fn lists_trades_and_counts_the_rest() {
        let trade = r#"{"price":1.10,"amount":5,"direction":"buy","timestamp":1}"#;
        check(
            "trades.A.raw",
            &format!("[{trade}]"),
            "00:00:00.001  trades.A.raw  buy          1.10 x 5           #42",
        );
        let many = line("trades.A.raw", None, &format!("[{}]", [trade; 5].join(",")), PLAIN);
        assert!(many.ends_with(", and 2 more"), "{many}");
    }

    #[test]
    fn tells_a_books_snapshot_from_its_changes() {
        check(
            "book.A.raw",
            r#"{"type":"snapshot","timestamp":0,"change_id":7,"bids":[["new",9.5,1],["new",9.0,2]],"asks":[]}"#,
            "00:00:00.000  book.A.raw  snapshot 7 bid 9.5 x 1 (2 levels)  ask none (0 levels)  #42",
        );
        check(
            "book.A.raw",
            r#"{"type":"change","timestamp":0,"prev_change_id":7,"change_id":8,"bids":[["change",9.5,4]],"asks":[["delete",10,0]]}"#,
            "00:00:00.000  book.A.raw  change   8 bid change 9.5 x 4, ask delete 10  #42",
        );
        check(
            "book.A.none.1.100ms",
            r#"{"bids":[[9.5,1]],"asks":[[10,2]]}"#,
            "              book.A.none.1.100ms  snapshot bid 9.5 x 1 (1 levels)  ask 10 x 2 (1 levels)  #42",
        );
    }

    #[test]
    fn prints_what_it_does_not_know_as_it_is() {
        check("topic.t", r#"{"a":1.0}"#, "              topic.t     {\"a\":1.0}  #42");
        check("quote.A", "[1]", "              quote.A     [1]  #42");
    }

    #[test]
    fn never_passes_control_characters_on() {
        let steering = line("topic.\u{1b}[2J", None, "\"\u{9b}2J\"", PLAIN);
        assert!(!steering.chars().any(char::is_control), "{steering:?}");
    }

    #[test]
    fn colours_only_when_asked() {
        let colour = Layout { colour: Colour::Ansi, ..PLAIN };
        assert!(line("topic.t", None, "1", colour).contains("\x1b[1;36mtopic.t   \x1b[0m"));
        assert_eq!(rate_line(5, 9, 0, "ws://h", PLAIN), "5 updates/s, 9 in all, 0 skipped by seq, ws://h");
    }
}
