//! The file system of a guest: the keys directory, read-only. wasmtime implements it, except for what
//! must not depend on how wasmtime does it:
//!
//! - **Only regular files and directories are opened**, without waiting: opening a pipe without a writer
//!   would block, and opening a device may have an effect.
//! - **No file has times.** Another reader of a key file changes its access time, which would be a clock.
//! - **Streams are read in place.** wasmtime reads them on a thread, and no thread can be started behind
//!   the walls.
//! - **Nothing is changed**, whatever rights the directory has.
//!
//! [`super::deadline`] ends a system call on a drive that does not answer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use wasmtime::Result;
use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::filesystem::{Descriptor, Dir, File as OpenFile, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, FsResult, InputStream, Pollable, ReaddirIterator, StreamError,
    StreamResult,
};
use wasmtime_wasi::{FsPerms, OpenMode, async_trait};

use keycell_core::linker::Add;
use wasmtime_wasi::filesystem::WasiFilesystemView;

use crate::unix::regular_file;

use types::{DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, OpenFlags, PathFlags};

/// The most that one read moves, in bytes.
const PERMIT: usize = 64 * 1024;

/// wasmtime's file system, and the part of it that an instance holds.
struct Files<'a>(WasiFilesystemCtxView<'a>);

/// The interfaces of the file system.
pub const INTERFACES: [(&str, Add); 2] = [
    ("wasi:filesystem/types", |linker| {
        types::add_to_linker::<_, HasFiles>(linker, |instance| Files(instance.filesystem()))
    }),
    ("wasi:filesystem/preopens", |linker| {
        preopens::add_to_linker::<_, HasFiles>(linker, |instance| Files(instance.filesystem()))
    }),
];

/// The type through which the linker reaches the file system.
struct HasFiles;

impl HasData for HasFiles {
    type Data<'a> = Files<'a>;
}

/// Opens the file or directory at `path`, below `directory`.
fn open(directory: &Dir, links: PathFlags, path: &str) -> io::Result<Descriptor> {
    let mut flags = OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !links.contains(PathFlags::SYMLINK_FOLLOW));
    // This opens no file: it only finds out what is there.
    check(&open_below(directory, path, flags | OFlags::PATH)?)?;
    let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open_below(directory, path, flags)?;
    let (perms, mode) = (FsPerms::ReadOnly, OpenMode::READ);
    Ok(match check(&file)? {
        FileType::Directory => Descriptor::Dir(Dir::new(file, perms, mode, true)),
        _ => Descriptor::File(OpenFile::new(file, perms, mode, true)),
    })
}

/// Returns the file's type if a guest may open such a file.
fn check(file: &File) -> io::Result<FileType> {
    match FileType::from_raw_mode(fstat(file)?.st_mode) {
        kind @ (FileType::RegularFile | FileType::Directory) => Ok(kind),
        FileType::Symlink => Err(Errno::LOOP.into()),
        _ => Err(Errno::PERM.into()),
    }
}

/// Opens a path in the same way as wasmtime: the kernel lets no path and no link lead out of the
/// directory.
fn open_below(directory: &Dir, path: &str, flags: OFlags) -> io::Result<File> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    regular_file::retry_opening(|| {
        match openat2(&*directory.dir, path, flags, Mode::empty(), resolve) {
            Err(Errno::XDEV) => Err(Errno::PERM.into()),
            opened => Ok(opened?.into()),
        }
    })
}

impl preopens::Host for Files<'_> {
    fn get_directories(&mut self) -> Result<Vec<(Resource<Descriptor>, String)>> {
        preopens::Host::get_directories(&mut self.0)
    }
}

impl types::Host for Files<'_> {
    fn convert_error_code(&mut self, error: wasmtime_wasi::p2::FsError) -> Result<ErrorCode> {
        types::Host::convert_error_code(&mut self.0, error)
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> Result<Option<ErrorCode>> {
        types::Host::filesystem_error_code(&mut self.0, error)
    }
}

type Handle = Resource<Descriptor>;

