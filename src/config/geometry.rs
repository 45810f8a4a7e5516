//! The keys that the label decides once there is one: what they may say alone, at init, and against a label.

use crate::vocabulary::{Digest, Geometry, LABEL_AREA, Order};

use super::choices::{DIGESTS, ORDERS, word};
use super::error::{ConfigError, ConfigErrors, Origin};
use super::reader::Reader;
use super::settings::TargetSettings;
use super::sizes::format_size;
use super::validate::below_one_block;

/// Block size of a new label, in bytes.
pub const INIT_BLOCK_SIZE: u32 = 64 << 10;
/// Order of a new label. Random: a pass in address order lets a drive's read-ahead and its coalescing of writes hide what
/// a lost or misplaced write would show, and all blocks in flight at a cut would be neighbours.
pub const INIT_ORDER: Order = Order::Random;
/// Digest of a new label: the CRC-32C of each atom and the rebuilt payload judge every byte already.
pub const INIT_DIGEST: Digest = Digest::Crc32c;

/// Judges geometry keys by the rules of [`Geometry::validate`], one after the other: each is tried beside those that
/// passed, with the most lenient values for all others, so that the key to blame is the one that was added last.
pub(super) fn judge_geometry(reader: &mut Reader<'_>, said: &TargetSettings) {
    type Put = fn(&mut TargetSettings, &TargetSettings);
    let keys: [(&str, Put); 4] = [
        ("block_size", |tried, said| tried.block_size = said.block_size),
        ("atom", |tried, said| tried.atom = said.atom),
        ("offset", |tried, said| tried.offset = said.offset),
        ("length", |tried, said| tried.length = said.length),
    ];
    let mut passed = TargetSettings { block_size: None, atom: None, offset: None, length: None, ..said.clone() };
    for (key, put) in keys {
        let mut tried = passed.clone();
        put(&mut tried, said);
        match lenient(&tried).validate() {
            Ok(()) => passed = tried,
            // Geometry speaks of offset and length together; only one of them was said wrong.
            Err(why) if why.contains("must be multiples") => {
                reader.blame(key, &format!("must be a multiple of the atom, {}", lenient(&tried).atom));
            }
            Err(why) => reader.blame_with(key, why),
        }
    }
}

fn lenient(tried: &TargetSettings) -> Geometry {
    let atom = tried.atom.unwrap_or(512);
    let block_size = tried.block_size.unwrap_or(atom.max(4 << 10));
    Geometry {
        offset: tried.offset.unwrap_or(0),
        length: tried.length.unwrap_or(LABEL_AREA + u64::from(block_size)),
        block_size,
        atom,
        order: INIT_ORDER,
        digest: INIT_DIGEST,
    }
}

/// The geometry of a new label: what the settings say, and the defaults for the rest.
///
/// `size` is the target's in bytes, `atom` the smallest logical block size anywhere under it. A region without `length`
/// ends at the last whole atom of the target.
///
/// # Errors
/// The rule that is broken, and where the key to blame was said.
pub fn geometry_for_init(settings: &TargetSettings, size: u64, atom: u32) -> Result<Geometry, ConfigErrors> {
    let offset = settings.offset.unwrap_or(0);
    let atom = settings.atom.unwrap_or(atom);
    let rest = size.saturating_sub(offset);
    let geometry = Geometry {
        offset,
        length: settings.length.unwrap_or(rest - rest.checked_rem(u64::from(atom)).unwrap_or(0)),
        block_size: settings.block_size.unwrap_or(INIT_BLOCK_SIZE),
        atom,
        order: settings.order.unwrap_or(INIT_ORDER),
        digest: settings.digest.unwrap_or(INIT_DIGEST),
    };
    let refuse = |why: String| {
        let keys = ["block_size", "atom", "offset", "length"];
        // Each key alone has passed; what is wrong is that it does not fit this target, or another key. Of those that
        // the message names, the last that was said is to blame.
        let mut blamed =
            keys.into_iter().filter(|key| why.contains(key) && *settings.origins.of(key) != Origin::Default);
        ConfigErrors::from(blame(settings, blamed.next_back().unwrap_or("path"), why))
    };
    if let Some(length) = settings.length.filter(|&length| length > rest) {
        return Err(refuse(format!("length {length} at offset {offset} does not fit the target's {size} bytes")));
    }
    geometry.validate().map_err(refuse)?;
    let errors = too_small_for(settings, &geometry);
    if errors.is_empty() { Ok(geometry) } else { Err(ConfigErrors(errors)) }
}

/// Every key that says something else than the label does: each is an error of the configuration. Empty where the
/// settings and the label agree. What is derived from the block size is held against the label's too.
#[must_use]
pub fn contradictions(settings: &TargetSettings, label: &Geometry) -> Vec<ConfigError> {
    let size = |said: Option<u64>, label: u64| said.filter(|&said| said != label).map(|said| (q(said), q(label)));
    let order = settings.order.filter(|&said| said != label.order);
    let digest = settings.digest.filter(|&said| said != label.digest);
    let differing = [
        ("offset", size(settings.offset, label.offset)),
        ("length", size(settings.length, label.length)),
        ("block_size", size(settings.block_size.map(u64::from), label.block_size.into())),
        ("atom", size(settings.atom.map(u64::from), label.atom.into())),
        ("order", order.map(|said| (w(word(said, ORDERS)), w(word(label.order, ORDERS))))),
        ("digest", digest.map(|said| (w(word(said, DIGESTS)), w(word(label.digest, DIGESTS))))),
    ];
    let contradicts = differing.into_iter().filter_map(|(key, differs)| {
        let (said, label) = differs?;
        Some(blame(settings, key, format!("{key} {said} contradicts the label, which says {label}: leave the key out")))
    });
    contradicts.chain(too_small_for(settings, label)).collect()
}

fn too_small_for(settings: &TargetSettings, geometry: &Geometry) -> Vec<ConfigError> {
    let block = format_size(geometry.block_size.into());
    let shown = |key: &str| super::show::value_of(settings, key).unwrap_or_default();
    let keys = below_one_block(settings, geometry.block_size);
    keys.map(|key| blame(settings, key, format!("{key} {} must be at least one block, {block}", shown(key)))).collect()
}

fn blame(settings: &TargetSettings, key: &str, message: String) -> ConfigError {
    ConfigError::at(settings.origins.to_blame(key).clone(), message).of_target(&settings.name).of_key(key)
}

fn q(bytes: u64) -> String {
    w(&format_size(bytes))
}

fn w(word: &str) -> String {
    format!("\"{word}\"")
}
