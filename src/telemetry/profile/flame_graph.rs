//! A flame graph: an image that needs nothing else, threads at its top, what they called below. PURE.
//!
//! Widths are samples. What is too narrow to be seen is left out, so that the image is bounded. Names come from the program's own
//! symbols and from what threads are called, and are escaped all the same.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Origin, Profile};

/// What zooms and searches; whoever serves the image has to allow it.
pub const SCRIPT: &str = include_str!("flame_graph.js");
const STYLE: &str = include_str!("flame_graph.css");

/// Of the width: narrower frames are not drawn.
const SHARE_MIN: f64 = 0.000_25;
const ROW: usize = 17;
/// Above the rows: two lines of text.
const HEAD: usize = 46;
/// Shades of one origin, so that neighbours differ.
const SHADES: u64 = 3;

/// A frame under one certain path.
struct Node<'p> {
    name: &'p str,
    origin: Origin,
    samples: u64,
    children: BTreeMap<(&'p str, Origin), Node<'p>>,
}

/// The image as SVG.
#[must_use]
pub fn flame_graph(profile: &Profile) -> String {
    let mut root = Node::new("all", Origin::Library);
    for stack in &profile.stacks {
        root.add(profile.names(stack), stack.samples);
    }
    let samples_min = (root.samples as f64 * SHARE_MIN).max(1.0);
    let rows = root.depth(samples_min);
    let height = HEAD + rows * ROW + 8;
    let mut image = String::new();
    // A string takes all that is written.
    let _ = writeln!(
        image,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100%\" height=\"{height}\">\
         <title>tickring: profile</title><style>{STYLE}</style>\
         <text x=\"4\" y=\"16\">{}</text>\
         <text id=\"search\" x=\"4\" y=\"36\">search</text><text id=\"unzoom\" class=\"hidden\" x=\"64\" y=\"36\">all</text>\
         <text id=\"details\" x=\"110\" y=\"36\"></text>",
        summary(profile)
    );
    let mut drawing = Drawing { image, total: root.samples.max(1), samples_min };
    drawing.draw(&root, 0, 0);
    let mut image = drawing.image;
    let _ = writeln!(image, "<script><![CDATA[{SCRIPT}]]></script></svg>");
    image
}

fn summary(profile: &Profile) -> String {
    let seconds = profile.duration_ns as f64 / 1e9;
    let (samples, lost, hz) = (profile.samples(), profile.lost(), profile.hz);
    let kernel = profile.kernel.name();
    format!("{samples} samples of {seconds:.1} s at {hz} Hz of processor time, {lost} lost, kernel {kernel}")
}

impl<'p> Node<'p> {
    fn new(name: &'p str, origin: Origin) -> Node<'p> {
        Node { name, origin, samples: 0, children: BTreeMap::new() }
    }

    fn add(&mut self, names: impl Iterator<Item = (&'p str, Origin)>, samples: u64) {
        self.samples += samples;
        let mut node = self;
        for (name, origin) in names {
            node = node.children.entry((name, origin)).or_insert_with(|| Node::new(name, origin));
            node.samples += samples;
        }
    }

    fn is_drawn(&self, samples_min: f64) -> bool {
        self.samples as f64 >= samples_min
    }

    /// Rows that are drawn of it and above. As deep as stacks are, which are bounded.
    fn depth(&self, samples_min: f64) -> usize {
        if !self.is_drawn(samples_min) {
            return 0;
        }
        1 + self.children.values().map(|child| child.depth(samples_min)).max().unwrap_or(0)
    }
}

struct Drawing {
    image: String,
    total: u64,
    samples_min: f64,
}

impl Drawing {
    /// Draws it `row` rows below the first, behind `before` samples.
    fn draw(&mut self, node: &Node<'_>, row: usize, before: u64) {
        if !node.is_drawn(self.samples_min) {
            return;
        }
        let percent = |samples: u64| samples as f64 / self.total as f64 * 100.0;
        let (x, width, y) = (percent(before), percent(node.samples), HEAD + row * ROW);
        let origin = match node.origin {
            Origin::Gateway => "gateway",
            Origin::Library => "library",
            Origin::Kernel => "kernel",
        };
        let shade = node.name.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
            % SHADES;
        let (name, samples) = (escaped(node.name), node.samples);
        let _ = writeln!(
            self.image,
            "<svg class=\"frame {origin}{shade}\" x=\"{x:.4}%\" y=\"{y}\" width=\"{width:.4}%\" height=\"{ROW}\">\
             <title>{name}: {samples} samples, {width:.2} %</title>\
             <rect width=\"100%\" height=\"{ROW}\"/><text x=\"3\" y=\"12.5\">{name}</text></svg>"
        );
        let mut before = before;
        for child in node.children.values() {
            self.draw(child, row + 1, before);
            before += child.samples;
        }
    }
}

/// As text or an attribute of XML, which has no control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}
