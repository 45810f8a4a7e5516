//! The configuration as an administrator meets it: what is refused, in which words, and who said what.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use scrubd::config::keys::KEYS;
use scrubd::config::{
    self, AdHoc, After, Environment, FlushEvery, Mode, OnFinding, Overrides, Settings, Source, TargetSettings, Text,
    TriggerIo, TriggerSignal,
};
use scrubd::vocabulary::{Digest, Geometry, Order, Promise};

const STATE: &str = "/var/lib/scrubd";

fn env() -> Environment<'static> {
    Environment {
        cwd: Path::new("/home/op"),
        validate_cpus: &|cpus| match cpus.iter().find(|&&cpu| cpu > 7) {
            Some(cpu) => Err(format!("CPU {cpu} does not exist")),
            None => Ok(()),
        },
        find_program: &|name| name == "cut-power",
        default_state_dir: Some(Path::new(STATE)),
    }
}

fn texts(texts: &[&str]) -> Vec<Text> {
    let name =
        |index: usize| if index == 0 { "scrubd.toml".into() } else { PathBuf::from(format!("conf.d/{index}.toml")) };
    texts.iter().enumerate().map(|(i, text)| Text { path: name(i), text: (*text).to_owned() }).collect()
}

fn with(sources: &[&str], sets: &[&str]) -> Result<Settings, Vec<String>> {
    let overrides = Overrides { sets: sets.iter().map(|set| (*set).to_owned()).collect(), ..Overrides::default() };
    let outcome = config::from_texts(&texts(sources), &overrides, &env());
    outcome.map_err(|errors| errors.0.iter().map(ToString::to_string).collect())
}

/// One target `bay3` with these lines in its table, which begins in line 3.
fn bay3(lines: &str) -> Result<TargetSettings, Vec<String>> {
    let text = format!("[target.bay3]\npath = \"/dev/sdb\"\n{lines}\n");
    with(&[&text], &[]).map(|settings| settings.targets["bay3"].clone())
}

fn error_of(line: &str) -> String {
    let errors = bay3(line).expect_err(line);
    assert_eq!(errors.len(), 1, "{line}: {errors:?}");
    let at = 3 + line.find(" = ").unwrap_or_default();
    let place = format!("scrubd.toml:3:{}: target \"bay3\": ", at + 1);
    errors[0].strip_prefix(&place).unwrap_or_else(|| panic!("{} is not at {place}", errors[0])).to_owned()
}

#[test]
fn a_target_needs_nothing_but_a_path() {
    let bay3 = bay3("").unwrap();
    assert_eq!((bay3.mode, bay3.promise, bay3.queue_depth), (Mode::BurnIn, Promise::Flush, 32));
    assert_eq!((bay3.flush_every, bay3.on_finding), (FlushEvery::Bytes(128 << 20), OnFinding::Stop));
    assert_eq!((bay3.block_size, bay3.atom, bay3.order, bay3.offset, bay3.length), (None, None, None, None, None));
    assert_eq!((bay3.verify.readback_lag, bay3.verify.threads, bay3.verify.rereads), (1 << 30, 2, 3));
    assert_eq!((bay3.verify.deadline, bay3.verify.retention), (Duration::from_secs(60), false));
    assert_eq!((bay3.trigger.io, bay3.trigger.signal), (TriggerIo::Flush, TriggerSignal::Usr2));
    assert_eq!((bay3.trigger.command, bay3.rate, bay3.serial), (None, None, None));
    assert_eq!(bay3.state_dir, Path::new("/var/lib/scrubd/bay3"));
}

#[test]
fn the_message_of_the_style_guide() {
    let error = error_of("verify.readback_lag = \"0\"");
    assert_eq!(error, "verify.readback_lag \"0\" must be at least one block, 4KiB");
}

