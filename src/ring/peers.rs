//! Where the kernel writes the addresses of the peers it accepts: one place for each accept in flight of a listener.
//!
//! Home: one shard. Maps memory: in the constructor only.
//! Invariant: a place belongs to the kernel from the submission of its accept until that accept's completion was reaped.

use std::net::SocketAddr;
use std::ptr::NonNull;

use nix::libc;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use super::buffers::Region;

/// Accepts in flight of one listener at most, and so what a turn accepts of a burst before the open connections have
/// their turn again. Each waiting accept costs the kernel a request and keeps a slot; one word holds a bit for each.
pub(super) const PLACES: u32 = u64::BITS;

/// What an accept is given to write to.
#[repr(C)]
struct Place {
    address: libc::sockaddr_storage,
    /// Before: the bytes there are for the address. After: the bytes it has.
    length_bytes: libc::socklen_t,
}

/// Places for the accepts of one listener.
pub(super) struct PeerAddresses {
    places: Region,
}

impl PeerAddresses {
    pub(super) fn new() -> PeerAddresses {
        PeerAddresses { places: Region::new(PLACES as usize * size_of::<Place>()) }
    }

    /// For the kernel: where it finds room for an address, and for that address's length.
    ///
    /// # Safety
    /// No accept in flight was given this place.
    pub(super) unsafe fn prepare(&mut self, place: u32) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        #[expect(clippy::cast_possible_truncation, reason = "128 bytes")]
        const ROOM_BYTES: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        let place = self.at(place).as_ptr();
        // SAFETY: inside the region, which is aligned to a page and zeroed, so a valid place; the kernel has no hold of it
        // (the caller's promise).
        unsafe {
            (*place).length_bytes = ROOM_BYTES;
            ((&raw mut (*place).address).cast(), &raw mut (*place).length_bytes)
        }
    }

    /// The address in a place, unless it is of a family other than IP.
    ///
    /// # Safety
    /// The accept that was given this place succeeded, its completion was reaped, and the place was not given to another.
    pub(super) unsafe fn peer(&self, place: u32) -> Option<SocketAddr> {
        let place = self.at(place).as_ptr();
        // SAFETY: inside the region; written by the kernel, which is done with it (the caller's promise). `from_raw`
        // refuses a length beyond the room there is.
        let address = unsafe {
            SockaddrStorage::from_raw((&raw const (*place).address).cast(), Some((*place).length_bytes))
        };
        socket_address(&address?)
    }

    fn at(&self, place: u32) -> NonNull<Place> {
        assert!(place < PLACES, "a place of this listener");
        self.places.at(place as usize * size_of::<Place>()).cast()
    }
}

/// An address as the standard library has it, unless it is of a family other than IP.
pub(super) fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(SocketAddr::V4((*v4).into())),
        (None, Some(v6)) => Some(SocketAddr::V6((*v6).into())),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does what the kernel does: writes the address, and its whole length whether or not it fits.
    fn write(peers: &mut PeerAddresses, place: u32, address: &dyn SockaddrLike, length_bytes: u32) {
        // SAFETY: no kernel knows of these places, and no address is longer than the room for it.
        unsafe {
            let (room, length) = peers.prepare(place);
            assert_eq!(*length, 128);
            std::ptr::copy_nonoverlapping(
                address.as_ptr().cast::<u8>(),
                room.cast::<u8>(),
                address.len() as usize,
            );
            *length = length_bytes;
        }
    }

    fn check(address: &str) {
        let address: SocketAddr = address.parse().unwrap();
        let mut peers = PeerAddresses::new();
        let written = SockaddrStorage::from(address);
        for place in 0..PLACES {
            write(&mut peers, place, &written, written.len());
        }
        for place in 0..PLACES {
            // SAFETY: written just now, by nobody else.
            assert_eq!(unsafe { peers.peer(place) }, Some(address));
        }
    }

    #[test]
    fn addresses_of_both_versions_come_back_whole() {
        check("192.0.2.7:65535");
        check("[2001:db8::7]:1");
        check("[::ffff:192.0.2.7]:443");
    }

    #[test]
    fn what_is_no_ip_address_is_none() {
        let mut peers = PeerAddresses::new();
        let unix = nix::sys::socket::UnixAddr::new("socket").unwrap();
        write(&mut peers, 3, &unix, unix.len());
        // SAFETY: as above.
        assert_eq!(unsafe { peers.peer(3) }, None);
        for length_bytes in [0, 1, 4096] {
            let address = SockaddrStorage::from(SocketAddr::from(([192, 0, 2, 7], 1)));
            write(&mut peers, 4, &address, length_bytes);
            // SAFETY: as above.
            assert_eq!(unsafe { peers.peer(4) }, None);
        }
    }
}
