//! What the edge does to clients, right ones and wrong ones.
