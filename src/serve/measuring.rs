//! Who measures what, and what is told of it without being asked over HTTP: files of histograms, and a line that sums up.
//! Home: the main thread.

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock;
use crate::config;
use crate::doorbell::Doorbell;
use crate::histograms::{Histograms, file};
use crate::telemetry::latency::{Collection, Recorder, Stage, exchange, interval_log};
use crate::telemetry::{Board, ProcessReading, Snapshot, Summary};

/// For each thread in the order of its board and its doorbell: the shards, then the venue.
pub(super) fn recorders(boards: &[Arc<Board>], doorbells: &[Doorbell]) -> (Vec<Recorder>, Arc<Histograms>) {
    let mut recorders = Vec::with_capacity(boards.len());
    let mut takers = Vec::with_capacity(boards.len());
    for (at, board) in boards.iter().enumerate() {
        let is_venue = at + 1 == boards.len();
        let stages: &'static [Stage] = if is_venue { &Stage::OF_VENUE } else { &Stage::ALL };
        let (recorder, taker) = exchange(stages);
        recorders.push(recorder);
        takers.push((board.thread().to_owned(), stages, taker));
    }
    let collection = Collection::new(takers, clock::now());
    (recorders, Arc::new(Histograms::new(collection, doorbells.to_vec())))
}

/// What the main thread tells, and when.
pub(super) struct Measuring {
    histograms: Arc<Histograms>,
    boards: Vec<Arc<Board>>,
    /// Where files go, if that was said.
    folder: Option<PathBuf>,
    files: Option<Timer>,
    summaries: Option<(Timer, Summary)>,
}

/// Comes due again and again.
struct Timer {
    interval_ns: u64,
    due_ns: u64,
}

impl Timer {
    /// None for 0.
    fn every(seconds: u32, now_ns: u64) -> Option<Timer> {
        let interval_ns = u64::from(seconds) * 1_000_000_000;
        (interval_ns > 0).then_some(Timer { interval_ns, due_ns: now_ns + interval_ns })
    }

    fn is_due(&mut self, now_ns: u64) -> bool {
        let is_due = now_ns >= self.due_ns;
        if is_due {
            self.due_ns = now_ns + self.interval_ns;
        }
        is_due
    }
}

/// What becomes of an interval that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    BeginInterval,
}

impl Measuring {
    pub(super) fn new(
        service: &config::Service,
        histograms: &Arc<Histograms>,
        boards: &[Arc<Board>],
    ) -> Measuring {
        let now_ns = clock::now().mono_ns;
        let summaries = Timer::every(service.summary_interval_s, now_ns);
        Measuring {
            histograms: Arc::clone(histograms),
            boards: boards.to_vec(),
            folder: service.named_state_dir(variable),
            files: Timer::every(service.histogram_interval_s, now_ns),
            summaries: summaries.map(|timer| (timer, Summary::begin(now_ns))),
        }
    }

    /// Does what is due by now.
    pub(super) fn look(&mut self) {
        let now_ns = clock::now().mono_ns;
        if self.files.as_mut().is_some_and(|files| files.is_due(now_ns)) {
            self.gather_and_write(Then::BeginInterval);
        }
        if let Some((timer, summary)) = &mut self.summaries
            && timer.is_due(now_ns)
        {
            self.histograms.gather();
            let process = ProcessReading::default();
            let snapshot = Snapshot::take(&self.boards, &process);
            let line = summary.line(&snapshot, self.histograms.collection().total(), clock::now().mono_ns);
            log::info!("{line}");
        }
    }

    /// Asks all threads, and writes what they have recorded in this interval.
    pub(super) fn write(&self) {
        self.gather_and_write(Then::GoOn);
    }

    fn gather_and_write(&self, then: Then) {
        self.histograms.gather();
        let usual = || config::Service::usual_state_dir(variable);
        self.write_to(self.folder.clone().unwrap_or_else(usual), then);
    }

    /// Writes what threads that have ended have left, if it was said where to.
    pub(super) fn write_last(&self) {
        self.histograms.take();
        if let Some(folder) = &self.folder {
            self.write_to(folder.clone(), Then::GoOn);
        }
    }

    /// What is recorded from now on is of a new interval.
    pub(super) fn begin_interval(&self) {
        self.histograms.gather();
        self.histograms.collection().begin_interval(clock::now());
        log::info!("histograms begin a new interval");
    }

    fn write_to(&self, folder: PathBuf, then: Then) {
        let now = clock::now();
        // The lock is not held while the file is written: the control thread answers meanwhile.
        let (log, missing, begun) = {
            let mut collection = self.histograms.collection();
            let missing = collection.missing().collect::<Vec<_>>().join(", ");
            let (log, begun) = (interval_log(&collection, now), collection.interval_begun());
            // Under the same lock, so that what comes in meanwhile is of the one or the other.
            if then == Then::BeginInterval {
                collection.begin_interval(now);
            }
            (log, missing, begun)
        };
        let seconds = now.mono_ns.saturating_sub(begun.mono_ns).div_ceil(1_000_000_000);
        match file::write(&folder, now.unix_ns, &log) {
            Ok(path) => log::info!("{}: histograms of the last {seconds} s", path.display()),
            Err(error) => log::error!(
                "{}: histograms cannot be written: {error}: have service.state_dir name a folder that the server's user may write",
                folder.display()
            ),
        }
        if !missing.is_empty() {
            log::warn!("histograms are without what {missing} has recorded since it turned last");
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::telemetry::latency::read_interval_log;

    #[test]
    fn what_threads_hand_over_while_files_are_written_is_in_one_of_them() {
        let folder = std::env::temp_dir().join(format!("tickring-intervals-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let boards = [Arc::new(Board::of_venue())];
        let (mut recorders, histograms) = recorders(&boards, &[Doorbell::new().unwrap()]);
        let service = config::Service { state_dir: folder.clone(), ..config::Service::default() };
        let measuring = Measuring::new(&service, &histograms, &boards);
        let is_over = Arc::new(AtomicBool::new(false));
        let mut recorder = recorders.pop().unwrap();
        let of_recorder = Arc::clone(&is_over);
        let recording = thread::spawn(move || {
            let mut recorded = 0;
            while !of_recorder.load(Ordering::Relaxed) {
                recorder.record(Stage::Turn, 1_000);
                recorder.hand_over();
                recorded += 1;
            }
            recorder.finish();
            recorded
        });
        // As the control thread does, for operators.
        let (of_operators, asked) = (Arc::clone(&is_over), Arc::clone(&histograms));
        let asking = thread::spawn(move || {
            while !of_operators.load(Ordering::Relaxed) {
                asked.collection().ask(clock::now());
                asked.take();
            }
        });
        (0..20).for_each(|_| measuring.gather_and_write(Then::BeginInterval));
        is_over.store(true, Ordering::Relaxed);
        let recorded: u64 = recording.join().unwrap();
        asking.join().unwrap();
        measuring.write_last();
        let of_file = |path| -> u64 {
            let entries = read_interval_log(&fs::read(path).unwrap()).unwrap();
            entries.iter().filter(|entry| entry.tag == "turn.all").map(|entry| entry.histogram.len()).sum()
        };
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 21);
        assert_eq!(files.into_iter().map(of_file).sum::<u64>(), recorded);
        fs::remove_dir_all(&folder).unwrap();
    }
}
