//! Users and groups of this machine, by name or number (passwd(5), group(5)).

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
    /// The numbers of all groups, that one too.
    pub groups: Vec<u32>,
}

/// The user of that name or number, with its group and all groups that it is in. A number need not have a name: its
/// group is then the one of the same number.
pub fn account(user: &str) -> io::Result<Account> {
    let name = c_string(user)?;
    let found = match entry(|record, buffer, size, found| {
        // SAFETY: the name ends with a NUL; `entry` answers for the rest.
        unsafe { libc::getpwnam_r(name.as_ptr(), record, buffer, size, found) }
    })? {
        Some(found) => Some(found),
        None => match user.parse::<u32>() {
            Ok(number) => entry(|record, buffer, size, found| {
                // SAFETY: as above.
                unsafe { libc::getpwuid_r(number, record, buffer, size, found) }
            })?
            .or(Some((number, number, None))),
            Err(_) => None,
        },
    };
    let Some((user_number, group, name)) = found else {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no user {user:?}")));
    };
    let groups = match name {
        Some(name) => groups_of(&name, group),
        None => vec![group],
    };
    Ok(Account { user: user_number, group, groups })
}

/// The number of the user that this process acts as (geteuid(2)).
pub fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Who is meant by the name or number of a user, of a group, or of both; `None`: nobody in particular. A group takes
/// the place of the user's own; without a user the present one is meant, in that group alone.
pub fn meant(user: Option<&str>, group: Option<&str>) -> io::Result<Option<Account>> {
    let number = group.map(self::group).transpose()?;
    let mut account = match (user, number) {
        (Some(user), _) => account(user)?,
        (None, Some(group)) => Account { user: own(), group, groups: Vec::new() },
        (None, None) => return Ok(None),
    };
    if let Some(group) = number {
        account.group = group;
        if !account.groups.contains(&group) {
            account.groups.push(group);
        }
    }
    Ok(Some(account))
}

/// Makes this process run as `account` for good: user, group and further groups, real, effective and saved. To be
/// called by root, before there are other threads. The kernel forgets [the signal on the parent's
/// death](crate::process::signal_on_parent_death), and this process may still write a core dump.
pub fn become_account(account: &Account) -> io::Result<()> {
    // SAFETY: the list is as long as said and lives through the call; the others take numbers. The C library changes
    // all threads alike.
    let done = unsafe {
        libc::setgroups(account.groups.len(), account.groups.as_ptr()) == 0
            && libc::setresgid(account.group, account.group, account.group) == 0
            && libc::setresuid(account.user, account.user, account.user) == 0
    };
    if !done {
        return Err(io::Error::last_os_error());
    }
    // What the process holds was meant for it: it is no set-user-ID program.
    // SAFETY: this option takes no pointer.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
    Ok(())
}

/// The number of the group of that name or number.
pub fn group(group: &str) -> io::Result<u32> {
    let name = c_string(group)?;
    let mut buffer: Vec<libc::c_char> = vec![0; 1024];
    loop {
        let mut record = MaybeUninit::<libc::group>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: the name ends with a NUL, the buffer is as long as said, and all live through the call.
        let error = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                record.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        if error == libc::ERANGE && buffer.len() < LARGEST {
            buffer.resize(buffer.len() * 4, 0);
        } else if !found.is_null() {
            // SAFETY: the call has found something and filled the record.
            return Ok(unsafe { record.assume_init_ref() }.gr_gid);
        } else {
            return group.parse().map_err(|_| {
                io::Error::new(io::ErrorKind::NotFound, format!("there is no group {group:?}"))
            });
        }
    }
}

/// An entry of a directory service may be large, but not endlessly.
const LARGEST: usize = 1 << 20;

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a name has no NUL character"))
}

type Found = Option<(u32, u32, Option<CString>)>;

/// User, group and name, as `look` finds them: one of the functions of getpwnam(3), given the record, the buffer with
/// its size, and where to say what was found.
fn entry(
    look: impl Fn(*mut libc::passwd, *mut libc::c_char, usize, *mut *mut libc::passwd) -> libc::c_int,
) -> io::Result<Found> {
    let mut buffer: Vec<libc::c_char> = vec![0; 1024];
    loop {
        let mut record = MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        let error = look(record.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found);
        if error == libc::ERANGE && buffer.len() < LARGEST {
            buffer.resize(buffer.len() * 4, 0);
            continue;
        }
        if found.is_null() {
            // What "not there" is called differs between the services (getpwnam(3)).
            return match error {
                libc::EIO | libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ERANGE => {
                    Err(io::Error::from_raw_os_error(error))
                }
                _ => Ok(None),
            };
        }
        // SAFETY: the call has found something and filled the record, whose name stands in the buffer.
        let record = unsafe { record.assume_init_ref() };
        // SAFETY: as above.
        let name = unsafe { CStr::from_ptr(record.pw_name) }.to_owned();
        return Ok(Some((record.pw_uid, record.pw_gid, Some(name))));
    }
}

/// All groups of a user, its own first (getgrouplist(3)).
fn groups_of(name: &CStr, group: u32) -> Vec<u32> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut count = groups.len() as libc::c_int;
        // SAFETY: the name ends with a NUL, and the list has room for `count` numbers.
        let all =
            unsafe { libc::getgrouplist(name.as_ptr(), group, groups.as_mut_ptr(), &raw mut count) } >= 0;
        if all || groups.len() >= LARGEST {
            groups.truncate(usize::try_from(count).unwrap_or(0));
            return groups;
        }
        groups.resize(groups.len() * 4, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let root = account("root").unwrap();
        assert_eq!((root.user, root.group), (0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(account("0").unwrap(), root);
        assert_eq!(group("root").unwrap(), 0);
        assert_eq!(group("0").unwrap(), 0);
    }

    #[test]
    fn a_group_takes_the_place_of_the_users_own() {
        let numbers = |user, group| {
            let meant = meant(user, group).unwrap();
            meant.map(|account| (account.user, account.group, account.groups.contains(&account.group)))
        };
        assert_eq!(numbers(None, None), None);
        assert_eq!(numbers(Some("3999999"), None), Some((3_999_999, 3_999_999, true)));
        assert_eq!(numbers(Some("3999999"), Some("7")), Some((3_999_999, 7, true)));
        assert_eq!(numbers(None, Some("7")), Some((own(), 7, true)));
        assert!(meant(Some("no such user"), None).is_err() && meant(None, Some("no such group")).is_err());
    }

    #[test]
    fn a_number_without_a_name_is_a_user_and_a_name_without_an_entry_is_none() {
        let nobody = Account { user: 3_999_999, group: 3_999_999, groups: vec![3_999_999] };
        assert_eq!(account("3999999").unwrap(), nobody);
        assert_eq!(group("3999999").unwrap(), 3_999_999);
        for bad in ["", "no such user", "a\0b", "-1", "4294967296"] {
            assert!(account(bad).is_err(), "{bad:?}");
            assert!(group(bad).is_err(), "{bad:?}");
        }
    }
}
