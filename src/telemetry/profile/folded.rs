//! Collapsed stacks: a line for each, as `flamegraph.pl` and speedscope read them. PURE.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Origin, Profile};

/// `thread;outermost;…;innermost samples`; frames of the kernel end in `_[k]`.
#[must_use]
pub fn folded(profile: &Profile) -> String {
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    for stack in &profile.stacks {
        let mut line = String::new();
        for (name, origin) in profile.names(stack) {
            if !line.is_empty() {
                line.push(';');
            }
            // What separates frames or lines can't be in one.
            line.extend(name.chars().map(|letter| match letter {
                ';' => ':',
                letter if letter.is_control() => ' ',
                letter => letter,
            }));
            if origin == Origin::Kernel {
                line.push_str("_[k]");
            }
        }
        // Stacks may differ in lines of files alone.
        *lines.entry(line).or_default() += stack.samples;
    }
    let mut text = String::new();
    for (line, samples) in lines {
        // A string takes all.
        let _ = writeln!(text, "{line} {samples}");
    }
    text
}
