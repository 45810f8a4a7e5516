//! Settings: TOML → raw → validated, with file, line and column in every error.
//!
//! ```text
//! load: files ──▶ fragments: entries with places ──▶ inputs: merged ──▶ validate: settings
//! ```
//!
//! Sources in their order, later ones overriding single keys: `/etc/scrubd/scrubd.toml`, `/etc/scrubd/conf.d/*.toml` by
//! name (or `--config FILE` alone), then `--set KEY=VALUE`. [`keys::KEYS`] is the schema and the only place that names a
//! default. All errors are reported, not just the first.

mod accept;
mod ad_hoc;
mod choices;
mod cpus;
mod durations;
mod error;
mod fragments;
mod geometry;
mod inputs;
pub mod keys;
mod load;
mod reader;
mod reload;
mod settings;
mod settle;
mod show;
mod sizes;
mod validate;
mod value;

pub use ad_hoc::{AdHoc, name_of_file};
pub use cpus::{format_cpus, parse_cpus};
pub use durations::{format_after, format_duration, parse_after, parse_duration};
pub use error::{ConfigError, ConfigErrors, Origin};
pub use geometry::{INIT_BLOCK_SIZE, INIT_DIGEST, INIT_ORDER, contradictions, geometry_for_init};
pub use load::{SYSTEM_DIRECTORY, Source, default_state_dir, load};
pub use reload::reloadable_change;
pub use settings::{
    After, FlushEvery, Mode, OnFinding, OnStart, Origins, SealSettings, Settings, TargetSettings, TriggerIo,
    TriggerSettings, TriggerSignal, TriggerThen, VerifySettings,
};
pub use settle::{Overrides, Text, from_ad_hoc, from_texts};
pub use show::{Shown, shown, to_toml};
pub use sizes::{format_rate, format_size, parse_rate, parse_size};
pub use validate::{Environment, meaningless_on_patrol};
