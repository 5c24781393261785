//! What the naive office answers.

use tickring::model::message::{
    DeadLetter, DeathCause, GroupMember, Guarantee, MessageAnswer, MessageAsk, MessageId, MessageKey,
    MessageRefusal, MessageRequest, MessageState, MessageStatus, Name, NewMessage, Selection, SessionId,
    Target, Via, Which,
};
use tickring::model::order::{Client, Label};

use super::model::{At, Dead, Group, Message, Model, Named, Send, Session};

type Outcome = Result<MessageAnswer, MessageRefusal>;

impl Model {
    pub(crate) fn ask(&mut self, ask: &MessageAsk, content: &[u8]) -> Outcome {
        let user = ask.user;
        let outcome = match &ask.request {
            MessageRequest::Subscribe { reception, topics } => {
                self.subscribe(ask.client, user, reception.under_way_max, topics)
            }
            MessageRequest::Unsubscribe => match self.session(ask.client) {
                Some(_) => {
                    self.depart(ask.client);
                    Ok(MessageAnswer::Done)
                }
                None => Err(MessageRefusal::NotSubscribed),
            },
            MessageRequest::Send(new) => self.send(user, new, None, content),
            MessageRequest::SendToProcessor { message, processor } => {
                self.send(user, message, Some(**processor), content)
            }
            MessageRequest::Acknowledge { message } => self.acknowledge(user, *message),
            MessageRequest::Reject { message, reason, delay_ms } => {
                self.reject(user, *message, *reason, *delay_ms)
            }
            MessageRequest::Cancel { message } => self.cancel(user, *message),
            MessageRequest::Status { message: MessageKey::Id(message) } => self.status_by_id(user, *message),
            MessageRequest::Status { message: MessageKey::ClientId(name) } => {
                self.status_by_name(user, *name)
            }
            MessageRequest::Pending { .. } => Ok(self.pending(user)),
            MessageRequest::CreateGroup { group, lifetime_ms, message_ttl_ms } => {
                self.create_group(user, *group, *lifetime_ms, *message_ttl_ms)
            }
            MessageRequest::JoinGroup { group, weight } => self.join_group(user, group, *weight),
            MessageRequest::LeaveGroup { group } => self.leave_group(user, group),
            MessageRequest::DeleteGroup { group } => self.delete_group(user, group),
            MessageRequest::GroupMembers { group } => self.group_members(group),
            MessageRequest::DeadLetters { .. } => Ok(self.dead_letters()),
            MessageRequest::Requeue { which: Which::One(message) } => self.requeue(*message),
            MessageRequest::Purge { which: Which::One(message) } => self.purge(*message),
            other => panic!("nobody asks this: {other:?}"),
        };
        self.settle();
        outcome
    }

    fn subscribe(&mut self, client: Client, user: Name, under_way_max: u32, topics: &[Name]) -> Outcome {
        let mut topics = topics.to_vec();
        topics.sort_unstable();
        let known = self.session(client);
        let is_full = self.sessions.len() >= self.config.sessions_max as usize
            || self.of_user(user).len() >= self.config.sessions_per_user_max as usize;
        let session = match known {
            Some(session) => session,
            None if is_full => return Err(MessageRefusal::TooMany),
            None => {
                self.session_ids += 1;
                self.sessions.push(Session {
                    client,
                    id: SessionId(self.session_ids),
                    user,
                    under_way_max,
                    unwritten: 0,
                    unwritten_critical: 0,
                    held: Vec::new(),
                });
                self.sessions.len() - 1
            }
        };
        self.sessions[session].under_way_max = under_way_max;
        self.leave_topics(client);
        for topic in topics {
            match self.topics.iter_mut().find(|(name, _)| *name == topic) {
                Some((_, clients)) => clients.push(client),
                None => self.topics.push((topic, vec![client])),
            }
        }
        self.stir(user);
        let waiting = self.waiting(user, None).len() as u64;
        Ok(MessageAnswer::Subscribed { session: self.sessions[session].id, waiting })
    }

    fn leave_topics(&mut self, client: Client) {
        for (_, clients) in &mut self.topics {
            if let Some(at) = clients.iter().position(|other| *other == client) {
                clients.swap_remove(at);
            }
        }
        self.topics.retain(|(_, clients)| !clients.is_empty());
    }

