//! Files that hold keys: readable by their owner alone, and written so that no moment leaves half of one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A key file is small; whatever is larger is another file.
const GREATEST: u64 = 64 * 1024;

/// Why a key file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file system said no.
    #[error("{path}", path = .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// Others than the owner may read or write it, so its content may be known already.
    #[error("{path} may be read or written by others (mode {mode:03o}): make it 0600, or better make a new key", path = .0.display(), mode = .1)]
    Open(PathBuf, u32),
    /// It is a directory or a device, or too large for a key.
    #[error("{path} is no key file", path = .0.display())]
    NotAKeyFile(PathBuf),
    /// Its content is not 32 bytes in hexadecimal or base64.
    #[error("{path} must hold 32 bytes, as 64 hexadecimal digits or in base64", path = .0.display())]
    Not32Bytes(PathBuf),
}

/// Reads a file that only its owner may read or write.
///
/// # Errors
/// [`KeyFileError`]; the permissions are those of the file that was opened, so it cannot be exchanged in between.
pub fn read(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |error| KeyFileError::Io(path.to_owned(), error);
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.len() > GREATEST {
        return Err(KeyFileError::NotAKeyFile(path.to_owned()));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(KeyFileError::Open(path.to_owned(), metadata.mode() & 0o777));
    }
    // Read at once into a buffer of full size: a buffer that grows leaves copies behind.
    let mut content = Zeroizing::new(String::with_capacity(metadata.len() as usize + 1));
    file.read_to_string(&mut content).map_err(failed)?;
    Ok(content)
}

/// Reads a key of 32 bytes, in hexadecimal or in base64.
///
/// # Errors
/// Any [`KeyFileError`].
pub fn read_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let text = read(path)?;
    let text = text.trim();
    let mut key = Zeroizing::new([0; 32]);
    let length = match text.len() {
        64 => hex::decode_to_slice(text, key.as_mut_slice()).ok().map(|()| 32),
        43 | 44 => STANDARD.decode_slice(text, key.as_mut_slice()).ok(),
        _ => None,
    };
    if length == Some(32) { Ok(key) } else { Err(KeyFileError::Not32Bytes(path.to_owned())) }
}

/// Reads the key, or draws one and writes it if there is no such file.
///
/// # Errors
/// Any [`KeyFileError`].
pub fn read_or_create_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    match read_key(path) {
        Err(KeyFileError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => {
            let key: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
            let text = Zeroizing::new(hex::encode(*key) + "\n");
            create(path, text.as_bytes(), 0o600)?;
            // Another process may have been first; then its key is the key.
            read_key(path)
        }
        read => read,
    }
}

/// Writes a file that appears whole or not at all, and leaves one that is there already as it is.
///
/// # Errors
/// [`KeyFileError::Io`].
pub fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), KeyFileError> {
    let temporary = write_beside(path, content, mode)?;
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(KeyFileError::Io(path.to_owned(), error)),
        _ => removed.map_err(|error| KeyFileError::Io(temporary, error)),
    }
}

/// Writes a file that others may read, in place of the one that may be there.
///
/// # Errors
/// [`KeyFileError::Io`].
pub fn replace_public(path: &Path, content: &[u8]) -> Result<(), KeyFileError> {
    let temporary = write_beside(path, content, 0o644)?;
    fs::rename(&temporary, path).map_err(|error| KeyFileError::Io(path.to_owned(), error))
}

/// Writes the content under a name of its own in the same directory, and waits until the disk has it.
fn write_beside(path: &Path, content: &[u8], mode: u32) -> Result<PathBuf, KeyFileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", rand::random::<u64>()));
    let temporary = path.with_file_name(name);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()
    };
    match write() {
        Ok(()) => Ok(temporary),
        Err(error) => Err(KeyFileError::Io(temporary, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn written(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_key_is_read_from_hexadecimal_or_base64() {
        for text in [hex::encode([7; 32]), hex::encode([7; 32]).to_uppercase() + "\n", STANDARD.encode([7; 32]) + "\r\n"] {
            let (_directory, path) = written(&text, 0o600);
            assert_eq!(*read_key(&path).unwrap(), [7; 32], "{text:?}");
        }
    }

    #[test]
    fn what_is_not_32_bytes_is_refused() {
        for text in
            ["", "00", &hex::encode([7; 31]), &hex::encode([7; 33]), &"g".repeat(64), &STANDARD.encode([7; 31]), &STANDARD.encode([7; 33])]
        {
            let (_directory, path) = written(text, 0o600);
            assert!(matches!(read_key(&path), Err(KeyFileError::Not32Bytes(_))), "{text:?}");
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o777] {
            let (_directory, path) = written(&hex::encode([7; 32]), mode);
            let refusal = read_key(&path).unwrap_err();
            assert!(matches!(refusal, KeyFileError::Open(_, found) if found == mode), "{mode:o}");
            assert!(refusal.to_string().contains(&format!("{mode:o}")));
        }
    }

    #[test]
    fn a_key_is_drawn_once_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");

        let drawn = read_or_create_key(&path).unwrap();

        assert_eq!(read_or_create_key(&path).unwrap(), drawn);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
        assert_ne!(*read_or_create_key(&directory.path().join("other")).unwrap(), *drawn);
    }

    #[test]
    fn a_directory_is_no_key_file() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(read(directory.path()), Err(KeyFileError::NotAKeyFile(_) | KeyFileError::Open(..))));
    }
}
