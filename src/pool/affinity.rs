//! CPUs: which may be used, and putting a thread on them so that it is known to be there.

use std::fs;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::{CpuError, Placement, PoolError};

/// Refuses a list that the kernel would trim or reject, and says which CPU it is about.
///
/// # Errors
/// The first CPU that is not online, or not permitted to this process.
pub fn check_cpus(list: &[usize]) -> Result<(), CpuError> {
    let permitted = permitted_cpus().map_err(CpuError::Unknown)?;
    // Unreadable in some sandboxes; what is permitted decides anyway, this only tells the reasons apart.
    let online = fs::read_to_string("/sys/devices/system/cpu/online").ok();
    judge(list, &permitted, online.as_deref())
}

/// Where the process may run: by its main thread, so that the answer is the same from a pinned one.
///
/// # Errors
/// EINVAL on a machine with more CPUs than fit into `cpu_set_t`, 1024.
pub fn permitted_cpus() -> Result<Vec<usize>, Errno> {
    sched_getaffinity(Pid::this()).map(|set| members(&set))
}

/// Puts the calling thread where it is asked to be, or wherever the process may be, and reads back where it is.
pub(super) fn place(thread: &str, asked: Option<&[usize]>) -> Result<Placement, PoolError> {
    let failed = |source| PoolError::Affinity {
        thread: thread.to_owned(),
        asked: asked.map(<[usize]>::to_vec).unwrap_or_default(),
        source,
    };
    // Without a wish too: a thread inherits the mask of the one that started it, and that may be pinned itself.
    let mut set = CpuSet::new();
    for &cpu in &asked.map_or_else(permitted_cpus, |asked| Ok(asked.to_vec())).map_err(failed)? {
        set.set(cpu).map_err(failed)?;
    }
    let this = Pid::from_raw(0);
    sched_setaffinity(this, &set).map_err(failed)?;
    let got = sched_getaffinity(this).map_err(failed)?;
    let placement =
        Placement { thread: thread.to_owned(), cpus_asked: asked.map(<[usize]>::to_vec), cpus_allowed: members(&got) };
    match asked {
        Some(asked) if got != set => {
            Err(PoolError::Misplaced { thread: thread.to_owned(), asked: asked.to_vec(), got: placement.cpus_allowed })
        }
        _ => Ok(placement),
    }
}

fn judge(list: &[usize], permitted: &[usize], online: Option<&str>) -> Result<(), CpuError> {
    if list.is_empty() {
        return Err(CpuError::Empty);
    }
    let Some(&cpu) = list.iter().find(|cpu| !permitted.contains(cpu)) else { return Ok(()) };
    match online.map(str::trim) {
        Some(online) if !is_in(online, cpu) => Err(CpuError::NotOnline { cpu, online: online.to_owned() }),
        _ => Err(CpuError::NotPermitted { cpu, permitted: permitted.to_vec() }),
    }
}

/// Whether a kernel list such as "0-3,6" names a CPU. What cannot be read names it: it is no proof of absence.
fn is_in(list: &str, cpu: usize) -> bool {
    list.split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&cpu),
            _ => true,
        }
    })
}

fn members(set: &CpuSet) -> Vec<usize> {
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_is_not_there_is_told_from_one_that_is_not_ours() {
        assert_eq!(judge(&[0, 3], &[0, 1, 2, 3], Some("0-3\n")), Ok(()));
        let absent = judge(&[0, 6], &[0, 1, 2, 3], Some("0-3,5\n")).unwrap_err();
        assert_eq!(absent.to_string(), "CPU 6 is not online; online are 0-3,5");
        let foreign = judge(&[5], &[0, 1], Some("0-3,5\n")).unwrap_err();
        assert_eq!(foreign.to_string(), "CPU 5 is not permitted to this process; permitted are [0, 1]");
        assert_eq!(judge(&[5], &[0], None), Err(CpuError::NotPermitted { cpu: 5, permitted: vec![0] }));
        assert_eq!(judge(&[], &[0], None), Err(CpuError::Empty));
    }

    /// The kernel sets what is left of a mask that is partly impossible, and reports success.
    #[test]
    fn a_mask_that_the_kernel_trimmed_is_found_by_reading_it_back() {
        std::thread::spawn(|| {
            let here = permitted_cpus().unwrap()[0];
            let error = place("verify/0", Some(&[here, CpuSet::count() - 1])).unwrap_err();
            let PoolError::Misplaced { thread, asked, got } = error else { panic!("{error}") };
            assert_eq!((thread.as_str(), asked, got), ("verify/0", vec![here, CpuSet::count() - 1], vec![here]));
        })
        .join()
        .unwrap();
    }
}
