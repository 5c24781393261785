//! Writes codecs from a schema: a file of the words, one of each message, and one that lists them. The text is laid out as rustfmt would.

use std::fmt::Write as _;

use super::schema::{Block, Field, Message, Schema, Shape, Value, Words};

/// As rustfmt.toml has it.
const LINE_MAX: usize = 110;

/// Files by their names.
pub(crate) type Files = Vec<(String, String)>;

/// Where the codecs will be: what names the crate, and the schema that their heads refer to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) root: &'static str,
    pub(crate) schema: &'static str,
    /// Whether property tests get values of each message.
    pub(crate) has_samples: bool,
}

/// All files of the codecs, in the order of the schema.
pub(crate) fn files(schema: &Schema, place: Place) -> Files {
    let mut files = vec![("mod.rs".to_owned(), list(schema, place))];
    files.push(("types.rs".to_owned(), types(schema, place)));
    for message in &schema.messages {
        files.push((format!("{}.rs", module_of(message)), codec(schema, message, place)));
    }
    if place.has_samples {
        files.push(("samples.rs".to_owned(), samples(schema, place)));
    }
    files
}

fn module_of(message: &Message) -> String {
    super::schema::snake(&message.name)
}

/// The head of a file.
fn head(what: &str, place: Place) -> String {
    format!("//! {what} PURE. Written from {} by `tests/sbe`, not by hand.\n\n", place.schema)
}

fn list(schema: &Schema, place: Place) -> String {
    let mut out = head("The messages of the schema.", place);
    let mut modules: Vec<String> = schema.messages.iter().map(module_of).collect();
    modules.push("types".to_owned());
    modules.sort();
    let mut lines: Vec<(&str, String)> =
        modules.iter().map(|module| (module.as_str(), format!("mod {module};"))).collect();
    if place.has_samples {
        lines.push(("samples", "#[cfg(test)]\nmod samples;".to_owned()));
        lines.sort();
    }
    for (_, line) in lines {
        let _ = writeln!(out, "{line}");
    }
    out.push('\n');
    let _ = writeln!(out, "use {}::dialect::sbe::wire::{{DecodeError, Header}};\n", place.root);
    for module in &modules {
        let _ = writeln!(out, "pub use {module}::*;");
    }
    let _ = writeln!(out, "\npub const SCHEMA_ID: u16 = {};", schema.id);
    let _ = writeln!(
        out,
        "/// The newest version that is known.\npub const SCHEMA_VERSION: u16 = {};",
        schema.version
    );
    out.push_str("\n/// A received message.\n#[derive(Clone, Copy, Debug)]\npub enum Message<'a> {\n");
    for message in &schema.messages {
        let _ = writeln!(out, "    {0}({0}View<'a>),", message.name);
    }
    out.push_str("}\n\nimpl<'a> Message<'a> {\n");
    out.push_str("    /// Reads the one message of a frame.\n    ///\n    /// # Errors\n    /// Bytes that are no message of this schema.\n");
    out.push_str("    pub fn decode(frame: &'a [u8]) -> Result<Message<'a>, DecodeError> {\n");
    out.push_str("        Ok(match Header::decode(frame)?.template_id {\n");
    for message in &schema.messages {
        let name = &message.name;
        let _ =
            writeln!(out, "            {name}::TEMPLATE_ID => Message::{name}({name}View::decode(frame)?),");
    }
    out.push_str("            template_id => return Err(DecodeError::Template { template_id }),\n        })\n    }\n}\n");
    out
}

fn types(schema: &Schema, place: Place) -> String {
    let mut out = head("The words of the schema: enumerations and sets, a byte each.", place);
    let _ = writeln!(out, "use {}::dialect::sbe::wire::DecodeError;", place.root);
    for words in &schema.words {
        out.push('\n');
        if words.is_set {
            set(&mut out, words);
        } else {
            let is_nullable = fields_of(schema).any(|field| field.is_optional && has_words(field, words));
            enumeration(&mut out, words, is_nullable);
        }
    }
    out
}

