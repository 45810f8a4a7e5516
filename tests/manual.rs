//! The man pages of the commands and the shell completions are made from the very definition of the command line.
//! `SCRUBD_BLESS=1 cargo test --test manual` writes them anew; without it, a difference is a failure.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap_complete::{Shell, generate};
use clap_mangen::Man;
use scrubd::cli::args;

/// Fixed, so that a page changes only where the program does.
const DATE: &str = "December 2026";

fn packaging(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(below)
}

/// Behind what clap knows, on every page.
const EXIT_STATUS: &str = include_str!("../packaging/man/parts/exit-status.roff");

/// Behind what clap knows, on the page of the program.
const PROGRAM: &str = include_str!("../packaging/man/parts/scrubd.roff");

fn page(command: &clap::Command, name: &str) -> String {
    // clap takes names that live for ever; a dozen do.
    let name: &'static str = name.to_owned().leak();
    let command = command.clone().name(name).bin_name(name.replace('-', " ")).disable_help_subcommand(true);
    let man = Man::new(command).title(name.to_uppercase()).section("1").date(DATE).source("scrubd").manual("scrubd");
    let mut page = Vec::new();
    for part in [Man::render_title, Man::render_name_section, Man::render_synopsis_section] {
        part(&man, &mut page).unwrap();
    }
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    String::from_utf8(page).unwrap()
}

/// Every page by its file name: scrubd.1, and one for each subcommand, `scrubd-config-check.1` included.
fn pages() -> BTreeMap<String, String> {
    let mut program = args::definition();
    program.build();
    let mut pages = BTreeMap::new();
    let mut commands = String::from(".SH COMMANDS\n");
    let mut open: Vec<(String, &clap::Command)> = vec![("scrubd".to_owned(), &program)];
    while let Some((name, command)) = open.pop() {
        let subcommands = command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help");
        let below: Vec<_> = subcommands.map(|below| (format!("{name}-{}", below.get_name()), below)).collect();
        if below.is_empty() {
            let also = ".SH SEE ALSO\n\\fBscrubd\\fR(1), \\fBscrubd.toml\\fR(5), \\fBscrubd\\-recovery\\fR(7)\n";
            pages.insert(format!("{name}.1"), format!("{}{EXIT_STATUS}{also}", page(command, &name)));
        }
        open.extend(below);
    }
    for name in pages.keys() {
        let about = about(&program, name);
        let shown = name.trim_end_matches(".1").replace('-', "\\-");
        commands.push_str(&format!(".TP\n\\fB{shown}\\fR(1)\n{about}\n"));
    }
    pages.insert("scrubd.1".to_owned(), format!("{}{commands}{EXIT_STATUS}{PROGRAM}", page(&program, "scrubd")));
    pages
}

fn about(program: &clap::Command, file: &str) -> String {
    let words = file.trim_end_matches(".1").split('-').skip(1);
    let command = words.fold(program, |command, word| command.find_subcommand(word).unwrap());
    command.get_about().unwrap().to_string()
}

fn completions() -> BTreeMap<String, String> {
    let shells = [(Shell::Bash, "scrubd.bash"), (Shell::Zsh, "_scrubd"), (Shell::Fish, "scrubd.fish")];
    let of = |(shell, file): (Shell, &str)| {
        let mut script = Vec::new();
        generate(shell, &mut args::definition(), "scrubd", &mut script);
        (file.to_owned(), String::from_utf8(script).unwrap())
    };
    shells.into_iter().map(of).collect()
}

/// What is there must be what is made, and nothing else of its kind may be there.
fn compare(directory: &str, made: &BTreeMap<String, String>, ours: impl Fn(&str) -> bool) {
    let directory = packaging(directory);
    if std::env::var_os("SCRUBD_BLESS").is_some() {
        made.iter().for_each(|(name, text)| fs::write(directory.join(name), text).unwrap());
    }
    for (name, text) in made {
        let there = fs::read_to_string(directory.join(name)).unwrap_or_default();
        assert!(there == *text, "{name} is not what the program says: SCRUBD_BLESS=1 cargo test --test manual");
    }
    for entry in fs::read_dir(&directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!ours(&name) || made.contains_key(&name), "{name} is of no command that there is");
    }
}

#[test]
fn every_command_has_a_page_that_says_what_the_program_says() {
    let pages = pages();
    for name in ["scrubd.1", "scrubd-run.1", "scrubd-release.1", "scrubd-config-check.1", "scrubd-quarantine-clear.1"] {
        assert!(pages.contains_key(name), "{name} in {:?}", pages.keys());
    }
    compare("man", &pages, |name| name.ends_with(".1"));
}

#[test]
fn the_completions_complete_what_the_program_takes() {
    let completions = completions();
    assert!(completions["scrubd.bash"].contains("--state-dir") && completions["scrubd.fish"].contains("quarantine"));
    compare("completions", &completions, |_| true);
}

/// Names that pages give must be pages that are there, or other projects'.
#[test]
fn the_pages_refer_to_pages_that_exist() {
    let ours: Vec<String> =
        fs::read_dir(packaging("man")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    for file in ours.iter().filter(|file| file.starts_with("scrubd")) {
        let text = fs::read_to_string(packaging("man").join(file)).unwrap().replace("\\-", "-").replace("\\fR", "");
        for word in
            text.split(|c: char| c.is_whitespace() || "\\,".contains(c)).filter(|word| word.starts_with("scrubd"))
        {
            let Some((name, section)) = word.split_once('(') else { continue };
            let Some((section, _)) = section.split_once(')') else { continue };
            let wanted = format!("{name}.{section}");
            assert!(ours.contains(&wanted), "{file} refers to {word}, and there is no {wanted}");
        }
    }
}
