//! Which device this is: the part of it that survives a reboot, another cable and another name; pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a serial, WWN or model that are kept and compared: what the label has room for. ATA has 20, NVMe 20, SCSI
/// page 0x83 designators up to 252.
pub const TEXT_LIMIT: usize = 254;

/// What sort of thing a target is. The numbers stand in labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file. Identified by its label alone.
    File = 1,
    /// A whole disk, or a stacked device (device mapper, md).
    Disk = 2,
    /// A partition: its disk's identity and where it starts.
    Partition = 3,
    /// A loop device. Its number and its backing path are both free to change, so it has no identity but its size.
    Loop = 4,
}

impl Kind {
    /// The kind that a byte in a label stands for.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Kind::File, Kind::Disk, Kind::Partition, Kind::Loop].into_iter().find(|&kind| kind as u8 == byte)
    }
}

/// What is recorded of a target, and compared with what is found under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What sort of thing.
    pub kind: Kind,
    /// Serial number as the device tells it; for a partition that of its disk.
    pub serial: Option<String>,
    /// World wide name, as [`normal_wwn`] writes it; for a partition that of its disk.
    pub wwn: Option<String>,
    /// Model, for people.
    pub model: Option<String>,
    /// Size of the target, in bytes.
    pub size: u64,
    /// Where a partition starts on its disk, in bytes.
    pub partition_start: Option<u64>,
}

/// What two identities say about each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// A serial or WWN is on both sides and equal. The size may differ.
    Proven,
    /// Nothing unique to compare, and nothing contradicts: kind, model and size agree.
    Consistent,
    /// Another device, or one that can't be shown to be the same.
    Different(&'static str),
}

impl Identity {
    /// Is `present` the device that was recorded as `self`?
    #[must_use]
    pub fn compare(&self, present: &Identity) -> Sameness {
        if self.kind != present.kind {
            return Sameness::Different("another kind of target");
        }
        if self.kind == Kind::File {
            return Sameness::Consistent;
        }
        if self.partition_start != present.partition_start {
            return Sameness::Different("the partition starts elsewhere");
        }
        let pairs = [("another serial", &self.serial, &present.serial), ("another WWN", &self.wwn, &present.wwn)];
        let both = pairs.into_iter().filter(|(_, recorded, found)| recorded.is_some() && found.is_some());
        let mut proven = false;
        for (difference, recorded, found) in both {
            if recorded != found {
                return Sameness::Different(difference);
            }
            proven = true;
        }
        let unique = |identity: &Identity| identity.serial.is_some() || identity.wwn.is_some();
        if proven {
            Sameness::Proven
        } else if unique(self) || unique(present) {
            Sameness::Different("only one of them tells a serial or WWN (has udev settled?)")
        } else if self.model.is_some() && present.model.is_some() && self.model != present.model {
            Sameness::Different("another model")
        } else if self.size != present.size {
            // A disk that shrank is a finding, but without a serial it may as well be another disk.
            Sameness::Different("another size, and no serial or WWN to show that it is the same device")
        } else {
            Sameness::Consistent
        }
    }

    /// Does a serial or WWN from the configuration name this device?
    #[must_use]
    pub fn answers_to(&self, wanted: &str) -> bool {
        let wanted = wanted.trim();
        self.serial.as_deref() == Some(wanted) || (self.wwn.is_some() && self.wwn == normal_wwn(wanted))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::File => "file",
            Kind::Disk => "disk",
            Kind::Partition => "partition",
            Kind::Loop => "loop device",
        };
        write!(f, "{kind}")?;
        let texts = [("model", &self.model), ("serial", &self.serial), ("WWN", &self.wwn)];
        for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
            write!(f, ", {name} \"{text}\"")?;
        }
        if let Some(start) = self.partition_start {
            write!(f, ", from byte {start} of its disk")?;
        }
        write!(f, ", {} bytes", self.size)
    }
}

/// A text that a device or udev told, made fit to keep: trimmed, printable, at most [`TEXT_LIMIT`] bytes. `None` where
/// nothing is left, or only zeros, which is what bridges say that have no serial.
#[must_use]
pub fn clean(text: &str) -> Option<String> {
    let printable: String = text.chars().filter(|c| !c.is_control()).collect();
    let trimmed = printable.trim();
    let end = (0..=TEXT_LIMIT.min(trimmed.len())).rfind(|&end| trimmed.is_char_boundary(end)).unwrap_or(0);
    let kept = &trimmed[..end];
    let says_something = kept.chars().any(|c| c != '0' && c != ' ');
    says_something.then(|| kept.trim_end().to_owned())
}

/// A WWN in one form, whoever told it: sysfs says `naa.5000…`, udev `0x5000…`.
#[must_use]
pub fn normal_wwn(text: &str) -> Option<String> {
    let text = clean(text)?.to_ascii_lowercase();
    Some(text.strip_prefix("0x").map(|digits| format!("naa.{digits}")).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(serial: Option<&str>, wwn: Option<&str>, size: u64) -> Identity {
        let (serial, wwn) = (serial.map(str::to_owned), wwn.map(str::to_owned));
        Identity { kind: Kind::Disk, serial, wwn, model: None, size, partition_start: None }
    }

    #[test]
    fn another_serial_or_wwn_is_another_device_and_an_equal_one_proves_it_whatever_the_size() {
        let known = disk(Some("A"), Some("naa.1"), 100);
        assert_eq!(known.compare(&disk(Some("A"), Some("naa.1"), 50)), Sameness::Proven);
        assert_eq!(known.compare(&disk(None, Some("naa.1"), 100)), Sameness::Proven);
        assert_eq!(known.compare(&disk(Some("B"), Some("naa.1"), 100)), Sameness::Different("another serial"));
        assert_eq!(known.compare(&disk(Some("A"), Some("naa.2"), 100)), Sameness::Different("another WWN"));
        assert!(matches!(known.compare(&disk(None, None, 100)), Sameness::Different(_)));
    }

    #[test]
    fn without_serials_the_size_must_agree() {
        assert_eq!(disk(None, None, 100).compare(&disk(None, None, 100)), Sameness::Consistent);
        assert!(matches!(disk(None, None, 100).compare(&disk(None, None, 99)), Sameness::Different(_)));
    }

    #[test]
    fn a_file_is_known_by_its_label_whatever_its_size_and_is_never_a_disk() {
        let file = |size| Identity { kind: Kind::File, ..disk(None, None, size) };
        assert_eq!(file(1).compare(&file(2)), Sameness::Consistent);
        assert!(matches!(file(1).compare(&disk(None, None, 1)), Sameness::Different(_)));
    }

    #[test]
    fn a_partition_that_moved_is_another_one() {
        let at = |start| Identity { kind: Kind::Partition, partition_start: Some(start), ..disk(Some("A"), None, 9) };
        assert_eq!(at(1).compare(&at(1)), Sameness::Proven);
        assert!(matches!(at(1).compare(&at(2)), Sameness::Different(_)));
    }

    #[test]
    fn texts_are_made_fit_and_zeros_are_no_serial() {
        assert_eq!(clean("  WD-WX1\0\0\n"), Some("WD-WX1".into()));
        assert_eq!(clean("000000000000"), None);
        assert_eq!(clean(&"é".repeat(300)).unwrap().len(), TEXT_LIMIT);
        assert_eq!(normal_wwn("0x5000C500A"), Some("naa.5000c500a".into()));
        assert!(disk(None, Some("naa.5000c500a"), 1).answers_to("0x5000c500a"));
        assert!(!disk(None, None, 1).answers_to("0"));
    }
}
