//! What the server's process and the host do meanwhile, as /proc tells it. Home: the main thread.
//! Invariant: what /proc does not tell is not known; nothing here fails a run.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use crate::engine::share_of;
use crate::outcome::ServerUse;
use crate::server::{CpuClock, parse_kib};

/// A process that is looked at.
pub(crate) struct Watch {
    pid: u32,
    resident_before_bytes: u64,
    resident_peak_bytes: u64,
    last: Option<(u64, CpuClock)>,
    begun: Option<Begun>,
}

struct Begun {
    at_ns: u64,
    clock: CpuClock,
    switches: Switches,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Switches {
    voluntary: u64,
    involuntary: u64,
}

impl Watch {
    /// Before the first connection; `None` where the process may not be looked at.
    pub(crate) fn new(pid: u32) -> Option<Watch> {
        let resident_before_bytes = resident_bytes(pid)?;
        CpuClock::of(pid).ok()?;
        Some(Watch { pid, resident_before_bytes, resident_peak_bytes: 0, last: None, begun: None })
    }

    /// At the begin of the measured time.
    pub(crate) fn begin(&mut self, now_ns: u64) {
        let Ok(clock) = CpuClock::of(self.pid) else { return };
        self.resident_peak_bytes = resident_bytes(self.pid).unwrap_or(0);
        self.last = Some((now_ns, clock.clone()));
        self.begun = Some(Begun { at_ns: now_ns, clock, switches: Switches::of(self.pid) });
    }

    /// Cores in use since the last look, and resident bytes.
    pub(crate) fn look(&mut self, now_ns: u64) -> Option<(f64, u64)> {
        let clock = CpuClock::of(self.pid).ok()?;
        let resident = resident_bytes(self.pid)?;
        self.resident_peak_bytes = self.resident_peak_bytes.max(resident);
        let (last_ns, last) = self.last.replace((now_ns, clock.clone()))?;
        Some((share_of(clock.since(&last).running_ns, now_ns.saturating_sub(last_ns)), resident))
    }

    /// At the end of the measured time.
    pub(crate) fn end(&mut self, now_ns: u64) -> Option<ServerUse> {
        let clock = CpuClock::of(self.pid).ok()?;
        let begun = self.begun.as_ref()?;
        let used = clock.since(&begun.clock);
        let switches = Switches::of(self.pid);
        let resident = resident_bytes(self.pid).unwrap_or(0);
        Some(ServerUse {
            cpu_ns: used.running_ns,
            busiest_thread_share: share_of(used.busiest_ns, now_ns.saturating_sub(begun.at_ns)),
            resident_peak_bytes: self.resident_peak_bytes.max(resident),
            resident_before_bytes: self.resident_before_bytes,
            voluntary_switches: switches.voluntary.saturating_sub(begun.switches.voluntary),
            involuntary_switches: switches.involuntary.saturating_sub(begun.switches.involuntary),
        })
    }
}

fn resident_bytes(pid: u32) -> Option<u64> {
    parse_kib(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

impl Switches {
    /// Of all threads that are there now.
    fn of(pid: u32) -> Switches {
        let mut sum = Switches::default();
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return sum };
        for task in tasks.map_while(std::io::Result::ok) {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            sum.voluntary += number_of(&status, "voluntary_ctxt_switches:");
            sum.involuntary += number_of(&status, "nonvoluntary_ctxt_switches:");
        }
        sum
    }
}

fn number_of(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// The process that listens at a loopback address.
pub(crate) fn listener(address: SocketAddr) -> Option<u32> {
    if !address.ip().is_loopback() {
        return None;
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let inodes: Vec<String> = tables
        .iter()
        .flat_map(|table| listening(table, address))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.map_while(std::io::Result::ok);
    let mut pids = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let mut links =
            files.map_while(std::io::Result::ok).filter_map(|file| fs::read_link(file.path()).ok());
        links.any(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))
    })
}

/// Inodes of the sockets in a /proc/net/tcp that listen at the port, at the address itself or at any.
fn listening(table: &str, address: SocketAddr) -> Vec<u64> {
    let lines = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (ip, port) = local.split_once(':')?;
        let is_listening = *state == "0A" && u16::from_str_radix(port, 16).ok()? == address.port();
        let is_here =
            ip.bytes().all(|digit| digit == b'0') || ip == hexadecimal(address.ip()) || 8 < ip.len();
        (is_listening && is_here).then(|| inode.parse().ok())?
    });
    lines.collect()
}

/// As /proc/net/tcp writes it, in the byte order of the machine.
fn hexadecimal(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{:08X}", u32::from_le_bytes(ip.octets())),
        IpAddr::V6(_) => String::new(),
    }
}

/// Of all cores' time so far, in ticks: stolen by the hypervisor, and all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticks {
    stolen: u64,
    all: u64,
}

impl Ticks {
    pub(crate) fn now() -> Option<Ticks> {
        Ticks::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Ticks> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; guests are in user already.
        Some(Ticks { stolen: *fields.get(7)?, all: fields.iter().take(8).sum() })
    }

    /// The stolen share since `earlier`.
    pub(crate) fn steal_since(&self, earlier: &Ticks) -> Option<f64> {
        let all = self.all.checked_sub(earlier.all).filter(|all| 0 < *all)?;
        Some(share_of(self.stolen.saturating_sub(earlier.stolen), all))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_found_by_its_port_and_address() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1\n\
            1: 0200007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 43 1\n\
            2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 44 1\n\
            3: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 45 1\n\
            4: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 46 1\n";
        assert_eq!(listening(table, "127.0.0.1:8080".parse().unwrap()), [42, 44]);
    }

    #[test]
    fn this_process_is_found_by_a_socket_that_it_listens_at() {
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listener(here.local_addr().unwrap()), Some(std::process::id()));
    }

    #[test]
    fn steal_is_the_share_of_all_time_since() {
        let ticks =
            |steal| Ticks::parse(&format!("cpu  {} 0 0 0 0 0 0 {steal} 0 0\ncpu0 1", 100 - steal)).unwrap();
        let before = Ticks { stolen: 0, all: 0 };
        assert_eq!(ticks(5).steal_since(&before), Some(0.05));
        assert_eq!(ticks(5).steal_since(&ticks(5)), None);
        assert_eq!(Ticks::parse("cpu0 1 2"), None);
    }

    #[test]
    fn this_process_can_be_watched() {
        let mut watch = Watch::new(std::process::id()).unwrap();
        watch.begin(1);
        assert!(watch.look(2).is_some_and(|(_, resident)| 0 < resident));
        let used = watch.end(3).unwrap();
        assert!(0 < used.resident_before_bytes && used.resident_before_bytes <= 2 * used.resident_peak_bytes);
        assert!(Watch::new(0).is_none());
    }
}
