//! Somebody's data on a target: asked of `blkid` and `wipefs`, which know some hundred formats. Never guessed.
//!
//! Both are asked, as each sees what the other does not: `blkid` knows nested and ambivalent contents, `wipefs` lists
//! every signature, backup partition tables too, and fails when it can't read, where `blkid` says "nothing found".

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use serde::Deserialize;

/// One thing that was recognised.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Signature {
    /// What it is, as the tool calls it: `ext4`, `gpt`, `linux_raid_member`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Where its magic stands, as the tool writes it.
    #[serde(default)]
    pub(crate) offset: Option<String>,
    /// Its label, for people.
    #[serde(default)]
    pub(crate) label: Option<String>,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        self.label.iter().try_for_each(|label| write!(f, " \"{label}\""))?;
        self.offset.iter().try_for_each(|offset| write!(f, " at byte {offset}"))
    }
}

/// Everything that the tools recognise on `path`.
///
/// # Errors
/// In words, when no tool is there or one fails: then nothing is known.
pub(crate) fn probe(path: &Path) -> Result<Vec<Signature>, String> {
    probe_with(path, &tool_directories(std::env::var_os("PATH").as_deref()))
}

fn probe_with(path: &Path, tools: &[PathBuf]) -> Result<Vec<Signature>, String> {
    // An absolute path is never taken for an option.
    let path = std::fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // At the same time: after a cut the first read waits for both.
    let (wipefs, blkid) = thread::scope(|scope| {
        let wipefs = scope.spawn(|| find("wipefs", tools).map(|tool| run(&tool, &["-n", "-J"], &path)).transpose());
        let blkid = find("blkid", tools).map(|tool| run(&tool, &["-p", "-o", "export"], &path)).transpose();
        (wipefs.join().unwrap_or_else(|_| Err("the thread that asks wipefs died".into())), blkid)
    });
    let (wipefs, blkid) = (wipefs?, blkid?);
    if wipefs.is_none() && blkid.is_none() {
        return Err("neither wipefs nor blkid was found: install util-linux".into());
    }
    let mut found = wipefs.map_or(Ok(Vec::new()), |output| of_wipefs(output.0, &output.1, &output.2))?;
    let others = blkid.map_or(Ok(Vec::new()), |output| of_blkid(output.0, &output.1, &output.2))?;
    for signature in others {
        if !found.iter().any(|known| known.kind == signature.kind) {
            found.push(signature);
        }
    }
    Ok(found)
}

/// Where tools are looked for: the caller's `PATH`, as far as it is absolute, and where distributions put them.
fn tool_directories(path_variable: Option<&std::ffi::OsStr>) -> Vec<PathBuf> {
    let own = path_variable.map(|value| std::env::split_paths(value).collect::<Vec<_>>()).unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/run/current-system/sw/bin"].map(PathBuf::from);
    own.into_iter().chain(usual).filter(|directory| directory.is_absolute()).collect()
}

fn find(name: &str, directories: &[PathBuf]) -> Option<PathBuf> {
    directories.iter().map(|directory| directory.join(name)).find(|tool| tool.is_file())
}

fn run(tool: &Path, arguments: &[&str], path: &Path) -> Result<(Option<i32>, String, String), String> {
    let mut command = Command::new(tool);
    command.args(arguments).arg(path).stdin(Stdio::null()).env_clear().env("LC_ALL", "C");
    let Output { status, stdout, stderr } = command.output().map_err(|error| format!("{}: {error}", tool.display()))?;
    let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((status.code(), lossy(stdout), lossy(stderr)))
}

/// `wipefs -n -J` (util-linux 2.33 and later): wipefs(8).
fn of_wipefs(code: Option<i32>, stdout: &str, stderr: &str) -> Result<Vec<Signature>, String> {
    #[derive(Deserialize)]
    struct Report {
        #[serde(default)]
        signatures: Vec<Signature>,
    }
    if code != Some(0) {
        return Err(format!("wipefs failed: {}", stderr.trim()));
    }
    if stdout.trim().is_empty() {
        return Ok(Vec::new());
    }
    let report: Report = serde_json::from_str(stdout).map_err(|error| format!("wipefs said something odd: {error}"))?;
    Ok(report.signatures)
}

