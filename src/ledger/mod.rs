//! What the disk has promised: frontiers, window, epochs, legal set, slots; and a thin store.
