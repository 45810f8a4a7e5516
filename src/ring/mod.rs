//! Disk I/O: io_uring, and a blocking engine behind the same face. The only room with `unsafe`.
