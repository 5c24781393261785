//! The life of the server as its manager sees it: what it is told, the watchdog, and signals. Home: the main thread.

use std::os::fd::AsFd;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::clock;
use crate::doorbell::Doorbell;
use crate::exit::{Exit, Failure};
use crate::pulse::Pulse;
use crate::systemd::{Care, Notifier, Watchdog};

/// How often the main thread looks whether a thread has ended by itself, and after the watchdog, in milliseconds.
pub(super) const LOOK_MS: u16 = 200;
/// The same at a stop, whose end is waited for.
pub(super) const LOOK_AT_STOP_MS: u16 = 5;

/// What the main thread hears of outside, and whom it tells.
pub(super) struct Service {
    notifier: Notifier,
    signals: SignalFd,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Reload,
    /// To write histograms to a file.
    Histograms,
    /// To have them begin anew.
    NewInterval,
    Stop(Signal),
    /// An operator asked over HTTP: a signal of our own, which does not end at once what is ending already.
    Drain,
}

impl Service {
    /// Takes the signals. Before any thread starts, so that all of them inherit that.
    ///
    /// SIGHUP reads again what can be; where there is nothing to read, it ends the process as ever, unless a manager reloads by it.
    pub(super) fn start(can_reload: bool) -> Result<Service, Failure> {
        let notifier = Notifier::from_env();
        let mut set = stop_signals();
        set.add(Signal::SIGUSR1);
        set.add(Signal::SIGUSR2);
        if can_reload || notifier.is_heard() {
            set.add(Signal::SIGHUP);
        }
        let os = |errno: nix::errno::Errno| {
            Failure::new(Exit::OsError, format!("cannot handle signals: {}", errno.desc()), "see ulimit -a")
        };
        set.thread_block().map_err(os)?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        Ok(Service { notifier, signals: signals.map_err(os)? })
    }

    /// Waits for a signal, for so long.
    pub(super) fn next_signal(&self, wait_ms: u16) -> Option<Asked> {
        let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut fds, PollTimeout::from(wait_ms)), Ok(count) if count > 0) {
            return None;
        }
        match self.signals.read_signal() {
            Ok(Some(signal)) if signal.ssi_signo == Signal::SIGHUP as u32 => Some(Asked::Reload),
            Ok(Some(signal)) if signal.ssi_signo == Signal::SIGUSR1 as u32 => Some(Asked::Histograms),
            Ok(Some(signal)) if signal.ssi_signo == Signal::SIGUSR2 as u32 => Some(Asked::NewInterval),
            Ok(Some(signal)) if signal.ssi_pid == std::process::id() => Some(Asked::Drain),
            Ok(Some(signal)) if signal.ssi_signo == Signal::SIGINT as u32 => {
                Some(Asked::Stop(Signal::SIGINT))
            }
            Ok(Some(_)) | Err(_) => Some(Asked::Stop(Signal::SIGTERM)),
            Ok(None) => None,
        }
    }

    /// Every shard listens.
    pub(super) fn tell_ready(&self, status: &str) {
        self.notifier.tell(&format!("READY=1\nSTATUS={status}"));
    }

    pub(super) fn tell_reloading(&self) {
        let now_us = clock::system_monotonic_us();
        self.notifier
            .tell(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}\nSTATUS=reading the configuration again"));
    }

    pub(super) fn tell_stopping(&self, connections: u32) {
        self.notifier.tell(&format!("STOPPING=1\nSTATUS=sending {connections} clients away"));
    }

    pub(super) fn feed_watchdog(&self) {
        self.notifier.tell("WATCHDOG=1");
    }
}

/// Ends the process as the signal would have, had nobody handled it.
pub(super) fn end_by(signal: Signal) -> ! {
    let _ = stop_signals().thread_unblock();
    let _ = raise(signal);
    // Where the parent had it ignored.
    std::process::exit(128 + signal as i32)
}

fn stop_signals() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set
}

/// Every thread's pulse, and what wakes those that are parked: shards in their order, then the venue.
pub(super) struct Watched {
    watchdog: Option<Watchdog>,
    pulses: Vec<Arc<Pulse>>,
    doorbells: Vec<Doorbell>,
}

impl Watched {
    pub(super) fn new(pulses: Vec<Arc<Pulse>>, doorbells: Vec<Doorbell>) -> Watched {
        let watchdog = Watchdog::from_env(pulses.len(), clock::now().mono_ns);
        if let Some(watchdog) = &watchdog
            && watchdog.interval_ns() < 4 * u64::from(LOOK_MS) * 1_000_000
        {
            log::warn!("WatchdogSec= is shorter than {} ms: it is not fed in time", 4 * LOOK_MS);
        }
        Watched { watchdog, pulses, doorbells }
    }

    /// Feeds the watchdog if it is due and every thread that has not ended has turned; wakes those that have not, so that they turn
    /// by the next look.
    pub(super) fn look(&mut self, service: &Service, has_ended: impl Fn(usize) -> bool) {
        let Some(watchdog) = &mut self.watchdog else { return };
        let turns = |(at, pulse): (usize, &Arc<Pulse>)| (!has_ended(at)).then(|| pulse.count());
        let turns: Vec<Option<u64>> = self.pulses.iter().enumerate().map(turns).collect();
        let still = match watchdog.look(&turns, clock::now().mono_ns) {
            Care::Nothing => return,
            Care::Feed => return service.feed_watchdog(),
            Care::Wake(still) => still,
            Care::Complain(still) => {
                let names: Vec<String> = still.iter().map(|at| self.name(*at)).collect();
                log::error!("{} does not turn: the watchdog is not fed", names.join(", "));
                still
            }
        };
        still.into_iter().for_each(|at| self.doorbells[at].ring());
    }

    fn name(&self, at: usize) -> String {
        if at + 1 == self.pulses.len() { "the venue".to_owned() } else { format!("shard {at}") }
    }
}
