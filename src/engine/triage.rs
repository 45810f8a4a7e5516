//! A mismatch is read again before anybody is accused of it.

use std::sync::Arc;

use super::event::Fault;
use crate::report::{Persistence, Sight};
use crate::tag::{Broken, Class, Inspection, Verdict};
use crate::vocabulary::Block;

/// What one read of a block showed.
#[derive(Clone, Debug)]
pub(super) enum Sighting {
    /// Nothing that is not legal.
    Fine,
    /// A broken promise.
    Broken(Arc<Broken>),
    /// No contents at all.
    Unreadable(Fault),
}

impl Sighting {
    pub(super) fn of(inspection: &Inspection) -> Self {
        match &inspection.verdict {
            Verdict::Broken(broken) => Sighting::Broken(Arc::clone(broken)),
            _ => Sighting::Fine,
        }
    }

    fn told(&self) -> Sight {
        let (contents, errno) = match self {
            Sighting::Fine => (None, None),
            Sighting::Broken(broken) => (Some(broken.contents), None),
            Sighting::Unreadable(fault) => (None, errno_of(fault)),
        };
        Sight { class: self.class(), contents, errno }
    }

    fn class(&self) -> Option<Class> {
        match self {
            Sighting::Fine => None,
            Sighting::Broken(broken) => Some(broken.class),
            Sighting::Unreadable(_) => Some(Class::Unreadable),
        }
    }
}

/// The errno that the kernel gave. Where the file or device ends it gave none: the number stands for a read of nothing.
pub(super) fn errno_of(fault: &Fault) -> Option<i32> {
    Some(fault.errno).filter(|errno| *errno != 0 && !fault.end_of_file)
}

/// The reads of one block since the first mismatch.
#[derive(Clone, Debug)]
pub(super) struct Triage {
    sightings: Vec<Sighting>,
    /// The block whose contents turned up here, while it is read to see whether it lacks them.
    pub(super) home: Option<Block>,
    pub(super) confirmed: Option<bool>,
}

/// What the reads amount to.
#[derive(Clone, Debug)]
pub(super) struct Diagnosis {
    pub(super) class: Class,
    pub(super) persistence: Persistence,
    /// The first sighting that shows the class.
    pub(super) broken: Option<Arc<Broken>>,
    pub(super) fault: Option<Fault>,
    /// Every read, the first one first.
    pub(super) reads: Vec<Sight>,
}

impl Triage {
    pub(super) fn new(first: Sighting) -> Self {
        Triage { sightings: vec![first], home: None, confirmed: None }
    }

    pub(super) fn add(&mut self, sighting: Sighting) {
        self.sightings.push(sighting);
    }

    /// Reads after the first.
    /// No read has returned anything.
    pub(super) fn saw_nothing(&self) -> bool {
        self.sightings.iter().all(|sighting| matches!(sighting, Sighting::Unreadable(_)))
    }

    pub(super) fn rereads(&self) -> usize {
        self.sightings.len() - 1
    }

    /// The block whose contents are here instead, if any read showed some.
    pub(super) fn stray_from(&self) -> Option<(Block, crate::vocabulary::Issue)> {
        self.sightings.iter().find_map(|sighting| match sighting {
            Sighting::Broken(broken) if broken.class == Class::Misdirected => broken.home.zip(broken.found),
            _ => None,
        })
    }

    pub(super) fn diagnosis(&self) -> Diagnosis {
        let bad = || self.sightings.iter().filter(|sighting| sighting.class().is_some());
        let contents = || {
            bad().filter_map(|sighting| match sighting {
                Sighting::Broken(broken) => Some(broken.contents),
                _ => None,
            })
        };
        let differ = contents().any(|hash| Some(hash) != contents().next());
        let recovered = matches!(self.sightings.last(), Some(Sighting::Fine));
        let persistence = match () {
            () if differ => Persistence::Unstable,
            () if recovered => Persistence::Transient,
            () => Persistence::Persistent,
        };
        // Good at last: the path showed it once, whatever it was; the first sighting names it.
        let class = match persistence {
            Persistence::Unstable => Class::Unstable,
            Persistence::Transient => self.sightings[0].class().unwrap_or(Class::Unstable),
            Persistence::Persistent => bad().filter_map(Sighting::class).min().unwrap_or(Class::Unstable),
        };
        let showing = |sighting: &&Sighting| sighting.class() == Some(class) || class == Class::Unstable;
        let broken = bad().filter(showing).find_map(|sighting| match sighting {
            Sighting::Broken(broken) => Some(Arc::clone(broken)),
            _ => None,
        });
        let fault = bad().find_map(|sighting| match sighting {
            Sighting::Unreadable(fault) => Some(fault.clone()),
            _ => None,
        });
        let reads = self.sightings.iter().map(Sighting::told).collect();
        Diagnosis { class, persistence, broken, fault, reads }
    }
}
