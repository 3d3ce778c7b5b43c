//! What stands between a server and its clients, and can be shut: nothing is read from the server
//! then, and nobody is told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use rustix::net::sockopt::set_socket_recv_buffer_size;

/// What waits on this side of a shut valve: the rest waits in the server.
const WAITS_HERE: usize = 64 << 10;

/// See the module's documentation.
pub struct Valve {
    /// Where clients connect.
    pub port: u16,
    state: Arc<(Mutex<bool>, Condvar)>,
}

impl Valve {
    /// An open one before a server on this port.
    pub fn before(port: u16) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(text)?;
        let valve = listener.local_addr().map_err(text)?.port();
        let state = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let _ = set_socket_recv_buffer_size(&server, WAITS_HERE);
                let (Ok(to_client), Ok(to_server)) = (client.try_clone(), server.try_clone())
                else {
                    continue;
                };
                let state = Arc::clone(&shared);
                thread::spawn(move || carry(server, to_client, Some(&state)));
                thread::spawn(move || carry(client, to_server, None));
            }
        });
        Ok(Self { port: valve, state })
    }

    /// Shuts it, or opens it again.
    pub fn shut(&self, is_shut: bool) {
        let (state, changed) = &*self.state;
        *state.lock().unwrap_or_else(PoisonError::into_inner) = is_shut;
        changed.notify_all();
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, valve: Option<&(Mutex<bool>, Condvar)>) {
    let mut chunk = [0; 1 << 14];
    loop {
        if let Some((state, changed)) = valve {
            let shut = state.lock().unwrap_or_else(PoisonError::into_inner);
            drop(changed.wait_while(shut, |shut| *shut));
        }
        let count = from.read(&mut chunk).unwrap_or(0);
        let sent = chunk.get(..count).is_some_and(|bytes| to.write_all(bytes).is_ok());
        if count == 0 || !sent {
            // However one side ends, the other is to see its end.
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            return;
        }
    }
}
