//! What is left of a request after the kernel did a part of it. Pure, and shared by both engines.
//!
//! Promised: a request ends well only when every byte was transferred; a tail that was not is never counted; and it
//! ends, as each repeat either moves on or uses up one of [`REPEATS`].

use nix::libc;

use super::Kind;
use super::failure::IoFailure;

/// Where a continuation may start: O_DIRECT refuses offsets that are not multiples of the logical block size, and
/// 4096 is the largest there is.
const STEP: u64 = 4096;

/// Tries without a new byte before it is an error. A signal storm or a busy queue passes in fewer; an end of file
/// inside a sector, which O_DIRECT can only show as the same short read again, is named after as many cheap reads.
const REPEATS: u32 = 8;

/// How far a request came.
#[derive(Debug)]
pub(crate) struct Progress {
    kind: Kind,
    length: usize,
    /// Bytes transferred without a gap, from the start.
    done: usize,
    /// Where the try that is under way started, at or below `done`.
    from: usize,
    /// Tries since `done` last grew.
    repeats: u32,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Issue the bytes from [`Progress::from`] to the end.
    Issue,
    /// It is over.
    Finished(Result<(), IoFailure>),
}

impl Progress {
    pub(crate) fn new(kind: Kind, length: usize) -> Self {
        Progress { kind, length, done: 0, from: 0, repeats: 0 }
    }

    /// Index into the buffer at which the next try starts.
    pub(crate) fn from(&self) -> usize {
        self.from
    }

    /// Absolute offset at which the next try starts.
    pub(super) fn offset(&self) -> u64 {
        self.start() + self.from as u64
    }

    /// Takes in what the kernel said of the try that was under way: bytes moved, or its errno.
    ///
    /// # Panics
    /// When more was transferred than was asked for: memory beyond the buffer may be gone.
    pub(crate) fn advance(&mut self, result: Result<usize, i32>) -> Next {
        match (self.kind, result) {
            (Kind::Flush, Ok(_)) => Next::Finished(Ok(())),
            // Not even EINTR: whether it consumed the report of a lost write is unknown, so a repeat could lie.
            (Kind::Flush, Err(errno)) => self.failed(errno),
            (_, Err(errno)) if is_passing(errno) && self.repeats < REPEATS => self.again(),
            (_, Err(errno)) => self.failed(errno),
            (_, Ok(moved)) => self.moved(moved),
        }
    }

    /// Ends it where it is.
    pub(super) fn failed(&self, errno: i32) -> Next {
        Next::Finished(Err(self.failure(errno, false)))
    }

    fn moved(&mut self, moved: usize) -> Next {
        assert!(moved <= self.length - self.from, "{moved} bytes moved of {} asked", self.length - self.from);
        let reached = self.from + moved;
        if reached == self.length {
            self.done = reached;
            return Next::Finished(Ok(()));
        }
        if reached > self.done {
            self.done = reached;
            self.repeats = 0;
            self.from = self.continuation();
            return Next::Issue;
        }
        match self.kind {
            Kind::Read { .. } if moved == 0 || self.repeats >= REPEATS => {
                Next::Finished(Err(self.failure(libc::EIO, true)))
            }
            _ if self.repeats >= REPEATS => self.failed(libc::EIO),
            _ => self.again(),
        }
    }

    fn again(&mut self) -> Next {
        self.repeats += 1;
        Next::Issue
    }

    /// The last multiple of [`STEP`] at or below the first missing byte. The bytes between are transferred twice:
    /// a read gets them again, a write repeats identical bytes. The request's own start was accepted as it is.
    fn continuation(&self) -> usize {
        let missing = self.start() + self.done as u64;
        let aligned = missing - missing % STEP;
        usize::try_from(aligned.saturating_sub(self.start())).expect("not above done")
    }

    fn start(&self) -> u64 {
        match self.kind {
            Kind::Read { offset } | Kind::Write { offset, .. } => offset,
            Kind::Flush => 0,
        }
    }

    fn failure(&self, errno: i32, end_of_file: bool) -> IoFailure {
        IoFailure {
            operation: match self.kind {
                Kind::Read { .. } => "read",
                Kind::Write { .. } => "write",
                Kind::Flush => "flush",
            },
            errno,
            offset: self.start() + self.done as u64,
            transferred: self.done,
            end_of_file,
        }
    }
}

