//! The page and the sources say the same, and the page's example is true.

use std::collections::BTreeSet;
use std::fmt::Write;

use scrubd::report::{Finding, Occasion, Persistence};
use scrubd::schedule::Schedule;
use scrubd::tag::{Class, Sealer, TAG_SIZE};
use scrubd::vocabulary::{Block, Digest, Geometry, Seq};

use super::decoder::order::{Random, run_key};
use super::decoder::{atom, crc32c, log, number};
use super::labels::decoded;
use super::{RUN, example, hex};

const PAGE: &str = include_str!("../../packaging/man/scrubd-format.5");

/// Index of the example's atom.
const ATOM: u32 = 1;

/// Names that the page goes on from in words of its own.
const IN_OTHER_WORDS: [&str; 5] = [
    "magic",
    "promise",
    "BLAKE3-256 of the device identity",
    "BLAKE3-256 of the bytes 0..96",
    "size of the whole target",
];

fn section(title: &str) -> &'static str {
    let start = PAGE.find(&format!("\n.Sh {title}\n")).unwrap_or_else(|| panic!("no section {title}"));
    let rest = &PAGE[start + 1..];
    &rest[..rest[1..].find("\n.Sh ").map_or(rest.len(), |end| end + 2)]
}

/// `.It offset Ta bytes Ta what`, or two cells.
fn cells(text: &str) -> Vec<Vec<&str>> {
    text.lines().filter_map(|line| Some(line.strip_prefix(".It ")?.split(" Ta ").collect())).collect()
}

/// `//! | offset | bytes | what |`: the rows of a table in a source, without its head (`offset`, `from`, `---`).
fn rows(source: &'static str) -> Vec<[&'static str; 3]> {
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! |")?.trim_end().strip_suffix('|'));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .filter_map(|cells| <[&str; 3]>::try_from(cells).ok())
        .filter(|[at, ..]| !at.contains(['-', 'o', 'f']))
        .collect()
}

/// The name of a field: what stands before the first comma, colon or bracket, or before the numbers and formulas.
fn name(what: &str) -> String {
    let what = what.replace('`', "");
    what.split([',', ':', '(', ';']).next().unwrap_or_default().trim().to_owned()
}

#[test]
fn every_row_of_the_tables_in_the_sources_is_in_the_page() {
    let tables = [
        (include_str!("../../src/tag/format.rs"), "BLOCKS AND ATOMS", 17),
        (include_str!("../../src/target/label.rs"), "THE LABEL", 21),
        (include_str!("../../src/ledger/slots.rs"), "THE LEDGER", 11),
        (include_str!("../../src/ledger/checkpoint.rs"), "THE LEDGER", 17),
        (include_str!("../../src/ledger/position.rs"), "THE POSITION OF A PATROL", 14),
    ];
    for (source, title, count) in tables {
        let (rows, page) = (rows(source), cells(section(title)));
        assert_eq!(rows.len(), count, "{title}: {rows:?}");
        for [at, bytes, what] in rows {
            let name = name(what);
            let name = IN_OTHER_WORDS.into_iter().find(|words| name.starts_with(words)).unwrap_or(&name);
            // Offsets and sizes behind lists are formulas, which the decoder proves.
            let is_number = |text: &str| text.parse::<u32>().is_ok();
            let same = |cell: &str, text: &str| cell == text || !is_number(text);
            let fits = |row: &&Vec<&str>| {
                row.len() == 3 && same(row[0], at) && same(row[1], bytes) && row[2].starts_with(name)
            };
            assert!(page.iter().any(|row| fits(&row)), "{title}: | {at} | {bytes} | {what} | ({name})");
        }
    }
}

#[test]
fn the_names_that_a_diagnosis_uses_are_in_the_page() {
    let fields: BTreeSet<&str> = (0..=TAG_SIZE).map(scrubd::tag::field_at).collect();
    assert_eq!(fields.len(), 16);
    let text = section("BLOCKS AND ATOMS").to_lowercase();
    let words = |field: &str| field.split(' ').filter(|word| *word != "kind").all(|word| text.contains(word));
    for field in fields {
        // The last eight bytes of a tag are two sizes, called geometry together.
        assert!(field == "geometry" || words(field), "{field}");
    }
}

