//! [`MemoryCgroup`]: the cgroup that limits this process's memory.

use std::fs;
use std::path::{Path, PathBuf};

/// Where cgroups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// A limit above this is none: version 1 writes a number near 2^63 where there is no limit.
const NO_LIMIT: u64 = 1 << 60;

/// The cgroup with the lowest memory limit of those that this process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemoryCgroup {
    /// The limit, in bytes.
    pub(super) limit: u64,
    folder: PathBuf,
    files: &'static Files,
    /// Whether this process is the only one in the cgroup, so that its use is ours.
    is_own: bool,
}

/// The files of a cgroup's memory controller.
///
/// Source: Linux kernel, "Control Group v2", section "Memory Interface Files"; "Memory Resource
/// Controller" for version 1.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    limit: &'static str,
    current: &'static str,
    /// The key in `memory.stat` for file pages that the kernel takes back first.
    inactive_file: &'static str,
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    current: "memory.usage_in_bytes",
    inactive_file: "total_inactive_file",
};

const V2: Files =
    Files { limit: "memory.max", current: "memory.current", inactive_file: "inactive_file" };

impl MemoryCgroup {
    /// The cgroup of this process, if its memory is limited.
    pub(super) fn of_this_process() -> Option<Self> {
        let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::find(Path::new(ROOT), &membership)
    }

    /// `membership` is the text of `/proc/self/cgroup` (cgroups(7)).
    fn find(root: &Path, membership: &str) -> Option<Self> {
        let found = membership.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let is_memory = controllers.split(',').any(|controller| controller == "memory");
            match controllers {
                "" => Some((root.to_owned(), path, &V2)),
                _ if is_memory => Some((root.join("memory"), path, &V1)),
                _ => None,
            }
        });
        found
            .filter_map(|(mount, path, files)| Self::lowest(&mount, path, files))
            .min_by_key(|c| c.limit)
    }

    /// The cgroup with the lowest limit on the way from `path` up to the mount. Inside a container
    /// the path may be that of the host, while the mount begins at the container's own cgroup.
    fn lowest(mount: &Path, path: &str, files: &'static Files) -> Option<Self> {
        let own = mount.join(path.trim_start_matches('/'));
        let own = if own.is_dir() { own } else { mount.to_owned() };
        let folders = own.ancestors().take_while(|folder| folder.starts_with(mount));
        let limited = folders.filter_map(|folder| {
            let limit: u64 = read(&folder.join(files.limit))?;
            let is_own = folder == own && is_alone(folder);
            let folder = folder.to_owned();
            (limit < NO_LIMIT).then_some(MemoryCgroup { limit, folder, files, is_own })
        });
        limited.min_by_key(|cgroup| cgroup.limit)
    }

    /// Bytes in use that the kernel cannot simply take back, sockets' buffers among them; `None` if
    /// other processes are in the cgroup too.
    pub(super) fn used(&self) -> Option<u64> {
        if !self.is_own {
            return None;
        }
        let current: u64 = read(&self.folder.join(self.files.current))?;
        let statistics = fs::read_to_string(self.folder.join("memory.stat")).ok()?;
        let reclaimable = statistics.lines().find_map(|line| {
            let (key, value) = line.split_once(' ')?;
            (key == self.files.inactive_file).then(|| value.trim().parse().ok())?
        });
        Some(current.saturating_sub(reclaimable.unwrap_or(0)))
    }
}

/// The number in a file; `None` for `max`.
fn read(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn is_alone(folder: &Path) -> bool {
    fs::read_to_string(folder.join("cgroup.procs")).is_ok_and(|pids| pids.lines().count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn in_a_container_the_limit_is_at_the_mount() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("memory.max", "536870912\n"),
                ("memory.current", "104857600\n"),
                ("memory.stat", "anon 90000000\ninactive_file 4857600\n"),
                ("cgroup.procs", "1\n"),
            ],
        );
        for membership in ["0::/\n", "0::/kubepods.slice/pod1/container\n"] {
            let found = MemoryCgroup::find(root.path(), membership).unwrap();
            assert_eq!((found.limit, found.used()), (512 << 20, Some(100_000_000)));
        }
    }

    #[test]
    fn the_lowest_limit_of_the_ancestors_counts_but_not_what_others_use() {
        let root = tempfile::tempdir().unwrap();
        let slice = root.path().join("memory/slice");
        write(&slice, &[("memory.limit_in_bytes", "1000000"), ("cgroup.procs", "7\n8\n")]);
        let none = [("memory.limit_in_bytes", "9223372036854771712"), ("cgroup.procs", "9\n")];
        write(&slice.join("own"), &none);
        let membership = "5:cpu,memory:/slice/own\n4:pids:/\n0::/\n";
        let found = MemoryCgroup::find(root.path(), membership).unwrap();
        assert_eq!((found.limit, found.used()), (1_000_000, None));
    }

    #[test]
    fn without_a_limit_there_is_none() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[("memory.max", "max\n")]);
        assert_eq!(MemoryCgroup::find(root.path(), "0::/\n"), None);
        assert_eq!(MemoryCgroup::find(root.path(), "nonsense"), None);
    }
}
