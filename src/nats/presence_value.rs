//! Keys and values of the bucket that says who is present: JSON, which an operator can read by NATS's own tools. What is none ends in `None`.
//!
//! Home: the thread that speaks to NATS. Invariant: what is written is read as the same; nothing is believed of what others write.

use serde::{Deserialize, Serialize};

use crate::cluster::names::Fence;
use crate::limits;
use crate::model::message::Name;
use crate::model::presence::KeptPresence;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
/// A number of JSON is exact for everybody up to this.
const NUMBER_MAX: u64 = (1 << 53) - 1;
/// What keys of users begin with.
const OF_USER: &str = "present.";

/// The key that says who writes the others.
pub(super) const OWNER_KEY: &str = "owner";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserText<'a> {
    version: u32,
    #[serde(borrow)]
    user: &'a str,
    since_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnerText {
    version: u32,
    fence: u64,
}

/// The key of a user of whom presence is kept, so of letters that NATS takes in a key.
pub(super) fn key(user: &Name) -> String {
    format!("{OF_USER}{}", user.as_str())
}

pub(super) fn write(user: &Name, since_ms: u64) -> Vec<u8> {
    let text = UserText { version: VERSION, user: user.as_str(), since_ms };
    serde_json::to_vec(&text).expect("invariant: numbers and a name are JSON")
}

/// What a key says by its value.
pub(super) fn read(key: &str, value: &[u8]) -> Option<KeptPresence> {
    if value.len() > limits::PRESENCE_VALUE_BYTES_MAX {
        return None;
    }
    let text: UserText<'_> = serde_json::from_slice(value).ok()?;
    let user = Name::parse(text.user).filter(KeptPresence::is_kept_of)?;
    let is_sound = text.version == VERSION && text.since_ms <= NUMBER_MAX;
    let is_its_own = key.strip_prefix(OF_USER) == Some(user.as_str());
    (is_sound && is_its_own).then_some(KeptPresence { user, since_ms: Some(text.since_ms) })
}

pub(super) fn write_owner(fence: Fence) -> Vec<u8> {
    let text = OwnerText { version: VERSION, fence: fence.0 };
    serde_json::to_vec(&text).expect("invariant: numbers are JSON")
}

pub(super) fn read_owner(value: &[u8]) -> Option<Fence> {
    if value.len() > limits::PRESENCE_VALUE_BYTES_MAX {
        return None;
    }
    let text: OwnerText = serde_json::from_slice(value).ok()?;
    (text.version == VERSION && text.fence <= NUMBER_MAX).then_some(Fence(text.fence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_fits() {
        for user in ["a", "desk-7_B", &"n".repeat(64)] {
            let value = write(&name(user), NUMBER_MAX);
            assert!(value.len() <= limits::PRESENCE_VALUE_BYTES_MAX, "{} bytes", value.len());
            let kept = KeptPresence { user: name(user), since_ms: Some(NUMBER_MAX) };
            assert_eq!(read(&key(&name(user)), &value), Some(kept));
        }
        assert_eq!(read_owner(&write_owner(Fence(NUMBER_MAX))), Some(Fence(NUMBER_MAX)));
    }

    #[test]
    fn what_is_no_value_or_another_user_s_is_none() {
        let text = String::from_utf8(write(&name("ann"), 7)).unwrap();
        for (there, instead) in [
            ("\"version\":1", "\"version\":2"),
            ("\"ann\"", "\"bob\""),
            ("\"ann\"", "\"a.n\""),
            ("\"ann\"", "\"\""),
            (":7", ":9007199254740992"),
            (":7", ":-7"),
            ("\"since_ms\"", "\"since\""),
            ("}", ",\"more\":1}"),
        ] {
            assert!(text.contains(there), "{there}");
            assert_eq!(read("present.ann", text.replacen(there, instead, 1).as_bytes()), None, "{instead}");
        }
        assert_eq!(read("present.bob", text.as_bytes()), None);
        assert_eq!(read("owner", text.as_bytes()), None);
        assert_eq!(read("present.ann", b"\xff"), None);
        for end in 0..text.len() {
            assert_eq!(read("present.ann", &text.as_bytes()[..end]), None);
        }
        let long = format!("{text}{}", " ".repeat(limits::PRESENCE_VALUE_BYTES_MAX));
        assert_eq!(read("present.ann", long.as_bytes()), None);
        for owner in ["", "{}", "{\"version\":2,\"fence\":1}", "{\"version\":1,\"fence\":9007199254740992}"] {
            assert_eq!(read_owner(owner.as_bytes()), None);
        }
    }
}
