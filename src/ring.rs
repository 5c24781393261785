//! The net ring.
