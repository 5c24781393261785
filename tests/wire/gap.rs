//! A thread that stands still for so long that its queue runs over: those of its clients that may lose nothing are told, and
//! nobody else loses anything.

use std::fs;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::DEADLINE;
use crate::client::{Client, End};
use crate::server::Server;

/// So many that no shard is without one.
const CLIENTS: usize = 32;
/// So many that some have their home on the thread that goes on.
const TOPICS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
/// A queue between two threads holds 1024 batches, and a message whose reply is waited for has one of its own.
const MESSAGES: u64 = 1100;

/// One thread of a server, which stands still until this goes, while the others run.
pub(crate) struct Stopped(Pid);

impl Stopped {
    pub(crate) fn thread(server: &Server, name: &str) -> Stopped {
        let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).unwrap().map(Result::unwrap);
        let is_it =
            |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap().trim() == name;
        let task = tasks.into_iter().find(is_it).unwrap();
        let thread = Pid::from_raw(task.file_name().to_str().unwrap().parse().unwrap());
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Stopped(thread)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        ptrace::detach(self.0, None).unwrap();
    }
}

/// Takes a client of a thread that runs from those of all threads: the first that is answered.
fn take_answered(clients: &mut Vec<Client>) -> Client {
    for client in clients.iter_mut() {
        client.send("public/test", &json!({}));
    }
    let timeout = PollTimeout::try_from(DEADLINE).unwrap();
    let mut sockets: Vec<PollFd<'_>> =
        clients.iter().map(|client| PollFd::new(client.stream().as_fd(), PollFlags::POLLIN)).collect();
    assert!(poll(&mut sockets, timeout).unwrap() > 0, "no thread answers");
    let answered = sockets.iter().position(|socket| socket.any() == Some(true)).unwrap();
    let mut client = clients.swap_remove(answered);
    client.settle(1);
    client
}

/// A topic whose home runs: of all that are published to, one that is answered at once.
fn topic_at_home(client: &mut Client) -> &'static str {
    let ids = TOPICS.map(|topic| client.send("topic/publish", &json!({"topic": topic, "data": 0})));
    let last = client.send("public/test", &json!({}));
    let mut found = None;
    loop {
        let message = client.message();
        if message["id"] == last {
            return found.expect("of eight topics one has its home here");
        }
        if let Some(at) = ids.iter().position(|id| message["id"] == *id) {
            assert_eq!(message["result"]["seq"], 1, "{message}");
            found = Some(TOPICS[at]);
        }
    }
}

#[test]
fn who_may_lose_nothing_is_closed_with_1008_once_its_thread_has_missed_what_history_no_longer_has() {
    let mut server = Server::start("[topics]\nhistory_events_max = 4\n", "0,1");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
    let channels = TOPICS.map(|topic| format!("topic.{topic}"));
    for client in &mut clients {
        client.call("public/subscribe", &json!({"channels": channels, "class": "lossless"}));
    }
    let stopped = Stopped::thread(&server, "shard-1");
    let mut publisher = take_answered(&mut clients);
    let topic = topic_at_home(&mut publisher);
    for number in 1..=MESSAGES {
        assert_eq!(publisher.publish(topic, &json!(number)).1, number + 1);
    }
    drop(stopped);
    server.wait_for_log(": messages_lost, told 1008");
    let mut lost = 0;
    for mut client in clients {
        // Number 0 is there already.
        let mut seq = 0;
        let end = client.read_until(|text| {
            let message: Value = serde_json::from_str(text).unwrap();
            if message["params"]["channel"] == format!("topic.{topic}") {
                seq += 1;
                assert_eq!(message["params"]["seq"], seq, "nothing is left out up to the end");
            }
            seq == MESSAGES + 1
        });
        match end {
            None => client.close(),
            Some(End::Close { code, reason }) => {
                assert_eq!((code, &*reason), (1008, "messages were lost inside the server: resume"));
                lost += 1;
            }
            Some(End::Reset) => panic!("it is told before the end"),
        }
    }
    drop(publisher);
    let ended = server.stop();
    ended.assert_clean();
    println!("{lost} of {CLIENTS} clients were on the thread that stood still");
    assert!(0 < lost && lost < CLIENTS as u64);
    assert_eq!(ended.incidents("messages_lost"), lost);
    assert!(ended.of_shards("gaps_total") > 0);
}
