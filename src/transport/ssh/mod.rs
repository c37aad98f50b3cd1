//! Targets over ssh2.
