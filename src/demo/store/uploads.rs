//! Uploads of blobs, in one piece or in several.

use super::{Store, Trouble};
use crate::demo::digest;
use bytes::Bytes;

impl Store {
    /// Begins an upload of a name.
    pub fn begin_upload(&mut self, repository: &str, upload: String) {
        self.init(repository).uploads.insert(upload, Vec::new());
    }

    /// How much of an upload has arrived.
    pub fn uploaded(&self, repository: &str, upload: &str) -> Result<usize, Trouble> {
        self.repository(repository)
            .and_then(|repository| repository.uploads.get(upload))
            .map(Vec::len)
            .ok_or(Trouble::UploadNotFound)
    }

    /// Adds a piece that begins at some offset, or wherever the upload stands. The repository is made in any case.
    pub fn continue_upload(
        &mut self,
        repository: &str,
        upload: &str,
        from: Option<usize>,
        piece: &[u8],
    ) -> Result<usize, Trouble> {
        let arrived = self.init(repository).uploads.get_mut(upload).ok_or(Trouble::UploadNotFound)?;
        if from.is_some_and(|from| from != arrived.len()) {
            return Err(Trouble::BadUploadRange);
        }
        arrived.extend_from_slice(piece);
        Ok(arrived.len())
    }

    /// Ends an upload: what arrived becomes a blob, if it is what the digest says.
    pub fn end_upload(&mut self, repository: &str, upload: &str, expected: &str) -> Result<(), Trouble> {
        let uploads = &mut self.repositories.get_mut(repository).ok_or(Trouble::UploadNotFound)?.uploads;
        let arrived = uploads.get(upload).ok_or(Trouble::UploadNotFound)?;
        if digest::alike(expected, arrived) != expected {
            return Err(Trouble::BadBlobDigest);
        }
        let blob = uploads.remove(upload).map(Bytes::from).unwrap_or_default();
        self.add_blob(repository, expected, blob);
        Ok(())
    }

    /// Gives an upload up.
    pub fn cancel_upload(&mut self, repository: &str, upload: &str) -> Result<(), Trouble> {
        let uploads = self.repositories.get_mut(repository).map(|repository| &mut repository.uploads);
        uploads.and_then(|uploads| uploads.remove(upload)).map(drop).ok_or(Trouble::UploadNotFound)
    }
}
