//! What an accusation needs beside the finding: who looked, with what, at which device, in which boot.

use serde::Serialize;

use super::Job;
use super::notes::boot_id;
use crate::ring::Description;
use crate::target::{DevNum, FileSystem, Hardware, Identity, Kind, file_system, hardware};
use crate::vocabulary::{Geometry, RunId};

/// Fixed for the life of a process, but for the devices, which are asked anew for each finding.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Context {
    pub(super) scrubd: &'static str,
    pub(super) kernel: Option<String>,
    pub(super) boot_id: Option<String>,
    /// Start of this process, RFC 3339, UTC.
    pub(super) started: String,
    pub(super) target: String,
    pub(super) path: String,
    pub(super) run_id: RunId,
    pub(super) geometry: Geometry,
    pub(super) ring: String,
    /// I/O bypasses the page cache, as far as is known.
    pub(super) direct: bool,
    pub(super) identity: Identity,
    pub(super) file_system: Option<FileSystem>,
    pub(super) devices: Vec<Hardware>,
    #[serde(skip)]
    disks: std::collections::BTreeSet<DevNum>,
}

impl Context {
    pub(super) fn of(job: &Job, ring: &Description) -> Self {
        let target = &job.target;
        let file = target.identity.kind == Kind::File;
        let osrelease = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        let now = std::time::SystemTime::now();
        Context {
            scrubd: env!("CARGO_PKG_VERSION"),
            kernel: osrelease.map(|text| text.trim().to_owned()),
            boot_id: boot_id(),
            started: humantime::format_rfc3339_seconds(now).to_string(),
            target: job.name.clone(),
            path: target.path.display().to_string(),
            run_id: target.run_id,
            geometry: target.geometry,
            ring: ring.engine.to_owned(),
            direct: target.direct,
            identity: target.identity.clone(),
            file_system: file.then(|| file_system(&target.file, &target.path)).flatten(),
            devices: hardware(&target.disks),
            disks: target.disks.clone(),
        }
    }

    pub(super) fn look_again(&mut self) {
        self.devices = hardware(&self.disks);
    }
}
