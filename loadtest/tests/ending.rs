//! What becomes of a server that this program has started when this program is ended by a signal: it ends too.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A server that tells of its begin on stderr, which is the tool's, and of its end unless it is ended. It gives no address, so
/// that the tool waits for one.
const SERVER: &str = "#!/bin/sh\necho began >&2\nsleep 8 </dev/null >/dev/null 2>&1\necho outlived >&2\n";

fn server(folder: &Path) -> PathBuf {
    let path = folder.join("server");
    fs::write(&path, SERVER).expect("the script can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be made a program");
    path
}

#[test]
fn a_server_that_was_started_ends_with_the_tool_however_that_is_ended() {
    for with in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL] {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("ending-{with}"));
        fs::create_dir_all(&folder).expect("the folder can be made");
        // Whoever runs this in the background of a script has SIGINT ignored, which is handed down.
        let mut tool = Command::new("env")
            .arg("--default-signal=INT")
            .arg(env!("CARGO_BIN_EXE_loadtest"))
            .args(["ping", "--server"])
            .arg(server(&folder))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        let mut told = BufReader::new(tool.stderr.take().expect("stderr is piped"));
        let mut line = String::new();
        told.read_line(&mut line).expect("the server begins");
        assert_eq!(line, "began\n");
        kill(Pid::from_raw(i32::try_from(tool.id()).expect("pids fit in 31 bits")), with)
            .expect("it is there");
        tool.wait().expect("the tool ends");
        // To the end of what both can write: neither is there any more.
        let mut rest = String::new();
        told.read_to_string(&mut rest).expect("stderr can be read");
        assert_eq!(rest, "", "after {with}");
    }
}
