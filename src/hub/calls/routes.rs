//! Which backend has which methods, which processes which types of messages, and on what terms. PURE. Home: built from the
//! configuration, then read by every shard.
//!
//! Invariants: a method has one route, a type one processor, the most specific of those that fit it; no route takes a name of the
//! gateway's own methods; nothing is hashed or copied to find one.

use std::fmt;

use super::patterns::Patterns;
use crate::dialect::json_rpc::{Access, ForeignFault, check_foreign};
use crate::limits;
use crate::model::call::BackendId;
use crate::model::message::Name;

/// All routes of one configuration. A backend's id stays its own as long as the process lives, whatever is configured later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    methods: Patterns<Route>,
    /// Who processes which types of messages, as a place among the processors.
    types: Patterns<usize>,
    /// By their ids; `None` where a backend is gone.
    backends: Vec<Option<BackendTerms>>,
    processors: Vec<ProcessorTerms>,
}

/// What a hub has to know of a backend that processes messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessorTerms {
    pub backend: BackendId,
    /// The user who stands for it.
    pub user: Name,
    /// Types of messages, or starts of types with `*` behind them: `approval`, `risk.*`, `*`.
    pub types: Vec<Box<str>>,
    /// Messages that it may have at a time.
    pub in_flight_max: u32,
    /// Who may send them, besides the right to send messages.
    pub access: Access,
}

/// What a hub has to know of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTerms {
    /// As configured; for people.
    pub name: Box<str>,
    /// Calls of one shard that may be under way to it.
    pub under_way_max: u32,
    /// Of those, for requests of one connection.
    pub per_connection_max: u32,
    /// After which a call is given up, in nanoseconds.
    pub timeout_ns: u64,
}

/// Methods of a backend that have the same terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// A method's name, or the start of one with `*` behind it: `risk/*`, `risk/get_*`, `risk/var`. It goes beyond the first `/`.
    pub pattern: Box<str>,
    pub backend: BackendId,
    /// Who may call; whoever has to log in needs a key whose patterns allow the method too.
    pub access: Access,
    /// A call may be done twice without harm: it may be sent again, and asked for by `GET`.
    pub is_idempotent: bool,
    /// Results are kept and told again; only of idempotent methods.
    pub caching: Option<Caching>,
}

/// How results of a route are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caching {
    /// Nanoseconds, at least 1.
    pub ttl_ns: u64,
    pub sharing: Sharing,
}

/// Whom a kept result is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// The account that asked; those who have not logged in are as one.
    Account,
    /// Everybody who may call the method.
    Everybody,
}

/// Why routes can't be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutesFault {
    /// Not a method's name with a prefix, or the start of one and `*`.
    Form(Box<str>),
    /// The prefix is the gateway's own.
    Own(Box<str>),
    /// Two routes are of one pattern.
    Twice(Box<str>),
    /// A method whose results are kept is not declared idempotent.
    NotIdempotent(Box<str>),
    /// A route is of a backend that is not there.
    UnknownBackend(Box<str>),
    /// More than `limits::BACKENDS_MAX` or `limits::ROUTES_MAX`.
    TooMany,
    /// Two backends process one type, or one start of types.
    TypeTwice(Box<str>),
}

impl fmt::Display for RoutesFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoutesFault::Form(pattern) => {
                write!(
                    out,
                    "{pattern:?} is no method, as \"risk/var\", and no start of one with *, as \"risk/*\""
                )
            }
            RoutesFault::Own(pattern) => write!(out, "{pattern:?}: the prefix is the gateway's own"),
            RoutesFault::Twice(pattern) => write!(out, "{pattern:?} stands twice"),
            RoutesFault::NotIdempotent(pattern) => {
                write!(out, "{pattern:?} keeps results, and is not declared idempotent")
            }
            RoutesFault::UnknownBackend(pattern) => write!(out, "{pattern:?} is of no backend"),
            RoutesFault::TooMany => write!(
                out,
                "more than {} backends or {} methods and patterns",
                limits::BACKENDS_MAX,
                limits::ROUTES_MAX
            ),
            RoutesFault::TypeTwice(pattern) => write!(out, "{pattern:?} has two processors"),
        }
    }
}

impl Routes {
    /// # Errors
    /// The first fault that is found.
    pub fn new(
        backends: impl IntoIterator<Item = (BackendId, BackendTerms)>,
        routes: impl IntoIterator<Item = Route>,
    ) -> Result<Routes, RoutesFault> {
        let mut known: Vec<Option<BackendTerms>> = Vec::new();
        for (id, terms) in backends {
            if id.index() >= limits::BACKENDS_MAX {
                return Err(RoutesFault::TooMany);
            }
            if known.len() <= id.index() {
                known.resize(id.index() + 1, None);
            }
            known[id.index()] = Some(terms);
        }
        let routes = routes.into_iter().map(checked).collect::<Result<Vec<Route>, RoutesFault>>()?;
        if routes.len() > limits::ROUTES_MAX {
            return Err(RoutesFault::TooMany);
        }
        let has = |id: BackendId| known.get(id.index()).is_some_and(Option::is_some);
        if let Some(route) = routes.iter().find(|route| !has(route.backend)) {
            return Err(RoutesFault::UnknownBackend(route.pattern.clone()));
        }
        let methods = Patterns::new(routes.into_iter().map(|route| (route.pattern.clone(), route)))
            .map_err(RoutesFault::Twice)?;
        Ok(Routes { methods, backends: known, ..Routes::default() })
    }

