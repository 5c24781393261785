//! Who is measured: `peers.toml`, what is installed of it, and what installs the rest. Home: the load thread.
//! Invariant: a peer is started at the version that the file pins, or is named as missing with the reason.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Failure, Result};
use crate::peers::runner::Contender;
use crate::peers::words::Words;
use crate::server::{self, Launch};

/// The file.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Roster {
    #[serde(rename = "peer")]
    pub(crate) peers: Vec<Peer>,
    #[serde(default)]
    pub(crate) absent: Vec<Absent>,
}

/// One server that a registry serves.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) about: String,
    dialect: String,
    pinned: String,
    present: String,
    install: Vec<Vec<String>>,
    start: Vec<String>,
    #[serde(default)]
    version: Vec<String>,
}

/// One that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Absent {
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The folder of `peers.toml`.
    pub(crate) scripts: PathBuf,
    /// The folder of the dialect files.
    pub(crate) dialects: PathBuf,
    /// The folder below which peers are installed.
    pub(crate) home: PathBuf,
}

impl Places {
    pub(crate) fn roster(&self) -> Result<Roster> {
        let text = std::fs::read_to_string(self.scripts.join("peers.toml")).doing("read peers.toml")?;
        Roster::parse(&text)
    }

    pub(crate) fn words(&self, name: &str) -> Result<Words> {
        let path = self.dialects.join(format!("{name}.toml"));
        Words::parse(&std::fs::read_to_string(path).doing("read a dialect file")?)
    }

    fn fill(&self, peer: &Peer, text: &str) -> String {
        let home = self.home.join(format!("{}-{}", peer.name, peer.pinned));
        text.replace("{home}", &home.to_string_lossy()).replace("{scripts}", &self.scripts.to_string_lossy())
    }
}

impl Roster {
    pub(crate) fn parse(text: &str) -> Result<Roster> {
        toml::from_str(text).map_err(|error| Failure::Unmet(format!("peers.toml: {error}")))
    }
}

impl Peer {
    /// Installed if need be, and ready to be started on `cpus`.
    pub(crate) fn ready(&self, places: &Places, cpus: &[usize]) -> Result<Contender> {
        let present = PathBuf::from(places.fill(self, &self.present));
        if !present.exists() {
            self.install(places)?;
        }
        if !present.exists() {
            return Err(Failure::Unmet(format!("its install left no {}", present.display())));
        }
        let mut start = self.start.iter().map(|text| places.fill(self, text));
        let program = start.next().ok_or_else(|| Failure::Unmet("peers.toml starts nothing".to_owned()))?;
        Ok(Contender {
            name: self.name.clone(),
            version: Some(self.told_version(places).unwrap_or_else(|| self.pinned.clone())),
            words: places.words(&self.dialect)?,
            launch: Launch {
                program,
                arguments: start.collect(),
                environment: Vec::new(),
                cpus: cpus.to_vec(),
            },
            fanout_launch: None,
        })
    }

    fn install(&self, places: &Places) -> Result<()> {
        let home = PathBuf::from(places.fill(self, "{home}"));
        std::fs::create_dir_all(&home).doing("make the folder of a peer")?;
        for step in &self.install {
            let step: Vec<String> = step.iter().map(|text| places.fill(self, text)).collect();
            let [program, arguments @ ..] = step.as_slice() else { continue };
            let made =
                Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).output();
            let made = made.map_err(|error| Failure::Unmet(format!("{program} cannot be run: {error}")))?;
            if !made.status.success() {
                // A half-made install would look like one the next time.
                let _ = std::fs::remove_dir_all(&home);
                let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
                let last = said.lines().last().unwrap_or("without a word").to_owned();
                return Err(Failure::Unmet(format!("its install failed: {program}: {last}")));
            }
        }
        Ok(())
    }

    /// What it says of itself: the last word of the answer.
    fn told_version(&self, places: &Places) -> Option<String> {
        let command: Vec<String> = self.version.iter().map(|text| places.fill(self, text)).collect();
        let [program, arguments @ ..] = command.as_slice() else { return None };
        let said = server::version(program, arguments)?;
        said.split_whitespace().last().map(|word| word.trim_start_matches('v').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const FILE: &str = include_str!("../../peers/peers.toml");

    fn places() -> Places {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        Places { scripts: root.join("peers"), dialects: root.join("dialects"), home: "homes".into() }
    }

    #[test]
    fn every_peer_has_a_dialect_and_pins_what_it_installs() {
        let roster = places().roster().unwrap();
        assert!(7 <= roster.peers.len());
        for peer in &roster.peers {
            assert!(places().words(&peer.dialect).is_ok(), "{}", peer.name);
            let install = peer.install.concat().join(" ");
            let is_pinned = install.contains(&peer.pinned) || install.contains("--locked");
            assert!(is_pinned, "{} installs {install}", peer.name);
            assert!(peer.present.starts_with("{home}/"), "{}", peer.name);
        }
    }

    #[test]
    fn the_crates_of_our_own_servers_are_of_the_pinned_versions() {
        let lock = include_str!("../../peers/rust/Cargo.lock");
        for peer in Roster::parse(FILE).unwrap().peers {
            if peer.install.concat().iter().any(|word| word == "cargo") {
                let package = format!("name = \"{}\"\nversion = \"{}\"\n", peer.name, peer.pinned);
                assert!(lock.contains(&package), "{package}");
            }
        }
    }

    #[test]
    fn every_script_that_is_started_is_there() {
        for peer in Roster::parse(FILE).unwrap().peers {
            for word in peer.start.iter().filter(|word| word.starts_with("{scripts}")) {
                assert!(Path::new(&places().fill(&peer, word)).exists(), "{word}");
            }
        }
    }

    #[test]
    fn a_folder_is_of_one_version() {
        let roster = Roster::parse(FILE).unwrap();
        let bun = roster.peers.iter().find(|peer| peer.name == "bun").unwrap();
        assert_eq!(places().fill(bun, "{home}/bin"), format!("homes/bun-{}/bin", bun.pinned));
    }

    #[test]
    fn a_peer_whose_install_cannot_be_run_says_so() {
        let text =
            FILE.replacen("\"npm\"", "\"no-such-installer\"", 1).replacen("{home}/node", "{home}/none", 1);
        let home = std::env::temp_dir().join(format!("loadtest-peers-{}", std::process::id()));
        let places = Places { home: home.clone(), ..places() };
        let failure = Roster::parse(&text).unwrap().peers[0].ready(&places, &[0]).unwrap_err();
        std::fs::remove_dir_all(home).unwrap();
        assert!(failure.to_string().contains("no-such-installer cannot be run"), "{failure}");
    }
}
