//! What has to hold of all that readers hear, on whichever node: in sequence within an epoch, without a hole or a repetition unless a
//! snapshot tells of one; epochs that rise; and the same bytes at each place, whoever tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::DEADLINE;
use crate::readers::{CHANNEL, Heard, What};

/// Judges as it hears.
pub(crate) struct Oracle {
    told: Sender<Heard>,
    heard: Receiver<Heard>,
    readers: BTreeMap<usize, Place>,
    /// What was told at each place, but for snapshots, which each node makes of its replica.
    events: BTreeMap<(u64, u64), String>,
    pub(crate) counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Epoch and seq of the newest note.
    at: Option<(u64, u64)>,
    node: usize,
    /// Whether the next note is to be that behind `at`, since the reply said so.
    is_recovered: bool,
    /// Whether the next note is the first on its connection.
    is_new: bool,
    notes: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) notes: u64,
    pub(crate) snapshots: u64,
    pub(crate) joins: u64,
    pub(crate) recovered: u64,
    /// Places that more than one reader was told of: those at which nodes were compared.
    pub(crate) compared: u64,
    pub(crate) epochs: BTreeSet<u64>,
}

impl Oracle {
    pub(crate) fn new() -> Oracle {
        let (told, heard) = mpsc::channel();
        Oracle { told, heard, readers: BTreeMap::new(), events: BTreeMap::new(), counts: Counts::default() }
    }

    /// Where readers say what they hear.
    pub(crate) fn ear(&self) -> Sender<Heard> {
        self.told.clone()
    }

    /// Hears on until this is so.
    pub(crate) fn until(&mut self, what: &str, is_so: impl FnMut(&Oracle) -> bool) {
        self.until_within(DEADLINE, what, is_so);
    }

    /// The same for what has to be sooner, since later it might be so for another reason.
    #[expect(
        clippy::disallowed_methods,
        reason = "a wait has an end, by which nothing but its failure is judged"
    )]
    pub(crate) fn until_within(
        &mut self,
        deadline: Duration,
        what: &str,
        mut is_so: impl FnMut(&Oracle) -> bool,
    ) {
        let began = Instant::now();
        while !is_so(self) {
            let left = deadline.saturating_sub(began.elapsed());
            assert!(left > Duration::ZERO, "this has not happened: {what}; {:?}", self.readers);
            if let Ok(heard) = self.heard.recv_timeout(left) {
                self.judge(heard);
            }
        }
    }

    /// Hears on for so long, whatever comes: the length of a fault.
    pub(crate) fn listen_for(&mut self, time: Duration) {
        let (_silent, nobody) = mpsc::channel::<()>();
        assert_eq!(nobody.recv_timeout(time), Err(RecvTimeoutError::Timeout));
        self.catch_up();
    }

    /// Hears what has come by now.
    pub(crate) fn catch_up(&mut self) {
        while let Ok(heard) = self.heard.try_recv() {
            self.judge(heard);
        }
    }

    /// Hears on until each of these readers was told so many more.
    pub(crate) fn until_told(&mut self, readers: &[usize], more: u64) {
        self.catch_up();
        let wanted: Vec<(usize, u64)> =
            readers.iter().map(|reader| (*reader, self.notes_of(*reader) + more)).collect();
        self.until("each is told on", |oracle| {
            wanted.iter().all(|(reader, count)| oracle.notes_of(*reader) >= *count)
        });
    }

    /// Hears on until each of these readers is in an epoch beyond this one.
    pub(crate) fn until_beyond(&mut self, epoch: u64, readers: &[usize]) {
        self.until("each is in a later epoch", |oracle| oracle.are_beyond(epoch, readers));
    }

    /// Whether each of these readers is in an epoch beyond this one.
    pub(crate) fn are_beyond(&self, epoch: u64, readers: &[usize]) -> bool {
        readers.iter().all(|reader| self.epoch_of(*reader).is_some_and(|of| of > epoch))
    }

    pub(crate) fn epoch_of(&self, reader: usize) -> Option<u64> {
        self.readers.get(&reader)?.at.map(|(epoch, _)| epoch)
    }

    pub(crate) fn notes_of(&self, reader: usize) -> u64 {
        self.readers.get(&reader).map_or(0, |place| place.notes)
    }

    pub(crate) fn node_of(&self, reader: usize) -> Option<usize> {
        self.readers.get(&reader).map(|place| place.node)
    }

    fn judge(&mut self, Heard { reader, what }: Heard) {
        let place = self.readers.entry(reader).or_default();
        match what {
            What::Joined { node, recovered } => {
                self.counts.joins += 1;
                self.counts.recovered += u64::from(recovered);
                *place = Place { node, is_recovered: recovered, is_new: true, ..*place };
            }
            What::Note { node, text, note } => {
                let is_snapshot = judge_place(place, &note, &text);
                assert_eq!(node, place.node);
                self.counts.notes += 1;
                let at = place.at.expect("invariant: it was judged");
                self.counts.epochs.insert(at.0);
                if is_snapshot {
                    self.counts.snapshots += 1;
                    return;
                }
                if let Some(told) = self.events.get(&at) {
                    assert_eq!(*told, text, "reader {reader} at node {node}, place {at:?}");
                    self.counts.compared += 1;
                } else {
                    self.events.insert(at, text);
                }
            }
        }
    }
}