    /// The same with these backends as processors of messages.
    ///
    /// # Errors
    /// One is of no backend, or two are of one type.
    pub fn with_processors(
        self,
        processors: impl IntoIterator<Item = ProcessorTerms>,
    ) -> Result<Routes, RoutesFault> {
        let processors: Vec<ProcessorTerms> = processors.into_iter().collect();
        let unknown = |terms: &&ProcessorTerms| self.backend(terms.backend).is_none();
        if let Some(terms) = processors.iter().find(unknown) {
            return Err(RoutesFault::UnknownBackend(terms.user.as_str().into()));
        }
        let all = || {
            let of = |(at, terms): (usize, &ProcessorTerms)| {
                terms.types.clone().into_iter().map(move |text| (text, at))
            };
            processors.iter().enumerate().flat_map(of)
        };
        if all().count() > limits::ROUTES_MAX {
            return Err(RoutesFault::TooMany);
        }
        let types = Patterns::new(all()).map_err(RoutesFault::TypeTwice)?;
        Ok(Routes { types, processors, ..self })
    }

    /// Who processes messages of a type.
    #[must_use]
    pub fn processor_of(&self, kind: &str) -> Option<&ProcessorTerms> {
        Some(&self.processors[*self.types.find(kind)?])
    }

    /// All that process messages.
    #[must_use]
    pub fn processors(&self) -> &[ProcessorTerms] {
        &self.processors
    }

    /// The route of a method.
    #[must_use]
    pub fn find(&self, method: &str) -> Option<&Route> {
        self.methods.find(method)
    }

    /// A backend's terms; `None` where it is not there any more.
    #[must_use]
    pub fn backend(&self, id: BackendId) -> Option<&BackendTerms> {
        self.backends.get(id.index())?.as_ref()
    }

    /// The backend that is called so.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<BackendId> {
        self.backends().find(|(_, terms)| &*terms.name == name).map(|(id, _)| id)
    }

    /// All backends with their ids, in order.
    pub fn backends(&self) -> impl Iterator<Item = (BackendId, &BackendTerms)> {
        (0..).map(BackendId).zip(&self.backends).filter_map(|(id, terms)| Some((id, terms.as_ref()?)))
    }

    /// All routes, in order of their patterns.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.methods.iter()
    }
}

