//! The server beside the reference that knows nothing but lists: any bytes are a history of operations, and after each one
//! server, workers' tables and reference agree (`proto::turn::model`).

use crate::proto::turn::model;

pub(super) fn body(input: &[u8]) {
    if let Err(violation) = model::run_bytes(input) {
        panic!("{violation}");
    }
}
