//! Names of the kernel's functions, from `/proc/kallsyms`. PURE.

/// Functions by address.
#[derive(Debug)]
pub struct KernelNames<'t> {
    /// Ascending.
    functions: Vec<(u64, &'t str)>,
}

impl<'t> KernelNames<'t> {
    /// Reads lines of `ADDRESS TYPE NAME [MODULE]`; none if the addresses are withheld, which are then zero.
    #[must_use]
    pub fn read(text: &'t str) -> Option<KernelNames<'t>> {
        let mut functions: Vec<(u64, &str)> = text.lines().filter_map(function).collect();
        functions.sort_by_key(|(address, _)| *address);
        if functions.is_empty() { None } else { Some(KernelNames { functions }) }
    }

    /// The function that has this instruction.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<&'t str> {
        let behind = self.functions.partition_point(|(start, _)| *start <= address);
        self.functions[..behind].last().map(|(_, name)| *name)
    }
}

fn function(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok().filter(|address| *address != 0)?;
    matches!(words.next()?, "t" | "T" | "w" | "W").then_some(())?;
    Some((address, words.next()?))
}
