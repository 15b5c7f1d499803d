//! Ports of the kernel's choice that outlive a restart of the runtime.
//!
//! Between two runs nothing listens, and the kernel could give the port to any connection of the machine.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpSocket;

use super::ReplicationError;

/// Keeps its port from being chosen for others while it lives, and listens to nothing.
pub(super) struct Placeholder {
    _socket: TcpSocket,
}

/// Chooses a port for each address that has none, and keeps it.
pub(super) fn choose(addresses: &mut [SocketAddr]) -> Result<Vec<Placeholder>, ReplicationError> {
    let open = addresses.iter_mut().filter(|address| address.port() == 0);
    open.map(|address| {
        let asked = *address;
        bind(address).map_err(|source| ReplicationError::Listen { address: asked, source })
    })
    .collect()
}

fn bind(address: &mut SocketAddr) -> io::Result<Placeholder> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // the runtime's listener sets it too: then both may have the port as long as one alone listens
    socket.set_reuseaddr(true)?;
    socket.bind(*address)?;
    *address = socket.local_addr()?;
    Ok(Placeholder { _socket: socket })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// It can be listened on again and again, and meanwhile no other socket is given it.
    #[test]
    fn a_kept_port_can_be_listened_on_again() {
        let mut addresses = vec!["127.0.0.1:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
        let kept = choose(&mut addresses).unwrap();
        assert_ne!(addresses[0], addresses[1]);
        for _ in 0..2 {
            let listener = TcpListener::bind(addresses[0]).unwrap();
            let client = TcpStream::connect(addresses[0]).unwrap();
            assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
        }
        let strict = TcpSocket::new_v4().unwrap();
        assert!(strict.bind(addresses[1]).is_err());
        drop(kept);
        strict.bind(addresses[1]).unwrap();
    }
}
