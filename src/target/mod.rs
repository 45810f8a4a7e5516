//! The device or file under test: open it, guard it, identify it, label it.
