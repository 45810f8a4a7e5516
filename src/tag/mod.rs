//! What every atom says about itself: format, payload, seal, inspect. Pure.