/// A doc comment, where there is something to say.
fn doc(out: &mut String, indent: &str, text: &str) {
    if !text.is_empty() {
        let _ = writeln!(out, "{indent}/// {}{}", text, if text.ends_with('.') { "" } else { "." });
    }
}

fn fields_of(schema: &Schema) -> impl Iterator<Item = &Field> {
    let blocks = schema.messages.iter().flat_map(|message| {
        std::iter::once(&message.block).chain(message.groups.iter().map(|group| &group.block))
    });
    blocks.flat_map(|block| &block.fields)
}

fn has_words(field: &Field, words: &Words) -> bool {
    matches!(&field.shape, Shape::Enum { rust, .. } if *rust == words.rust)
}

/// `is_nullable`: whether some field of it may be none.
fn enumeration(out: &mut String, words: &Words, is_nullable: bool) {
    let rust = &words.rust;
    doc(out, "", &words.description);
    let _ = writeln!(out, "#[derive(Clone, Copy, Debug, PartialEq, Eq)]\npub enum {rust} {{");
    for value in &words.values {
        doc(out, "    ", &value.description);
        let _ = writeln!(out, "    {},", value.name);
    }
    let _ = writeln!(out, "}}\n\nimpl {rust} {{\n    /// Every value.");
    let all: Vec<String> = words.values.iter().map(|value| format!("{rust}::{}", value.name)).collect();
    let start = format!("    pub const ALL: [{rust}; {}] = ", all.len());
    out.push_str(&list_of(&start, ["[", "]"], &all, ";", true));
    out.push_str("\n    /// Its byte on the wire.\n    #[inline]\n    #[must_use]\n");
    out.push_str("    pub const fn to_wire(self) -> u8 {\n        match self {\n");
    for value in &words.values {
        let _ = writeln!(out, "            {rust}::{} => {},", value.name, value.rust);
    }
    out.push_str("        }\n    }\n\n    /// # Errors\n    /// A value that is not known; `field` is named in it.\n    #[inline]\n");
    let _ = writeln!(
        out,
        "    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<{rust}, DecodeError> {{"
    );
    out.push_str("        Ok(match value {\n");
    for value in &words.values {
        let _ = writeln!(out, "            {} => {rust}::{},", value.rust, value.name);
    }
    out.push_str(
        "            value => return Err(DecodeError::UnknownValue { field, value }),\n        })\n    }\n",
    );
    if is_nullable {
        let null = if words.values[0].rust.starts_with("b'") { "0" } else { "255" };
        let _ = writeln!(
            out,
            "\n    /// The same where {null} stands for none.\n    ///\n    /// # Errors\n    /// As above."
        );
        out.push_str("    #[inline]\n");
        let arguments = "field: &'static str, value: [u8; 1]";
        let _ =
            writeln!(out, "    pub fn from_nullable({arguments}) -> Result<Option<{rust}>, DecodeError> {{");
        let _ = writeln!(
            out,
            "        if value == [{null}] {{ Ok(None) }} else {{ {rust}::from_wire(field, value).map(Some) }}"
        );
        out.push_str("    }\n");
    }
    out.push_str("}\n");
}

