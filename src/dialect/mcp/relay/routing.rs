//! Which backend a client's request is for. PURE. Home: the control thread.
//!
//! The gateway's own tools keep their names. Who has listed one has it, the first in the order of the configuration; else whose prefix it carries, the longest; else the
//! only one without a prefix. An address of a resource carries no prefix: who has listed it has it, else whose template fits, else
//! the only backend with resources.

use crate::dialect::json_rpc::scan::Value;
use crate::dialect::tools::Tool;
use crate::limits;

use super::super::catalog::{Listed, matches_template};
use super::super::errors::Failure;
use super::super::message::{member, quoted, replaced, replaced_within, string};
use super::lists::Patience;
use super::{Effect, LinkId, Phase, Relay, SessionId};

pub(super) enum Routed {
    To(Forward),
    /// One of the gateway's own tools.
    Own(&'static Tool),
    /// There is nothing to be asked of a backend for it.
    Here,
    /// It is not known yet who offers what.
    Wait,
    Nowhere(Failure),
}

pub(super) struct Forward {
    pub(super) link: LinkId,
    /// In the place of what the client wrote, where that changes.
    pub(super) params: Option<String>,
    pub(super) effect: Effect,
}

impl Forward {
    fn plain(link: LinkId, params: Option<String>) -> Forward {
        Forward { link, params, effect: Effect::None }
    }
}

/// Where a name or an address leads.
enum Found {
    At(LinkId),
    Unsettled,
    Nowhere,
}

impl Relay {
    pub(super) fn route(
        &mut self,
        session: SessionId,
        method: &str,
        params: Option<Value<'_>>,
        patience: Patience,
        now_ns: u64,
    ) -> Routed {
        match method {
            "tools/call" => match string(params, "name").and_then(|name| self.own_tool(&name)) {
                Some(tool) => Routed::Own(tool),
                None => self.route_name(session, Listed::Tools, params, patience, now_ns),
            },
            "prompts/get" => self.route_name(session, Listed::Prompts, params, patience, now_ns),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                self.route_resource(session, method, params, patience, now_ns)
            }
            "completion/complete" => self.route_completion(session, params, patience, now_ns),
            _ => Routed::Nowhere(Failure::UnknownMethod),
        }
    }

    fn route_name(
        &mut self,
        session: SessionId,
        kind: Listed,
        params: Option<Value<'_>>,
        patience: Patience,
        now_ns: u64,
    ) -> Routed {
        let (Some(params), Some(name)) = (params, string(params, "name")) else {
            return Routed::Nowhere(Failure::Params("name is missing"));
        };
        match self.find_name(session, kind, &name, patience, now_ns) {
            Found::At(link) => Routed::To(Forward::plain(
                link,
                self.unprefixed(link, &name).map(|own| replaced(params, "name", &own)),
            )),
            Found::Unsettled => Routed::Wait,
            Found::Nowhere => Routed::Nowhere(Failure::UnknownName(shown(&name))),
        }
    }

    /// A name as its backend has it, as JSON; none where it is the same.
    fn unprefixed(&self, link: LinkId, name: &str) -> Option<String> {
        let prefix = &self.settings_of(link).prefix;
        if prefix.is_empty() { None } else { name.strip_prefix(&**prefix).map(quoted) }
    }

    fn find_name(
        &mut self,
        session: SessionId,
        kind: Listed,
        name: &str,
        patience: Patience,
        now_ns: u64,
    ) -> Found {
        let visible = self.visible(session, now_ns);
        let lists = |link: &&LinkId| self.links[*link].lists[kind as usize].contains(name);
        if let Some(link) = visible.iter().find(lists) {
            return Found::At(*link);
        }
        let prefix = |link: LinkId| &*self.settings_of(link).prefix;
        let prefixed = visible.iter().copied().filter(|link| !prefix(*link).is_empty());
        let longest =
            prefixed.filter(|link| name.starts_with(prefix(*link))).max_by_key(|link| prefix(*link).len());
        if let Some(link) = longest {
            return Found::At(link);
        }
        let mut bare = visible.iter().copied().filter(|link| prefix(*link).is_empty());
        match (bare.next(), bare.next()) {
            (Some(link), None) => Found::At(link),
            (None, _) => Found::Nowhere,
            (Some(_), Some(_)) => self.unsettled_or_nowhere(&visible, kind, patience, now_ns),
        }
    }

    fn unsettled_or_nowhere(
        &mut self,
        visible: &[LinkId],
        kind: Listed,
        patience: Patience,
        now_ns: u64,
    ) -> Found {
        let is_settled = self.settle(visible, kind, now_ns);
        if is_settled || patience == Patience::Over { Found::Nowhere } else { Found::Unsettled }
    }

