//! Names of clusters and nodes, places of nodes that follow an owner, sets of these, and the subjects that reach a set. PURE.
//!
//! Invariant: a name is one token of a NATS subject: it has neither a separator nor a wildcard.

use std::fmt;

use crate::limits;

/// Bytes of a name at most.
pub const NAME_BYTES_MAX: usize = 32;

/// Of a cluster or a node: 1 to 32 of `A-Z a-z 0-9 _ -`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterName {
    bytes: [u8; NAME_BYTES_MAX],
    len: u8,
}

impl ClusterName {
    /// `None` for what is no name.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<ClusterName> {
        let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.iter().all(is_legal) {
            return None;
        }
        let mut bytes = [0; NAME_BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Some(ClusterName { bytes, len: u8::try_from(text.len()).ok()? })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = &self.bytes[..usize::from(self.len)];
        std::str::from_utf8(bytes).expect("invariant: `parse` makes names of ASCII alone")
    }
}

impl fmt::Debug for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who has owned the market since when: the revision of the lease at its taking. A later owner's is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// A node that follows the owner, as the owner has numbered it: below `limits::CLUSTER_FOLLOWERS_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(u8);

impl Place {
    /// `None` where there is no such place.
    #[must_use]
    pub const fn new(number: u8) -> Option<Place> {
        if (number as usize) < limits::CLUSTER_FOLLOWERS_MAX { Some(Place(number)) } else { None }
    }

    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Nodes that follow, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Places(pub u16);

const _: () = assert!(limits::CLUSTER_FOLLOWERS_MAX <= u16::BITS as usize);

impl Places {
    pub const NONE: Places = Places(0);

    #[must_use]
    pub const fn contains(self, place: Place) -> bool {
        self.0 >> place.0 & 1 == 1
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn insert(&mut self, place: Place) {
        self.0 |= 1 << place.0;
    }

    pub const fn remove(&mut self, place: Place) {
        self.0 &= !(1 << place.0);
    }

    /// The members in ascending order.
    pub fn iter(self) -> impl Iterator<Item = Place> {
        (0..).take(limits::CLUSTER_FOLLOWERS_MAX).map(Place).filter(move |place| self.contains(*place))
    }
}

/// Where what is for a set of nodes is published: a token for each place, `1` where it is for the node there.
#[must_use]
pub fn subject_of(cluster: &ClusterName, audience: Places) -> String {
    subject(cluster, |place| if audience.contains(place) { "1" } else { "0" })
}

/// What the node at a place subscribes to: all that is for it, whoever else it is for.
#[must_use]
pub fn subscription_of(cluster: &ClusterName, node: Place) -> String {
    subject(cluster, |place| if place == node { "1" } else { "*" })
}

fn subject(cluster: &ClusterName, token: impl Fn(Place) -> &'static str) -> String {
    let mut subject = format!("tickring.{cluster}.market");
    for place in Places(u16::MAX).iter() {
        subject.push('.');
        subject.push_str(token(place));
    }
    subject
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As NATS matches a subject that has no `>`.
    fn reaches(subject: &str, subscription: &str) -> bool {
        let (subject, subscription): (Vec<_>, Vec<_>) =
            (subject.split('.').collect(), subscription.split('.').collect());
        subject.len() == subscription.len()
            && subject.iter().zip(&subscription).all(|(said, asked)| *asked == "*" || said == asked)
    }

    #[test]
    fn a_subject_reaches_exactly_the_nodes_of_its_audience() {
        let cluster = ClusterName::parse(b"prod").unwrap();
        for bits in [0, 1, 2, 3, 0x8000, 0x5555, u16::MAX] {
            let subject = subject_of(&cluster, Places(bits));
            for place in Places(u16::MAX).iter() {
                let reached = reaches(&subject, &subscription_of(&cluster, place));
                assert_eq!(reached, Places(bits).contains(place), "{subject} {place:?}");
            }
        }
    }

    #[test]
    fn clusters_of_other_names_hear_nothing_of_each_other() {
        let (a, b) = (ClusterName::parse(b"a").unwrap(), ClusterName::parse(b"b").unwrap());
        let place = Place::new(0).unwrap();
        assert!(!reaches(&subject_of(&a, Places(1)), &subscription_of(&b, place)));
    }

    #[test]
    fn a_name_is_one_token_of_a_subject() {
        assert_eq!(ClusterName::parse(b"eu-west_1").unwrap().as_str(), "eu-west_1");
        for no_name in [&b""[..], b"a.b", b"*", b">", b"a b", b"\xff", &[b'a'; 33]] {
            assert_eq!(ClusterName::parse(no_name), None);
        }
        assert!(ClusterName::parse(&[b'a'; 32]).is_some());
    }

    #[test]
    fn there_are_as_many_places_as_nodes_may_follow() {
        assert!(Place::new(15).is_some() && Place::new(16).is_none());
        let mut places = Places::NONE;
        places.insert(Place(3));
        places.insert(Place(15));
        assert_eq!(places.iter().map(Place::index).collect::<Vec<_>>(), [3, 15]);
        places.remove(Place(3));
        assert_eq!(places, Places(0x8000));
    }
}
