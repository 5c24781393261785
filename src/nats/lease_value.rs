//! The lease's value as text: JSON, which an operator can read by NATS's own tools. Bytes that are no value end in `None`.
//!
//! Home: the thread that speaks to NATS. Invariant: what is written is read as the same value; nothing is believed of what others write.

use serde::{Deserialize, Serialize};

use crate::cluster::lease::LeaseValue;
use crate::cluster::names::{ClusterName, Fence};
use crate::limits;
use crate::model::ids::Epoch;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
/// Epochs and revisions stay where a number of JSON is exact for everybody.
const NUMBER_MAX: u64 = (1 << 53) - 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text<'a> {
    version: u32,
    #[serde(borrow)]
    holder: &'a str,
    incarnation: u64,
    write: u64,
    fence: Option<u64>,
    epochs_end: u64,
    is_released: bool,
    is_halted: bool,
}

pub(super) fn write(value: &LeaseValue) -> Vec<u8> {
    let text = Text {
        version: VERSION,
        holder: value.holder.as_str(),
        incarnation: value.incarnation,
        write: value.write,
        fence: value.fence.map(|fence| fence.0),
        epochs_end: value.epochs_end.0,
        is_released: value.is_released,
        is_halted: value.is_halted,
    };
    serde_json::to_vec(&text).expect("invariant: numbers, a flag and a name are JSON")
}

pub(super) fn read(bytes: &[u8]) -> Option<LeaseValue> {
    if bytes.len() > limits::NATS_LEASE_BYTES_MAX {
        return None;
    }
    let text: Text<'_> = serde_json::from_slice(bytes).ok()?;
    let are_numbers_small = [text.epochs_end, text.fence.unwrap_or(0)].iter().all(|n| *n <= NUMBER_MAX);
    if text.version != VERSION || !are_numbers_small {
        return None;
    }
    Some(LeaseValue {
        holder: ClusterName::parse(text.holder.as_bytes())?,
        incarnation: text.incarnation,
        write: text.write,
        fence: text.fence.map(Fence),
        epochs_end: Epoch(text.epochs_end),
        is_released: text.is_released,
        is_halted: text.is_halted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> LeaseValue {
        LeaseValue {
            holder: ClusterName::parse(&[b'n'; 32]).unwrap(),
            incarnation: u64::MAX,
            write: u64::MAX,
            fence: Some(Fence(NUMBER_MAX)),
            epochs_end: Epoch(NUMBER_MAX),
            is_released: false,
            is_halted: false,
        }
    }

    #[test]
    fn what_is_written_is_read_and_fits() {
        for value in [value(), LeaseValue { fence: None, is_released: true, is_halted: true, ..value() }] {
            let text = write(&value);
            assert!(text.len() <= limits::NATS_LEASE_BYTES_MAX, "{} bytes", text.len());
            assert_eq!(read(&text), Some(value));
        }
    }

    #[test]
    fn what_is_no_value_is_none() {
        let text = String::from_utf8(write(&value())).unwrap();
        for (there, instead) in [
            ("\"version\":1", "\"version\":2"),
            ("\"holder\":\"nn", "\"holder\":\"n."),
            ("9007199254740991", "9007199254740992"),
            ("\"write\":18446744073709551615", "\"write\":18446744073709551616"),
            ("\"is_released\":false", "\"is_released\":0"),
            ("\"is_released\"", "\"is_done\""),
            ("}", ",\"more\":1}"),
            ("{", "[{"),
        ] {
            assert!(text.contains(there), "{there}");
            assert_eq!(read(text.replacen(there, instead, 1).as_bytes()), None, "{instead}");
        }
        assert_eq!(read(b""), None);
        assert_eq!(read(b"\xff"), None);
        assert_eq!(read(format!("{text}{}", " ".repeat(limits::NATS_LEASE_BYTES_MAX)).as_bytes()), None);
    }

    #[test]
    fn a_value_that_is_cut_off_anywhere_is_none() {
        let text = write(&value());
        for end in 0..text.len() {
            assert_eq!(read(&text[..end]), None);
        }
    }
}
