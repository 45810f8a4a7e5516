//! Lines of `/proc` to values; pure. Formats: proc(5), and for mountinfo the kernel's `filesystems/proc.rst`, 3.5.

use super::sysfs::DevNum;

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) device: DevNum,
    pub(crate) mount_point: String,
    pub(crate) fs_type: String,
    pub(crate) source: String,
    /// Options of the file system itself, not of this mount of it.
    pub(crate) super_options: String,
}

/// The mounts, in the order of the file. A line that can't be understood is left out.
pub(crate) fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    // A variable number of optional fields stands before the lone "-".
    let (head, tail) = line.split_once(" - ")?;
    let mut head = head.split(' ').skip(2);
    let device = DevNum::parse(head.next()?)?;
    let mount_point = unescape(head.nth(1)?);
    let mut tail = tail.split(' ');
    Some(Mount {
        device,
        mount_point,
        fs_type: tail.next()?.to_owned(),
        source: unescape(tail.next()?),
        super_options: tail.next().unwrap_or_default().to_owned(),
    })
}

/// The paths of `/proc/swaps`, files and partitions.
pub(crate) fn swaps(swaps: &str) -> Vec<String> {
    swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(unescape).collect()
}

/// Who holds a lock on an inode, by `/proc/locks`: the first holder's process id. A waiter (`->`) holds nothing; a
/// holder in another pid namespace shows as 0 or below, which is nobody to name.
pub(crate) fn lock_holder(locks: &str, device: DevNum, inode: u64) -> Option<u32> {
    let inode_text = format!("{:02x}:{:02x}:{inode}", device.major, device.minor);
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().skip(1).collect();
        let &[_kind, _mandatory, _mode, pid, on, ..] = fields.as_slice() else { return None };
        (on == inode_text).then(|| pid.parse().ok().filter(|&pid| pid > 0)).flatten()
    })
}

/// Octal escapes, with which the kernel writes space, tab, newline and backslash in paths.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let octal = tail.get(..3).filter(|digits| *byte == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        let value = octal.map(|digits| digits.iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0')));
        match value.and_then(|value| u8::try_from(value).ok()) {
            Some(value) => (bytes.push(value), rest = &tail[3..]).1,
            None => (bytes.push(*byte), rest = tail).1,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read_around_its_optional_fields() {
        let text = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n\
                    42 27 7:0 / /tmp/with\\040space rw,relatime - ext4 /dev/loop0 rw,data=journal\n\
                    nonsense\n\
                    50 27 0:44 / /b rw - btrfs /dev/sdb1 rw\n";
        let found = mounts(text);
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].device, found[0].fs_type.as_str()), (DevNum { major: 98, minor: 0 }, "ext3"));
        assert_eq!((found[0].mount_point.as_str(), found[0].source.as_str()), ("/mnt2", "/dev/root"));
        assert_eq!(found[1].mount_point, "/tmp/with space");
        assert_eq!(found[1].super_options, "rw,data=journal");
        assert_eq!(found[2].source, "/dev/sdb1");
    }

    #[test]
    fn swaps_are_read_without_the_heading() {
        let text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
                    /dev/sda2                               partition\t8388604\t\t0\t\t-2\n\
                    /swap\\040file                          file\t\t1024\t\t0\t\t-3\n";
        assert_eq!(swaps(text), ["/dev/sda2", "/swap file"]);
        assert!(swaps("").is_empty());
    }

    #[test]
    fn a_lock_is_traced_to_its_holder_and_not_to_a_waiter() {
        let text = "1: FLOCK  ADVISORY  WRITE 8507 00:06:94 0 EOF\n\
                    1: -> FLOCK  ADVISORY  WRITE 8600 00:06:94 0 EOF\n\
                    2: POSIX  ADVISORY  READ 77 fe:00:1234 128 128\n\
                    3: FLOCK  ADVISORY  WRITE -1 00:06:95 0 EOF\n";
        let device = DevNum { major: 0, minor: 6 };
        assert_eq!(lock_holder(text, device, 94), Some(8507));
        assert_eq!(lock_holder(text, device, 95), None);
        assert_eq!(lock_holder(text, DevNum { major: 254, minor: 0 }, 1234), Some(77));
        assert_eq!(lock_holder(text, device, 9), None);
    }

    #[test]
    fn a_backslash_that_starts_no_escape_stays() {
        assert_eq!(unescape("a\\134b\\9\\"), "a\\b\\9\\");
    }
}
