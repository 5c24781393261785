//! A schema of Simple Binary Encoding, as far as ours go: read from XML, its offsets, lengths and rules of extension checked.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

/// How a field lies on the wire, and what it is in Rust.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// A number of this primitive type, with the value that stands for none where there is one.
    Number { rust: &'static str, null: Option<String> },
    /// A composite of a mantissa and the constant exponent -9: `Price` or `Amount`.
    Units { rust: &'static str },
    /// A composite of a mantissa and an exponent.
    Decimal,
    /// An enumeration of one byte: its Rust name, and the byte that stands for none.
    Enum { rust: String, null: &'static str },
    /// A set of one byte.
    Set { rust: String },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// As the schema names it, and its type.
    pub(crate) names: [String; 2],
    pub(crate) description: String,
    pub(crate) shape: Shape,
    pub(crate) is_optional: bool,
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
    pub(crate) since: u16,
}

/// The fields of a message or of an entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Block {
    pub(crate) fields: Vec<Field>,
    pub(crate) bytes: usize,
    /// Of the schema's first version.
    pub(crate) bytes_first: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// As the schema names it.
    pub(crate) wire_name: String,
    pub(crate) entry: String,
    pub(crate) block: Block,
    pub(crate) since: u16,
}

#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) since: u16,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) id: u16,
    pub(crate) description: String,
    pub(crate) block: Block,
    pub(crate) groups: Vec<Group>,
    pub(crate) texts: Vec<Text>,
}

/// A value of an enumeration, or a choice of a set.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) name: String,
    /// As the schema names it, and writes its value.
    pub(crate) wire: [String; 2],
    /// As Rust writes it: `b'1'` of a character, else a number.
    pub(crate) rust: String,
    pub(crate) description: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Words {
    /// As the schema names it.
    pub(crate) wire_name: String,
    pub(crate) rust: String,
    pub(crate) description: String,
    pub(crate) is_set: bool,
    pub(crate) values: Vec<Value>,
}

#[derive(Clone, Debug)]
pub(crate) struct Schema {
    pub(crate) id: u16,
    pub(crate) version: u16,
    pub(crate) words: Vec<Words>,
    pub(crate) messages: Vec<Message>,
}

/// A type of fields: its shape, whether its values may be none, its bytes.
type Types = BTreeMap<String, (Shape, bool, usize)>;

impl Schema {
    /// # Panics
    /// Where it is no schema as ours are; the message says where.
    pub(crate) fn parse(xml: &str) -> Schema {
        let document = Document::parse(xml).expect("XML");
        let root = document.root_element();
        assert_eq!(root.attribute("byteOrder"), Some("littleEndian"));
        let mut types = primitives();
        let mut words = Vec::new();
        for node in
            root.children().filter(|node| node.has_tag_name("types")).flat_map(|types| types.children())
        {
            match node.tag_name().name() {
                "type" => {
                    types.insert(text(node, "name"), simple(node));
                }
                "composite" => {
                    if let Some(found) = composite(node) {
                        types.insert(text(node, "name"), found);
                    }
                }
                "enum" | "set" => {
                    let found = vocabulary(node);
                    let (rust, is_char) =
                        (found.rust.clone(), node.attribute("encodingType") == Some("char"));
                    let null = if is_char { "0" } else { "255" };
                    let shape = if found.is_set { Shape::Set { rust } } else { Shape::Enum { rust, null } };
                    types.insert(text(node, "name"), (shape, false, 1));
                    words.push(found);
                }
                "" => {}
                other => panic!("{other} among the types"),
            }
        }
        let version = number(root, "version");
        let messages: Vec<Message> = root
            .children()
            .filter(|node| node.tag_name().name() == "message")
            .map(|node| message(node, &types))
            .collect();
        for (place, one) in messages.iter().enumerate() {
            assert!(
                messages[..place].iter().all(|other| other.id != one.id),
                "{} has another's id",
                one.name
            );
            let sinces = one.block.fields.iter().map(|field| field.since);
            assert!(sinces.max().unwrap_or(0) <= version, "{}: of a later version than the schema", one.name);
        }
        Schema { id: number(root, "id"), version, words, messages }
    }
}

