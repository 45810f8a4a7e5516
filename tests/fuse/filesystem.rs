//! The file system: one directory with one file, `target`, whose bytes are the store's.
//!
//! Every request is answered later, by another thread, after a delay by chance: so many are in flight and they complete
//! in any order. The kernel's part (Linux, `fs/fuse/file.c`): FUSE_ASYNC_DIO hands over a direct write and returns
//! before it is answered, FOPEN_PARALLEL_DIRECT_WRITES lets several do so at once, FOPEN_DIRECT_IO keeps the page cache
//! out of it; RWF_DSYNC comes as O_DSYNC in the flags of the write itself, and no fsync follows it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::OsStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite,
    TimeOrNow, WriteFlags,
};

use super::chance::Chance;
use super::store::{Answer, Request, Store};

/// The file's name.
pub(crate) const TARGET: &str = "target";
const ROOT: INodeNo = INodeNo(1);
const FILE: INodeNo = INodeNo(2);
/// Nothing changes but the file's bytes.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// The store, and what waits to be answered.
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    /// How long a request takes: chance below this, in microseconds, and the same for all of it when `even`.
    pub(crate) slowness: u64,
    pub(crate) even: bool,
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    waiting: Vec<(u64, Reply)>,
    chance: Chance,
    ended: bool,
}

enum Reply {
    Write(ReplyWrite),
    Read(ReplyData),
    Flush(ReplyEmpty),
}

impl Reply {
    fn send(self, answer: Answer) {
        match (self, answer) {
            (Reply::Write(reply), Answer::Written(bytes)) => reply.written(bytes),
            (Reply::Read(reply), Answer::Data(bytes)) => reply.data(&bytes),
            (Reply::Flush(reply), Answer::Done) => reply.ok(),
            (Reply::Write(reply), _) => reply.error(Errno::EIO),
            (Reply::Read(reply), _) => reply.error(Errno::EIO),
            (Reply::Flush(reply), _) => reply.error(Errno::EIO),
        }
    }
}

impl Shared {
    pub(crate) fn new(store: Store, seed: u64) -> Arc<Shared> {
        let inner = Inner {
            store,
            slowness: 1500,
            even: false,
            due: BinaryHeap::new(),
            waiting: Vec::new(),
            chance: Chance(seed),
            ended: false,
        };
        Arc::new(Shared { inner: Mutex::new(inner), changed: Condvar::new() })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn take(&self, request: Request, reply: Reply) {
        let mut inner = self.lock();
        let Some(id) = inner.store.receive(request) else {
            return reply.send(Answer::InputOutputError);
        };
        let slowness = inner.slowness.max(1);
        let delay = if inner.even { slowness } else { inner.chance.below(slowness) };
        inner.due.push(Reverse((Instant::now() + Duration::from_micros(delay), id)));
        inner.waiting.push((id, reply));
        self.changed.notify_one();
    }

    /// Answers what is due, until the end.
    pub(crate) fn answer(&self) {
        let mut inner = self.lock();
        while !inner.ended {
            let now = Instant::now();
            let Some(&Reverse((due, id))) = inner.due.peek() else {
                inner = self.changed.wait(inner).unwrap_or_else(|poisoned| poisoned.into_inner());
                continue;
            };
            if due > now {
                let waited = self.changed.wait_timeout(inner, due - now);
                inner = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
                continue;
            }
            inner.due.pop();
            // What has no answer stays waiting: it is stuck, or there is no power.
            if let Some(answer) = inner.store.complete(id) {
                let at = inner.waiting.iter().position(|(waiting, _)| *waiting == id);
                let (_, reply) = inner.waiting.swap_remove(at.expect("a request waits until it is answered"));
                drop(inner);
                reply.send(answer);
                inner = self.lock();
            }
        }
    }

    /// Gives everything that waits back as an error: of a process that is being killed, or at the end.
    pub(crate) fn give_up(&self) {
        let mut inner = self.lock();
        inner.due.clear();
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        waiting.into_iter().for_each(|(_, reply)| reply.send(Answer::InputOutputError));
    }

    pub(crate) fn end(&self) {
        self.lock().store.freeze();
        self.give_up();
        self.lock().ended = true;
        self.changed.notify_all();
    }

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let (kind, perm, size) = match inode {
            ROOT => (FileType::Directory, 0o755, 0),
            _ => (FileType::RegularFile, 0o600, self.lock().store.length() as u64),
        };
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

/// What the kernel talks to.
pub(crate) struct OneFile(pub(crate) Arc<Shared>);

impl Filesystem for OneFile {
    fn init(&mut self, _request: &fuser::Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let missing = |flags| std::io::Error::other(format!("this kernel's FUSE lacks {flags:?}"));
        config.add_capabilities(InitFlags::FUSE_ASYNC_DIO).map_err(missing)?;
        // A request of the queue is held back by the kernel beyond this number.
        config.set_max_background(512).map_err(|nearest| std::io::Error::other(format!("at most {nearest}")))?;
        // One block is one request up to 1 MiB, the kernel's own limit (fs.fuse.max_pages_limit).
        config.set_max_write(1 << 20).map_err(|nearest| std::io::Error::other(format!("at most {nearest}")))?;
        Ok(())
    }

    fn lookup(&self, _request: &fuser::Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match (parent, name.to_str()) {
            (ROOT, Some(TARGET)) => reply.entry(&FOR_EVER, &self.0.attributes(FILE), Generation(0)),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &fuser::Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &self.0.attributes(inode));
    }

    fn setattr(
        &self,
        _request: &fuser::Request,
        inode: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<std::time::SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<std::time::SystemTime>,
        _chgtime: Option<std::time::SystemTime>,
        _bkuptime: Option<std::time::SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match size {
            Some(_) => reply.error(Errno::EPERM),
            None => reply.attr(&FOR_EVER, &self.0.attributes(inode)),
        }
    }

    fn open(&self, _request: &fuser::Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES | FopenFlags::FOPEN_NOFLUSH;
        reply.opened(FileHandle(1), flags);
    }

    fn read(
        &self,
        _request: &fuser::Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.0.take(Request::Read { offset: offset as usize, length: size as usize }, Reply::Read(reply));
    }

    fn write(
        &self,
        _request: &fuser::Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let dsync = flags.0 & nix::fcntl::OFlag::O_DSYNC.bits() != 0;
        let request = Request::Write { offset: offset as usize, data: Arc::new(data.to_vec()), dsync };
        self.0.take(request, Reply::Write(reply));
    }

    fn fsync(&self, _request: &fuser::Request, _inode: INodeNo, _handle: FileHandle, _data: bool, reply: ReplyEmpty) {
        self.0.take(Request::Flush, Reply::Flush(reply));
    }

    fn readdir(
        &self,
        _request: &fuser::Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = [
            (ROOT, FileType::Directory, "."),
            (ROOT, FileType::Directory, ".."),
            (FILE, FileType::RegularFile, TARGET),
        ];
        for (at, (inode, kind, name)) in entries.into_iter().enumerate().skip(offset as usize) {
            if reply.add(inode, at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    /// The directory holds one name, and always has: a sync of it has nothing to do.
    fn fsyncdir(
        &self,
        _request: &fuser::Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _data: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }
}