    fn route_resource(
        &mut self,
        session: SessionId,
        method: &str,
        params: Option<Value<'_>>,
        patience: Patience,
        now_ns: u64,
    ) -> Routed {
        let Some(uri) = string(params, "uri") else {
            return Routed::Nowhere(Failure::Params("uri is missing"));
        };
        let link = match self.find_resource(session, &uri, patience, now_ns) {
            Found::At(link) => link,
            Found::Unsettled => return Routed::Wait,
            Found::Nowhere => return Routed::Nowhere(Failure::UnknownResource(shown(&uri))),
        };
        let effect = match method {
            "resources/subscribe" => {
                if uri.len() > limits::MCP_SUBSCRIBED_URI_BYTES_MAX {
                    return Routed::Nowhere(Failure::Params("uri is longer than one to subscribe to may be"));
                }
                let subscriptions = self.sessions.get(&session).map_or(0, |session| session.subscriptions);
                if subscriptions >= limits::MCP_SUBSCRIPTIONS_PER_SESSION_MAX {
                    return Routed::Nowhere(Failure::Busy);
                }
                Effect::Subscribed(uri.as_ref().into())
            }
            "resources/unsubscribe" => {
                let others = self.links[&link].subscribers.get(&*uri);
                if others.is_some_and(|all| all.iter().any(|other| *other != session)) {
                    self.unsubscribed(link, session, &uri);
                    return Routed::Here;
                }
                Effect::Unsubscribed(uri.as_ref().into())
            }
            _ => Effect::None,
        };
        Routed::To(Forward { link, params: None, effect })
    }

    fn find_resource(&mut self, session: SessionId, uri: &str, patience: Patience, now_ns: u64) -> Found {
        let visible = self.visible(session, now_ns);
        let is_settled = self.settle(&visible, Listed::Resources, now_ns)
            & self.settle(&visible, Listed::Templates, now_ns);
        let list = |link: LinkId, kind: Listed| &self.links[&link].lists[kind as usize];
        let listed = visible.iter().copied().find(|link| list(*link, Listed::Resources).contains(uri));
        let fits = |link: &LinkId| {
            let mut templates = list(*link, Listed::Templates).entries().iter();
            templates.any(|template| matches_template(&template.key, uri))
        };
        if let Some(link) = listed.or_else(|| visible.iter().copied().find(fits)) {
            return Found::At(link);
        }
        if !is_settled && patience != Patience::Over {
            return Found::Unsettled;
        }
        let mut with_resources = visible.iter().filter(|link| {
            let link = &self.links[*link];
            matches!(link.phase, Phase::Up { .. }) && link.capabilities.contains("resources")
        });
        match (with_resources.next(), with_resources.next()) {
            (Some(link), None) => Found::At(*link),
            (None | Some(_), _) => Found::Nowhere,
        }
    }

    fn route_completion(
        &mut self,
        session: SessionId,
        params: Option<Value<'_>>,
        patience: Patience,
        now_ns: u64,
    ) -> Routed {
        let reference = params.and_then(|params| member(params, "ref"));
        let (Some(params), Some(reference)) = (params, reference) else {
            return Routed::Nowhere(Failure::Params("ref is missing"));
        };
        match string(Some(reference), "type").as_deref() {
            Some("ref/prompt") => {
                let Some(name) = string(Some(reference), "name") else {
                    return Routed::Nowhere(Failure::Params("ref.name is missing"));
                };
                match self.find_name(session, Listed::Prompts, &name, patience, now_ns) {
                    Found::At(link) => {
                        let own = self.unprefixed(link, &name);
                        let params = own.map(|own| replaced_within(params, "ref", "name", &own));
                        Routed::To(Forward::plain(link, params))
                    }
                    Found::Unsettled => Routed::Wait,
                    Found::Nowhere => Routed::Nowhere(Failure::UnknownName(shown(&name))),
                }
            }
            Some("ref/resource") => {
                let Some(uri) = string(Some(reference), "uri") else {
                    return Routed::Nowhere(Failure::Params("ref.uri is missing"));
                };
                self.route_template(session, &uri, patience, now_ns)
            }
            _ => Routed::Nowhere(Failure::Params("ref.type is neither ref/prompt nor ref/resource")),
        }
    }

    fn route_template(&mut self, session: SessionId, uri: &str, patience: Patience, now_ns: u64) -> Routed {
        let visible = self.visible(session, now_ns);
        self.settle(&visible, Listed::Templates, now_ns);
        let is_its = |link: &&LinkId| self.links[*link].lists[Listed::Templates as usize].contains(uri);
        if let Some(link) = visible.iter().find(is_its) {
            return Routed::To(Forward::plain(*link, None));
        }
        match self.find_resource(session, uri, patience, now_ns) {
            Found::At(link) => Routed::To(Forward::plain(link, None)),
            Found::Unsettled => Routed::Wait,
            Found::Nowhere => Routed::Nowhere(Failure::UnknownResource(shown(uri))),
        }
    }
}

/// As much of it as an answer repeats.
fn shown(text: &str) -> Box<str> {
    const CHARACTERS_MAX: usize = 200;
    text.chars().take(CHARACTERS_MAX).collect::<String>().into()
}
