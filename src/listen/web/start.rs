//! The thread of the web, and the door to it.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;

use rustix::process::nice;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::task::spawn_local;

use crate::net::Channel;
use crate::net::Place;
use crate::net::Places;
use crate::proto::types::limits;
use crate::proto::wire::proxy::Ends;

use super::Web;
use super::WebStats;
use super::guest;
use super::guest::Guest;
use super::stats::Errand;

/// How much the thread gives way to all others of this process.
const NICE: i32 = 5;

/// The way to the thread of the web. The thread ends when the door is dropped, and with it what it carries.
#[derive(Debug)]
pub(in crate::listen) struct Door {
    guests: mpsc::Sender<Box<Guest>>,
    places: RefCell<Places>,
}

/// Starts the thread.
///
/// # Errors
/// What the kernel says when there can be none.
pub(in crate::listen) fn start(
    config: Web,
    hash_seeds: [u64; 4],
    stats: Arc<WebStats>,
) -> io::Result<(Door, JoinHandle<()>)> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let total = config.total.max(1);
    // Whoever is in the queue has a place, so the queue is never full.
    let (guests, mut coming) = mpsc::channel::<Box<Guest>>(total as usize);
    let thread = thread::Builder::new().name("web".to_owned()).spawn(move || {
        // Where this is refused the kernel shares its time among all alike.
        let _ = nice(NICE);
        let config = Rc::new(config);
        LocalSet::new().block_on(&runtime, async move {
            while let Some(guest) = coming.recv().await {
                spawn_local(guest::attend(Rc::clone(&config), Arc::clone(&stats), guest));
            }
        });
    })?;
    let of_one_source = (total / limits::WEB_PART_OF_ONE_SOURCE).max(1);
    let places = RefCell::new(Places::new(total, of_one_source, hash_seeds));
    Ok((Door { guests, places }, thread))
}

impl Door {
    /// A place among the visitors of web sites; `None` if there is none for `client`.
    pub(in crate::listen) fn place(&self, client: IpAddr) -> Option<Place> {
        self.places.borrow_mut().take(client).ok()
    }

    /// Sends a connection through, with its place among all connections and that among these; `false` if nobody is there
    /// to take it.
    pub(in crate::listen) fn admit(
        &self,
        (channel, unread): (Channel, Vec<u8>),
        ends: Ends,
        errand: Errand,
        places: (Place, Place),
    ) -> bool {
        self.guests.try_send(Box::new(Guest { channel, unread, ends, errand, places })).is_ok()
    }
}
