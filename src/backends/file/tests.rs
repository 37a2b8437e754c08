//! Tests of the file backend.