#[test]
fn every_value_that_is_wrong_is_refused_with_what_would_be_right() {
    for (line, hint) in [
        ("path = \"disk.img\"", "duplicate key"),
        ("serial = 5", "must be a string: \"5\""),
        ("serial = \" \"", "serial number or WWN"),
        ("offset = 100", "offset 100 must be a multiple of the atom, 512"),
        ("offset = -1", "integer bytes"),
        ("length = \"1MiB\"", "has room for no block"),
        ("length = 9223372036854775807", "multiple of the atom"),
        ("length = 99999999999999999999", "must not be above"),
        ("block_size = \"64KB\"", "write \"64KiB\""),
        ("block_size = \"48KiB\"", "power of two from 4 KiB to 4 MiB"),
        ("block_size = \"8TiB\"", "must be below 4GiB"),
        ("atom = 520", "power of two from 512 to 4096"),
        ("atom = true", "integer bytes"),
        ("order = \"rand\"", "must be one of \"sequential\", \"random\""),
        ("digest = 1", "must be one of \"crc32c\", \"blake3\""),
        ("mode = \"burnin\"", "must be one of \"burn-in\", \"powercut\", \"patrol\""),
        ("patrol.rate = 0", "must be above 0"),
        ("patrol.rate = \"50MB\"", "write \"50MiB\""),
        ("patrol.pass_time = \"0s\"", "must be above 0"),
        ("patrol.pass_time = 14", "must carry its unit"),
        ("promise = \"fsync\"", "must be one of \"flush\", \"fua\", \"ack\""),
        ("queue_depth = 0", "queue_depth 0 must be an integer from 1 to 256"),
        ("queue_depth = 257", "from 1 to 256"),
        ("queue_depth = \"32\"", "queue_depth \"32\" must be an integer"),
        ("queue_depth = 99999999999999999999999", "from 1 to 256"),
        ("flush_every = \"128M\"", "write \"128MiB\""),
        ("flush_every = \"0s\"", "must be above 0"),
        ("flush_every = 0", "at least one block"),
        ("flush_every = \"soon\"", "or a duration such as \"5s\""),
        ("on_finding = \"panic\"", "\"stop\", \"continue\", \"trigger\""),
        ("rate = \"200MB/s\"", "such as \"200MiB/s\""),
        ("rate = 200", "such as \"200MiB/s\""),
        ("verify.retention = \"24h\"", "must be true or false"),
        ("verify.threads = 65", "from 0 to 64"),
        ("verify.cpus = \"0-9\"", "verify.cpus \"0-9\" cannot be used: CPU 8 does not exist"),
        ("verify.cpus = [0, 0]", "must name CPU 0 once"),
        ("verify.cpus = []", "such as \"0-3,6\""),
        ("verify.on_start = \"never\"", "\"after-cut\", \"window\", \"always\""),
        ("verify.deadline = \"0s\"", "must be above 0"),
        ("verify.rereads = 0", "from 1 to 100"),
        ("seal.cpus = \"3-1\"", "\"1-3\""),
        ("trigger.file = \"cut\"", "must be an absolute path"),
        ("trigger.signal = \"TERM\"", "SIGTERM stops the daemon"),
        ("trigger.after = \"5min..30s\"", "\"30s..5min\""),
        ("trigger.writes = 0", "at least 1"),
        ("trigger.command = \"cut-power bay3\"", "not a shell string: [\"cut-power\", \"bay3\"]"),
        ("trigger.command = []", "must name a program"),
        ("trigger.command = [\"./cut\"]", "absolute path"),
        ("trigger.command = [\"nowhere\"]", "\"nowhere\" is not found"),
        ("trigger.command = [\"/bin/true\", 1]", "strings only"),
        ("trigger.io = \"stop\"", "\"continue\", \"hold\", \"drain\", \"flush\""),
        ("trigger.then = \"reboot\"", "\"exit\", \"resume\""),
        ("trigger.timeout = \"0s\"", "must be above 0"),
    ] {
        if hint == "duplicate key" {
            assert!(bay3(line).unwrap_err()[0].contains(hint));
            continue;
        }
        let error = error_of(line);
        assert!(error.contains(hint), "{line}: {error}");
        assert!(error.starts_with(line.split(' ').next().unwrap()), "{line}: {error}");
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    let errors = with(
        &["state_dir = \"x\"\n[target.a]\npath = \"/a\"\norder = 1\nnope = 2\n", "[target.b]\nmode = \"guard\"\n"],
        &["colour=red"],
    );
    let errors = errors.unwrap_err().join("\n");
    for part in ["nope", "colour", "state_dir \"x\" must be an absolute path", "order 1", "guard", "path or serial"] {
        // Where a source has errors of form, values are not judged: they could accuse the wrong line.
        let form = ["nope", "colour"].contains(&part);
        assert_eq!(errors.contains(part), form, "{part}: {errors}");
    }
    let errors = with(
        &["state_dir = \"x\"\n[target.a]\npath = \"/a\"\norder = 1\n", "[target.b]\nmode = \"guard\"\n"],
        &["rate=5"],
    );
    let errors = errors.unwrap_err();
    assert_eq!(
        errors.iter().map(|error| error.split(": ").next().unwrap()).collect::<Vec<_>>(),
        [
            "scrubd.toml:1:13",
            "scrubd.toml:4:9",
            "conf.d/1.toml:1:9",
            "conf.d/1.toml:2:8",
            "--set rate=5",
            "--set rate=5",
        ]
    );
}

#[test]
fn a_drop_in_overrides_single_keys_and_every_value_keeps_its_origin() {
    let main = "[defaults]\nqueue_depth = 8\nrate = \"1MiB/s\"\n[target.bay3]\npath = \"/dev/sdb\"\nseal.threads = 2\n";
    let drop_in = "[target.bay3]\nseal.threads = 3\nrate = \"off\"\n[defaults]\nqueue_depth = 9\nseal.threads = 7\n";
    let settings = with(&[main, drop_in], &["verify.readback_lag=2GiB", "trigger.file=cut", "queue_depth=4"]).unwrap();
    let bay3 = &settings.targets["bay3"];
    assert_eq!((bay3.seal.threads, bay3.queue_depth, bay3.rate), (3, 4, None));
    assert_eq!(bay3.trigger.file.as_deref(), Some(Path::new("/home/op/cut")));
    let origin = |key: &str| bay3.origins.of(key).to_string();
    assert_eq!(origin("path"), "scrubd.toml:5:8");
    assert_eq!(origin("seal.threads"), "conf.d/1.toml:2:16");
    assert_eq!(origin("rate"), "conf.d/1.toml:3:8");
    assert_eq!(origin("queue_depth"), "--set queue_depth=4");
    assert_eq!(origin("promise"), "default");
    let shown = config::to_toml(&settings);
    assert!(shown.contains("seal.threads = 3  # conf.d/1.toml:2:16\n"), "{shown}");
    assert!(shown.contains("#block_size = \"64KiB\"  # the label decides"), "{shown}");
}

#[test]
fn a_selected_target_is_not_refused_for_the_values_of_another_but_for_what_nobody_can_read() {
    let select = |text: &str| {
        let overrides =
            Overrides { target: Some("good".to_owned()), sets: vec!["rate=off".to_owned()], state_dir: None };
        config::from_texts(&texts(&[text]), &overrides, &env()).map_err(|errors| errors.to_string())
    };
    let good = "[target.good]\npath = \"/dev/sdb\"\n[target.bad]\n";
    let settings = select(&format!("{good}mode = \"guard\"\n")).unwrap();
    assert_eq!(settings.targets.keys().collect::<Vec<_>>(), ["good"]);
    assert_eq!(settings.sole().unwrap().name, "good");
    assert!(select(&format!("{good}mod = \"guard\"\n")).is_err());
    assert!(select("[target.goood]\npath = \"/x\"\n").unwrap_err().contains("did you mean \"goood\"?"));
    assert!(select("").unwrap_err().contains("no target is: say [target.NAME]"));
}

#[test]
fn two_targets_cannot_wait_for_one_trigger_file() {
    let text = "[defaults]\ntrigger.file = \"/run/cut\"\n[target.a]\npath = \"/a\"\n[target.b]\npath = \"/b\"\n";
    let errors = with(&[text], &[]).unwrap_err();
    assert_eq!(
        errors[0],
        "scrubd.toml:2:16: target \"a\": trigger.file \"/run/cut\" must not be the one of target \"b\" too"
    );
}

#[test]
fn an_affinity_without_threads_is_refused() {
    let errors = bay3("verify = { threads = 0, cpus = \"0\" }").unwrap_err();
    assert!(errors[0].ends_with("verify.cpus \"0\" needs threads to pin: verify.threads is 0"), "{errors:?}");
    assert_eq!(bay3("verify.threads = 0\nverify.cpus = \"all\"").unwrap().verify.cpus, None);
    assert_eq!(bay3("verify.cpus = [6, 0]").unwrap().verify.cpus, Some(vec![0, 6]));
}

#[test]
fn sets_are_toml_or_strings() {
    let text = "[target.bay3]\npath = \"/dev/sdb\"\n";
    let sets =
        ["trigger.command=[\"cut-power\", \"bay3\"]", "trigger.after=30s..5min", "flush_every=5s", "mode=powercut"];
    let bay3 = with(&[text], &sets).unwrap().targets["bay3"].clone();
    assert_eq!(bay3.trigger.command.unwrap(), ["cut-power", "bay3"]);
    let (earliest, latest) = (Duration::from_secs(30), Duration::from_secs(300));
    assert_eq!(bay3.trigger.after, Some(After { earliest, latest }));
    assert_eq!((bay3.flush_every, bay3.mode), (FlushEvery::Time(Duration::from_secs(5)), Mode::PowerCut));
    let refused = |set: &str| with(&[text], &[set]).unwrap_err().join("\n");
    assert!(refused("state_dir=/x").contains("use --state-dir"));
    assert!(refused("readback_lag=0").contains("did you mean \"verify.readback_lag\"?"));
    assert!(refused("verify=0").contains("unknown key"));
    assert!(refused("nothing").contains("KEY=VALUE"));
}

#[test]
fn a_patrol_has_a_pace_and_what_is_for_writing_means_nothing_to_it() {
    let lines = "mode = \"patrol\"\npatrol.rate = \"50MiB\"\npatrol.pass_time = \"14d\"\nverify.retention = true";
    let paced = bay3(lines).unwrap();
    assert_eq!((paced.mode, paced.patrol.rate), (Mode::Patrol, Some(50 << 20)));
    assert_eq!(paced.patrol.pass_time, Some(Duration::from_secs(14 * 86_400)));
    assert_eq!(config::meaningless_on_patrol(&paced), ["verify.retention"]);
    assert_eq!(config::meaningless_on_patrol(&bay3("verify.retention = true").unwrap()), [""; 0]);
    let again =
        bay3("mode = \"patrol\"\npatrol.rate = \"50MiB/s\"\npatrol.pass_time = \"14days\"\nverify.retention = true");
    assert_eq!(paced, again.unwrap());
    let other = bay3("mode = \"patrol\"\npatrol.rate = 4096\nverify.retention = true").unwrap();
    assert_eq!(config::reloadable_change(&paced, &other), Ok(()));
}

fn label() -> Geometry {
    Geometry { offset: 0, length: 1 << 30, block_size: 65536, atom: 4096, order: Order::Random, digest: Digest::Crc32c }
}

#[test]
fn a_key_that_contradicts_the_label_is_an_error_with_its_place() {
    let agreeing = bay3("length = \"1GiB\"\natom = 4096\norder = \"random\"").unwrap();
    assert_eq!(config::contradictions(&agreeing, &label()), []);
    let lines = "length = \"2GiB\"\norder = \"sequential\"\nverify.readback_lag = \"32KiB\"\nblock_size = 4096";
    let errors = config::contradictions(&bay3(lines).unwrap(), &label());
    assert_eq!(
        errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "scrubd.toml:3:10: target \"bay3\": length \"2GiB\" contradicts the label, which says \"1GiB\": leave the key out",
            "scrubd.toml:6:14: target \"bay3\": block_size \"4KiB\" contradicts the label, which says \"64KiB\": leave the key out",
            "scrubd.toml:4:9: target \"bay3\": order \"sequential\" contradicts the label, which says \"random\": leave the key out",
            "scrubd.toml:5:23: target \"bay3\": verify.readback_lag \"32KiB\" must be at least one block, 64KiB",
        ]
    );
}