    /// The connection goes. Whoever calls it settles.
    pub(crate) fn depart(&mut self, client: Client) {
        let Some(at) = self.session(client) else { return };
        self.leave_topics(client);
        let session = self.sessions.remove(at);
        for id in session.held.into_iter().rev() {
            let index = self.index(id);
            let At::Delivered { holders, .. } = &mut self.messages[index].at else { panic!("it holds it") };
            holders.retain(|holder| *holder != client);
            if !holders.is_empty() {
                continue;
            }
            if self.messages[index].only.is_some() {
                self.end(id, MessageState::Dead, Some(DeathCause::SessionGone));
            } else {
                self.try_again(id, Some(0));
            }
        }
        let mut lost = self.waiting(session.user, Some(session.id));
        lost.sort_by_key(|message| (message.priority, message.place));
        for message in lost {
            self.end(message.id, MessageState::Dead, Some(DeathCause::SessionGone));
        }
        self.stir(session.user);
    }

    pub(crate) fn written(&mut self, client: Client, count: u32) {
        let Some(at) = self.session(client) else { return };
        let session = &mut self.sessions[at];
        let critical = count.min(session.unwritten_critical);
        session.unwritten_critical -= critical;
        session.unwritten = session.unwritten.saturating_sub(count - critical);
        let user = session.user;
        self.stir(user);
        self.settle();
    }

    fn send(&mut self, from: Name, new: &NewMessage, processor: Option<Name>, content: &[u8]) -> Outcome {
        let is_name = |named: &&Named| named.from == from && Some(named.client_id) == new.client_id;
        if let Some(named) = self.names.iter().find(is_name) {
            let state = match &named.ended {
                Some((status, _)) => status.state,
                None => self.first_part(named).expect("it lives").state,
            };
            let Named { first, count, .. } = *named;
            return Ok(MessageAnswer::Accepted { first, count, state, is_repeated: true });
        }
        let (receivers, via, ttl_ms) = self.address(&new.target, processor)?;
        let due_ms = new.deliver_at_ms.filter(|due_ms| *due_ms > self.now_ms());
        let ttl_ms = new.ttl_ms.or(ttl_ms).or(self.config.ttl_ms);
        self.check_room(from, due_ms, receivers.len(), content.len())?;
        let is_durable = new.guarantee == Guarantee::AtLeastOnce;
        let count = receivers.len() as u32;
        let first = (self.last_id + 1..).find(|id| (id % 2 == 1) == is_durable).unwrap();
        self.last_id = first + 2 * u64::from(count.saturating_sub(1));
        let first = MessageId(first);
        let (client_id, reply_to) = (new.client_id, new.reply_to);
        self.sends.push(Send { from, first, count, client_id, reply_to, via });
        if let (Some(client_id), true) = (client_id, count > 0) {
            let send = self.sends.len() - 1;
            self.names.push(Named { send, from, client_id, first, count, ended: None });
        }
        let mut ids = Vec::new();
        for (part, (to, only)) in receivers.into_iter().enumerate() {
            let id = MessageId(first.0 + 2 * part as u64);
            ids.push(id);
            self.messages.push(Message {
                id,
                content: content.into(),
                from,
                to,
                only,
                priority: new.priority,
                guarantee: new.guarantee,
                receipts: new.receipts,
                sent_ms: self.now_ms(),
                due_ms,
                expires_ms: ttl_ms.map(|ttl_ms| due_ms.unwrap_or(self.now_ms()) + ttl_ms),
                place: 0,
                attempts: 0,
                was_handed: false,
                at: At::Scheduled,
                send: self.sends.len() - 1,
                reason: None,
            });
        }
        ids.into_iter().for_each(|id| self.begin_life(id));
        let state = if due_ms.is_some() { MessageState::Scheduled } else { MessageState::Queued };
        Ok(MessageAnswer::Accepted { first, count, state, is_repeated: false })
    }

