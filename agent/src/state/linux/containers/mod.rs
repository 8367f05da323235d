//! Owns the tables of containers, from the files of their engines; refuses to ask an engine.

mod docker;

pub(super) use docker::TABLE as DOCKER_CONTAINERS;
