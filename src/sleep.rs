//! The sleep protocol: a thread parks without missing what a peer pushed, and a peer pays for a doorbell only
//! when somebody sleeps.
//!
//! Home: one `Sleeper` per thread; its owner alone writes it, every peer reads it.
//! Invariant (the two full fences make it so): either the publisher's test sees `sleeping`, or the sleeper's
//! recheck sees the push. Both may happen, which costs one doorbell too many; neither cannot.
//!
//! | publisher | sleeper |
//! |---|---|
//! | push | `prepare`: set `sleeping`, full fence |
//! | `fence_pushes`: full fence | recheck every queue: something there, then `wake` and carry on |
//! | `is_sleeping`, then ring the doorbell | park until the doorbell or a deadline, then `wake` |
//!
//! Model-checked with loom, the wrong orders too:
//! `RUSTFLAGS="--cfg loom" cargo test --release --no-default-features --lib sleep --target-dir target/loom`.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Whether one thread is parked or about to park. Two cache lines wide, because peers read it after each of
/// their turns and adjacent lines are fetched in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub struct Sleeper {
    sleeping: AtomicBool,
}

impl Default for Sleeper {
    fn default() -> Sleeper {
        Sleeper { sleeping: AtomicBool::new(false) }
    }
}

impl Sleeper {
    /// Owner: from here on peers ring. The owner must now recheck every queue, and only then park.
    pub fn prepare(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Owner: it runs again, peers need not ring. A doorbell already under way stays rung, which is harmless.
    pub fn wake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Publisher: does this peer need its doorbell? Only meaningful after [`fence_pushes`].
    pub fn is_sleeping(&self) -> bool {
        self.sleeping.load(Ordering::Relaxed)
    }
}

/// Publisher: orders all its pushes so far before the tests of `is_sleeping` that follow. One fence serves any
/// number of peers.
pub fn fence_pushes() {
    fence(Ordering::SeqCst);
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn sleeps_only_between_prepare_and_wake() {
        let sleeper = Sleeper::default();
        assert!(!sleeper.is_sleeping());
        sleeper.prepare();
        assert!(sleeper.is_sleeping());
        sleeper.wake();
        assert!(!sleeper.is_sleeping());
    }
}

/// Every interleaving and every reordering that the memory model allows, of small programs. A lost wake-up
/// leaves the sleeper parked for good, which loom reports as a deadlock.
#[cfg(test)]
#[cfg(loom)]
mod model {
    use super::*;
    use loom::sync::atomic::AtomicUsize;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// What the mesh and the kernel are to the protocol: queues that publish with Release and are read with
    /// Acquire (as rtrb's tail is), and an eventfd that remembers a ring until it is read.
    struct Machine {
        sleeper: Sleeper,
        pushed: Vec<AtomicUsize>,
        doorbell: Mutex<bool>,
        rung: Condvar,
    }

    impl Machine {
        fn new(publishers: usize) -> Arc<Machine> {
            Arc::new(Machine {
                sleeper: Sleeper::default(),
                pushed: (0..publishers).map(|_| AtomicUsize::new(0)).collect(),
                doorbell: Mutex::new(false),
                rung: Condvar::new(),
            })
        }

        fn push(&self, queue: usize, count: usize) {
            self.pushed[queue].store(count, Ordering::Release);
        }

        fn received(&self) -> usize {
            self.pushed.iter().map(|queue| queue.load(Ordering::Acquire)).sum()
        }

        fn ring(&self) {
            *self.doorbell.lock().unwrap() = true;
            self.rung.notify_one();
        }

        fn park(&self) {
            let mut rung = self.doorbell.lock().unwrap();
            while !*rung {
                rung = self.rung.wait(rung).unwrap();
            }
            *rung = false;
        }

        /// The sleeper's loop as the mesh and the pump run it, until `total` pushes have been seen.
        fn receive_all(&self, total: usize) {
            loop {
                let seen = self.received();
                if seen == total {
                    return;
                }
                self.sleeper.prepare();
                if self.received() == seen {
                    self.park();
                }
                self.sleeper.wake();
            }
        }

        fn publish(&self, queue: usize, count: usize) {
            self.push(queue, count);
            fence_pushes();
            if self.sleeper.is_sleeping() {
                self.ring();
            }
        }
    }

    fn check(
        publishers: usize,
        pushes_each: usize,
        publish: fn(&Machine, usize, usize),
        receive: fn(&Machine, usize),
    ) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let machine = Machine::new(publishers);
            let threads: Vec<_> = (0..publishers)
                .map(|queue| {
                    let machine = Arc::clone(&machine);
                    thread::spawn(move || (1..=pushes_each).for_each(|count| publish(&machine, queue, count)))
                })
                .collect();
            receive(&machine, publishers * pushes_each);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }

    #[test]
    fn loses_no_wake_up_of_one_publisher() {
        check(1, 2, Machine::publish, Machine::receive_all);
    }

    #[test]
    fn loses_no_wake_up_of_two_publishers() {
        check(2, 1, Machine::publish, Machine::receive_all);
    }

    /// The same race once, without parking (loom cannot unwind out of a deadlock, and these are to fail): the
    /// sleeper decides whether it would park, the publisher whether it would ring.
    fn check_once(publish: fn(&Machine) -> bool, would_park: fn(&Machine) -> bool) {
        loom::model(move || {
            let machine = Machine::new(1);
            let theirs = Arc::clone(&machine);
            let publisher = thread::spawn(move || publish(&theirs));
            let parked = would_park(&machine);
            let rang = publisher.join().unwrap();
            assert!(rang || !parked, "lost wake-up");
        });
    }

    fn push_fence_test(machine: &Machine) -> bool {
        machine.push(0, 1);
        fence_pushes();
        machine.sleeper.is_sleeping()
    }

    fn set_fence_recheck(machine: &Machine) -> bool {
        machine.sleeper.prepare();
        machine.received() == 0
    }

    #[test]
    fn parks_only_if_it_will_be_woken() {
        check_once(push_fence_test, set_fence_recheck);
    }

    #[test]
    #[should_panic(expected = "lost wake-up")]
    fn the_check_finds_a_recheck_before_sleeping_is_set() {
        check_once(push_fence_test, |machine| {
            let empty = machine.received() == 0;
            machine.sleeper.prepare();
            empty
        });
    }

    #[test]
    #[should_panic(expected = "lost wake-up")]
    fn the_check_finds_a_test_before_the_push() {
        let test_push_fence = |machine: &Machine| {
            let sleeping = machine.sleeper.is_sleeping();
            machine.push(0, 1);
            fence_pushes();
            sleeping
        };
        check_once(test_push_fence, set_fence_recheck);
    }

    #[test]
    #[should_panic(expected = "lost wake-up")]
    fn the_check_finds_a_publisher_without_its_fence() {
        let push_test = |machine: &Machine| {
            machine.push(0, 1);
            machine.sleeper.is_sleeping()
        };
        check_once(push_test, set_fence_recheck);
    }

    #[test]
    #[should_panic(expected = "lost wake-up")]
    fn the_check_finds_a_sleeper_without_its_fence() {
        check_once(push_fence_test, |machine| {
            machine.sleeper.sleeping.store(true, Ordering::Relaxed);
            machine.received() == 0
        });
    }
}
