//! Code that is mapped, and how its stacks are followed: by tables that compilers write for exceptions (`.eh_frame`), which need
//! neither frame pointers nor a special build. Home: the profile's thread.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use framehop::UnwindRegsNative;
use framehop::{
    CacheNative, ExplicitModuleSectionInfo, MayAllocateDuringUnwind, Module, Unwinder, UnwinderNative,
};
use object::read::ReadRef;
use object::{Object, ObjectSection, ObjectSegment, ReadCache};

use crate::limits;
use crate::telemetry::profile::mappings::{self, Mapping};
use crate::telemetry::profile::record::REGISTERS;

/// What is the kernel's own but lies in our memory: the clock.
const VDSO: &str = "[vdso]";
/// Of which nobody has more than two pages.
const VDSO_BYTES_MAX: u64 = 64 << 10;
/// The smallest pages there are.
const PAGE_MASK: u64 = 0xfff;

/// What of a file is mapped where.
#[derive(Debug)]
pub(super) struct Part {
    pub start: u64,
    pub end: u64,
    /// What is added to an address of the file.
    pub bias: u64,
    /// For people.
    pub name: String,
    /// None where it is in no file.
    pub path: Option<PathBuf>,
}

pub(super) struct Code {
    /// By address.
    parts: Vec<Part>,
    unwinder: UnwinderNative<Vec<u8>, MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
}

impl Code {
    /// Reads what is mapped now.
    ///
    /// # Errors
    /// It can't be read.
    pub(super) fn of_this_process() -> io::Result<Code> {
        let text = fs::read_to_string("/proc/self/maps")?;
        let program = fs::read_link("/proc/self/exe")?;
        let mut code = Code { parts: Vec::new(), unwinder: UnwinderNative::new(), cache: CacheNative::new() };
        for mapping in mappings::executable(&text) {
            // A file that has no tables, or is gone, has no stacks; its name is told.
            if let Err(error) = code.add(&mapping, &program) {
                log::debug!("profile: {}: {error}", mapping.name);
            }
        }
        Ok(code)
    }

    fn add(&mut self, mapping: &Mapping<'_>, program: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let Mapping { start, end, .. } = *mapping;
        let name = mapping.short_name().to_owned();
        let (path, Tables { bias, sections }) = if mapping.name == VDSO {
            let bytes = memory(start, end)?;
            (None, Tables::read(&bytes[..], mapping)?)
        } else {
            // By this name it is there even if another program has taken its place since.
            let path = if Path::new(mapping.name) == program {
                Path::new("/proc/self/exe")
            } else {
                Path::new(mapping.name)
            };
            let file = ReadCache::new(File::open(path)?);
            (Some(path.to_owned()), Tables::read(&file, mapping)?)
        };
        self.unwinder.add_module(Module::new(name.clone(), start..end, bias, sections));
        self.parts.push(Part { start, end, bias, name, path });
        Ok(())
    }

    /// What an address is in.
    pub(super) fn part(&self, address: u64) -> Option<(usize, &Part)> {
        let behind = self.parts.partition_point(|part| part.start <= address);
        let number = behind.checked_sub(1)?;
        let part = &self.parts[number];
        (address < part.end).then_some((number, part))
    }

    /// Adds the frames of a stack to `frames`, the innermost first, and says whether they reach its beginning.
    pub(super) fn unwind(
        &mut self,
        registers: [u64; REGISTERS],
        stack: &[u8],
        frames: &mut Vec<u64>,
    ) -> bool {
        let (instruction, stack_pointer, registers) = native(registers);
        let mut read_stack = |address: u64| {
            let at = usize::try_from(address.wrapping_sub(stack_pointer)).map_err(drop)?;
            let bytes = stack.get(at..).and_then(<[u8]>::first_chunk).ok_or(())?;
            Ok(u64::from_ne_bytes(*bytes))
        };
        let mut calls = self.unwinder.iter_frames(instruction, registers, &mut self.cache, &mut read_stack);
        loop {
            match calls.next() {
                Ok(Some(frame)) if frames.len() < limits::PROFILE_FRAMES_MAX => {
                    frames.push(frame.address_for_lookup());
                }
                Ok(None) => return true,
                Ok(Some(_)) | Err(_) => return false,
            }
        }
    }
}

#[cfg(not(target_arch = "aarch64"))]
fn native([base, stack, instruction]: [u64; REGISTERS]) -> (u64, u64, UnwindRegsNative) {
    (instruction, stack, UnwindRegsNative::new(instruction, stack, base))
}

#[cfg(target_arch = "aarch64")]
fn native([frame, link, stack, counter]: [u64; REGISTERS]) -> (u64, u64, UnwindRegsNative) {
    (counter, stack, UnwindRegsNative::new(link, stack, frame))
}

/// Where a file lies in memory, and its tables.
struct Tables {
    bias: u64,
    sections: ExplicitModuleSectionInfo<Vec<u8>>,
}

impl Tables {
    fn read<'d, R: ReadRef<'d>>(
        data: R,
        mapping: &Mapping<'_>,
    ) -> Result<Tables, Box<dyn std::error::Error>> {
        let file = object::File::parse(data)?;
        // Pages are mapped whole, so that one may hold the end of another segment too.
        let segment = file.segments().find(|segment| {
            let (offset, size) = segment.file_range();
            let is_code = segment.permissions().executable();
            is_code && (offset & !PAGE_MASK..offset.saturating_add(size)).contains(&mapping.offset)
        });
        let segment = segment.ok_or("no code of it is mapped here")?;
        let address = segment.address().wrapping_add(mapping.offset.wrapping_sub(segment.file_range().0));
        let range = |name: &str| {
            let section = file.section_by_name(name)?;
            Some(section.address()..section.address().saturating_add(section.size()))
        };
        let bytes = |name: &str| Some(file.section_by_name(name)?.data().ok()?.to_vec());
        let sections = ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: range(".text"),
            got_svma: range(".got"),
            eh_frame_svma: range(".eh_frame"),
            eh_frame: bytes(".eh_frame"),
            eh_frame_hdr_svma: range(".eh_frame_hdr"),
            eh_frame_hdr: bytes(".eh_frame_hdr"),
            ..ExplicitModuleSectionInfo::default()
        };
        Ok(Tables { bias: mapping.start.wrapping_sub(address), sections })
    }
}

/// What lies at these addresses of our own.
fn memory(start: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open("/proc/self/mem")?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take((end - start).min(VDSO_BYTES_MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
