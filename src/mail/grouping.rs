//! Requests on groups. PURE. Invariant: a change of a group is answered once its record is on the disk, where there is a store; where
//! that fails, nothing is changed.

use super::entries::NEVER;
use super::groups::{Group, load};
use super::journal::{Item, Promise};
use super::record::GroupRecord;
use super::{Office, Reply};
use crate::limits;
use crate::model::message::{GroupMember, MessageAnswer, MessageAsk, MessageRefusal, Name};

impl Office {
    pub(super) fn create_group(
        &mut self,
        ask: &MessageAsk,
        name: Name,
        lifetime_ms: Option<u64>,
        message_ttl_ms: Option<u64>,
    ) -> Result<Reply, MessageRefusal> {
        self.may_change()?;
        if self.groups.find(&name).is_some() {
            return Err(MessageRefusal::GroupExists);
        }
        if self.groups.len() >= self.config.groups_max as usize {
            return Err(MessageRefusal::TooMany);
        }
        let is_odd = |ms: &u64| *ms == 0 || *ms > limits::MESSAGE_AHEAD_MS_MAX;
        if lifetime_ms.iter().chain(&message_ttl_ms).any(is_odd) {
            return Err(MessageRefusal::InvalidTime);
        }
        let expires_ms = lifetime_ms.map_or(NEVER, |lifetime_ms| self.now_ms() + lifetime_ms);
        let number = self.groups.numbers + 1;
        self.groups.add(Group::new(number, name, ask.user, expires_ms, message_ttl_ms));
        self.changed(Item::Group(number));
        Ok(Reply::Stored(Promise::Done))
    }

    pub(super) fn join_group(
        &mut self,
        ask: &MessageAsk,
        name: &Name,
        weight: u32,
    ) -> Result<Reply, MessageRefusal> {
        self.may_change()?;
        let group = self.groups.find(name).ok_or(MessageRefusal::UnknownGroup)?;
        let user = self.user(&ask.user)?;
        if self.groups[group].members.len() >= self.config.members_per_group_max as usize
            && !self.groups[group].has(user)
        {
            return Err(MessageRefusal::TooMany);
        }
        if self.groups.join(group, user, weight.clamp(1, limits::GROUP_WEIGHT_MAX)) {
            self.users.tie(user);
        }
        self.changed(Item::Group(self.groups[group].number));
        Ok(Reply::Stored(Promise::Done))
    }

    pub(super) fn leave_group(&mut self, ask: &MessageAsk, name: &Name) -> Result<Reply, MessageRefusal> {
        self.may_change()?;
        let group = self.groups.find(name).ok_or(MessageRefusal::UnknownGroup)?;
        let user = self.users.find(&ask.user).ok_or(MessageRefusal::NotAMember)?;
        if !self.groups.leave(group, user) {
            return Err(MessageRefusal::NotAMember);
        }
        self.users.untie(user);
        self.changed(Item::Group(self.groups[group].number));
        Ok(Reply::Stored(Promise::Done))
    }

    pub(super) fn delete_group(&mut self, ask: &MessageAsk, name: &Name) -> Result<Reply, MessageRefusal> {
        self.may_change()?;
        let group = self.groups.find(name).ok_or(MessageRefusal::UnknownGroup)?;
        let is_member = self.users.find(&ask.user).is_some_and(|user| self.groups[group].has(user));
        if !is_member && self.groups[group].owner != ask.user {
            return Err(MessageRefusal::NotAMember);
        }
        self.end_group(group);
        Ok(Reply::Stored(Promise::Done))
    }

    pub(super) fn group_members(&self, name: &Name) -> Result<Reply, MessageRefusal> {
        let group = self.groups.find(name).ok_or(MessageRefusal::UnknownGroup)?;
        let group = &self.groups[group];
        let members = group.members.iter().map(|member| GroupMember {
            user: self.users[member.user].name,
            weight: member.weight,
            is_present: self.users[member.user].is_told_present(),
            waiting: load(&self.users, &self.mailboxes, member.user),
        });
        Ok(Reply::Now(MessageAnswer::Members {
            group: group.name,
            expires_ms: (group.expires_ms != NEVER).then_some(group.expires_ms),
            members: members.collect(),
        }))
    }

    /// Groups whose lifetime is over: how many.
    pub(super) fn end_groups(&mut self, steps: u32) -> u32 {
        let mut done = 0;
        while done < steps
            && let Some(group) = self.groups.expiries.pop(self.now_ms())
        {
            // Each member is a step.
            done += 1 + u32::try_from(self.groups[group].members.len()).unwrap_or(u32::MAX);
            self.journal.begin();
            self.counters.groups_expired_total += 1;
            self.end_group(group);
        }
        done.min(steps)
    }

    pub(super) fn group_record(&self, number: u64) -> Option<Box<[u8]>> {
        let group = self.groups.by_number(number)?;
        let record = GroupRecord {
            name: group.name,
            owner: group.owner,
            expires_ms: (group.expires_ms != NEVER).then_some(group.expires_ms),
            message_ttl_ms: group.message_ttl_ms,
            members: group
                .members
                .iter()
                .map(|member| (self.users[member.user].name, member.weight))
                .collect(),
        };
        Some(record.encode())
    }

    fn end_group(&mut self, group: super::entries::Slot) {
        let group = self.groups.remove(group);
        for member in &group.members {
            self.users.untie(member.user);
        }
        self.changed(Item::Group(group.number));
    }
}
