//! Accounts by number: names occur at log-ins only, everything behind them knows an account by its id. PURE. Home: the
//! authority's. Invariant: a name has one id for the life of the process, and an id one name.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::model::order::AccountId;

#[derive(Debug)]
pub(super) struct Accounts {
    by_name: HashMap<Box<str>, AccountId, BuildHasherDefault<DefaultHasher>>,
    max: usize,
}

/// There are as many accounts as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Accounts {
    pub(super) fn new(max: usize) -> Accounts {
        Accounts { by_name: HashMap::default(), max }
    }

    /// The id of a name, given now if it is new.
    pub(super) fn intern(&mut self, name: &str) -> Result<AccountId, Full> {
        if let Some(known) = self.by_name.get(name) {
            return Ok(*known);
        }
        if self.by_name.len() >= self.max {
            return Err(Full);
        }
        let id = AccountId(u32::try_from(self.by_name.len()).map_err(|_| Full)?);
        self.by_name.insert(name.into(), id);
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_no_more_are_given_than_there_may_be() {
        let mut accounts = Accounts::new(2);
        assert_eq!(accounts.intern("desk"), Ok(AccountId(0)));
        assert_eq!(accounts.intern("Desk"), Ok(AccountId(1)));
        assert_eq!(accounts.intern("third"), Err(Full));
        assert_eq!(accounts.intern("desk"), Ok(AccountId(0)));
        assert_eq!(accounts.intern("Desk"), Ok(AccountId(1)));
    }
}
