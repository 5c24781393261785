//! How messages of the store's stream are written, and read without trust. No I/O. Home: the thread of a `JetStream` store.
//!
//! A message is a head and a body. The body of a [`Kind::Whole`] is operations of one or more batches; where those are too long for one message
//! it is cut anywhere into parts, of which the first and the last say so. Invariants: what is decoded is what was encoded, or a fault; parts
//! without their last are nothing, since whoever goes on after them begins anew.

use crate::cluster::names::Fence;
use crate::limits;
use crate::model::storage::{StoreFault, StoreOp, Table};

const MAGIC: [u8; 4] = *b"tkST";
const VERSION: u8 = 1;
pub(super) const HEAD_BYTES: usize = MAGIC.len() + 2 + 3 * 8;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: it has moved the stream on, so that what was sent before and is not in it never will be.
    Mark,
    /// All of some batches.
    Whole,
    /// The beginning of some that are too long for one message. What was begun before it is not gone on with.
    FirstPart,
    /// What follows it; the next message has more.
    Part,
    /// The rest of what was begun by parts.
    LastPart,
}

/// One opening of a store, told from any other by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writer(pub(super) u64);

/// See the file's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) fence: Fence,
    pub(super) writer: Writer,
    /// Of this writer's messages, counted from 0 whether they came into the stream or not.
    pub(super) nth: u64,
}

impl Head {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(MAGIC);
        out.push(VERSION);
        out.push(match self.kind {
            Kind::Mark => 0,
            Kind::Whole => 1,
            Kind::FirstPart => 2,
            Kind::Part => 3,
            Kind::LastPart => 4,
        });
        for number in [self.fence.0, self.writer.0, self.nth] {
            out.extend(number.to_be_bytes());
        }
    }

    /// The head of a message, and its body.
    ///
    /// # Errors
    /// [`StoreFault::Corrupt`]: it is none of ours, or of a newer version.
    pub(super) fn decode(message: &[u8]) -> Result<(Head, &[u8]), StoreFault> {
        let mut left = Left(message);
        if left.array()? != MAGIC || left.byte()? != VERSION {
            return Err(StoreFault::Corrupt);
        }
        let kind = match left.byte()? {
            0 => Kind::Mark,
            1 => Kind::Whole,
            2 => Kind::FirstPart,
            3 => Kind::Part,
            4 => Kind::LastPart,
            _ => return Err(StoreFault::Corrupt),
        };
        let (fence, writer, nth) = (Fence(left.number()?), Writer(left.number()?), left.number()?);
        Ok((Head { kind, fence, writer, nth }, left.0))
    }
}

/// Bytes that an operation takes in a message.
pub(super) fn encoded_bytes(op: &StoreOp) -> usize {
    match op {
        StoreOp::Put { value, .. } => 14 + value.len(),
        StoreOp::Remove { .. } => 10,
    }
}

pub(super) fn encode_op(op: &StoreOp, out: &mut Vec<u8>) {
    match op {
        StoreOp::Put { table, key, value } => {
            out.extend([0, table.number()]);
            out.extend(key.to_be_bytes());
            let bytes =
                u32::try_from(value.len()).expect("invariant: a value is at most STORE_VALUE_BYTES_MAX");
            out.extend(bytes.to_be_bytes());
            out.extend(&value[..]);
        }
        StoreOp::Remove { table, key } => {
            out.extend([1, table.number()]);
            out.extend(key.to_be_bytes());
        }
    }
}

/// # Errors
/// [`StoreFault::Corrupt`]: it is not what [`encode_op`] writes.
pub(super) fn decode_ops(body: &[u8]) -> Result<Vec<StoreOp>, StoreFault> {
    let (mut left, mut ops) = (Left(body), Vec::new());
    while !left.0.is_empty() {
        let kind = left.byte()?;
        // The store's own table is one of a file.
        let table = Table::from_number(left.byte()?)
            .filter(|table| *table != Table::Meta)
            .ok_or(StoreFault::Corrupt)?;
        let key = left.number()?;
        ops.push(match kind {
            0 => {
                let bytes = u32::from_be_bytes(left.array()?) as usize;
                if bytes > limits::STORE_VALUE_BYTES_MAX {
                    return Err(StoreFault::Corrupt);
                }
                StoreOp::Put { table, key, value: left.take(bytes)?.into() }
            }
            1 => StoreOp::Remove { table, key },
            _ => return Err(StoreFault::Corrupt),
        });
    }
    Ok(ops)
}

/// What is not read yet.
struct Left<'a>(&'a [u8]);

impl<'a> Left<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], StoreFault> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(StoreFault::Corrupt)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreFault> {
        self.take(N)?.try_into().map_err(|_| StoreFault::Corrupt)
    }

    fn byte(&mut self) -> Result<u8, StoreFault> {
        Ok(self.array::<1>()?[0])
    }

    fn number(&mut self) -> Result<u64, StoreFault> {
        Ok(u64::from_be_bytes(self.array()?))
    }
}

/// Messages that are one after the other in the stream and belong together, with what they say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Sequences of the stream.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Of all of them, as [`message_bytes`] has it.
    pub(super) bytes: u64,
    pub(super) ops: Vec<StoreOp>,
}

/// What a message counts for in a stream's limit: its payload, and what the server has around it.
pub(super) fn message_bytes(payload: usize) -> u64 {
    payload as u64 + limits::JETSTREAM_MESSAGE_OVERHEAD_BYTES
}

/// Puts messages together that are told in their order.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    /// The first that belongs to no span yet, and the bytes of them all.
    begun: Option<(u64, u64)>,
    /// Of parts so far.
    body: Vec<u8>,
}

