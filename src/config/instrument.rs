//! The `[instrument.NAME]` tables: limits of orders in one instrument, where they are other than those of all. Home: the main thread.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::{Range, RangeFault};
use super::orders::{PRICE_BAND_BP_MAX, WHOLE_UNITS_MAX, amount, money};
use crate::desk::InstrumentLimits;
use crate::limits;
use crate::model::instrument::Symbol;

/// By the instrument's name, whoever lists it.
pub type Instruments = BTreeMap<String, Instrument>;

/// As in `[orders]`; what is absent is as there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Instrument {
    pub amount_max: Option<u64>,
    pub notional_max: Option<u64>,
    pub position_max: Option<u64>,
    pub price_band_bp: Option<u32>,
}

/// What the desk is told. Values are within their ranges.
#[must_use]
pub fn desk_limits(instruments: &Instruments) -> Vec<(Symbol, InstrumentLimits)> {
    let told = instruments.iter().filter_map(|(name, instrument)| {
        let name = Symbol::parse(name.as_bytes()).ok()?;
        let limits = InstrumentLimits {
            order_amount_max: instrument.amount_max.map(amount),
            order_notional_max: instrument.notional_max.map(money),
            position_max: instrument.position_max.map(amount),
            price_band_bp: instrument.price_band_bp,
        };
        Some((name, limits))
    });
    told.collect()
}

/// Whether every value is in its range; the first that is not.
pub(super) fn check(instruments: &Instruments) -> Result<(), RangeFault> {
    if instruments.len() > limits::INSTRUMENTS_MAX {
        let what = format!("has {} tables, expected at most {}", instruments.len(), limits::INSTRUMENTS_MAX);
        return Err(fault("instrument".to_owned(), what, "limits of all are in [orders]"));
    }
    for (name, instrument) in instruments {
        if Symbol::parse(name.as_bytes()).is_err() {
            let what = "is no instrument's name, expected 1 to 31 of A-Z a-z 0-9 _ - : /".to_owned();
            return Err(fault(format!("instrument.{name}"), what, "such as [instrument.BTC-PERPETUAL]"));
        }
        for range in ranges(instrument).into_iter().flatten() {
            let key = format!("instrument.{name}.{}", range.key);
            range.check().map_err(|fault| RangeFault { key: key.into(), ..fault })?;
        }
    }
    Ok(())
}

/// Those of the keys of `[orders]`.
fn ranges(instrument: &Instrument) -> [Option<Range>; 4] {
    let range = |key, value: Option<u64>, min, max, unit| {
        let hint = "without it that of [orders] holds";
        value.map(|value| Range { key, value, min, max, unit, hint })
    };
    let band_bp = instrument.price_band_bp.map(u64::from);
    [
        range("amount_max", instrument.amount_max, 1, WHOLE_UNITS_MAX, "units"),
        range("notional_max", instrument.notional_max, 0, WHOLE_UNITS_MAX, "units"),
        range("position_max", instrument.position_max, 1, WHOLE_UNITS_MAX, "units"),
        range("price_band_bp", band_bp, 0, PRICE_BAND_BP_MAX, "1/10000"),
    ]
}

fn fault(key: String, what: String, hint: &str) -> RangeFault {
    RangeFault { key: key.into(), nth: 0, what, hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::model::decimal::{Amount, UNIT};

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, "f.toml", &|_| None).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_is_absent_is_as_for_all() {
        let config = parse("[instrument.BTC-PERPETUAL]\namount_max = 5\nprice_band_bp = 0\n").unwrap();
        let name = Symbol::parse(b"BTC-PERPETUAL").unwrap();
        let limits = InstrumentLimits {
            order_amount_max: Some(Amount(5 * UNIT)),
            price_band_bp: Some(0),
            ..InstrumentLimits::default()
        };
        assert_eq!(desk_limits(&config.instrument), [(name, limits)]);
    }

    #[test]
    fn names_line_and_key_of_what_cannot_be() {
        for (text, expected) in [
            ("[instrument.A]\namount_max = 0\n", "f.toml:2: instrument.A.amount_max: is 0, expected 1 to "),
            ("[instrument.A]\nprice_band_bp = 10001\n", "f.toml:2: instrument.A.price_band_bp: is 10001, "),
            ("[instrument.A]\ntick = 1\n", "f.toml:2: instrument.A.tick: unknown field `tick`"),
            ("[instrument.\"A B\"]\n", "f.toml: instrument.A B: is no instrument's name"),
        ] {
            let failure = parse(text).unwrap_err();
            assert!(failure.starts_with(expected), "{failure}\nis not\n{expected}");
        }
    }
}