/// The answer to every call that would change something.
fn refused<T>() -> FsResult<T> {
    Err(ErrorCode::NotPermitted.into())
}

fn without_times(stat: DescriptorStat) -> DescriptorStat {
    DescriptorStat {
        data_access_timestamp: None,
        data_modification_timestamp: None,
        status_change_timestamp: None,
        ..stat
    }
}

impl types::HostDescriptor for Files<'_> {
    async fn open_at(
        &mut self,
        directory: Handle,
        links: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Handle> {
        let Descriptor::Dir(below) = self.0.table.get(&directory)?.clone() else {
            return Err(ErrorCode::NotDirectory.into());
        };
        let writing = [OpenFlags::CREATE, OpenFlags::EXCLUSIVE, OpenFlags::TRUNCATE];
        let writes = writing.into_iter().any(|flag| how.contains(flag));
        if writes || flags.contains(DescriptorFlags::WRITE) {
            return refused();
        }
        let opened = match open(&below, links, &path) {
            // The kernel is older than 5.6. wasmtime then walks along the path itself. The last part of
            // the path may have become a pipe since the check: then the deadline ends the process.
            Err(error) if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => {
                return self.open_slowly(directory, links, path, how, flags).await;
            }
            opened => opened?,
        };
        if how.contains(OpenFlags::DIRECTORY) && matches!(opened, Descriptor::File(_)) {
            return Err(ErrorCode::NotDirectory.into());
        }
        Ok(self.0.table.push(opened)?)
    }

    fn read_via_stream(&mut self, file: Handle, at: u64) -> FsResult<Resource<DynInputStream>> {
        let Descriptor::File(file) = self.0.table.get(&file)? else {
            return Err(ErrorCode::IsDirectory.into());
        };
        let stream: DynInputStream = Box::new(FileStream { file: file.file.clone(), at });
        Ok(self.0.table.push(stream)?)
    }

    async fn stat(&mut self, file: Handle) -> FsResult<DescriptorStat> {
        types::HostDescriptor::stat(&mut self.0, file).await.map(without_times)
    }

    async fn stat_at(
        &mut self,
        directory: Handle,
        links: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        let stat = types::HostDescriptor::stat_at(&mut self.0, directory, links, path).await;
        stat.map(without_times)
    }

    async fn read(&mut self, file: Handle, length: u64, at: u64) -> FsResult<(Vec<u8>, bool)> {
        types::HostDescriptor::read(&mut self.0, file, length, at).await
    }

    async fn read_directory(
        &mut self,
        directory: Handle,
    ) -> FsResult<Resource<types::DirectoryEntryStream>> {
        types::HostDescriptor::read_directory(&mut self.0, directory).await
    }

    async fn readlink_at(&mut self, directory: Handle, path: String) -> FsResult<String> {
        types::HostDescriptor::readlink_at(&mut self.0, directory, path).await
    }

    async fn get_flags(&mut self, file: Handle) -> FsResult<DescriptorFlags> {
        types::HostDescriptor::get_flags(&mut self.0, file).await
    }

    async fn get_type(&mut self, file: Handle) -> FsResult<DescriptorType> {
        types::HostDescriptor::get_type(&mut self.0, file).await
    }

    async fn is_same_object(&mut self, one: Handle, other: Handle) -> Result<bool> {
        types::HostDescriptor::is_same_object(&mut self.0, one, other).await
    }

    async fn metadata_hash(&mut self, file: Handle) -> FsResult<types::MetadataHashValue> {
        types::HostDescriptor::metadata_hash(&mut self.0, file).await
    }

    async fn metadata_hash_at(
        &mut self,
        directory: Handle,
        links: PathFlags,
        path: String,
    ) -> FsResult<types::MetadataHashValue> {
        types::HostDescriptor::metadata_hash_at(&mut self.0, directory, links, path).await
    }

    fn drop(&mut self, file: Handle) -> Result<()> {
        types::HostDescriptor::drop(&mut self.0, file)
    }

    /// Advice is ignored: the kernel reads key files without it.
    async fn advise(&mut self, _: Handle, _: u64, _: u64, _: types::Advice) -> FsResult<()> {
        Ok(())
    }

    /// There is nothing to sync, because nothing was written.
    async fn sync(&mut self, _: Handle) -> FsResult<()> {
        Ok(())
    }

    async fn sync_data(&mut self, _: Handle) -> FsResult<()> {
        Ok(())
    }

    // The following functions would change something.

    async fn set_size(&mut self, _: Handle, _: u64) -> FsResult<()> {
        refused()
    }

    async fn set_times(
        &mut self,
        _: Handle,
        _: types::NewTimestamp,
        _: types::NewTimestamp,
    ) -> FsResult<()> {
        refused()
    }

    async fn set_times_at(
        &mut self,
        _: Handle,
        _: PathFlags,
        _: String,
        _: types::NewTimestamp,
        _: types::NewTimestamp,
    ) -> FsResult<()> {
        refused()
    }

    async fn write(&mut self, _: Handle, _: Vec<u8>, _: u64) -> FsResult<u64> {
        refused()
    }

    fn write_via_stream(&mut self, _: Handle, _: u64) -> FsResult<Resource<DynOutputStream>> {
        refused()
    }

    fn append_via_stream(&mut self, _: Handle) -> FsResult<Resource<DynOutputStream>> {
        refused()
    }

    async fn create_directory_at(&mut self, _: Handle, _: String) -> FsResult<()> {
        refused()
    }

    async fn link_at(
        &mut self,
        _: Handle,
        _: PathFlags,
        _: String,
        _: Handle,
        _: String,
    ) -> FsResult<()> {
        refused()
    }

    async fn symlink_at(&mut self, _: Handle, _: String, _: String) -> FsResult<()> {
        refused()
    }

    async fn rename_at(&mut self, _: Handle, _: String, _: Handle, _: String) -> FsResult<()> {
        refused()
    }

    async fn remove_directory_at(&mut self, _: Handle, _: String) -> FsResult<()> {
        refused()
    }

    async fn unlink_file_at(&mut self, _: Handle, _: String) -> FsResult<()> {
        refused()
    }
}

