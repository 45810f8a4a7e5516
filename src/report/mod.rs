//! Findings, event log, status and verdict, as JSON and as text.