fn set(out: &mut String, words: &Words) {
    let rust = &words.rust;
    doc(out, "", &words.description);
    let _ = writeln!(out, "#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]\npub struct {rust} {{");
    for value in &words.values {
        doc(out, "    ", &value.description);
        let _ = writeln!(out, "    pub {}: bool,", value.name);
    }
    let _ = writeln!(out, "}}\n\nimpl {rust} {{");
    let mask =
        |value: &Value| format!("0x{:02x}", 1_u32 << value.rust.parse::<u32>().expect("a bit's number"));
    out.push_str(
        "    /// Its byte on the wire.\n    #[inline]\n    #[must_use]\n    pub fn to_wire(self) -> u8 {\n",
    );
    out.push_str("        let mut bits = 0;\n");
    for value in &words.values {
        let _ = writeln!(
            out,
            "        if self.{} {{\n            bits |= {};\n        }}",
            value.name,
            mask(value)
        );
    }
    out.push_str("        bits\n    }\n\n    /// Bits that are not known are passed over.\n    #[inline]\n    #[must_use]\n");
    let _ = writeln!(out, "    pub const fn from_wire([bits]: [u8; 1]) -> {rust} {{");
    let read = |value: &Value| format!("{}: bits & {} != 0", value.name, mask(value));
    let all: Vec<String> = words.values.iter().map(read).collect();
    out.push_str(&list_of(&format!("        {rust} "), ["{", "}"], &all, "", true));
    out.push_str("    }\n}\n");
}

/// Values of each message and each entry from choices, for property tests.
fn samples(schema: &Schema, place: Place) -> String {
    let mut blocks: Vec<(&str, &Block)> = Vec::new();
    for message in &schema.messages {
        blocks.push((&message.name, &message.block));
        for group in &message.groups {
            if !blocks.iter().any(|(name, _)| *name == group.entry) {
                blocks.push((&group.entry, &group.block));
            }
        }
    }
    let mut body = String::new();
    for (name, block) in blocks {
        let _ = writeln!(
            body,
            "\nimpl Sample for {name} {{\n    fn sample(choices: &mut Choices) -> {name} {{\n        {name} {{"
        );
        for field in &block.fields {
            let _ = writeln!(body, "            {}: {},", field.name, chosen(field));
        }
        body.push_str("        }\n    }\n}\n");
    }
    let mut out = head("Any values of the messages, for tests.", place);
    out.push_str("use super::*;\n");
    let _ = writeln!(
        out,
        "use {0}::dialect::sbe::tests::{{Choices, Sample}};\nuse {0}::dialect::sbe::wire::Decimal;",
        place.root
    );
    out.push_str(&imports(&format!("{}::model::decimal", place.root), &["Amount", "Price"]));
    out + &body
}

fn chosen(field: &Field) -> String {
    let value = match &field.shape {
        Shape::Number { rust, .. } => format!("{rust}::from_le_bytes(choices.bytes())"),
        Shape::Units { rust } => format!("{rust}(i64::from_le_bytes(choices.bytes()))"),
        Shape::Decimal => "Decimal::from_bytes(choices.bytes())".to_owned(),
        Shape::Enum { rust, .. } => format!("choices.one_of({rust}::ALL)"),
        Shape::Set { rust } => format!("{rust}::from_wire(choices.bytes())"),
    };
    if field.is_optional { format!("choices.maybe(|choices| {value})") } else { value }
}

fn codec(schema: &Schema, message: &Message, place: Place) -> String {
    let mut body = String::new();
    value(&mut body, message);
    view(&mut body, message);
    let mut entries: Vec<&str> = Vec::new();
    for group in &message.groups {
        if !entries.contains(&&*group.entry) {
            entry(&mut body, &group.entry, &group.block);
            entries.push(&group.entry);
        }
    }
    for group in &message.groups {
        let same = message.groups.iter().filter(|other| other.entry == group.entry);
        assert!(
            same.clone().all(|other| other.block == group.block),
            "{}: entries of two kinds",
            group.entry
        );
    }
    let mut out = head(&format!("{}: the codec of the message.", message.name), place);
    let words: Vec<&str> =
        schema.words.iter().map(|words| &*words.rust).filter(|word| names(&body, word)).collect();
    let mut words = words;
    words.sort_unstable();
    if !words.is_empty() {
        out.push_str(&imports("super::types", &words));
    }
    out.push_str("use super::{SCHEMA_ID, SCHEMA_VERSION};\n");
    let wire = [
        "Body",
        "Decimal",
        "DecodeError",
        "Entries",
        "Entry",
        "HEADER_BYTES",
        "Header",
        "added",
        "at",
        "put",
        "unless",
        "write_group",
        "write_text",
    ];
    let wire: Vec<&str> = wire.into_iter().filter(|name| names(&body, name)).collect();
    let model: Vec<&str> = ["Amount", "Price"].into_iter().filter(|name| names(&body, name)).collect();
    out.push_str(&imports(&format!("{}::dialect::sbe::wire", place.root), &wire));
    if !model.is_empty() {
        out.push_str(&imports(&format!("{}::model::decimal", place.root), &model));
    }
    out + &body
}

