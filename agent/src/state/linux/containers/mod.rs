//! Owns the tables of containers, from the files of their engines; refuses to ask an engine.

mod docker;
mod engines;
mod pods;

pub(super) use docker::TABLE as DOCKER_CONTAINERS;
pub(super) use engines::TABLE as CONTAINERS;
pub(super) use pods::TABLE as KUBERNETES_PODS;
