//! Two pools of pinned workers: seal before the I/O, verify after it.