/// Whether an error says "not now" rather than "no".
pub(super) fn is_passing(errno: i32) -> bool {
    matches!(errno, libc::EINTR | libc::EAGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(offset: u64, length: usize) -> Progress {
        Progress::new(Kind::Read { offset }, length)
    }

    fn write(offset: u64, length: usize) -> Progress {
        Progress::new(Kind::Write { offset, dsync: false }, length)
    }

    fn end(next: Next) -> IoFailure {
        match next {
            Next::Finished(Err(failure)) => failure,
            other => panic!("expected a failure: {other:?}"),
        }
    }

    #[test]
    fn a_short_read_goes_on_from_the_last_aligned_byte() {
        let mut progress = read(1 << 20, 65_536);
        assert_eq!(progress.advance(Ok(10_000)), Next::Issue);
        assert_eq!((progress.from(), progress.offset()), (8192, (1 << 20) + 8192));
        assert_eq!(progress.advance(Ok(65_536 - 8192)), Next::Finished(Ok(())));
    }

    #[test]
    fn a_request_that_starts_between_steps_never_goes_back_before_its_start() {
        let mut progress = write(512, 8192);
        assert_eq!(progress.advance(Ok(1024)), Next::Issue);
        assert_eq!((progress.from(), progress.offset()), (0, 512));
        assert_eq!(progress.advance(Ok(5000)), Next::Issue);
        assert_eq!((progress.from(), progress.offset()), (3584, 4096));
        assert_eq!(progress.advance(Ok(8192 - 3584)), Next::Finished(Ok(())));
    }

    #[test]
    fn a_read_of_zero_is_the_end_of_the_file_and_counts_nothing() {
        let failure = end(read(4096, 4096).advance(Ok(0)));
        assert_eq!((failure.offset, failure.transferred, failure.end_of_file), (4096, 0, true));
    }

    #[test]
    fn the_same_short_read_again_and_again_is_the_end_of_the_file() {
        let mut progress = read(0, 65_536);
        assert_eq!(progress.advance(Ok(6000)), Next::Issue);
        let mut tries = 0;
        let failure = loop {
            assert_eq!(progress.from(), 4096);
            tries += 1;
            match progress.advance(Ok(6000 - 4096)) {
                Next::Issue => {}
                next => break end(next),
            }
        };
        assert_eq!(tries, REPEATS + 1);
        assert_eq!((failure.offset, failure.transferred, failure.end_of_file), (6000, 6000, true));
    }

    #[test]
    fn a_write_that_moves_nothing_is_an_error_and_not_an_end_of_file() {
        let mut progress = write(8192, 4096);
        for _ in 0..REPEATS {
            assert_eq!(progress.advance(Ok(0)), Next::Issue);
        }
        let failure = end(progress.advance(Ok(0)));
        assert_eq!((failure.errno, failure.offset, failure.end_of_file), (libc::EIO, 8192, false));
    }

    #[test]
    fn an_interruption_is_repeated_but_not_for_ever_and_progress_renews_the_patience() {
        let mut progress = read(0, 12_288);
        for _ in 0..REPEATS {
            assert_eq!(progress.advance(Err(libc::EINTR)), Next::Issue);
        }
        assert_eq!(progress.advance(Ok(4096)), Next::Issue);
        for _ in 0..REPEATS {
            assert_eq!(progress.advance(Err(libc::EAGAIN)), Next::Issue);
        }
        let failure = end(progress.advance(Err(libc::EAGAIN)));
        assert_eq!((failure.errno, failure.offset, failure.transferred), (libc::EAGAIN, 4096, 4096));
    }

    #[test]
    fn an_error_after_a_part_says_where_it_stopped() {
        let mut progress = write(1 << 30, 16_384);
        assert_eq!(progress.advance(Ok(4096)), Next::Issue);
        let failure = end(progress.advance(Err(libc::ENOSPC)));
        assert_eq!((failure.errno, failure.offset, failure.transferred), (libc::ENOSPC, (1 << 30) + 4096, 4096));
        assert_eq!(
            failure.to_string(),
            "write failed at byte 1073745920, after 4096 bytes: No space left on device (errno 28)"
        );
    }

    /// fsync reports a lost write once per open file. A flush that was repeated after EINTR, or after EIO, succeeds
    /// with nothing written, and everything below it would be believed durable.
    #[test]
    fn a_failed_flush_is_never_repeated() {
        for errno in [libc::EINTR, libc::EAGAIN, libc::EIO] {
            let failure = end(Progress::new(Kind::Flush, 0).advance(Err(errno)));
            assert_eq!(failure.errno, errno);
        }
        assert_eq!(Progress::new(Kind::Flush, 0).advance(Ok(0)), Next::Finished(Ok(())));
    }

    #[test]
    #[should_panic(expected = "bytes moved of")]
    fn more_bytes_than_asked_for_stop_the_daemon() {
        read(0, 4096).advance(Ok(4097));
    }
}