#[test]
fn a_new_label_takes_what_is_said_and_defaults_for_the_rest() {
    let plain = config::geometry_for_init(&bay3("").unwrap(), (1 << 30) + 100, 4096).unwrap();
    assert_eq!(plain, label());
    let said = bay3("offset = \"1MiB\"\nblock_size = 4096\natom = 512\ndigest = \"blake3\"").unwrap();
    let said = config::geometry_for_init(&said, 1 << 30, 4096).unwrap();
    assert_eq!((said.offset, said.length, said.block_size, said.atom), (1 << 20, (1 << 30) - (1 << 20), 4096, 512));
    let refused =
        |line: &str, size: u64| config::geometry_for_init(&bay3(line).unwrap(), size, 4096).unwrap_err().to_string();
    assert!(refused("length = \"2GiB\"", 1 << 30).starts_with("scrubd.toml:3:10: target \"bay3\": length"));
    assert!(refused("offset = 512", 1 << 30).starts_with("scrubd.toml:3:10: target \"bay3\": offset"));
    let serial = with(&["[target.bay3]\nserial = \"S1\"\n"], &[]).unwrap();
    let small = config::geometry_for_init(&serial.targets["bay3"], 1 << 20, 4096).unwrap_err().to_string();
    assert!(small.starts_with("scrubd.toml:1:9: target \"bay3\": length 1048576 has room for no block"), "{small}");
    assert!(refused("offset = \"2GiB\"", 1 << 30).contains("has room for no block"));
}

