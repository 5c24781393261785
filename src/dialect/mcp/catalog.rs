//! What one backend offers, as it listed it: tools, prompts, resources, templates of resources; a cache that the backend
//! invalidates. PURE. Home: the control thread.
//!
//! Invariants: entries are the backend's own text but for the name, which carries the prefix. A list is at most
//! `MCP_LIST_ENTRIES_MAX` entries and `MCP_LIST_BYTES_MAX` bytes; what is beyond is left out, and told as that.

use std::collections::BTreeSet;

use crate::dialect::json_rpc::scan::{Kind, Value};
use crate::limits;

use super::message::{member, quoted, replaced, string};

/// A kind of list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Listed {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl Listed {
    pub(super) const ALL: [Listed; 4] =
        [Listed::Tools, Listed::Prompts, Listed::Resources, Listed::Templates];

    pub(super) const fn method(self) -> &'static str {
        match self {
            Listed::Tools => "tools/list",
            Listed::Prompts => "prompts/list",
            Listed::Resources => "resources/list",
            Listed::Templates => "resources/templates/list",
        }
    }

    /// The member of the result that holds the entries.
    pub(super) const fn member(self) -> &'static str {
        match self {
            Listed::Tools => "tools",
            Listed::Prompts => "prompts",
            Listed::Resources => "resources",
            Listed::Templates => "resourceTemplates",
        }
    }

    /// The capability of a server that has such a list.
    pub(super) const fn capability(self) -> &'static str {
        match self {
            Listed::Tools => "tools",
            Listed::Prompts => "prompts",
            Listed::Resources | Listed::Templates => "resources",
        }
    }

    /// What an entry is known by.
    const fn key(self) -> &'static str {
        match self {
            Listed::Tools | Listed::Prompts => "name",
            Listed::Resources => "uri",
            Listed::Templates => "uriTemplate",
        }
    }

    /// What says that such a list has changed.
    pub(super) const fn changed(self) -> &'static str {
        match self {
            Listed::Tools => "notifications/tools/list_changed",
            Listed::Prompts => "notifications/prompts/list_changed",
            Listed::Resources | Listed::Templates => "notifications/resources/list_changed",
        }
    }
}

/// How much is known of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// What there is of entries is from before.
    #[default]
    Stale,
    Asked,
    Known,
}

#[derive(Debug, Default)]
pub(super) struct List {
    knowledge: Knowledge,
    /// It changed while it was being told.
    is_outdated: bool,
    pages: u32,
    bytes: usize,
    entries: Vec<Entry>,
    keys: BTreeSet<Box<str>>,
    /// Gathered page by page, in the place of `entries` when they are all there.
    gathered: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As clients name it.
    pub(super) key: Box<str>,
    pub(super) text: Box<str>,
}

/// What is to follow a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for the page at this cursor, which is JSON.
    Page(Box<str>),
    /// Ask again from the first: it changed meanwhile.
    Again,
    Done {
        left_out: usize,
    },
}

impl List {
    /// One that is known, and does not change.
    pub(super) fn known(entries: Vec<Entry>) -> List {
        let mut list = List { gathered: entries, ..List::default() };
        list.settle();
        list
    }

