//! Code that a process has mapped, from `/proc/self/maps`. PURE.

/// Bytes of a file that may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<'t> {
    pub start: u64,
    pub end: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// A path, or a name in brackets.
    pub name: &'t str,
}

impl Mapping<'_> {
    /// Without folders, and what the kernel says of a file that was replaced.
    #[must_use]
    pub fn short_name(&self) -> &str {
        let path = self.name.strip_suffix(" (deleted)").unwrap_or(self.name);
        path.rsplit('/').next().unwrap_or(path)
    }
}

/// Executable mappings that have a name, by address, which is the kernel's order.
#[must_use]
pub fn executable(text: &str) -> Vec<Mapping<'_>> {
    text.lines().filter_map(read).collect()
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE NAME`.
fn read(line: &str) -> Option<Mapping<'_>> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let (permissions, rest) = rest.split_once(' ')?;
    let (offset, rest) = rest.split_once(' ')?;
    let (_device, rest) = rest.split_once(' ')?;
    let (_inode, name) = rest.split_once(' ')?;
    let name = name.trim_start();
    let hex = |word| u64::from_str_radix(word, 16).ok();
    (permissions.contains('x') && !name.is_empty()).then_some(())?;
    let mapping = Mapping { start: hex(start)?, end: hex(end)?, offset: hex(offset)?, name };
    (mapping.start < mapping.end).then_some(mapping)
}