impl Assembly {
    /// The span that ends with this message, if one does. What was begun before and is not gone on with is dead, and counts to the next.
    ///
    /// # Errors
    /// [`StoreFault::Corrupt`]: it is not what we write.
    pub(super) fn take(&mut self, sequence: u64, message: &[u8]) -> Result<Option<Span>, StoreFault> {
        let (head, body) = Head::decode(message)?;
        let (first, bytes) = self.begun.take().unwrap_or((sequence, 0));
        let bytes = bytes + message_bytes(message.len());
        if head.kind == Kind::FirstPart {
            self.body.clear();
        }
        let ops = match head.kind {
            Kind::FirstPart | Kind::Part => {
                if self.body.len() + body.len() > limits::JETSTREAM_SPAN_BYTES_MAX {
                    return Err(StoreFault::Corrupt);
                }
                self.body.extend_from_slice(body);
                self.begun = Some((first, bytes));
                return Ok(None);
            }
            Kind::LastPart => {
                self.body.extend_from_slice(body);
                decode_ops(&std::mem::take(&mut self.body))?
            }
            Kind::Whole => {
                self.body.clear();
                decode_ops(body)?
            }
            Kind::Mark => {
                self.body.clear();
                Vec::new()
            }
        };
        Ok(Some(Span { first, last: sequence, bytes, ops }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(kind: Kind) -> Head {
        Head { kind, fence: Fence(3), writer: Writer(4), nth: 5 }
    }

    fn message(kind: Kind, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        head(kind).encode(&mut out);
        out.extend(body);
        out
    }

    fn put(key: u64, value: &[u8]) -> StoreOp {
        StoreOp::Put { table: Table::Messages, key, value: value.into() }
    }

    fn body_of(ops: &[StoreOp]) -> Vec<u8> {
        let mut body = Vec::new();
        ops.iter().for_each(|op| encode_op(op, &mut body));
        assert_eq!(body.len(), ops.iter().map(encoded_bytes).sum::<usize>());
        body
    }

    #[test]
    fn a_head_is_read_as_it_was_written_and_nothing_else_is_one() {
        for kind in [Kind::Mark, Kind::Whole, Kind::FirstPart, Kind::Part, Kind::LastPart] {
            let written = message(kind, b"body");
            assert_eq!(written.len(), HEAD_BYTES + 4);
            assert_eq!(Head::decode(&written), Ok((head(kind), &b"body"[..])));
            for cut in 0..HEAD_BYTES {
                assert_eq!(Head::decode(&written[..cut]), Err(StoreFault::Corrupt));
            }
        }
        for (place, byte) in [(0, b'x'), (4, 2), (5, 5)] {
            let mut other = message(Kind::Mark, b"");
            other[place] = byte;
            assert_eq!(Head::decode(&other), Err(StoreFault::Corrupt), "place {place}");
        }
    }

    #[test]
    fn parts_are_put_together_and_what_was_not_gone_on_with_is_nothing() {
        let ops = vec![put(1, b"one"), StoreOp::Remove { table: Table::Done, key: 2 }, put(3, &[7; 40])];
        let body = body_of(&ops);
        let mut assembly = Assembly::default();
        // Of an owner who has ended in between.
        assert_eq!(assembly.take(10, &message(Kind::FirstPart, &body[..20])), Ok(None));
        assert_eq!(assembly.take(11, &message(Kind::Part, &body[20..30])), Ok(None));
        let mark = assembly.take(12, &message(Kind::Mark, b"")).unwrap().unwrap();
        assert_eq!((mark.first, mark.last, mark.ops.len()), (10, 12, 0));
        assert_eq!(
            mark.bytes,
            message_bytes(HEAD_BYTES + 20) + message_bytes(HEAD_BYTES + 10) + message_bytes(HEAD_BYTES)
        );
        // Refused in the middle, and another one behind.
        assert_eq!(assembly.take(13, &message(Kind::FirstPart, &body[..20])), Ok(None));
        assert_eq!(assembly.take(14, &message(Kind::FirstPart, &body[..30])), Ok(None));
        assert_eq!(assembly.take(15, &message(Kind::Part, &body[30..40])), Ok(None));
        let whole = assembly.take(16, &message(Kind::LastPart, &body[40..])).unwrap().unwrap();
        assert_eq!((whole.first, whole.last, whole.ops), (13, 16, ops));
        let alone = assembly.take(17, &message(Kind::Whole, &body_of(&[put(9, b"")]))).unwrap().unwrap();
        assert_eq!((alone.first, alone.last, alone.ops), (17, 17, vec![put(9, b"")]));
    }

    #[test]
    fn the_table_of_a_file_is_none_of_a_stream() {
        let op = StoreOp::Put { table: Table::Meta, key: 1, value: b"x"[..].into() };
        assert_eq!(decode_ops(&body_of(&[op])), Err(StoreFault::Corrupt));
    }

    proptest! {
        #[test]
        fn operations_are_read_as_they_were_written(
            ops in prop::collection::vec((1_u8..5, any::<u64>(), prop::option::of(prop::collection::vec(any::<u8>(), 0..50))), 0..20)
        ) {
            let ops: Vec<StoreOp> = ops.into_iter().map(|(table, key, value)| {
                let table = Table::from_number(table).unwrap();
                match value {
                    Some(value) => StoreOp::Put { table, key, value: value.into() },
                    None => StoreOp::Remove { table, key },
                }
            }).collect();
            prop_assert_eq!(decode_ops(&body_of(&ops)), Ok(ops));
        }

        #[test]
        fn any_bytes_are_operations_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(ops) = decode_ops(&bytes) {
                prop_assert_eq!(body_of(&ops), bytes);
            }
        }
    }
}
