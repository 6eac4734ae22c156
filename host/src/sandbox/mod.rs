//! The surroundings of the sandbox: deadlines, the layer's streams, files, the operating system's
//! walls.

pub mod deadline;
pub mod files;
pub mod standard_streams;
pub mod walls;
