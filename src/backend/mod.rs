//! Where data and orders come from and go to. Add a backend: a folder here and one line in this file.
