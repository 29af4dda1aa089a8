//! The simulation of itself.

use super::*;