/// Whether a text has this name as a word.
fn names(body: &str, name: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    body.lines().filter(|line| !line.trim_start().starts_with("///")).any(|line| {
        line.match_indices(name).any(|(start, found)| {
            let before = line[..start].chars().next_back();
            let after = line[start + found.len()..].chars().next();
            !before.is_some_and(|letter| is_part(letter) || letter == '.') && !after.is_some_and(is_part)
        })
    })
}

fn imports(module: &str, names: &[&str]) -> String {
    match names {
        [one] => format!("use {module}::{one};\n"),
        many => list_of(&format!("use {module}::"), ["{", "}"], many, ";", false),
    }
}

/// A list on one line where it fits, else with an element a line, or with as many on a line as fit.
fn list_of(
    start: &str,
    [open, close]: [&str; 2],
    elements: &[impl AsRef<str>],
    end: &str,
    one_a_line: bool,
) -> String {
    let elements: Vec<&str> = elements.iter().map(AsRef::as_ref).collect();
    let space = if open == "{" && one_a_line { " " } else { "" };
    let whole = format!("{start}{open}{space}{}{space}{close}{end}\n", elements.join(", "));
    if whole.len() <= LINE_MAX + 1 {
        return whole;
    }
    let indent = " ".repeat(start.len() - start.trim_start().len());
    let below = format!("{indent}    {open}{}{close}{end}", elements.join(", "));
    if open == "[" && below.len() <= LINE_MAX {
        return format!("{}\n{below}\n", start.trim_end());
    }
    let mut out = format!("{start}{open}");
    let mut line = String::new();
    for element in elements {
        if line.is_empty() || one_a_line || line.len() + 1 + element.len() + 1 > LINE_MAX {
            let _ = writeln!(out, "{}", line.trim_end());
            line = format!("{indent}    {element},");
        } else {
            let _ = write!(line, " {element},");
        }
    }
    let _ = write!(out, "{line}\n{indent}{close}{end}\n");
    out
}

fn fields(out: &mut String, block: &Block) {
    for field in &block.fields {
        doc(out, "    ", &field.description);
        let _ = writeln!(out, "    pub {}: {},", field.name, rust_type(field));
    }
}

