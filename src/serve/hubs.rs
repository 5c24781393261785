//! What the hubs of the shards are made from, by the configuration. Home: the main thread, before the shards.

use std::sync::Arc;

use super::{deflation, history, overload_marks};
use crate::auth::{Keyring, Patterns, Reach};
use crate::config::{self, Config};
use crate::front::Proxies;
use crate::http::HeadLimits;
use crate::hub::{CallLimits, Echo, HubConfig, ListenerPolicy, Origins, Publishing, RateLimits, Routes};
use crate::limits;
use crate::ws::deflate::{ClientContextTakeover, DeflateSettings, WindowBits};
use crate::ws::receiver::ReceiveLimits;

/// What each shard's hub is made from.
pub(super) fn hub_config(config: &Config, keyring: &Arc<Keyring>, routes: &Arc<Routes>) -> HubConfig {
    let limits = &config.limits;
    let ns = |ms: u32| u64::from(ms) * 1_000_000;
    let bytes = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    HubConfig {
        head: HeadLimits { bytes_max: limits.head_bytes_max, headers_max: limits.headers_max },
        receive: ReceiveLimits {
            frame_bytes_max: bytes(limits.frame_bytes_max),
            message_bytes_max: bytes(limits.message_bytes_max),
            fragments_max: limits.fragments_max,
        },
        rates: rates(config),
        queued_bytes_max: bytes(limits.queued_bytes_max),
        subscriptions_max: limits.subscriptions_max,
        requests_pending_max: limits.requests_pending_max,
        calls: CallLimits {
            per_connection_max: limits.calls_under_way_max,
            cache_entries_max: limits.call_cache_entries_max,
            cache_bytes_max: limits.call_cache_bytes_max,
        },
        handshake_timeout_ns: ns(limits.handshake_timeout_ms),
        message_timeout_ns: ns(limits.message_timeout_ms),
        idle_timeout_ns: ns(limits.idle_timeout_ms),
        close_timeout_ns: ns(limits.close_timeout_ms),
        write_timeout_ns: ns(limits.write_timeout_ms),
        history: history(config),
        deflation: deflation(config),
        overload: overload_marks(config),
        routes: Arc::clone(routes),
        log_segments_ready: limits::LOG_SEGMENTS_READY,
        publishing: match (config.topics.publish, config.auth.has_file()) {
            (true, _) => Publishing::Anyone,
            (false, true) => Publishing::ByKey,
            (false, false) => Publishing::Nobody,
        },
        public_subscribe: Patterns::new(&config.auth.public_subscribe),
        logins_per_minute_max: config.auth.logins_per_minute_max,
        keyring: Arc::clone(keyring),
        serves_mcp: config.serves_mcp(),
        topics_at_market: config.cluster.names().is_some(),
        listeners: config.listen.iter().map(policy).chain(INWARD.map(inward)).collect(),
    }
}

/// From where clients come in whose name the process connects to itself, in the order of the listeners for them.
const INWARD: [Reach; 2] = [Reach::Loopback, Reach::Anywhere];

fn inward(reach: Reach) -> ListenerPolicy {
    ListenerPolicy { reach, ..ListenerPolicy::default() }
}

fn policy(listen: &config::Listen) -> ListenerPolicy {
    let ns = |ms: u32| u64::from(ms) * 1_000_000;
    let origins = match listen.origins.as_slice() {
        [] => Origins::SameHost,
        origins if origins.iter().any(|origin| origin == "*") => Origins::Any,
        origins => Origins::Listed(origins.to_vec()),
    };
    ListenerPolicy {
        framing: listen.protocol.into(),
        ping_interval_ns: ns(listen.ping_interval_ms),
        ping_timeout_ns: ns(listen.ping_timeout_ms),
        origins,
        hosts: listen.hosts.clone(),
        echo: if listen.echo { Echo::On } else { Echo::Off },
        reach: if listen.is_open() { Reach::Anywhere } else { Reach::Loopback },
        proxies: Proxies { networks: listen.networks().collect(), speech: listen.proxy_header.into() },
        deflate: listen.deflate.enabled.then(|| DeflateSettings {
            client_window_bits_max: WindowBits::new(listen.deflate.client_window_bits_max)
                .unwrap_or(WindowBits::MAX),
            client_context_takeover: if listen.deflate.client_context_takeover {
                ClientContextTakeover::Allowed
            } else {
                ClientContextTakeover::Refused
            },
        }),
    }
}

/// What one client may send in a second.
pub(super) fn rates(config: &Config) -> RateLimits {
    let limits = &config.limits;
    RateLimits { messages_per_s_max: limits.messages_per_s_max, bytes_per_s_max: limits.bytes_per_s_max }
}
