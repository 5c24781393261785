//! The rules for Markdown: one title a page, and local links that lead somewhere.

use std::path::{Component, Path, PathBuf};

use super::{Fault, Rule};

/// What a page says outside of code: its titles, headings' anchors and links.
#[derive(Default)]
struct Page {
    titles: Vec<usize>,
    anchors: Vec<String>,
    /// Line and target.
    links: Vec<(usize, String)>,
}

/// `read` gives a page's text, and `None` for what is no readable file; `exists` knows folders too. Both take paths
/// relative to the repository.
pub(crate) fn faults(
    path: &str,
    text: &str,
    exists: impl Fn(&Path) -> bool,
    read: impl Fn(&Path) -> Option<String>,
) -> Vec<Fault> {
    let page = parse(text);
    let mut faults = Vec::new();
    if page.titles.len() != 1 {
        let line = page.titles.get(1).copied().unwrap_or(1);
        let text = format!("{} titles (`# …`), exactly one expected", page.titles.len());
        faults.push(Fault { rule: Rule::MarkdownTitle, path: path.to_owned(), line, text });
    }
    for (line, link) in &page.links {
        if let Some(text) = broken(path, &page, link, &exists, &read) {
            faults.push(Fault { rule: Rule::MarkdownLink, path: path.to_owned(), line: *line, text });
        }
    }
    faults
}

/// Why a link leads nowhere.
fn broken(
    path: &str,
    page: &Page,
    link: &str,
    exists: &impl Fn(&Path) -> bool,
    read: &impl Fn(&Path) -> Option<String>,
) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    if file.is_empty() {
        let known = page.anchors.iter().any(|other| other == anchor);
        return (!known).then(|| format!("`#{anchor}` is no heading of this page"));
    }
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let Some(target) = normal(&folder.join(file)) else {
        return Some(format!("`{link}` leaves the repository"));
    };
    if !exists(&target) {
        return Some(format!("`{link}` does not exist"));
    }
    if anchor.is_empty() || !file.ends_with(".md") {
        return None;
    }
    let known = read(&target).is_some_and(|text| parse(&text).anchors.iter().any(|other| other == anchor));
    (!known).then(|| format!("`{link}`: no such heading there"))
}

/// The path without `.` and `..`; `None` when it climbs out.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => out.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(out)
}

fn parse(text: &str) -> Page {
    let mut page = Page::default();
    let mut fence: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (Some(open), Some(close)) if open == close => fence = None,
            (None, Some(open)) => fence = Some(open),
            (None, None) => parse_line(&mut page, index + 1, line),
            (Some(_), _) => {}
        }
    }
    page
}

fn parse_line(page: &mut Page, number: usize, line: &str) {
    let level = line.bytes().take_while(|&byte| byte == b'#').count();
    if (1..=6).contains(&level) && line[level..].starts_with(' ') {
        if level == 1 {
            page.titles.push(number);
        }
        let slug = slug(line[level..].trim());
        let same = page.anchors.iter().filter(|other| **other == slug).count();
        page.anchors.push(if same == 0 { slug } else { format!("{slug}-{same}") });
    }
    let prose = without_code(line);
    let mut rest = prose.as_str();
    while let Some(at) = rest.find("](") {
        rest = &rest[at + 2..];
        let end = rest.find(')').unwrap_or(rest.len());
        let target = rest[..end].split_whitespace().next().unwrap_or_default();
        page.links.push((number, target.trim_matches(['<', '>']).to_owned()));
    }
    // A definition: `[name]: target`.
    if let Some((_, target)) = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
        page.links.push((number, target.trim().to_owned()));
    }
}

fn without_code(line: &str) -> String {
    // Odd pieces stand between back ticks.
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The anchor that GitHub gives a heading.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}
