//! The control plane: triggers, signals, systemd, checkpoints, control socket.