    #[expect(clippy::type_complexity, reason = "whom, by way of what, and how long it lives then")]
    fn address(
        &mut self,
        target: &Target,
        processor: Option<Name>,
    ) -> Result<(Vec<(Name, Option<SessionId>)>, Option<Via>, Option<u64>), MessageRefusal> {
        match target {
            Target::User(name) => Ok((vec![(*name, None)], None, None)),
            Target::Session(id) => {
                let session = self.sessions.iter().find(|session| session.id == *id);
                let session = session.ok_or(MessageRefusal::UnknownSession)?;
                Ok((vec![(session.user, Some(*id))], None, None))
            }
            Target::Group { group, to } => {
                let at = self.group(group)?;
                let members = self.select(at, *to);
                if members.is_empty() {
                    return Err(MessageRefusal::EmptyGroup);
                }
                let receivers = members.into_iter().map(|member| (member, None)).collect();
                Ok((receivers, Some(Via::Group(*group)), self.groups[at].message_ttl_ms))
            }
            Target::Type(kind) => {
                let processor = processor.ok_or(MessageRefusal::NoProcessor)?;
                Ok((vec![(processor, None)], Some(Via::Type(*kind)), None))
            }
            Target::Topic(name) => {
                let clients = self.topics.iter().find(|(topic, _)| topic == name);
                let clients = clients.map_or(Vec::new(), |(_, clients)| clients.clone());
                let receivers = clients.into_iter().map(|client| {
                    let session = &self.sessions[self.session(client).expect("it subscribes")];
                    (session.user, Some(session.id))
                });
                Ok((receivers.collect(), Some(Via::Topic(*name)), None))
            }
        }
    }

    fn check_room(
        &self,
        from: Name,
        due_ms: Option<u64>,
        count: usize,
        content_bytes: usize,
    ) -> Result<(), MessageRefusal> {
        let bytes: usize = self.messages.iter().map(|message| message.content.len()).sum();
        let of = |is: &dyn Fn(&Message) -> bool| self.messages.iter().filter(|message| is(message)).count();
        if self.messages.len() + count > self.config.messages_max as usize
            || (bytes + count * content_bytes) as u64 > self.config.message_bytes_max
        {
            return Err(MessageRefusal::Full);
        }
        if of(&|message| message.from == from) + count > self.config.messages_per_sender_max as usize {
            return Err(MessageRefusal::SenderFull);
        }
        let scheduled = of(&|message| message.at == At::Scheduled);
        if due_ms.is_some() && scheduled + count > self.config.scheduled_max as usize {
            return Err(MessageRefusal::TooMany);
        }
        Ok(())
    }

    fn received(&self, user: Name, message: MessageId) -> Result<usize, MessageRefusal> {
        let is_it = |other: &Message| other.id == message && other.to == user;
        self.messages.iter().position(is_it).ok_or(MessageRefusal::MessageNotFound)
    }

    fn acknowledge(&mut self, user: Name, id: MessageId) -> Outcome {
        let message = &self.messages[self.received(user, id)?];
        let may = message.guarantee == Guarantee::AtLeastOnce
            && message.at != At::Scheduled
            && (message.was_handed || matches!(message.at, At::Delivered { .. }));
        if !may {
            return Err(MessageRefusal::NotDelivered);
        }
        self.release(id);
        self.end(id, MessageState::Confirmed, None);
        Ok(MessageAnswer::Done)
    }

    fn reject(&mut self, user: Name, id: MessageId, reason: Option<Label>, delay_ms: Option<u64>) -> Outcome {
        let at = self.received(user, id)?;
        if !matches!(self.messages[at].at, At::Delivered { .. }) {
            return Err(MessageRefusal::NotDelivered);
        }
        self.messages[at].reason = reason.or(self.messages[at].reason);
        self.release(id);
        self.try_again(id, delay_ms);
        Ok(MessageAnswer::Done)
    }

    fn cancel(&mut self, user: Name, id: MessageId) -> Outcome {
        let is_it = |message: &&Message| message.id == id && message.from == user;
        let message = self.messages.iter().find(is_it).ok_or(MessageRefusal::MessageNotFound)?;
        if message.at != At::Scheduled {
            return Err(MessageRefusal::TooLate);
        }
        self.end(id, MessageState::Cancelled, None);
        Ok(MessageAnswer::Done)
    }

    fn status(&self, message: &Message) -> MessageStatus {
        self.status_of(message, self.sends[message.send].client_id)
    }

