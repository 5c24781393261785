//! What an assistant may have the gateway do by itself: each tool is one call of the client API, by a name and arguments that say what
//! they mean. PURE.
//!
//! The words are those of the Model Context Protocol. Invariant: a tool has no right of its own: what it calls is called in the client's
//! name, and refused where the client may not.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::limits;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    /// The arguments, as a JSON Schema.
    input_schema: &'static str,
    pub effect: Effect,
    call: Call,
}

/// What a call does to what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Reads,
    /// Something new each time.
    Adds,
    /// It takes something away; a second call finds it gone.
    Removes,
}

/// The method that a tool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Method(&'static str),
    /// `private/buy` or `private/sell`, by the argument `side`.
    Order,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    /// One JSON value: the method's result, or what is wrong.
    pub json: String,
    pub is_error: bool,
}

/// Every tool.
pub const TOOLS: [Tool; 7] = [
    Tool {
        name: "list_instruments",
        title: "List instruments",
        description: "The instruments that can be traded here, each with its tick size, smallest amount and currencies.",
        input_schema: r#"{"type":"object","properties":{"currency":{"type":"string","description":"Only those of this base currency, such as BTC."},"kind":{"type":"string","enum":["future","option","spot","future_combo","option_combo"],"description":"Only those of this kind."}},"additionalProperties":false}"#,
        effect: Effect::Reads,
        call: Call::Method("public/get_instruments"),
    },
    Tool {
        name: "last_price",
        title: "Last price",
        description: "An instrument's last traded price, its best bid and ask with their amounts, and its statistics of the last 24 hours.",
        input_schema: r#"{"type":"object","properties":{"instrument_name":{"type":"string","description":"As list_instruments names it, such as BTC-PERPETUAL."}},"required":["instrument_name"],"additionalProperties":false}"#,
        effect: Effect::Reads,
        call: Call::Method("public/ticker"),
    },
    Tool {
        name: "order_book",
        title: "Order book",
        description: "An instrument's order book: bids and asks as [price, amount], the best first.",
        input_schema: r#"{"type":"object","properties":{"instrument_name":{"type":"string","description":"As list_instruments names it."},"depth":{"type":"integer","enum":[1,5,10,20,50,100,1000,10000],"description":"Levels of each side."}},"required":["instrument_name"],"additionalProperties":false}"#,
        effect: Effect::Reads,
        call: Call::Method("public/get_order_book"),
    },
    Tool {
        name: "recent_trades",
        title: "Recent trades",
        description: "An instrument's latest trades, the newest first.",
        input_schema: r#"{"type":"object","properties":{"instrument_name":{"type":"string","description":"As list_instruments names it."},"count":{"type":"integer","minimum":1,"maximum":1000,"description":"How many at most."}},"required":["instrument_name"],"additionalProperties":false}"#,
        effect: Effect::Reads,
        call: Call::Method("public/get_last_trades_by_instrument"),
    },
    Tool {
        name: "place_order",
        title: "Place an order",
        description: "Places an order in the name of the account whose authorization goes with the call, which has to have the scope trade:read_write. Answers with the order as it is then, and the trades that it has met.",
        input_schema: r#"{"type":"object","properties":{"instrument_name":{"type":"string","description":"As list_instruments names it."},"side":{"type":"string","enum":["buy","sell"]},"amount":{"type":"number","exclusiveMinimum":0,"description":"In the instrument's unit; a multiple of its smallest amount."},"type":{"type":"string","enum":["limit","market"],"description":"limit by default."},"price":{"type":"number","description":"Of a limit order; a multiple of the tick size."},"time_in_force":{"type":"string","enum":["good_til_cancelled","fill_or_kill","immediate_or_cancel"]},"post_only":{"type":"boolean"},"label":{"type":"string","maxLength":64,"description":"Your own name for it: who repeats a call with the same label does not order twice."}},"required":["instrument_name","side","amount"],"additionalProperties":false}"#,
        effect: Effect::Adds,
        call: Call::Order,
    },
    Tool {
        name: "cancel_order",
        title: "Cancel an order",
        description: "Cancels an open order of the account whose authorization goes with the call, which has to have the scope trade:read_write. Answers with the order as it is then.",
        input_schema: r#"{"type":"object","properties":{"order_id":{"type":"string","description":"As place_order answered it."}},"required":["order_id"],"additionalProperties":false}"#,
        effect: Effect::Removes,
        call: Call::Method("private/cancel"),
    },
    Tool {
        name: "server_status",
        title: "Server status",
        description: "How the gateway's links to its venues are: which are up, since when, and how many instruments each has.",
        input_schema: r#"{"type":"object","properties":{},"additionalProperties":false}"#,
        effect: Effect::Reads,
        call: Call::Method("public/get_venues"),
    },
];

