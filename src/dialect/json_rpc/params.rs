//! Parameters by name, with what is wrong with one said by its name. PURE. A parameter that is null is as good as
//! absent; one that no method knows is passed over, as Deribit does.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::errors::Failure;
use super::scan::{Kind, Value};

/// The values of these parameters. `params` may be absent, an object, or an empty array.
pub(super) fn take<'a, const COUNT: usize>(
    params: Option<Value<'a>>,
    names: [&'static str; COUNT],
) -> Result<[Option<Value<'a>>; COUNT], Failure> {
    let mut values = [None; COUNT];
    let Some(params) = params else { return Ok(values) };
    if params.elements().next().is_some() {
        return Err(Failure::INVALID_PARAMS.because("params are taken by name").at("params"));
    }
    for (key, value) in params.members() {
        let Some(key) = key.string() else { continue };
        let Some(place) = names.iter().position(|name| *name == key) else { continue };
        if values[place].replace(value).is_some() {
            return Err(Failure::invalid_param(names[place], "given twice"));
        }
    }
    Ok(values)
}

/// One parameter and its name.
#[derive(Clone, Copy)]
pub(super) struct Param<'a> {
    pub(super) name: &'static str,
    pub(super) value: Option<Value<'a>>,
}

pub(super) fn param<'a>(name: &'static str, value: Option<Value<'a>>) -> Param<'a> {
    Param { name, value: value.filter(|value| value.kind() != Kind::Null) }
}

impl<'a> Param<'a> {
    /// # Errors
    /// Where the parameter is there and is not a string.
    pub(super) fn text(self) -> Result<Option<Cow<'a, str>>, Failure> {
        self.read(Value::string)
    }

    /// # Errors
    /// Where the parameter is there and is not a whole number within the range.
    pub(super) fn unsigned(self, range: RangeInclusive<u64>) -> Result<Option<u64>, Failure> {
        self.read(|value| value.unsigned().filter(|number| range.contains(number)))
    }

    /// # Errors
    /// Where the parameter is there and is neither true nor false.
    pub(super) fn boolean(self) -> Result<bool, Failure> {
        self.read(Value::boolean).map(|flag| flag == Some(true))
    }

    /// # Errors
    /// Where the parameter is there and is not among the choices; `reason` lists them.
    pub(super) fn choice<T: Copy>(
        self,
        choices: &[(&str, T)],
        reason: &'static str,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.text()? else { return Ok(None) };
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
        found.map(Some).ok_or(Failure::invalid_param(self.name, reason))
    }

    /// # Errors
    /// Where the parameter is absent or not a string.
    pub(super) fn required_text(self) -> Result<Cow<'a, str>, Failure> {
        self.text()?.ok_or(Failure::value_required(self.name))
    }

    pub(super) fn read<T>(self, reader: impl FnOnce(Value<'a>) -> Option<T>) -> Result<Option<T>, Failure> {
        match self.value {
            None => Ok(None),
            Some(value) => reader(value).map(Some).ok_or(Failure::wrong_format(self.name)),
        }
    }
}
