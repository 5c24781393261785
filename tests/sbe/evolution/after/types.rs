//! The words of the schema: enumerations and sets, a byte each. PURE. Written from tests/sbe/evolution/after.xml by `tests/sbe`, not by hand.

use tickring::dialect::sbe::wire::DecodeError;

/// A word of which there are more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Red,
    Green,
    Blue,
}

impl Colour {
    /// Every value.
    pub const ALL: [Colour; 3] = [Colour::Red, Colour::Green, Colour::Blue];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            Colour::Red => 0,
            Colour::Green => 1,
            Colour::Blue => 2,
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<Colour, DecodeError> {
        Ok(match value {
            0 => Colour::Red,
            1 => Colour::Green,
            2 => Colour::Blue,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }

    /// The same where 255 stands for none.
    ///
    /// # Errors
    /// As above.
    #[inline]
    pub fn from_nullable(field: &'static str, value: [u8; 1]) -> Result<Option<Colour>, DecodeError> {
        if value == [255] { Ok(None) } else { Colour::from_wire(field, value).map(Some) }
    }
}
