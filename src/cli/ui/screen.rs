//! The terminal as the live lines need it. A terminal that is closed under a run takes nothing more, and that is all: the
//! drawing library would end the program over it.

use std::io::{self, Write};

use indicatif::TermLike;

/// What is written to stderr as long as there is one.
#[derive(Debug)]
pub(super) struct Screen {
    /// The columns, if the terminal does not tell.
    pub(super) width: usize,
}

impl Screen {
    fn put(text: &str) {
        // Nobody is left to be shown anything.
        let _gone = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Moves the cursor; 0 would be taken as 1.
    fn go(count: usize, direction: char) {
        if count > 0 {
            Self::put(&format!("\u{1b}[{count}{direction}"));
        }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        u16::try_from(super::columns().unwrap_or(self.width)).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        // A terminal that was never told its size says 0.
        let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
        size.map(|size| size.ws_row).filter(|rows| *rows > 0).unwrap_or(24)
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        Self::go(count, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        Self::go(count, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        Self::go(count, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        Self::go(count, 'D');
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        Self::put(&format!("{text}\n"));
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        Self::put(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Self::put("\r\u{1b}[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
