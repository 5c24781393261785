//! The runtime seam.
