//! Writes docs/sbe-messages.md from the schema: of each message which byte is what.

use std::fmt::Write as _;

use super::schema::{Block, Message, Schema, Words};

/// Bytes of the header before each message.
const HEADER_BYTES: usize = 8;

pub(crate) fn page(schema: &Schema) -> String {
    let mut out = String::from(
        "# SBE messages\n\nWritten from [docs/sbe/tickring.xml](sbe/tickring.xml) by `tests/sbe`, not by hand: which byte is what. \
         [The page on SBE](sbe.md) says how to read it.\n\n",
    );
    let _ = writeln!(
        out,
        "Schema {}, version {}. Little-endian, offsets from the message's first byte.\n",
        schema.id, schema.version
    );
    out.push_str("| message | template | bytes | |\n|---|---|---|---|\n");
    for message in &schema.messages {
        let Message { name, id, description, .. } = message;
        let more = if message.groups.is_empty() && message.texts.is_empty() { "" } else { " and more" };
        let bytes = HEADER_BYTES + message.block.bytes;
        let _ =
            writeln!(out, "| [{name}](#{}) | {id} | {bytes}{more} | {description} |", name.to_lowercase());
    }
    for message in &schema.messages {
        let _ = writeln!(out, "\n## {}\n", message.name);
        layout(&mut out, message);
    }
    out.push_str("\n## Words\n\nA byte each.\n\n| type | | values |\n|---|---|---|\n");
    for words in &schema.words {
        let _ = writeln!(out, "| `{}` | {} | {} |", words.wire_name, words.description, values(words));
    }
    out
}

fn layout(out: &mut String, message: &Message) {
    out.push_str("| offset | bytes | field | type | |\n|---|---|---|---|---|\n");
    let head = format!("blockLength {}, templateId {}, schemaId, version", message.block.bytes, message.id);
    let _ = writeln!(out, "| 0 | {HEADER_BYTES} | header | | {head} |");
    fields(out, &message.block, HEADER_BYTES);
    for group in &message.groups {
        let _ = writeln!(
            out,
            "| | 6 | `{}` | group | bytes of an entry (uint16), how many (uint32); of each entry: |",
            group.wire_name
        );
        fields(out, &group.block, 0);
    }
    for text in &message.texts {
        let _ = writeln!(out, "| | 2 and more | `{}` | text | {} |", text.name, text.description);
    }
}

fn fields(out: &mut String, block: &Block, base: usize) {
    for field in &block.fields {
        let [name, kind] = &field.names;
        let since = if field.since == 0 { String::new() } else { format!(" Since version {}.", field.since) };
        let _ = writeln!(
            out,
            "| {}{} | {} | `{name}` | {kind} | {}{since} |",
            if base == 0 { "+" } else { "" },
            base + field.offset,
            field.bytes,
            field.description
        );
    }
}

fn values(words: &Words) -> String {
    let told: Vec<String> = words
        .values
        .iter()
        .map(|value| {
            let [name, wire] = &value.wire;
            let number = match (words.is_set, value.rust.starts_with('b')) {
                (true, _) => format!("bit {wire}"),
                (false, true) => format!("'{wire}'"),
                (false, false) => wire.clone(),
            };
            let more =
                if value.description.is_empty() { String::new() } else { format!(": {}", value.description) };
            format!("{number} `{name}`{more}")
        })
        .collect();
    told.join("; ")
}
