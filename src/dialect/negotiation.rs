//! What a client asks to be spoken to in: at its upgrade by the query, by a subprotocol, or by neither; on binary TCP in its hello. PURE.
//!
//! Invariant: what is asked for and not spoken here is refused, never answered by something else.

use std::ops::RangeInclusive;

use crate::http::decode_query;
use crate::model::encoding::{Encoding, Form};

use super::sbe::generated as sbe;

/// Names the JSON-RPC dialect, which is what control is in whatever the market data are in; a client need not ask for it.
pub const JSON_RPC: &str = "json-rpc";
/// Names SBE by this schema for market data, and JSON-RPC for control.
const SBE: &str = "sbe.tickring.v1";

/// Versions of the schema that clients may know: what a later one adds is passed over by who knows an earlier one.
const VERSIONS: RangeInclusive<u16> = 0..=sbe::SCHEMA_VERSION;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    pub form: Form,
    /// The one of the offered that the answer names.
    pub subprotocol: Option<&'static str>,
}

/// Why there is nothing to agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The query, or the hello, asks for an encoding, a schema or a version of it that is not there, or contradicts itself or the subprotocols.
    Encoding,
    /// None of the subprotocols on offer is spoken.
    Subprotocol,
}

/// What comes of a query and of the subprotocols on offer, the client's favourite first. The query decides; where it says nothing,
/// the first subprotocol that is known does.
///
/// # Errors
/// Why there is nothing to agree on.
pub fn negotiate<'o>(
    query: Option<&str>,
    offered: impl Iterator<Item = &'o str>,
) -> Result<Agreement, Refusal> {
    let asked = asked_for(query.unwrap_or_default())?;
    let (mut offers_any, mut favourite, mut offers_json_rpc, mut offers_sbe) = (false, None, false, false);
    for name in offered {
        offers_any = true;
        let encoding = match name {
            JSON_RPC => Encoding::Json,
            SBE => Encoding::Sbe,
            _ => continue,
        };
        favourite = favourite.or(Some(encoding));
        offers_json_rpc |= encoding == Encoding::Json;
        offers_sbe |= encoding == Encoding::Sbe;
    }
    if offers_any && favourite.is_none() {
        return Err(Refusal::Subprotocol);
    }
    let of_favourite = match favourite.unwrap_or_default() {
        Encoding::Json => Form::Json,
        Encoding::Sbe => Form::Sbe { is_batched: false },
    };
    let form = asked.unwrap_or(of_favourite);
    let subprotocol = match form.encoding() {
        _ if !offers_any => None,
        Encoding::Sbe if offers_sbe => Some(SBE),
        // Control is JSON-RPC all the same.
        Encoding::Sbe | Encoding::Json if offers_json_rpc => Some(JSON_RPC),
        Encoding::Sbe | Encoding::Json => return Err(Refusal::Encoding),
    };
    Ok(Agreement { form, subprotocol })
}

/// What a query names: `encoding=json`, or `encoding=sbe` with a `schema`, a `version` and perhaps `batch`. Other names are passed over.
fn asked_for(query: &str) -> Result<Option<Form>, Refusal> {
    let Ok(pairs) = decode_query(query) else {
        let mut names = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
        let seems_to_ask = names.any(|name| ["encoding", "schema", "version", "batch"].contains(&name));
        return if seems_to_ask { Err(Refusal::Encoding) } else { Ok(None) };
    };
    let value = |wanted: &str| {
        let mut values = pairs.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Refusal::Encoding),
        }
    };
    let numbered = |text: Option<&str>| text.map(|text| number(text).ok_or(Refusal::Encoding)).transpose();
    let (schema, version) = (numbered(value("schema")?)?, numbered(value("version")?)?);
    let is_batched = match value("batch")? {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(Refusal::Encoding),
    };
    find(value("encoding")?, schema, version, is_batched)
}

