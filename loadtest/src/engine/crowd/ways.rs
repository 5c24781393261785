//! The ways of a connection out of the crowd and back: ends, returns, storms, and what time alone brings about.
//! Invariant: whoever is over is in no list of those that ask or are told; its requests are counted as unanswered once.

use std::collections::VecDeque;

use crate::clock::{MILLISECOND_NS, SECOND_NS};
use crate::ear::Ear;
use crate::engine::crowd::{Ask, Cause, Crowd, NOBODY, Place, Role, Stage};
use crate::engine::sequence::Track;
use crate::failure::Result;
use crate::frame;
use crate::ring::{Ending, Outbox};

/// The wait for the server's answer to a close frame.
const CLOSE_TIMEOUT_NS: u64 = 5 * SECOND_NS;
/// The wait before the next attempt where one has failed.
const REOPEN_NS: u64 = 200 * MILLISECOND_NS;

impl Crowd {
    /// The connection itself is over, by an end or an error.
    pub(super) fn ended(&mut self, place: Place, errno: i32) {
        let stage = self.lines[place].stage;
        if stage == Stage::Leaving {
            self.end(place, Cause::Ours, Ending::Orderly);
            return;
        }
        let what = match errno {
            0 => "end without a close frame".to_owned(),
            nix::libc::ECONNREFUSED => "refused".to_owned(),
            nix::libc::ECONNRESET | nix::libc::EPIPE => "reset".to_owned(),
            nix::libc::ETIMEDOUT => "timeout".to_owned(),
            nix::libc::EADDRNOTAVAIL => "no local port left".to_owned(),
            other => std::io::Error::from_raw_os_error(other).to_string(),
        };
        let why = match stage {
            Stage::Ready => what,
            Stage::Closed | Stage::Connecting => format!("connect {what}"),
            Stage::Securing | Stage::Upgrading | Stage::Step(_) | Stage::Leaving => {
                format!("{what} during the {}", stage.name())
            }
        };
        self.end(place, Cause::Fault(why), Ending::Reset);
    }

    /// A connection is over.
    pub(super) fn end(&mut self, place: Place, cause: Cause, ending: Ending) {
        for ask in Ask::ALL {
            self.remove_asker(place, ask);
        }
        let line = &mut self.lines[place];
        let stage = std::mem::replace(&mut line.stage, Stage::Closed);
        if let Some(slot) = line.slot.take() {
            self.owners[slot] = NOBODY;
            self.to_close.push((slot, ending));
        }
        line.ear = Ear::default();
        line.codec = None;
        line.generation += 1;
        let was_ready = stage == Stage::Ready;
        if let (Role::Client, true, Some(topic)) = (line.role, was_ready, line.topic) {
            self.audience[usize::try_from(topic).expect("invariant: 64 bits")] -= 1;
        }
        if matches!(stage, Stage::Step(_) | Stage::Ready | Stage::Leaving) {
            self.open = self.open.saturating_sub(1);
        }
        if was_ready && line.role != Role::Passing {
            line.lost_ns = self.now_ns;
        }
        if cause == Cause::Ours {
            // What it misses while it is gone is not the server's fault.
            line.track = Track::default();
        }
        self.count_end(place, &cause, was_ready);
        self.plan_return(place, &cause, was_ready);
    }

    fn count_end(&mut self, place: Place, cause: &Cause, was_ready: bool) {
        let line = &mut self.lines[place];
        let window = self.window;
        let waiting: usize =
            line.waiting.iter().map(|waiting| waiting.iter().filter(|ns| window.holds(**ns)).count()).sum();
        let unanswered = waiting as u64 + line.asked.iter().map(|asked| u64::from(*asked)).sum::<u64>();
        line.waiting.iter_mut().for_each(VecDeque::clear);
        line.asked = [0; 2];
        match cause {
            Cause::Ours => self.tally.part.forgone += unanswered,
            Cause::Fault(_) if line.role == Role::Slow && was_ready => self.slow_ended += 1,
            Cause::Fault(why) => {
                self.tally.part.lost_with_connection += unanswered;
                self.tally.part.counts.connections_lost += u64::from(was_ready);
                self.tally.error(why);
            }
        }
    }

    fn plan_return(&mut self, place: Place, cause: &Cause, was_ready: bool) {
        let line = &self.lines[place];
        match line.role {
            Role::Passing => self.free.push(place),
            Role::Client | Role::Publisher if self.rules.reopens && *cause != Cause::Ours => {
                let wait_ns = if was_ready { 0 } else { REOPEN_NS };
                self.reopen_at.push_back((self.now_ns + wait_ns, place, line.generation));
            }
            Role::Client | Role::Publisher | Role::Slow => {}
        }
    }

