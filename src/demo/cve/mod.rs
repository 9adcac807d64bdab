//! stub
/// reports
#[derive(Clone, Debug, Default)]
pub struct Reports {}
impl Reports { /// read
 pub fn read(_: &[u8]) -> Result<Self, super::content::ContentError> { Ok(Self{}) } }