#[test]
fn every_member_of_a_finding_and_every_class_is_in_the_page() {
    let finding = Finding {
        class: Class::Torn,
        block: Block(1),
        offset: 0,
        expected_seq: None,
        found_seq: None,
        expected: None,
        found: None,
        persistence: Persistence::Persistent,
        proved_by: None,
        known: false,
        detail: String::new(),
        guarantee: None,
        home: None,
        confirmed: None,
        errno: None,
        occasion: Occasion::Check,
        reads: Vec::new(),
        cuts: 0,
        contents: 0,
        wall_ns: 0,
    };
    let json = serde_json::to_value(&finding).unwrap();
    let text = section("FINDINGS");
    let members = json.as_object().unwrap();
    for member in members.keys() {
        assert!(text.lines().any(|line| line.starts_with(".It Li ") && line.contains(member.as_str())), "{member}");
    }
    let never_null = members.iter().filter(|(_, value)| !value.is_null());
    never_null.for_each(|(member, _)| assert!(text.contains(&format!(".Ql {member}")), "{member} is never null"));
    let classes = [
        Class::Unreadable,
        Class::Foreign,
        Class::Misdirected,
        Class::Phantom,
        Class::Shorn,
        Class::Zeroed,
        Class::Corrupt,
        Class::Torn,
        Class::Unserializable,
        Class::LostWrite,
        Class::Unstable,
    ];
    classes.iter().for_each(|class| assert!(text.contains(&class.to_string()), "{class}"));
}

/// The example's block under either digest, by the crate.
fn block_with(digest: Digest) -> (Geometry, Vec<u8>) {
    let (geometry, block, claim) = example();
    let geometry = Geometry { digest, ..geometry };
    let mut bytes = vec![0; geometry.block_size as usize];
    Sealer::new(geometry, RUN).seal(block, &claim, &mut bytes);
    (geometry, bytes)
}

fn hex_lines(bytes: &[u8]) -> String {
    let line = |(at, row): (usize, &[u8])| {
        let groups: Vec<String> = row.chunks(4).map(hex).collect();
        format!("{:02}  {}\n", at * 16, groups.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

/// The example as it must stand in the page, between `.Sh EXAMPLES` and its end: made by the crate.
fn made_by_the_crate() -> [String; 6] {
    let (_, whole) = block_with(Digest::Crc32c);
    let atom = &whole[512 * ATOM as usize..][..512];
    let tag = atom::tag(atom).expect("a tag");
    let fields = [
        ("checksum", format!("{:08x}", number(atom, 0, 4))),
        ("version", "1".to_owned()),
        ("promise", format!("{} (flush)", tag.promise)),
        ("digest", tag.digest.to_string()),
        ("index", tag.index.to_string()),
        ("run id", hex(&tag.run)),
        ("block", tag.block.to_string()),
        ("seq", tag.seq.to_string()),
        ("epoch number", tag.epoch.to_string()),
        ("epoch nonce", format!("{:016x}", tag.nonce)),
        ("durable frontier", tag.durable.to_string()),
        ("checkpoint", tag.checkpoint.to_string()),
        ("wall clock", tag.wall_ns.to_string()),
        ("block size", tag.block_size.to_string()),
        ("atom size", tag.atom_size.to_string()),
    ];
    let mut steps: Vec<(String, String)> =
        (0..4).map(|i| (format!("K{i}"), format!("{:016x}", run_key(RUN.0).1[i]))).collect();
    steps.push(("s".to_owned(), format!("{:016x}", atom::seed(&tag))));
    for i in [0, 1, 51] {
        steps.push((format!("word({i})"), format!("{:016x}", number(atom, 96 + 8 * i, 8))));
    }
    let schedule = Schedule::new(&example().0, RUN);
    let orders = (0..2).map(|pass| {
        let blocks: Vec<String> = (0..10).map(|i| schedule.block_of(Seq(pass * 10 + i)).to_string()).collect();
        (format!("pass {pass}"), blocks.join(" "))
    });
    let table = |rows: Vec<(String, String)>| {
        rows.iter().fold(String::new(), |mut text, (name, value)| {
            writeln!(text, ".It {name} Ta {value}").expect("a string");
            text
        })
    };
    let fields = fields.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let hash = format!("\n{}\n", hex(blake3::hash(atom).as_bytes()));
    let digest = format!("\n{}\n", hex(&block_with(Digest::Blake3).1[96..128]));
    [hex_lines(&atom[..96]), table(fields), table(steps), hash, digest, table(orders.collect())]
}

#[test]
fn the_example_of_the_page_is_what_the_crate_writes() {
    let missing: Vec<String> =
        made_by_the_crate().into_iter().filter(|part| !section("EXAMPLES").contains(part.as_str())).collect();
    assert!(missing.is_empty(), "the page's EXAMPLES lack, or say otherwise:\n{}", missing.join("\n"));
}

/// The bytes of the example, read out of the page.
fn hex_of_the_page() -> Vec<u8> {
    let rows = section("EXAMPLES").lines().filter(|line| line.len() == 39 && line.as_bytes()[0].is_ascii_digit());
    let digits: String = rows.flat_map(|line| line[4..].chars().filter(|c| *c != ' ')).collect();
    (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).expect("hex")).collect()
}

fn value(name: &str) -> &'static str {
    let rows = cells(section("EXAMPLES"));
    rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no {name}"))[1]
}

/// The lines of 64 hexadecimal digits.
fn hashes() -> Vec<&'static str> {
    section("EXAMPLES").lines().filter(|line| line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit())).collect()
}

