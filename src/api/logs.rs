//! `GET /api/logs?limit=`: the last lines of the log, from memory or from the end of its file. PURE.
//!
//! In the file a line is `[2026-11-22T04:31:44.123Z INFO  tickring::serve] message`, one line each whatever the message has.

use std::sync::Arc;

use serde::Serialize;

use super::{Answer, Question, View, parameter};
use crate::model::time;

/// Lines of one answer, and those that are kept.
pub const LINES_MAX: usize = 1000;
const LINES_USUAL: usize = 100;
/// As the file has them.
const LEVELS: [&str; 5] = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Counts all lines since the start, from 1.
    pub number: u64,
    pub unix_ms: u64,
    pub level: &'static str,
    pub target: Arc<str>,
    pub message: Arc<str>,
}

/// Where the lines of an answer are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Newest last.
    Memory(Vec<Line>),
    File(Arc<FileEnd>),
}

/// The last lines of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEnd {
    count: usize,
    /// The array of an answer.
    json: String,
}

/// A line of an answer.
#[derive(Serialize)]
struct Told<'a> {
    /// None where it was read in a file, in which lines of earlier processes are.
    number: Option<u64>,
    timestamp_ms: u64,
    level: &'a str,
    target: &'a str,
    message: &'a str,
}

impl Line {
    /// Appends it as the file has it, with the line's end.
    pub fn write(&self, out: &mut String) {
        out.push('[');
        out.push_str(&time::utc_text(self.unix_ms));
        out.push_str(&format!(" {:<5} {}] ", self.level, self.target));
        for letter in self.message.chars() {
            if letter.is_control() { out.extend(letter.escape_default()) } else { out.push(letter) }
        }
        out.push('\n');
    }
}

impl FileEnd {
    /// The last lines, as many as that, of a file that ends with these bytes. What is no line of ours is left out, and so is what
    /// is still being written; the first line may have lost its beginning.
    #[must_use]
    pub fn of(bytes: &[u8], limit: usize) -> FileEnd {
        let whole = memchr::memrchr(b'\n', bytes).map_or(&[][..], |end| &bytes[..end]);
        let texts: Vec<_> =
            whole.rsplit(|byte| *byte == b'\n').take(limit).map(String::from_utf8_lossy).collect();
        FileEnd::told(&texts.iter().rev().filter_map(|text| told(text)).collect::<Vec<_>>())
    }

    fn told(lines: &[Told<'_>]) -> FileEnd {
        let json = serde_json::to_string(lines).expect("invariant: texts and numbers are values of JSON");
        FileEnd { count: lines.len(), json }
    }
}

/// A line as the file has it.
fn told(text: &str) -> Option<Told<'_>> {
    let (head, message) = text.strip_prefix('[')?.split_once("] ")?;
    let (time, rest) = head.split_once(' ')?;
    let (level, target) = rest.split_once(' ')?;
    let level = LEVELS.into_iter().find(|known| *known == level)?;
    Some(Told {
        number: None,
        timestamp_ms: time::unix_ms(time)?,
        level,
        target: target.trim_start(),
        message,
    })
}

/// How many lines a query asks for; `None` where that is no number from 1 on. More than there may be are as many as may.
#[must_use]
pub fn limit(query: &str) -> Option<usize> {
    match parameter(query, "limit") {
        None => Some(LINES_USUAL),
        Some(text) => text.parse().ok().filter(|lines| *lines > 0).map(|lines: usize| lines.min(LINES_MAX)),
    }
}

pub(super) fn answer(question: Question<'_>, view: &View<'_>) -> Answer {
    let Some(limit) = limit(question.query) else {
        return Answer::error(400, "limit is a number of lines, 1 to 1000");
    };
    let in_memory;
    let (source, end) = match &view.lines {
        Lines::File(end) => ("file", &**end),
        Lines::Memory(lines) => {
            in_memory = of_memory(&lines[lines.len().saturating_sub(limit)..]);
            ("memory", &in_memory)
        }
    };
    let (FileEnd { count, json }, total) = (end, view.snapshot.total("tickring_log_lines_total"));
    let text = format!(
        "{{\"count\":{count},\"limit\":{limit},\"total\":{total},\"source\":\"{source}\",\"logs\":{json}}}"
    );
    Answer::text(200, "application/json", text)
}

fn of_memory(lines: &[Line]) -> FileEnd {
    let told = lines.iter().map(|line| Told {
        number: Some(line.number),
        timestamp_ms: line.unix_ms,
        level: line.level,
        target: &line.target,
        message: &line.message,
    });
    FileEnd::told(&told.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> Line {
        Line { number: 7, unix_ms: 5, level: "WARN", target: "tickring::x".into(), message: message.into() }
    }

    fn written(messages: &[&str]) -> String {
        let mut text = String::new();
        messages.iter().for_each(|message| line(message).write(&mut text));
        text
    }

    fn messages(bytes: &[u8], limit: usize) -> Vec<String> {
        let FileEnd { count, json } = FileEnd::of(bytes, limit);
        let lines: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert_eq!(lines.len(), count);
        lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_line_of_the_file_is_one_whatever_it_says_and_is_read_as_it_was() {
        assert_eq!(written(&["a] b"]), "[1970-01-01T00:00:00.005Z WARN  tickring::x] a] b\n");
        assert_eq!(
            FileEnd::of(written(&["a] \"b\" é"]).as_bytes(), 9).json,
            r#"[{"number":null,"timestamp_ms":5,"level":"WARN","target":"tickring::x","message":"a] \"b\" é"}]"#
        );
        let forged = "a\n[1970-01-01T00:00:00.005Z WARN  tickring::x] b\u{1b}[31m\r";
        assert_eq!(written(&[forged]).lines().count(), 1);
        assert_eq!(
            messages(written(&[forged]).as_bytes(), 9),
            [r"a\n[1970-01-01T00:00:00.005Z WARN  tickring::x] b\u{1b}[31m\r"]
        );
    }

    #[test]
    fn the_end_of_a_file_is_its_last_whole_lines_of_ours() {
        let text = written(&["1", "2", "3"]);
        assert_eq!(messages(text.as_bytes(), 9), ["1", "2", "3"]);
        assert_eq!(messages(text.as_bytes(), 2), ["2", "3"]);
        // Of the last one, only a part is written yet; of the first, only the end was read.
        assert_eq!(messages(&text.as_bytes()[5..text.len() - 1], 9), ["2"]);
        assert_eq!(messages(b"", 9), [""; 0]);
        let foreign = format!("# hello\n\n{text}[x] y\n[1970-01-01T00:00:00.005Z LOUD  t] z\n");
        assert_eq!(messages(foreign.as_bytes(), 9), ["1", "2", "3"]);
        let mut broken = written(&["1"]).into_bytes();
        broken.splice(broken.len() - 1..broken.len() - 1, [0xff]);
        assert_eq!(messages(&broken, 9), ["1\u{fffd}"]);
    }
}