/// Judges one note by what its reader was told before, and says whether it is a snapshot.
fn judge_place(place: &mut Place, note: &Value, text: &str) -> bool {
    assert_eq!(note["channel"], CHANNEL, "{text}");
    let number = |key: &str| note[key].as_u64().unwrap_or_else(|| panic!("{text}"));
    let (epoch, seq) = (number("epoch"), number("seq"));
    let is_snapshot = note["data"]["type"] == "snapshot";
    if let Some((of, at)) = place.at {
        assert!(epoch >= of, "an epoch that was over is back, after {:?}: {text}", place.at);
        let is_next = epoch == of && seq == at + 1 && !is_snapshot;
        if place.is_recovered {
            assert!(is_next || epoch > of, "what was missed does not follow, after {:?}: {text}", place.at);
        }
        // A snapshot is how the book is at a place that is told already, or tells of a hole.
        let is_told_anew = is_snapshot && (epoch > of || seq >= at);
        assert!(is_next || is_told_anew, "neither the next nor a snapshot, after {:?}: {text}", place.at);
    } else {
        assert!(is_snapshot, "the first is a snapshot: {text}");
    }
    assert!(!place.is_new || place.is_recovered || is_snapshot, "a book begins by a snapshot: {text}");
    *place = Place {
        at: Some((epoch, seq)),
        is_recovered: false,
        is_new: false,
        notes: place.notes + 1,
        ..*place
    };
    is_snapshot
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn note(epoch: u64, seq: u64, kind: &str) -> What {
        let note = json!({"channel": CHANNEL, "epoch": epoch, "seq": seq, "data": {"type": kind}});
        What::Note { node: 0, text: note.to_string(), note }
    }

    /// Whether the oracle lets this through, told to one reader.
    fn is_let_through(told: Vec<What>) -> bool {
        let judged = std::thread::spawn(move || {
            let mut oracle = Oracle::new();
            told.into_iter().for_each(|what| oracle.judge(Heard { reader: 1, what }));
        });
        judged.join().is_ok()
    }

    fn joined(recovered: bool) -> What {
        What::Joined { node: 0, recovered }
    }

    #[test]
    fn what_is_told_in_order_is_let_through() {
        let (change, snapshot) = ("change", "snapshot");
        assert!(is_let_through(vec![
            joined(false),
            note(5, 3, snapshot),
            note(5, 4, change),
            joined(true),
            note(5, 5, change),
            note(5, 9, snapshot),
            note(5, 10, change),
            note(7, 1, snapshot),
            note(7, 2, change),
        ]));
    }

    #[test]
    fn holes_repetitions_and_old_epochs_are_not() {
        let (change, snapshot) = ("change", "snapshot");
        let begun = || vec![joined(false), note(5, 3, snapshot), note(5, 4, change)];
        for wrong in [
            vec![note(5, 6, change)],
            vec![note(5, 4, change)],
            vec![note(5, 3, snapshot)],
            vec![note(4, 9, snapshot)],
            vec![note(6, 1, change)],
            vec![joined(true), note(5, 6, change)],
            vec![joined(true), note(5, 6, snapshot)],
            vec![joined(false), note(5, 5, change)],
        ] {
            let said = format!("{wrong:?}");
            assert!(!is_let_through(begun().into_iter().chain(wrong).collect()), "{said}");
        }
    }

    #[test]
    fn nodes_that_tell_different_things_at_one_place_are_not() {
        let other = |what: What| match what {
            What::Note { node, text, note } => What::Note { node, text: text + " ", note },
            joined @ What::Joined { .. } => joined,
        };
        let judged = std::thread::spawn(move || {
            let mut oracle = Oracle::new();
            for (reader, what) in [
                (1, joined(false)),
                (1, note(5, 3, "snapshot")),
                (1, note(5, 4, "change")),
                (2, joined(false)),
                (2, note(5, 3, "snapshot")),
                (2, other(note(5, 4, "change"))),
            ] {
                oracle.judge(Heard { reader, what });
            }
        });
        assert!(judged.join().is_err());
    }
}
