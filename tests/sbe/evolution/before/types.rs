//! The words of the schema: enumerations and sets, a byte each. PURE. Written from tests/sbe/evolution/before.xml by `tests/sbe`, not by hand.

use tickring::dialect::sbe::wire::DecodeError;

/// A word of which there will be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Red,
    Green,
}

impl Colour {
    /// Every value.
    pub const ALL: [Colour; 2] = [Colour::Red, Colour::Green];

    /// Its byte on the wire.
    #[inline]
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            Colour::Red => 0,
            Colour::Green => 1,
        }
    }

    /// # Errors
    /// A value that is not known; `field` is named in it.
    #[inline]
    pub const fn from_wire(field: &'static str, [value]: [u8; 1]) -> Result<Colour, DecodeError> {
        Ok(match value {
            0 => Colour::Red,
            1 => Colour::Green,
            value => return Err(DecodeError::UnknownValue { field, value }),
        })
    }
}
