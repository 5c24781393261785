//! A connection that somebody made to the gateway and that has not said yet which link it is. PURE.
//! Home: the venue's thread.
//!
//! Invariant: it costs no link anything: the link that it names is touched only once the hello is whole and its key is right.

use std::cmp::Reverse;
use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::message::{Hello, Message, is_spoken};
use super::wire::{Cut, check_heartbeat, kind};
use super::{codec, codec::Form};
use crate::limits;
use crate::model::time::Now;

/// See the file's head.
#[derive(Debug)]
pub struct Greeting {
    bytes: Vec<u8>,
    /// When it is given up, on the monotonic clock, in nanoseconds.
    pub deadline_ns: u64,
}

impl Greeting {
    #[must_use]
    pub fn new(now: Now) -> Greeting {
        Greeting { bytes: Vec::new(), deadline_ns: now.mono_ns + limits::LINK_GREETING_NS }
    }

    /// The hello, once it is whole.
    ///
    /// # Errors
    /// It begins with something else, or has no end.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Hello>, Cut> {
        self.bytes.extend_from_slice(bytes);
        let Some(first) = self.bytes.first() else { return Ok(None) };
        let (form, preamble) = Form::of(*first).map_err(Cut::Fault)?;
        match codec::decode(form, &self.bytes[preamble..], &mut Vec::new()).map_err(Cut::Fault)? {
            Some((Message::Hello(hello), _)) => Ok(Some(hello)),
            Some((message, _)) => Err(Cut::Unexpected(kind(&message))),
            None if self.bytes.len() > limits::LINK_HELLO_BYTES_MAX => Err(Cut::Fault(codec::Fault::TooLong)),
            None => Ok(None),
        }
    }

    /// All that has come, for the link that it is.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What is said to who is no link of ours, in the form that it spoke.
    #[must_use]
    pub fn reject(&self, why: &Cut) -> Vec<u8> {
        let form =
            self.bytes.first().and_then(|first| Form::of(*first).ok()).map_or(Form::Json, |(form, _)| form);
        let mut out = Vec::new();
        codec::encode(form, &Message::Reject { reason: why.to_string().into() }, &[], &mut out);
        out
    }
}

/// What it says besides its name.
///
/// # Errors
/// It can't be welcomed.
pub fn check(hello: &Hello) -> Result<(), Cut> {
    if !is_spoken(hello.version) {
        return Err(Cut::Version(hello.version));
    }
    check_heartbeat(hello.heartbeat_ms).map(drop)
}

/// Whether the hello is of the link that has this name and key.
#[must_use]
pub fn is_of(hello: &Hello, name: &str, key: &str) -> bool {
    let is_key = verify_slices_are_equal(hello.key.as_bytes(), key.as_bytes()).is_ok();
    &*hello.venue == name && is_key
}

/// Which of those that wait, by whence and until when, has to go for another: the one that has waited longest of whoever has the
/// most, so that one host's connections cost another host nothing.
#[must_use]
pub fn first_to_go(waiting: &[(Option<IpAddr>, u64)]) -> Option<usize> {
    let share = |from| waiting.iter().filter(|(of, _)| *of == from).count();
    (0..waiting.len()).max_by_key(|at| (share(waiting[*at].0), Reverse(waiting[*at].1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = concat!(
        r#"{"type":"hello","version":1,"venue":"fx","key":"s3cret","session":"a","peer":"","next":1,"#,
        r#""heartbeat_ms":1000}"#,
        "\n"
    );

    fn greeting() -> Greeting {
        Greeting::new(Now { mono_ns: 7, unix_ns: 0 })
    }

    #[test]
    fn a_hello_that_comes_byte_by_byte_is_told_once_it_is_whole() {
        let mut greeting = greeting();
        let (last, before) = HELLO.as_bytes().split_last().unwrap();
        for byte in before {
            assert_eq!(greeting.take(&[*byte]), Ok(None));
        }
        let hello = greeting.take(&[*last]).unwrap().unwrap();
        assert!(is_of(&hello, "fx", "s3cret"));
        assert!(!is_of(&hello, "fx", "s3cre") && !is_of(&hello, "fx.2", "s3cret"));
        assert_eq!(greeting.into_bytes(), HELLO.as_bytes());
    }

    #[test]
    fn a_hello_that_cannot_be_welcomed_is_refused_before_it_costs_a_link_its_connection() {
        let hello = greeting().take(HELLO.as_bytes()).unwrap().unwrap();
        assert_eq!(check(&hello), Ok(()));
        assert_eq!(check(&Hello { version: 2, ..hello.clone() }), Ok(()));
        for version in [0, 3] {
            assert_eq!(check(&Hello { version, ..hello.clone() }), Err(Cut::Version(version)));
        }
        assert_eq!(check(&Hello { heartbeat_ms: 9, ..hello }), Err(Cut::Heartbeat(9)));
    }

    #[test]
    fn what_follows_the_hello_is_kept_for_the_link() {
        let mut greeting = greeting();
        let text = [HELLO, "{\"type\":"].concat();
        assert!(greeting.take(text.as_bytes()).unwrap().is_some());
        assert_eq!(greeting.into_bytes(), text.as_bytes());
    }

    #[test]
    fn refuses_what_is_no_hello() {
        let heartbeat = "{\"type\":\"heartbeat\",\"next\":1}\n";
        assert_eq!(greeting().take(heartbeat.as_bytes()), Err(Cut::Unexpected("heartbeat")));
        assert_eq!(greeting().take(b"GET / HTTP/1.1\r\n"), Err(Cut::Fault(codec::Fault::NeitherForm(b'G'))));
        let endless = format!("{{\"type\":\"hello\",\"key\":\"{}", "x".repeat(limits::LINK_HELLO_BYTES_MAX));
        assert_eq!(greeting().take(endless.as_bytes()), Err(Cut::Fault(codec::Fault::TooLong)));
    }

    #[test]
    fn a_rejection_is_in_the_form_of_who_is_rejected() {
        let mut json = greeting();
        json.take(b"{").unwrap();
        assert!(json.reject(&Cut::Credentials).starts_with(b"{\"type\":\"reject\""));
        let mut binary = greeting();
        binary.take(&[1]).unwrap();
        assert_eq!(binary.reject(&Cut::Credentials)[4], 0x03);
    }

    #[test]
    fn the_oldest_of_the_host_with_the_most_goes_first() {
        let [one, other] = [1, 2].map(|last| Some(IpAddr::from([10, 0, 0, last])));
        assert_eq!(first_to_go(&[(one, 3), (other, 9), (other, 5), (other, 7)]), Some(2));
        assert_eq!(first_to_go(&[(one, 3), (other, 2)]), Some(1));
        assert_eq!(first_to_go(&[]), None);
    }
}