/// What a call's arguments are, as they are written.
type Arguments<'a> = BTreeMap<String, &'a RawValue>;

impl Tool {
    /// The one of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<&'static Tool> {
        TOOLS.iter().find(|tool| tool.name == name)
    }

    /// Writes it as `tools/list` has it.
    pub fn write(&self, out: &mut String) {
        let Tool { name, title, description, input_schema, effect, .. } = self;
        let (reads, removes) = (*effect == Effect::Reads, *effect == Effect::Removes);
        out.push_str(&format!(
            "{{\"name\":{},\"title\":{},\"description\":{},\"inputSchema\":{input_schema},\"annotations\":{{\"title\":{},\
             \"readOnlyHint\":{reads},\"destructiveHint\":{},\"idempotentHint\":{},\"openWorldHint\":false}}}}",
            Value::from(*name),
            Value::from(*title),
            Value::from(*description),
            Value::from(*title),
            !reads,
            reads || removes,
        ));
    }

    /// The request that a call with these arguments is, a whole JSON-RPC message.
    ///
    /// # Errors
    /// They are no object, too long, or have one that the tool does not take. The method looks at their values.
    pub fn request(&self, arguments: &str) -> Result<String, ToolResult> {
        if arguments.len() > limits::TOOL_ARGUMENTS_BYTES_MAX {
            return Err(ToolResult::fault("the arguments are too long"));
        }
        let mut arguments: Arguments<'_> = serde_json::from_str(arguments)
            .map_err(|_| ToolResult::fault("the arguments are not an object"))?;
        if let Some(odd) = arguments.keys().find(|name| !self.takes(name)) {
            return Err(ToolResult::fault(&format!("{} does not take \"{odd}\"", self.name)));
        }
        let method = match self.call {
            Call::Method(method) => method,
            Call::Order => match arguments.remove("side").map(RawValue::get) {
                Some("\"buy\"") => "private/buy",
                Some("\"sell\"") => "private/sell",
                _ => return Err(ToolResult::fault("side must be one of buy, sell")),
            },
        };
        let params: Vec<String> = arguments
            .iter()
            .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), value.get()))
            .collect();
        let params = params.join(",");
        Ok(format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{{{params}}}}}"))
    }

    /// Whether its schema has this argument.
    fn takes(&self, name: &str) -> bool {
        let schema: Value =
            serde_json::from_str(self.input_schema).expect("invariant: a schema is JSON, which a test holds");
        schema["properties"].get(name).is_some()
    }
}

