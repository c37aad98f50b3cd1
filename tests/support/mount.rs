//! File systems of a test's own, for faults that only a file system has. Where this user may not mount, there are none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Mounted as long as it lives.
#[derive(Debug)]
pub(crate) struct Mount {
    at: PathBuf,
    image: Option<PathBuf>,
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Mount {
    /// A file system in memory with room for `size`.
    pub(crate) fn tmpfs(at: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size},mode=0700");
        fs::create_dir_all(at).unwrap();
        let mount = ["-t", "tmpfs", "-o", &options, "tmpfs", at.to_str().unwrap()];
        let mounted = Self { at: at.to_owned(), image: None };
        mounted.made(succeeds("mount", &mount))
    }

    /// A file system in the file `image` that becomes read-only when it meets an error.
    pub(crate) fn ext4(at: &Path, image: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let file = fs::File::create(image).unwrap();
        file.set_len(16 << 20).unwrap();
        let mounted = Self { at: at.to_owned(), image: Some(image.to_owned()) };
        let made = succeeds("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        let is_so = made && mounted.mount();
        mounted.made(is_so)
    }

    fn made(self, is_so: bool) -> Option<Self> {
        is_so.then_some(self)
    }

    fn mount(&self) -> bool {
        let image = self.image.as_ref().unwrap().to_str().unwrap();
        succeeds("mount", &["-o", "loop,errors=remount-ro", image, self.at.to_str().unwrap()])
    }

    /// Lets the file system meet an error. Returns whether the kernel offers that.
    pub(crate) fn fail(&self) -> bool {
        let listed = fs::read_to_string("/proc/self/mounts").unwrap();
        let device = listed
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(_, rest)| rest.split(' ').next() == self.at.to_str())
            .and_then(|(device, _)| device.strip_prefix("/dev/"));
        device.is_some_and(|device| {
            fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "by a test").is_ok()
        })
    }

    /// Mounts it again, for writing.
    pub(crate) fn again(&self) {
        let image = self.image.as_ref().unwrap().to_str().unwrap();
        assert!(succeeds("umount", &[self.at.to_str().unwrap()]));
        succeeds("e2fsck", &["-fy", image]);
        assert!(self.mount());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        succeeds("umount", &["-l", self.at.to_str().unwrap()]);
    }
}