    fn first_part(&self, named: &Named) -> Option<MessageStatus> {
        let last = named.first.0 + 2 * (u64::from(named.count) - 1);
        let is_part = |message: &&Message| (named.first.0..=last).contains(&message.id.0);
        let is_of_parity = |message: &&Message| message.id.0 % 2 == named.first.0 % 2;
        let parts = self.messages.iter().filter(is_part).filter(is_of_parity);
        parts.min_by_key(|message| message.id).map(|message| self.status(message))
    }

    fn status_by_id(&self, user: Name, id: MessageId) -> Outcome {
        let is_own = |message: &&Message| message.id == id && (message.from == user || message.to == user);
        if let Some(message) = self.messages.iter().find(is_own) {
            return Ok(MessageAnswer::Status(self.status(message)));
        }
        if let Some(dead) = self.dead.iter().find(|dead| is_own(&&dead.message)) {
            return Ok(MessageAnswer::Status(self.dead_status(dead)));
        }
        let is_known = self.messages.iter().any(|message| message.id == id)
            || self.dead.iter().any(|dead| dead.message.id == id);
        let is_done = |named: &&Named| named.first == id && !is_known;
        let done = self.names.iter().find(is_done);
        match done.and_then(|named| Some((named, named.ended.as_ref()?))) {
            Some((named, (status, _))) if named.from == user || status.to == user => {
                Ok(MessageAnswer::Status(*status))
            }
            Some(_) | None => Err(MessageRefusal::MessageNotFound),
        }
    }

    fn status_by_name(&self, user: Name, client_id: Label) -> Outcome {
        let is_it = |named: &&Named| named.from == user && named.client_id == client_id;
        let named = self.names.iter().find(is_it).ok_or(MessageRefusal::MessageNotFound)?;
        let status = match &named.ended {
            Some((status, _)) => *status,
            None => self.first_part(named).expect("it lives"),
        };
        Ok(MessageAnswer::Status(status))
    }

    fn pending(&self, user: Name) -> MessageAnswer {
        let mut waiting = self.waiting(user, None);
        let bytes: usize = waiting.iter().map(|message| message.content.len()).sum();
        let order = |message: &Message| {
            let is_resting = message.at != At::Waiting;
            // What came back is listed before what was never out, of the same priority.
            let is_back = !is_resting && message.attempts > 0;
            (is_resting, std::cmp::Reverse(message.priority), !is_back, message.place)
        };
        waiting.sort_by_key(order);
        let messages = waiting.iter().map(|message| self.status(message)).collect();
        MessageAnswer::Pending { total: waiting.len() as u64, bytes: bytes as u64, messages }
    }

    fn group(&self, name: &Name) -> Result<usize, MessageRefusal> {
        self.groups.iter().position(|group| group.name == *name).ok_or(MessageRefusal::UnknownGroup)
    }

    fn create_group(
        &mut self,
        owner: Name,
        name: Name,
        lifetime_ms: Option<u64>,
        message_ttl_ms: Option<u64>,
    ) -> Outcome {
        if self.group(&name).is_ok() {
            return Err(MessageRefusal::GroupExists);
        }
        if self.groups.len() >= self.config.groups_max as usize {
            return Err(MessageRefusal::TooMany);
        }
        let expires_ms = lifetime_ms.map(|lifetime_ms| self.now_ms() + lifetime_ms);
        self.groups.push(Group { name, owner, expires_ms, message_ttl_ms, members: Vec::new(), turn: 0 });
        Ok(MessageAnswer::Done)
    }

    fn join_group(&mut self, user: Name, name: &Name, weight: u32) -> Outcome {
        let at = self.group(name)?;
        let is_full = self.groups[at].members.len() >= self.config.members_per_group_max as usize;
        match self.groups[at].members.iter_mut().find(|(member, ..)| *member == user) {
            Some(member) => member.1 = weight,
            None if is_full => return Err(MessageRefusal::TooMany),
            None => self.groups[at].members.push((user, weight, 0)),
        }
        Ok(MessageAnswer::Done)
    }

    fn leave_group(&mut self, user: Name, name: &Name) -> Outcome {
        let at = self.group(name)?;
        let group = &mut self.groups[at];
        let member = group.members.iter().position(|(member, ..)| *member == user);
        let member = member.ok_or(MessageRefusal::NotAMember)?;
        group.members.remove(member);
        group.turn -= usize::from(member < group.turn);
        Ok(MessageAnswer::Done)
    }