fn value(out: &mut String, message: &Message) {
    let Message { name, id, block, .. } = message;
    out.push('\n');
    doc(out, "", &message.description);
    let _ = writeln!(out, "#[derive(Clone, Copy, Debug, PartialEq, Eq)]\npub struct {name} {{");
    fields(out, block);
    let _ = writeln!(out, "}}\n\nimpl {name} {{\n    pub const TEMPLATE_ID: u16 = {id};");
    let _ = writeln!(
        out,
        "    /// Bytes of its fields as they are written.\n    pub const BLOCK_LENGTH: u16 = {};",
        block.bytes
    );
    out.push_str("    const HEADER: Header = Header {\n");
    let _ = writeln!(
        out,
        "        block_length: {name}::BLOCK_LENGTH,\n        template_id: {name}::TEMPLATE_ID,"
    );
    out.push_str("        schema_id: SCHEMA_ID,\n        version: SCHEMA_VERSION,\n    };\n\n");
    let mut arguments = String::from("&self, out: &mut Vec<u8>");
    out.push_str("    /// Appends the message with its header.");
    for group in &message.groups {
        let _ = write!(arguments, ", {}: impl IntoIterator<Item = {}>", group.name, group.entry);
    }
    for text in &message.texts {
        if !text.description.is_empty() {
            let _ = write!(out, " `{}`: {}", text.name, text.description);
        }
        let _ = write!(arguments, ", {}: &str", text.name);
    }
    if !message.texts.is_empty() {
        out.push_str("\n    ///\n    /// # Panics\n    /// By a text of more than 65,535 bytes");
        out.push('.');
    }
    out.push_str("\n    #[inline]\n");
    let line = format!("    pub fn encode({arguments}) {{");
    if line.len() <= LINE_MAX {
        let _ = writeln!(out, "{line}");
    } else {
        let split = arguments.replace(", ", ",\n        ");
        let _ = writeln!(out, "    pub fn encode(\n        {split},\n    ) {{");
    }
    let _ = writeln!(out, "        let mut bytes = [0; HEADER_BYTES + {}];", block.bytes);
    let _ = writeln!(out, "        put::<0, _, _>(&mut bytes, {name}::HEADER.to_bytes());");
    puts(out, block, 8);
    out.push_str("        out.extend_from_slice(&bytes);\n");
    for group in &message.groups {
        let _ = writeln!(out, "        write_group(out, {});", group.name);
    }
    for text in &message.texts {
        let _ = writeln!(out, "        write_text(out, {});", text.name);
    }
    out.push_str("    }\n}\n");
}

fn puts(out: &mut String, block: &Block, base: usize) {
    for field in &block.fields {
        let _ =
            writeln!(out, "        put::<{}, _, _>(&mut bytes, {});", base + field.offset, to_bytes(field));
    }
}

fn view(out: &mut String, message: &Message) {
    let Message { name, block, .. } = message;
    let has_added = block.bytes > block.bytes_first;
    let _ = writeln!(
        out,
        "\n/// A received [`{name}`], read where it lies.\n#[derive(Clone, Copy, Debug)]\npub struct {name}View<'a> {{"
    );
    let _ = writeln!(out, "    block: &'a [u8; {}],", block.bytes_first);
    let mut members = vec!["block"];
    if has_added {
        out.push_str("    /// What later versions have added.\n    added: &'a [u8],\n");
        members.push("added");
    }
    for group in &message.groups {
        let _ = writeln!(out, "    {}: Entries<'a, {}>,", group.name, group.entry);
        members.push(&group.name);
    }
    for text in &message.texts {
        let _ = writeln!(out, "    {}: &'a str,", text.name);
        members.push(&text.name);
    }
    let _ = writeln!(
        out,
        "}}\n\nimpl<'a> {name}View<'a> {{\n    /// # Errors\n    /// Bytes that are no such message.\n    #[inline]"
    );
    let _ = writeln!(out, "    pub fn decode(frame: &'a [u8]) -> Result<{name}View<'a>, DecodeError> {{");
    let _ = writeln!(out, "        let mut body = Body::open(frame, {name}::HEADER)?;");
    let _ = writeln!(out, "        let (block, {}) = body.block()?;", if has_added { "added" } else { "_" });
    for group in &message.groups {
        let _ = writeln!(out, "        let {} = body.group({})?;", group.name, group.since);
    }
    for text in &message.texts {
        let _ = writeln!(out, "        let {0} = body.text(\"{0}\", {1})?;", text.name, text.since);
    }
    let _ =
        writeln!(out, "        body.close()?;\n        Ok({name}View {{ {} }})\n    }}", members.join(", "));
    for field in &block.fields {
        getter(out, field);
    }
    for group in &message.groups {
        let _ = writeln!(
            out,
            "\n    #[must_use]\n    pub fn {0}(&self) -> Entries<'a, {1}> {{\n        self.{0}\n    }}",
            group.name, group.entry
        );
    }
    for text in &message.texts {
        out.push('\n');
        doc(out, "    ", &text.description);
        let _ = writeln!(
            out,
            "    #[must_use]\n    pub fn {0}(&self) -> &'a str {{\n        self.{0}\n    }}",
            text.name
        );
    }
    out.push_str("\n    /// All fields, without groups and texts.\n    ///\n    /// # Errors\n    /// A value of an enumeration that is not known.\n");
    let _ = writeln!(out, "    pub fn fields(&self) -> Result<{name}, DecodeError> {{");
    let read =
        |field: &Field| format!("{0}: self.{0}(){1}", field.name, if is_fallible(field) { "?" } else { "" });
    let all: Vec<String> = block.fields.iter().map(read).collect();
    out.push_str(&list_of(&format!("        Ok({name} "), ["{", "}"], &all, ")", true));
    out.push_str("    }\n}\n");
}