#[test]
fn a_running_daemon_takes_what_can_change_and_names_what_cannot() {
    let old = bay3("").unwrap();
    let lines = "rate = \"1MiB/s\"\non_finding = \"continue\"\nflush_every = \"1s\"\ntrigger.file = \"/run/cut\"\n\
                 verify.retention = true\nverify.readback_lag = \"1MiB\"\nverify.rereads = 5\nverify.deadline = \"9s\"";
    assert_eq!(config::reloadable_change(&old, &bay3(lines).unwrap()), Ok(()));
    let new =
        bay3("promise = \"fua\"\nqueue_depth = 8\nseal.cpus = \"0\"\nblock_size = 4096\nrate = \"1MiB/s\"").unwrap();
    let refused = config::reloadable_change(&old, &new).unwrap_err();
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert_eq!(refused[1], "scrubd.toml:3:11: promise: \"flush\" is in use, \"fua\" needs a restart");
}

#[test]
fn an_ad_hoc_target_reads_no_configuration() {
    let ad_hoc = AdHoc { file: "disk.img".into(), size: Some(64 << 20) };
    let overrides = |sets: &[&str]| Overrides {
        sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        state_dir: Some("state".into()),
        target: None,
    };
    let settings = config::from_ad_hoc(&ad_hoc, &overrides(&["block_size=4KiB"]), &env()).unwrap();
    let target = settings.sole().unwrap();
    assert_eq!(target.path.as_deref(), Some(Path::new("/home/op/disk.img")));
    assert_eq!((target.length, target.block_size, target.ad_hoc), (Some(64 << 20), Some(4096), true));
    assert_eq!((target.name.as_str(), target.state_dir.as_path()), ("disk.img", Path::new("/home/op/state/disk.img")));
    assert_eq!(target.origins.of("length").to_string(), "--size");
    for (sets, hint) in [(["path=/x"], "given by --file"), (["length=5MiB"], "given by --size"), (["atom=3"], "atom 3")]
    {
        let errors = config::from_ad_hoc(&ad_hoc, &overrides(&sets), &env()).unwrap_err().to_string();
        assert!(errors.contains(hint), "{errors}");
    }
    let nameless = AdHoc { file: "/".into(), size: None };
    assert!(config::from_ad_hoc(&nameless, &overrides(&[]), &env()).unwrap_err().to_string().contains("names no file"));
}

