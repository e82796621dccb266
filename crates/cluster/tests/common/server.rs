//! A scripted server, of an API or an engine: HTTP on the loopback or a socket, a function from
//! requests to replies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

/// What a request is answered with.
pub(crate) enum Reply {
    /// A status and a document.
    Json(u16, Value),
    /// A status and any text.
    Text(u16, String),
    /// A stream of documents, one a line, until the sender is dropped: a watch.
    Stream(mpsc::Receiver<Value>),
    /// The reply, after this time.
    Late(Duration, Box<Reply>),
    /// The connection is closed without a word.
    Cut,
}

/// What is asked: the method, then path and query.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
}

impl Request {
    /// Whether it asks for a watch of this path.
    pub(crate) fn watches(&self, path: &str) -> bool {
        self.gets(path) && self.target.contains("watch=true")
    }

    /// Whether it asks for the list of this path, or the object there.
    pub(crate) fn lists(&self, path: &str) -> bool {
        self.gets(path) && !self.target.contains("watch=true")
    }

    fn gets(&self, path: &str) -> bool {
        self.method == "GET" && self.target.split('?').next() == Some(path)
    }
}

type Script = dyn FnMut(&Request) -> Option<Reply> + Send;

/// The two ways of a connection.
type Connection = (Box<dyn Read + Send>, Box<dyn Write + Send>);

/// The server. What its script leaves open is answered as a small cluster without anything would.
pub(crate) struct Server {
    /// The port, or the path of the socket.
    pub(crate) address: String,
    closed: Arc<AtomicBool>,
    wake: Box<dyn Fn() + Send>,
}

impl Server {
    /// Serves at a port of the system's choice.
    pub(crate) fn start(script: impl FnMut(&Request) -> Option<Reply> + Send + 'static) -> Self {
        Self::at("127.0.0.1:0", script)
    }

    /// Serves at an address of the loopback.
    pub(crate) fn at(
        address: &str,
        script: impl FnMut(&Request) -> Option<Reply> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accept = move || {
            let (connection, _) = listener.accept().unwrap();
            let read = connection.try_clone().unwrap();
            (Box::new(read) as Box<_>, Box::new(connection) as Box<_>)
        };
        let woken = address.clone();
        let wake = move || drop(TcpStream::connect(&woken));
        Self::serving(address, accept, wake, script)
    }

    /// Serves at a socket, which goes with the server.
    pub(crate) fn at_socket(
        path: &Path,
        script: impl FnMut(&Request) -> Option<Reply> + Send + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let accept = move || {
            let (connection, _) = listener.accept().unwrap();
            let read = connection.try_clone().unwrap();
            (Box::new(read) as Box<_>, Box::new(connection) as Box<_>)
        };
        let woken = path.to_owned();
        let wake = move || {
            drop(UnixStream::connect(&woken));
            std::fs::remove_file(&woken).unwrap();
        };
        Self::serving(path.display().to_string(), accept, wake, script)
    }

    fn serving(
        address: String,
        accept: impl Fn() -> Connection + Send + 'static,
        wake: impl Fn() + Send + 'static,
        script: impl FnMut(&Request) -> Option<Reply> + Send + 'static,
    ) -> Self {
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(script));
        let closed = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&closed);
        std::thread::spawn(move || {
            loop {
                let (read, write) = accept();
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let script = Arc::clone(&script);
                std::thread::spawn(move || {
                    // The client may go away at any moment.
                    let _ = serve(BufReader::new(read), write, &script);
                });
            }
        });
        Self {
            address,
            closed,
            wake: Box::new(wake),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // The listener then ends and gives its address back.
        (self.wake)();
    }
}

fn serve(
    mut reader: impl BufRead,
    mut writer: impl Write,
    script: &Mutex<Script>,
) -> std::io::Result<()> {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let request = Request {
            method: words.next().unwrap(),
            target: words.next().unwrap(),
        };
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        let reply = script.lock().unwrap()(&request);
        if !answer(&mut writer, reply.unwrap_or_else(|| usual(&request)))? {
            return Ok(());
        }
    }
}

/// Writes a reply. Whether the connection goes on.
fn answer(to: &mut impl Write, reply: Reply) -> std::io::Result<bool> {
    match reply {
        Reply::Json(status, document) => answer(to, Reply::Text(status, document.to_string())),
        Reply::Text(status, text) => {
            write!(
                to,
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            )?;
            Ok(true)
        }
        Reply::Stream(documents) => {
            write!(to, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            to.flush()?;
            for document in documents {
                let line = format!("{document}\n");
                write!(to, "{:x}\r\n{line}\r\n", line.len())?;
                to.flush()?;
            }
            write!(to, "0\r\n\r\n")?;
            Ok(true)
        }
        Reply::Late(time, reply) => {
            std::thread::sleep(time);
            answer(to, *reply)
        }
        Reply::Cut => Ok(false),
    }
}

/// What a cluster without anything answers. Its watches end at once.
fn usual(request: &Request) -> Reply {
    if request.target == "/version" {
        return Reply::Json(
            200,
            json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.0", "gitCommit": "", "gitTreeState": "",
                "buildDate": "", "goVersion": "", "compiler": "", "platform": "" }),
        );
    }
    if request.target.contains("watch=true") {
        // It ends as watches do, after some time.
        return Reply::Late(
            Duration::from_millis(200),
            Box::new(Reply::Stream(mpsc::channel().1)),
        );
    }
    let listed = ["/pods", "/nodes", "/events"];
    if listed
        .iter()
        .any(|path| request.target.split('?').next().unwrap().ends_with(path))
    {
        return Reply::Json(200, list(&[]));
    }
    refusal(404, "not found")
}

/// A list, as of resource version 1.
pub(crate) fn list(items: &[Value]) -> Value {
    json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": "1" }, "items": items })
}

/// An answer that refuses.
pub(crate) fn refusal(code: u16, message: &str) -> Reply {
    Reply::Json(code, status(code, message))
}

/// The document of a refusal.
pub(crate) fn status(code: u16, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "X", "code": code })
}
