//! Log lines for the journal of systemd, in its own protocol: with a priority, an id that the catalog explains, and
//! each field to search for (`journalctl SCRUBD_CLASS=lost_write`).
//!
//! The alternatives: `<3>` before a line on stderr has a priority and nothing else, so that neither catalog nor fields
//! would be there; the crate tracing-journald leaves the fields out of the text that people read ("a promise is broken"
//! without the block) and has no ids. The protocol: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.

use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::report::notable;

const SOCKET: &str = "/run/systemd/journal/socket";

/// A line longer than this is cut: a datagram holds about 200 KiB, and no line of ours is near.
const LINE_MAX: usize = 32 << 10;

/// Speaks to the journal.
pub(super) struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// Where stderr goes to the journal: `JOURNAL_STREAM` names the very socket that stderr is (systemd.exec(5)). A child
    /// whose stderr was redirected inherits the variable and not the socket.
    pub(super) fn behind_stderr() -> Option<Journal> {
        let stream = std::env::var("JOURNAL_STREAM").ok()?;
        let (device, inode) = stream.split_once(':')?;
        let stderr = std::fs::metadata("/proc/self/fd/2").ok()?;
        let same = device.parse() == Ok(stderr.dev()) && inode.parse() == Ok(stderr.ino());
        let socket = UnixDatagram::unbound().ok()?;
        same.then_some(Journal { socket })
    }

    /// One entry. What the journal does not take goes to stderr, which is the journal's too.
    fn send(&self, priority: u8, line: &Line) {
        let mut entry = Vec::with_capacity(256 + line.text.len());
        put(&mut entry, "PRIORITY", &priority.to_string());
        put(&mut entry, "SYSLOG_IDENTIFIER", "scrubd");
        if let Some(id) = line.id {
            put(&mut entry, "MESSAGE_ID", id);
        }
        put(&mut entry, "MESSAGE", cut(&line.text));
        line.fields.iter().for_each(|(name, value)| put(&mut entry, name, cut(value)));
        // By name each time: it is another socket after journald was restarted.
        if self.socket.send_to(&entry, SOCKET).is_err() {
            drop(writeln!(io::stderr(), "<{priority}>{}", line.text.replace('\n', " ")));
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line { id: notable::message_id(event.metadata().target()), ..Line::default() };
        event.record(&mut line);
        line.text.push_str(&std::mem::take(&mut line.tail));
        self.send(priority(*event.metadata().level()), &line);
    }
}

/// syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// The same words as on stderr, and the fields by themselves.
#[derive(Default)]
struct Line {
    id: Option<&'static str>,
    text: String,
    /// ` name=value`, to stand behind the message whatever the order in which fields come.
    tail: String,
    fields: Vec<(String, String)>,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        if field.name() == "message" {
            self.text.push_str(&value);
        } else {
            self.tail.push_str(&format!(" {}={value}", field.name()));
            self.fields.push((format!("SCRUBD_{}", field.name().to_uppercase()), value));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// `NAME=value`, or, where the value has lines, its name, its length in 64 bits, little-endian, and the value.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LINE_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What a layer makes of events, without a journal.
    struct Into(std::sync::mpsc::Sender<(u8, Line)>);

    impl<S: Subscriber> Layer<S> for Into {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = Line { id: notable::message_id(event.metadata().target()), ..Line::default() };
            event.record(&mut line);
            line.text.push_str(&std::mem::take(&mut line.tail));
            self.0.send((priority(*event.metadata().level()), line)).unwrap();
        }
    }

    #[test]
    fn a_line_has_its_words_its_fields_its_priority_and_its_id() {
        let (sender, lines) = std::sync::mpsc::channel();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Into(sender)), || {
            tracing::error!(target: notable::FINDING, class = %"torn", block = 7, why = "cut", "a promise is broken: {}", 1);
            tracing::info!("plain");
        });
        let (priority, line) = lines.recv().unwrap();
        assert_eq!((priority, line.text.as_str()), (3, "a promise is broken: 1 class=torn block=7 why=cut"));
        assert_eq!(line.id, notable::message_id(notable::FINDING));
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted = [field("SCRUBD_CLASS", "torn"), field("SCRUBD_BLOCK", "7"), field("SCRUBD_WHY", "cut")];
        assert_eq!(line.fields, wanted);
        let (priority, line) = lines.recv().unwrap();
        assert_eq!((priority, line.id, line.text.as_str()), (6, None, "plain"));
    }

    #[test]
    fn a_value_of_several_lines_carries_its_length() {
        let mut entry = Vec::new();
        put(&mut entry, "A", "b");
        put(&mut entry, "MESSAGE", "x\ny");
        assert_eq!(entry, b"A=b\nMESSAGE\n\x03\0\0\0\0\0\0\0x\ny\n");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let long = "é".repeat(LINE_MAX);
        assert_eq!(cut(&long).len(), LINE_MAX);
        assert_eq!(cut(&format!("a{long}")).len(), LINE_MAX - 1);
    }

    #[test]
    fn the_journal_is_spoken_to_only_where_stderr_is_its() {
        // The tests' stderr is none of the journal's, whatever the environment says.
        assert!(Journal::behind_stderr().is_none());
    }
}
