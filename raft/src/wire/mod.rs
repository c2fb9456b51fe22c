//! The bytes between two nodes, sans I/O: hello, frames and messages.
//!
//! **Invariant:** nothing here reads a socket, and nothing here trusts a length.

mod append;
mod canvass;
mod frame;
mod hello;
mod message;

pub(crate) use append::{AppendAnswer, AppendMessage};
pub(crate) use canvass::{Candidacy, Canvass, CanvassAnswer};
pub(crate) use frame::{Frame, FrameReader, HEADER_LEN, Kind, Outgoing, Role, Status};
pub(crate) use hello::{Hello, HelloAnswer, HelloRefusal, PROTOCOL_VERSION, Purpose};
pub(crate) use message::{
    Announcement, Beat, EndAnswer, SnapshotMessage, TransferAnswer, TransferMessage, VoteAnswer,
    VoteMessage,
};
