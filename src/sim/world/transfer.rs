//! Reads and writes of the world: one request may take several tries, and the ring's own code says what comes next.

use super::perform::{fault, in_words};
use super::{Pending, World};
use crate::engine::{Event, OpId};
use crate::ring::{Kind, Next, Progress};
use crate::sim::disk::{Damage, IoId, Origin};
use crate::sim::fault::Fault;
use crate::sim::observe::Sight;
use crate::sim::truth::WriteId;
use crate::tag::Sealer;
use crate::vocabulary::{Block, Claim, Digest, Geometry, Issue, POISON, Promise, RunId, Seq};

/// Whose blocks turn up where foreign ones do.
const ANOTHER_RUN: RunId = RunId([0xf0; 16]);

/// What the kernel says when a device is gone.
const ENODEV: i32 = 19;

impl World {
    pub(super) fn write(&mut self, op: OpId, block: Block, dsync: bool) -> Result<(), String> {
        let offset = self.settings.geometry.offset_of(block);
        let buffer = self.take(op, "write")?;
        let Some((sealed_for, claim)) = buffer.sealed else { return Err(format!("{op:?} is written unsealed")) };
        if sealed_for != block {
            return Err(format!("{op:?} is sealed for {sealed_for} and written to {block}"));
        }
        if dsync != (claim.promise == Promise::Fua) {
            return Err(format!("a write under {:?} with dsync {dsync}", claim.promise));
        }
        buffer.progress = Some(Progress::new(Kind::Write { offset, dsync }, buffer.bytes.len()));
        let bytes = buffer.bytes.clone();
        let id: WriteId = self.truth.handed_over(block, claim);
        self.buffers[op.0 as usize].write = Some(id);
        let io = self.disk.submit_write(block, id, bytes, dsync);
        self.writes_of_start += 1;
        let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.io);
        self.later(delay + self.disk.lateness_of_write(io), Pending::WriteEnds(op, io));
        Ok(())
    }

    /// One try of a write: the event, once it is over.
    pub(super) fn try_write(&mut self, op: OpId, io: IoId) -> Result<Option<Event>, String> {
        if self.disk.fault_of_write(io) == Some(Fault::DeviceGone) {
            let mut random = self.random.fork();
            self.lose_power(ENODEV, &mut |_, _, choices| random.below(choices as u64) as usize)?;
            let gone = fault(ENODEV, "the device went away");
            self.later(0, Pending::Deliver(Event::Wrote(op, Err(gone))));
            return Ok(None);
        }
        let progress = self.buffers[op.0 as usize].progress.as_mut().ok_or("a write without progress")?;
        match progress.advance(self.disk.try_write(io, progress.from())) {
            Next::Issue => {
                let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.io);
                self.later(delay, Pending::WriteEnds(op, io));
                Ok(None)
            }
            Next::Finished(Ok(())) => {
                let fault = self.disk.fault_of_write(io);
                self.disk.complete_write(io);
                let sealed = self.buffers[op.0 as usize].sealed;
                if let (Some(fault), Some((block, claim))) = (fault, sealed) {
                    self.plant(block, &claim, fault);
                }
                Ok(Some(Event::Wrote(op, Ok(()))))
            }
            Next::Finished(Err(failure)) => {
                self.disk.fail_write(io);
                Ok(Some(Event::Wrote(op, Err(in_words(&failure)))))
            }
        }
    }

    pub(super) fn read(&mut self, op: OpId, block: Block) -> Result<(), String> {
        let offset = self.settings.geometry.offset_of(block);
        let buffer = self.take(op, "read")?;
        buffer.bytes.fill(POISON);
        (buffer.sealed, buffer.holds) = (None, Some(block));
        buffer.progress = Some(Progress::new(Kind::Read { offset }, buffer.bytes.len()));
        let (io, late_ns) = self.disk.submit_read(block);
        let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.io);
        self.later(delay + late_ns, Pending::ReadEnds(op, block, io));
        Ok(())
    }

    /// One try of a read: the event, once it is over.
    pub(super) fn try_read(&mut self, op: OpId, block: Block, io: IoId) -> Result<Option<Event>, String> {
        self.show(&Sight::Shown(block))?;
        if self.disk.is_garbled(io) {
            self.show(&Sight::Garbled(block))?;
        }
        let buffer = &mut self.buffers[op.0 as usize];
        let progress = buffer.progress.as_mut().ok_or("a read without progress")?;
        let from = progress.from();
        let result = match progress.advance(self.disk.try_read(io, from, &mut buffer.bytes[from..])) {
            Next::Issue => {
                let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.io);
                self.later(delay, Pending::ReadEnds(op, block, io));
                return Ok(None);
            }
            Next::Finished(result) => result.map_err(|failure| in_words(&failure)),
        };
        if let (Some(lens), Ok(())) = (&mut self.lens, &result) {
            lens(block, &mut buffer.bytes);
        }
        self.disk.end_read(io);
        Ok(Some(Event::Read(op, result)))
    }

    /// What nobody asked for stands where a write has landed.
    fn plant(&mut self, block: Block, written: &Claim, fault: Fault) {
        let geometry = self.settings.geometry;
        let (sealer, damage) = match fault {
            Fault::Phantom => (*self.inspector.sealer(), Damage::Planted),
            Fault::Foreign => (Sealer::new(geometry, ANOTHER_RUN), Damage::Foreign),
            Fault::OtherGeometry => {
                let digest = if geometry.digest == Digest::Crc32c { Digest::Blake3 } else { Digest::Crc32c };
                (Sealer::new(Geometry { digest, ..geometry }, self.settings.run), Damage::Foreign)
            }
            _ => return,
        };
        // A phantom is far above anything that will ever be reserved here.
        let beyond = self.inspector.schedule().newest_below(Seq(1 << 40), block).unwrap_or(written.issue.seq);
        let seq = if damage == Damage::Planted { beyond } else { written.issue.seq };
        let claim = Claim { issue: Issue { seq, ..written.issue }, ..*written };
        let mut bytes = vec![0; geometry.block_size as usize];
        sealer.seal(block, &claim, &mut bytes);
        self.disk.plant(block, Origin::Damaged(damage, None), bytes);
    }
}