    /// Ends some of the clients at once, by a reset, and lets them come back at once.
    pub(crate) fn storm(&mut self, share_percent: u32) {
        for place in 0..self.lines.len() {
            let line = &self.lines[place];
            let is_hit = line.role == Role::Client && line.number % 100 < share_percent;
            if is_hit && line.stage == Stage::Ready {
                self.end(place, Cause::Ours, Ending::Reset);
                self.to_open.push_back(place);
            }
        }
    }

    /// Opens or ends clients so that `clients` of all processes are there.
    pub(crate) fn resize(&mut self, outbox: &mut Outbox<'_>, clients: u32) -> Result<()> {
        for place in 0..self.lines.len() {
            let line = &self.lines[place];
            if line.role != Role::Client {
                continue;
            }
            let is_wanted = line.number < clients;
            let (was_wanted, stage) = (line.is_wanted, line.stage);
            self.lines[place].is_wanted = is_wanted;
            if is_wanted && !was_wanted && stage == Stage::Closed {
                self.to_open.push_back(place);
            } else if !is_wanted && stage == Stage::Ready {
                self.leave(outbox, place)?;
            }
        }
        Ok(())
    }

    /// Says goodbye and waits for the answer.
    pub(crate) fn leave(&mut self, outbox: &mut Outbox<'_>, place: Place) -> Result<()> {
        let mut close = Vec::new();
        frame::encode_client(frame::CLOSE, &1_000_u16.to_be_bytes(), &mut close);
        self.send(outbox, place, &close)?;
        self.end_service(place);
        Ok(())
    }

    /// From here on the connection is only waited for.
    fn end_service(&mut self, place: Place) {
        for ask in Ask::ALL {
            self.remove_asker(place, ask);
        }
        let deadline_ns = self.now_ns + CLOSE_TIMEOUT_NS;
        let line = &mut self.lines[place];
        if let (Role::Client, Stage::Ready, Some(topic)) = (line.role, line.stage, line.topic) {
            self.audience[usize::try_from(topic).expect("invariant: 64 bits")] -= 1;
        }
        line.stage = Stage::Leaving;
        self.leaving.push_back((deadline_ns, place, line.generation));
    }

    /// What time alone brings about.
    pub(crate) fn tick(&mut self, outbox: &mut Outbox<'_>) -> Result<()> {
        let mut opening = std::mem::take(&mut self.opening);
        self.expire(&mut opening);
        self.opening = opening;
        let mut leaving = std::mem::take(&mut self.leaving);
        self.expire(&mut leaving);
        self.leaving = leaving;
        self.reopen();
        self.dismiss(outbox)
    }

    /// Ends those whose time is up.
    fn expire(&mut self, waiting: &mut VecDeque<(u64, Place, u32)>) {
        while let Some((deadline_ns, place, generation)) = waiting.front().copied() {
            let is_on_its_way = self.is_on_its_way(place, generation);
            if is_on_its_way && self.now_ns < deadline_ns {
                break;
            }
            waiting.pop_front();
            if is_on_its_way {
                let why = format!("timeout: {}", self.lines[place].stage.name());
                self.end(place, Cause::Fault(why), Ending::Reset);
            }
        }
    }

    fn reopen(&mut self) {
        while let Some((_, place, generation)) =
            self.reopen_at.front().copied().filter(|at| at.0 <= self.now_ns)
        {
            self.reopen_at.pop_front();
            let line = &self.lines[place];
            if line.generation == generation && line.stage == Stage::Closed && line.is_wanted {
                self.to_open.push_back(place);
            }
        }
    }

    /// Ends those that only pass and have stayed long enough.
    fn dismiss(&mut self, outbox: &mut Outbox<'_>) -> Result<()> {
        while let Some((_, place, generation)) =
            self.leave_at.front().copied().filter(|at| at.0 <= self.now_ns)
        {
            self.leave_at.pop_front();
            let line = &self.lines[place];
            if line.generation != generation || line.stage != Stage::Ready {
                continue;
            }
            if line.number % 100 < self.rules.abrupt_percent {
                self.end(place, Cause::Ours, Ending::Reset);
            } else {
                self.leave(outbox, place)?;
            }
        }
        Ok(())
    }
}
