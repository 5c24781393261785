//! A nats-server that is killed again and again under load: nothing that was stored is missing, nothing that was refused is there.

use tickring::model::storage::{StoreState, StoreWord};

use crate::nats_server::NatsServer;
use crate::running::{Chance, Running, Sender, settings};

const KILLS: u64 = 100;
const KILLS_AS_IT_COMES: u64 = 40;
const KILLS_OF_THREE: u64 = 12;

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn nothing_that_was_stored_is_missing_after_a_hundred_kills_of_a_server_that_syncs_always() {
    kill_again_and_again(NatsServer::start_that_syncs_always(""), KILLS);
}

/// What it has written, and the kernel has not, outlives it, though no machine.
#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn nothing_that_was_stored_is_missing_after_kills_of_a_server_as_it_comes() {
    kill_again_and_again(NatsServer::start(""), KILLS_AS_IT_COMES);
}

fn kill_again_and_again(mut server: NatsServer, kills: u64) {
    let mut chance = Chance::new(2026);
    let (running, _) = Running::ready(&server.url(), 1);
    let mut sender = Sender::new(running, 3, 0);
    let mut refused = 0;
    for kill in 1..=kills {
        // At any moment of some appends.
        sender.store_some(1 + chance.below(20));
        sender.send_some();
        for _ in 0..chance.below(4) {
            if sender.ledger.under_way() > 0 {
                sender.hear();
            }
        }
        sender.send_some();
        server.kill();
        server.restart();
        sender.drain();
        while sender.running.store.reading(0).state != 2 {
            if sender.hear() == StoreWord::State(StoreState::Ready) {
                break;
            }
        }
        if kill % 10 == 0 {
            // Another owner, which has nothing but the stream.
            refused += sender.ledger.refused;
            let next_key = 1_000_000 * kill;
            let (later, loaded) = Running::ready(&server.url(), 1 + kill);
            assert_eq!(sender.ledger.check(&loaded), 0, "kill {kill}");
            sender.running.stop();
            sender = Sender::new(later, kill, next_key);
            sender.ledger.start_with(&loaded);
        }
    }
    assert!(refused > 0, "some were too late");
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn with_three_servers_nothing_that_was_stored_is_missing_while_one_after_the_other_is_killed() {
    let mut servers = NatsServer::start_three();
    let mut of_three = settings(&servers[0].url());
    of_three.servers = servers.iter().map(|server| server.url().parse().unwrap()).collect();
    of_three.replicas = 3;
    let mut running = Running::open_with(of_three.clone(), 1, 64, 1 << 20);
    running.load();
    let (mut sender, mut chance) = (Sender::new(running, 5, 0), Chance::new(3));
    for kill in 1..=KILLS_OF_THREE {
        sender.store_some(1 + chance.below(20));
        sender.send_some();
        let victim = &mut servers[chance.below(3) as usize];
        victim.kill();
        // Two of three go on, by a new leader where the old one is gone.
        sender.store_some(10);
        victim.restart();
        sender.drain();
        if kill % 4 == 0 {
            let mut later = Running::open_with(of_three.clone(), 1 + kill, 64, 1 << 20);
            let loaded = later.load_in_the_end();
            assert_eq!(sender.ledger.check(&loaded), 0, "kill {kill}");
            sender.running.stop();
            sender = Sender::new(later, kill, 1_000_000 * kill);
            sender.ledger.start_with(&loaded);
        }
    }
}