impl Files<'_> {
    /// Opens a path with wasmtime's own code, after a check of what is there.
    async fn open_slowly(
        &mut self,
        directory: Handle,
        links: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Handle> {
        let borrowed = || Resource::new_borrow(directory.rep());
        let stat =
            types::HostDescriptor::stat_at(&mut self.0, borrowed(), links, path.clone()).await?;
        match stat.type_ {
            DescriptorType::RegularFile | DescriptorType::Directory => {
                types::HostDescriptor::open_at(&mut self.0, borrowed(), links, path, how, flags)
                    .await
            }
            DescriptorType::SymbolicLink => Err(ErrorCode::Loop.into()),
            _ => refused(),
        }
    }
}

impl types::HostDirectoryEntryStream for Files<'_> {
    async fn read_directory_entry(
        &mut self,
        entries: Resource<ReaddirIterator>,
    ) -> FsResult<Option<types::DirectoryEntry>> {
        types::HostDirectoryEntryStream::read_directory_entry(&mut self.0, entries).await
    }

    fn drop(&mut self, entries: Resource<ReaddirIterator>) -> Result<()> {
        types::HostDirectoryEntryStream::drop(&mut self.0, entries)
    }
}

/// A regular file, read from some position on. It is always ready, because reading it waits for nobody.
struct FileStream {
    file: Arc<File>,
    at: u64,
}

impl InputStream for FileStream {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut buffer = vec![0; size.min(PERMIT)];
        let read = loop {
            match self.file.read_at(&mut buffer, self.at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => Err(StreamError::Closed),
            Ok(length) => {
                buffer.truncate(length);
                self.at += length as u64;
                Ok(buffer.into())
            }
            Err(error) => Err(StreamError::LastOperationFailed(error.into())),
        }
    }
}

#[async_trait]
impl Pollable for FileStream {
    async fn ready(&mut self) {}
}