fn getter(out: &mut String, field: &Field) {
    out.push('\n');
    doc(out, "    ", &field.description);
    let rust = rust_type(field);
    if is_fallible(field) {
        if !field.description.is_empty() {
            out.push_str("    ///\n");
        }
        out.push_str("    /// # Errors\n    /// A value that is not known.\n    #[inline]\n");
        let _ = writeln!(out, "    pub fn {}(&self) -> Result<{rust}, DecodeError> {{", field.name);
    } else {
        let _ =
            writeln!(out, "    #[inline]\n    #[must_use]\n    pub fn {}(&self) -> {rust} {{", field.name);
    }
    if field.since == 0 {
        let bytes = format!("at::<{}, _, _>(self.block)", field.offset);
        let _ = writeln!(out, "        {}\n    }}", from_bytes(field, &bytes));
    } else {
        getter_of_added(out, field);
    }
}

/// A field of a later version: none in a message of an earlier one. All of them have a null.
fn getter_of_added(out: &mut String, field: &Field) {
    let at = field.offset;
    let first = "self.block.len()";
    let read = from_bytes(field, "bytes");
    let absent = if is_fallible(field) { "Ok(None)" } else { "None" };
    let _ = writeln!(out, "        match added(self.added, {at} - {first}) {{");
    let _ = writeln!(
        out,
        "            Some(bytes) => {read},\n            None => {absent},\n        }}\n    }}"
    );
}

fn entry(out: &mut String, name: &str, block: &Block) {
    let _ = writeln!(
        out,
        "\n/// An entry of a group.\n#[derive(Clone, Copy, Debug, PartialEq, Eq)]\npub struct {name} {{"
    );
    fields(out, block);
    let _ =
        writeln!(out, "}}\n\nimpl Entry for {name} {{\n    const BYTES_MIN: usize = {};", block.bytes_first);
    let _ = writeln!(
        out,
        "    const BLOCK_LENGTH: u16 = {};\n\n    #[inline]\n    fn write(&self, out: &mut Vec<u8>) {{",
        block.bytes
    );
    let _ = writeln!(out, "        let mut bytes = [0; {}];", block.bytes);
    puts(out, block, 0);
    out.push_str("        out.extend_from_slice(&bytes);\n    }\n\n    #[inline]\n");
    let _ = writeln!(out, "    fn read(block: &[u8]) -> Result<{name}, DecodeError> {{");
    let rest = if block.bytes > block.bytes_first { "rest" } else { "_" };
    let _ = writeln!(
        out,
        "        let Some((block, {rest})) = block.split_first_chunk::<{}>() else {{",
        block.bytes_first
    );
    out.push_str("            return Err(DecodeError::Truncated);\n        };\n");
    let read = |field: &Field| {
        let mark = if is_fallible(field) { "?" } else { "" };
        if field.since == 0 {
            let bytes = format!("at::<{}, _, _>(block)", field.offset);
            return format!("{}: {}{mark}", field.name, from_bytes(field, &bytes));
        }
        let (at, read) = (field.offset - block.bytes_first, from_bytes(field, "bytes"));
        let arms = format!("Some(bytes) => {read}{mark},\n                None => None,");
        format!("{}: match added(rest, {at}) {{\n                {arms}\n            }}", field.name)
    };
    let all: Vec<String> = block.fields.iter().map(read).collect();
    out.push_str(&list_of(&format!("        Ok({name} "), ["{", "}"], &all, ")", true));
    out.push_str("    }\n}\n");
}

