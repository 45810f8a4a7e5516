//! The thin binary: everything is in the library, where it can be tested.

fn main() -> std::process::ExitCode {
    scrubd::cli::main()
}