#[test]
fn the_example_of_the_page_decodes_to_what_the_page_says() {
    let first_96 = hex_of_the_page();
    assert_eq!(first_96.len(), 96);
    let tag = atom::tag(&first_96).unwrap();
    let said = |name: &str| value(name).split(' ').next().unwrap().parse::<u64>().unwrap();
    assert_eq!((u64::from(tag.promise), u64::from(tag.digest)), (said("promise"), said("digest")));
    assert_eq!((u64::from(tag.index), tag.block, tag.seq), (said("index"), said("block"), said("seq")));
    assert_eq!((tag.epoch, format!("{:016x}", tag.nonce).as_str()), (said("epoch number"), value("epoch nonce")));
    assert_eq!((tag.durable, tag.checkpoint), (said("durable frontier"), said("checkpoint")));
    assert_eq!(tag.wall_ns, said("wall clock"));
    assert_eq!((u64::from(tag.block_size), u64::from(tag.atom_size)), (said("block size"), said("atom size")));
    assert_eq!((hex(&tag.run).as_str(), tag.index), (value("run id"), ATOM));

    // Nothing but these 96 bytes: the rest is rebuilt, and the checksum and the hash prove it.
    let atom = atom::rebuild(&first_96).unwrap();
    assert_eq!(format!("{:08x}", crc32c(&[&atom[4..]])), value("checksum"));
    assert_eq!(number(&atom, 0, 4), u64::from(crc32c(&[&atom[4..]])));
    assert_eq!(hex(blake3::hash(&atom).as_bytes()), hashes()[0]);
    assert_eq!(atom::sound(&decoded(&example().0), &atom), Ok(tag.clone()));
    (0..4).for_each(|i| assert_eq!(format!("{:016x}", run_key(tag.run).1[i]), value(&format!("K{i}"))));
    let s = atom::seed(&tag);
    assert_eq!(format!("{s:016x}"), value("s"));
    for i in [0, 1, 51] {
        assert_eq!(format!("{:016x}", atom::word(s, i)), value(&format!("word({i})")));
    }
    let random = Random::new(10, tag.run);
    for pass in 0..2 {
        let blocks: Vec<String> = (0..10).map(|i| random.block(pass, i).to_string()).collect();
        assert_eq!(blocks.join(" "), value(&format!("pass {pass}")));
    }
}

#[test]
fn the_digest_that_the_page_names_is_that_of_the_block() {
    let (geometry, whole) = block_with(Digest::Blake3);
    assert_eq!(geometry.digest, Digest::Blake3);
    assert_eq!(hex(&atom::digest(RUN.0, &whole)), hashes()[1]);
}

#[test]
fn the_line_of_the_page_is_a_whole_line() {
    let line = section("THE EVENT LOG").lines().find(|line| line.starts_with('{')).unwrap();
    let event = log::line(line.as_bytes()).unwrap();
    assert_eq!((event.n, event.at.as_str()), (7, "2026-03-01T12:00:00.000000000Z"));
}
