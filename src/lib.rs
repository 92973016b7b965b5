//! gale.
