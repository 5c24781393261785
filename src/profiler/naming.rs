//! Names for addresses: functions of ours with those that were inlined, of libraries, and of the kernel. Home: the profile's thread.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;

use addr2line::gimli::Reader;
use addr2line::{FunctionName, Loader};

use crate::telemetry::profile::kernel_names::KernelNames;
use crate::telemetry::profile::{Frame, Frames, KernelPart, Origin, Profile, Stack};

use super::Gathered;
use super::code::{Code, Part};

/// The kernel's addresses have their first bit set.
const KERNEL_FROM: u64 = 1 << 63;
/// What is read of the list of the kernel's functions.
const KERNEL_TEXT_BYTES_MAX: u64 = 64 << 20;

/// The profile of what was gathered.
pub(super) fn named(gathered: Gathered, code: &Code, hz: u32) -> Profile {
    let addresses: BTreeSet<u64> =
        gathered.stacks.keys().flat_map(|(_, frames)| frames.iter().copied()).collect();
    let has_kernel = addresses.iter().any(|address| *address >= KERNEL_FROM);
    let text = if has_kernel { kernel_text() } else { String::new() };
    let kernel = KernelNames::read(&text);
    let mut frames = Frames::default();
    let mut files = Files::default();
    let numbers: BTreeMap<u64, Vec<usize>> = addresses
        .into_iter()
        .map(|address| {
            let named = match code.part(address) {
                Some((number, part)) => files.frames(number, part, address.wrapping_sub(part.bias)),
                None if address >= KERNEL_FROM => vec![kernel_frame(kernel.as_ref(), address)],
                None => vec![plain("[unknown]", Origin::Library)],
            };
            (address, named.into_iter().map(|frame| frames.number(frame)).collect())
        })
        .collect();
    let mut stacks: Vec<Stack> = gathered
        .stacks
        .into_iter()
        .map(|((thread, addresses), samples)| {
            let frames = addresses.iter().rev().flat_map(|address| numbers[address].iter().copied());
            Stack { thread, frames: frames.collect(), samples }
        })
        .collect();
    stacks.sort_by(|a, b| (a.thread, &a.frames).cmp(&(b.thread, &b.frames)));
    Profile {
        frames: frames.into_vec(),
        stacks,
        threads: gathered.threads,
        hz,
        begun_unix_ns: gathered.begun_unix_ns,
        duration_ns: gathered.duration_ns,
        kernel: match (gathered.has_kernel, has_kernel && kernel.is_none()) {
            (false, _) => KernelPart::Hidden,
            (true, true) => KernelPart::Unnamed,
            (true, false) => KernelPart::Named,
        },
    }
}

/// What names are read from, each opened once.
#[derive(Default)]
struct Files {
    loaders: BTreeMap<usize, Option<Loader>>,
}

impl Files {
    /// The function that has the instruction at an address of a file, and those inlined there, the outermost first.
    fn frames(&mut self, number: usize, part: &Part, address: u64) -> Vec<Frame> {
        let open = || Loader::new(part.path.as_ref()?).ok();
        let Some(loader) = self.loaders.entry(number).or_insert_with(open) else {
            return vec![plain(&format!("[{}]", part.name), Origin::Library)];
        };
        let mut frames = inlined(loader, address);
        // Line tables have a function's name alone, the table of symbols has its whole path.
        let symbol =
            loader.find_symbol(address).map(|name| addr2line::demangle_auto(name.into(), None).into_owned());
        match (frames.last_mut(), symbol) {
            (Some(outermost), Some(symbol)) => {
                outermost.origin = origin(&symbol);
                outermost.name = symbol;
            }
            (None, Some(symbol)) => frames.push(plain(&symbol, origin(&symbol))),
            (None, None) => frames.push(plain(&format!("[{}]", part.name), Origin::Library)),
            (Some(_), None) => {}
        }
        frames.reverse();
        frames
    }
}

/// The innermost first; none without debugging information.
fn inlined(loader: &Loader, address: u64) -> Vec<Frame> {
    let mut frames = Vec::new();
    let Ok(mut found) = loader.find_frames(address) else { return frames };
    while let Ok(Some(frame)) = found.next() {
        let place =
            frame.location.and_then(|location| Some((location.file?.to_owned(), location.line.unwrap_or(0))));
        // A place alone, where there is no function, tells less than a symbol.
        let Some(name) = frame.function.as_ref().and_then(name) else { continue };
        let origin = match &place {
            Some((file, _)) if !name.contains("::") => origin_of_file(file),
            Some(_) | None => origin(&name),
        };
        frames.push(Frame { name, place, origin });
    }
    frames
}

/// As it is in the source, without what generic parameters stand for: that alone would fill a line.
fn name<R: Reader>(function: &FunctionName<R>) -> Option<String> {
    let raw = function.raw_name().ok()?;
    if raw.starts_with("_R") || raw.starts_with("_ZN") {
        return function.demangle().ok().map(Cow::into_owned);
    }
    let end = raw.find('<').filter(|end| *end > 0).unwrap_or(raw.len());
    Some(raw[..end].to_owned())
}

fn origin(name: &str) -> Origin {
    let path = name.trim_start_matches(['<', '&', '[', '(']);
    if path.starts_with("tickring::") { Origin::Gateway } else { Origin::Library }
}

/// Of a function whose name is without its path: crates and the standard library are built elsewhere.
fn origin_of_file(file: &str) -> Origin {
    let is_elsewhere = ["/registry/src/", "/rustc/", "/rustlib/", "/rust/deps/", "/vendor/"]
        .iter()
        .any(|part| file.contains(part));
    if is_elsewhere { Origin::Library } else { Origin::Gateway }
}

fn kernel_frame(names: Option<&KernelNames<'_>>, address: u64) -> Frame {
    plain(names.and_then(|names| names.find(address)).unwrap_or("[kernel]"), Origin::Kernel)
}

fn plain(name: &str, origin: Origin) -> Frame {
    Frame { name: name.to_owned(), place: None, origin }
}

/// The kernel's list of its functions; nothing where we may not read it.
fn kernel_text() -> String {
    let mut text = String::new();
    if let Ok(file) = File::open("/proc/kallsyms") {
        // What can't be read is not there.
        let _ = file.take(KERNEL_TEXT_BYTES_MAX).read_to_string(&mut text);
    }
    text
}
