//! What the state directory knows about a target: its ledger, whose it is, and what the user should hear about it.
//!
//! `target.json` stands beside the slots and says which run, device and geometry they are about. With it a label that is
//! gone from the same device is told from a device that never had one.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::exit::{CONFIGURATION, Failure, REFUSED, STATE_NOT_SAVED, chain};
use crate::daemon;
use crate::ledger::slots::{self, Choice, IdentityHash, Slot, SlotIndex};
use crate::ledger::state_dir::{Layout, StateDir, remedy, replace_durably};
use crate::ledger::store::{self, Store};
use crate::ledger::{Checkpoint, Inconsistent, POSITION_BYTES, Position};
use crate::target::{Expected, Identity, Kind, LabelState, OpenTarget};
use crate::vocabulary::{Block, Geometry, RunId};

const REMEMBERED: &str = "target.json";

/// Longest `target.json` that is read, in bytes: three texts of 254 bytes and some numbers.
const REMEMBERED_MAX: u64 = 64 << 10;

#[derive(Serialize, Deserialize)]
struct Remembered {
    run_id: RunId,
    identity: Identity,
    geometry: Geometry,
}

/// Where a target's state is. Touches nothing.
pub(crate) fn layout(state_dir: &Path) -> Result<Layout, Failure> {
    let parts = state_dir.parent().zip(state_dir.file_name().and_then(|name| name.to_str()));
    let (parent, name) = parts.ok_or_else(|| {
        Failure::new(CONFIGURATION, format!("{}: a state directory needs a parent and a name", state_dir.display()))
    })?;
    Ok(Layout::new(parent, name)?)
}

/// What the state directory says about the target; `None` where it says nothing that can be believed.
pub(crate) fn remembered(layout: &Layout) -> Option<Expected> {
    read_remembered(layout).ok().flatten()
}

