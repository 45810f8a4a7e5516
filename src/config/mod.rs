//! Settings: TOML → raw → validated, with file, line and column in every error.
