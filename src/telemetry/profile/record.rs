//! A sample as the kernel writes it: perf_event_open(2), `PERF_RECORD_SAMPLE` and `PERF_RECORD_LOST`. PURE.
//!
//! Invariant: what is asked for is call chain, registers and stack of the user's side, in this order, and nothing else.

/// Kinds of records that are looked at.
pub const LOST: u32 = 2;
pub const SAMPLE: u32 = 9;

/// Registers by which a stack is followed, by the kernel's numbers: base, stack and instruction pointer.
#[cfg(not(target_arch = "aarch64"))]
pub const REGISTERS_MASK: u64 = 1 << 6 | 1 << 7 | 1 << 8;
/// Frame pointer, link register, stack pointer and program counter.
#[cfg(target_arch = "aarch64")]
pub const REGISTERS_MASK: u64 = 1 << 29 | 1 << 30 | 1 << 31 | 1 << 32;
pub const REGISTERS: usize = REGISTERS_MASK.count_ones() as usize;

/// Values from here on are marks between the parts of a chain, not addresses.
const MARKS_FROM: u64 = u64::MAX - 4094;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'b> {
    chain: &'b [u8],
    /// Ascending by their numbers; none for what has no user's side.
    pub registers: Option<[u64; REGISTERS]>,
    /// From the stack pointer on.
    pub stack: &'b [u8],
}

impl<'b> Sample<'b> {
    /// Reads a record behind its header; none if it is not whole.
    #[must_use]
    pub fn read(mut bytes: &'b [u8]) -> Option<Sample<'b>> {
        let links = usize::try_from(word(&mut bytes)?).ok()?;
        let chain = part(&mut bytes, links.checked_mul(8)?)?;
        let has_registers = word(&mut bytes)? != 0;
        let mut registers = None;
        if has_registers {
            let mut values = [0; REGISTERS];
            for value in &mut values {
                *value = word(&mut bytes)?;
            }
            registers = Some(values);
        }
        let room = usize::try_from(word(&mut bytes)?).ok()?;
        let mut stack: &[u8] = &[];
        if room > 0 {
            let whole = part(&mut bytes, room)?;
            // How much of it was written.
            let written = usize::try_from(word(&mut bytes)?).ok()?;
            stack = whole.get(..written)?;
        }
        Some(Sample { chain, registers, stack })
    }

    /// Addresses in the kernel, the innermost first.
    pub fn kernel(&self) -> impl Iterator<Item = u64> + use<'b> {
        self.chain
            .chunks_exact(8)
            .filter_map(|mut bytes| word(&mut bytes))
            .filter(|address| *address < MARKS_FROM)
    }
}

/// How many samples a record of those that were lost tells of.
#[must_use]
pub fn lost(mut bytes: &[u8]) -> Option<u64> {
    let _event = word(&mut bytes)?;
    word(&mut bytes)
}

fn word(bytes: &mut &[u8]) -> Option<u64> {
    let (word, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_ne_bytes(*word))
}

fn part<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (part, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(part)
}
