//! `tickring child`: what the gateway starts in place of a child process, to become it. Not for people.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::backend::settings::ProcessLimits;
use crate::backend::stdio::control_group::Share;
use crate::backend::stdio::launcher::{Launch, become_child};
use crate::exit::Failure;

#[derive(Args, Debug)]
pub(super) struct Flags {
    #[arg(long)]
    parent: i32,
    #[arg(long, default_value_t = 0)]
    memory_bytes: u64,
    #[arg(long, default_value_t = 0)]
    descriptors: u32,
    #[arg(long, default_value_t = 0)]
    cpu_s: u32,
    #[arg(long, default_value_t = 0)]
    file_bytes: u64,
    #[arg(long, requires = "cpu_percent")]
    control_group: Option<PathBuf>,
    #[arg(long, default_value_t = 0)]
    cpu_percent: u32,
    #[arg(long)]
    directory: Option<PathBuf>,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(super) fn run(flags: Flags) -> Result<(), Failure> {
    let Flags {
        parent,
        memory_bytes,
        descriptors,
        cpu_s,
        file_bytes,
        control_group,
        cpu_percent,
        directory,
        command,
    } = flags;
    let share = control_group.map(|group| Share { group, percent: cpu_percent });
    let limits = ProcessLimits { memory_bytes, descriptors, cpu_s, file_bytes };
    match become_child(&Launch { parent, limits, share, directory, command })? {}
}
