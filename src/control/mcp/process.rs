//! A backend that is a child process: messages as lines on its standard input and output (MCP 2025-11-25, Transports). Home: a task of
//! the control thread.
//!
//! Invariants: a line is held up to `MCP_MESSAGE_BYTES_MAX` only; its last word is that it ended, and then the child and what is left
//! of its process group are gone.

use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::time::timeout;

use crate::backend::settings::ProcessSettings;
use crate::backend::stdio::codec::Line;
use crate::backend::stdio::spawn::{Group, LogLines, command};
use crate::limits;

use super::{Mouth, Texts};

/// Of what is read at once.
const READ_BYTES: usize = 16 * 1024;
/// How long a child may take nothing of what is written to it.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);

/// Starts a child and carries messages until it ends, or nobody sends to it any more.
pub(super) async fn run(settings: ProcessSettings, name: Box<str>, mut texts: Texts, mouth: Mouth) {
    let mut child = match command(&settings).spawn() {
        Ok(child) => child,
        Err(error) => {
            log::warn!("backend {name}: no process: {error}");
            return mouth.ended().await;
        }
    };
    let (Some(stdin), Some(stdout), Some(stderr), Some(pid)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take(), child.id())
    else {
        unreachable!("invariant: all three were asked for, and it was not waited for");
    };
    let group = Group::of(pid);
    let log = tokio::spawn(log_errors(stderr, name.clone()));
    // Read and written apart: a child that is blocked on one may wait for the other.
    let reading = tokio::spawn(read(stdout, mouth.clone()));
    let is_wanted = tokio::select! {
        wants_no_more = write(stdin, &mut texts) => !wants_no_more,
        _ = child.wait() => true,
    };
    let step = Duration::from_nanos(settings.stop_timeout_ns);
    if !is_wanted && timeout(step, child.wait()).await.is_err() {
        group.signal(Signal::SIGTERM);
        let _ = timeout(step, child.wait()).await;
    }
    // What is left of it, in its group too.
    group.signal(Signal::SIGKILL);
    match child.wait().await {
        Ok(status) if is_wanted => log::warn!("backend {name}: its process ended: {}", how(status)),
        Ok(_) => {}
        Err(error) => log::warn!("backend {name}: its process ended, it is not known how: {error}"),
    }
    // What it has written before.
    for task in [reading, log] {
        let abort = task.abort_handle();
        if timeout(step, task).await.is_err() {
            abort.abort();
        }
    }
    mouth.ended().await;
}

fn how(status: ExitStatus) -> String {
    status.to_string()
}

/// True where nobody sends any more: the pipe is closed then.
async fn write(mut stdin: ChildStdin, texts: &mut Texts) -> bool {
    while let Some(mut text) = texts.next().await {
        text.push('\n');
        match timeout(WRITE_TIME_MAX, stdin.write_all(text.as_bytes())).await {
            Ok(Ok(())) => {}
            // It reads nothing, or has closed its end.
            Ok(Err(_)) | Err(_) => return false,
        }
    }
    true
}

async fn read(mut stdout: ChildStdout, mouth: Mouth) {
    let mut line = Line::new(limits::MCP_MESSAGE_BYTES_MAX);
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let read = match stdout.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        let (mut said, mut is_overlong) = (Vec::new(), false);
        line.receive(&bytes[..read], |text, dropped_bytes| {
            if dropped_bytes > 0 {
                is_overlong = true;
            } else {
                said.push(String::from_utf8_lossy(text).into_owned());
            }
        });
        for text in said {
            if !text.trim_ascii().is_empty() && !mouth.say(text).await {
                return;
            }
        }
        if is_overlong || line.dropped_bytes() > 0 {
            return mouth.overlong().await;
        }
    }
}

async fn log_errors(mut stderr: ChildStderr, name: Box<str>) {
    let mut lines = LogLines::default();
    let mut bytes = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut bytes).await {
        lines.receive(&name, &bytes[..read]);
    }
    lines.end(&name);
}