fn load(source: &Source) -> Result<Settings, String> {
    config::load(source, &Overrides::default(), &|_| Ok(())).map_err(|errors| errors.to_string())
}

#[test]
fn files_are_read_in_their_order_and_a_missing_default_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::Directory(dir.path().to_owned());
    assert_eq!(load(&source).unwrap().targets.len(), 0);
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(dir.path().join("scrubd.toml"), "state_dir = \"/s\"\n[target.a]\npath = \"/a\"\n").unwrap();
    fs::write(dir.path().join("conf.d/20.toml"), "target.a.path = \"/c\"\n").unwrap();
    fs::write(dir.path().join("conf.d/10.toml"), "target.a.path = \"/b\"\n").unwrap();
    fs::write(dir.path().join("conf.d/30.toml~"), "garbage").unwrap();
    fs::write(dir.path().join("conf.d/.#30.toml"), "garbage").unwrap();
    let settings = load(&source).unwrap();
    assert_eq!(settings.sole().unwrap().path.as_deref(), Some(Path::new("/c")));
    let only = load(&Source::File(dir.path().join("conf.d/10.toml"))).unwrap();
    assert_eq!(only.sole().unwrap().path.as_deref(), Some(Path::new("/b")));
    let missing = load(&Source::File(dir.path().join("none.toml"))).unwrap_err();
    assert!(missing.contains("none.toml: cannot be read: No such file"), "{missing}");
}