/// `None` where there is no such file; else what it says, or why it says nothing.
fn read_remembered(layout: &Layout) -> Result<Option<Expected>, String> {
    use io::Read;
    let mut text = String::new();
    let file = match fs::File::open(layout.dir().join(REMEMBERED)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    file.take(REMEMBERED_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let Remembered { run_id, identity, geometry } = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    geometry.validate().map_err(|error| error.to_string())?;
    Ok(Some(Expected { run_id, identity, geometry }))
}

/// What is wrong with `target.json`, in words. Neither is held against the disk, nor against slots that are whole.
fn misremembered(layout: &Layout, target: &OpenTarget, choice: &Choice) -> Option<String> {
    let path = layout.dir().join(REMEMBERED);
    let path = path.display();
    match read_remembered(layout) {
        Err(why) => Some(format!("{path} is damaged ({why}): whose state this is, the slots of the ledger say")),
        Ok(Some(known)) if known.run_id != target.run_id && choice.newest().is_some() => Some(format!(
            "{path} names run {}, the ledger beside it is of this run: the ledger is believed",
            known.run_id
        )),
        Ok(_) => None,
    }
}

/// Where a state directory should be, there is something else: nothing in it can be read, or be meant.
pub(crate) fn no_directory(layout: &Layout) -> Option<String> {
    let error = fs::read_dir(layout.dir()).err()?;
    (error.kind() == io::ErrorKind::NotADirectory).then(|| {
        format!(
            "{} is no directory: there is no ledger; judging by what the tags on the disk prove",
            layout.dir().display()
        )
    })
}

/// Writes down which target the slots are about, durably, unless that is there already.
pub(crate) fn remember(layout: &Layout, target: &OpenTarget) -> Result<(), Failure> {
    let known =
        Expected { run_id: target.run_id, identity: labelled_identity(target).clone(), geometry: target.geometry };
    if remembered(layout).as_ref() == Some(&known) {
        return Ok(());
    }
    let Expected { run_id, identity, geometry } = known;
    let json = serde_json::to_vec_pretty(&Remembered { run_id, identity, geometry }).expect("plain values");
    let path = layout.dir().join(REMEMBERED);
    replace_durably(&path, &json).map_err(|error| {
        Failure::new(STATE_NOT_SAVED, format!("cannot write {}: {error}; {}", path.display(), remedy(&error)))
    })
}

/// The device as it was labelled: what the slots are bound to. What it tells of itself may grow and shrink with the
/// cable that it hangs on.
fn labelled_identity(target: &OpenTarget) -> &Identity {
    match &target.label {
        LabelState::Present(reading) => &reading.label.identity,
        LabelState::Gone { expected, .. } => &expected.identity,
    }
}

/// Whose checkpoints the slots must hold.
pub(crate) fn owner(target: &OpenTarget) -> slots::Expected {
    slots::Expected { run_id: target.run_id, identity: IdentityHash::of(&identity_text(labelled_identity(target))) }
}

/// A file is known by its label alone; a device by serial, WWN and size, and a partition by its start too.
fn identity_text(identity: &Identity) -> String {
    let Identity { kind, serial, wwn, size, partition_start, .. } = identity;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    match kind {
        Kind::File => "file".to_owned(),
        Kind::Disk | Kind::Partition | Kind::Loop => {
            let start = partition_start.unwrap_or(0);
            format!("device\n{}\n{}\n{size}\n{start}", text(serial), text(wwn))
        }
    }
}

/// The newest ledger of this run, and what there is to say about the slots.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) checkpoint: Option<Checkpoint>,
    /// A line each, for the user.
    pub(crate) remarks: Vec<String>,
}

/// Reads the slots and changes nothing: for `check` and `inspect`, on a directory that may not even exist.
pub(crate) fn look(layout: &Layout, target: &OpenTarget) -> Loaded {
    let choice = slots::newest_valid(&store::load(layout.dir()), &owner(target));
    let mut loaded = decode(&choice);
    loaded.remarks.extend(choice.remarks());
    loaded.remarks.extend(misremembered(layout, target, &choice));
    if loaded.checkpoint.is_none() {
        let dir = layout.dir().display();
        loaded.remarks.push(format!("no ledger of this run in {dir}: judging by what the tags on the disk prove"));
    }
    loaded
}

fn decode(choice: &Choice) -> Loaded {
    let mut loaded = Loaded::default();
    match choice.newest().map(|saved| Checkpoint::decode(saved.number, &saved.payload)) {
        Some(Ok(checkpoint)) => loaded.checkpoint = Some(checkpoint),
        Some(Err(Inconsistent(why))) => {
            loaded.remarks.push(format!("the newest ledger is whole but makes no sense ({why}): a fault of scrubd"));
        }
        None => {}
    }
    loaded
}

/// Where the last patrol of this run stopped, and what there is to say about that. A pass whose position is lost begins
/// again.
///
/// A cut of the power may have taken what a patrol has read from a cache. After a clean stop nothing is in one that was not
/// flushed; else a pass of another boot begins again too.
pub(crate) fn position(
    layout: &Layout,
    target: &OpenTarget,
    saved: Option<&Checkpoint>,
) -> (Option<Position>, Vec<String>) {
    let (mut positions, mut remarks) = (Vec::new(), Vec::new());
    for ended in [false, true] {
        let path = layout.position(ended);
        match read_position(&path, target) {
            Ok(found) => positions.extend(found),
            Err(why) => {
                let path = path.display();
                remarks.push(format!("the position of the patrol in {path} is damaged ({why}): the pass begins again"));
            }
        }
    }
    let clean = saved.is_some_and(|saved| saved.clean);
    let position = positions.into_iter().reduce(Position::further).map(|position| {
        // Where a boot has no name it may be another one each time.
        let same_boot = position.boot != 0 && daemon::boot() == Some(position.boot);
        if clean || same_boot || position.next == Block(0) {
            return position;
        }
        remarks.push(
            "the machine was started anew since a pass of the patrol began, and writing was not ended by a clean stop \
                      before: the pass begins again"
                .to_owned(),
        );
        position.again()
    });
    (position, remarks)
}

fn read_position(path: &Path, target: &OpenTarget) -> Result<Option<Position>, String> {
    use io::Read;
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut bytes = Vec::new();
    file.take(POSITION_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match Position::decode(&bytes)? {
        position if position.run != target.run_id => Err(format!("it is of run {}", position.run)),
        position if position.counts.total != target.geometry.blocks() => Err("it is of another region".to_owned()),
        position => Ok(Some(position)),
    }
}

/// The state directory, taken for this process, with its slots read and open for saving.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) dir: StateDir,
    pub(crate) store: Store,
    pub(crate) choice: Choice,
    pub(crate) loaded: Loaded,
    /// Where the state of another run went.
    pub(crate) moved: Option<(RunId, PathBuf)>,
}

/// Reads and opens the slots of a state directory that is ours; what belongs to another run is moved aside first.
pub(crate) fn claim(dir: StateDir, target: &OpenTarget) -> Result<Claimed, Failure> {
    let owner = owner(target);
    let choice = slots::newest_valid(&store::load(dir.layout().dir()), &owner);
    let moved = match whose(&choice, dir.layout(), target)? {
        Some(other) => Some((other, dir.move_aside(other)?)),
        None => None,
    };
    let (mut store, bytes) = Store::open(dir.layout().dir())?;
    let choice = slots::newest_valid(&bytes, &owner);
    store.protect(choice.newest_slot());
    let misremembered = misremembered(dir.layout(), target, &choice);
    remember(dir.layout(), target)?;
    let mut loaded = decode(&choice);
    loaded.remarks.extend(choice.remarks());
    loaded.remarks.extend(misremembered);
    Ok(Claimed { dir, store, choice, loaded, moved })
}

/// The other run whose state is in the directory; `None` when there is none, or it is ours.
fn whose(choice: &Choice, layout: &Layout, target: &OpenTarget) -> Result<Option<RunId>, Failure> {
    let other_run = SlotIndex::BOTH.into_iter().find_map(|index| match choice.slot(index) {
        Slot::OtherRun(run) => Some(*run),
        _ => None,
    });
    if let (Some(newest), Some(stray)) = (choice.newest(), choice.not_ours())
        && let Slot::NewerFormat { .. } = choice.slot(stray)
    {
        // Going on from the older one would overwrite the newer, and with it what the newer scrubd knew.
        return Err(Failure::new(
            REFUSED,
            format!(
                "{}: {}; checkpoint {} of this run, beside it, is older: go on with the newer scrubd, or name another \
                 place with --state-dir",
                layout.ledger(stray).display(),
                choice.slot(stray),
                newest.number
            ),
        ));
    }
    if let (Some(newest), Some(stray)) = (choice.newest(), choice.not_ours()) {
        return Err(Failure::new(
            REFUSED,
            format!(
                "{}: {}, beside checkpoint {} of this run: somebody put this directory together; move the file that \
                 does not belong here away",
                layout.ledger(stray).display(),
                choice.slot(stray),
                newest.number
            ),
        ));
    }
    let strange = SlotIndex::BOTH
        .into_iter()
        .find(|&index| matches!(choice.slot(index), Slot::OtherTarget | Slot::NewerFormat { .. }));
    if let Some(index) = strange {
        let what = format!("{}: {}", layout.ledger(index).display(), choice.slot(index));
        return Err(Failure::new(REFUSED, format!("{what}; name another place with --state-dir")));
    }
    // Slots of this run that are whole say more than the file beside them.
    let remembered = remembered(layout).map(|known| known.run_id).filter(|_| choice.newest().is_none());
    Ok(other_run.or(remembered).filter(|&run| run != target.run_id))
}

/// Gives what root has made in a state directory to whoever owns the directory above it: under systemd that is user scrubd,
/// who would otherwise be shut out of the ledger by one `sudo scrubd init`. Does nothing for others than root.
///
/// Only what is root's and has no second name is given away: a link into this directory must not hand over another's file.
pub(crate) fn hand_over(layout: &Layout) {
    let above = layout.dir().parent().and_then(|above| fs::metadata(above).ok());
    let Some(owner) = above.filter(|above| geteuid().is_root() && above.uid() != 0) else { return };
    let mut open = vec![layout.dir().to_owned()];
    while let Some(path) = open.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.uid() == 0
            && (meta.is_dir() || meta.nlink() == 1)
            && let Err(error) = lchown(&path, Some(owner.uid()), Some(owner.gid()))
        {
            tracing::warn!("{}: it stays root's: {error}", path.display());
        }
        if meta.is_dir() {
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
}

/// Warns where the state shares its fate with the target.
pub(crate) fn shared_fate(target: &OpenTarget, state_dir: &Path) -> Option<String> {
    match crate::ledger::state_dir::warning(&target.file, state_dir) {
        Ok(warning) => warning,
        Err(error) => Some(format!("cannot tell whether the state lives on the disk under test: {}", chain(&error))),
    }
}

#[cfg(test)]
mod tests;
