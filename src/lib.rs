//! upgrade-host takes live servers through risky maintenance.
