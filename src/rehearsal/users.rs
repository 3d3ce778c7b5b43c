//! Who has signed in, on which connections, and who watches whom. Pure; owned by the hub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::hub::Conn;

/// Most ids that a user may watch (Channels docs: watchlist events).
pub const WATCHLIST_MAX: usize = 100;

/// A connection's sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// The user's id.
    pub id: Arc<str>,
    /// Whom the user watches: at most [`WATCHLIST_MAX`].
    pub watchlist: Vec<Arc<str>>,
    /// Whether the list was longer.
    pub cut: bool,
    /// The user data as it was signed.
    pub user_data: String,
}

impl SignIn {
    /// Reads the user data of a sign-in; `None` without an id.
    pub fn parse(user_data: String) -> Option<Self> {
        #[derive(Deserialize)]
        struct Wire {
            id: String,
            #[serde(default)]
            watchlist: Vec<String>,
        }
        let Wire { id, watchlist } = serde_json::from_str(&user_data).ok()?;
        if id.is_empty() {
            return None;
        }
        let cut = watchlist.len() > WATCHLIST_MAX;
        let watchlist = watchlist.into_iter().take(WATCHLIST_MAX).map(Arc::from).collect();
        Some(Self { id: id.into(), watchlist, cut, user_data })
    }
}

/// All users of an app that have signed in, and their watchers.
#[derive(Default)]
pub struct Users {
    online: BTreeMap<Arc<str>, BTreeSet<Conn>>,
    watchers: BTreeMap<Arc<str>, BTreeSet<Conn>>,
}

impl Users {
    /// Takes a connection's sign-in; says whether the user came online with it.
    pub fn enter(&mut self, conn: Conn, sign_in: &SignIn) -> bool {
        for watched in &sign_in.watchlist {
            self.watchers.entry(Arc::clone(watched)).or_default().insert(conn);
        }
        let connections = self.online.entry(Arc::clone(&sign_in.id)).or_default();
        connections.insert(conn) && connections.len() == 1
    }

    /// Forgets a connection's sign-in; says whether the user went offline with it.
    pub fn leave(&mut self, conn: Conn, sign_in: &SignIn) -> bool {
        for watched in &sign_in.watchlist {
            remove(&mut self.watchers, watched, conn);
        }
        remove(&mut self.online, &sign_in.id, conn)
    }

    /// Whether the user is signed in on any connection.
    pub fn is_online(&self, id: &str) -> bool {
        self.online.contains_key(id)
    }

    /// The connections that the user is signed in on.
    pub fn connections(&self, id: &str) -> Vec<Conn> {
        self.online.get(id).into_iter().flatten().copied().collect()
    }

    /// The connections whose users watch this one.
    pub fn watchers(&self, id: &str) -> Vec<Conn> {
        self.watchers.get(id).into_iter().flatten().copied().collect()
    }
}

/// Removes a connection from a set, and the set with its last one; says whether that was so.
fn remove(map: &mut BTreeMap<Arc<str>, BTreeSet<Conn>>, key: &Arc<str>, conn: Conn) -> bool {
    let Some(set) = map.get_mut(key) else { return false };
    let emptied = set.remove(&conn) && set.is_empty();
    if emptied {
        map.remove(key);
    }
    emptied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign_in(text: &str) -> SignIn {
        SignIn::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn a_user_is_online_from_the_first_connection_to_the_last() {
        let mut users = Users::default();
        let a = sign_in(r#"{"id":"a","watchlist":["b"]}"#);
        assert!(users.enter(Conn(1), &a));
        assert!(!users.enter(Conn(2), &a));
        assert!(!users.enter(Conn(2), &a));
        assert_eq!(users.watchers("b"), [Conn(1), Conn(2)]);
        assert!(!users.leave(Conn(1), &a));
        assert!(users.is_online("a"));
        assert!(users.leave(Conn(2), &a));
        assert!(!users.is_online("a"));
        assert!(users.watchers("b").is_empty());
    }

    #[test]
    fn a_long_watchlist_is_cut_and_a_user_without_an_id_refused() {
        let ids: Vec<_> = (0..101).map(|i| format!("\"{i}\"")).collect();
        let long = sign_in(&format!(r#"{{"id":"a","watchlist":[{}]}}"#, ids.join(",")));
        assert_eq!((long.watchlist.len(), long.cut), (100, true));
        for bad in ["", "{}", r#"{"id":""}"#, r#"{"id":7}"#] {
            assert_eq!(SignIn::parse(bad.to_owned()), None, "{bad}");
        }
    }
}
