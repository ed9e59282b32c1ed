//! The calls of libc that std has no word for. Every `unsafe` of this program is here.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

pub const SIGHUP: i32 = libc::SIGHUP;
pub const SIGINT: i32 = libc::SIGINT;
pub const SIGQUIT: i32 = libc::SIGQUIT;
pub const SIGTERM: i32 = libc::SIGTERM;
pub const SIGKILL: i32 = libc::SIGKILL;
pub const SIGCHLD: i32 = libc::SIGCHLD;

const HANDLED: [i32; 5] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD];

/// What is asked of a descriptor, and what came of it.
#[derive(Clone, Copy, Default)]
pub struct Interest {
    pub read: bool,
    pub write: bool,
}

/// Waits until one of them is ready, or the time is over. One that is asked for nothing is left out, because the kernel would
/// report its hang-up again and again. An error or a hang-up counts as ready for whatever was asked: the next call tells.
pub fn poll<const N: usize>(
    asked: [(Option<BorrowedFd<'_>>, Interest); N],
    most: Option<Duration>,
) -> io::Result<[Interest; N]> {
    let mut fds = asked.map(|(fd, interest)| {
        let events = if interest.read { libc::POLLIN } else { 0 } | if interest.write { libc::POLLOUT } else { 0 };
        let fd = fd.filter(|_| events != 0).map_or(-1, |fd| fd.as_raw_fd());
        libc::pollfd { fd, events, revents: 0 }
    });
    // Rounded up, so as not to turn in place during the last millisecond.
    let millis = most.map_or(-1, |most| i32::try_from(most.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
    #[expect(unsafe_code, reason = "the array outlives the call, and its length is passed along")]
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), N as libc::nfds_t, millis) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
        fds.iter_mut().for_each(|fd| fd.revents = 0);
    }
    let troubled = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;
    Ok(fds.map(|fd| Interest {
        read: fd.events & libc::POLLIN != 0 && fd.revents & (libc::POLLIN | troubled) != 0,
        write: fd.events & libc::POLLOUT != 0 && fd.revents & (libc::POLLOUT | troubled) != 0,
    }))
}

pub fn nonblocking(file: &File) -> io::Result<()> {
    #[expect(unsafe_code, reason = "flags of a descriptor that is open as long as the file is borrowed")]
    unsafe {
        let flags = checked(libc::fcntl(file.as_raw_fd(), libc::F_GETFL))?;
        checked(libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK))?;
    }
    Ok(())
}

/// Asks for a larger pipe; it does not matter when there is none.
pub fn widen(pipe: &File, bytes: i32) {
    #[expect(unsafe_code, reason = "a size of a descriptor that is open as long as the file is borrowed")]
    unsafe {
        libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes);
    }
}

/// Signals as something to read. From here on they arrive nowhere else.
pub fn signals() -> io::Result<File> {
    #[expect(unsafe_code, reason = "the set is initialised by sigemptyset before it is read; the descriptor is ours")]
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in HANDLED {
            libc::sigaddset(&mut set, signal);
        }
        checked(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()))?;
        let fd = checked(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(owned(fd).into())
    }
}

/// The next signal that arrived, if one did.
pub fn next_signal(signals: &File) -> Option<i32> {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    let read = io::Read::read(&mut &*signals, &mut info).ok()?;
    let number = info[..read].first_chunk()?;
    i32::try_from(u32::from_ne_bytes(*number)).ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Code(i32),
    Signal(i32),
}

/// A child that ended, and is now gone for good.
pub fn reap() -> Option<(u32, Ended)> {
    let mut status = 0;
    #[expect(unsafe_code, reason = "writes into one integer that outlives the call")]
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    let pid = u32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    let ended = if libc::WIFSIGNALED(status) {
        Ended::Signal(libc::WTERMSIG(status))
    } else {
        Ended::Code(libc::WEXITSTATUS(status))
    };
    Some((pid, ended))
}

pub fn kill(pid: u32, signal: i32) {
    send(i32::try_from(pid).unwrap_or_default(), signal);
}

pub fn kill_group(pid: u32, signal: i32) {
    send(i32::try_from(pid).map_or(0, |pid| -pid), signal);
}

fn send(target: i32, signal: i32) {
    // 0 and -1 would be our own group and everybody.
    if target == 0 || target == -1 || target == 1 {
        return;
    }
    #[expect(unsafe_code, reason = "no memory is touched")]
    unsafe {
        libc::kill(target, signal);
    }
}

/// Children of children that lose their parent become ours, so that none is left a zombie or forgotten.
pub fn become_subreaper() -> io::Result<()> {
    #[expect(unsafe_code, reason = "no memory is touched")]
    unsafe {
        checked(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)).map(drop)
    }
}

/// The agent may have our uid: this keeps it from reading our memory and from writing into our descriptors through /proc.
pub fn close_to_others() -> io::Result<()> {
    #[expect(unsafe_code, reason = "no memory is touched")]
    unsafe {
        checked(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0)).map(drop)
    }
}

/// A session of our own, so that neither Ctrl-C nor the end of the daemon's session reaches us.
pub fn own_session() -> io::Result<()> {
    #[expect(unsafe_code, reason = "no memory is touched")]
    unsafe {
        if libc::getsid(0) == libc::getpid() {
            return Ok(());
        }
        checked(libc::setsid()).map(drop)
    }
}

/// Sets the mask for new files, and gives the one before.
pub fn umask(mask: u32) -> u32 {
    #[expect(unsafe_code, reason = "no memory is touched, and it cannot fail")]
    unsafe {
        libc::umask(mask)
    }
}

/// A file without a name, in memory.
pub fn file_in_memory() -> io::Result<File> {
    #[expect(unsafe_code, reason = "the name is a constant that ends in zero; the descriptor is ours")]
    unsafe {
        let fd = checked(libc::memfd_create(c"kanvoy-keeper".as_ptr(), libc::MFD_CLOEXEC))?;
        Ok(owned(fd).into())
    }
}

/// In a group of its own, with no signal blocked, and killed when the keeper dies: an agent whose lines nobody keeps must
/// not go on working.
pub fn as_agent(command: &mut Command) {
    command.process_group(0);
    let keeper = std::process::id();
    #[expect(unsafe_code, reason = "between fork and exec only system calls are made, and nothing is allocated")]
    unsafe {
        command.pre_exec(move || {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            checked(libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()))?;
            checked(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
            // The keeper may have died before it was asked for.
            if libc::getppid().cast_unsigned() != keeper {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

#[expect(unsafe_code, reason = "called only with a descriptor that was just made and that nothing else holds")]
unsafe fn owned(fd: RawFd) -> OwnedFd {
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
