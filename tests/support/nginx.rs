//! Debian's nginx as a plain reverse proxy in front of one node, to compare with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixStream;

/// A process, which ends with the test.
pub struct Nginx {
    process: Child,
    directory: TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Nginx {
    /// Starts it; `None` where it is not installed.
    pub async fn new(node: SocketAddr) -> Option<Nginx> {
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].iter().find(|path| std::fs::metadata(path).is_ok())?;
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: Vec<String> = temporary.iter().map(|name| format!("{name}_temp_path {at}/{name};")).collect();
        // As much as the gateway takes by default, so that sizes make no difference.
        let configuration = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;
             events {{}}
             http {{
               access_log off; {temporary}
               large_client_header_buffers 4 64k; client_max_body_size 0;
               server {{
                 listen unix:{at}/socket;
                 location / {{ proxy_pass http://{node}; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
               }}
             }}",
            temporary = temporary.join(" ")
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut command = Command::new(program);
        command.arg("-p").arg(directory.path()).arg("-c").arg(&file).arg("-e").arg(directory.path().join("error.log"));
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let nginx = Nginx { process, directory };
        for _ in 0..200 {
            if UnixStream::connect(nginx.socket()).await.is_ok() {
                return Some(nginx);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = std::fs::read_to_string(nginx.directory.path().join("error.log")).unwrap_or_default();
        panic!("nginx does not start: {log}");
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }
}
