//! Real peers: the gateway in front of three of Debian's `docker-registry`, used by skopeo, by crane, and byte for byte.
//!
//! Without a network: the images are made here. When a program is not installed, the tests that need it say so and pass;
//! with `CI=true` they fail. `tests/run` installs them. `ONEZOT_LONG=1` asks for more of everything, and
//! `ONEZOT_BLOB_MIB` for another size of the big blob.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod real;
