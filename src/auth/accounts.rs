//! Accounts by number: names occur at log-ins only, everything behind them knows an account by its id. PURE. Home: the
//! authority's, and in a cluster the venue's thread, which says to other nodes what an account is called. Invariant: a name has one id for the life of the process, and an id one name.
//!
//! The lock is taken at log-ins, and once for each account that another node hears of; it is held for one look-up.
#![expect(
    clippy::disallowed_types,
    reason = "the authority and the venue's thread share it, for a look-up at a log-in"
)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::order::AccountId;

/// Those of the process: its copies are one table.
#[derive(Clone, Debug)]
pub struct Accounts {
    table: Arc<Mutex<Table>>,
    max: usize,
}

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<Box<str>, AccountId, BuildHasherDefault<DefaultHasher>>,
    /// By their ids.
    names: Vec<Box<str>>,
}

/// There are as many accounts as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Accounts {
    /// None yet, and so many at most.
    #[must_use]
    pub fn new(max: usize) -> Accounts {
        Accounts { table: Arc::default(), max }
    }

    /// The id of a name, given now if it is new.
    ///
    /// # Errors
    /// There is no room for another.
    pub fn intern(&self, name: &str) -> Result<AccountId, Full> {
        let mut table = self.table();
        if let Some(known) = table.by_name.get(name) {
            return Ok(*known);
        }
        if table.names.len() >= self.max {
            return Err(Full);
        }
        let id = AccountId(u32::try_from(table.names.len()).map_err(|_| Full)?);
        table.by_name.insert(name.into(), id);
        table.names.push(name.into());
        Ok(id)
    }

    /// What an account is called; `None` where nobody has this id.
    #[must_use]
    pub fn name(&self, id: AccountId) -> Option<Box<str>> {
        self.table().names.get(id.index()).cloned()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_no_more_are_given_than_there_may_be() {
        let accounts = Accounts::new(2);
        assert_eq!(accounts.intern("desk"), Ok(AccountId(0)));
        assert_eq!(accounts.intern("Desk"), Ok(AccountId(1)));
        assert_eq!(accounts.intern("third"), Err(Full));
        assert_eq!(accounts.intern("desk"), Ok(AccountId(0)));
        let of_another_thread = accounts.clone();
        assert_eq!(of_another_thread.intern("Desk"), Ok(AccountId(1)));
        let names = [0, 1, 2].map(|id| of_another_thread.name(AccountId(id)));
        assert_eq!(names, [Some("desk".into()), Some("Desk".into()), None]);
    }
}