fn primitives() -> Types {
    [
        ("uint8", "u8", 1),
        ("uint16", "u16", 2),
        ("uint32", "u32", 4),
        ("uint64", "u64", 8),
        ("int32", "i32", 4),
    ]
    .map(|(name, rust, bytes)| (name.to_owned(), (Shape::Number { rust, null: None }, false, bytes)))
    .into()
}

fn simple(node: Node<'_, '_>) -> (Shape, bool, usize) {
    let (shape, _, bytes) =
        primitives().remove(node.attribute("primitiveType").unwrap_or_default()).expect("a number");
    let Shape::Number { rust, .. } = shape else { unreachable!("primitives are numbers") };
    assert_eq!(node.attribute("length"), None, "{}: no arrays", text(node, "name"));
    let null = node.attribute("nullValue").map(str::to_owned);
    let is_optional = node.attribute("presence") == Some("optional");
    assert_eq!(is_optional, null.is_some(), "{}: a null value goes with presence", text(node, "name"));
    (Shape::Number { rust, null }, is_optional, bytes)
}

/// `None` for the composites that are no fields: headers and texts.
fn composite(node: Node<'_, '_>) -> Option<(Shape, bool, usize)> {
    let children: Vec<Node<'_, '_>> = node.children().filter(Node::is_element).collect();
    let layout: Vec<(&str, &str)> = children
        .iter()
        .map(|child| {
            (
                child.attribute("name").unwrap_or_default(),
                child.attribute("primitiveType").unwrap_or_default(),
            )
        })
        .collect();
    match layout[..] {
        [("mantissa", "int64"), ("exponent", "int8")] => {}
        [
            ("blockLength", "uint16"),
            ("templateId", "uint16"),
            ("schemaId", "uint16"),
            ("version", "uint16"),
        ]
        | [("blockLength", "uint16"), ("numInGroup", "uint32")]
        | [("length", "uint16"), ("varData", "uint8")] => return None,
        _ => panic!("composite {}: {layout:?}", text(node, "name")),
    }
    let is_optional = children[0].attribute("presence") == Some("optional");
    let null = is_optional.then_some("-9223372036854775808");
    assert_eq!(children[0].attribute("nullValue"), null, "{}: its null", text(node, "name"));
    if children[1].attribute("presence") != Some("constant") {
        return Some((Shape::Decimal, is_optional, 9));
    }
    assert_eq!(children[1].text(), Some("-9"), "{}: units of 1e-9", text(node, "name"));
    let rust = match node.attribute("semanticType") {
        Some("Price") => "Price",
        Some("Qty") => "Amount",
        other => panic!("{}: semantic type {other:?}", text(node, "name")),
    };
    Some((Shape::Units { rust }, is_optional, 8))
}

fn vocabulary(node: Node<'_, '_>) -> Words {
    let is_set = node.has_tag_name("set");
    let is_char = match node.attribute("encodingType") {
        Some("char") if !is_set => true,
        Some("uint8") => false,
        other => panic!("{}: encoding {other:?}", text(node, "name")),
    };
    let values = node.children().filter(Node::is_element).map(|value| {
        let wire = value.text().expect("a value").trim();
        let rust = if is_char { format!("b'{wire}'") } else { wire.to_owned() };
        let name = text(value, "name");
        let wire = [name.clone(), wire.to_owned()];
        let name = if is_set { snake(&name) } else { name };
        Value { name, wire, rust, description: text(value, "description") }
    });
    Words {
        wire_name: text(node, "name"),
        rust: pascal(&text(node, "name")),
        description: text(node, "description"),
        is_set,
        values: values.collect(),
    }
}

