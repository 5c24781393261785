//! The clients of `examples/` that read market data in SBE, each in another language and with nothing of the others, against the binary.

use std::process::{Command, Output};

use crate::server::{Server, temporary_file};

#[allow(dead_code, reason = "its `main` is for who runs it")]
#[path = "../../examples/sbe_client.rs"]
mod sbe_client;

const NAME: &str = "BTC-PERPETUAL";
const MESSAGES: &str = "50";

/// Lines of best prices, such as `64997.5 x 1450 | 64999 x 290`: as many as asked for, the bid below the ask.
fn check_lines(told: &str) {
    assert_eq!(told.lines().count().to_string(), MESSAGES, "{told}");
    for line in told.lines() {
        let price = |side: &str| side.split(" x ").next().unwrap().trim().parse::<f64>();
        let (bid, ask) = line.split_once(" | ").unwrap();
        let (Ok(bid), Ok(ask)) = (price(bid), price(ask)) else { continue };
        assert!(0.0 < bid && bid < ask, "{line}");
    }
    assert!(told.lines().any(|line| !line.contains('-')), "both sides are quoted at some time: {told}");
}

/// Runs a client for quotes and for a book, then for an instrument that there is not.
fn check(client: &dyn Fn() -> Command) {
    let server = Server::start("", "0");
    let port = server.address.port().to_string();
    for kind in ["quote", "book"] {
        let Output { status, stdout, stderr } =
            client().args(["127.0.0.1", &port, NAME, kind, MESSAGES]).output().unwrap();
        assert!(status.success(), "{kind}: {}", String::from_utf8_lossy(&stderr));
        check_lines(&String::from_utf8(stdout).unwrap());
    }
    let Output { status, stderr, .. } =
        client().args(["127.0.0.1", &port, "NONE-SUCH", "quote", "1"]).output().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(!stderr.is_empty(), "it says why");
    server.stop().assert_clean();
}

#[test]
fn the_example_in_python_follows_quotes_and_a_book_in_sbe() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("no python3 on this host: nothing is shown");
        return assert!(std::env::var_os("TICKRING_REQUIRE").is_none(), "TICKRING_REQUIRE is set");
    }
    check(&|| {
        let mut command = Command::new("python3");
        command.arg("examples/sbe_client.py");
        command
    });
}

#[test]
fn the_example_in_cpp_follows_quotes_and_a_book_in_sbe() {
    let client = temporary_file("client", b"");
    let built = Command::new("c++")
        .args(["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&client)
        .arg("examples/sbe_client.cpp")
        .status();
    assert!(built.unwrap().success());
    check(&|| Command::new(&client));
    std::fs::remove_file(client).unwrap();
}

#[test]
fn the_example_in_rust_follows_quotes_and_a_book_in_sbe() {
    let server = Server::start("", "0");
    let address = server.address.to_string();
    for kind in ["quote", "book"] {
        let mut told = Vec::new();
        sbe_client::run(&address, NAME, kind, MESSAGES.parse().ok(), &mut told).unwrap();
        check_lines(&String::from_utf8(told).unwrap());
    }
    assert!(sbe_client::run(&address, "NONE-SUCH", "quote", Some(1), &mut Vec::new()).is_err());
    server.stop().assert_clean();
}