#[test]
fn a_source_that_cannot_be_read_is_an_error_never_a_default() {
    let dir = tempfile::tempdir().unwrap();
    let (main, drop_in) = (dir.path().join("scrubd.toml"), dir.path().join("conf.d"));
    let source = Source::Directory(dir.path().to_owned());
    std::os::unix::fs::symlink("/nowhere/at/all", &main).unwrap();
    assert!(load(&source).unwrap_err().contains("cannot be read"), "a dangling link");
    fs::remove_file(&main).unwrap();
    fs::write(&drop_in, "").unwrap();
    assert!(load(&source).unwrap_err().contains("conf.d: cannot be read"), "no directory");
    fs::remove_file(&drop_in).unwrap();
    fs::write(&main, b"# fine\n# \xff\n").unwrap();
    assert!(load(&source).unwrap_err().contains("not UTF-8 in line 2"));
    fs::write(&main, vec![b'\n'; (1 << 20) + 1]).unwrap();
    assert!(load(&source).unwrap_err().contains("larger than 1 MiB"));
    fs::write(&main, "").unwrap();
    fs::set_permissions(&main, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may open everything; as another user for file access, this thread alone, it may not.
    let refused = std::thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        load(&source).unwrap_err()
    });
    assert!(refused.join().unwrap().contains("scrubd.toml: cannot be read: Permission denied"));
}

