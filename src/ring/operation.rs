//! A request on its way: the contract at its entrance, its progress, and its buffer until it ends.

use std::time::Instant;

use nix::libc;

use super::progress::{Next, Progress, is_passing};
use super::{Buffer, Completion, IoFailure, Kind, POISON, Request, Token};

/// A request that is in flight. It owns the buffer; both engines keep it until the kernel is done with it.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) token: Token,
    pub(super) kind: Kind,
    pub(super) buffer: Option<Buffer>,
    pub(super) progress: Progress,
    pub(super) cancelled: bool,
    submitted: Instant,
}

impl Operation {
    /// # Panics
    /// When the request breaks the contract of [`super::Ring::submit`].
    pub(super) fn new(request: Request) -> Self {
        let Request { token, kind, buffer } = request;
        let length = buffer.as_ref().map_or(0, |buffer| buffer.len());
        match kind {
            Kind::Flush => assert!(buffer.is_none(), "{token:?}: a flush with a buffer"),
            Kind::Read { offset } | Kind::Write { offset, .. } => {
                assert!(length > 0, "{token:?}: {kind:?} without a buffer");
                assert!(u32::try_from(length).is_ok(), "{token:?}: {length} bytes in one request");
                let end = offset.checked_add(length as u64);
                assert!(end.is_some_and(|end| i64::try_from(end).is_ok()), "{token:?}: {kind:?} is beyond any file");
            }
        }
        let progress = Progress::new(kind, length);
        Operation { token, kind, buffer, progress, cancelled: false, submitted: Instant::now() }
    }

    /// Takes in what the kernel said. After a cancel nothing is issued again: what would go on ends as cancelled.
    pub(super) fn advance(&mut self, result: Result<usize, i32>) -> Next {
        let interrupted = result.is_err_and(is_passing);
        match self.progress.advance(result) {
            Next::Issue => {
                if self.cancelled {
                    self.progress.failed(libc::ECANCELED)
                } else {
                    Next::Issue
                }
            }
            // The kernel ends a worker's request with a signal: EINTR is how a cancel looks from there.
            Next::Finished(Err(_)) if self.cancelled && interrupted => self.progress.failed(libc::ECANCELED),
            next => next,
        }
    }

    /// The part of the buffer that the next try is about; empty for a flush.
    pub(super) fn remaining(&mut self) -> &mut [u8] {
        let from = self.progress.from();
        self.buffer.as_deref_mut().map_or(&mut [], |bytes| &mut bytes[from..])
    }

    pub(super) fn complete(self, result: Result<(), IoFailure>) -> Completion {
        let Operation { token, kind, mut buffer, submitted, .. } = self;
        if let (Kind::Read { .. }, Err(failure), Some(buffer)) = (kind, &result, &mut buffer) {
            // File systems leave there what lies behind an end of file, and drivers what came before an error.
            buffer[failure.transferred..].fill(POISON);
        }
        Completion { token, kind, buffer, result, latency: submitted.elapsed() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cancelled(kind: Kind, buffer: Option<Buffer>) -> Operation {
        let mut operation = Operation::new(Request { token: Token(1), kind, buffer });
        operation.cancelled = true;
        operation
    }

    #[test]
    fn a_cancelled_request_is_not_continued_but_keeps_what_it_did() {
        let mut operation = cancelled(Kind::Read { offset: 0 }, Some(Buffer::new(8192)));
        let Next::Finished(Err(failure)) = operation.advance(Ok(4096)) else { panic!("continued") };
        assert_eq!((failure.errno, failure.transferred), (libc::ECANCELED, 4096));
        assert_eq!(cancelled(Kind::Flush, None).advance(Ok(0)), Next::Finished(Ok(())));
        let Next::Finished(Err(failure)) = cancelled(Kind::Flush, None).advance(Err(libc::EINTR)) else { panic!() };
        assert!(failure.is_cancelled());
    }

    #[test]
    #[should_panic(expected = "without a buffer")]
    fn a_read_needs_a_buffer() {
        drop(Operation::new(Request { token: Token(1), kind: Kind::Read { offset: 0 }, buffer: None }));
    }

    #[test]
    #[should_panic(expected = "beyond any file")]
    fn a_range_that_wraps_around_is_refused() {
        let kind = Kind::Write { offset: i64::MAX as u64, dsync: false };
        drop(Operation::new(Request { token: Token(1), kind, buffer: Some(Buffer::new(512)) }));
    }
}
