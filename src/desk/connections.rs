//! Connections that placed orders, and cancel-on-disconnect. PURE.
//!
//! A connection is known from its first order or its first word on cancel-on-disconnect; it begins with what its account
//! says then. One that logs in as another account has departed from the first before: the hub says so as of a disconnect.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::model::hasher::FixedHasher;
use crate::model::order::{AccountId, Ask, CancelReason, Client, Departure, DisconnectScope, OrderRefusal};
use crate::model::time::Now;

use super::Desk;

#[derive(Clone, Copy, Debug)]
struct Connection {
    account: AccountId,
    /// Never used again, so that a later log-in on the same connection does not own what an earlier one placed.
    serial: u64,
    is_guarded: bool,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Connections {
    known: HashMap<Client, Connection, BuildHasherDefault<FixedHasher>>,
    serials: u64,
}

impl Connections {
    pub(super) fn memory_bytes(&self) -> usize {
        self.known.capacity() * (size_of::<(Client, Connection)>() + 1)
    }
}

impl Desk {
    /// A client's connection is gone, or has logged out.
    pub fn handle_departure(&mut self, client: Client, how: Departure, _now: Now) {
        self.begin();
        let Some(Connection { account, serial, is_guarded }) = self.connections.known.remove(&client) else {
            return;
        };
        match how {
            Departure::LoggedOut => {}
            Departure::Disconnected if is_guarded => {
                self.cancel_each(account, CancelReason::Disconnect, |held| held.connection == serial);
            }
            Departure::Disconnected => {}
        }
    }

    /// The number of the connection that asks; 0 of what is none.
    ///
    /// # Errors
    /// [`OrderRefusal::Full`]
    pub(super) fn connection(&mut self, ask: &Ask) -> Result<u64, OrderRefusal> {
        if !ask.is_connection {
            return Ok(0);
        }
        match self.connections.known.get(&ask.client) {
            Some(connection) if connection.account == ask.account => return Ok(connection.serial),
            None if self.connections.known.len() >= self.config.connections_max as usize => {
                return Err(OrderRefusal::Full);
            }
            Some(_) | None => {}
        }
        self.connections.serials += 1;
        let serial = self.connections.serials;
        let is_guarded = self.accounts[ask.account].begins_guarded;
        self.connections.known.insert(ask.client, Connection { account: ask.account, serial, is_guarded });
        Ok(serial)
    }

    pub(super) fn guard(
        &mut self,
        ask: &Ask,
        scope: DisconnectScope,
        is_on: bool,
    ) -> Result<(), OrderRefusal> {
        match scope {
            DisconnectScope::Account => self.accounts[ask.account].begins_guarded = is_on,
            DisconnectScope::Connection => {
                if self.connection(ask)? == 0 {
                    return Err(OrderRefusal::NeedsConnection);
                }
                if let Some(connection) = self.connections.known.get_mut(&ask.client) {
                    connection.is_guarded = is_on;
                }
            }
        }
        Ok(())
    }

    pub(super) fn is_guarded(&self, ask: &Ask, scope: DisconnectScope) -> Result<bool, OrderRefusal> {
        let begins = self.accounts[ask.account].begins_guarded;
        match scope {
            DisconnectScope::Account => Ok(begins),
            DisconnectScope::Connection if !ask.is_connection => Err(OrderRefusal::NeedsConnection),
            DisconnectScope::Connection => {
                let known = self.connections.known.get(&ask.client);
                let own = known.filter(|connection| connection.account == ask.account);
                Ok(own.map_or(begins, |connection| connection.is_guarded))
            }
        }
    }
}
