//! `GET /api/tools` and `POST /api/tools/call`: what the gateway does for assistants, and one call of it. PURE.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Answer;
use crate::dialect::tools::{TOOLS, ToolResult};

/// A call as it was asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked<'a> {
    pub name: String,
    /// None calls without any.
    #[serde(borrow)]
    pub arguments: Option<&'a RawValue>,
}

/// All tools, as `tools/list` of the Model Context Protocol has them.
#[must_use]
pub fn listed() -> String {
    let mut text = String::from("{\"tools\":[");
    for (at, tool) in TOOLS.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        tool.write(&mut text);
    }
    text.push_str("]}");
    text
}

/// Reads the body of a call.
///
/// # Errors
/// The answer to a body that is none.
pub fn asked(body: &[u8]) -> Result<Asked<'_>, Answer> {
    serde_json::from_slice(body)
        .map_err(|_| Answer::error(400, "expected {\"name\":\"…\",\"arguments\":{…}}"))
}

/// What came of it: an error of the tool is an answer, too, as the protocol has it.
#[must_use]
pub fn called(result: &ToolResult) -> Answer {
    let mut text = String::new();
    result.write(&mut text);
    Answer::text(200, "application/json", text)
}

/// There is no tool of that name.
#[must_use]
pub fn unknown() -> Answer {
    Answer::error(404, "no such tool: GET /api/tools lists all")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_list_has_each_tool_by_its_name() {
        let listed: Value = serde_json::from_str(&listed()).unwrap();
        let names: Vec<_> = listed["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
        let expected = [
            "list_instruments",
            "last_price",
            "order_book",
            "recent_trades",
            "place_order",
            "cancel_order",
            "server_status",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_call_names_its_tool_and_perhaps_arguments() {
        let arguments = |body: &str| {
            let asked = asked(body.as_bytes()).map_err(|answer| answer.status)?;
            Ok((asked.name, asked.arguments.map(|arguments| arguments.get().to_owned())))
        };
        let call = r#"{"name":"last_price","arguments":{"instrument_name":"X"}}"#;
        let expected = ("last_price".to_owned(), Some(r#"{"instrument_name":"X"}"#.to_owned()));
        assert_eq!(arguments(call), Ok(expected));
        assert_eq!(arguments(r#"{"name":"server_status"}"#), Ok(("server_status".to_owned(), None)));
        for odd in ["", "[]", r#"{"arguments":{}}"#, r#"{"name":"a","more":1}"#] {
            assert_eq!(arguments(odd), Err(400), "{odd}");
        }
    }

    #[test]
    fn an_error_of_a_tool_is_an_answer() {
        let answer = called(&ToolResult::fault("no"));
        let body: Value = serde_json::from_str(&answer.body.text).unwrap();
        assert_eq!((answer.status, &body["isError"]), (200, &json!(true)));
    }
}