    fn delete_group(&mut self, user: Name, name: &Name) -> Outcome {
        let at = self.group(name)?;
        let group = &self.groups[at];
        if group.owner != user && !group.members.iter().any(|(member, ..)| *member == user) {
            return Err(MessageRefusal::NotAMember);
        }
        self.groups.remove(at);
        Ok(MessageAnswer::Done)
    }

    fn group_members(&self, name: &Name) -> Outcome {
        let group = &self.groups[self.group(name)?];
        let members = group.members.iter().map(|(user, weight, _)| GroupMember {
            user: *user,
            weight: *weight,
            is_present: self.is_present(*user),
            waiting: self.load(*user),
        });
        Ok(MessageAnswer::Members { group: *name, expires_ms: group.expires_ms, members: members.collect() })
    }

    fn load(&self, user: Name) -> u32 {
        let is_held = |message: &&Message| message.to == user && matches!(message.at, At::Delivered { .. });
        (self.waiting(user, None).len() + self.messages.iter().filter(is_held).count()) as u32
    }

    fn select(&mut self, at: usize, to: Selection) -> Vec<Name> {
        let members: Vec<Name> = self.groups[at].members.iter().map(|(user, ..)| *user).collect();
        if to == Selection::All || members.is_empty() {
            return members;
        }
        let anybody = members.iter().any(|user| self.is_present(*user));
        let turn = self.groups[at].turn;
        let mut may: Vec<usize> = (0..members.len()).map(|step| (turn + step) % members.len()).collect();
        may.retain(|at| !anybody || self.is_present(members[*at]));
        let chosen = match to {
            Selection::RoundRobin => may[0],
            Selection::LeastLoaded => *may.iter().min_by_key(|at| self.load(members[**at])).unwrap(),
            Selection::Weighted => {
                may.sort_unstable();
                let all = &mut self.groups[at].members;
                may.iter().for_each(|at| all[*at].2 += i64::from(all[*at].1));
                let round: i64 = may.iter().map(|at| i64::from(all[*at].1)).sum();
                let best = *may.iter().rev().max_by_key(|at| all[**at].2).unwrap();
                all[best].2 -= round;
                best
            }
            Selection::All => unreachable!(),
        };
        self.groups[at].turn = chosen + 1;
        vec![members[chosen]]
    }

    fn dead_status(&self, dead: &Dead) -> MessageStatus {
        let state =
            if dead.cause == DeathCause::Expired { MessageState::Expired } else { MessageState::Dead };
        MessageStatus { state, next_ms: None, ..self.status(&dead.message) }
    }

    fn dead_letters(&self) -> MessageAnswer {
        let letters = self.dead.iter().map(|dead| DeadLetter {
            status: self.dead_status(dead),
            from: dead.message.from,
            cause: dead.cause,
            died_ms: dead.died_ms,
            reason: dead.message.reason,
            content_bytes: dead.message.content.len() as u32,
            content: None,
        });
        MessageAnswer::DeadLetters { total: self.dead.len() as u64, letters: letters.collect() }
    }

    fn requeue(&mut self, id: MessageId) -> Outcome {
        let at = self.dead.iter().position(|dead| dead.message.id == id);
        let at = at.ok_or(MessageRefusal::MessageNotFound)?;
        if self.messages.len() >= self.config.messages_max as usize {
            return Err(MessageRefusal::Full);
        }
        let message = self.dead.remove(at).message;
        let send = Send { first: id, count: 1, ..self.sends[message.send].clone() };
        self.sends.push(send);
        self.messages.push(Message {
            due_ms: Some(self.now_ms()),
            expires_ms: message.expires_ms.filter(|expires_ms| *expires_ms > self.now_ms()),
            attempts: 0,
            only: None,
            send: self.sends.len() - 1,
            ..message
        });
        self.enqueue(id);
        Ok(MessageAnswer::Count(1))
    }

    fn purge(&mut self, id: MessageId) -> Outcome {
        let at = self.dead.iter().position(|dead| dead.message.id == id);
        self.dead.remove(at.ok_or(MessageRefusal::MessageNotFound)?);
        Ok(MessageAnswer::Count(1))
    }
}