/// A valid value for some of the keys, as TOML.
fn some_keys() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let quote = |text: String| format!("\"{text}\"");
    let size = (1u64..1 << 20).prop_map(move |blocks| quote(config::format_size(blocks * 65536)));
    let time = (1u64..1 << 40).prop_map(move |ns| quote(config::format_duration(Duration::from_nanos(ns))));
    let cpus = proptest::collection::btree_set(0usize..8, 1..8)
        .prop_map(move |cpus| quote(config::format_cpus(&cpus.into_iter().collect::<Vec<_>>())));
    let text = "[a-zA-Z0-9 \\\\\"#\n\t=é]{1,12}".prop_map(|text| format!("{text:?}").replace("\\u{e9}", "é"));
    let words =
        |words: &'static [&'static str]| proptest::sample::select(words).prop_map(move |word| quote(word.into()));
    let strategies: Vec<(&'static str, BoxedStrategy<String>)> = vec![
        ("serial", "[a-z0-9 \\-]{1,12}z".prop_map(quote).boxed()),
        ("offset", size.clone().boxed()),
        ("length", (32u64..1 << 20).prop_map(move |blocks| (blocks * 65536).to_string()).boxed()),
        ("mode", words(&["burn-in", "powercut"]).boxed()),
        ("block_size", words(&["4KiB", "64KiB"]).boxed()),
        ("atom", words(&["512B", "4096", "device"]).boxed()),
        ("order", words(&["sequential", "random"]).boxed()),
        ("digest", words(&["crc32c", "blake3"]).boxed()),
        ("promise", words(&["flush", "fua", "ack"]).boxed()),
        ("flush_every", prop_oneof![size.clone(), time.clone()].boxed()),
        ("on_finding", words(&["stop", "continue", "trigger"]).boxed()),
        ("rate", size.clone().prop_map(|size| size.replace("B\"", "B/s\"")).boxed()),
        ("verify.retention", words(&["true", "false"]).prop_map(|word| word.replace('"', "")).boxed()),
        ("verify.readback_lag", size.boxed()),
        ("verify.cpus", cpus.boxed()),
        ("verify.on_start", words(&["after-cut", "window", "always"]).boxed()),
        ("trigger.signal", words(&["USR2", "RTMIN", "SIGRTMIN+9"]).boxed()),
        ("trigger.after", words(&["0s", "1s..2days", "90s"]).boxed()),
        ("trigger.writes", (1u64..1 << 60).prop_map(|n| n.to_string()).boxed()),
        ("trigger.command", text.prop_map(|text| format!("[\"/bin/true\", {text}]")).boxed()),
        ("trigger.io", words(&["continue", "hold", "drain", "flush"]).boxed()),
        ("trigger.then", words(&["exit", "resume"]).boxed()),
        ("trigger.timeout", time.boxed()),
    ];
    let each =
        strategies.into_iter().map(|(key, value)| proptest::option::of(value).prop_map(move |value| (key, value)));
    let each: Vec<_> = each.collect();
    each.prop_map(|keys| keys.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}

proptest! {
    #[test]
    fn what_is_shown_can_be_said_again(keys in some_keys()) {
        let lines: String = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let first = with(&[&format!("[target.bay3]\npath = \"/dev/sdb\"\n{lines}")], &[]).unwrap();
        let again = with(&[&config::to_toml(&first)], &[]).unwrap();
        prop_assert_eq!(&first.targets, &again.targets);
        prop_assert_eq!(config::reloadable_change(&first.targets["bay3"], &again.targets["bay3"]), Ok(()));
    }

    #[test]
    fn no_value_of_any_key_makes_validation_panic(key in 0..KEYS.len(), text in "\\PC*", near in "[0-9]{0,20}[.]?[a-zA-Z/\\-,]{0,4}") {
        for value in [text, near] {
            let _outcome = with(&["[target.a]\npath = \"/a\"\n"], &[&format!("{}={value}", KEYS[key].name)]);
        }
    }
}

/// Keys were told in the order of the schema, and files in that of the targets' names.
#[test]
fn errors_come_in_the_order_of_the_files_and_their_lines() {
    let main = "[target.bay3]\npath = 5\nverify.threads = \"x\"\nqueue_depth = 0\nrate = true\n";
    let errors = with(&[main, "[target.bay2]\npath = \"/dev/sdc\"\norder = 1\n"], &["mode=no"]).unwrap_err();
    let places: Vec<&str> = errors.iter().map(|error| error.split(": ").next().unwrap_or_default()).collect();
    let expected = ["scrubd.toml:2:8", "scrubd.toml:3:18", "scrubd.toml:4:15", "scrubd.toml:5:8", "conf.d/1.toml:3:9"];
    assert_eq!(places[..5], expected, "{errors:#?}");
    assert!(errors[5..].iter().all(|error| error.contains("--set")), "{errors:#?}");
}

#[test]
fn two_targets_that_mean_one_region_are_refused() {
    let two = |more: &str| format!("[target.a]\npath = \"/dev/sdb\"\n[target.b]\npath = \"/dev/sdb\"\n{more}");
    let errors = with(&[&two("")], &[]).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(
        errors[1].starts_with("scrubd.toml:4:8: target \"b\": path \"/dev/sdb\" must not be the one of target \"a\"")
    );
    assert!(with(&[&two("offset = \"1GiB\"\n")], &[]).is_ok(), "two regions of one disk");
    assert!(with(&[&two("serial = \"WX1\"\n")], &[]).is_ok(), "two disks that take turns in one bay");
}