/// What goes by these names: JSON, or SBE by a schema and a version of it, in batches where they are asked for.
///
/// # Errors
/// One that is not spoken here, or parts of a name that do not make one.
pub fn find(
    encoding: Option<&str>,
    schema: Option<u16>,
    version: Option<u16>,
    is_batched: Option<bool>,
) -> Result<Option<Form>, Refusal> {
    match (encoding, schema, version, is_batched) {
        (None, None, None, None) => Ok(None),
        (Some("json"), None, None, None | Some(false)) => Ok(Some(Form::Json)),
        (Some("sbe"), Some(sbe::SCHEMA_ID), Some(version), _) if VERSIONS.contains(&version) => {
            Ok(Some(Form::Sbe { is_batched: is_batched == Some(true) }))
        }
        _ => Err(Refusal::Encoding),
    }
}

/// Digits alone; `parse` would take a sign.
fn number(text: &str) -> Option<u16> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, offered: &[&str], expected: Result<(Encoding, Option<&'static str>), Refusal>) {
        let agreed = negotiate(Some(query), offered.iter().copied());
        let agreed = agreed.map(|agreement| (agreement.form.encoding(), agreement.subprotocol));
        assert_eq!(agreed, expected, "{query:?}, {offered:?}");
    }

    #[test]
    fn the_query_decides_and_else_the_first_subprotocol_that_is_known() {
        let (json, sbe) = (Encoding::Json, Encoding::Sbe);
        check("", &[], Ok((json, None)));
        check("token=x", &[], Ok((json, None)));
        check("token=%", &[], Ok((json, None)));
        check("api_version=2&token=%", &[], Ok((json, None)));
        check("encoding=json", &[], Ok((json, None)));
        check("encoding=sbe&schema=1&version=0", &[], Ok((sbe, None)));
        check("a=b&version=0&schema=1&encoding=%73be", &[], Ok((sbe, None)));
        check("", &["soap", "json-rpc", "sbe.tickring.v1"], Ok((json, Some("json-rpc"))));
        check("", &["sbe.tickring.v1", "json-rpc"], Ok((sbe, Some("sbe.tickring.v1"))));
        check("encoding=json", &["sbe.tickring.v1", "json-rpc"], Ok((json, Some("json-rpc"))));
        let asks_for_sbe = "encoding=sbe&schema=1&version=0";
        check(asks_for_sbe, &["json-rpc", "sbe.tickring.v1"], Ok((sbe, Some("sbe.tickring.v1"))));
        check(asks_for_sbe, &["json-rpc"], Ok((sbe, Some("json-rpc"))));
    }

    #[test]
    fn batches_are_asked_for_beside_sbe() {
        for (more, expected) in [("", false), ("&batch=true", true), ("&batch=false", false)] {
            let query = format!("encoding=sbe&schema=1&version=0{more}");
            let agreed = negotiate(Some(&query), ["sbe.tickring.v1"].into_iter()).unwrap();
            assert_eq!(agreed.form, Form::Sbe { is_batched: expected }, "{query}");
        }
        check("encoding=json&batch=false", &[], Ok((Encoding::Json, None)));
    }

    #[test]
    fn what_is_not_spoken_is_refused_rather_than_something_else_given() {
        for query in [
            "encoding=xml",
            "encoding=",
            "encoding=SBE&schema=1&version=0",
            "encoding=sbe",
            "encoding=sbe&schema=1",
            "encoding=sbe&version=0",
            "encoding=sbe&schema=2&version=0",
            "encoding=sbe&schema=1&version=1",
            "encoding=sbe&schema=%2B1&version=0",
            "encoding=sbe&schema=1&version=",
            "encoding=sbe&schema=65537&version=0",
            "encoding=sbe&encoding=json&schema=1&version=0",
            "encoding=json&schema=1&version=0",
            "schema=1&version=0",
            "encoding=json&x=%",
            "encoding&x=%",
            "batch=true",
            "batch&x=%",
            "encoding=json&batch=true",
            "encoding=sbe&schema=1&version=0&batch=1",
            "encoding=sbe&schema=1&version=0&batch=true&batch=true",
        ] {
            check(query, &[], Err(Refusal::Encoding));
        }
        check("encoding=json", &["sbe.tickring.v1"], Err(Refusal::Encoding));
        check("", &["sbe.tickring.v2"], Err(Refusal::Subprotocol));
        check("encoding=sbe&schema=1&version=0", &["soap"], Err(Refusal::Subprotocol));
    }
}
