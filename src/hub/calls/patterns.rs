//! Names, and starts of names with `*` behind them, each with what it stands for. PURE. Home: within the routes.
//!
//! Invariants: a name finds the longest pattern that fits it, a name in full before a start of the same text; nothing is hashed or
//! copied to find it.

/// See the file's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patterns<T> {
    /// In order of their texts.
    entries: Vec<Entry<T>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry<T> {
    /// The pattern without its `*`.
    text: Box<str>,
    /// It takes what begins with its text, not the text alone.
    is_start: bool,
    /// The longest other start that its text begins with.
    wider: Option<u32>,
    means: T,
}

/// None.
impl<T> Default for Patterns<T> {
    fn default() -> Patterns<T> {
        Patterns { entries: Vec::new() }
    }
}

impl<T> Patterns<T> {
    /// At most `limits::ROUTES_MAX` patterns.
    ///
    /// # Errors
    /// A pattern stands twice: which.
    pub(super) fn new(patterns: impl IntoIterator<Item = (Box<str>, T)>) -> Result<Patterns<T>, Box<str>> {
        let entry = |(pattern, means): (Box<str>, T)| match pattern.strip_suffix('*') {
            Some(start) => Entry { text: start.into(), is_start: true, wider: None, means },
            None => Entry { text: pattern, is_start: false, wider: None, means },
        };
        let mut entries: Vec<Entry<T>> = patterns.into_iter().map(entry).collect();
        // Of one text, the name itself is the more specific: it comes later, and finds the start before it.
        entries.sort_by(|a, b| a.text.cmp(&b.text).then(b.is_start.cmp(&a.is_start)));
        let is_same =
            |pair: &&[Entry<T>]| pair[0].text == pair[1].text && pair[0].is_start == pair[1].is_start;
        if let Some([twice, ..]) = entries.windows(2).find(is_same) {
            return Err(if twice.is_start { format!("{}*", twice.text).into() } else { twice.text.clone() });
        }
        link(&mut entries);
        Ok(Patterns { entries })
    }

    /// What the most specific pattern means that fits a name.
    pub(super) fn find(&self, name: &str) -> Option<&T> {
        // Whatever the name begins with comes no later than it does, and the last that comes no later begins with the longest of
        // those.
        let after = self.entries.partition_point(|entry| *entry.text <= *name);
        let mut at = after.checked_sub(1)?;
        loop {
            let entry = &self.entries[at];
            let takes = if entry.is_start { name.starts_with(&*entry.text) } else { *entry.text == *name };
            if takes {
                return Some(&entry.means);
            }
            at = entry.wider? as usize;
        }
    }

    /// All, in order of their texts.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.means)
    }
}

/// Has each entry know the next wider start; `entries` are in order.
fn link<T>(entries: &mut [Entry<T>]) {
    // Starts that begin one another, the longest last.
    let mut open: Vec<usize> = Vec::new();
    for at in 0..entries.len() {
        while open.last().is_some_and(|start| !entries[at].text.starts_with(&*entries[*start].text)) {
            open.pop();
        }
        let wider = open.last().map(|start| u32::try_from(*start).expect("invariant: at most ROUTES_MAX"));
        entries[at].wider = wider;
        if entries[at].is_start {
            open.push(at);
        }
    }
}
