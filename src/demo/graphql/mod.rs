//! stub
use super::exchange::{Asked, Reply};
use super::registry::Registry;
/// stub
#[derive(Debug, Default)]
pub struct Persisted {}
/// stub
#[derive(Debug)]
pub struct Search {}
impl Search {
    /// stub
    pub fn new() -> Self { Self {} }
    /// stub
    pub async fn answer(&self, _registry: &Registry, _asked: &Asked, _user: &str) -> Reply {
        Reply::not_found()
    }
}