    pub(super) fn knowledge(&self) -> Knowledge {
        self.knowledge
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// It is being asked for, from the first page.
    pub(super) fn ask(&mut self) {
        (self.knowledge, self.is_outdated, self.pages, self.bytes) = (Knowledge::Asked, false, 0, 0);
        self.gathered.clear();
    }

    /// It changed; true where somebody may have been told what it was.
    pub(super) fn invalidate(&mut self) -> bool {
        match self.knowledge {
            Knowledge::Stale => false,
            Knowledge::Asked => {
                self.is_outdated = true;
                false
            }
            Knowledge::Known => {
                self.knowledge = Knowledge::Stale;
                true
            }
        }
    }

    /// Nobody answers any more; what was known from before stays.
    pub(super) fn give_up(&mut self) {
        if self.knowledge == Knowledge::Asked {
            self.knowledge = Knowledge::Stale;
            self.gathered.clear();
        }
    }

    /// The backend answers that it can't: it has nothing of this kind.
    pub(super) fn refuse(&mut self) {
        self.gathered.clear();
        self.settle();
    }

    /// A page, the result of a list's request.
    pub(super) fn page(&mut self, kind: Listed, prefix: &str, result: Value<'_>) -> Next {
        if self.is_outdated {
            return Next::Again;
        }
        self.pages += 1;
        let mut left_out = 0;
        for entry in member(result, kind.member()).into_iter().flat_map(Value::elements) {
            let Some(entry) = entry_of(kind, prefix, entry) else {
                left_out += 1;
                continue;
            };
            let bytes = self.bytes + entry.text.len();
            if self.gathered.len() == limits::MCP_LIST_ENTRIES_MAX || bytes > limits::MCP_LIST_BYTES_MAX {
                left_out += 1;
                continue;
            }
            self.bytes = bytes;
            self.gathered.push(entry);
        }
        let cursor = member(result, "nextCursor").filter(|cursor| cursor.kind() == Kind::String);
        match cursor {
            Some(cursor)
                if left_out == 0
                    && self.pages < limits::MCP_LIST_PAGES_MAX
                    && cursor.text().len() <= limits::MCP_CURSOR_BYTES_MAX =>
            {
                Next::Page(cursor.text().into())
            }
            Some(_) | None => {
                self.settle();
                Next::Done { left_out: left_out + usize::from(cursor.is_some()) }
            }
        }
    }

    fn settle(&mut self) {
        self.knowledge = Knowledge::Known;
        self.entries = std::mem::take(&mut self.gathered);
        self.keys = self.entries.iter().map(|entry| entry.key.clone()).collect();
    }
}

/// An entry under its prefix; none where it is no object with a name.
fn entry_of(kind: Listed, prefix: &str, entry: Value<'_>) -> Option<Entry> {
    if entry.kind() != Kind::Object {
        return None;
    }
    let key = string(Some(entry), kind.key())?;
    if prefix.is_empty() {
        return Some(Entry { key: key.as_ref().into(), text: entry.text().into() });
    }
    let name = format!("{prefix}{}", string(Some(entry), "name")?);
    let text = replaced(entry, "name", &quoted(&name)).into();
    // Addresses of resources occur in what tools answer, too, so they stay as they are.
    let key = match kind {
        Listed::Tools | Listed::Prompts => name.into(),
        Listed::Resources | Listed::Templates => key.as_ref().into(),
    };
    Some(Entry { key, text })
}

/// Whether an address may come from a template (RFC 6570): its literal parts in their order, with something between them.
pub(super) fn matches_template(template: &str, uri: &str) -> bool {
    let Some((head, tail)) = template.split_once('{') else { return template == uri };
    let literals: Option<Vec<&str>> =
        tail.split('{').map(|part| part.split_once('}').map(|(_, literal)| literal)).collect();
    let Some((last, between)) = literals.as_deref().and_then(<[&str]>::split_last) else { return false };
    let Some(mut rest) = uri.strip_prefix(head).and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    for literal in between {
        // A variable holds one character at least.
        let skipped = rest.chars().next().map_or(0, char::len_utf8);
        let Some(at) = rest[skipped..].find(literal) else { return false };
        rest = &rest[skipped + at + literal.len()..];
    }
    !rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::super::message::whole;
    use super::*;

    fn keys(list: &List) -> Vec<&str> {
        list.entries().iter().map(|entry| &*entry.key).collect()
    }

    #[test]
    fn pages_are_gathered_under_the_prefix_and_what_nobody_here_knows_stays() {
        let mut list = List::default();
        list.ask();
        let first = r#"{"tools":[{"x":1e400,"name":"read"},{"no":1},7],"nextCursor":"c"}"#;
        // What is no tool ends the walk: there is nothing to be gained by asking on.
        assert_eq!(list.page(Listed::Tools, "a__", whole(first).unwrap()), Next::Done { left_out: 3 });
        assert_eq!(keys(&list), ["a__read"]);
        assert_eq!(&*list.entries()[0].text, r#"{"x":1e400,"name":"a__read"}"#);
        list.ask();
        let first = r#"{"tools":[{"name":"read"}],"nextCursor":"c"}"#;
        assert_eq!(list.page(Listed::Tools, "", whole(first).unwrap()), Next::Page("\"c\"".into()));
        let second = r#"{"tools":[{"name":"write"}]}"#;
        assert_eq!(list.page(Listed::Tools, "", whole(second).unwrap()), Next::Done { left_out: 0 });
        assert_eq!(keys(&list), ["read", "write"]);
    }

    #[test]
    fn a_resource_keeps_its_address() {
        let mut list = List::default();
        list.ask();
        let page = r#"{"resources":[{"uri":"file:///a","name":"a"}]}"#;
        list.page(Listed::Resources, "x__", whole(page).unwrap());
        assert_eq!(&*list.entries()[0].text, r#"{"uri":"file:///a","name":"x__a"}"#);
        assert!(list.contains("file:///a"));
    }

    #[test]
    fn a_list_that_changes_while_it_is_told_is_asked_for_again() {
        let mut list = List::default();
        list.ask();
        assert!(!list.invalidate(), "nobody was told anything");
        assert_eq!(list.page(Listed::Tools, "", whole("{}").unwrap()), Next::Again);
        list.ask();
        assert_eq!(list.page(Listed::Tools, "", whole("{}").unwrap()), Next::Done { left_out: 0 });
        assert!(list.invalidate() && !list.invalidate());
    }

    #[test]
    fn a_list_without_an_end_has_one() {
        let mut list = List::default();
        list.ask();
        let page = whole(r#"{"tools":[],"nextCursor":"again"}"#).unwrap();
        let pages = (1..).find(|_| list.page(Listed::Tools, "", page) == Next::Done { left_out: 1 });
        assert_eq!(pages, Some(limits::MCP_LIST_PAGES_MAX));
        list.ask();
        let many = format!(
            r#"{{"tools":[{}{{"name":"z"}}]}}"#,
            r#"{"name":"a"},"#.repeat(limits::MCP_LIST_ENTRIES_MAX)
        );
        let told = list.page(Listed::Tools, "", whole(&many).unwrap());
        assert_eq!(told, Next::Done { left_out: 1 });
        assert_eq!(list.entries().len(), limits::MCP_LIST_ENTRIES_MAX);
    }

    #[test]
    fn templates_are_matched_by_their_literal_parts() {
        for (template, uri, is_match) in [
            ("test://template/{id}/data", "test://template/7/data", true),
            ("test://template/{id}/data", "test://template//data", false),
            ("test://template/{id}/data", "test://template/7/data/x", false),
            ("test://template/{id}/data", "test://template/data/data", true),
            ("file:///{+path}", "file:///a/b", true),
            ("file:///{+path}", "file:///", false),
            ("a{b}c", "axcyc", true),
            ("a{b}c{d}", "axcy", true),
            ("a{b}c{d}", "axc", false),
            ("plain", "plain", true),
            ("plain", "plainer", false),
            ("broken{", "broken7", false),
        ] {
            assert_eq!(matches_template(template, uri), is_match, "{template} {uri}");
        }
    }
}