/// Whether bytes may have a value that is none of the field's.
fn is_fallible(field: &Field) -> bool {
    matches!(field.shape, Shape::Enum { .. })
}

fn rust_type(field: &Field) -> String {
    let rust = match &field.shape {
        Shape::Number { rust, .. } | Shape::Units { rust } => (*rust).to_owned(),
        Shape::Decimal => "Decimal".to_owned(),
        Shape::Enum { rust, .. } | Shape::Set { rust } => rust.clone(),
    };
    if field.is_optional { format!("Option<{rust}>") } else { rust }
}

fn to_bytes(field: &Field) -> String {
    let name = &field.name;
    match (&field.shape, field.is_optional) {
        (Shape::Number { .. }, false) => format!("self.{name}.to_le_bytes()"),
        (Shape::Number { rust, .. }, true) => format!("self.{name}.unwrap_or({rust}::MAX).to_le_bytes()"),
        (Shape::Units { .. }, false) => format!("self.{name}.0.to_le_bytes()"),
        (Shape::Units { .. }, true) => {
            format!("self.{name}.map_or(i64::MIN, |units| units.0).to_le_bytes()")
        }
        (Shape::Decimal, false) => format!("self.{name}.to_bytes()"),
        (Shape::Decimal, true) => format!("Decimal::to_nullable_bytes(self.{name})"),
        (Shape::Enum { .. } | Shape::Set { .. }, false) => format!("[self.{name}.to_wire()]"),
        (Shape::Enum { rust, null }, true) => format!("[self.{name}.map_or({null}, {rust}::to_wire)]"),
        (Shape::Set { .. }, true) => unreachable!("nothing stands for no set"),
    }
}

fn from_bytes(field: &Field, bytes: &str) -> String {
    let name = &field.name;
    match (&field.shape, field.is_optional) {
        (Shape::Number { rust, .. }, false) => format!("{rust}::from_le_bytes({bytes})"),
        (Shape::Number { rust, null }, true) => {
            let max =
                if *rust == "i32" { i64::from(i32::MAX).to_string() } else { format!("{}", max_of(rust)) };
            assert_eq!(null.as_deref(), Some(&*max), "{name}: the null of {rust}");
            format!("unless({rust}::from_le_bytes({bytes}), {rust}::MAX)")
        }
        (Shape::Units { rust }, false) => format!("{rust}(i64::from_le_bytes({bytes}))"),
        (Shape::Units { rust }, true) => format!("unless(i64::from_le_bytes({bytes}), i64::MIN).map({rust})"),
        (Shape::Decimal, false) => format!("Decimal::from_bytes({bytes})"),
        (Shape::Decimal, true) => format!("Decimal::from_nullable_bytes({bytes})"),
        (Shape::Enum { rust, .. }, false) => format!("{rust}::from_wire(\"{name}\", {bytes})"),
        (Shape::Enum { rust, .. }, true) => format!("{rust}::from_nullable(\"{name}\", {bytes})"),
        (Shape::Set { rust }, _) => format!("{rust}::from_wire({bytes})"),
    }
}

fn max_of(rust: &str) -> u64 {
    match rust {
        "u8" => u8::MAX.into(),
        "u16" => u16::MAX.into(),
        "u32" => u32::MAX.into(),
        "u64" => u64::MAX,
        other => panic!("no null of {other}"),
    }
}
