//! Values of the model as bytes: those that clients' requests and their answers are made of. PURE.
//!
//! Invariants: what is read is legal as far as its type says, and is written as the same bytes again; whatever bytes come, reading ends in a value or a
//! [`WireFault`], and takes memory in proportion to them. A variant has its number here for ever: nodes of one version read each other.

use std::sync::Arc;

use crate::limits;
use crate::model::channel::TopicName;
use crate::model::decimal::{Amount, Price};
use crate::model::ids::{ConnId, Epoch, HomeId, InstrumentId, Position, Seq, Ticket};
use crate::model::instrument::Symbol;
use crate::model::message::{MessageId, SessionId};
use crate::model::order::{AccountId, Client, Label, OrderId};

use super::wire::{Put, Reader, WireFault};

/// A value that crosses.
pub(super) trait Coded: Sized {
    fn write(&self, out: &mut Vec<u8>);

    /// # Errors
    /// See [`WireFault`].
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireFault>;
}

/// A structure, by its fields in their order.
macro_rules! coded_struct {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::cluster::coding::Coded for $type {
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::cluster::coding::Coded::write(&self.$field, out);)+
            }

            fn read(
                reader: &mut $crate::cluster::wire::Reader<'_>,
            ) -> Result<Self, $crate::cluster::wire::WireFault> {
                Ok($type { $($field: $crate::cluster::coding::Coded::read(reader)?),+ })
            }
        }
    };
}

/// A choice, by a number of its own for each variant.
macro_rules! coded_enum {
    ($type:ident { $($number:literal => $variant:ident $(($one:ident))? $({ $($field:ident),+ $(,)? })?),+ $(,)? }) => {
        impl $crate::cluster::coding::Coded for $type {
            fn write(&self, out: &mut Vec<u8>) {
                match self {
                    $($type::$variant $(($one))? $({ $($field),+ })? => {
                        $crate::cluster::wire::Put::put_u8(out, $number);
                        $($crate::cluster::coding::Coded::write($one, out);)?
                        $($($crate::cluster::coding::Coded::write($field, out);)+)?
                    })+
                }
            }

            fn read(
                reader: &mut $crate::cluster::wire::Reader<'_>,
            ) -> Result<Self, $crate::cluster::wire::WireFault> {
                Ok(match reader.u8()? {
                    $($number => $type::$variant $(({
                        let $one = $crate::cluster::coding::Coded::read(reader)?;
                        $one
                    }))? $({ $($field: $crate::cluster::coding::Coded::read(reader)?),+ })?,)+
                    _ => return Err($crate::cluster::wire::WireFault::Value),
                })
            }
        }
    };
}

pub(super) use {coded_enum, coded_struct};

/// A number as it is.
macro_rules! coded_number {
    ($($type:ty),+) => {
        $(impl Coded for $type {
            fn write(&self, out: &mut Vec<u8>) {
                out.put(&self.to_le_bytes());
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, WireFault> {
                reader.array().map(<$type>::from_le_bytes)
            }
        })+
    };
}

coded_number!(u16, u32, u64, i64);

/// A type around one number.
macro_rules! coded_wrapper {
    ($($type:ident),+) => {
        $(impl Coded for $type {
            fn write(&self, out: &mut Vec<u8>) {
                self.0.write(out);
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, WireFault> {
                Coded::read(reader).map($type)
            }
        })+
    };
}

coded_wrapper!(AccountId, OrderId, MessageId, SessionId, Price, Amount);
coded_struct!(Ticket { slot, generation });
coded_struct!(ConnId { slot, generation });
coded_struct!(Position { epoch, seq });

impl Coded for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(*self));
    }

    fn read(reader: &mut Reader<'_>) -> Result<bool, WireFault> {
        reader.flag()
    }
}

impl Coded for Seq {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_u64(self.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Seq, WireFault> {
        reader.seq()
    }
}

impl Coded for Epoch {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_u64(self.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Epoch, WireFault> {
        reader.epoch()
    }
}

impl Coded for InstrumentId {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_u32(self.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<InstrumentId, WireFault> {
        let id = InstrumentId(reader.u32()?);
        if id.index() < limits::INSTRUMENTS_MAX { Ok(id) } else { Err(WireFault::Value) }
    }
}

/// Its home is whose stream it is in, and is set by who reads it.
impl Coded for Client {
    fn write(&self, out: &mut Vec<u8>) {
        self.conn.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Client, WireFault> {
        Ok(Client { home: HomeId(0), conn: Coded::read(reader)? })
    }
}

impl Coded for Label {
    fn write(&self, out: &mut Vec<u8>) {
        put_short(out, self.as_str().as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Label, WireFault> {
        let text = std::str::from_utf8(short(reader)?).map_err(|_| WireFault::Value)?;
        Label::parse(text).ok_or(WireFault::Value)
    }
}

impl Coded for TopicName {
    fn write(&self, out: &mut Vec<u8>) {
        put_short(out, self.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<TopicName, WireFault> {
        TopicName::parse(short(reader)?).ok_or(WireFault::Value)
    }
}

impl Coded for Symbol {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_symbol(self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Symbol, WireFault> {
        reader.symbol()
    }
}

/// A text: contents of messages are JSON.
impl Coded for Arc<[u8]> {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_run(self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Arc<[u8]>, WireFault> {
        Ok(reader.text()?.as_bytes().into())
    }
}

impl<T: Coded> Coded for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(self.is_some()));
        self.iter().for_each(|value| value.write(out));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Option<T>, WireFault> {
        if reader.flag()? { T::read(reader).map(Some) } else { Ok(None) }
    }
}

impl<T: Coded> Coded for Box<T> {
    fn write(&self, out: &mut Vec<u8>) {
        (**self).write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Box<T>, WireFault> {
        T::read(reader).map(Box::new)
    }
}

impl<T: Coded> Coded for Box<[T]> {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_count(self.len());
        self.iter().for_each(|value| value.write(out));
    }

    /// Room is made for what has been read.
    fn read(reader: &mut Reader<'_>) -> Result<Box<[T]>, WireFault> {
        let count = reader.count(1)?;
        (0..count).map(|_| T::read(reader)).collect()
    }
}

impl<T: Coded, E: Coded> Coded for Result<T, E> {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(self.is_err()));
        match self {
            Ok(value) => value.write(out),
            Err(value) => value.write(out),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Result<T, E>, WireFault> {
        if reader.flag()? { E::read(reader).map(Err) } else { T::read(reader).map(Ok) }
    }
}

fn put_short(out: &mut Vec<u8>, text: &[u8]) {
    out.put_u8(u8::try_from(text.len()).expect("invariant: names and labels have at most 64 bytes"));
    out.put(text);
}

fn short<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], WireFault> {
    let count = usize::from(reader.u8()?);
    reader.bytes(count)
}
