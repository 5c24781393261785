//! Backends that are child processes: JSON-RPC in lines on standard input and output, standard error to the log (decision 0025).
//!
//! Home: the control thread, which starts them and lives as long as they do. `codec` and `supervision` are PURE; `spawn` starts,
//! `link` carries, `control_group` shares
//! processors, and `launcher` is a process of its own between the gateway and the program.

pub mod codec;
#[cfg(feature = "runtime")]
pub mod control_group;
#[cfg(feature = "runtime")]
pub mod launcher;
#[cfg(feature = "runtime")]
pub mod link;
#[cfg(feature = "runtime")]
pub mod spawn;
pub mod supervision;
