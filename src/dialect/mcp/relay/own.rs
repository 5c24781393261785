//! The gateway's own tools among those of backends. What one does is asked of the driver, which knows in whose name. PURE.
//! Home: the control thread.
//!
//! Invariants: no backend takes the name of one; a call counts until the driver has said what came of it, whether or not anybody
//! waits for that.

use crate::dialect::json_rpc::scan::Value;
use crate::dialect::tools::{Tool, ToolResult};
use crate::limits;

use super::super::catalog::{Entry, List, Listed};
use super::super::errors::Failure;
use super::super::message::{self, member};
use super::{Asker, Output, OwnCall, OwnCallId, Relay, UnderWay};

/// These tools, as they are listed.
pub(super) fn listed(tools: &[Tool]) -> List {
    let entry = |tool: &Tool| {
        let mut text = String::new();
        tool.write(&mut text);
        Entry { key: tool.name.into(), text: text.into() }
    };
    List::known(tools.iter().map(entry).collect())
}

impl Relay {
    /// What of a kind is the gateway's own.
    pub(super) fn own_of(&self, kind: Listed) -> Option<&List> {
        (kind == Listed::Tools).then_some(&self.own)
    }

    pub(super) fn own_tool(&self, name: &str) -> Option<&'static Tool> {
        self.settings.own.iter().find(|tool| tool.name == name)
    }

    /// A client calls one.
    pub(super) fn call_own(&mut self, asker: &Asker, tool: &Tool, params: Option<Value<'_>>) {
        let arguments = params.and_then(|params| member(params, "arguments"));
        let request = match tool.request(arguments.map_or("{}", Value::text)) {
            Ok(request) => request,
            Err(fault) => return self.answer_called(asker, &fault),
        };
        let of_session = self.own_calls.values().filter(|call| call.session == asker.session).count();
        if of_session >= limits::MCP_REQUESTS_PER_SESSION_MAX
            || self.own_calls.len() >= limits::MCP_OWN_CALLS_MAX
        {
            return self.refuse(asker, &Failure::Busy);
        }
        let (call, session) = (OwnCallId(self.next_id()), asker.session);
        self.own_calls.insert(call, OwnCall { session, asker: Some(asker.clone()) });
        if let Some(session) = self.sessions.get_mut(&session) {
            session.requests.insert(asker.id.clone(), UnderWay::Own(call));
        }
        self.outputs.push_back(Output::Call { call, session, request });
    }

    /// The driver says what came of a call, once for each.
    pub fn handle_called(&mut self, call: OwnCallId, result: &ToolResult) {
        if let Some(asker) = self.own_calls.remove(&call).and_then(|call| call.asker) {
            self.answer_called(&asker, result);
        }
    }

    fn answer_called(&mut self, asker: &Asker, result: &ToolResult) {
        let mut text = String::new();
        result.write(&mut text);
        self.answer(asker, message::result(&asker.id, &text));
    }
}
