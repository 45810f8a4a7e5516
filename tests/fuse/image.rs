//! What a disk holds: media that survive everything, and versions of atoms that a power cut may keep or lose.
//!
//! A flush moves to the media what had completed before it was submitted, and nothing else. A write with O_DSYNC is on
//! the media when it completes. At a cut each atom becomes what the media hold or any one of its later versions, each atom
//! on its own: an atom is never half, a block may be any mixture.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One atom's worth of a write that has completed and that no flush has covered.
#[derive(Clone, Debug)]
struct Version {
    /// Counts completions: a flush covers the versions below what it was told.
    number: u64,
    data: Arc<Vec<u8>>,
    at: usize,
}

#[derive(Clone)]
pub(crate) struct Image {
    atom: usize,
    media: Vec<u8>,
    /// By atom, oldest first.
    volatile: BTreeMap<usize, Vec<Version>>,
}

impl Version {
    fn bytes(&self, atom: usize) -> &[u8] {
        &self.data[self.at..self.at + atom]
    }
}

impl Image {
    pub(crate) fn new(length: usize, atom: usize) -> Image {
        assert_eq!(length % atom, 0);
        Image { atom, media: vec![0; length], volatile: BTreeMap::new() }
    }

    pub(crate) fn length(&self) -> usize {
        self.media.len()
    }

    pub(crate) fn atom(&self) -> usize {
        self.atom
    }

    /// A write has completed. `number` is above that of every completion before it.
    pub(crate) fn complete(&mut self, number: u64, offset: usize, data: &Arc<Vec<u8>>, durable: bool) {
        assert_eq!((offset % self.atom, data.len() % self.atom), (0, 0), "whole atoms: {} at {offset}", data.len());
        for at in (0..data.len()).step_by(self.atom) {
            let index = (offset + at) / self.atom;
            if durable {
                self.volatile.remove(&index);
                self.media[offset + at..offset + at + self.atom].copy_from_slice(&data[at..at + self.atom]);
            } else {
                let version = Version { number, data: Arc::clone(data), at };
                self.volatile.entry(index).or_default().push(version);
            }
        }
    }

    /// A flush has succeeded that was submitted when `covered` was the newest completion.
    pub(crate) fn flush(&mut self, covered: u64) {
        let Image { atom, media, volatile } = self;
        volatile.retain(|index, versions| {
            let durable = versions.partition_point(|version| version.number <= covered);
            if let Some(newest) = versions[..durable].last() {
                media[index * *atom..(index + 1) * *atom].copy_from_slice(newest.bytes(*atom));
            }
            versions.drain(..durable);
            !versions.is_empty()
        });
    }

    /// What a read of one atom returns.
    pub(crate) fn seen(&self, index: usize) -> &[u8] {
        let version = self.volatile.get(&index).and_then(|versions| versions.last());
        version.map_or_else(|| self.on_media(index), |version| version.bytes(self.atom))
    }

    pub(crate) fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        let from = offset / self.atom;
        let to = (offset + length).div_ceil(self.atom);
        let whole: Vec<u8> = (from..to).flat_map(|index| self.seen(index)).copied().collect();
        let skip = offset - from * self.atom;
        whole[skip..skip + length].to_vec()
    }

    /// What an atom certainly holds after a cut, unless a later version got there.
    pub(crate) fn on_media(&self, index: usize) -> &[u8] {
        &self.media[index * self.atom..(index + 1) * self.atom]
    }

    /// Whether an atom with these bytes is one that a cut may leave here.
    pub(crate) fn may_hold(&self, index: usize, bytes: &[u8]) -> bool {
        let later = self.volatile.get(&index).into_iter().flatten();
        self.on_media(index) == bytes || later.map(|version| version.bytes(self.atom)).any(|later| later == bytes)
    }

    /// The power goes. `choose(n)` is 0 for what the media hold, else one of n later versions.
    pub(crate) fn cut(&mut self, mut choose: impl FnMut(usize) -> usize) {
        let Image { atom, media, volatile } = self;
        for (index, versions) in std::mem::take(volatile) {
            let choice = choose(versions.len());
            if let Some(version) = choice.checked_sub(1).map(|chosen| &versions[chosen]) {
                media[index * *atom..(index + 1) * *atom].copy_from_slice(version.bytes(*atom));
            }
        }
    }

    /// Changes what is there, at rest, by nobody's write.
    pub(crate) fn overwrite(&mut self, offset: usize, bytes: &[u8]) {
        let first = offset / self.atom;
        let last = (offset + bytes.len()).div_ceil(self.atom);
        for index in first..last {
            let seen = self.seen(index).to_vec();
            self.volatile.remove(&index);
            self.media[index * self.atom..(index + 1) * self.atom].copy_from_slice(&seen);
        }
        self.media[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// The bytes of a disk that has lost nothing or everything volatile; meant for one that has just been cut.
    pub(crate) fn media(&self) -> &[u8] {
        &self.media
    }

    pub(crate) fn volatile_atoms(&self) -> usize {
        self.volatile.len()
    }
}
