//! A share of the processor for the children of a backend: a control group of Linux's cgroup 2 below the gateway's own. Home:
//! [`Delegated::find`] is the main thread's, [`Share::enter`] the launcher's.
//!
//! Invariants: nothing is written above the group that the gateway is in at its start; a group has processes or groups in it, never
//! both, as the kernel demands it (Linux, `admin-guide/cgroup-v2.rst`, "No Internal Process Constraint").

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Where the gateway goes itself, so that the group above it may have others in it.
const OWN: &str = "gateway";
/// Of the time in which a share is counted.
const PERIOD_US: u64 = 100_000;
/// How often processes are moved before the group counts as one that never gets empty.
const ROUNDS_MAX: u32 = 8;

/// A control group that the gateway may divide, and has made ready for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegated(PathBuf);

/// What the children of one backend may take together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Their control group.
    pub group: PathBuf,
    /// Of one processor; 250 is two and a half.
    pub percent: u32,
}

impl Delegated {
    /// The group that this process is in, which it leaves for one below it. Once that is done, it finds what it has made.
    ///
    /// # Errors
    /// Why it can't be divided: there is no cgroup 2, it has no processors to give, or another user owns it.
    pub fn find() -> Result<Delegated, String> {
        let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        let group = group_of(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
            .ok_or("no file system of control groups, version 2, is mounted here")?;
        Delegated::prepare(&group)
    }

    /// The same for the group that a process says it is in.
    fn prepare(group: &Path) -> Result<Delegated, String> {
        let root = match group.parent() {
            Some(above) if group.ends_with(OWN) => above,
            _ => group,
        };
        let failure = |path: &Path, error: &io::Error| format!("{}: {error}", path.display());
        let list = |name: &str| {
            let path = root.join(name);
            fs::read_to_string(&path).map_err(|error| failure(&path, &error))
        };
        let controllers = list("cgroup.controllers")?;
        if !controllers.split_ascii_whitespace().any(|controller| controller == "cpu") {
            let told = controllers.trim_ascii();
            let told = if told.is_empty() { "none" } else { told };
            return Err(format!("{}: has no controller \"cpu\", but {told}", root.display()));
        }
        let (own, divided) = (root.join(OWN), root.join("cgroup.subtree_control"));
        for _ in 0..ROUNDS_MAX {
            if list("cgroup.subtree_control")?.split_ascii_whitespace().any(|controller| controller == "cpu")
            {
                return Ok(Delegated(root.to_owned()));
            }
            let processes = list("cgroup.procs")?;
            if let Some(other) = processes.lines().find(|process| !is_of_gateway(process)) {
                let root = root.display();
                return Err(format!("{root}: is not the gateway's alone, process {other} is in it too"));
            }
            make(&own).map_err(|error| failure(&own, &error))?;
            for process in processes.lines() {
                // One that has ended meanwhile is nobody's any more.
                let _ = fs::write(own.join("cgroup.procs"), process);
            }
            // Who was started meanwhile is still in it: once more.
            match fs::write(&divided, "+cpu") {
                Err(error) if error.kind() != ErrorKind::ResourceBusy => {
                    return Err(failure(&divided, &error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Err(format!("{}: is never without processes", root.display()))
    }

    /// The group of the children of the backend of that name, which the first of them makes.
    #[must_use]
    pub fn group_of(&self, backend: &str) -> PathBuf {
        self.0.join(format!("backend-{backend}"))
    }
}

impl Share {
    /// Makes the group, or finds it made by another child, and goes into it.
    ///
    /// # Errors
    /// What the kernel says, with the file.
    pub fn enter(&self) -> Result<(), String> {
        let quota_us = PERIOD_US / 100 * u64::from(self.percent);
        let write = |name: &str, text: &str| {
            let path = self.group.join(name);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        make(&self.group).map_err(|error| format!("{}: {error}", self.group.display()))?;
        write("cpu.max", &format!("{quota_us} {PERIOD_US}"))?;
        // 0 is who writes it.
        write("cgroup.procs", "0")
    }
}

/// Whether it is this process or a child of it, or has ended.
fn is_of_gateway(process: &str) -> bool {
    let gateway = std::process::id().to_string();
    let parent = || {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        Some(status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim_ascii() == gateway)
    };
    process == gateway || parent().unwrap_or(true)
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The folder of a process's group of version 2, by proc(5): what is mounted, and the group's name from where the mount begins.
fn group_of(mountinfo: &str, cgroup: &str) -> Option<PathBuf> {
    let name = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, place) = mountinfo.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        file_system.starts_with("cgroup2 ").then_some((fields.next()?, fields.next()?))
    })?;
    let below = name.strip_prefix(root.trim_end_matches('/'))?;
    Some(Path::new(place).join(below.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "30 24 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
                          41 24 0:36 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    /// A folder with the files of a group. The kernel's own files do more: they can't be had where the suite may run.
    struct Group(PathBuf);

    impl Group {
        fn new(name: &str, controllers: &str, divided: &str) -> Group {
            let folder = std::env::temp_dir().join(format!("tickring-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("cgroup.controllers"), controllers).unwrap();
            fs::write(folder.join("cgroup.subtree_control"), divided).unwrap();
            fs::write(folder.join("cgroup.procs"), "").unwrap();
            Group(folder)
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_group_of_version_2_is_found_beside_those_of_version_1() {
        let group = |mountinfo, cgroup| group_of(mountinfo, cgroup).map(|path| path.display().to_string());
        let at = |path: &str| Some(path.to_owned());
        assert_eq!(group(HYBRID, "2:cpu:/a\n0::/\n"), at("/sys/fs/cgroup/unified/"));
        let alone = "29 23 0:25 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let service = "0::/system.slice/tickring.service\n";
        assert_eq!(group(alone, service), at("/sys/fs/cgroup/system.slice/tickring.service"));
        // A container sees its part of the tree.
        let part = "29 23 0:25 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(group(part, "0::/docker/x/y\n"), at("/sys/fs/cgroup/y"));
        assert_eq!(group(part, "0::/elsewhere\n"), None);
        assert_eq!(group("30 24 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "0::/\n"), None);
        assert_eq!(group(alone, "2:cpu:/a\n"), None);
        assert_eq!(group("", ""), None);
    }

    #[test]
    fn a_group_without_processors_to_give_is_told_with_what_it_has() {
        let group = Group::new("no-cpu", "hugetlb memory\n", "");
        let told = Delegated::prepare(&group.0).unwrap_err();
        assert_eq!(told, format!("{}: has no controller \"cpu\", but hugetlb memory", group.0.display()));
        let none = Group::new("none", "\n", "");
        assert!(Delegated::prepare(&none.0).unwrap_err().ends_with(", but none"));
        let told = Delegated::prepare(Path::new("/nonexistent")).unwrap_err();
        assert!(told.starts_with("/nonexistent/cgroup.controllers: No such file"), "{told}");
    }

    #[test]
    fn a_divided_group_gives_each_backend_a_group_with_its_share() {
        let group = Group::new("divided", "cpu memory\n", "cpu\n");
        let delegated = Delegated::prepare(&group.0).unwrap();
        // From the gateway's own group below it, it is the same.
        assert_eq!(Delegated::prepare(&group.0.join(OWN)).unwrap(), delegated);
        let share = Share { group: delegated.group_of("risk"), percent: 250 };
        // A second child finds what the first one made.
        for _ in 0..2 {
            share.enter().unwrap();
        }
        let told = |name: &str| fs::read_to_string(group.0.join("backend-risk").join(name)).unwrap();
        assert_eq!((told("cpu.max").as_str(), told("cgroup.procs").as_str()), ("250000 100000", "0"));
    }

    #[test]
    fn a_group_is_left_before_it_is_divided() {
        let group = Group::new("left", "cpu\n", "");
        let gateway = std::process::id().to_string();
        fs::write(group.0.join("cgroup.procs"), &gateway).unwrap();
        // Plain files divide nothing; what was asked of them is seen.
        assert!(Delegated::prepare(&group.0).unwrap_err().ends_with("is never without processes"));
        assert_eq!(fs::read_to_string(group.0.join("cgroup.subtree_control")).unwrap(), "+cpu");
        assert_eq!(fs::read_to_string(group.0.join(OWN).join("cgroup.procs")).unwrap(), gateway);
    }

    #[test]
    fn a_group_of_others_is_left_alone() {
        let group = Group::new("others", "cpu\n", "");
        fs::write(group.0.join("cgroup.procs"), "1\n").unwrap();
        let told = Delegated::prepare(&group.0).unwrap_err();
        assert_eq!(
            told,
            format!("{}: is not the gateway's alone, process 1 is in it too", group.0.display())
        );
        assert!(!group.0.join(OWN).exists());
    }
}