impl ToolResult {
    /// What the answer to [`Tool::request`] says.
    #[must_use]
    pub fn of_answer(answer: &[u8]) -> ToolResult {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            result: Option<&'a RawValue>,
            #[serde(borrow)]
            error: Option<&'a RawValue>,
        }
        let said = |value: &RawValue, is_error| ToolResult { json: value.get().to_owned(), is_error };
        match serde_json::from_slice(answer) {
            Ok(Answer { error: Some(error), .. }) => said(error, true),
            Ok(Answer { result: Some(result), error: None }) => said(result, false),
            Ok(Answer { result: None, error: None }) | Err(_) => {
                ToolResult::fault("the gateway did not answer")
            }
        }
    }

    /// Something is wrong before a method is called, or with the way to it.
    #[must_use]
    pub fn fault(what: &str) -> ToolResult {
        let error = serde_json::json!({"message": what});
        ToolResult { json: error.to_string(), is_error: true }
    }

    /// Writes it as the result of `tools/call`: as text, and as it is. That has to be an object, so all else is one's `result`.
    pub fn write(&self, out: &mut String) {
        let (json, text, is_error) = (&self.json, Value::from(self.json.as_str()), self.is_error);
        out.push_str(&format!(
            "{{\"content\":[{{\"type\":\"text\",\"text\":{text}}}],\"structuredContent\":"
        ));
        if json.starts_with('{') {
            out.push_str(json);
        } else {
            out.push_str(&format!("{{\"result\":{json}}}"));
        }
        out.push_str(&format!(",\"isError\":{is_error}}}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(tool: &str, arguments: &str) -> Result<Value, String> {
        let request = Tool::of(tool).unwrap().request(arguments).map_err(|fault| fault.json)?;
        Ok(serde_json::from_str(&request).unwrap())
    }

    #[test]
    fn each_tool_is_listed_with_a_schema_whose_required_arguments_it_has() {
        for (at, tool) in TOOLS.iter().enumerate() {
            let mut text = String::new();
            tool.write(&mut text);
            let listed: Value = serde_json::from_str(&text).unwrap();
            let schema = &listed["inputSchema"];
            assert_eq!((&schema["type"], &schema["additionalProperties"]), (&json!("object"), &json!(false)));
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(schema["properties"].get(name.as_str().unwrap()).is_some(), "{name}");
            }
            assert_eq!(listed["annotations"]["readOnlyHint"], tool.effect == Effect::Reads);
            assert!(TOOLS[..at].iter().all(|other| other.name != tool.name), "a name is one tool's");
        }
    }

    #[test]
    fn a_call_is_a_request_with_the_arguments_as_they_are_written() {
        assert_eq!(
            request("order_book", r#"{"instrument_name":"BTC-PERPETUAL","depth":5}"#).unwrap(),
            json!({"jsonrpc": "2.0", "id": 1, "method": "public/get_order_book", "params": {"instrument_name": "BTC-PERPETUAL", "depth": 5}})
        );
        let order =
            r#"{"instrument_name":"X","side":"sell","amount":10,"price":64000.500000001,"label":"a\"b"}"#;
        let placed = Tool::of("place_order").unwrap().request(order).unwrap();
        assert!(placed.contains("\"price\":64000.500000001"), "{placed}");
        let placed: Value = serde_json::from_str(&placed).unwrap();
        assert_eq!((&placed["method"], &placed["params"]["label"]), (&json!("private/sell"), &json!("a\"b")));
        assert!(placed["params"].get("side").is_none());
        assert_eq!(request("server_status", "{}").unwrap()["params"], json!({}));
    }

    #[test]
    fn arguments_that_a_tool_does_not_take_are_refused_by_name() {
        for (tool, arguments, expected) in [
            ("server_status", "[]", "the arguments are not an object"),
            ("server_status", "{", "the arguments are not an object"),
            ("last_price", r#"{"instrument":"X"}"#, r#"last_price does not take "instrument""#),
            ("cancel_order", r#"{"order_id":"1","side":"buy"}"#, r#"cancel_order does not take "side""#),
            ("place_order", r#"{"instrument_name":"X","amount":1}"#, "side must be one of buy, sell"),
            ("place_order", r#"{"side":"hold"}"#, "side must be one of buy, sell"),
        ] {
            let fault = request(tool, arguments).unwrap_err();
            assert_eq!(fault, json!({"message": expected}).to_string());
        }
        let long = format!(r#"{{"order_id":"{}"}}"#, "x".repeat(limits::TOOL_ARGUMENTS_BYTES_MAX));
        assert_eq!(
            request("cancel_order", &long).unwrap_err(),
            r#"{"message":"the arguments are too long"}"#
        );
        assert_eq!(Tool::of("no_such_tool"), None);
    }

    #[test]
    fn an_answer_is_its_result_or_its_error_as_it_is_written() {
        let check = |answer: &str, json: &str, is_error| {
            let expected = ToolResult { json: json.to_owned(), is_error };
            assert_eq!(ToolResult::of_answer(answer.as_bytes()), expected);
        };
        check(r#"{"jsonrpc":"2.0","id":1,"result":[1.50],"usIn":1}"#, "[1.50]", false);
        check(
            r#"{"error":{"code":13009,"message":"unauthorized"}}"#,
            r#"{"code":13009,"message":"unauthorized"}"#,
            true,
        );
        for odd in ["", "{}", "nothing"] {
            check(odd, r#"{"message":"the gateway did not answer"}"#, true);
        }
        let written = |json: &str, is_error| {
            let mut written = String::new();
            ToolResult { json: json.to_owned(), is_error }.write(&mut written);
            written
        };
        assert_eq!(
            written(r#"{"a":1}"#, false),
            r#"{"content":[{"type":"text","text":"{\"a\":1}"}],"structuredContent":{"a":1},"isError":false}"#
        );
        assert_eq!(
            written("[1.50]", true),
            r#"{"content":[{"type":"text","text":"[1.50]"}],"structuredContent":{"result":[1.50]},"isError":true}"#
        );
    }
}