fn message(node: Node<'_, '_>, types: &Types) -> Message {
    let name = text(node, "name");
    let elements = || node.children().filter(Node::is_element);
    let kinds: Vec<&str> = elements().map(|child| child.tag_name().name()).collect();
    let place = |kind: &&str| ["field", "group", "data"].iter().position(|known| known == kind);
    assert!(kinds.iter().all(|kind| place(kind).is_some()), "{name}: what is neither field, group nor data");
    assert!(kinds.is_sorted_by_key(place), "{name}: fields, then groups, then data");
    let nested = elements().filter(|child| child.has_tag_name("group")).flat_map(|group| group.children());
    for child in nested.filter(Node::is_element) {
        assert!(child.has_tag_name("field"), "{name}: a group has fields alone");
    }
    let groups = elements().filter(|child| child.has_tag_name("group")).map(|group| Group {
        name: snake(&text(group, "name")),
        wire_name: text(group, "name"),
        entry: text(group, "semanticType"),
        block: block(group, types),
        since: since(group),
    });
    let texts = elements().filter(|child| child.has_tag_name("data")).map(|data| Text {
        name: snake(&text(data, "name")),
        description: text(data, "description"),
        since: since(data),
    });
    let (groups, texts): (Vec<Group>, Vec<Text>) = (groups.collect(), texts.collect());
    let sinces =
        |sinces: Vec<u16>| assert!(sinces.is_sorted(), "{name}: what is added comes behind what was there");
    // A reader of an earlier version passes over what stands behind all that it knows, and over nothing between.
    sinces(groups.iter().map(|group| group.since).chain(texts.iter().map(|text| text.since)).collect());
    Message {
        id: number(node, "id"),
        description: text(node, "description"),
        block: block(node, types),
        groups,
        texts,
        name,
    }
}

fn block(node: Node<'_, '_>, types: &Types) -> Block {
    let within = text(node, "name");
    let (mut offset, mut bytes_first) = (0, 0);
    let mut fields: Vec<Field> = Vec::new();
    for child in node.children().filter(|child| child.has_tag_name("field")) {
        let name = text(child, "name");
        let type_name = text(child, "type");
        let (shape, is_optional, bytes) = types[&type_name].clone();
        let presence = child.attribute("presence");
        assert!(matches!(presence, None | Some("optional")), "{within}.{name}: presence {presence:?}");
        let is_optional = is_optional || presence == Some("optional");
        let has_null = matches!(shape, Shape::Enum { .. }) || types[&type_name].1;
        assert!(!is_optional || has_null, "{within}.{name}: nothing stands for none");
        let since = since(child);
        assert!(since == 0 || is_optional, "{within}.{name}: what is added later may be absent");
        assert!(
            fields.last().is_none_or(|last| last.since <= since),
            "{within}.{name}: added within the block"
        );
        assert_eq!(usize::from(number(child, "offset")), offset, "{within}.{name}: its offset");
        offset += bytes;
        if since == 0 {
            bytes_first = offset;
        }
        let description = text(child, "description");
        fields.push(Field {
            name: snake(&name),
            names: [name, type_name],
            description,
            shape,
            is_optional,
            offset: offset - bytes,
            bytes,
            since,
        });
    }
    assert_eq!(usize::from(number(node, "blockLength")), offset, "{within}: its length");
    Block { fields, bytes: offset, bytes_first }
}

fn since(node: Node<'_, '_>) -> u16 {
    node.attribute("sinceVersion").map_or(0, |version| version.parse().expect("a version"))
}

fn number(node: Node<'_, '_>, name: &str) -> u16 {
    let value = node.attribute(name).unwrap_or_else(|| panic!("{:?} has no {name}", node.attribute("name")));
    value.parse().unwrap_or_else(|error| panic!("{name} = {value}: {error}"))
}

fn text(node: Node<'_, '_>, name: &str) -> String {
    node.attribute(name).unwrap_or_default().to_owned()
}

/// `bidPrice` as Rust names a field: `bid_price`.
pub(crate) fn snake(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// `ordType` as Rust names a type: `OrdType`.
fn pascal(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