/// A route that can be one.
fn checked(route: Route) -> Result<Route, RoutesFault> {
    let pattern = &route.pattern;
    let text = pattern.strip_suffix('*').unwrap_or(pattern);
    match check_foreign(text) {
        Ok(()) if !text.contains('*') => {}
        Ok(()) | Err(ForeignFault::Form) => return Err(RoutesFault::Form(pattern.clone())),
        Err(ForeignFault::Own) => return Err(RoutesFault::Own(pattern.clone())),
    }
    if route.caching.is_some() && !route.is_idempotent {
        return Err(RoutesFault::NotIdempotent(pattern.clone()));
    }
    Ok(route)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::Scope;

    fn route(pattern: &str) -> Route {
        Route {
            pattern: pattern.into(),
            backend: BackendId(0),
            access: Access::Everybody,
            is_idempotent: false,
            caching: None,
        }
    }

    fn terms() -> [(BackendId, BackendTerms); 1] {
        [(
            BackendId(0),
            BackendTerms { name: "risk".into(), under_way_max: 1, per_connection_max: 1, timeout_ns: 1 },
        )]
    }

    fn routes(patterns: &[&str]) -> Result<Routes, RoutesFault> {
        Routes::new(terms(), patterns.iter().map(|pattern| route(pattern)))
    }

    #[test]
    fn the_most_specific_route_has_a_method() {
        let routes =
            routes(&["risk/*", "risk/get_*", "risk/get_all", "risk/var/*", "desk/x", "a/*"]).unwrap();
        let check = |method: &str, expected: Option<&str>| {
            assert_eq!(routes.find(method).map(|route| &*route.pattern), expected, "{method}");
        };
        check("risk/limit", Some("risk/*"));
        check("risk/get_one", Some("risk/get_*"));
        check("risk/get_all", Some("risk/get_all"));
        check("risk/get_all_of", Some("risk/get_*"));
        check("risk/var", Some("risk/*"));
        check("risk/var/a/b", Some("risk/var/*"));
        check("risk/z", Some("risk/*"));
        check("risk/", Some("risk/*"));
        check("risk", None);
        check("risks/x", None);
        check("desk/x", Some("desk/x"));
        check("desk/xy", None);
        check("desk/w", None);
        check("zzz/a", None);
        check("", None);
    }

    #[test]
    fn names_of_the_gateway_and_what_is_no_name_are_refused() {
        let fault = |pattern: &str| routes(&[pattern]).unwrap_err();
        for own in ["public/*", "private/x", "message/*", "group/x", "presence/x", "topic/*", "rpc.x/y"] {
            assert_eq!(fault(own), RoutesFault::Own(own.into()));
        }
        for odd in
            ["", "*", "risk", "risk*", "/x", "a b/x", "risk/a b", "risk/*/x", "risk/**", "r\"/x", "é/x"]
        {
            assert_eq!(fault(odd), RoutesFault::Form(odd.into()), "{odd}");
        }
        let long = format!("risk/{}", "x".repeat(200));
        assert_eq!(fault(&long), RoutesFault::Form(long.as_str().into()));
        assert_eq!(routes(&["a/x", "a/x"]).unwrap_err(), RoutesFault::Twice("a/x".into()));
        assert!(routes(&["a/x", "a/x*"]).is_ok());
        let kept = Caching { ttl_ns: 1, sharing: Sharing::Everybody };
        let kept = Route { caching: Some(kept), ..route("a/x") };
        assert_eq!(Routes::new(terms(), [kept]).unwrap_err(), RoutesFault::NotIdempotent("a/x".into()));
        let other = Route { backend: BackendId(1), ..route("a/x") };
        assert_eq!(Routes::new(terms(), [other]).unwrap_err(), RoutesFault::UnknownBackend("a/x".into()));
    }

    #[test]
    fn a_method_and_a_start_of_the_same_text_are_two_routes() {
        let scoped = Route { access: Access::Scoped(Scope::TradeRead), ..route("a/x") };
        let routes = Routes::new(terms(), [scoped, route("a/x*")]).unwrap();
        assert_eq!(routes.find("a/x").unwrap().access, Access::Scoped(Scope::TradeRead));
        assert_eq!(routes.find("a/xy").unwrap().access, Access::Everybody);
        assert_eq!(routes.routes().count(), 2);
        assert_eq!(
            routes.backends().map(|(id, terms)| (id.0, &*terms.name)).collect::<Vec<_>>(),
            [(0, "risk")]
        );
        assert_eq!(routes.backend(BackendId(7)), None);
    }

    #[test]
    fn the_most_specific_pattern_has_a_type() {
        let processor = |backend: u16, types: &[&str]| ProcessorTerms {
            backend: BackendId(backend),
            user: Name::parse("backend:x").unwrap(),
            types: types.iter().map(|text| (*text).into()).collect(),
            in_flight_max: 1,
            access: Access::Everybody,
        };
        let two = || {
            let other = BackendTerms { name: "other".into(), ..terms()[0].1.clone() };
            Routes::new(terms().into_iter().chain([(BackendId(1), other)]), []).unwrap()
        };
        let routes =
            two().with_processors([processor(0, &["approval", "risk.*"]), processor(1, &["*"])]).unwrap();
        let found = |kind: &str| routes.processor_of(kind).map(|terms| terms.backend.0);
        assert_eq!(
            ["approval", "approvals", "risk.", "risk.var", "risk", "é"].map(found).map(Option::unwrap),
            [0, 1, 0, 0, 1, 1]
        );
        let twice = two().with_processors([processor(0, &["a*"]), processor(1, &["a*"])]);
        assert_eq!(twice.unwrap_err(), RoutesFault::TypeTwice("a*".into()));
        assert_eq!(two().with_processors([]).unwrap().processor_of("a"), None);
        let gone = two().with_processors([processor(2, &["a"])]);
        assert_eq!(gone.unwrap_err(), RoutesFault::UnknownBackend("backend:x".into()));
    }

    /// The plain definition.
    fn naive<'p>(patterns: &'p [String], method: &str) -> Option<&'p str> {
        let takes = |pattern: &&String| match pattern.strip_suffix('*') {
            Some(start) => method.starts_with(start),
            None => *pattern == method,
        };
        // An exact one is as long as the start of the same text and its star: it comes first.
        patterns
            .iter()
            .filter(takes)
            .max_by_key(|pattern| {
                let text = pattern.trim_end_matches('*');
                (text.len(), !pattern.ends_with('*'))
            })
            .map(String::as_str)
    }

    proptest! {
        #[test]
        fn finds_what_the_plain_definition_finds(
            patterns in proptest::collection::btree_set("[ab]/[ab]{0,4}\\*?", 0..12),
            method in "[ab]/[ab]{0,6}",
        ) {
            let patterns: Vec<String> = patterns.into_iter().collect();
            let texts: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let routes = routes(&texts).unwrap();
            prop_assert_eq!(routes.find(&method).map(|route| &*route.pattern), naive(&patterns, &method));
        }
    }
}