/// `blkid -p -o export`: blkid(8), "EXIT STATUS". 2 is "nothing found"; 8 is "ambivalent", which is something.
fn of_blkid(code: Option<i32>, stdout: &str, stderr: &str) -> Result<Vec<Signature>, String> {
    match code {
        Some(2) if stderr.trim().is_empty() => Ok(Vec::new()),
        Some(8) => Ok(vec![Signature { kind: "several contradicting signatures".into(), offset: None, label: None }]),
        Some(0) => {
            let values: BTreeMap<&str, &str> = stdout.lines().filter_map(|line| line.split_once('=')).collect();
            // PART_ENTRY_… describe a partition's place in its table, not its contents.
            let kinds = ["TYPE", "PTTYPE"].into_iter().filter_map(|key| values.get(key));
            let label = values.get("LABEL").map(|label| (*label).to_owned());
            let found: Vec<Signature> =
                kinds.map(|kind| Signature { kind: (*kind).to_owned(), offset: None, label: label.clone() }).collect();
            match values.get("USAGE") {
                Some(usage) if found.is_empty() => {
                    Ok(vec![Signature { kind: (*usage).to_owned(), offset: None, label }])
                }
                _ => Ok(found),
            }
        }
        _ => Err(format!("blkid failed: {}", stderr.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(found: Result<Vec<Signature>, String>) -> Vec<String> {
        found.unwrap().into_iter().map(|signature| signature.to_string()).collect()
    }

    #[test]
    fn wipefs_names_each_signature_and_its_place() {
        let text = r#"{
   "signatures": [
      {"device": "loop0", "offset": "0x438", "type": "ext4", "uuid": "2a08cfa5", "label": "home"},
      {"device": "loop0", "offset": "0x1fe", "type": "dos", "uuid": null, "label": null}
   ]
}"#;
        assert_eq!(kinds(of_wipefs(Some(0), text, "")), ["ext4 \"home\" at byte 0x438", "dos at byte 0x1fe"]);
    }

    #[test]
    fn wipefs_without_signatures_says_so_in_three_ways() {
        for text in ["{\n   \"signatures\": [\n\n   ]\n}\n", "{}", ""] {
            assert!(of_wipefs(Some(0), text, "").unwrap().is_empty(), "{text}");
        }
    }

    #[test]
    fn a_tool_that_fails_or_talks_nonsense_is_not_an_empty_disk() {
        assert!(of_wipefs(Some(1), "", "wipefs: error: /dev/x: probing initialization failed").is_err());
        assert!(of_wipefs(Some(0), "offset type", "").is_err());
        assert!(of_blkid(Some(4), "", "usage").is_err());
        assert!(of_blkid(Some(2), "", "blkid: /dev/x: Permission denied").is_err());
        assert!(of_blkid(None, "", "").is_err());
    }

    #[test]
    fn blkid_names_contents_and_not_the_place_of_a_partition() {
        let ext4 = "DEVNAME=/dev/loop0\nLABEL=home\nUUID=2a08\nBLOCK_SIZE=1024\nTYPE=ext4\nUSAGE=filesystem\n";
        assert_eq!(kinds(of_blkid(Some(0), ext4, "")), ["ext4 \"home\""]);
        let table = "DEVNAME=/dev/sda\nPTUUID=3a\nPTTYPE=gpt\n";
        assert_eq!(kinds(of_blkid(Some(0), table, "")), ["gpt"]);
        let empty_partition = "DEVNAME=/dev/sda1\nPART_ENTRY_SCHEME=gpt\nPART_ENTRY_TYPE=0fc6\nPART_ENTRY_NUMBER=1\n";
        assert!(of_blkid(Some(0), empty_partition, "").unwrap().is_empty());
        assert!(of_blkid(Some(2), "", "").unwrap().is_empty());
    }

    #[test]
    fn ambivalent_is_something() {
        assert_eq!(of_blkid(Some(8), "", "").unwrap().len(), 1);
    }

    #[test]
    fn without_tools_nothing_is_known() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(probe_with(file.path(), &[]).unwrap_err().contains("install util-linux"));
        assert!(tool_directories(Some("relative:/opt/bin".as_ref())).iter().all(|directory| directory.is_absolute()));
    }
}
