//! A profile: which stacks threads had when they were sampled, and the texts in which that is read. PURE.
//!
//! Home: the thread that takes it (`profiler.rs`). Invariants: nothing of it is an address in memory, only names and places in files,
//! so that it tells nobody where the process or the kernel was loaded; a frame is held once, however many stacks it is in.

mod flame_graph;
mod folded;
pub mod kernel_names;
pub mod mappings;
mod pprof;
pub mod record;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

pub use flame_graph::{SCRIPT, flame_graph};
pub use folded::folded;
pub use pprof::pprof;

/// What was sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub frames: Vec<Frame>,
    pub stacks: Vec<Stack>,
    pub threads: Vec<Thread>,
    /// Samples of a second of processor time.
    pub hz: u32,
    pub begun_unix_ns: u64,
    pub duration_ns: u64,
    pub kernel: KernelPart,
}

/// A function, or where one is not known what its code is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame {
    pub name: String,
    /// A source file, and a line of it.
    pub place: Option<(String, u32)>,
    pub origin: Origin,
}

/// Whose code it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Gateway,
    /// A crate, the standard library or a shared library.
    Library,
    Kernel,
}

/// One of the stacks of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Which of the threads.
    pub thread: usize,
    /// Which of the frames, the outermost first.
    pub frames: Vec<usize>,
    pub samples: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    pub name: String,
    pub tid: u32,
    /// Those that are in stacks.
    pub samples: u64,
    /// Those that the kernel had no room for, or that are one stack too many.
    pub lost: u64,
    /// Those whose stack could not be followed to the thread's beginning.
    pub cut: u64,
}

/// How much is seen of the time in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelPart {
    Named,
    /// It is there, but the names of its functions may not be read.
    Unnamed,
    /// It was not sampled.
    Hidden,
}

impl KernelPart {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            KernelPart::Named => "named",
            KernelPart::Unnamed => "unnamed",
            KernelPart::Hidden => "hidden",
        }
    }
}

impl Profile {
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.threads.iter().map(|thread| thread.samples).sum()
    }

    #[must_use]
    pub fn lost(&self) -> u64 {
        self.threads.iter().map(|thread| thread.lost).sum()
    }

    #[must_use]
    pub fn cut(&self) -> u64 {
        self.threads.iter().map(|thread| thread.cut).sum()
    }

    /// Names of a stack, that of its thread first.
    fn names<'p>(&'p self, stack: &'p Stack) -> impl Iterator<Item = (&'p str, Origin)> {
        let thread = (self.threads[stack.thread].name.as_str(), Origin::Library);
        let frames = stack.frames.iter().map(|frame| &self.frames[*frame]);
        std::iter::once(thread).chain(frames.map(|frame| (frame.name.as_str(), frame.origin)))
    }
}

/// Frames, each held once.
#[derive(Debug, Default)]
pub struct Frames {
    numbers: BTreeMap<Frame, usize>,
}

impl Frames {
    /// Its number.
    pub fn number(&mut self, frame: Frame) -> usize {
        let next = self.numbers.len();
        match self.numbers.entry(frame) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => *place.insert(next),
        }
    }

    /// All of them by their numbers.
    #[must_use]
    pub fn into_vec(self) -> Vec<Frame> {
        let mut numbered: Vec<(usize, Frame)> =
            self.numbers.into_iter().map(|(frame, number)| (number, frame)).collect();
        numbered.sort_by_key(|(number, _)| *number);
        numbered.into_iter().map(|(_, frame)| frame).collect()
    }
}

#[cfg(test)]
mod tests;
